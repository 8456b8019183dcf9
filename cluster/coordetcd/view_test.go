package coordetcd

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/cluster/coordetcd/etcdtest"
)

// A View follows etcd through a stop, and through its being made anew, which a
// watch of etcd's client does not notice.
func TestView(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits until silence is noticed")
	}
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "etcd")
	s := etcdtest.Start(t, "127.0.0.1", "--data-dir", dir)
	c := connect(t, s, "/roost/")
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	v := cluster.NewView(cluster.ViewConfig{Coordinator: c, Clock: cluster.BootTime{}, Log: slog.New(slog.DiscardHandler)})
	go v.Run(ctx)
	await := func(what string, f func(*cluster.Map) bool) {
		t.Helper()
		if err := v.Await(ctx, f); err != nil {
			t.Fatalf("%s: %v; %+v", what, err, v.Contact())
		}
	}
	pinned := func(user string) func(*cluster.Map) bool {
		return func(m *cluster.Map) bool {
			p, _ := m.Pin(user)
			return p.Backend == "b"
		}
	}
	pin := func(user string) {
		t.Helper()
		for {
			_, ok, err := c.Commit(ctx, cluster.Txn{Then: []cluster.Op{{Key: "pins/" + user, Value: []byte(`{"backend":"b"}`)}}})
			if ok || ctx.Err() != nil {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
		}
	}
	for range 20 {
		pin("ann")
	}
	await("a change", pinned("ann"))

	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	for v.Contact().Away == nil && ctx.Err() == nil {
		wait, done := context.WithTimeout(ctx, 100*time.Millisecond)
		_ = v.Await(wait, func(*cluster.Map) bool { return false })
		done()
	}
	if err := s.Continue(); err != nil {
		t.Fatal(err)
	}
	pin("bob")
	await("a change after a stop", pinned("bob"))

	_ = s.Kill()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	pin("carol")
	await("etcd that was made anew", func(m *cluster.Map) bool {
		_, known := m.Pin("ann")
		return pinned("carol")(m) && known == 0
	})
}

// A View learns all that etcd has after it was restored from a copy and has gone on, beyond
// what the View had seen, before the View is connected again.
func TestViewOfRestored(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t, "127.0.0.1")
	c, other := connect(t, s, "/roost/"), connect(t, s, "/roost/")
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	v := cluster.NewView(cluster.ViewConfig{Coordinator: c, Clock: cluster.BootTime{}, Log: slog.New(slog.DiscardHandler)})
	go v.Run(ctx)
	pin := func(user string) {
		t.Helper()
		for {
			_, ok, err := other.Commit(ctx, cluster.Txn{Then: []cluster.Op{{Key: "pins/" + user, Value: []byte(`{"backend":"b"}`)}}})
			if ok {
				return
			}
			if ctx.Err() != nil {
				t.Fatal(err)
			}
		}
	}
	await := func(what string, f func(known func(user string) bool) bool) {
		t.Helper()
		err := v.Await(ctx, func(m *cluster.Map) bool {
			return f(func(user string) bool { _, at := m.Pin(user); return at != 0 })
		})
		if err != nil {
			t.Fatalf("%s: %v; %+v", what, err, v.Contact())
		}
	}
	pin("ann")
	if err := s.Copy(); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		pin(fmt.Sprint("lost", i))
	}
	await("changes", func(known func(string) bool) bool { return known("ann") && known("lost4") })
	if err := s.Restore(); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		pin(fmt.Sprint("new", i))
	}
	await("what was restored, and came since", func(known func(string) bool) bool {
		for i := range 20 {
			if !known(fmt.Sprint("new", i)) {
				return false
			}
		}
		return known("ann") && !known("lost0") && !known("lost4")
	})
}
