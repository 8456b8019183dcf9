// Package coordmem is a Coordinator in the memory of one process, for a cluster whose
// nodes all live there, and for tests: leases end by a Clock that may be simulated,
// and nodes can be cut off.
package coordmem

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/roost-mail/roost/cluster"
)

// Memory holds the keys. Its methods may be called by any number of goroutines.
type Memory struct {
	clock cluster.Clock

	mu        sync.Mutex // guards what follows
	revision  cluster.Revision
	compacted cluster.Revision // what happened up to here is forgotten
	keys      map[string]cluster.KV
	sorted    []string // the keys
	history   []change // after compacted
	leases    map[cluster.LeaseID]*lease
	lastLease cluster.LeaseID
	changed   chan struct{} // closed at the next change
}

// change is what one revision changed.
type change struct {
	revision cluster.Revision
	events   []cluster.Event
}

type lease struct {
	ttl  time.Duration
	ends time.Duration // by the clock
	stop chan struct{} // closed when it has ended
}

// maxHistory bounds the changes that are kept for those who watch.
const maxHistory = 100_000

// New makes a Memory without keys, at revision 1.
func New(clock cluster.Clock) *Memory {
	return &Memory{
		clock: clock, revision: 1,
		keys: map[string]cluster.KV{}, leases: map[cluster.LeaseID]*lease{}, changed: make(chan struct{}),
	}
}

// Close ends the leases' timers. Keys stay as they are.
func (m *Memory) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, l := range m.leases {
		close(l.stop)
		delete(m.leases, id)
	}
}

// Client is the Coordinator of one node.
func (m *Memory) Client() *Client {
	return &Client{m: m, whole: make(chan struct{})}
}

// Compact forgets what happened up to a revision, so that a Watch from before it has
// to list again.
func (m *Memory) Compact(revision cluster.Revision) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forget(min(revision, m.revision))
}

// forget drops history. m.mu is held.
func (m *Memory) forget(revision cluster.Revision) {
	keep, _ := slices.BinarySearchFunc(m.history, revision+1, func(c change, r cluster.Revision) int { return int(c.revision - r) })
	m.history = slices.Clone(m.history[keep:])
	m.compacted = max(m.compacted, revision)
}

// Snapshot is a copy of all keys, as a backup of a coordinator is.
type Snapshot struct {
	revision cluster.Revision
	keys     map[string]cluster.KV
	leases   map[cluster.LeaseID]time.Duration
}

// Snapshot takes one.
func (m *Memory) Snapshot() *Snapshot {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := &Snapshot{m.revision, map[string]cluster.KV{}, map[cluster.LeaseID]time.Duration{}}
	for k, kv := range m.keys {
		s.keys[k] = kv
	}
	for id, l := range m.leases {
		s.leases[id] = l.ttl
	}
	return s
}

// Restore makes everything as it was in a snapshot, the revision too. Leases that
// were there run again for their whole time. Whoever watches has to list again.
func (m *Memory) Restore(s *Snapshot) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, l := range m.leases {
		close(l.stop)
		delete(m.leases, id)
	}
	m.revision, m.compacted, m.history = s.revision, s.revision, nil
	m.keys = map[string]cluster.KV{}
	for k, kv := range s.keys {
		m.keys[k] = kv
	}
	m.sorted = slices.Sorted(maps.Keys(m.keys))
	for id, ttl := range s.leases {
		m.grant(id, ttl)
	}
	m.wake()
}

// Stop has leases stand still, as a coordinator that is off does. They run again for their
// whole time after Start. It does not keep clients off.
func (m *Memory) Stop() {
	m.again(func(id cluster.LeaseID, ttl time.Duration) { m.leases[id] = newLease(ttl, 0) })
}

// Start undoes Stop.
func (m *Memory) Start() { m.again(m.grant) }

// again has other leases in the place of all.
func (m *Memory) again(grant func(id cluster.LeaseID, ttl time.Duration)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, l := range m.leases {
		close(l.stop)
		grant(id, l.ttl)
	}
}

func (m *Memory) wake() {
	close(m.changed)
	m.changed = make(chan struct{})
}

func newLease(ttl, ends time.Duration) *lease {
	return &lease{ttl: ttl, ends: ends, stop: make(chan struct{})}
}

// grant makes a lease. m.mu is held.
func (m *Memory) grant(id cluster.LeaseID, ttl time.Duration) {
	l := newLease(ttl, m.clock.Now()+ttl)
	m.leases[id] = l
	go m.expire(id, l)
}

// expire ends a lease when its time has come. It returns when the lease has ended.
func (m *Memory) expire(id cluster.LeaseID, l *lease) {
	for {
		m.mu.Lock()
		left := l.ends - m.clock.Now()
		if left <= 0 && m.leases[id] == l {
			m.end(id)
		}
		m.mu.Unlock()
		if left <= 0 {
			return
		}
		select {
		case <-m.clock.After(left):
		case <-l.stop:
			return
		}
	}
}

// end ends a lease, and deletes its keys in one revision. m.mu is held.
func (m *Memory) end(id cluster.LeaseID) {
	l := m.leases[id]
	if l == nil {
		return
	}
	close(l.stop)
	delete(m.leases, id)
	var ops []cluster.Op
	for key, kv := range m.keys {
		if kv.Lease == id {
			ops = append(ops, cluster.Op{Key: key, Delete: true})
		}
	}
	m.apply(ops)
}

// apply does ops as one revision. Deletions of what is not there change nothing.
// m.mu is held.
func (m *Memory) apply(ops []cluster.Op) {
	slices.SortFunc(ops, func(a, b cluster.Op) int { return strings.Compare(a.Key, b.Key) })
	c := change{revision: m.revision + 1}
	for _, op := range ops {
		kv := cluster.KV{Key: op.Key, Value: slices.Clone(op.Value), Changed: c.revision, Lease: op.Lease}
		_, had := m.keys[op.Key]
		switch {
		case !op.Delete:
			if !had {
				i, _ := slices.BinarySearch(m.sorted, op.Key)
				m.sorted = slices.Insert(m.sorted, i, op.Key)
			}
			m.keys[op.Key] = kv
			c.events = append(c.events, cluster.Event{KV: kv})
		case had:
			i, _ := slices.BinarySearch(m.sorted, op.Key)
			m.sorted = slices.Delete(m.sorted, i, i+1)
			delete(m.keys, op.Key)
			c.events = append(c.events, cluster.Event{KV: cluster.KV{Key: op.Key, Changed: c.revision}, Deleted: true})
		}
	}
	if len(c.events) == 0 {
		return
	}
	m.revision = c.revision
	m.history = append(m.history, c)
	if len(m.history) > maxHistory {
		m.forget(m.history[maxHistory/2].revision)
	}
	m.wake()
}

// Client is a node's way to a Memory, which can be cut.
type Client struct {
	m *Memory

	mu      sync.Mutex    // guards what follows
	hang    chan struct{} // calls wait for its end, if there is one
	isCut   bool
	whole   chan struct{} // closed when it is cut, to end what is under way
	counted int
}

var _ cluster.Coordinator = (*Client)(nil)

var errCut = errors.New("the coordinator can't be reached")

// Cut has calls fail, those under way too, until it is called with false.
func (c *Client) Cut(cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cut == c.isCut {
		return
	}
	c.isCut = cut
	if cut {
		close(c.whole)
	} else {
		c.whole = make(chan struct{})
	}
}

// Hang has calls wait until it is called with false, as packets that are lost do. What
// a Watch has to tell waits as well.
func (c *Client) Hang(hang bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case hang && c.hang == nil:
		c.hang = make(chan struct{})
	case !hang && c.hang != nil:
		close(c.hang)
		c.hang = nil
	}
}

// Calls is how many calls there were.
func (c *Client) Calls() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counted
}

// pass waits until a call, or its answer, gets through. cut ends what waits later.
func (c *Client) pass(ctx context.Context) (cut <-chan struct{}, err error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		c.mu.Lock()
		hang, whole, isCut := c.hang, c.whole, c.isCut
		c.mu.Unlock()
		switch {
		case isCut:
			return nil, errCut
		case hang == nil:
			return whole, nil
		}
		select {
		case <-hang:
		case <-whole:
		case <-ctx.Done():
		}
	}
}

// call has f happen, if the request gets through, and says whether the answer does.
func (c *Client) call(ctx context.Context, f func(m *Memory) error) error {
	c.mu.Lock()
	c.counted++
	c.mu.Unlock()
	if _, err := c.pass(ctx); err != nil {
		return err
	}
	c.m.mu.Lock()
	err := f(c.m)
	c.m.mu.Unlock()
	if _, lost := c.pass(ctx); lost != nil {
		return lost
	}
	return err
}

// Range implements cluster.Coordinator.
func (c *Client) Range(ctx context.Context, prefix string) (kvs []cluster.KV, at cluster.Revision, err error) {
	err = c.call(ctx, func(m *Memory) error {
		at = m.revision
		first, _ := slices.BinarySearch(m.sorted, prefix)
		for _, key := range m.sorted[first:] {
			if !strings.HasPrefix(key, prefix) {
				break
			}
			kv := m.keys[key]
			kv.Value = slices.Clone(kv.Value)
			kvs = append(kvs, kv)
		}
		return nil
	})
	if err != nil {
		return nil, 0, err
	}
	return kvs, at, nil
}

// Commit implements cluster.Coordinator.
func (c *Client) Commit(ctx context.Context, t cluster.Txn) (revision cluster.Revision, ok bool, err error) {
	if err := checkTxn(t); err != nil {
		return 0, false, err
	}
	err = c.call(ctx, func(m *Memory) error {
		ok = true
		for _, cond := range t.If {
			ok = ok && m.keys[cond.Key].Changed == cond.Changed
		}
		if ok {
			for _, op := range t.Then {
				if op.Lease != 0 && m.leases[op.Lease] == nil {
					return cluster.ErrNoLease
				}
			}
			m.apply(slices.Clone(t.Then))
		}
		revision = m.revision
		return nil
	})
	if err != nil {
		return 0, false, err
	}
	return revision, ok, nil
}

func checkTxn(t cluster.Txn) error {
	if n := max(len(t.If), len(t.Then)); n > cluster.MaxOps {
		return fmt.Errorf("%d conditions or changes at once, %d are allowed", n, cluster.MaxOps)
	}
	seen := map[string]bool{}
	for _, op := range t.Then {
		if seen[op.Key] {
			return fmt.Errorf("key %q is changed twice at once", op.Key)
		}
		seen[op.Key] = true
	}
	return nil
}

// Watch implements cluster.Coordinator.
func (c *Client) Watch(ctx context.Context, prefix string, after cluster.Revision, deliver func([]cluster.Event, cluster.Revision)) error {
	for {
		cut, err := c.pass(ctx)
		if err != nil {
			return err
		}
		changes, at, changed, err := c.m.since(after)
		if err != nil {
			return err
		}
		for _, ch := range changes {
			if events := below(prefix, ch.events); len(events) > 0 {
				deliver(events, ch.revision)
			}
		}
		if at > after {
			deliver(nil, at)
		}
		after = at
		select {
		case <-changed:
		case <-cut:
		case <-ctx.Done():
		}
	}
}

// since gives what happened after a revision, and what is closed when there is more.
func (m *Memory) since(after cluster.Revision) ([]change, cluster.Revision, <-chan struct{}, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if after < m.compacted || after > m.revision {
		return nil, 0, nil, cluster.ErrCompacted
	}
	from, _ := slices.BinarySearchFunc(m.history, after+1, func(c change, r cluster.Revision) int { return int(c.revision - r) })
	return slices.Clone(m.history[from:]), m.revision, m.changed, nil
}

func below(prefix string, events []cluster.Event) []cluster.Event {
	var out []cluster.Event
	for _, e := range events {
		if strings.HasPrefix(e.Key, prefix) {
			e.Value = slices.Clone(e.Value)
			out = append(out, e)
		}
	}
	return out
}

// Grant implements cluster.Coordinator.
func (c *Client) Grant(ctx context.Context, ttl time.Duration) (id cluster.LeaseID, _ time.Duration, err error) {
	err = c.call(ctx, func(m *Memory) error {
		m.lastLease++
		id = m.lastLease
		m.grant(id, ttl)
		return nil
	})
	return id, ttl, err
}

// KeepAlive implements cluster.Coordinator.
func (c *Client) KeepAlive(ctx context.Context, id cluster.LeaseID) (ttl time.Duration, err error) {
	err = c.call(ctx, func(m *Memory) error {
		l := m.leases[id]
		if l == nil || l.ends <= m.clock.Now() {
			return cluster.ErrNoLease
		}
		l.ends, ttl = m.clock.Now()+l.ttl, l.ttl
		return nil
	})
	return ttl, err
}

// Revoke implements cluster.Coordinator.
func (c *Client) Revoke(ctx context.Context, id cluster.LeaseID) error {
	return c.call(ctx, func(m *Memory) error {
		m.end(id)
		return nil
	})
}

// Close implements cluster.Coordinator. The Memory stays.
func (c *Client) Close() error { return nil }
