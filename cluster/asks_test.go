package cluster_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/roost-mail/roost/cluster"
)

// awaitTag waits until a backend can open a user's mail, which another tag's has open; the
// other one goes on writing, and fails the test if both can.
func (w *world) awaitTag(user, at, from string) (took time.Duration) {
	w.t.Helper()
	began := time.Now()
	for time.Since(began) < time.Minute {
		if n := w.nodes[from]; !n.isDead() {
			n.mu.Lock()
			c := n.open[user]
			n.mu.Unlock()
			if c != nil { // it opens nothing anew: logins go elsewhere
				n.write(user, atOnce, atOnce)
			}
		}
		if w.nodes[at].write(user, atOnce, atOnce) {
			return time.Since(began)
		}
		time.Sleep(250 * time.Millisecond)
	}
	w.t.Errorf("%s can't open %s", at, user)
	return time.Since(began)
}

// inTags is a world with a backend in each of two tags, which have their slots in an order
// of epochs; user0 is open at b1.
func inTags(t *testing.T, first string, f func(w *world)) {
	inWorld(t, nil, func(w *world) {
		w.tags = map[string]string{"w1": "west", "w2": "west"}
		second := map[string]string{"b1": "w1", "w1": "b1"}[first]
		for _, name := range []string{first, second} {
			w.start(name)
			time.Sleep(30 * time.Second)
		}
		if !w.nodes["b1"].write("user0", atOnce, atOnce) {
			t.Fatal("b1 does not hold the user")
		}
		f(w)
	})
}

// TestTagChanges: a user of whom a director says another tag is ended where the mail is open,
// and opened where it belongs now, whichever epoch is the higher one, as often as that
// happens.
func TestTagChanges(t *testing.T) {
	for _, first := range []string{"b1", "w1"} {
		t.Run(first+" first", func(t *testing.T) {
			inTags(t, first, func(w *world) {
				for range 3 {
					if took := w.awaitTag("user0", "w1", "b1"); took > 5*time.Second {
						t.Errorf("to west: %v", took)
					}
					if took := w.awaitTag("user0", "b1", "w1"); took > 5*time.Second {
						t.Errorf("back: %v", took)
					}
				}
				if kvs, _, err := w.admin.Range(t.Context(), "asks/"); err != nil || len(kvs) != 0 {
					t.Errorf("requests are left: %v, %v", kvs, err)
				}
				w.wantLog("a user is given up for a backend of another tag")
			})
		})
	}
}

// TestTagChangesWhileHung: what hangs counts no more, and is not waited for for long.
func TestTagChangesWhileHung(t *testing.T) {
	notShort(t)
	inTags(t, "b1", func(w *world) {
		b1 := w.nodes["b1"]
		c, err := b1.account("user0")
		if err != nil {
			t.Fatal(err)
		}
		b1.hang()
		defer b1.release()
		w.nodes["w1"].write("user0", atOnce, atOnce)
		time.Sleep(2 * time.Second)
		if c.Check() != nil {
			t.Error("the sessions have no time to end")
		}
		w.awaitTag("user0", "w1", "b1")
		if c.Check() == nil {
			t.Error("two backends may write")
		}
	})
}

// TestTagChangesAfterOutage: a backend that lost its lease and got it back has its accounts
// open still, in an epoch below its record's revision. It is asked, and its Claims end.
func TestTagChangesAfterOutage(t *testing.T) {
	notShort(t)
	inTags(t, "w1", func(w *world) {
		b1 := w.nodes["b1"]
		b1.client.Cut(true)
		time.Sleep(cluster.DefaultTTL + 5*time.Second)
		b1.client.Cut(false)
		time.Sleep(5 * time.Second)
		if !b1.write("user0", atOnce, atOnce) {
			t.Fatal("the lease did not come back")
		}
		w.awaitTag("user0", "w1", "b1")
	})
}

// TestTagChangesDuringOutage: one that may get its lease back does not get the user's slot
// back, so that its accounts are dropped.
func TestTagChangesDuringOutage(t *testing.T) {
	notShort(t)
	inTags(t, "b1", func(w *world) {
		b1 := w.nodes["b1"]
		b1.client.Cut(true)
		time.Sleep(cluster.DefaultTTL + 5*time.Second)
		w.awaitTag("user0", "w1", "b1")
		b1.client.Cut(false)
		for range 100 { // it comes back, and tries
			time.Sleep(100 * time.Millisecond)
			b1.mu.Lock()
			c := b1.open["user0"]
			b1.mu.Unlock()
			if c != nil {
				b1.write("user0", atOnce, atOnce)
			}
			if !w.nodes["w1"].write("user0", atOnce, atOnce) {
				t.Fatal("west has lost the user")
			}
		}
		if !b1.write("user1", atOnce, atOnce) && b1.holder.Status().Held == 0 {
			t.Error("b1 has nothing left")
		}
	})
}

// TestTagChangesOfDead: mail of a backend that has died, and of one that is made anew, is
// opened in another tag.
func TestTagChangesOfDead(t *testing.T) {
	notShort(t)
	inTags(t, "b1", func(w *world) {
		w.killed("b1")
		w.awaitTag("user0", "w1", "b1")
		w.start("b1")
		time.Sleep(time.Minute)
		w.awaitTag("user0", "b1", "w1")
		w.killed("b1")
		w.start("b1")
		time.Sleep(time.Minute)
		w.awaitTag("user0", "w1", "b1")
	})
}

// TestTagsDisagree: while directors contradict each other the user is at one of the two, who
// may be the same one for long, and never at both.
func TestTagsDisagree(t *testing.T) {
	inTags(t, "b1", func(w *world) {
		wrote := 0
		for range 600 {
			for _, name := range []string{"b1", "w1"} {
				if w.nodes[name].write("user0", atOnce, func() { time.Sleep(time.Millisecond) }) {
					wrote++
				}
			}
			time.Sleep(100 * time.Millisecond)
		}
		if wrote < 500 {
			t.Errorf("%d writes", wrote)
		}
		synctest.Wait()
	})
}
