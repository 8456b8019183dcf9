package coordetcd

import (
	"context"
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
