package cluster

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Explanation says why a user is served where he is, or why nowhere.
type Explanation struct {
	User     string   `json:"user"`
	Tag      string   `json:"tag,omitempty"`
	Slot     Slot     `json:"slot"` // of the name, also if the user is pinned
	Unit     string   `json:"unit"` // what is held or not: the slot, or the user alone
	Revision Revision `json:"revision"`

	Pin      *Pin     `json:"pin,omitempty"`
	PinnedAt Revision `json:"pinnedAt,omitempty"`
	Held     *Held    `json:"held,omitempty"` // a record says so
	HeldAt   Revision `json:"heldAt,omitempty"`
	Served   bool     `json:"served"`            // and the holder has the lease still
	FreeFor  float64  `json:"freeFor,omitempty"` // seconds for which it is not so

	Wanted     string      `json:"wanted,omitempty"` // who should hold the unit
	Rank       []string    `json:"rank,omitempty"`   // who may hold it, in order
	Candidates []Candidate `json:"candidates"`       // the backends of the tag, and why some are none

	Why   string  `json:"why"`            // all that in a sentence
	Heard float64 `json:"heard"`          // seconds since the coordinator last said something
	Away  string  `json:"away,omitempty"` // why it can't be followed
}

// Explain says all about where a user with a tag is.
func (r *Routes) Explain(user, tag string) Explanation {
	return r.explain(Query{User: user, Tag: tag}, SlotOf(r.cfg.Template, user))
}

func (r *Routes) explain(q Query, slot Slot) (e Explanation) {
	r.cfg.View.Read(func(m *Map) { e = m.explain(q, slot) })
	e.Heard, e.Away = r.cfg.View.Contact().words()
	return e
}

// words are seconds since the Coordinator was heard, and why it can't be followed.
func (c Contact) words() (heard float64, away string) {
	if c.Away != nil {
		away = c.Away.Error()
	}
	return seconds(c.Heard), away
}

// seconds is d as operations show it.
func seconds(d time.Duration) float64 { return d.Round(time.Millisecond).Seconds() }

func (m *Map) explain(q Query, slot Slot) Explanation {
	to := m.route(q, slot)
	e := Explanation{
		User: q.User, Tag: q.Tag, Slot: slot, Unit: to.unit.String(), Revision: m.Revision,
		Served: m.Holds(to.held), Rank: m.Rank(to.unit), Why: m.why(q, to),
	}
	if pin, at := m.Pin(q.User); at != 0 {
		e.Pin, e.PinnedAt = &pin, at
	}
	if to.heldAt != 0 {
		e.Held, e.HeldAt = &to.held, to.heldAt
	}
	if since, free := m.FreeSince(to.unit); free {
		e.FreeFor = seconds(m.clock.Now() - since)
	}
	if len(e.Rank) > 0 {
		e.Wanted = e.Rank[0]
	}
	tag := q.Tag
	if n := m.nodes[m.pins[to.unit.User].Backend]; n != nil {
		tag = n.Registration.Tag
	}
	e.Candidates = m.Placement(tag).Candidates()
	return e
}

// why says in words what route found.
func (m *Map) why(q Query, to route) string {
	switch to.state {
	case routeNoMap:
		return "nothing is known of the cluster yet"
	case routeBehind:
		return fmt.Sprintf("known up to revision %d, and a backend has told of revision %d", m.Revision, q.After)
	case routeUnreadable:
		return fmt.Sprintf("the record of revision %d, which says who holds it, can't be read", to.heldAt)
	case routeUnregistered:
		return fmt.Sprintf("%s holds it since revision %d, but has not registered", to.held.Backend, to.heldAt)
	case routeRefused:
		return fmt.Sprintf("%s holds it since revision %d, but said at revision %d that it does not", to.held.Backend, to.heldAt, q.After)
	case routeKnown:
		return fmt.Sprintf("%s holds it since revision %d", to.held.Backend, to.heldAt)
	}
	return m.whyFree(to)
}

// whyFree says why nobody holds a unit, since when, and who should.
func (m *Map) whyFree(to route) string {
	since, _ := m.FreeSince(to.unit)
	free := (m.clock.Now() - since).Round(time.Millisecond)
	why := fmt.Sprintf("nobody has held it for %v", free)
	switch {
	case to.held.Leaving:
		why = fmt.Sprintf("it leaves %s since revision %d, and directors have to confirm that their sessions there have ended", to.held.Backend, to.heldAt)
	case to.heldAt != 0 && to.held.Lease == 0:
		why = fmt.Sprintf("%s gave it up at revision %d for others to take", to.held.Backend, to.heldAt)
	case to.heldAt != 0:
		why = fmt.Sprintf("%s held it since revision %d, but lost its lease %v ago", to.held.Backend, to.heldAt, free)
	}
	switch pin, at := m.Pin(to.unit.User); {
	case at != 0 && pin.Backend == "":
		why += fmt.Sprintf("; the pin of revision %d can't be read", at)
	case at != 0:
		why += "; the user is pinned to " + pin.Backend
	}
	rank := m.Rank(to.unit)
	switch {
	case to.state == routeLocal:
		return why + fmt.Sprintf("; the mail is on volumes that only %s sees", rank[0])
	case to.state == routeNoBackend:
		return why + fmt.Sprintf("; no backend with tag %q has registered", to.unit.Tag)
	case len(rank) == 0:
		return why + "; no backend is a candidate for it"
	}
	return why + fmt.Sprintf("; %s should take it", rank[0])
}

// Status is a View's Map in short.
type Status struct {
	Revision  Revision                  `json:"revision"`
	Heard     float64                   `json:"heard"`          // seconds since the coordinator last said something
	Away      string                    `json:"away,omitempty"` // why it can't be followed
	Params    Params                    `json:"params"`
	Backends  []BackendStatus           `json:"backends"` // ordered by tag and name
	Tags      []TagStatus               `json:"tags"`     // ordered
	Directors map[string]DirectorRecord `json:"directors"`
	Pins      int                       `json:"pins"`
}

// BackendStatus is what is wished of a backend, what is observed, and what follows.
type BackendStatus struct {
	Name string `json:"name"`
	Registration
	Wish Wish `json:"wish"`

	Alive  bool     `json:"alive"`
	State  *Alive   `json:"state,omitempty"` // what it says itself
	For    float64  `json:"for"`             // seconds for which it has been alive, or not
	Not    []string `json:"not,omitempty"`   // why it is no candidate
	Wanted int      `json:"wanted"`          // slots that it should hold
	Held   int      `json:"held"`            // slots that it holds
	Lost   int      `json:"lost"`            // slots that it held when it lost its lease, and nobody has taken
	Users  int      `json:"users"`           // pinned users that it holds
	Pins   int      `json:"pins"`            // users who are pinned to it
}

// TagStatus counts the slots of a tag.
type TagStatus struct {
	Tag  string `json:"tag"`
	Held int    `json:"held"`
	Free int    `json:"free"` // nobody serves them now
}

// Status says how the cluster is, as far as this node knows.
func (v *View) Status() (s Status) {
	v.Read(func(m *Map) { s = m.status() })
	s.Heard, s.Away = v.Contact().words()
	return s
}

func (m *Map) status() Status {
	s := Status{Revision: m.Revision, Params: m.params, Directors: m.Directors(), Pins: len(m.pins)}
	of := map[string]*BackendStatus{}
	tags := map[string]*TagStatus{}
	for _, n := range m.Nodes() {
		b := &BackendStatus{Name: n.Name, Registration: n.Registration, Wish: n.Wish, For: seconds(m.clock.Now() - n.Since)}
		if b.Alive = n.AliveAt != 0; b.Alive {
			b.State = &n.Alive
		}
		of[n.Name] = b
		tags[n.Registration.Tag] = &TagStatus{Tag: n.Registration.Tag, Free: Slots}
	}
	for tag, t := range tags {
		m.countWanted(tag, of)
		t.Held = m.countHeld(tag, of)
		t.Free -= t.Held
		s.Tags = append(s.Tags, *t)
	}
	for user := range m.users {
		if held, _ := m.Held(Unit{User: user}); m.Holds(held) && of[held.Backend] != nil && m.Probe(user) == "" {
			of[held.Backend].Users++
		}
	}
	for _, pin := range m.pins {
		if b := of[pin.Backend]; b != nil {
			b.Pins++
		}
	}
	for _, b := range of {
		s.Backends = append(s.Backends, *b)
	}
	slices.SortFunc(s.Tags, func(a, b TagStatus) int { return strings.Compare(a.Tag, b.Tag) })
	slices.SortFunc(s.Backends, func(a, b BackendStatus) int {
		return strings.Compare(a.Tag+"\x00"+a.Name, b.Tag+"\x00"+b.Name)
	})
	return s
}

// countWanted counts what each backend of a tag should hold.
func (m *Map) countWanted(tag string, of map[string]*BackendStatus) {
	for _, c := range m.Placement(tag).judged {
		of[c.Name].Not = c.Not
	}
	for slot := range Slot(Slots) {
		if b := of[m.Wanted(Unit{Tag: tag, Slot: slot})]; b != nil {
			b.Wanted++
		}
	}
}

// countHeld counts what each backend holds of a tag, and all together.
func (m *Map) countHeld(tag string, of map[string]*BackendStatus) (all int) {
	for slot := range Slot(Slots) {
		held, at := m.Held(Unit{Tag: tag, Slot: slot})
		b, holds := of[held.Backend], m.Holds(held)
		switch {
		case at == 0:
		case holds && b != nil:
			b.Held++
		case b != nil:
			b.Lost++
		}
		if holds {
			all++
		}
	}
	return all
}
