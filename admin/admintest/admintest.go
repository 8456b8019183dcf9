// Package admintest is a cluster in memory for tests of operations: the test says
// which backends live, and when units go where they belong.
package admintest

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/roost-mail/roost/admin"
	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/cluster/coordmem"
	"github.com/roost-mail/roost/imap"
)

// Clock is the time of package time, which a synctest bubble has its own of.
type Clock struct{}

// Now implements cluster.Clock.
func (Clock) Now() time.Duration { return time.Duration(time.Now().UnixNano()) }

// After implements cluster.Clock.
func (Clock) After(d time.Duration) <-chan time.Time { return time.After(d) }

// Cluster is a coordinator, one node's View of it, and backends without mail.
type Cluster struct {
	Memory      *coordmem.Memory
	Coordinator *coordmem.Client // the View's
	View        *cluster.View
	Shared      *admin.Shared

	t      testing.TB
	leases map[string]cluster.LeaseID
}

// New makes a cluster without backends; it ends with the test.
func New(t testing.TB) *Cluster {
	t.Helper()
	memory := coordmem.New(Clock{})
	client := memory.Client()
	view := cluster.NewView(cluster.ViewConfig{Coordinator: client, Clock: Clock{}, Log: slog.New(slog.DiscardHandler)})
	template, err := cluster.ParseTemplate("%Lu")
	if err != nil {
		t.Fatal(err)
	}
	c := &Cluster{memory, client, view, admin.NewShared(view, client, template, Clock{}), t, map[string]cluster.LeaseID{}}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { view.Run(ctx) })
	t.Cleanup(func() {
		stop()
		running.Wait()
		memory.Close()
	})
	if _, err := cluster.Join(ctx, client, cluster.NewParams("%Lu", "%Lu")); err != nil {
		t.Fatal(err)
	}
	return c
}

// Put writes a record, with a backend's lease if it has one.
func (c *Cluster) Put(key string, record any, lease cluster.LeaseID) {
	c.t.Helper()
	value, err := json.Marshal(record)
	if err != nil {
		c.t.Fatal(err)
	}
	c.commit([]cluster.Op{{Key: key, Value: value, Lease: lease}})
}

func (c *Cluster) commit(ops []cluster.Op) {
	c.t.Helper()
	for batch := range slices.Chunk(ops, cluster.MaxOps) {
		revision, _, err := c.Coordinator.Commit(context.Background(), cluster.Txn{Then: batch})
		if err == nil {
			err = c.View.AwaitRevision(context.Background(), revision)
		}
		if err != nil {
			c.t.Fatal(err)
		}
	}
}

// Start has a backend register, and live.
func (c *Cluster) Start(name string, r cluster.Registration) {
	c.t.Helper()
	if r.Host == "" {
		r.Host, r.Port = name+".example.org", 143
	}
	lease, _, err := c.Coordinator.Grant(context.Background(), 24*time.Hour)
	if err != nil {
		c.t.Fatal(err)
	}
	c.leases[name] = lease
	c.Put("backends/"+name, r, 0)
	c.Put("alive/"+name, cluster.Alive{Incarnation: name + "-1", Candidate: true}, lease)
}

// Kill ends a backend's lease.
func (c *Cluster) Kill(name string) {
	c.t.Helper()
	if err := c.Coordinator.Revoke(context.Background(), c.leases[name]); err != nil {
		c.t.Fatal(err)
	}
	delete(c.leases, name)
	err := c.View.Await(context.Background(), func(m *cluster.Map) bool {
		n, _ := m.Node(name)
		return n.AliveAt == 0
	})
	if err != nil {
		c.t.Fatal(err)
	}
}

// Settle brings up to most units where they belong, and says how many it were.
func (c *Cluster) Settle(most int) int {
	c.t.Helper()
	var ops []cluster.Op
	c.View.Read(func(m *cluster.Map) {
		tags := map[string]bool{}
		for _, n := range m.Nodes() {
			tags[n.Registration.Tag] = true
		}
		for tag := range tags {
			for slot := range cluster.Slot(cluster.Slots) {
				ops = c.settle(m, ops, cluster.Unit{Tag: tag, Slot: slot}, fmt.Sprintf("held/%s/%05d", tag, slot))
			}
		}
		for user := range m.Pins() {
			ops = c.settle(m, ops, cluster.Unit{User: user}, "heldu/"+user)
		}
		for u := range m.Units() {
			if _, at := m.Pin(u.User); u.User != "" && at == 0 {
				ops = append(ops, cluster.Op{Key: "heldu/" + u.User, Delete: true})
			}
		}
	})
	ops = ops[:min(most, len(ops))]
	c.commit(ops)
	return len(ops)
}

func (c *Cluster) settle(m *cluster.Map, ops []cluster.Op, u cluster.Unit, key string) []cluster.Op {
	held, _ := m.Held(u)
	wanted := m.Wanted(u)
	if wanted == "" || wanted == held.Backend && m.Holds(held) || c.leases[wanted] == 0 {
		return ops
	}
	value, err := json.Marshal(cluster.Held{Backend: wanted, Incarnation: wanted + "-1", Lease: c.leases[wanted]})
	if err != nil {
		c.t.Fatal(err)
	}
	return append(ops, cluster.Op{Key: key, Value: value})
}

// Sessions are sessions without connections.
type Sessions struct {
	mu   sync.Mutex // guards list
	list []admin.Session
}

// Add adds sessions.
func (s *Sessions) Add(list ...admin.Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, list...)
}

// List implements admin.Sessions.
func (s *Sessions) List() iter.Seq[admin.Session] {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Values(slices.Clone(s.list))
}

// End implements admin.Sessions.
func (s *Sessions) End(match func(*admin.Session) bool, _ *imap.Error) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := len(s.list)
	s.list = slices.DeleteFunc(s.list, func(each admin.Session) bool { return match(&each) })
	return before - len(s.list)
}
