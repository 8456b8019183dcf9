package cluster_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/roost-mail/roost/cluster"
)

func TestHolderStart(t *testing.T) {
	inWorld(t, []string{"b1"}, func(w *world) {
		if n := w.held()["b1"]; n != cluster.Slots {
			t.Errorf("b1 holds %d", n)
		}
		before := w.everywhere()
		w.start("b2")
		if took := w.settle(); took > 2*time.Second {
			t.Errorf("it took %v until b2 had its share", took)
		}
		after := w.everywhere()
		if maps.Equal(before, after) {
			t.Error("nobody moved to b2")
		}
	})
}

// A backend that dies loses everything when its lease ends, and nothing before.
func TestHolderDeath(t *testing.T) {
	inWorld(t, []string{"b1", "b2", "b3"}, func(w *world) {
		before := w.everywhere()
		w.nodes["b2"].kill()
		time.Sleep(3 * time.Second)
		for user, at := range before {
			if now := w.at(user); at == "b2" && now != "" {
				t.Errorf("after 3 s %s is at %s", user, now)
			}
		}
		time.Sleep(2 * time.Second)
		if took := w.settle(); took > time.Second {
			t.Errorf("taken over %v after the lease's end", took)
		}
		for user, at := range w.everywhere() {
			if before[user] != "b2" && before[user] != at {
				t.Errorf("%s moved from %s to %s", user, before[user], at)
			}
		}

		n := w.start("b2")
		time.Sleep(20 * time.Second)
		if s := n.holder.Status(); s.Candidate || s.Held != 0 || s.Deaths != 1 {
			t.Errorf("20 s after its return: %+v", s)
		}
		time.Sleep(11 * time.Second)
		w.settle()
		if after := w.everywhere(); !maps.Equal(before, after) {
			t.Errorf("%v\nthen %v", before, after)
		}

		w.nodes["b2"].kill()
		time.Sleep(10 * time.Second)
		n = w.start("b2")
		time.Sleep(40 * time.Second)
		if s := n.holder.Status(); s.Candidate || s.Deaths != 2 {
			t.Errorf("40 s after its second return: %+v", s)
		}
		time.Sleep(25 * time.Second)
		if s := n.holder.Status(); !s.Candidate {
			t.Errorf("65 s after its second return: %+v", s)
		}
	})
}

// A clean stop gives everything up at once, and leaves no suspicion.
func TestHolderCleanStop(t *testing.T) {
	inWorld(t, []string{"b1", "b2"}, func(w *world) {
		before := w.everywhere()
		w.nodes["b2"].end()
		if took := w.settle(); took > time.Second {
			t.Errorf("taken over after %v", took)
		}
		w.everywhere()
		w.start("b2")
		if took := w.settle(); took > 5*time.Second {
			t.Errorf("back after %v", took)
		}
		if after := w.everywhere(); !maps.Equal(before, after) {
			t.Errorf("%v\nthen %v", before, after)
		}
	})
}

// Two processes with one name: the second waits for the lease of one that has died, but
// not of one that lives.
func TestHolderName(t *testing.T) {
	inWorld(t, []string{"b1"}, func(w *world) {
		first := w.nodes["b1"]
		second := w.start("b1")
		err := <-second.ended
		second.ended <- nil
		if err == nil || !strings.Contains(err.Error(), "b1-0") {
			t.Errorf("%v", err)
		}
		first.kill()
		third := w.start("b1")
		w.settle()
		if s := third.holder.Status(); s.Held != cluster.Slots || s.Deaths != 1 {
			t.Errorf("%+v", s)
		}
		w.everywhere()
	})
}

// A process that is stopped loses its users, and acknowledges nothing when it goes on,
// whether it can see that by its clock or not.
func TestHolderPause(t *testing.T) {
	notShort(t)
	for _, row := range []struct {
		name  string
		clock bool // stands still too
	}{{"stopped", false}, {"virtual machine", true}} {
		t.Run(row.name, func(t *testing.T) {
			inWorld(t, []string{"b1", "b2"}, func(w *world) {
				n := w.nodes["b1"]
				mine := slices.DeleteFunc(slices.Clone(w.users), func(u string) bool { return w.at(u) != "b1" })
				written := n.write(mine[0], atOnce, func() {
					n.pause(row.clock)
					time.Sleep(20 * time.Second)
					for _, user := range mine {
						if !w.nodes["b2"].write(user, atOnce, atOnce) {
							t.Errorf("%s is not taken over", user)
						}
					}
					n.goOn()
				})
				if written {
					t.Error("a write was acknowledged after the pause")
				}
				for _, user := range mine[1:] {
					if n.write(user, atOnce, atOnce) {
						t.Errorf("%s: a write was acknowledged", user)
					}
				}
				time.Sleep(time.Minute)
				w.settle()
				w.everywhere()
			})
		})
	}
}

// With the clock alone a paused virtual machine acknowledges what is lost: that is
// what the setting's documentation warns of.
func TestHolderPauseByClock(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.check = cluster.CheckClock
		w.start("b1")
		w.settle()
		n := w.nodes["b1"]
		c, err := n.account("ann")
		if err != nil {
			t.Fatal(err)
		}
		n.pause(true)
		time.Sleep(20 * time.Second)
		if err := c.Confirm(context.Background()); err != nil {
			t.Errorf("the clock stands still, but %v", err)
		}
		n.goOn()
	})
}

// While the coordinator is away backends are read-only; what nobody has taken is theirs
// again, with accounts that stayed open.
func TestHolderOutage(t *testing.T) {
	notShort(t)
	inWorld(t, []string{"b1", "b2"}, func(w *world) {
		before := w.everywhere()
		n := w.nodes["b1"]
		claims := maps.Clone(n.open)
		for _, n := range w.nodes {
			n.client.Cut(true)
		}
		time.Sleep(cluster.DefaultTTL)
		for _, user := range w.users {
			if at := w.at(user); at != "" {
				t.Errorf("%s: %s acknowledges without a lease", user, at)
			}
		}
		if !n.isSuspended() {
			t.Error("b1 does not know")
		}
		for user := range claims {
			if n.holder.Holds(user) || !n.holder.Keeps(user) {
				t.Errorf("%s: the lease may come back", user)
			}
		}
		n.mu.Lock()
		n.open = claims // as read-only accounts
		clear(n.thrown)
		n.mu.Unlock()
		time.Sleep(10 * time.Second)
		for _, n := range w.nodes {
			n.client.Cut(false)
		}
		time.Sleep(7 * time.Second)
		for user, c := range claims {
			if err := c.Confirm(context.Background()); err != nil {
				t.Errorf("%s: %v", user, err)
			}
		}
		if after := w.everywhere(); n.isSuspended() || !maps.Equal(before, after) {
			t.Errorf("%v\nthen %v", before, after)
		}
		w.wantLog("it was ours before the lease was lost")
	})
}

// After half a minute accounts are closed.
func TestHolderLongOutage(t *testing.T) {
	notShort(t)
	inWorld(t, []string{"b1"}, func(w *world) {
		w.everywhere()
		n := w.nodes["b1"]
		n.client.Cut(true)
		time.Sleep(cluster.DefaultTTL + 28*time.Second)
		if len(n.usersHere()) == 0 {
			t.Error("accounts are closed already")
		}
		time.Sleep(5 * time.Second)
		if open := n.usersHere(); len(open) != 0 || n.holder.Status().Held != 0 {
			t.Errorf("open: %v", open)
		}
		n.client.Cut(false)
		time.Sleep(10 * time.Second)
		w.settle()
		w.everywhere()
	})
}

// A backend that is cut off alone stops, another takes over, and it does not come back
// with what it had.
func TestHolderPartition(t *testing.T) {
	inWorld(t, []string{"b1", "b2"}, func(w *world) {
		w.everywhere()
		n := w.nodes["b1"]
		claims := maps.Clone(n.open)
		n.client.Hang(true)
		time.Sleep(8 * time.Second)
		w.nodes["b2"].view.Read(func(m *cluster.Map) {
			if b1, _ := m.Node("b1"); b1.AliveAt != 0 {
				t.Error("b1 has its lease still")
			}
		})
		for user := range claims {
			if !w.nodes["b2"].write(user, atOnce, atOnce) {
				t.Errorf("%s is not taken over", user)
			}
		}
		n.client.Hang(false)
		time.Sleep(5 * time.Second)
		for user, c := range claims {
			if c.Check() == nil {
				t.Errorf("the claim on %s is good again", user)
			}
		}
		if open := n.usersHere(); len(open) != 0 {
			t.Errorf("open at b1: %v", open)
		}
		time.Sleep(time.Minute)
		w.settle()
		w.everywhere()
	})
}

// Storage hangs, the keepalive would go on: the lease ends all the same.
func TestHolderStorageHangs(t *testing.T) {
	notShort(t)
	inWorld(t, []string{"b1", "b2"}, func(w *world) {
		before := w.everywhere()
		n := w.nodes["b1"]
		n.hang()
		time.Sleep(cluster.DefaultStorageTimeout + 2*cluster.DefaultTTL)
		for user, at := range before {
			if at == "b1" && !w.nodes["b2"].write(user, atOnce, atOnce) {
				t.Errorf("%s is not taken over", user)
			}
		}
		w.wantLog("a test write to storage has been under way")
		n.release()
		time.Sleep(time.Minute)
		w.settle()
		if after := w.everywhere(); !maps.Equal(before, after) {
			t.Errorf("%v\nthen %v", before, after)
		}
	})
}

// Storage that fails, and does not hang, makes a backend no candidate.
func TestHolderStorageFails(t *testing.T) {
	inWorld(t, []string{"b1", "b2"}, func(w *world) {
		n := w.nodes["b1"]
		n.mu.Lock()
		n.probeErr = errors.New("no space left")
		n.mu.Unlock()
		time.Sleep(5 * time.Second)
		w.settle()
		if s := n.holder.Status(); s.Held != 0 || !strings.Contains(s.Trouble, "no space left") {
			t.Errorf("%+v", s)
		}
		w.everywhere()
	})
}

func TestHolderDrain(t *testing.T) {
	inWorld(t, []string{"b1", "b2"}, func(w *world) {
		w.everywhere()
		w.wish("b1", cluster.Drain)
		time.Sleep(2 * time.Second)
		w.settle()
		if held := w.held(); held["b1"] != 0 {
			t.Errorf("%v", held)
		}
		w.everywhere()
		w.wish("b2", cluster.Drain) // there is nobody else
		time.Sleep(5 * time.Second)
		w.everywhere()
		w.wish("b1", cluster.Up)
		time.Sleep(5 * time.Second)
		w.settle()
		if held := w.held(); held["b2"] != 0 {
			t.Errorf("%v", held)
		}
		w.everywhere()
		w.wish("b1", cluster.Down)
		time.Sleep(5 * time.Second)
		if held := w.held(); held["b1"] != 0 || held["b2"] != 0 {
			t.Errorf("down, and nobody else is up: %v", held)
		}
		w.wish("b1", cluster.Up)
		time.Sleep(5 * time.Second)
		w.settle()
		w.everywhere()
	})
}

// Sessions that hang delay nobody beyond the limit.
func TestHolderReleaseHangs(t *testing.T) {
	notShort(t)
	inWorld(t, []string{"b1", "b2"}, func(w *world) {
		w.everywhere()
		n := w.nodes["b1"]
		claims := maps.Clone(n.open)
		n.hang()
		w.wish("b1", cluster.Down)
		time.Sleep(cluster.ReleaseLimit + time.Second)
		for user, c := range claims {
			if c.Check() == nil {
				t.Errorf("the claim on %s is good still", user)
			}
			if !w.nodes["b2"].write(user, atOnce, atOnce) {
				t.Errorf("%s is not at b2", user)
			}
		}
		w.wantLog("do not end")
	})
}

// More than half of the backends are gone: the rest serves all, and moves nobody to a
// newcomer for a while.
func TestHolderFreeze(t *testing.T) {
	notShort(t)
	inWorld(t, []string{"b1", "b2", "b3"}, func(w *world) {
		w.everywhere()
		w.killed("b2", "b3")
		w.settle()
		w.everywhere()
		n := w.start("b4")
		time.Sleep(20 * time.Second)
		if s := n.holder.Status(); s.Held != 0 || !s.Candidate || !w.nodes["b1"].holder.Status().Frozen {
			t.Errorf("%+v", s)
		}
		time.Sleep(time.Minute)
		w.settle()
		if n.holder.Status().Held == 0 {
			t.Error("b4 has nothing")
		}
	})
}

// Users are moved by rebalancing and by a drain no faster than the rate.
func TestHolderRate(t *testing.T) {
	if testing.Short() {
		t.Skip("much happens in it")
	}
	inWorld(t, nil, func(w *world) {
		w.users = w.users[:0]
		for i := range 2000 {
			w.users = append(w.users, strings.Repeat("u", 1+i/26)+string(rune('a'+i%26)))
		}
		w.start("b1")
		w.settle()
		w.everywhere()
		w.start("b2")
		began := time.Now()
		time.Sleep(2 * time.Second)
		if n := len(w.nodes["b1"].usersHere()); n < 1400 {
			t.Errorf("only %d of 2000 users are left after two seconds", n)
		}
		w.settle()
		if took := time.Since(began); took < 3*time.Second || took > 8*time.Second {
			t.Errorf("1000 users were given up in %v", took)
		}
	})
}

func TestHolderPin(t *testing.T) {
	inWorld(t, []string{"b1", "b2", "b3"}, func(w *world) {
		const user = "user0"
		home := w.at(user)
		for _, to := range []string{"b1", "b2", "b3", "b1"} {
			w.pin(user, to)
			time.Sleep(500 * time.Millisecond)
			if at := w.at(user); at != to {
				t.Errorf("pinned to %s: %q", to, at)
			}
		}
		w.pin(user, "")
		time.Sleep(500 * time.Millisecond)
		if at := w.at(user); at != home {
			t.Errorf("pinned no more: at %q, and it was %s", at, home)
		}
		w.pin(user, "nobody")
		time.Sleep(time.Second)
		c, err := w.nodes[home].holder.Claim(context.Background(), user)
		if err == nil {
			t.Errorf("pinned to nobody: %v", c)
		}
		w.pin(user, "")
		time.Sleep(time.Second)
		w.everywhere()
	})
}

// A pin is changed while the backends that it is about die.
func TestHolderPinInFailover(t *testing.T) {
	notShort(t)
	inWorld(t, []string{"b1", "b2", "b3"}, func(w *world) {
		const user = "user0"
		home := w.at(user)
		others := slices.DeleteFunc([]string{"b1", "b2", "b3"}, func(n string) bool { return n == home })
		w.nodes[home].kill() // and can't hand over
		w.pin(user, others[0])
		time.Sleep(cluster.DefaultTTL + time.Second)
		if at := w.at(user); at != others[0] {
			t.Errorf("the slot's holder is dead, pinned to %s: %q", others[0], at)
		}
		w.nodes[others[0]].kill()
		time.Sleep(cluster.DefaultTTL + time.Second)
		if at := w.at(user); at != others[1] {
			t.Errorf("pinned to %s, which is dead: %q", others[0], at)
		}
		w.pin(user, home)
		w.start(home)
		time.Sleep(time.Minute)
		w.settle()
		if at := w.at(user); at != home {
			t.Errorf("pinned to %s, which is there again: %q", home, at)
		}
		w.pin(user, "")
		w.killed(home)
		w.settle()
		w.everywhere()
	})
}

// A coordinator that was restored from an old copy knows holders that are none, and
// nobody is served until the generation is raised.
func TestHolderRestored(t *testing.T) {
	notShort(t)
	inWorld(t, []string{"b1", "b2"}, func(w *world) {
		w.everywhere()
		old := w.mem.Snapshot()
		w.wish("b1", cluster.Down)
		time.Sleep(2 * time.Second)
		w.settle()
		claims := map[string]*cluster.Claim{}
		for user, at := range w.everywhere() {
			if at != "b2" {
				t.Errorf("%s at %s", user, at)
			}
			claims[user] = w.nodes["b2"].open[user]
		}
		w.mem.Restore(old)
		for user, c := range claims {
			if err := c.Confirm(context.Background()); err == nil {
				t.Errorf("%s: b2 acknowledges, and the coordinator does not know of it", user)
			}
		}
		time.Sleep(10 * time.Second)
		for _, user := range w.users {
			if at := w.at(user); at != "" {
				t.Errorf("%s is served at %s", user, at)
			}
		}
		w.wantLog("roost cluster new-generation")
		before := w.disks["user0"].epoch
		if _, err := cluster.NewGeneration(context.Background(), w.admin, 0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		w.settle()
		w.everywhere()
		if after := w.disks["user0"].epoch; after>>48 != before>>48+1 {
			t.Errorf("epoch %x, then %x", before, after)
		}
	})
}
