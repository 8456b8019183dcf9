package simworld

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/cluster/coordmem"
)

var errDead = errors.New("the process has ended")

// machine runs one process of a node at a time. It can be stopped, with its clock or
// without, cut off from the coordinator, and lose its mail.
type machine struct {
	w    *world
	name string
	own  *disk // on which mountPoint is an empty directory

	mu        sync.Mutex // guards what follows
	process   *process   // nil: it is off
	stopped   bool
	frozen    bool
	frozenAt  time.Duration
	lost      time.Duration // by which its clock is behind the world's
	goes      chan struct{} // closed while it is neither stopped nor frozen
	hung      chan struct{} // nil, or closed when writes return again
	unmounted bool
	cut       bool
}

func newMachine(w *world, name string) *machine {
	goes := make(chan struct{})
	close(goes)
	return &machine{w: w, name: name, own: newDisk(mountPoint), goes: goes}
}

// stop stops all that the machine does, or has it go on: its clock goes on meanwhile.
func (m *machine) stop(on bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pause(on, m.frozen)
	return nil
}

// freeze stops it, or has it go on, with its clock.
func (m *machine) freeze(on bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pause(m.stopped, on)
	return nil
}

func (m *machine) pause(stopped, frozen bool) {
	was := m.stopped || m.frozen
	if now := m.w.Now(); frozen && !m.frozen {
		m.frozenAt = now
	} else if !frozen && m.frozen {
		m.lost += now - m.frozenAt
	}
	m.stopped, m.frozen = stopped, frozen
	switch is := stopped || frozen; {
	case is && !was:
		m.goes = make(chan struct{})
	case !is && was:
		close(m.goes)
	}
}

// hang has writes to the mail not return, until it is called with false.
func (m *machine) hang(on bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case on && m.hung == nil:
		m.hung = make(chan struct{})
	case !on && m.hung != nil:
		close(m.hung)
		m.hung = nil
	}
	return nil
}

// unmount has the mail look like an empty directory. Files that are open stay.
func (m *machine) unmount(on bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.unmounted = on
	return nil
}

func (m *machine) isMounted() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.unmounted
}

// cutOff separates it from the coordinator.
func (m *machine) cutOff(on bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cut = on
	if m.process != nil {
		m.process.client.Cut(on)
	}
	return nil
}

func (m *machine) isCut() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.cut
}

func (m *machine) now() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.frozen {
		return m.frozenAt - m.lost
	}
	return m.w.Now() - m.lost
}

// running is its process; nil if there is none, or it answers nobody now.
func (m *machine) running() *process {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped || m.frozen || m.process == nil || !m.process.takesConnections() {
		return nil
	}
	return m.process
}

// process is one process of a node. It is the node's cluster.Clock.
type process struct {
	machine     *machine
	incarnation string
	client      *coordmem.Client
	ctx         context.Context // ends when it is asked to end
	end         context.CancelFunc
	dead        chan struct{} // closed when it is killed
	begun       chan struct{} // closed when begin has returned
	tasks       sync.WaitGroup
	view        *cluster.View

	backend  *backend  // set by begin; nil on a director, or if it failed
	director *director // likewise, on a backend
}

// takesConnections says whether it has begun.
func (p *process) takesConnections() bool {
	select {
	case <-p.begun:
		return p.backend != nil || p.director != nil
	default:
		return false
	}
}

func (p *process) isDead() bool {
	select {
	case <-p.dead:
		return true
	default:
		return false
	}
}

// pass waits while the process is stopped. The error is that it was killed.
func (p *process) pass() error {
	for {
		p.machine.mu.Lock()
		goes := p.machine.goes
		p.machine.mu.Unlock()
		select {
		case <-p.dead:
			return errDead
		default:
		}
		select {
		case <-goes:
			return nil
		default:
		}
		select {
		case <-goes:
		case <-p.dead:
		}
	}
}

// write waits for a write to the mail.
func (p *process) write() error {
	if err := p.pass(); err != nil {
		return err
	}
	p.machine.w.delay(2 * time.Millisecond)
	for {
		p.machine.mu.Lock()
		hung := p.machine.hung
		p.machine.mu.Unlock()
		if hung == nil {
			return p.pass()
		}
		select {
		case <-hung:
		case <-p.dead:
			return errDead
		}
	}
}

// Now implements cluster.Clock.
func (p *process) Now() time.Duration { return p.machine.now() }

// After implements cluster.Clock. When the process has been killed it still sends.
func (p *process) After(d time.Duration) <-chan time.Time {
	c := make(chan time.Time, 1)
	due := p.Now() + d
	go func() {
		for left := d; left > 0; left = due - p.Now() {
			time.Sleep(left)
			if p.pass() != nil {
				break
			}
		}
		c <- time.Now()
	}()
	return c
}

// link is the process's way to the coordinator. What it asks takes a while on the way
// there, and back.
type link struct {
	p *process
	c *coordmem.Client
}

const roundTrip = time.Millisecond

// call asks, while the process is not stopped. What has left goes on.
func (l link) call(ask func() error) error {
	if err := l.p.pass(); err != nil {
		return err
	}
	l.p.machine.w.delay(roundTrip)
	err := ask()
	l.p.machine.w.delay(roundTrip)
	if dead := l.p.pass(); dead != nil {
		return dead
	}
	return err
}

// Range implements cluster.Coordinator.
func (l link) Range(ctx context.Context, prefix string) (kvs []cluster.KV, at cluster.Revision, err error) {
	err = l.call(func() error {
		kvs, at, err = l.c.Range(ctx, prefix)
		return err
	})
	return kvs, at, err
}

// Commit implements cluster.Coordinator.
func (l link) Commit(ctx context.Context, t cluster.Txn) (at cluster.Revision, ok bool, err error) {
	err = l.call(func() error {
		at, ok, err = l.c.Commit(ctx, t)
		return err
	})
	return at, ok, err
}

// Watch implements cluster.Coordinator.
func (l link) Watch(ctx context.Context, prefix string, after cluster.Revision, deliver func([]cluster.Event, cluster.Revision)) error {
	return l.call(func() error {
		return l.c.Watch(ctx, prefix, after, func(events []cluster.Event, at cluster.Revision) {
			l.p.machine.w.delay(roundTrip)
			if l.p.pass() == nil {
				deliver(events, at)
			}
		})
	})
}

// Grant implements cluster.Coordinator.
func (l link) Grant(ctx context.Context, ttl time.Duration) (id cluster.LeaseID, granted time.Duration, err error) {
	err = l.call(func() error {
		id, granted, err = l.c.Grant(ctx, ttl)
		return err
	})
	return id, granted, err
}

// KeepAlive implements cluster.Coordinator.
func (l link) KeepAlive(ctx context.Context, id cluster.LeaseID) (ttl time.Duration, err error) {
	err = l.call(func() error {
		ttl, err = l.c.KeepAlive(ctx, id)
		return err
	})
	return ttl, err
}

// Revoke implements cluster.Coordinator.
func (l link) Revoke(ctx context.Context, id cluster.LeaseID) error {
	return l.call(func() error { return l.c.Revoke(ctx, id) })
}

// Close implements cluster.Coordinator.
func (l link) Close() error { return nil }

// dice is a source of random numbers for all goroutines of a world.
type dice struct {
	mu  sync.Mutex
	rnd *rand.Rand
}

func (d *dice) below(n int64) int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rnd.Int64N(n)
}

// fork gives a source of its own.
func (d *dice) fork() *rand.Rand {
	return rand.New(rand.NewPCG(uint64(d.below(1<<62)), 0))
}
