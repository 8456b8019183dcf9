package cluster

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"sync"

	"github.com/roost-mail/roost/imap"
)

// Adjusted is the Locator of a director without a coordinator whose administrator
// changes weights and moves users while it runs. What was changed is forgotten when
// the process ends. It must be the only director of these backends: nobody else
// hears of a change.
//
// A change takes a Turn, in which logins of users whose backend changes wait: who
// began the Turn ends their sessions meanwhile, so that no user is on two backends.
type Adjusted struct {
	template Template

	mu      sync.Mutex // guards what follows; what placings hold is never changed
	initial *placing
	now     *placing
	turn    *Turn // that goes on; nil if none does
}

// placing is where users are.
type placing struct {
	template Template
	members  []Member
	ring     *Ring
	moved    map[string]Backend // users, normalised
}

// NewAdjusted begins with the list of the configuration.
func NewAdjusted(template Template, members []Member) (*Adjusted, error) {
	p, err := newPlacing(template, members, nil)
	if err != nil {
		return nil, err
	}
	return &Adjusted{template: template, initial: p, now: p}, nil
}

func newPlacing(template Template, members []Member, moved map[string]Backend) (*placing, error) {
	ring, err := NewRing(members)
	return &placing{template, slices.Clone(members), ring, maps.Clone(moved)}, err
}

func (p *placing) locate(q Query) (Backend, bool) {
	if b, ok := p.moved[q.User]; ok {
		return b, true
	}
	m, ok := p.ring.Locate(UserHash(p.template.Expand(q.User)), q.Tag)
	return m.Backend, ok
}

var _ Locator = (*Adjusted)(nil)

// Locate implements Locator. It waits while the user's backend changes.
func (a *Adjusted) Locate(ctx context.Context, q Query) (Backend, error) {
	for {
		a.mu.Lock()
		now, turn := a.now, a.turn
		a.mu.Unlock()
		if turn == nil || !turn.changes(q) {
			if b, ok := now.locate(q); ok && ctx.Err() == nil {
				return b, nil
			}
			return Backend{}, imap.Wrap(imap.CodeUnavailable, "No server for this user now", ctx.Err())
		}
		select {
		case <-turn.done:
		case <-ctx.Done():
			return Backend{}, imap.Wrap(imap.CodeUnavailable, "No server for this user now", errors.New("the user's backend is being changed by the administrator"))
		}
	}
}

// Spot is where a user is.
type Spot struct {
	Hash            uint32
	Now             Backend
	Hashed, Initial Backend // without a move, and by the configuration alone
	Moved           bool
	Changing        bool
}

// Spot tells where a user is. Backends without an address are none.
func (a *Adjusted) Spot(q Query) Spot {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := Spot{Hash: UserHash(a.template.Expand(q.User)), Changing: a.turn != nil && a.turn.changes(q)}
	s.Now, _ = a.now.locate(q)
	_, s.Moved = a.now.moved[q.User]
	hashed, _ := a.now.ring.Locate(s.Hash, q.Tag)
	s.Hashed = hashed.Backend
	s.Initial, _ = a.initial.locate(q)
	return s
}

// State is the members and the users that were moved, as the last Turn wants them.
func (a *Adjusted) State() (members []Member, moved map[string]Backend) {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.now
	if a.turn != nil {
		p = a.turn.next
	}
	return slices.Clone(p.members), maps.Clone(p.moved)
}

// Name is the name of the member at an address; empty if there is none. A port that
// is not a member's own does not count, if there is one member only with the IP address.
func (a *Adjusted) Name(at netip.AddrPort) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	name, n := "", 0
	for _, m := range a.now.members {
		if m.IP != at.Addr() {
			continue
		}
		if m.Port == at.Port() {
			return m.Name
		}
		name, n = m.Name, n+1
	}
	if n > 1 {
		return ""
	}
	return name
}

// Turn is a change that has begun.
type Turn struct {
	owner     *Adjusted
	now, next *placing
	done      chan struct{} // closed by End
}

// ErrTurn says that a change is going on.
var ErrTurn = errors.New("another change is going on")

// Begin begins a change to other members and moves. The caller ends the sessions of
// those whose backend Changes, then calls End, whatever happens. Only one Turn goes
// on at a time.
func (a *Adjusted) Begin(members []Member, moved map[string]Backend) (*Turn, error) {
	next, err := newPlacing(a.template, members, moved)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.turn != nil {
		return nil, ErrTurn
	}
	a.turn = &Turn{owner: a, now: a.now, next: next, done: make(chan struct{})}
	return a.turn, nil
}

func (t *Turn) changes(q Query) bool {
	was, had := t.now.locate(q)
	will, has := t.next.locate(q)
	return was != will || had != has
}

// Leaves says whether a user whose session is at a backend should be at another one.
func (t *Turn) Leaves(user string, at Member) bool {
	will, _ := t.next.locate(Query{User: user, Tag: at.Tag})
	return will != at.Backend
}

// End lets the waiting logins go on, to where the change wants them.
func (t *Turn) End() {
	t.owner.mu.Lock()
	defer t.owner.mu.Unlock()
	if t.owner.turn == t {
		t.owner.now, t.owner.turn = t.next, nil
		close(t.done)
	}
}

// Done is closed by End.
func (t *Turn) Done() <-chan struct{} { return t.done }

// Turn is the change that goes on; nil if none does.
func (a *Adjusted) Turn() *Turn {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.turn
}
