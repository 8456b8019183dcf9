package cluster_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/cluster/coordmem"
	"github.com/roost-mail/roost/cluster/coordtest"
)

// TestMeasuredCoordinator: it is the Coordinator that it counts for.
func TestMeasuredCoordinator(t *testing.T) {
	coordtest.Run(t, func(t *testing.T) coordtest.Fixture {
		m := coordmem.New(cluster.BootTime{})
		t.Cleanup(m.Close)
		return coordtest.Fixture{
			Coordinator: cluster.Measure(m.Client(), cluster.BootTime{}),
			Compact:     func(_ *testing.T, revision cluster.Revision) { m.Compact(revision) },
			TTL:         100 * time.Millisecond,
		}
	})
}

func TestMeasure(t *testing.T) {
	memory := coordmem.New(cluster.BootTime{})
	defer memory.Close()
	client := memory.Client()
	m := cluster.Measure(client, cluster.BootTime{})
	ctx := t.Context()
	_, _, _ = m.Commit(ctx, cluster.Txn{Then: []cluster.Op{{Key: "k"}}})
	_, _, _ = m.Commit(ctx, cluster.Txn{If: []cluster.Condition{{Key: "k"}}, Then: []cluster.Op{{Key: "k"}}})
	_, _, _ = m.Range(ctx, "k")
	_, _ = m.KeepAlive(ctx, 12345)
	off, cancel := context.WithCancel(ctx)
	cancel()
	_, _, _ = m.Range(off, "k")
	_ = m.Watch(off, "k", 1, func([]cluster.Event, cluster.Revision) {})
	client.Cut(true)
	_, _, _ = m.Range(ctx, "k")
	var got []string
	for call, s := range m.Calls() {
		got = append(got, fmt.Sprintf("%s %s=%d", call.Operation, call.Result, s.Count))
	}
	slices.Sort(got)
	if got, want := strings.Join(got, ", "), "commit conflict=1, commit ok=1, keepalive conflict=1, range failed=1, range ok=1"; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}
