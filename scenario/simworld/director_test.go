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

	mu     sync.Mutex // guards relays
	relays map[*relay]bool
}

// relay is a connection that a director has made.
type relay struct {
	user, backend string
	hangUp        func()
}

func (p *process) becomeDirector() {
	p.director = &director{
		process: p,
		routes:  cluster.NewRoutes(cluster.RoutesConfig{View: p.view, Clock: p, Template: p.machine.w.template}),
		relays:  map[*relay]bool{},
	}
	p.tasks.Go(p.director.endLeft)
}

// loginTime bounds a login, and attemptTime that at one backend.
const (
	loginTime   = 5 * time.Second
	attemptTime = loginTime / 3
	againTime   = 100 * time.Millisecond
)

// open logs a user in at the backend that holds the user.
func (d *director) open(ctx context.Context, user string) (s *session, err error) {
	err = d.find(ctx, user, func(ctx context.Context, to cluster.Backend) (err error) {
		s, err = d.attempt(ctx, user, to)
		return err
	})
	return s, err
}

// find tries backends that hold a user by the map until one agrees, as package director does.
func (d *director) find(ctx context.Context, user string, try func(context.Context, cluster.Backend) error) error {
	ctx, cancel := context.WithTimeout(ctx, loginTime)
	defer cancel()
	defer context.AfterFunc(d.ctx, cancel)()
	q := cluster.Query{User: user}
	for {
		if err := d.pass(); err != nil {
			return err
		}
		to, err := d.routes.Locate(ctx, q)
		if err != nil {
			return err
		}
		if err = try(ctx, to); err == nil {
			return nil
		}
		moved, is := errors.AsType[*cluster.Moved](err)
		switch {
		case is:
			q.After, q.Refused = max(to.Revision, moved.Revision), to.Name
		case !errors.Is(err, errBroken):
			return err
		}
		select {
		case <-time.After(againTime):
		case <-ctx.Done():
			return imap.Wrap(imap.CodeUnavailable, "No server for this user now", err)
		}
	}
}

// attempt logs in at one backend.
func (d *director) attempt(ctx context.Context, user string, to cluster.Backend) (*session, error) {
	p := d.machine.w.machines[to.Name].current()
	if p == nil || !p.takesConnections() {
		return nil, errBroken // connection refused
	}
	return ask(ctx, p, func(ctx context.Context) (*session, error) { return p.backend.login(ctx, user, to.Revision) }, (*session).end)
}

// ask asks a process for something, which is given back if nobody waits for it any more.
func ask[T any](ctx context.Context, p *process, what func(context.Context) (T, error), giveBack func(T)) (none T, _ error) {
	w := p.machine.w
	w.delay(roundTrip)
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	type answer struct {
		value T
		err   error
	}
	answers := make(chan answer)
	w.tasks.Go(func() {
		if p.pass() != nil {
			return
		}
		value, err := what(ctx)
		w.delay(roundTrip)
		select {
		case answers <- answer{value, err}:
		case <-ctx.Done():
			if err == nil {
				giveBack(value)
			}
		}
	})
	select {
	case a := <-answers:
		if p.isDead() {
			return none, errBroken
		}
		return a.value, a.err
	case <-p.dead:
	case <-ctx.Done():
	}
	return none, errBroken
}

// keep remembers a connection as long as it lasts.
func (d *director) keep(r *relay) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.relays[r] = true
	if d.ctx.Err() != nil {
		r.hangUp()
	}
}

func (d *director) forget(r *relay) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.relays, r)
}

// endLeft ends connections of users who are held by another backend now.
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
		for r := range d.relays {
			if d.left(r) {
				r.hangUp()
				delete(d.relays, r)
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

func (d *director) left(r *relay) (left bool) {
	d.view.Read(func(m *cluster.Map) {
		held, at := m.Held(m.UnitOf(r.user, "", cluster.SlotOf(d.machine.w.template, r.user)))
		left = at != 0 && held.Backend != r.backend && m.Holds(held)
	})
	return left
}

func (d *director) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for r := range d.relays {
		r.hangUp()
	}
	clear(d.relays)
}
