package cluster

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	freeBefore = 2 * time.Second  // a unit has been before the next in rank takes it, and so on
	standIn    = 30 * time.Second // the next in rank keeps it at least
	takers     = 4                // transactions at once
	never      = 24 * time.Hour   // until a plan has to be looked at again
)

// plan is what there is to do by one state of the Map.
type plan struct {
	changed <-chan struct{} // closed at the Map's next change
	again   time.Duration   // when to look again all the same

	take     []taking
	lost     []*unit
	leave    []*unit // another backend is wanted for them
	closed   []*unit // and only the record is left to do
	handOver []handover
	home     []homecoming
	answers  []answering

	down    bool      // the administrator wants us to have nothing, at once
	drain   bool      // or soon
	wished  Condition // that the administrator has not wished something else since
	unarmed bool      // something is held that is not yet under the present lease
	givers  int       // backends that have something to give up
	wanted  int
}

// taking is a unit to take, or one that is ours to be put under the present lease.
type taking struct {
	unit Unit
	ours *unit // nil: it is none yet
	from Held  // its record says
	at   Revision
	old  Condition // that the one who held it is dead; without Key: not needed
	why  string
	keep time.Duration // until when it isn't given up again
}

// planner makes a plan. View.Read and Holder.mu are held.
type planner struct {
	h *Holder
	*plan
	m    *Map
	now  time.Duration
	term *term
	give map[string]bool // backends that have something to give up
}

func (h *Holder) plan() *plan {
	p := &plan{again: never}
	h.cfg.View.Read(func(m *Map) {
		p.changed = h.cfg.View.changed
		h.mu.Lock()
		defer h.mu.Unlock()
		x := planner{h: h, plan: p, m: m, now: h.cfg.Clock.Now(), term: h.term.Load(), give: map[string]bool{}}
		self, _ := m.Node(h.cfg.Name)
		p.down, p.drain = self.Wish.State == Down, self.Wish.State == Drain
		p.wished = Condition{keyWishes + h.cfg.Name, self.WishAt}
		for s := range Slot(Slots) {
			x.unit(Unit{Tag: h.cfg.Registration.Tag, Slot: s})
		}
		x.users()
		x.asks()
		p.givers = max(1, len(x.give))
		h.crowd.saw(x.now, m)
		h.status.Wanted, h.status.Frozen = p.wanted, h.crowd.frozen(x.now)
	})
	return p
}

// idle says whether there is nothing to do until something changes.
func (p *plan) idle() bool {
	return len(p.take)+len(p.lost)+len(p.leave)+len(p.closed)+len(p.handOver)+len(p.home)+len(p.answers) == 0 && p.again == never
}

// unit looks at one unit.
func (p *planner) unit(id Unit) {
	wanted := p.m.Wanted(id)
	if wanted == p.h.cfg.Name {
		p.wanted++
	}
	held, at := p.m.Held(id)
	if u := p.h.units[id]; u != nil {
		p.own(u, held, at, wanted)
		return
	}
	switch {
	case at != 0 && held.Backend == "": // of a record that can't be read nothing is taken
	case held.Backend == p.h.cfg.Name && held.Lease == p.term.id:
		p.take = append(p.take, taking{unit: id, from: held, at: at, why: "its record says so already"})
	case p.m.Holds(held):
		if wanted != "" && wanted != held.Backend {
			p.give[held.Backend] = true
		}
	default:
		p.free(id, held, at, wanted)
	}
}

// free takes a unit that nobody holds if that is for us to do.
func (p *planner) free(id Unit, held Held, at Revision, wanted string) {
	if left := p.h.takesAt - p.now; left > 0 {
		p.again = min(p.again, left)
		return
	}
	t := taking{unit: id, from: held, at: at, why: "it should be here"}
	if wanted != p.h.cfg.Name {
		since, ok := p.m.FreeSince(id)
		if !ok || wanted == "" {
			return
		}
		place := slices.Index(p.m.Rank(id), p.h.cfg.Name)
		if place < 0 {
			return
		}
		n, _ := p.m.Node(wanted)
		since = max(since, n.Since) // whoever has just come has as long
		if left := time.Duration(place)*freeBefore - (p.now - since); left > 0 {
			p.again = min(p.again, left)
			return
		}
		t.why, t.keep = "it stayed free, and should be at "+wanted, p.now+standIn
	}
	if held.Backend != p.h.cfg.Name {
		t.old = dead(p.m, held)
	}
	p.take = append(p.take, t)
}

// dead is the condition that whoever holds by a record does so no more.
func dead(m *Map, held Held) Condition {
	if held.Backend == "" || held.Lease == 0 {
		return Condition{}
	}
	n, _ := m.Node(held.Backend)
	return Condition{keyAlive + held.Backend, n.AliveAt}
}

// own looks at a unit that is ours.
func (p *planner) own(u *unit, held Held, at Revision, wanted string) {
	mine := held.Backend == p.h.cfg.Name && held.Incarnation == p.h.cfg.Incarnation && held.Lease != 0
	if mine && at > u.rev { // what we committed without hearing of it
		u.rev = at
	}
	if !mine || at != u.rev {
		if at > u.rev || p.m.Revision >= u.rev { // and it is no older news
			p.lost = append(p.lost, u)
		}
		return
	}
	switch {
	case u.closed:
		p.closed = append(p.closed, u)
	case u.leaving:
	case u.term.Load() != p.term:
		p.unarmed = true
		p.take = append(p.take, taking{unit: u.Unit, ours: u, from: held, at: at, why: "it was ours before the lease was lost"})
	case wanted == p.h.cfg.Name || wanted == "" && !p.down:
	case p.now < p.keepsUntil(u):
		p.again = min(p.again, p.keepsUntil(u)-p.now)
	default:
		p.give[p.h.cfg.Name] = true
		p.leave = append(p.leave, u)
	}
}

// keepsUntil is when we give up a unit for which another backend is wanted: one that is not
// stable has what nobody else took, and its users have had enough for now.
func (p *planner) keepsUntil(u *unit) time.Duration {
	switch {
	case p.down || p.drain || p.h.told.Trouble != "":
		return 0
	case u.User != "":
		return u.keep
	}
	return max(u.keep, p.h.stableAt)
}

// take does transactions until all is ours that can be, several at once. When something
// was not as planned, and the Map knows by now that it has changed, the rest is for another plan:
// of an old one nearly nothing might come about, and others would stand in meanwhile.
func (h *Holder) take(ctx context.Context, p *plan) {
	all := p.take
	slices.SortStableFunc(all, func(a, b taking) int {
		return cmp.Or(cmp.Compare(a.why, b.why), cmp.Compare(a.from.Backend, b.from.Backend))
	})
	var failed atomic.Bool
	var wg sync.WaitGroup
	slot := make(chan struct{}, takers)
	for len(all) > 0 && !failed.Load() {
		t, n := h.takeTxn(all, p.wished)
		batch := all[:n]
		all = all[n:]
		slot <- struct{}{}
		wg.Go(func() {
			defer func() { <-slot }()
			if done, err := h.takeBatch(ctx, t, batch); err != nil || !done && isClosed(p.changed) {
				failed.Store(true)
			}
		})
	}
	wg.Wait()
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// takeTxn is a transaction for as many units as it has room for. Nothing is taken by a wish that
// has changed: who has committed one can say of a drained backend that nothing comes to it any more.
func (h *Holder) takeTxn(all []taking, wished Condition) (t Txn, n int) {
	lease := h.term.Load().id
	t.If = []Condition{{keyAlive + h.cfg.Name, h.aliveAt}, wished}
	conditions := map[Condition]bool{}
	for _, one := range all {
		need := []Condition{{one.unit.key(), one.at}}
		if one.old.Key != "" && !conditions[one.old] {
			need = append(need, one.old)
		}
		if len(t.If)+len(need) > MaxOps || len(t.Then) == MaxOps {
			break
		}
		conditions[one.old] = true
		t.If = append(t.If, need...)
		held := h.record(one.unit, lease)
		if one.ours != nil {
			held.First = one.from.First
			if held.First == 0 {
				held.First = one.at
			}
		}
		t.Then = append(t.Then, Op{Key: one.unit.key(), Value: encode(held)})
		n++
	}
	return t, n
}

// record is that of a unit of ours.
func (h *Holder) record(u Unit, lease LeaseID) Held {
	held := Held{Backend: h.cfg.Name, Incarnation: h.cfg.Incarnation, Lease: lease}
	if u.User != "" {
		held.Tag = h.cfg.Registration.Tag
	}
	return held
}

// takeBatch does one transaction. The error is that the Coordinator can't be asked;
// if something has changed meanwhile nothing is done, and the Map is about to tell.
func (h *Holder) takeBatch(ctx context.Context, t Txn, batch []taking) (done bool, _ error) {
	term, began := h.term.Load(), h.cfg.Clock.Now()
	at, ok, err := h.commit(ctx, t)
	if err != nil {
		h.cfg.Log.Warn("units can't be taken now", "units", describeUnits(unitsOf(batch)), "err", err)
		return false, err
	}
	if !ok {
		h.cfg.Log.Info("units were not taken: something has just changed", "units", describeUnits(unitsOf(batch)), "revision", at)
		return false, nil
	}
	h.mu.Lock()
	for _, one := range batch {
		u := one.ours
		if u == nil {
			u = &unit{Unit: one.unit, keep: one.keep}
			h.units[one.unit] = u
			h.status.Taken++
		}
		u.rev = at
		u.term.Store(term)
	}
	h.mu.Unlock()
	h.cfg.View.Note(t, at)
	h.cfg.Log.Info("units taken", "units", describeUnits(unitsOf(batch)), "revision", at, "from", batch[0].from.Backend,
		"why", batch[0].why, "took", h.cfg.Clock.Now()-began)
	return true, nil
}

func unitsOf(batch []taking) (units []Unit) {
	for _, one := range batch {
		units = append(units, one.unit)
	}
	return units
}
