package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/imap"
)

// Shared is the cluster of a node with a coordinator: what is known comes from the
// node's View, and changes are conditioned on the revision that was read there. It
// keeps nothing itself.
type Shared struct {
	view        *cluster.View
	coordinator cluster.Coordinator
	template    cluster.Template
	routes      *cluster.Routes // for what it can explain
}

// NewShared makes a Shared; the template is that of the cluster's Params.
func NewShared(view *cluster.View, coordinator cluster.Coordinator, template cluster.Template, clock cluster.Clock) *Shared {
	routes := cluster.NewRoutes(cluster.RoutesConfig{View: view, Clock: clock, Template: template})
	return &Shared{view, coordinator, template, routes}
}

var _ Coordinated = (*Shared)(nil)

const (
	commitTime = 10 * time.Second       // for one change
	attempts   = 5                      // of a change, when others change the same
	lookEvery  = 250 * time.Millisecond // while waiting
)

// Backends implements Cluster.
func (s *Shared) Backends(context.Context) ([]Backend, error) {
	list := []Backend{}
	for _, b := range s.view.Status().Backends {
		list = append(list, shown(b))
	}
	slices.SortFunc(list, func(a, b Backend) int { return strings.Compare(a.Host, b.Host) })
	return list, nil
}

func shown(of cluster.BackendStatus) Backend {
	b := Backend{
		Host: of.Name, Address: net.JoinHostPort(of.Host, strconv.Itoa(int(of.Port))), Tag: of.Tag,
		Weight: of.Wish.Weight, State: of.Wish.State, Since: of.Wish.Since, By: of.Wish.By, Why: of.Wish.Why,
		Alive: "no", Version: of.Version, Volumes: of.Volumes, Local: of.Local, Foreign: of.Foreign, Stopped: of.Wish.Stopped,
		Slots: of.Held, Wanted: of.Wanted, Lost: of.Lost, Pinned: of.Users, Not: of.Not,
	}
	if of.State != nil {
		b.Alive, b.AliveSince, b.Trouble = "yes", of.State.Since, of.State.Trouble
		if !of.State.Candidate {
			b.Alive = "unstable"
		}
	}
	return b
}

// moving is how many slots of a tag are with a backend that should not have them,
// and how many nobody serves although somebody could.
func moving(m *cluster.Map, tag string) (n int) {
	for slot := range cluster.Slot(cluster.Slots) {
		u := cluster.Unit{Tag: tag, Slot: slot}
		held, _ := m.Held(u)
		if wanted := m.Wanted(u); wanted != "" && (wanted != held.Backend || !m.Holds(held)) {
			n++
		}
	}
	return n
}

// node finds a backend as operations name it.
func (s *Shared) node(ctx context.Context, host string) (cluster.Node, error) {
	var n cluster.Node
	var known bool
	s.view.Read(func(m *cluster.Map) { n, known = m.Node(host) })
	if known {
		return n, nil
	}
	b, err := findBackend(ctx, s, host)
	if err != nil {
		return n, err
	}
	s.view.Read(func(m *cluster.Map) { n, _ = m.Node(b.Host) })
	return n, nil
}

// change commits what build makes of the Map, again if somebody else was faster.
// Without a Txn nothing has to be done.
func (s *Shared) change(ctx context.Context, what string, build func() (*cluster.Txn, error)) error {
	ctx, cancel := context.WithTimeout(ctx, commitTime)
	defer cancel()
	for range attempts {
		t, err := build()
		if err != nil || t == nil {
			return err
		}
		revision, ok, err := s.coordinator.Commit(ctx, *t)
		if err != nil {
			return imap.Wrap(imap.CodeUnavailable, fmt.Sprintf("the coordinator did not answer, so that %s may be changed or not; call it again", what), err)
		}
		if ok {
			s.view.Note(*t, revision)
			return nil
		}
		if err := s.view.AwaitRevision(ctx, revision); err != nil {
			return imap.Wrap(imap.CodeUnavailable, "this node does not hear from the coordinator what others have changed; try another node", err)
		}
	}
	return imap.Errorf(imap.CodeInUse, "%s is already being updated - try again later", what)
}

// Wish implements Cluster.
func (s *Shared) Wish(ctx context.Context, host string, change func(*cluster.Wish)) error {
	return s.change(ctx, "backend "+host, func() (*cluster.Txn, error) {
		n, err := s.node(ctx, host)
		if err != nil {
			return nil, err
		}
		w := n.Wish
		if change(&w); w == n.Wish {
			return nil, nil
		}
		t, err := cluster.SetWish(n.Name, w, n.WishAt)
		return &t, err
	})
}

// Add implements Coordinated.
func (s *Shared) Add(ctx context.Context, host string, wish cluster.Wish, foreign *cluster.Registration) error {
	return s.change(ctx, "backend "+host, func() (*cluster.Txn, error) {
		n, err := s.node(ctx, host)
		if errors.Is(err, errNoHost) {
			n, err = cluster.Node{Name: host}, nil
		}
		if err != nil {
			return nil, err
		}
		w := wish
		if n.WishAt != 0 && n.Wish.State == wish.State && n.Wish.Weight == wish.Weight {
			w = n.Wish
		}
		if foreign == nil {
			t, err := cluster.SetWish(n.Name, w, n.WishAt)
			return &t, err
		}
		if r := n.Registration; n.RegisteredAt != 0 && (!r.Foreign || r.Tag != foreign.Tag) {
			return nil, imap.Errorf(imap.CodeAlreadyExists, "backend %s is there already, with another tag or as a Roost; remove it first", n.Name)
		}
		var roost []string
		s.view.Read(func(m *cluster.Map) { roost = m.Kinds()[foreign.Tag].Roost })
		if len(roost) > 0 {
			return nil, imap.Errorf(imap.CodeCannot, "backends%s are Roost, as %s: one that is none needs another tag (-t), which the passdb's director_tag gives its users", ofTag(foreign.Tag), roost[0])
		}
		t, err := cluster.Register(n, *foreign, w)
		if err != nil {
			return nil, imap.BadCommand("%v", err)
		}
		return &t, nil
	})
}

// Remove implements Coordinated.
func (s *Shared) Remove(ctx context.Context, host string) error {
	if _, err := s.node(ctx, host); err != nil {
		return err
	}
	return s.change(ctx, "backend "+host, func() (*cluster.Txn, error) {
		n, err := s.node(ctx, host)
		switch {
		case errors.Is(err, errNoHost): // somebody was faster
			return nil, nil
		case err != nil:
			return nil, err
		case n.Registration.Foreign && (n.Wish.State == cluster.Up || s.holds(n.Name) > 0):
			return nil, imap.Errorf(imap.CodeInUse, "backend %s has users, or may get some: say director drain %s, and remove it then", n.Name, n.Name)
		case n.AliveAt != 0 && !n.Registration.Foreign:
			return nil, imap.Errorf(imap.CodeInUse, "backend %s is alive: say director drain %s, stop it, and remove it then", n.Name, n.Name)
		case n.Registration.Local && s.lost(n.Name) > 0:
			return nil, imap.Errorf(imap.CodeInUse, "backend %s has users whose mail is on its own disk: nobody else can serve them", n.Name)
		}
		t := cluster.Forget(n)
		return &t, nil
	})
}

// holds is how many units a backend has.
func (s *Shared) holds(backend string) (n int) {
	s.view.Read(func(m *cluster.Map) {
		for _, h := range m.Units() {
			if h.Backend == backend && m.Holds(h) {
				n++
			}
		}
	})
	return n
}

// lost is how many slots a dead backend had, which nobody has taken.
func (s *Shared) lost(backend string) int {
	for _, b := range s.view.Status().Backends {
		if b.Name == backend {
			return b.Lost
		}
	}
	return 0
}

// Pins implements Cluster.
func (s *Shared) Pins(context.Context) (map[string]cluster.Pin, error) {
	var pins map[string]cluster.Pin
	s.view.Read(func(m *cluster.Map) { pins = maps.Collect(m.Pins()) })
	return pins, nil
}

// Pin implements Cluster.
func (s *Shared) Pin(ctx context.Context, user, host, by string) error {
	return s.change(ctx, "user "+user, func() (*cluster.Txn, error) {
		n, err := s.node(ctx, host)
		if err != nil {
			return nil, err
		}
		if n.Registration.Foreign {
			return nil, imap.Errorf(imap.CodeCannot, "%s is no Roost, and single users are not moved to it: the passdb's field host does that", n.Name)
		}
		pin, at := s.pin(user)
		if at != 0 && pin.Backend == n.Name {
			return nil, nil
		}
		t, err := cluster.SetPin(user, cluster.Pin{Backend: n.Name, By: by, Since: time.Now().UTC().Truncate(time.Second)}, at)
		return &t, err
	})
}

// Unpin implements Cluster.
func (s *Shared) Unpin(ctx context.Context, users ...string) error {
	for i, user := range users {
		if err := s.unpin(ctx, user); err != nil {
			return fmt.Errorf("%d of %s are done: %w", i, count(len(users), "user"), err)
		}
	}
	return nil
}

func (s *Shared) unpin(ctx context.Context, user string) error {
	return s.change(ctx, "user "+user, func() (*cluster.Txn, error) {
		_, at := s.pin(user)
		if at == 0 {
			return nil, nil
		}
		t := cluster.EndPin(user, at)
		return &t, nil
	})
}

func (s *Shared) pin(user string) (pin cluster.Pin, at cluster.Revision) {
	s.view.Read(func(m *cluster.Map) { pin, at = m.Pin(user) })
	return pin, at
}

// wait looks what is left, until nothing is, and tells, also if that may be old.
func (s *Shared) wait(ctx context.Context, tell func(Progress), left func() Progress, done func(Progress) bool) error {
	return look(ctx, lookEvery, tell, func() (Progress, bool, error) {
		p := left()
		over := done(p)
		if away := s.view.Contact().Away; away != nil {
			p.Trouble = "this node does not hear from the coordinator: " + away.Error()
		}
		return p, over, nil
	})
}

// Await implements Cluster. A backend that should have nothing has nothing then, and will get
// nothing: it takes none by an older wish, so all of it is known at the revision of this one.
// With another one, no slot of its tag is on its way.
func (s *Shared) Await(ctx context.Context, host string, tell func(Progress)) error {
	n, err := s.node(ctx, host)
	if err != nil {
		return err
	}
	known := false
	return s.wait(ctx, tell, func() (p Progress) {
		s.view.Read(func(m *cluster.Map) {
			n, _ = m.Node(n.Name)
			known = m.Revision >= n.WishAt
			if n.Wish.State == cluster.Up {
				p.Units = moving(m, n.Registration.Tag)
				p.Doing = count(p.Units, "slot") + " not yet where they belong"
				return
			}
			p.Units = named(m, n.Name)
			p.Doing = fmt.Sprintf("%s still at %s", count(p.Units, "slot"), n.Name)
			if place := m.Placement(n.Registration.Tag); place.Rank(0) == nil {
				p.Trouble = "no other backend may take them: " + refusals(place)
			}
		})
		return p
	}, func(p Progress) bool { return known && p.Units == 0 || n.Wish.State == cluster.Up && n.AliveAt == 0 })
}

// named is how many units a backend holds, or may hold again: with its lease lost, it gets them back
// as long as nobody else has taken them. The user of its health checks stays.
func named(m *cluster.Map, backend string) (n int) {
	for u, h := range m.Units() {
		if h.Backend == backend && h.Lease != 0 && (u.User == "" || m.Probe(u.User) != backend) {
			n++
		}
	}
	return n
}

// AwaitUser implements Cluster.
func (s *Shared) AwaitUser(ctx context.Context, user string, tell func(Progress)) error {
	return s.wait(ctx, tell, func() (p Progress) {
		s.view.Read(func(m *cluster.Map) {
			pin, at := m.Pin(user)
			held, heldAt := m.Held(cluster.Unit{User: user})
			switch {
			case at == 0 && heldAt == 0:
			case at == 0:
				p = Progress{Doing: fmt.Sprintf("user %s still at %s", user, held.Backend), Units: 1}
			case held.Backend == pin.Backend && m.Holds(held):
			default:
				p = Progress{Doing: fmt.Sprintf("user %s not yet at %s", user, pin.Backend), Units: 1}
				if n, _ := m.Node(pin.Backend); n.AliveAt == 0 {
					p.Trouble = pin.Backend + " is not alive"
				}
			}
		})
		return p
	}, func(p Progress) bool { return p.Units == 0 })
}

// Place implements Cluster.
func (s *Shared) Place(_ context.Context, user, tag string) (Place, error) {
	slot := cluster.Unit{Tag: tag, Slot: cluster.SlotOf(s.template, user)}
	probed := ""
	p := Place{User: user, Hash: uint32(slot.Slot), State: "waiting"}
	s.view.Read(func(m *cluster.Map) {
		u := m.UnitOf(user, tag, slot.Slot)
		p.Unit, p.Revision = u.String(), int64(m.Revision)
		if pin, at := m.Pin(user); at != 0 {
			p.Pinned = cmp.Or(pin.Backend, "(a record that can't be read)")
		}
		if held, _ := m.Held(u); m.Holds(held) {
			p.Current, p.State = held.Backend, "served"
		}
		p.Hashed, probed = m.Wanted(slot), m.Probe(user)
	})
	if should := cmp.Or(p.Pinned, probed, p.Hashed); p.Current != "" && should != "" && should != p.Current {
		p.State = "moving"
	}
	return p, nil
}

// Nodes implements Coordinated. A director that is a backend too is there once.
func (s *Shared) Nodes(context.Context) ([]Node, error) {
	byName := map[string]string{}
	s.view.Read(func(m *cluster.Map) {
		for _, n := range m.Nodes() {
			if n.AliveAt != 0 && !n.Registration.Foreign {
				byName[n.Name] = n.Registration.Admin
			}
		}
		for name, d := range m.Directors() {
			byName[name] = cmp.Or(d.Admin, byName[name])
		}
	})
	var nodes []Node
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		nodes = append(nodes, Node{name, byName[name]})
	}
	return nodes, nil
}

// NewGeneration implements Coordinated.
func (s *Shared) NewGeneration(ctx context.Context, above uint64) (uint64, error) {
	var alive []string
	s.view.Read(func(m *cluster.Map) {
		for _, n := range m.Nodes() {
			if n.AliveAt != 0 && !n.Registration.Foreign {
				alive = append(alive, n.Name)
			}
		}
	})
	if len(alive) > 0 {
		return 0, imap.Errorf(imap.CodeInUse, "backends are alive: stop them first: %s", strings.Join(alive, ", "))
	}
	ctx, cancel := context.WithTimeout(ctx, commitTime)
	defer cancel()
	p, err := cluster.NewGeneration(ctx, s.coordinator, above)
	if err != nil {
		return 0, imap.Wrap(imap.CodeUnavailable, "the generation was not changed: "+err.Error(), err)
	}
	return p.Generation, nil
}

// Moves implements Coordinated.
func (s *Shared) Moves(_ context.Context, wishes map[string]cluster.Wish) ([]Move, error) {
	type way struct{ from, to string }
	units := map[way]int{}
	s.view.Read(func(m *cluster.Map) {
		nodes := m.Nodes()
		tags := map[string]bool{}
		for i, n := range nodes {
			tags[n.Registration.Tag] = true
			if w, is := wishes[n.Name]; is {
				nodes[i].Wish = w
			}
		}
		for tag := range tags {
			place := cluster.Place(tag, nodes)
			for slot := range cluster.Slot(cluster.Slots) {
				u := cluster.Unit{Tag: tag, Slot: slot}
				held, _ := m.Held(u)
				n, _ := m.Node(held.Backend)
				if !m.Holds(held) {
					held.Backend = ""
				}
				if to := place.Wanted(slot); to != "" && to != held.Backend && !n.Registration.Local {
					units[way{held.Backend, to}]++
				}
			}
		}
	})
	moves := []Move{}
	for w, n := range units {
		moves = append(moves, Move{w.from, w.to, n})
	}
	slices.SortFunc(moves, func(a, b Move) int { return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To)) })
	return moves, nil
}
