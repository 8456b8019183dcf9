package coordetcd

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/cluster/coordetcd/etcdtest"
)

// coordinators are those that are measured: one member, and three on one machine.
func coordinators(b *testing.B, run func(b *testing.B, c *Coordinator)) {
	for _, members := range []int{1, 3} {
		b.Run(fmt.Sprintf("members=%d", members), func(b *testing.B) {
			var endpoints []string
			for _, s := range startMembers(b, members) {
				endpoints = append(endpoints, s.Addr)
			}
			c, err := New(Config{Endpoints: endpoints, Prefix: "/roost/"})
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			for {
				if _, _, err = c.Range(b.Context(), ""); err == nil {
					break
				}
			}
			run(b, c)
		})
	}
}

func startMembers(b *testing.B, n int) []*etcdtest.Server {
	if n == 1 {
		return []*etcdtest.Server{etcdtest.Start(b, host)}
	}
	return etcdtest.StartMembers(b, host, n)
}

// measure reports the percentiles of what one call takes.
func measure(b *testing.B, call func(i int) error) {
	var took []time.Duration
	for i := 0; b.Loop(); i++ {
		begun := time.Now()
		if err := call(i); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(begun))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

// BenchmarkRead is a linearizable read: what asking the coordinator at a commit costs.
func BenchmarkRead(b *testing.B) {
	coordinators(b, func(b *testing.B, c *Coordinator) {
		if _, _, err := c.Commit(b.Context(), cluster.Txn{Then: []cluster.Op{{Key: "k", Value: make([]byte, 100)}}}); err != nil {
			b.Fatal(err)
		}
		measure(b, func(int) error {
			_, _, err := c.Range(b.Context(), "k")
			return err
		})
	})
}

// BenchmarkCommit is one change on a condition.
func BenchmarkCommit(b *testing.B) {
	coordinators(b, func(b *testing.B, c *Coordinator) {
		var at cluster.Revision
		measure(b, func(int) (err error) {
			at, _, err = c.Commit(b.Context(), cluster.Txn{
				If:   []cluster.Condition{{Key: "k", Changed: at}},
				Then: []cluster.Op{{Key: "k", Value: make([]byte, 100)}},
			})
			return err
		})
	})
}

// BenchmarkKeepAlive renews a lease.
func BenchmarkKeepAlive(b *testing.B) {
	coordinators(b, func(b *testing.B, c *Coordinator) {
		id, _, err := c.Grant(b.Context(), time.Minute)
		if err != nil {
			b.Fatal(err)
		}
		measure(b, func(int) error {
			_, err := c.KeepAlive(b.Context(), id)
			return err
		})
	})
}

// BenchmarkAllSlots changes 16384 keys, MaxOps at once, while somebody watches them all.
func BenchmarkAllSlots(b *testing.B) {
	coordinators(b, func(b *testing.B, c *Coordinator) {
		_, at, err := c.Range(b.Context(), "held/")
		if err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithCancel(b.Context())
		told := make(chan int, cluster.Slots)
		ended := make(chan error, 1)
		go func() {
			ended <- c.Watch(ctx, "held/", at, func(events []cluster.Event, _ cluster.Revision) { told <- len(events) })
		}()
		for b.Loop() {
			for first := 0; first < cluster.Slots; first += cluster.MaxOps {
				var txn cluster.Txn
				for i := range cluster.MaxOps {
					txn.Then = append(txn.Then, cluster.Op{Key: fmt.Sprintf("held/t/%05d", first+i), Value: make([]byte, 80)})
				}
				if _, _, err := c.Commit(ctx, txn); err != nil {
					b.Fatal(err)
				}
			}
			for seen := 0; seen < cluster.Slots; {
				seen += <-told
			}
		}
		cancel()
		<-ended
	})
}
