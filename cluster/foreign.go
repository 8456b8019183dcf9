package cluster

import (
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"time"
)

// KeeperRecord says which director keeps the foreign backends, for as long as its
// lease lives.
type KeeperRecord struct {
	Director string    `json:"director"`
	Since    time.Time `json:"since"`
}

// elected says whether this director is the keeper, and sees to it if nobody is.
func (k *Keeper) elected(ctx context.Context) bool {
	var now KeeperRecord
	var at Revision
	var foreign bool
	k.cfg.View.Read(func(m *Map) {
		now, at = m.keeper, m.keeperAt
		foreign = len(m.foreignTags()) > 0
	})
	mine := at != 0 && now.Director == k.cfg.Name
	if at == 0 && foreign {
		t := Txn{
			If:   []Condition{{keyKeeper, 0}, {keyDirectors + k.cfg.Name, k.recordAt}},
			Then: []Op{{Key: keyKeeper, Value: encode(KeeperRecord{Director: k.cfg.Name, Since: time.Now()}), Lease: k.term.Load().id}},
		}
		rev, ok, err := k.commit(ctx, t)
		if mine = err == nil && ok; mine {
			k.cfg.Log.Info("this director keeps the foreign backends now", "revision", rev)
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.isKeeper = mine && k.term.Load().holds(k.cfg.Clock.Now())
	return k.isKeeper
}

// asKeeper is a transaction that only the keeper can do.
func (k *Keeper) asKeeper(ctx context.Context, t Txn) bool {
	var at Revision
	k.cfg.View.Read(func(m *Map) { at = m.keeperAt })
	if at == 0 { // our lease has just ended
		return false
	}
	t.If = append(t.If, Condition{keyKeeper, at})
	_, ok, err := k.commit(ctx, t)
	if err != nil {
		k.complain("commit", "the foreign backends can't be kept now", "err", err)
	}
	return err == nil && ok
}

// keep does what the keeper has to do now.
func (k *Keeper) keep(ctx context.Context) {
	var nodes []Node
	k.cfg.View.Read(func(m *Map) {
		for _, n := range m.Nodes() {
			if n.Registration.Foreign {
				nodes = append(nodes, n)
			}
		}
	})
	for _, n := range nodes {
		k.keepAlive(ctx, n)
	}
	k.assign(ctx)
}

// keepAlive sees to it that a foreign backend has an Alive that says what checks
// find. It has one also while it can't be reached: what it holds is its own still.
func (k *Keeper) keepAlive(ctx context.Context, n Node) {
	trouble, ok := k.cfg.Health(n.Name)
	alive := Alive{Incarnation: "foreign", Since: n.Alive.Since, Candidate: ok && trouble == "", Trouble: trouble}
	if !ok && trouble == "" {
		alive.Trouble = "it has not been checked for long enough"
		if n.AliveAt != 0 {
			alive.Candidate, alive.Trouble = n.Alive.Candidate, n.Alive.Trouble
		}
	}
	k.watchOver(ctx, n.Name, ok && trouble != "", trouble)
	lease := n.Lease
	if n.AliveAt != 0 && k.renewForeign(ctx, n) {
		lease = 0
	}
	if n.AliveAt == 0 || lease == 0 {
		asking, done := context.WithTimeout(ctx, callLimit)
		id, _, err := k.cfg.Coordinator.Grant(asking, ForeignTTL)
		done()
		if err != nil {
			k.complain("grant "+n.Name, "a foreign backend can't be kept now", "backend", n.Name, "err", err)
			return
		}
		lease, alive.Since = id, time.Now()
	}
	if n.AliveAt != 0 && lease == n.Lease && alive == n.Alive {
		return
	}
	t := Txn{
		If:   []Condition{{keyAlive + n.Name, n.AliveAt}},
		Then: []Op{{Key: keyAlive + n.Name, Value: encode(alive), Lease: lease}},
	}
	if k.asKeeper(ctx, t) {
		k.cfg.Log.Info("the cluster knows of a foreign backend", "backend", n.Name, "candidate", alive.Candidate, "trouble", alive.Trouble)
	}
}

// renewForeign renews a backend's lease when a third of it is over. ended: there is none any more.
func (k *Keeper) renewForeign(ctx context.Context, n Node) (ended bool) {
	about := "renewed " + n.Name
	now := k.cfg.Clock.Now()
	if last, ok := k.known[about]; ok && now-last < ForeignTTL/6 {
		return false
	}
	asking, done := context.WithTimeout(ctx, callLimit)
	defer done()
	_, err := k.cfg.Coordinator.KeepAlive(asking, n.Lease)
	switch {
	case errors.Is(err, ErrNoLease):
		return true
	case err != nil:
		k.complain("keep "+n.Name, "the lease of a foreign backend can't be renewed", "backend", n.Name, "err", err)
	default:
		k.known[about] = now
	}
	return false
}

// watchOver fences a backend that can't be reached.
func (k *Keeper) watchOver(ctx context.Context, backend string, unreachable bool, trouble string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	f := k.fences[backend]
	switch now := k.cfg.Clock.Now(); {
	case !unreachable:
		delete(k.fences, backend)
	case f == nil:
		k.fences[backend] = &fence{next: now}
		k.cfg.Log.Error("a foreign backend can't be reached, and may still be writing: its users stay there until it is back, cluster_fence_command succeeds, or the administrator says that it has stopped",
			"backend", backend, "trouble", trouble, "fence", k.cfg.Fence != nil)
		wake(k.poked)
	case k.cfg.Fence == nil || f.running || f.done || now < f.next:
	default:
		f.running = true
		k.tasks.Go(func() { k.runFence(ctx, backend, f) })
	}
}

func (k *Keeper) runFence(ctx context.Context, backend string, f *fence) {
	ctx, done := context.WithTimeout(ctx, FenceLimit)
	defer done()
	err := k.cfg.Fence(ctx, backend)
	k.mu.Lock()
	defer k.mu.Unlock()
	f.running, f.done, f.next = false, err == nil, k.cfg.Clock.Now()+fencePause
	if err != nil {
		k.cfg.Log.Error("a foreign backend can't be fenced", "backend", backend, "err", err)
		return
	}
	k.cfg.Log.Warn("a foreign backend is fenced: its users may go elsewhere", "backend", backend)
	wake(k.poked)
}

// silent says that a backend writes nothing but for sessions of directors: it can be
// reached, or it was fenced, or the administrator says that it has stopped.
func (k *Keeper) silent(n Node) bool {
	if n.RegisteredAt == 0 || n.Wish.Stopped {
		return true
	}
	if trouble, ok := k.cfg.Health(n.Name); !ok || trouble == "" {
		return ok
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	f := k.fences[n.Name]
	return f != nil && f.done
}

// change is a new record for a unit.
type unitChange struct {
	unit Unit
	at   Revision
	held Held
	old  Held
}

// assign gives units to foreign backends, and has them leave those where they should
// not be.
func (k *Keeper) assign(ctx context.Context) {
	var all []unitChange
	var nodes []Node
	var changed Revision
	k.cfg.View.Read(func(m *Map) { nodes, changed = m.Nodes(), m.Changed })
	silent := map[string]bool{}
	for _, n := range nodes {
		silent[n.Name] = k.silent(n)
	}
	if changed == k.assigned && maps.Equal(silent, k.settled) {
		return
	}
	leaving, begun, later := 0, 0, 0
	now := k.cfg.Clock.Now()
	k.cfg.View.Read(func(m *Map) {
		changed = m.Changed
		confirmed, by := m.confirmed()
		for u := range m.foreignUnits() {
			held, at := m.Held(u)
			next, waits := m.nextHeld(u, held, at, func(name string) bool {
				quiet, known := silent[name]
				return quiet || !known
			}, confirmed)
			if held.Leaving {
				leaving++
			}
			if waits && m.clock.Now()-m.heldSince(u) > complainTime {
				k.complain("confirm "+by, "units of foreign backends can't move: a director has not confirmed", "waitingFor", by, "unit", u.String())
			}
			begins := next.Leaving && !held.Leaving
			switch {
			case next == held:
				continue
			case begins && (leaving+begun >= movesAtOnce || now-k.batchAt < movesEvery && !m.hurries(held.Backend)):
				later++
				continue
			case begins:
				begun++
			}
			all = append(all, unitChange{u, at, next, held})
		}
	})
	if begun > 0 {
		k.batchAt = now
	}
	if len(all) == 0 && leaving == 0 && later == 0 {
		k.assigned, k.settled = changed, silent
	}
	for part := range slices.Chunk(all, MaxOps/2) {
		k.assignPart(ctx, part)
	}
}

func (k *Keeper) assignPart(ctx context.Context, part []unitChange) {
	var t Txn
	for _, c := range part {
		t.If = append(t.If, Condition{c.unit.key(), c.at})
		t.Then = append(t.Then, Op{Key: c.unit.key(), Value: encode(c.held)})
	}
	if k.asKeeper(ctx, t) {
		first := part[0]
		k.cfg.Log.Info("units of foreign backends", "units", len(part), "first", first.unit.String(),
			"from", first.old.Backend, "to", first.held.Backend, "leaving", first.held.Leaving)
	}
}

// nextHeld is what a unit's record has to become. silent says whether a backend writes
// nothing by itself; confirmed is up to where all directors have ended what must
// not be. waits says that it is they who are waited for.
func (m *Map) nextHeld(u Unit, held Held, at Revision, silent func(string) bool, confirmed Revision) (next Held, waits bool) {
	wanted := m.Wanted(u)
	to := m.foreignHeld(wanted)
	switch {
	case at != 0 && held.Backend == "": // it can't be read: nothing is taken from nobody
		return held, false
	case at == 0 && wanted != "":
		return to, false
	case at == 0:
		return held, false
	case wanted == held.Backend: // perhaps its lease is another now, or it was to leave
		return to, false
	case !held.Leaving && wanted == "" && m.Holds(held):
		return held, false
	case wanted == "": // nobody else: who held it goes on
		if again := m.foreignHeld(held.Backend); again.Backend != "" {
			return again, false
		}
		return held, false
	case !silent(held.Backend):
		return held, false
	case !held.Leaving:
		held.Leaving = true
		return held, false
	case confirmed < at:
		return held, true
	}
	return to, false
}

// foreignHeld is the record of a unit that a backend holds; zero if it can't.
func (m *Map) foreignHeld(backend string) Held {
	n := m.nodes[backend]
	if n == nil || n.AliveAt == 0 || !n.Registration.Foreign {
		return Held{}
	}
	return Held{Backend: backend, Incarnation: n.Alive.Incarnation, Lease: n.Lease}
}

// confirmed is up to where all directors that live have confirmed, and which is the
// last of them.
func (m *Map) confirmed() (least Revision, by string) {
	least = m.Revision
	for name, d := range m.directors {
		if d.Confirmed < least || d.Confirmed == least && name < by {
			least, by = d.Confirmed, name
		}
	}
	return least, by
}

// hurries says that a backend's users are not served there, or not for long.
func (m *Map) hurries(backend string) bool {
	n := m.nodes[backend]
	return n == nil || n.RegisteredAt == 0 || n.Wish.State == Down || n.AliveAt == 0 || n.Alive.Trouble != ""
}

// Keeper is the director that keeps the foreign backends, and since which revision; 0:
// none does.
func (m *Map) Keeper() (KeeperRecord, Revision) { return m.keeper, m.keeperAt }

// lastLeaving is when the last of the units that leave a foreign backend began to.
func (m *Map) lastLeaving() (last Revision) {
	for u := range m.foreignUnits() {
		if held, at := m.Held(u); held.Leaving {
			last = max(last, at)
		}
	}
	return last
}

// Kinds are the backends of one tag: Roost, and others, by name. A tag should not have both.
type Kinds struct{ Roost, Foreign []string }

// Mixed says whether there are both.
func (k Kinds) Mixed() bool { return len(k.Roost) > 0 && len(k.Foreign) > 0 }

// Kinds tells of what kind the registered backends of each tag are.
func (m *Map) Kinds() map[string]Kinds {
	all := map[string]Kinds{}
	for _, n := range m.Nodes() {
		k := all[n.Registration.Tag]
		if n.Registration.Foreign {
			k.Foreign = append(k.Foreign, n.Name)
		} else {
			k.Roost = append(k.Roost, n.Name)
		}
		all[n.Registration.Tag] = k
	}
	return all
}

// foreignTags are those whose backends are all foreign.
func (m *Map) foreignTags() []string {
	foreign := map[string]bool{}
	for _, n := range m.nodes {
		if n.RegisteredAt == 0 {
			continue
		}
		if all, seen := foreign[n.Registration.Tag]; !seen || all {
			foreign[n.Registration.Tag] = n.Registration.Foreign
		}
	}
	var tags []string
	for tag, all := range foreign {
		if all {
			tags = append(tags, tag)
		}
	}
	slices.Sort(tags)
	return tags
}

// foreignUnits are the slots of those tags.
func (m *Map) foreignUnits() iter.Seq[Unit] {
	return func(yield func(Unit) bool) {
		for _, tag := range m.foreignTags() {
			for s := range Slot(Slots) {
				if !yield(Unit{Tag: tag, Slot: s}) {
					return
				}
			}
		}
	}
}

// heldSince is since when a unit has its record, by the View's Clock.
func (m *Map) heldSince(u Unit) time.Duration {
	if slots := m.slots[u.Tag]; slots != nil {
		return slots[u.Slot].freed
	}
	return m.clock.Now()
}
