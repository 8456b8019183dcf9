package coordmem_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/cluster/coordmem"
	"github.com/roost-mail/roost/cluster/coordtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCoordinator(t *testing.T) {
	coordtest.Run(t, func(t *testing.T) coordtest.Fixture {
		m := coordmem.New(cluster.BootTime{})
		t.Cleanup(m.Close)
		return coordtest.Fixture{
			Coordinator: m.Client(),
			Compact:     func(_ *testing.T, revision cluster.Revision) { m.Compact(revision) },
			TTL:         100 * time.Millisecond,
		}
	})
}

// clock is that of a synctest bubble.
type clock struct{ begun time.Time }

func (c clock) Now() time.Duration                     { return time.Since(c.begun) }
func (c clock) After(d time.Duration) <-chan time.Time { return time.After(d) }

// A node that is cut off keeps its lease until that ends.
func TestCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := coordmem.New(clock{time.Now()})
		defer m.Close()
		near, far := m.Client(), m.Client()
		id, ttl, err := far.Grant(t.Context(), 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := far.Commit(t.Context(), cluster.Txn{Then: []cluster.Op{{Key: "far", Lease: id}}}); err != nil {
			t.Fatal(err)
		}
		far.Cut(true)
		if _, err := far.KeepAlive(t.Context(), id); err == nil {
			t.Error("a node that is cut off kept its lease alive")
		}
		time.Sleep(ttl - time.Millisecond)
		if kvs, _, err := near.Range(t.Context(), "far"); err != nil || len(kvs) != 1 {
			t.Errorf("before the lease ends: %v, %v", kvs, err)
		}
		time.Sleep(2 * time.Millisecond)
		if kvs, _, err := near.Range(t.Context(), "far"); err != nil || len(kvs) != 0 {
			t.Errorf("after the lease has ended: %v, %v", kvs, err)
		}
		far.Cut(false)
		if _, err := far.KeepAlive(t.Context(), id); !errors.Is(err, cluster.ErrNoLease) {
			t.Errorf("back again: %v", err)
		}
	})
}

// A coordinator that was restored from a backup knows nothing of what came after it.
func TestRestore(t *testing.T) {
	m := coordmem.New(cluster.BootTime{})
	defer m.Close()
	c := m.Client()
	put := func(key string) cluster.Revision {
		rev, _, err := c.Commit(t.Context(), cluster.Txn{Then: []cluster.Op{{Key: key}}})
		if err != nil {
			t.Fatal(err)
		}
		return rev
	}
	put("kept")
	s := m.Snapshot()
	late := put("lost")
	m.Restore(s)
	kvs, at, err := c.Range(t.Context(), "")
	if err != nil || len(kvs) != 1 || at >= late {
		t.Errorf("%v at %d, %v", kvs, at, err)
	}
	if err := c.Watch(t.Context(), "", late, func([]cluster.Event, cluster.Revision) {}); !errors.Is(err, cluster.ErrCompacted) {
		t.Errorf("a watch from after the backup: %v", err)
	}
}

// While it is off leases stand still, and then they run for their whole time again.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := coordmem.New(clock{time.Now()})
		defer m.Close()
		c := m.Client()
		id, ttl, err := c.Grant(t.Context(), 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.Commit(t.Context(), cluster.Txn{Then: []cluster.Op{{Key: "k", Lease: id}}}); err != nil {
			t.Fatal(err)
		}
		m.Stop()
		time.Sleep(time.Hour)
		m.Start()
		for _, row := range []struct {
			after time.Duration
			keys  int
		}{{ttl - time.Millisecond, 1}, {2 * time.Millisecond, 0}} {
			time.Sleep(row.after)
			if kvs, _, err := c.Range(t.Context(), "k"); err != nil || len(kvs) != row.keys {
				t.Errorf("%v, %v; want %d keys", kvs, err, row.keys)
			}
		}
	})
}
