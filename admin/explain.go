package admin

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/roost-mail/roost/cluster"
)

// Status implements Coordinated.
func (s *Shared) Status(ctx context.Context) (*ClusterStatus, error) {
	g, contact := s.look(), s.View.Contact()
	st := &ClusterStatus{Revision: int64(g.revision), Heard: contact.Heard.Seconds(), Directors: []DirectorStatus{}}
	if contact.Away != nil {
		st.Away = contact.Away.Error()
	}
	s.View.Read(func(m *cluster.Map) {
		st.Params, _ = m.Params()
		for range m.Pins() {
			st.Pins++
		}
		for name, d := range m.Directors() {
			st.Directors = append(st.Directors, DirectorStatus{name, d.Addr, d.Admin, d.Since, d.Version})
		}
	})
	slices.SortFunc(st.Directors, func(a, b DirectorStatus) int { return strings.Compare(a.Name, b.Name) })
	for _, name := range slices.Sorted(maps.Keys(g.tags)) {
		st.Tags = append(st.Tags, *g.tags[name])
	}
	var err error
	st.Backends, err = s.Backends(ctx)
	st.Problems = s.problems(g, st)
	return st, err
}

// problems are what an administrator should do something about.
func (s *Shared) problems(g *glance, st *ClusterStatus) []string {
	var all []string
	say := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	switch {
	case st.Away != "":
		say("this node can't follow the coordinator; what is shown is as of revision %d. Look at the coordinator's members and the network: %s", st.Revision, st.Away)
	case st.Revision == 0:
		say("this node has not heard from the coordinator yet")
	}
	if len(st.Backends) == 0 && st.Revision != 0 {
		say("no backend has registered: start one with the same setting cluster")
	}
	for _, b := range st.Backends {
		if n := g.stale[b.Host]; n > 0 && b.Local {
			say("backend %s is not alive, and the mail of its %s is on its own disk: start it", b.Host, count(n, "slot"))
		} else if b.Alive == "no" && b.State == cluster.Up {
			say("backend %s is not alive: start it, or say director remove %s if it does not come back", b.Host, b.Host)
		}
		if b.Trouble != "" {
			say("backend %s has trouble: %s", b.Host, b.Trouble)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(g.tags)) {
		t, who := g.tags[name], ""
		if name != "" {
			who = " of tag " + name
		}
		if t.Free+t.Stale > 0 && len(st.Backends) > 0 {
			if g.hasCandidates(name) {
				say("%s%s are served by nobody; live backends are about to take them", count(t.Free+t.Stale, "slot"), who)
			} else {
				say("%s%s are served by nobody, and no backend may take them: %s", count(t.Free+t.Stale, "slot"), who, refusals(g.placements[name]))
			}
		}
	}
	s.View.Read(func(m *cluster.Map) {
		for user, pin := range m.Pins() {
			if n, _ := m.Node(pin.Backend); n.AliveAt == 0 && len(all) < maxProblems {
				say("user %s was moved to %s, which is not alive: start it, or say director unmove %s", user, orNone(pin.Backend), user)
			}
		}
	})
	return all
}

// maxProblems bounds what Status says.
const maxProblems = 100

// refusals are why each backend is no candidate.
func refusals(p *cluster.Placement) string {
	var parts []string
	for _, c := range p.Candidates() {
		if len(c.Not) > 0 {
			parts = append(parts, c.Name+": "+strings.Join(c.Not, " and "))
		}
	}
	return cmp.Or(strings.Join(parts, "; "), "there is none")
}

// Explain implements Coordinated.
func (s *Shared) Explain(_ context.Context, user, tag string) ([]string, error) {
	slot := cluster.SlotOf(s.Template, user)
	contact := s.View.Contact()
	var lines []string
	say := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	if contact.Away != nil {
		say("This node can't follow the coordinator (%v). What follows is as of revision %d, which it heard %v ago.", contact.Away, contact.Revision, contact.Heard.Round(time.Second))
	} else {
		say("This node knows the cluster as of revision %d.", contact.Revision)
	}
	unit := cluster.Unit{Tag: tag, Slot: slot}
	say("%s hashes to %s.", user, unit)
	var nodes []cluster.Node
	s.View.Read(func(m *cluster.Map) {
		nodes = m.Nodes()
		for _, line := range explainUnit(m, user, unit) {
			say("%s", line)
		}
	})
	p := cluster.Place(tag, nodes)
	for _, c := range p.Candidates() {
		if len(c.Not) > 0 {
			say("Backend %s can't take slots: %s.", c.Name, strings.Join(c.Not, "; "))
		}
	}
	switch rank := p.Rank(slot); {
	case len(p.Candidates()) == 0:
		say("No backend%s has registered.", ofTag(tag))
	case len(rank) == 0:
		say("No backend%s may take slots, so that who holds one keeps it.", ofTag(tag))
	default:
		say("By weights the slot belongs to %s%s.", rank[0], then(rank[1:]))
	}
	return lines, nil
}

func ofTag(tag string) string {
	if tag == "" {
		return ""
	}
	return " of tag " + tag
}

func then(rank []string) string {
	if len(rank) == 0 {
		return ", the only one that may have it"
	}
	return ", and if that is gone to " + strings.Join(rank[:min(3, len(rank))], ", then ")
}

// explainUnit is what the coordinator has on a user.
func explainUnit(m *cluster.Map, user string, slot cluster.Unit) (lines []string) {
	say := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	unit := m.UnitOf(user, slot.Tag, slot.Slot)
	pin, pinnedAt := m.Pin(user)
	switch {
	case pinnedAt != 0 && pin.Backend == "":
		say("The user is pinned by a record that can't be read (revision %d): nobody may serve the user until director unmove %s.", pinnedAt, user)
	case pinnedAt != 0:
		say("An administrator (%s) has moved the user to %s at %s (revision %d), so the slot does not count.", cmp.Or(pin.By, "unknown"), pin.Backend, when(pin.Since), pinnedAt)
	case unit.User != "":
		say("The user was moved by an administrator, and is on the way back to the slot.")
	}
	held, heldAt := m.Held(unit)
	switch {
	case heldAt == 0:
		say("Nobody holds %s: logins wait until a backend takes it.", unit)
	case m.Holds(held):
		say("Backend %s holds %s since revision %d, and is alive: logins go there.", held.Backend, unit, heldAt)
	case held.Backend == "":
		say("%s has a record that can't be read (revision %d): nobody takes it, and logins fail.", unit, heldAt)
	default:
		n, known := m.Node(held.Backend)
		switch {
		case !known:
			say("Backend %s held %s (revision %d), and is not known any more: others may take it.", held.Backend, unit, heldAt)
		case n.AliveAt == 0:
			say("Backend %s held %s (revision %d), and its lease has ended: others may take it.", held.Backend, unit, heldAt)
		default:
			say("Backend %s held %s (revision %d) before it lost its lease and got another: others may take it.", held.Backend, unit, heldAt)
		}
		if n.Registration.Local {
			say("But its mail is on its own disk: only %s can serve the user.", held.Backend)
		}
	}
	return lines
}
