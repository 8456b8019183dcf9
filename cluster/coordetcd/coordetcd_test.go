package coordetcd

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/cluster/coordetcd/etcdtest"
	"github.com/roost-mail/roost/cluster/coordtest"
)

func connect(t *testing.T, s *etcdtest.Server, prefix string) *Coordinator {
	t.Helper()
	c, err := New(Config{Endpoints: []string{s.Addr}, Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// The etcd of the system's packages does what a Coordinator does.
func TestCoordinator(t *testing.T) {
	s := etcdtest.Start(t, "127.0.0.1")
	n := 0
	coordtest.Run(t, func(t *testing.T) coordtest.Fixture {
		n++
		c := connect(t, s, fmt.Sprintf("/test%d/", n))
		return coordtest.Fixture{Coordinator: c, Compact: compact(c), TTL: 2 * time.Second}
	})
}

func compact(c *Coordinator) func(*testing.T, cluster.Revision) {
	return func(t *testing.T, revision cluster.Revision) {
		if _, err := c.client.Load().Compact(t.Context(), int64(revision)); err != nil {
			t.Fatal(err)
		}
	}
}

// Without a prefix all keys are seen; with one, only those below it.
func TestPrefix(t *testing.T) {
	s := etcdtest.Start(t, "127.0.0.1")
	all, one := connect(t, s, ""), connect(t, s, "/one/")
	if _, _, err := one.Commit(t.Context(), cluster.Txn{Then: []cluster.Op{{Key: "k"}}}); err != nil {
		t.Fatal(err)
	}
	kvs, at, err := all.Range(t.Context(), "")
	if err != nil || len(kvs) != 1 || kvs[0].Key != "/one/k" {
		t.Fatalf("%v, %v", kvs, err)
	}
	if kvs, _, err := connect(t, s, "/on/").Range(t.Context(), ""); err != nil || len(kvs) != 0 {
		t.Fatalf("%v, %v", kvs, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_ = all.Watch(ctx, "", at-1, func(events []cluster.Event, _ cluster.Revision) {
		if len(events) != 1 || events[0].Key != "/one/k" {
			t.Errorf("%v", events)
		}
		cancel()
	})
}

// A server that is killed fails calls within their time, and the watches; what was
// acknowledged is there when it is back.
func TestKilled(t *testing.T) {
	s := etcdtest.Start(t, "127.0.0.1")
	c := connect(t, s, "/")
	rev, _, err := c.Commit(t.Context(), cluster.Txn{Then: []cluster.Op{{Key: "k", Value: []byte("v")}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	brief, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, _, err := c.Range(brief, ""); err == nil {
		t.Error("a dead server was read")
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	for kvs := []cluster.KV(nil); len(kvs) != 1 || kvs[0].Changed != rev; {
		if kvs, _, err = c.Range(t.Context(), ""); err != nil && t.Context().Err() != nil {
			t.Fatal(err)
		}
	}
}

// A server that is stopped fails calls within their time.
func TestStopped(t *testing.T) {
	s := etcdtest.Start(t, "127.0.0.1")
	c := connect(t, s, "/")
	id, _, err := c.Grant(t.Context(), 2*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	brief, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := c.KeepAlive(brief, id); err == nil {
		t.Error("a stopped server kept a lease alive")
	}
	if err := s.Continue(); err != nil {
		t.Fatal(err)
	}
	for {
		if _, _, err := c.Range(t.Context(), ""); err == nil {
			return
		}
	}
}
