package cluster_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roost-mail/roost/cluster"
)

// TestHolderDrainWhileTaking: what a backend is about to take does not come to it after the
// wish that it has nothing.
func TestHolderDrainWhileTaking(t *testing.T) {
	inWorld(t, []string{"b1", "b2", "b3"}, func(w *world) {
		b2, b3 := w.nodes["b2"], w.nodes["b3"]
		b2.gate.close()
		b3.gate.close()
		w.nodes["b1"].kill()
		time.Sleep(10 * time.Second)
		drained := w.wish("b2", cluster.Drain)
		if b2.gate.open() == 0 {
			t.Error("b2 takes nothing")
		}
		synctest.Wait()
		ctx, stop := context.WithCancel(context.Background())
		watched := make(chan error, 1)
		go func() {
			watched <- w.admin.Watch(ctx, "held/", drained, func(events []cluster.Event, _ cluster.Revision) {
				for _, e := range events {
					var held cluster.Held
					if err := json.Unmarshal(e.Value, &held); err == nil && held.Backend == "b2" && held.Lease != 0 {
						t.Errorf("%s came to b2 at %d; the wish is of %d", e.Key, e.Changed, drained)
					}
				}
			})
		}()
		synctest.Wait()
		b3.gate.open()
		time.Sleep(10 * time.Second)
		stop()
		<-watched
		w.settle()
		if held := w.held(); held["b3"] != cluster.Slots {
			t.Errorf("%v", held)
		}
		w.everywhere()
	})
}

// TestHolderOtherKind: a backend that would come into a tag of others that are no Roost does
// not even register, and says why.
func TestHolderOtherKind(t *testing.T) {
	notShort(t)
	inWorld(t, []string{"b1"}, func(w *world) {
		w.put("backends/dove", cluster.Registration{Host: "192.0.2.9", Port: 143, Tag: "old", Foreign: true})
		w.tags = map[string]string{"b2": "old"}
		synctest.Wait()
		n := w.start("b2")
		err := <-n.ended
		n.ended <- nil
		if err == nil || !strings.Contains(err.Error(), "dove, no Roost") || !strings.Contains(err.Error(), "cluster_tag") {
			t.Errorf("%v", err)
		}
		kvs, _, err := w.admin.Range(context.Background(), "")
		if err != nil {
			t.Fatal(err)
		}
		for _, kv := range kvs {
			if strings.HasSuffix(kv.Key, "/b2") || strings.HasPrefix(kv.Key, "held/old/") {
				t.Errorf("it left %s", kv.Key)
			}
		}
		w.put("backends/dove", nil)
		n = w.start("b2")
		time.Sleep(10 * time.Second)
		if s := n.holder.Status(); s.Held != cluster.Slots {
			t.Errorf("alone with the tag: %+v", s)
		}
	})
}
