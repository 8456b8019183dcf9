package coordetcd

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/cluster/coordetcd/etcdtest"
)

// A watch that is begun again where it ended tells each change once, however often the
// server is killed meanwhile.
func TestWatchKilled(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t, host)
	c := connect(t, s, "/")
	_, after, err := c.Range(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	const rounds, changes = 3, 20
	told, all := map[cluster.Revision]int{}, make(chan struct{})
	go func() {
		defer close(all)
		for ctx.Err() == nil && len(told) < rounds*changes {
			watching, enough := context.WithCancel(ctx)
			_ = c.Watch(watching, "", after, func(events []cluster.Event, at cluster.Revision) {
				for _, e := range events {
					told[e.Changed]++
				}
				if after = at; len(told) == rounds*changes {
					enough()
				}
			})
			enough()
		}
	}()
	made := map[cluster.Revision]bool{}
	for round := range rounds {
		for i := range changes {
			rev, ok, err := c.Commit(ctx, cluster.Txn{Then: []cluster.Op{{Key: fmt.Sprint(i)}}})
			if err != nil || !ok {
				t.Fatal(round, ok, err)
			}
			made[rev] = true
		}
		if err := s.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		for _, _, err := c.Range(ctx, ""); err != nil && ctx.Err() == nil; {
			_, _, err = c.Range(ctx, "")
		}
	}
	<-all
	for rev := range made {
		if told[rev] != 1 {
			t.Errorf("revision %d was told %d times", rev, told[rev])
		}
	}
}
