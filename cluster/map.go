package cluster

import (
	"errors"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
	"unique"
)

// Limits of a cluster. Its nodes do not follow a cluster that is beyond them: what
// they know stays as it was, and Contact says why.
const (
	MaxTags      = 64      // 400 kB each in the memory of every node
	MaxPins      = 100_000 // about 250 bytes each
	MaxDirectors = 256

	maxRecord = 8 << 10 // bytes of a value
	maxName   = 255     // bytes of a backend's or director's name
	maxTag    = 64      // bytes
	maxUser   = 512     // bytes of a user's name in a key
	maxVolume = 64      // volumes of a backend, and bytes of an id
)

// Map is what a node knows of the cluster: everything but users, of whom only
// the pinned ones are there. It belongs to a View, which lends it; it takes at most
// some 100 MB, and about 500 kB with one tag and no pins.
//
// A record that can't be read counts as none, but with pins, held and alive, where
// that would not be safe: the user is pinned to nobody, the unit is held by a nobody
// from whom nothing is taken, and the backend has its lease but is no candidate.
type Map struct {
	// Revision is up to where all is known. Single records may be newer: a View
	// is told at once what its own node has committed.
	Revision Revision

	// Changed is the last revision that changed one of the cluster's keys, as far as can
	// be seen in them. Other nodes get to know of it, which they need not of
	// Revision: that may be of a change that is none of theirs.
	Changed Revision

	clock     Clock
	known     time.Duration // since when there is something in it
	params    Params
	paramsAt  Revision
	nodes     map[string]*Node
	directors map[string]DirectorRecord
	keeper    KeeperRecord
	keeperAt  Revision                   // 0: there is none
	slots     map[string]*[Slots]holding // by tag
	users     map[string]holding
	pins      map[string]pinned
	probes    map[string]string // backends by their Registration.Probe
	asks      map[string]asked  // by user
	placed    *placed
}

// placed are the Placements that somebody has asked for since a node last changed.
type placed struct {
	mu    sync.Mutex
	byTag map[string]*Placement
}

// Node is a backend as the Map knows it.
type Node struct {
	Name string

	Registration Registration
	RegisteredAt Revision // 0: it has not registered

	Wish   Wish     // up with DefaultWeight, if the administrator has said nothing
	WishAt Revision // 0: nothing

	Alive   Alive
	AliveAt Revision // 0: it is not alive
	Lease   LeaseID  // of its Alive

	// Since is when it began to be alive, or not to be, as far as this node has seen,
	// by the View's Clock.
	Since time.Duration
}

// holding is who holds a unit, in 24 bytes: there are few holders for many units.
type holding struct {
	held  unique.Handle[Held]
	at    Revision      // 0: nobody, and held is not set
	freed time.Duration // since when nobody does
}

type pinned struct {
	Pin
	at    Revision
	freed time.Duration // since when nobody holds the user
}

func newMap(clock Clock) *Map {
	return &Map{
		clock:     clock,
		nodes:     map[string]*Node{},
		directors: map[string]DirectorRecord{},
		slots:     map[string]*[Slots]holding{},
		users:     map[string]holding{},
		pins:      map[string]pinned{},
		probes:    map[string]string{},
		asks:      map[string]asked{},
		placed:    &placed{byTag: map[string]*Placement{}},
	}
}

// inherit takes over from the Map before it since when units were free and backends
// alive or not, where that has not changed.
func (m *Map) inherit(old *Map) {
	m.known = old.known
	if old.Revision == 0 {
		m.known = m.clock.Now()
	}
	for name, n := range m.nodes {
		if o := old.nodes[name]; o != nil && o.Lease == n.Lease {
			n.Since = o.Since
		}
	}
	for tag, slots := range old.slots {
		m.inheritSlots(tag, slots)
	}
	for user, p := range m.pins {
		if o := old.pins[user]; o.at != 0 && o.Backend == p.Backend {
			p.freed = o.freed
			m.pins[user] = p
		}
	}
}

func (m *Map) inheritSlots(tag string, old *[Slots]holding) {
	slots := m.slots[tag]
	if slots == nil {
		if !slices.ContainsFunc(old[:], func(h holding) bool { return h.at != 0 }) {
			return // of a tag that is no more
		}
		slots = new([Slots]holding)
		m.slots[tag] = slots
	}
	now := m.clock.Now()
	for s := range slots {
		switch {
		case slots[s].at != 0:
		case old[s].at == 0:
			slots[s].freed = old[s].freed
		default:
			slots[s].freed = now
		}
	}
}

// Params are what the nodes agree on, and when that was written: 0 is never.
func (m *Map) Params() (Params, Revision) { return m.params, m.paramsAt }

// Node is the backend of a name. ok is false if nothing is known of it; it may also
// be known without being registered.
func (m *Map) Node(name string) (n Node, ok bool) {
	if p := m.nodes[name]; p != nil {
		return *p, true
	}
	return Node{Name: name, Wish: defaultWish}, false
}

// Nodes are the backends that have registered, ordered by name.
func (m *Map) Nodes() []Node {
	var nodes []Node
	for _, n := range m.nodes {
		if n.RegisteredAt != 0 {
			nodes = append(nodes, *n)
		}
	}
	slices.SortFunc(nodes, func(a, b Node) int { return strings.Compare(a.Name, b.Name) })
	return nodes
}

// Directors are those that live, by name.
func (m *Map) Directors() map[string]DirectorRecord { return maps.Clone(m.directors) }

// Held is the record of who holds a unit, and when it was written: 0 if there is
// none. Of a record that can't be read the Backend is "". Whether the record is
// valid, Holds tells.
func (m *Map) Held(u Unit) (Held, Revision) {
	h := m.users[u.User]
	if u.User == "" {
		h = holding{}
		if slots := m.slots[u.Tag]; slots != nil && u.Slot < Slots {
			h = slots[u.Slot]
		}
	}
	if h.at == 0 {
		return Held{}, 0
	}
	return h.held.Value(), h.at
}

// Holds says whether a backend that holds by this record lives still, by the
// lease that it had then.
func (m *Map) Holds(h Held) bool {
	n := m.nodes[h.Backend]
	return n != nil && n.AliveAt != 0 && n.Lease == h.Lease && h.Lease != 0
}

// FreeSince is since when nobody holds a unit, as far as this node has seen and by the
// View's Clock: nobody has a record, or the one who has is dead. ok is false while
// somebody holds it, or has a record that can't be read.
func (m *Map) FreeSince(u Unit) (since time.Duration, ok bool) {
	held, at := m.Held(u)
	switch {
	case m.Holds(held):
		return 0, false
	case at != 0 && held.Backend != "" && held.Lease == 0: // a user who was given up
		return max(m.users[u.User].freed, m.known), true
	case at != 0:
		if n := m.nodes[held.Backend]; n != nil {
			return max(n.Since, m.known), true
		}
		return m.known, held.Backend != ""
	case u.User != "":
		return max(m.pins[u.User].freed, m.known), true
	}
	if slots := m.slots[u.Tag]; slots != nil {
		return max(slots[u.Slot].freed, m.known), true
	}
	return m.known, true
}

// Units are all that have a record of who holds them, in no order.
func (m *Map) Units() iter.Seq2[Unit, Held] {
	return func(yield func(Unit, Held) bool) {
		for tag, slots := range m.slots {
			for slot, h := range slots {
				if h.at != 0 && !yield(Unit{Tag: tag, Slot: Slot(slot)}, h.held.Value()) {
					return
				}
			}
		}
		for user, h := range m.users {
			if !yield(Unit{User: user}, h.held.Value()) {
				return
			}
		}
	}
}

// Pin is where a user is pinned to, and since which revision: 0 if to nothing. Of
// a record that can't be read the Backend is "".
func (m *Map) Pin(user string) (Pin, Revision) {
	p := m.pins[user]
	return p.Pin, p.at
}

// Pins are all pinned users, in no order.
func (m *Map) Pins() iter.Seq2[string, Pin] {
	return func(yield func(string, Pin) bool) {
		for user, p := range m.pins {
			if !yield(user, p.Pin) {
				return
			}
		}
	}
}

// UnitOf is the unit that a user belongs to: one of its own from when the user is
// pinned until nobody holds that any more, else the slot.
func (m *Map) UnitOf(user, tag string, slot Slot) Unit {
	if m.pinned(user, tag) || m.users[user].at != 0 && m.users[user].held.Value().Tag == tag {
		return Unit{User: user}
	}
	return Unit{Tag: tag, Slot: slot}
}

// pinned says whether a user with a tag is pinned: to a backend of that tag, or to nobody
// who is known.
func (m *Map) pinned(user, tag string) bool {
	pin, _ := m.pin(user)
	n := m.nodes[pin.Backend]
	return pin.at != 0 && (n == nil || n.RegisteredAt == 0 || n.Registration.Tag == tag)
}

// Placement says who should hold the slots of a tag, pins and what local backends
// hold aside. It is computed once for all who ask before a backend changes.
func (m *Map) Placement(tag string) *Placement {
	m.placed.mu.Lock()
	defer m.placed.mu.Unlock()
	p := m.placed.byTag[tag]
	if p == nil {
		p = Place(tag, m.Nodes())
		m.placed.byTag[tag] = p
	}
	return p
}

// Wanted is the backend that should hold a unit; "" if nobody should, and then
// whoever holds it keeps it, but for a user who is pinned no more.
func (m *Map) Wanted(u Unit) string {
	if u.User == "" && m.local(u) == "" {
		return m.Placement(u.Tag).Wanted(u.Slot)
	}
	if rank := m.Rank(u); len(rank) > 0 {
		return rank[0]
	}
	return ""
}

// Rank are the backends that may hold a unit, the wanted one first, then those that may
// take it if it stays free, in order.
//
//   - A slot of a backend whose volumes nobody else sees is that backend's for ever,
//     alive or not, and whatever the administrator wishes: the mail is there.
//   - A pinned user belongs to the backend of the pin. While that is no candidate,
//     others of its tag may take the user, if they see its volumes.
//   - A user of health checks is its backend's alone, also while that is no candidate.
//   - All else is as Placement says.
func (m *Map) Rank(u Unit) []string {
	if local := m.local(u); local != "" {
		return []string{local}
	}
	if u.User == "" {
		return m.Placement(u.Tag).Rank(u.Slot)
	}
	pin, _ := m.pin(u.User)
	n := m.nodes[pin.Backend]
	switch {
	case pin.at == 0 || n == nil || n.RegisteredAt == 0:
		return nil
	case n.Registration.Local, m.Probe(u.User) != "":
		return []string{n.Name}
	}
	rank := m.Placement(n.Registration.Tag).Rank(SlotOf(userItself, u.User))
	if i := slices.Index(rank, n.Name); i > 0 {
		rank = slices.Insert(slices.Delete(rank, i, i+1), 0, n.Name)
	}
	return rank
}

// local is the backend that holds or held the slot, if its volumes are its own.
func (m *Map) local(u Unit) string {
	held, at := m.Held(u)
	if n := m.nodes[held.Backend]; u.User == "" && at != 0 && n != nil && n.Registration.Local {
		return n.Name
	}
	return ""
}

// userItself spreads pinned users whose backend is gone, in any way that is the same
// everywhere.
var userItself = Template{parts: []part{{letter: 'u'}}}

var (
	defaultWish = Wish{State: Up, Weight: DefaultWeight}

	errUnreadable = errors.New("the record can't be read")
	errTooMuch    = errors.New("the cluster is larger than a node can follow")
)
