package simworld

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/imap"
)

// director is what a process of a director consists of.
type director struct {
	*process
	routes *cluster.Routes

	mu       sync.Mutex // guards sessions
	sessions map[*proxied]bool
}

func (p *process) becomeDirector() {
	p.director = &director{
		process:  p,
		routes:   cluster.NewRoutes(cluster.RoutesConfig{View: p.view, Clock: p, Template: p.machine.w.template}),
		sessions: map[*proxied]bool{},
	}
	p.tasks.Go(p.director.endLeft)
}

// loginTime bounds a login, and attemptTime that at one backend.
const (
	loginTime   = 5 * time.Second
	attemptTime = loginTime / 3
	againTime   = 100 * time.Millisecond
)

// open logs a user in at the backend that holds the user, as package director does.
func (d *director) open(ctx context.Context, user string) (*proxied, error) {
	ctx, cancel := context.WithTimeout(ctx, loginTime)
	defer cancel()
	defer context.AfterFunc(d.ctx, cancel)()
	q := cluster.Query{User: user}
	for {
		if err := d.pass(); err != nil {
			return nil, err
		}
		to, err := d.routes.Locate(ctx, q)
		if err != nil {
			return nil, err
		}
		s, err := d.attempt(ctx, user, to)
		if err == nil {
			return d.keep(s), nil
		}
		moved, is := errors.AsType[*cluster.Moved](err)
		switch {
		case is:
			q.After, q.Refused = max(to.Revision, moved.Revision), to.Name
		case !errors.Is(err, errBroken):
			return nil, err
		}
		select {
		case <-time.After(againTime):
		case <-ctx.Done():
			return nil, imap.Wrap(imap.CodeUnavailable, "No server for this user now", err)
		}
	}
}

// attempt logs in at one backend.
func (d *director) attempt(ctx context.Context, user string, to cluster.Backend) (*session, error) {
	w := d.machine.w
	w.delay(roundTrip)
	p := w.machines[to.Name].current()
	if p == nil || !p.takesConnections() {
		return nil, errBroken // connection refused
	}
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	type answer struct {
		s   *session
		err error
	}
	answers := make(chan answer)
	w.tasks.Go(func() {
		if p.pass() != nil {
			return
		}
		s, err := p.backend.login(ctx, user, to.Revision)
		w.delay(roundTrip)
		select {
		case answers <- answer{s, err}:
		case <-ctx.Done():
			if s != nil {
				s.end()
			}
		}
	})
	select {
	case a := <-answers:
		if p.isDead() {
			return nil, errBroken
		}
		return a.s, a.err
	case <-p.dead:
	case <-ctx.Done():
	}
	return nil, errBroken
}

func (d *director) keep(s *session) *proxied {
	d.mu.Lock()
	defer d.mu.Unlock()
	through := &proxied{s, d}
	d.sessions[through] = true
	if d.ctx.Err() != nil {
		s.hangUp()
	}
	return through
}

func (d *director) forget(s *proxied) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.sessions, s)
}

// endLeft ends sessions whose user is held by another backend now.
func (d *director) endLeft() {
	seen := cluster.Revision(0)
	for {
		err := d.view.Await(d.ctx, func(m *cluster.Map) bool {
			if m.Revision == seen {
				return false
			}
			seen = m.Revision
			return true
		})
		if err != nil || d.pass() != nil {
			return
		}
		d.mu.Lock()
		for s := range d.sessions {
			if d.left(s) {
				s.hangUp()
				delete(d.sessions, s)
			}
		}
		d.mu.Unlock()
		select {
		case <-d.After(100 * time.Millisecond):
		case <-d.ctx.Done():
			return
		}
	}
}

func (d *director) left(s *proxied) (left bool) {
	d.view.Read(func(m *cluster.Map) {
		held, at := m.Held(m.UnitOf(s.user, "", cluster.SlotOf(d.machine.w.template, s.user)))
		left = at != 0 && held.Backend != s.backend.machine.name && m.Holds(held)
	})
	return left
}

func (d *director) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for s := range d.sessions {
		s.hangUp()
	}
	clear(d.sessions)
}
