package main

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/roost-mail/roost/cluster"
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
		p.current.Store(&node{parts: p})
		got := gathered(t, &nodeMetrics{p, describe(clusterMetrics())})
		for _, r := range clusterMetrics() {
			if !slices.Contains(got, r.name) {
				t.Errorf("%s has no value", r.name)
			}
		}
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
