package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unique"
)

// apply takes in a change of a key. The error is errUnreadable with the reason,
// and what the comment of Map says is done then, or errTooMuch, and nothing is done.
// Keys that are none of ours are passed over.
func (m *Map) apply(e Event) error {
	m.Changed = max(m.Changed, e.Changed)
	prefix, name, _ := strings.Cut(e.Key, "/")
	switch prefix + "/" {
	case keyParams + "/":
		return applyOnly(e, keyParams, &m.params, &m.paramsAt)
	case keyBackends, keyWishes, keyAlive:
		return m.applyNode(prefix+"/", name, e)
	case keyDirectors:
		return m.applyDirector(name, e)
	case keyKeeper + "/":
		return applyOnly(e, keyKeeper, &m.keeper, &m.keeperAt)
	case keyHeld, keyHeldUser:
		return m.applyHeld(e)
	case keyPins:
		return m.applyPin(name, e)
	case keyAsks:
		return m.applyAsk(name, e)
	}
	return nil
}

// applyOnly takes in a record of which there is only one, at key.
func applyOnly[T any](e Event, key string, record *T, at *Revision) error {
	if e.Key != key {
		return nil
	}
	*record, *at = *new(T), 0
	if e.Deleted {
		return nil
	}
	*at = e.Changed
	return read(e.KV, record)
}

// applyNode changes one of the three parts of a Node, which exists while one does.
func (m *Map) applyNode(prefix, name string, e Event) error {
	m.placed = &placed{byTag: map[string]*Placement{}}
	n := m.nodes[name]
	switch {
	case name == "" || len(name) > maxName:
		return fmt.Errorf("%w: it has no usable name", errUnreadable)
	case n == nil && e.Deleted:
		return nil
	case n == nil && len(m.nodes) == MaxMembers:
		return fmt.Errorf("%w: it has more than %d backends", errTooMuch, MaxMembers)
	case n == nil:
		n = &Node{Name: name, Wish: defaultWish, Since: m.clock.Now()}
		m.nodes[name] = n
	}
	lease := n.Lease
	err := n.apply(prefix, e)
	if n.Lease != lease {
		n.Since = m.clock.Now()
	}
	if n.RegisteredAt == 0 && n.WishAt == 0 && n.AliveAt == 0 {
		delete(m.nodes, name)
	}
	if prefix == keyBackends {
		m.findProbes()
	}
	return err
}

// findProbes: of two backends that name the same user, the first by name has it.
func (m *Map) findProbes() {
	clear(m.probes)
	for name, n := range m.nodes {
		if user := n.Registration.Probe; user != "" && n.RegisteredAt != 0 && !n.Registration.Foreign {
			if other, is := m.probes[user]; !is || name < other {
				m.probes[user] = name
			}
		}
	}
}

// pin is a user's pin by an administrator, else the one that a backend's probe has. The
// condition is that it is that still. at is 0 if there is none.
func (m *Map) pin(user string) (p pinned, is Condition) {
	if p = m.pins[user]; p.at != 0 {
		return p, Condition{keyPins + user, p.at}
	}
	name := m.probes[user]
	if name == "" {
		return p, is
	}
	at := m.nodes[name].RegisteredAt
	return pinned{Pin: Pin{Backend: name}, at: at}, Condition{keyBackends + name, at}
}

// Probe is the backend whose health checks log in as a user; "" if the user is no probe,
// or an administrator has pinned it.
func (m *Map) Probe(user string) string {
	if m.pins[user].at != 0 {
		return ""
	}
	return m.probes[user]
}

func (n *Node) apply(prefix string, e Event) (err error) {
	switch prefix {
	case keyBackends:
		n.Registration, n.RegisteredAt = Registration{}, 0
		if e.Deleted {
			return nil
		}
		if err = read(e.KV, &n.Registration); err == nil {
			err = n.Registration.check()
		}
		if err != nil {
			n.Registration = Registration{}
			return err
		}
		n.RegisteredAt = e.Changed
	case keyWishes:
		n.Wish, n.WishAt = defaultWish, 0
		if e.Deleted {
			return nil
		}
		n.WishAt = e.Changed // also of one that can't be read: conditions are on the record
		if err = read(e.KV, &n.Wish); err == nil && (n.Wish.Weight < 0 || n.Wish.Weight > MaxWeight) {
			err = fmt.Errorf("%w: weight %d", errUnreadable, n.Wish.Weight)
		}
		if err != nil {
			n.Wish = defaultWish
			return err
		}
	case keyAlive:
		n.Alive, n.AliveAt, n.Lease = Alive{}, 0, 0
		if e.Deleted {
			return nil
		}
		n.AliveAt, n.Lease = e.Changed, e.Lease
		if err = read(e.KV, &n.Alive); err != nil {
			n.Alive = Alive{Trouble: err.Error()}
		}
	}
	return err
}

func (m *Map) applyDirector(name string, e Event) error {
	if e.Deleted {
		delete(m.directors, name)
		return nil
	}
	var d DirectorRecord
	if err := read(e.KV, &d); err != nil {
		return err
	}
	if _, known := m.directors[name]; !known && len(m.directors) == MaxDirectors {
		return fmt.Errorf("%w: it has more than %d directors", errTooMuch, MaxDirectors)
	}
	m.directors[name] = d
	return nil
}

func (m *Map) applyHeld(e Event) error {
	u, ok := parseUnit(e.Key)
	if !ok || len(u.Tag) > maxTag || len(u.User) > maxUser {
		return fmt.Errorf("%w: it is for no unit", errUnreadable)
	}
	if e.Deleted {
		return m.setUnit(u, holding{freed: m.clock.Now()})
	}
	var held Held
	err := read(e.KV, &held)
	if err != nil {
		held = Held{}
	}
	return errors.Join(m.setUnit(u, holding{held: unique.Make(held), at: e.Changed, freed: m.clock.Now()}), err)
}

func (m *Map) setUnit(u Unit, h holding) error {
	if u.User != "" {
		return m.setUser(u.User, h)
	}
	return m.setSlot(u, h)
}

func (m *Map) setUser(user string, h holding) error {
	if h.at == 0 {
		delete(m.users, user)
		if p := m.pins[user]; p.at != 0 {
			p.freed = h.freed
			m.pins[user] = p
		}
		return nil
	}
	if m.users[user].at == 0 && len(m.users) == MaxPins {
		return fmt.Errorf("%w: more than %d users are held by themselves", errTooMuch, MaxPins)
	}
	m.users[user] = h
	return nil
}

func (m *Map) setSlot(u Unit, h holding) error {
	slots := m.slots[u.Tag]
	switch {
	case slots == nil && h.at == 0:
		return nil
	case slots == nil && len(m.slots) == MaxTags:
		return fmt.Errorf("%w: it has more than %d tags", errTooMuch, MaxTags)
	case slots == nil:
		slots = new([Slots]holding)
		m.slots[strings.Clone(u.Tag)] = slots
	}
	slots[u.Slot] = h
	return nil
}

func (m *Map) applyPin(user string, e Event) error {
	if e.Deleted {
		delete(m.pins, user)
		return nil
	}
	if user == "" || len(user) > maxUser {
		return fmt.Errorf("%w: it is for no user", errUnreadable)
	}
	if m.pins[user].at == 0 && len(m.pins) == MaxPins {
		return fmt.Errorf("%w: it has more than %d pins", errTooMuch, MaxPins)
	}
	var p Pin
	err := read(e.KV, &p)
	if err != nil {
		p = Pin{}
	}
	m.pins[user] = pinned{p, e.Changed, m.clock.Now()}
	return err
}

// applyAsk: what is beyond MaxPins is not heard, and its backend asks again.
func (m *Map) applyAsk(user string, e Event) error {
	if e.Deleted {
		delete(m.asks, user)
		return nil
	}
	if user == "" || len(user) > maxUser || m.asks[user].at == 0 && len(m.asks) == MaxPins {
		return fmt.Errorf("%w: it is for no user, or one too many", errUnreadable)
	}
	a := asked{at: e.Changed, lease: e.Lease}
	err := read(e.KV, &a.Ask)
	m.asks[user] = a
	return err
}

// read decodes a record. Fields that are not known are of a later version.
func read(kv KV, into any) error {
	if len(kv.Value) > maxRecord {
		return fmt.Errorf("%w: %d bytes", errUnreadable, len(kv.Value))
	}
	if err := json.Unmarshal(kv.Value, into); err != nil {
		return fmt.Errorf("%w: %w", errUnreadable, err)
	}
	return nil
}

// check refuses what no backend says of itself.
func (r *Registration) check() error {
	switch {
	case r.Host == "" || len(r.Host) > maxName:
		return fmt.Errorf("%w: no usable host", errUnreadable)
	case len(r.Probe) > maxUser:
		return fmt.Errorf("%w: no usable probe", errUnreadable)
	case len(r.Tag) > maxTag || strings.Contains(r.Tag, "/"):
		return fmt.Errorf("%w: no usable tag", errUnreadable)
	case len(r.Volumes) > maxVolume || slices.ContainsFunc(r.Volumes, func(v string) bool { return v == "" || len(v) > maxVolume }):
		return fmt.Errorf("%w: no usable volumes", errUnreadable)
	}
	return nil
}
