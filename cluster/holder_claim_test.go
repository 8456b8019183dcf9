package cluster_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roost-mail/roost/cluster"
)

// What a backend says of users who are not there.
func TestHolderMoved(t *testing.T) {
	inWorld(t, []string{"b1", "b2"}, func(w *world) {
		const user = "user0"
		at := w.at(user)
		other := w.nodes[map[string]string{"b1": "b2", "b2": "b1"}[at]]
		began := time.Now()
		_, err := other.holder.Claim(context.Background(), user)
		if m := moved(t, err); m.Holder != at || m.Revision == 0 || time.Since(began) != 0 {
			t.Errorf("%+v after %v", m, time.Since(began))
		}
		var now cluster.Revision
		other.view.Read(func(m *cluster.Map) { now = m.Changed })
		if err := w.nodes[at].holder.Serves(context.Background(), user, now); err != nil {
			t.Error(err)
		}
		err = w.nodes[at].holder.Serves(context.Background(), user, now+1)
		if moved(t, err); time.Since(began) != cluster.ClaimLimit {
			t.Errorf("a revision that does not come: after %v", time.Since(began))
		}
		asked := make(chan error)
		go func() { asked <- w.nodes[at].holder.Serves(context.Background(), user, now+1) }()
		synctest.Wait()
		w.pin("somebody", at)
		if err := <-asked; err != nil {
			t.Error(err)
		}
		w.nodes[at].client.Cut(true)
		w.nodes[at].client.Cut(false)
	})
}

// A user who is on the way here is waited for.
func TestHolderClaimWaits(t *testing.T) {
	inWorld(t, []string{"b1", "b2"}, func(w *world) {
		var user string
		for _, user = range w.users {
			if w.at(user) == "b1" {
				break
			}
		}
		w.nodes["b1"].kill()
		time.Sleep(cluster.DefaultTTL - 2*time.Second)
		for {
			began := time.Now()
			_, err := w.nodes["b2"].holder.Claim(context.Background(), user)
			if err == nil {
				break
			}
			if m := moved(t, err); m.Holder != "b1" && time.Since(began) == 0 {
				t.Fatalf("not waited for: %v", err)
			}
			time.Sleep(time.Millisecond)
		}
	})
}

// A store asks who may still have an account open.
func TestHolderClaimAlive(t *testing.T) {
	inWorld(t, []string{"b1", "b2"}, func(w *world) {
		for _, user := range w.users {
			c, err := w.nodes[w.at(user)].account(user)
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range []string{"b1", "b2", "b3"} {
				if c.Alive(n, c.Epoch()) || c.Alive(n, 1) {
					t.Errorf("%s: %s", user, n)
				}
			}
		}
		c, err := w.nodes[w.at("user0")].account("user0")
		if err != nil {
			t.Fatal(err)
		}
		other := map[string]string{"b1": "b2", "b2": "b1"}[w.at("user0")]
		var lease cluster.LeaseID
		w.nodes["b1"].view.Read(func(m *cluster.Map) {
			n, _ := m.Node(other)
			lease = n.Lease
		})
		slot := cluster.SlotOf(userHash(t), "user0")
		w.put(fmt.Sprintf("held/west/%05d", slot), cluster.Held{Backend: other, Lease: lease})
		synctest.Wait()
		var since cluster.Revision
		w.nodes["b1"].view.Read(func(m *cluster.Map) { _, since = m.Held(cluster.Unit{Tag: "west", Slot: slot}) })
		if !c.Alive(other, uint64(since)) || c.Alive(other, uint64(since)-1) {
			t.Errorf("%s has the user's slot of another tag since %d", other, since)
		}
	})
}
