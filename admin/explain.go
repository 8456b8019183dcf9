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
func (s *Shared) Status(context.Context) (*ClusterStatus, error) {
	st := &ClusterStatus{Status: s.view.Status()}
	s.view.Read(func(m *cluster.Map) {
		for _, t := range st.Tags {
			st.Moving += moving(m, t.Tag)
		}
		st.Problems = problems(m, st)
	})
	return st, nil
}

// maxProblems bounds what Status says.
const maxProblems = 100

// problems are what an administrator should do something about.
func problems(m *cluster.Map, st *ClusterStatus) (all []string) {
	say := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	switch {
	case st.Away != "":
		say("this node can't follow the coordinator, and what is shown is as of revision %d: look at the coordinator's members and the network: %s", st.Revision, st.Away)
	case st.Revision == 0:
		say("this node has not heard from the coordinator yet")
	case len(st.Backends) == 0:
		say("no backend has registered: start one with the same setting cluster")
	}
	for _, b := range st.Backends {
		switch {
		case !b.Alive && b.Local && b.Lost > 0:
			say("backend %s is not alive, and the mail of its %s is on its own disk: start it", b.Name, count(b.Lost, "slot"))
		case !b.Alive && b.Wish.State == cluster.Up:
			say("backend %s is not alive: start it, or say director remove %s if it does not come back", b.Name, b.Name)
		case b.State != nil && b.State.Trouble != "":
			say("backend %s has trouble: %s", b.Name, b.State.Trouble)
		}
	}
	for _, t := range st.Tags {
		if k := m.Kinds()[t.Tag]; k.Mixed() {
			say("backends%s are of two kinds, which do not keep the same mail: %s, and %s, no Roost: give these a tag of their own", ofTag(t.Tag), strings.Join(k.Roost, " "), strings.Join(k.Foreign, " "))
		}
		place := m.Placement(t.Tag)
		switch {
		case t.Free == 0:
		case place.Rank(0) != nil:
			say("%s%s served by nobody; live backends are about to take them", are(t.Free, "slot"), ofTag(t.Tag))
		default:
			say("%s%s served by nobody, and no backend may take them: %s", are(t.Free, "slot"), ofTag(t.Tag), refusals(place))
		}
	}
	for user, pin := range m.Pins() {
		n, _ := m.Node(pin.Backend)
		switch {
		case len(all) >= maxProblems:
		case n.Registration.Foreign:
			say("user %s was moved to %s, which is no Roost, and moves can't lead there: say director unmove %s; the passdb's field host does that", user, pin.Backend, user)
		case n.AliveAt == 0:
			say("user %s was moved to %s, which is not alive: start it, or say director unmove %s", user, cmp.Or(pin.Backend, "n/a"), user)
		}
	}
	return all
}

func are(n int, thing string) string {
	if n == 1 {
		return count(n, thing) + " is"
	}
	return count(n, thing) + " are"
}

// refusals are why each backend may take no slots.
func refusals(p *cluster.Placement) string {
	var parts []string
	for _, c := range p.Candidates() {
		if len(c.Not) > 0 {
			parts = append(parts, c.Name+": "+strings.Join(c.Not, " and "))
		}
	}
	return cmp.Or(strings.Join(parts, "; "), "there is none")
}

// directors are those that live, ordered by name.
func directors(st cluster.Status) []DirectorStatus {
	list := []DirectorStatus{}
	for _, name := range slices.Sorted(maps.Keys(st.Directors)) {
		d := st.Directors[name]
		list = append(list, DirectorStatus{name, d.Addr, d.Admin, d.Since, d.Version})
	}
	return list
}

// Explain implements Coordinated.
func (s *Shared) Explain(_ context.Context, user, tag string) (*Explanation, error) {
	e := &Explanation{Explanation: s.routes.Explain(user, tag)}
	e.Steps = steps(&e.Explanation)
	return e, nil
}

// steps are an explanation in words that can be read at three in the morning.
func steps(e *cluster.Explanation) (lines []string) {
	say := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	if e.Away != "" {
		say("This node can't follow the coordinator (%s), and has not heard from it for %v: what follows is as of revision %d.", e.Away, seconds(e.Heard).Round(time.Second), e.Revision)
	} else {
		say("This node knows the cluster up to revision %d.", e.Revision)
	}
	say("By the name, %s is in %s.", e.User, cluster.Unit{Tag: e.Tag, Slot: e.Slot})
	switch {
	case e.Pin != nil && e.Pin.Backend == "":
		say("The user is pinned by a record that can't be read (revision %d): nobody takes the user before director unmove %s.", e.PinnedAt, e.User)
	case e.Pin != nil:
		say("But %s has moved the user to %s at %s (revision %d), and that counts.", cmp.Or(e.Pin.By, "an administrator"), e.Pin.Backend, when(e.Pin.Since), e.PinnedAt)
	case e.Unit == cluster.Unit{User: e.User}.String():
		say("The user was moved by an administrator, is not any more, and is on the way back.")
	}
	if e.Wanted != "" {
		say("%s should serve the user%s.", e.Wanted, then(e.Rank[1:]))
	}
	for _, c := range e.Candidates {
		if len(c.Not) > 0 {
			say("%s can't take anybody: %s.", c.Name, strings.Join(c.Not, "; "))
		}
	}
	switch {
	case e.Served && e.Wanted != "" && e.Held.Backend != e.Wanted:
		say("Now %s serves the user, by its lease, and is to give the user to %s: logins go to %s until then.", e.Held.Backend, e.Wanted, e.Held.Backend)
	case e.Served:
		say("%s serves the user, by its lease: logins go there.", e.Held.Backend)
	default:
		say("Nobody serves the user: logins wait, and fail with UNAVAILABLE if that lasts.")
	}
	say("In short: %s.", e.Why)
	return lines
}

func ofTag(tag string) string {
	if tag == "" {
		return ""
	}
	return " of tag " + tag
}

func then(rank []string) string {
	if len(rank) == 0 {
		return "; nobody else may"
	}
	return ", and if it is gone " + strings.Join(rank[:min(3, len(rank))], ", then ")
}
