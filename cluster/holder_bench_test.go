package cluster_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/cluster/coordmem"
)

// benchHolder is a backend in real time.
func benchHolder(b *testing.B, mem *coordmem.Memory, name string) (*cluster.Holder, *cluster.View) {
	b.Helper()
	log := slog.New(slog.DiscardHandler)
	client := mem.Client()
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
	ctx, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	viewing, stopView := context.WithCancel(context.Background())
	all.Go(func() { view.Run(viewing) })
	all.Go(func() {
		defer stopView()
		if err := holder.Run(ctx); err != nil {
			b.Error(err)
		}
	})
	b.Cleanup(func() {
		stop()
		all.Wait()
	})
	return holder, view
}

func newMemory(b *testing.B) *coordmem.Memory {
	mem := coordmem.New(cluster.BootTime{})
	b.Cleanup(mem.Close)
	if _, err := cluster.Join(context.Background(), mem.Client(), cluster.NewParams("%u", "%u")); err != nil {
		b.Fatal(err)
	}
	return mem
}

func benchClaim(b *testing.B) *cluster.Claim {
	holder, _ := benchHolder(b, newMemory(b), "b1")
	for {
		if c, err := holder.Claim(context.Background(), "ann"); err == nil {
			return c
		}
	}
}

func BenchmarkHolderCheck(b *testing.B) {
	c := benchClaim(b)
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
			c := benchClaim(b)
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

// All slots of a new cluster are taken, then half of them given to a second backend.
func BenchmarkHolderSettle(b *testing.B) {
	var first, second time.Duration
	for b.Loop() {
		mem := newMemory(b)
		began := time.Now()
		b1, view := benchHolder(b, mem, "b1")
		awaitHeld(b, view, b1, cluster.Slots, cluster.Slots)
		first += time.Since(began)
		began = time.Now()
		b2, view := benchHolder(b, mem, "b2")
		awaitHeld(b, view, b2, cluster.Slots/4, cluster.Slots)
		second += time.Since(began)
	}
	b.ReportMetric(float64(first.Milliseconds())/float64(b.N), "ms/start")
	b.ReportMetric(float64(second.Milliseconds())/float64(b.N), "ms/join")
}

// awaitHeld waits until a backend holds some slots at least, and all together are held
// by who should.
func awaitHeld(b *testing.B, view *cluster.View, h *cluster.Holder, least, all int) {
	b.Helper()
	err := view.Await(context.Background(), func(m *cluster.Map) bool {
		if s := h.Status(); s.Held < least || s.Held != s.Wanted {
			return false
		}
		n := 0
		for _, held := range m.Units() {
			if m.Holds(held) {
				n++
			}
		}
		return n == all
	})
	if err != nil {
		b.Fatal(err)
	}
}
