package simworld

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/store"
)

// backend is what a process of a backend consists of, put together as cmd/roost does.
type backend struct {
	*process
	store  *store.Store
	holder *cluster.Holder
	left   chan struct{} // closed when it holds nobody any more

	sharing sharing

	mu       sync.Mutex // guards sessions, and whether they are closing
	sessions map[*session]bool
}

func (p *process) becomeBackend() error {
	m := p.machine
	b := &backend{process: p, left: make(chan struct{}), sessions: map[*session]bool{}}
	b.store = store.New(store.Options{
		Holder: m.name, Ownership: claims{b}, FS: volume{p}, Volumes: []string{mountPoint}, Log: m.w.log, Linger: 5 * time.Second,
		FollowACL: m.w.rules.Inherit,
	})
	volumes, err := b.store.VolumeIDs()
	if err != nil {
		return err
	}
	b.holder, err = cluster.NewHolder(cluster.HolderConfig{
		Coordinator: link{p, p.client}, View: p.view, Clock: p, Log: m.w.log, Name: m.name, Incarnation: p.incarnation,
		Registration: cluster.Registration{Host: "192.0.2.1", Port: 143, Volumes: volumes}, Template: m.w.template, CommitCheck: m.w.commitCheck,
		Release: b.release, Suspend: b.suspend, Users: b.users, Probe: b.store.ProbeVolumes, Pending: b.store.Pending,
	})
	if err != nil {
		return err
	}
	b.startSharing()
	p.backend = b
	p.tasks.Go(b.hold)
	return nil
}

// hold holds users until the process is asked to end. If it can't take part, the process
// ends, and whoever watches over it starts it again.
func (b *backend) hold() {
	err := b.holder.Run(b.ctx)
	close(b.left)
	if err == nil || b.ctx.Err() != nil {
		return
	}
	b.machine.w.log.Error("the process ends", "backend", b.machine.name, "err", err)
	b.machine.w.tasks.Go(func() {
		b.machine.w.restart(b.process)
	})
}

var errMoves = imap.Errorf(imap.CodeUnavailable, "Your mail moves to another server; please connect again")

const endTime = 2 * time.Second

// release ends sessions, waits a little for what they are at, and closes accounts.
func (b *backend) release(ctx context.Context, match func(user string) bool) error {
	if err := b.pass(); err != nil {
		return err
	}
	b.endBackSessions(match)
	var busy []*session
	b.mu.Lock()
	for s := range b.sessions {
		if match(s.user) {
			s.bye()
			busy = append(busy, s)
		}
	}
	b.mu.Unlock()
	ended, cancel := context.WithTimeout(ctx, endTime)
	defer cancel()
	for _, s := range busy {
		s.idle(ended)
	}
	return b.store.Evict(ctx, match)
}

// suspend ends back sessions when the lease is lost: rights may be taken elsewhere.
func (b *backend) suspend(lost bool) {
	if lost {
		b.endBackSessions(func(string) bool { return true })
	}
}

func (b *backend) users() []string {
	var users []string
	b.mu.Lock()
	defer b.mu.Unlock()
	for s := range b.sessions {
		users = append(users, s.user)
	}
	slices.Sort(users)
	return slices.Compact(users)
}

// login opens a user's mail, unless the user is not held here.
func (b *backend) login(ctx context.Context, user string, r cluster.Revision) (*session, error) {
	if err := b.holder.Serves(ctx, user, r); err != nil {
		return nil, err
	}
	tree, err := b.openTree(ctx, user)
	if err != nil {
		return nil, err
	}
	s := newSession(b, user, tree)
	if err := b.machine.w.begin(ctx, s); err != nil {
		s.end()
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sessions[s] = true
	return s, nil
}

// close ends all sessions, and closes the mail if that can be, when nobody is held any more.
func (b *backend) close() error {
	<-b.left
	b.mu.Lock()
	all := b.sessions
	b.sessions = map[*session]bool{}
	b.mu.Unlock()
	for s := range all {
		s.hangUp()
	}
	return errors.Join(b.stopSharing(), b.store.Close())
}

// claims is the store's way to the Holder. It tells the monitor.
type claims struct{ *backend }

func (c claims) Claim(ctx context.Context, user string) (store.Claim, error) {
	claim, err := c.holder.Claim(ctx, user)
	if err != nil {
		return nil, err
	}
	c.machine.w.monitor.claimed(user, claim.Epoch(), c.process)
	return &watched{Claim: claim, user: user, process: c.process}, nil
}

// watched is a Claim that tells the monitor when it says that the right holds.
type watched struct {
	*cluster.Claim
	user    string
	process *process
}

// Confirm implements store.Claim.
func (c *watched) Confirm(ctx context.Context) error {
	m := c.process.machine.w.monitor
	before := m.latest(c.user)
	err := c.Claim.Confirm(ctx)
	if err == nil {
		m.confirmed(c, before)
	}
	return err
}

// monitor sees that there are never two writers: once somebody has the right to a user's
// mail, nobody who had it before has it confirmed, or acknowledges a change that was asked
// for after that.
type monitor struct {
	mu       sync.Mutex // guards what follows
	last     map[string]right
	own      map[owner]uint64 // the latest epoch of each
	problems []string
	confirms int
	claims   int
}

type owner struct {
	user    string
	process *process
}

// right is one that was given.
type right struct {
	epoch   uint64
	process *process
}

func (m *monitor) problem(format string, args ...any) {
	if len(m.problems) < 20 {
		m.problems = append(m.problems, fmt.Sprintf(format, args...))
	}
}

func (m *monitor) claimed(user string, epoch uint64, p *process) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.claims++
	m.own[owner{user, p}] = max(m.own[owner{user, p}], epoch)
	last := m.last[user]
	switch {
	case last.process == nil || epoch > last.epoch:
		m.last[user] = right{epoch, p}
	case epoch == last.epoch && p != last.process:
		m.problem("%s: %s and %s have the same epoch %d", user, last.process.incarnation, p.incarnation, epoch)
	}
}

func (m *monitor) latest(user string) right {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.last[user]
}

// confirmed is told what was the latest right when Confirm was called.
func (m *monitor) confirmed(c *watched, before right) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.confirms++
	if before.process != c.process && before.epoch > c.Epoch() {
		m.problem("%s: confirmed for %s in epoch %d, although %s had it in epoch %d", c.user, c.process.incarnation, c.Epoch(), before.process.incarnation, before.epoch)
	}
}

// acknowledged is told what was the latest right when a change was asked for.
func (m *monitor) acknowledged(user string, p *process, before right) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if own := m.own[owner{user, p}]; before.process != p && before.epoch > own {
		m.problem("%s: %s acknowledged a change in epoch %d, although %s had the user in epoch %d", user, p.incarnation, own, before.process.incarnation, before.epoch)
	}
}

func (m *monitor) err() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var errs []error
	for _, p := range m.problems {
		errs = append(errs, errors.New(p))
	}
	return errors.Join(errs...)
}
