package cluster_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/cluster/coordetcd"
	"github.com/roost-mail/roost/cluster/coordetcd/etcdtest"
	"github.com/roost-mail/roost/cluster/coordmem"
)

// coordination makes ways to one coordinator of a new cluster.
type coordination func() cluster.Coordinator

// benchHolder is a backend in real time, until stop is called or the benchmark ends.
func benchHolder(b *testing.B, coordinate coordination, name string) (_ *cluster.Holder, _ *cluster.View, stop func()) {
	b.Helper()
	log := slog.New(slog.DiscardHandler)
	client := coordinate()
	view := cluster.NewView(cluster.ViewConfig{Coordinator: client, Clock: cluster.BootTime{}, Log: log})
	holder, err := cluster.NewHolder(cluster.HolderConfig{
		Coordinator: client, View: view, Clock: cluster.BootTime{}, Log: log,
		Name: name, Incarnation: name, Template: userHash(b),
		Registration: cluster.Registration{Host: "127.0.0.1", Volumes: []string{"v"}},
		Release:      func(context.Context, func(string) bool) error { return nil },
		Users:        func() []string { return nil },
		Suspend:      func(bool) {},
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	viewing, stopView := context.WithCancel(context.Background())
	all.Go(func() { view.Run(viewing) })
	all.Go(func() {
		defer stopView()
		if err := holder.Run(ctx); err != nil {
			b.Error(err)
		}
	})
	stop = sync.OnceFunc(func() {
		cancel()
		all.Wait()
	})
	b.Cleanup(stop)
	return holder, view, stop
}

func newMemory(b *testing.B) coordination {
	mem := coordmem.New(cluster.BootTime{})
	b.Cleanup(mem.Close)
	found(b, mem.Client())
	return func() cluster.Coordinator { return mem.Client() }
}

// newEtcd is a coordination by etcd processes of this machine.
func newEtcd(b *testing.B, members int) coordination {
	servers := []*etcdtest.Server{etcdtest.Start(b, "127.0.0.1")}
	if members > 1 {
		servers = etcdtest.StartMembers(b, "127.0.0.1", members)
	}
	var cfg coordetcd.Config
	for _, s := range servers {
		cfg.Endpoints = append(cfg.Endpoints, s.Addr)
	}
	cfg.Prefix = "/roost/"
	coordinate := func() cluster.Coordinator {
		c, err := coordetcd.New(cfg)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = c.Close() })
		return c
	}
	found(b, coordinate())
	return coordinate
}

// found begins a cluster.
func found(b *testing.B, c cluster.Coordinator) {
	for deadline := time.Now().Add(30 * time.Second); ; {
		_, err := cluster.Join(context.Background(), c, cluster.NewParams("%u", "%u"))
		if err == nil {
			return
		}
		if time.Now().After(deadline) { // members may not have a leader yet
			b.Fatal(err)
		}
	}
}

func benchClaim(b *testing.B, coordinate coordination) *cluster.Claim {
	holder, _, _ := benchHolder(b, coordinate, "b1")
	for {
		if c, err := holder.Claim(context.Background(), "ann"); err == nil {
			return c
		}
	}
}

func BenchmarkHolderCheck(b *testing.B) {
	c := benchClaim(b, newMemory(b))
	b.ReportAllocs()
	for b.Loop() {
		if err := c.Check(); err != nil {
			b.Fatal(err)
		}
	}
}

// Confirm at the coordinator in memory: what the sharing costs.
func BenchmarkHolderConfirm(b *testing.B) {
	for _, waiters := range []int{1, 64} {
		b.Run(fmt.Sprint(waiters), func(b *testing.B) {
			c := benchClaim(b, newMemory(b))
			b.SetParallelism(waiters)
			b.ReportAllocs()
			if waiters == 1 {
				for b.Loop() {
					if err := c.Confirm(context.Background()); err != nil {
						b.Fatal(err)
					}
				}
				return
			}
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					if err := c.Confirm(context.Background()); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

// Confirm at etcd, by one commit after the other and by 64 at a time: the commit check.
func BenchmarkEtcdConfirm(b *testing.B) {
	for _, members := range []int{1, 3} {
		for _, waiters := range []int{1, 64} {
			b.Run(fmt.Sprintf("members=%d/commits=%d", members, waiters), func(b *testing.B) {
				c := benchClaim(b, newEtcd(b, members))
				var mu sync.Mutex // guards took
				var took []time.Duration
				b.SetParallelism(waiters)
				b.ResetTimer()
				b.RunParallel(func(p *testing.PB) {
					for p.Next() {
						if waiters == 1 { // not as many as there are processors
							mu.Lock()
						}
						began := time.Now()
						if err := c.Confirm(context.Background()); err != nil {
							b.Error(err)
						}
						d := time.Since(began)
						if waiters > 1 {
							mu.Lock()
						}
						took = append(took, d)
						mu.Unlock()
					}
				})
				slices.Sort(took)
				b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
				b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
			})
		}
	}
}

// All slots of a new cluster are taken by two backends; then a third comes, and goes.
func BenchmarkHolderSettle(b *testing.B) { benchSettle(b, newMemory) }

// The same at etcd.
func BenchmarkEtcdSettle(b *testing.B) {
	for _, members := range []int{1, 3} {
		b.Run(fmt.Sprintf("members=%d", members), func(b *testing.B) {
			benchSettle(b, func(b *testing.B) coordination { return newEtcd(b, members) })
		})
	}
}

func benchSettle(b *testing.B, begin func(*testing.B) coordination) {
	var start, join, leave time.Duration
	for b.Loop() {
		coordinate := begin(b)
		began := time.Now()
		_, view, stop1 := benchHolder(b, coordinate, "b1")
		awaitSettled(b, view, 1)
		start += time.Since(began)
		_, _, stop2 := benchHolder(b, coordinate, "b2")
		awaitSettled(b, view, 2)
		began = time.Now()
		_, _, stop3 := benchHolder(b, coordinate, "b3")
		awaitSettled(b, view, 3)
		join += time.Since(began)
		began = time.Now()
		stop3() // it says that it goes: as at a death, from the moment when the lease has ended
		awaitSettled(b, view, 2)
		leave += time.Since(began)
		stop2()
		stop1()
	}
	b.ReportMetric(float64(start.Milliseconds())/float64(b.N), "ms/start")
	b.ReportMetric(float64(join.Milliseconds())/float64(b.N), "ms/join")
	b.ReportMetric(float64(leave.Milliseconds())/float64(b.N), "ms/leave")
}

// awaitSettled waits until so many backends live, and every slot is held by who should.
func awaitSettled(b *testing.B, view *cluster.View, backends int) {
	b.Helper()
	err := view.Await(context.Background(), func(m *cluster.Map) bool {
		living := 0
		for _, n := range m.Nodes() {
			if n.AliveAt != 0 {
				living++
			}
		}
		for s := range cluster.Slot(cluster.Slots) {
			u := cluster.Unit{Slot: s}
			if held, _ := m.Held(u); !m.Holds(held) || held.Backend != m.Wanted(u) {
				return false
			}
		}
		return living == backends
	})
	if err != nil {
		b.Fatal(err)
	}
}
