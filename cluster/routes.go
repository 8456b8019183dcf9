package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/roost-mail/roost/imap"
)

// RoutesConfig is what Routes needs.
type RoutesConfig struct {
	View     *View
	Clock    Clock
	Template Template // director_username_hash, as Params has it
	Resolver Resolver // for backends that registered with a host name
}

// Routes is the Locator of a cluster with a Coordinator, whom it never asks: it looks
// at the View. While the Coordinator is away, what was known goes on. It keeps no
// memory of users.
type Routes struct {
	cfg RoutesConfig

	mu        sync.Mutex         // guards addresses
	addresses map[string]address // by host name
}

var _ Locator = (*Routes)(nil)

// address is what a host name was found to be.
type address struct {
	ip     netip.Addr
	found  time.Duration
	asking bool // somebody looks it up again
}

const (
	// refusedPause is how long a backend isn't named that has just said that it does not
	// serve the user, although the Map says so: it is about to give the user up, or
	// to get its lease back.
	refusedPause = time.Second

	addressAge   = time.Minute     // after which a host name is looked up again
	addressLimit = 5 * time.Second // for a look-up
)

// NewRoutes makes Routes.
func NewRoutes(cfg RoutesConfig) *Routes {
	return &Routes{cfg: cfg, addresses: map[string]address{}}
}

// Locate implements Locator. It waits while nobody holds the user, and goes on as soon
// as somebody does. It does not wait where that won't come by itself: if there is no
// backend with the tag, and if the mail is on volumes of a dead backend alone.
func (r *Routes) Locate(ctx context.Context, q Query) (Backend, error) {
	slot := SlotOf(r.cfg.Template, q.User)
	began := r.cfg.Clock.Now()
	var again <-chan time.Time
	if q.Refused != "" {
		again = r.cfg.Clock.After(refusedPause)
	}
	var to route
	err := r.cfg.View.await(ctx, again, func(m *Map) bool {
		to = m.route(q, slot)
		if to.state == routeRefused && r.cfg.Clock.Now()-began >= refusedPause {
			to.state = routeKnown
		}
		return to.state >= routeKnown
	})
	if err == nil && to.state == routeKnown {
		var b Backend
		if b, err = r.backend(ctx, to); err == nil {
			return b, nil
		}
		err = fmt.Errorf("address of %s: %w", to.node.Name, err)
	}
	return Backend{}, imap.Wrap(imap.CodeUnavailable, "No server for this user now", r.cause(q, slot, r.cfg.Clock.Now()-began, err))
}

// cause says for the log why nobody can be named.
func (r *Routes) cause(q Query, slot Slot, waited time.Duration, err error) error {
	e := r.explain(q, slot)
	text := e.Unit + ": " + e.Why
	if e.Away != "" {
		text += fmt.Sprintf("; the coordinator is away, last heard %.1f s ago, at revision %d: %s", e.Heard, e.Revision, e.Away)
	}
	if err == nil {
		return errors.New(text)
	}
	return fmt.Errorf("%s; waited %v: %w", text, waited.Round(time.Millisecond), err)
}

// route is where a user is by a Map.
type route struct {
	state    routeState
	unit     Unit
	held     Held
	heldAt   Revision
	node     Node     // that has the record of holding the unit
	revision Revision // of the answer
}

type routeState int

const (
	routeNoMap        routeState = iota // nothing is known yet
	routeBehind                         // the Map is older than what was asked for
	routeUnreadable                     // who holds the unit can't be read
	routeFree                           // nobody holds it
	routeUnregistered                   // who holds it has not said where it is
	routeRefused                        // who holds it has just said that it does not

	// From here on it is no use to wait.
	routeKnown
	routeNoBackend // none has the tag
	routeLocal     // the mail is where only a dead backend sees it
)

func (m *Map) route(q Query, slot Slot) route {
	to := route{unit: m.UnitOf(q.User, q.Tag, slot)}
	to.held, to.heldAt = m.Held(to.unit)
	to.node, _ = m.Node(to.held.Backend)
	to.revision = m.Changed
	switch {
	case m.Revision == 0:
		to.state = routeNoMap
	case m.Revision < q.After:
		to.state = routeBehind
	case to.heldAt != 0 && to.held.Backend == "":
		to.state = routeUnreadable
	case to.held.Leaving:
		to.state = routeFree
	case !m.Holds(to.held):
		to.state = m.unheld(to.unit)
	case to.node.RegisteredAt == 0:
		to.state = routeUnregistered
	case q.Refused == to.held.Backend && to.heldAt <= q.After:
		to.state = routeRefused
	default:
		to.state = routeKnown
	}
	return to
}

// unheld says whether somebody can be expected to hold the unit.
func (m *Map) unheld(u Unit) routeState {
	local := m.local(u)
	if n := m.nodes[m.pins[u.User].Backend]; u.User != "" && n != nil && n.Registration.Local {
		local = n.Name
	}
	switch {
	case local != "" && m.nodes[local].AliveAt == 0:
		return routeLocal
	case u.User == "" && !m.hasTag(u.Tag):
		return routeNoBackend
	}
	return routeFree
}

func (m *Map) hasTag(tag string) bool {
	for _, n := range m.nodes {
		if n.RegisteredAt != 0 && n.Registration.Tag == tag {
			return true
		}
	}
	return false
}

// backend makes the answer, for which it may have to find an address.
func (r *Routes) backend(ctx context.Context, to route) (Backend, error) {
	reg := to.node.Registration
	b := Backend{Name: to.node.Name, Port: reg.Port, TLS: reg.TLS, Foreign: reg.Foreign, Revision: to.revision}
	ip, err := netip.ParseAddr(reg.Host)
	if err != nil {
		b.Host = reg.Host
		ip, err = r.lookUp(ctx, reg.Host)
	}
	b.IP = ip
	return b, err
}

// lookUp finds the address of a host. One that was found is good until a look-up
// succeeds again, which is tried every addressAge by one of those who ask.
func (r *Routes) lookUp(ctx context.Context, host string) (netip.Addr, error) {
	r.mu.Lock()
	known, ok := r.addresses[host]
	fresh := ok && (known.asking || r.cfg.Clock.Now()-known.found < addressAge)
	if ok && !fresh {
		known.asking = true
		r.addresses[host] = known
	}
	r.mu.Unlock()
	if fresh {
		return known.ip, nil
	}
	ctx, done := context.WithTimeout(ctx, addressLimit)
	defer done()
	ips, err := hostIPs(ctx, host, r.cfg.Resolver)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil && !ok {
		return netip.Addr{}, err
	}
	if err == nil {
		known.ip = ips[0]
	}
	if len(r.addresses) >= MaxMembers { // of hosts that are gone, mostly
		clear(r.addresses)
	}
	r.addresses[host] = address{ip: known.ip, found: r.cfg.Clock.Now()}
	return known.ip, nil
}
