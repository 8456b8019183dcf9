package coordetcd

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/roost-mail/roost/cluster/coordetcd/etcdtest"
)

// A leader that was paused, and replaced meanwhile, keeps no lease alive that the others
// have ended: it does not know yet that it is none any more.
func TestPausedLeader(t *testing.T) {
	if testing.Short() {
		t.Skip("members take seconds to elect")
	}
	t.Parallel()
	servers := etcdtest.StartMembers(t, host, 3)
	const asked = 50 // calls that wait for the leader when it goes on
	for round := range 3 {
		leader, others := findLeader(t, servers)
		id, _, err := others.Grant(t.Context(), 30*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		alone := connect(t, leader, "")
		if _, err := alone.KeepAlive(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if err := leader.Stop(); err != nil {
			t.Fatal(err)
		}
		for err := errors.New("not yet"); err != nil; {
			if err = others.Revoke(t.Context(), id); t.Context().Err() != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		kept := make(chan error)
		for range asked {
			go func() {
				_, err := alone.KeepAlive(ctx, id)
				kept <- err
			}()
		}
		// A call that was begun later had its time: theirs lie before the leader.
		brief, done := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer done()
		if _, err := alone.KeepAlive(brief, id); err == nil {
			t.Error("a leader answered that is stopped")
		}
		if err := leader.Continue(); err != nil {
			t.Fatal(err)
		}
		for range asked {
			if err := <-kept; err == nil {
				t.Errorf("round %d: a lease was kept alive that had been revoked", round)
			}
		}
	}
}

// findLeader gives the leader, and a Coordinator at the others.
func findLeader(t *testing.T, servers []*etcdtest.Server) (*etcdtest.Server, *Coordinator) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for ctx.Err() == nil {
		for i, s := range servers {
			c := connect(t, s, "")
			status, err := c.client.Load().Status(ctx, s.Addr)
			if err != nil || status.Leader != status.Header.MemberId {
				continue
			}
			var rest []string
			for j, other := range servers {
				if j != i {
					rest = append(rest, other.Addr)
				}
			}
			others, err := New(Config{Endpoints: rest})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = others.Close() })
			if _, _, err := others.Range(ctx, ""); err == nil {
				return s, others
			}
		}
	}
	t.Fatal("no leader")
	return nil, nil
}
