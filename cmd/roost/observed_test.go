package main

import (
	"context"
	"log/slog"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/cluster/coordetcd/member"
	"github.com/roost-mail/roost/cluster/coordmem"
)

// TestClusterMetrics: every row that concerns a cluster has a value on a node that follows
// one, and a backend that has registered is checked by the others.
func TestClusterMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := bubbleClock{time.Now()}
		memory := coordmem.New(clock)
		defer memory.Close()
		client := memory.Client()
		p := &parts{observed: observed{coordinator: cluster.Measure(client, clock)}}
		p.observed.view = cluster.NewView(cluster.ViewConfig{Coordinator: p.observed.coordinator, Clock: clock, Log: slog.New(slog.DiscardHandler)})
		if c := p.observed.conditions(); fulfilledAll(c) || c[0].Reason != "it is not known yet" {
			t.Errorf("before the map is known: %+v", c)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go p.observed.view.Run(ctx)
		_, _, err := p.observed.coordinator.Commit(ctx, cluster.Txn{Then: []cluster.Op{
			{Key: "backends/b1", Value: []byte(`{"host":"192.0.2.1","port":993,"tls":"imaps"}`)},
			{Key: "backends/me", Value: []byte(`{"host":"192.0.2.2","port":143}`)},
		}})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if c := p.observed.conditions(); !fulfilledAll(c) {
			t.Errorf("%+v", c)
		}
		targets := registeredTargets(p.observed.view, "me", false)
		if len(targets) != 1 || targets[0].Name != "b1" || targets[0].Addr != "192.0.2.1:993" || targets[0].Host != "192.0.2.1" {
			t.Errorf("targets: %+v", targets)
		}
		p.observed.name = "b1"
		p.observed.lease = func() lease { return lease{left: 3 * time.Second, held: 2} }
		if c := p.observed.conditions(); !fulfilledAll(c) || len(c) != 3 {
			t.Errorf("with a lease: %+v", c)
		}
		p.observed.member = func() (member.Health, member.Syncs) {
			return member.Health{Led: true}, member.Syncs{P99: math.MaxInt64}
		}
		p.current.Store(&node{parts: p})
		got := gathered(t, &nodeMetrics{p, describe(clusterMetrics())})
		for _, r := range clusterMetrics() {
			if !slices.Contains(got, r.name) {
				t.Errorf("%s has no value", r.name)
			}
		}
		p.observed.lease = func() lease { return lease{left: -2 * time.Second} }
		if got, want := conditionsText(p.observed.conditions()), "NOT READY: lease: it was lost 2s ago\n"; !strings.Contains(got, want) {
			t.Errorf("without a lease:\n%s", got)
		}
		p.observed.lease = func() lease { return lease{left: time.Second} }
		_, _, err = p.observed.coordinator.Commit(ctx, cluster.Txn{Then: []cluster.Op{
			{Key: "wishes/b1", Value: []byte(`{"state":"drain","weight":100,"why":"new disks"}`)},
		}})
		synctest.Wait()
		if got, want := conditionsText(p.observed.conditions()), "NOT READY: administrator: wants drain: new disks\n"; err != nil || !strings.Contains(got, want) {
			t.Errorf("draining: %v\n%s", err, got)
		}
		p.observed.lease = nil
		client.Cut(true)
		time.Sleep(time.Minute)
		if c := p.observed.conditions(); !fulfilledAll(c) {
			t.Errorf("who knows the map serves on without a coordinator: %+v", c)
		}
		cancel()
		synctest.Wait()
	})
}

// TestNoClusterMetrics: a node without a coordinator has none of them.
func TestNoClusterMetrics(t *testing.T) {
	p := &parts{}
	p.current.Store(&node{parts: p})
	if got := gathered(t, &nodeMetrics{p, describe(clusterMetrics())}); len(got) > 0 {
		t.Errorf("%s", strings.Join(got, ", "))
	}
}

func gathered(t *testing.T, c prometheus.Collector) (names []string) {
	t.Helper()
	r := prometheus.NewRegistry()
	r.MustRegister(c)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		names = append(names, f.GetName())
	}
	return names
}
