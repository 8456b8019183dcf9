package cluster

import (
	"cmp"
	"context"
	"slices"
	"time"
)

const (
	rateStep   = 100 * time.Millisecond // in which users leave by the rate
	freezeTime = time.Minute            // without rebalancing, after
	crowdTime  = 10 * time.Second       // in which more than half of the backends have gone
)

// giveUp begins to give up what other backends should hold: what nobody uses at once,
// the rest at the rate.
func (h *Holder) giveUp(p *plan) {
	var slots, users []*unit
	for _, u := range p.leave {
		if u.User != "" {
			users = append(users, u)
		} else {
			slots = append(slots, u)
		}
	}
	h.startRelease(users, "the user's pin has changed")
	if len(slots)+len(p.closed) == 0 || h.releasing.Load() {
		return
	}
	why := "another backend should hold it"
	frozen := !p.drain && !p.down && h.crowd.frozen(h.cfg.Clock.Now())
	switch {
	case p.down:
		why = "the administrator wants this backend down"
	case p.drain:
		why = "the administrator drains this backend"
		slots = h.affordable(slots, p.givers)
	case frozen:
		slots = nil
	default:
		slots = h.affordable(slots, p.givers)
	}
	if len(slots) < len(p.leave)-len(users) && !frozen {
		p.again = min(p.again, rateStep)
	}
	if len(slots)+len(p.closed) == 0 {
		return
	}
	h.releasing.Store(true)
	h.leaving(slots)
	h.task(func() {
		defer h.poke()
		defer h.releasing.Store(false)
		h.deleteRecords(p.closed, "its record could not be deleted before", h.cfg.Clock.Now())
		h.release(slots, why)
	})
}

// affordable are those that may go now, and what they cost is taken from the tokens.
func (h *Holder) affordable(units []*unit, givers int) []*unit {
	now := h.cfg.Clock.Now()
	h.tokens.fill(now, float64(h.cfg.Rate)/float64(givers))
	count := h.countUsers()
	cost := func(u *unit) int {
		if count == nil {
			return 1
		}
		return count[u.Unit]
	}
	slices.SortStableFunc(units, func(a, b *unit) int { return cmp.Compare(cost(a), cost(b)) })
	n := 0
	for n < len(units) && (cost(units[n]) == 0 || h.tokens.left > 0) {
		h.tokens.left -= float64(cost(units[n]))
		n++
	}
	return units[:n]
}

// countUsers says how many users each unit has here; nil if nobody knows.
func (h *Holder) countUsers() map[Unit]int {
	if h.cfg.Users == nil {
		return nil
	}
	count := map[Unit]int{}
	for _, user := range h.cfg.Users() {
		count[h.unitHere(user)]++
	}
	return count
}

// unitHere is the unit by which a user is here, if at all.
func (h *Holder) unitHere(user string) Unit {
	h.mu.Lock()
	own := h.units[Unit{User: user}]
	h.mu.Unlock()
	if own != nil {
		return own.Unit
	}
	return Unit{Tag: h.cfg.Registration.Tag, Slot: SlotOf(h.cfg.Template, user)}
}

func (h *Holder) startRelease(units []*unit, why string) {
	if len(units) == 0 {
		return
	}
	h.leaving(units)
	h.task(func() {
		defer h.poke()
		h.release(units, why)
	})
}

// leaving stops new Claims of units.
func (h *Holder) leaving(units []*unit) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, u := range units {
		u.leaving = true
	}
}

// release gives up units that take no Claims any more: sessions and accounts end,
// then what is left of them counts no more, then the records go.
func (h *Holder) release(units []*unit, why string) {
	if len(units) == 0 {
		return
	}
	began := h.cfg.Clock.Now()
	h.endUsers(setOf(units))
	h.mu.Lock()
	for _, u := range units {
		u.term.Store(nil)
		u.closed = true
	}
	h.mu.Unlock()
	h.deleteRecords(units, why, began)
}

func setOf(units []*unit) map[Unit]bool {
	set := map[Unit]bool{}
	for _, u := range units {
		set[u.Unit] = true
	}
	return set
}

// endUsers ends the sessions of a set of units and closes their accounts. It does not
// wait beyond ReleaseLimit: what hangs then can't acknowledge anything.
func (h *Holder) endUsers(set map[Unit]bool) {
	ctx, stop := context.WithTimeout(context.Background(), ReleaseLimit)
	began := h.cfg.Clock.Now()
	done := make(chan error, 1)
	go func() {
		defer stop()
		done <- h.cfg.Release(ctx, func(user string) bool {
			return set[Unit{User: user}] || set[h.unitHere(user)]
		})
	}()
	var err error
	select {
	case err = <-done:
	case <-h.cfg.Clock.After(ReleaseLimit):
		err = context.DeadlineExceeded
	}
	if err != nil {
		h.cfg.Log.Error("sessions or accounts do not end; their users are given up all the same",
			"units", describeUnits(slices.Collect(keysOf(set))), "took", h.cfg.Clock.Now()-began, "err", err)
	}
}

// deleteRecords deletes the records of units that are closed, or says of users that they
// can be taken. What fails is tried again.
func (h *Holder) deleteRecords(units []*unit, why string, began time.Duration) {
	for batch := range slices.Chunk(units, MaxOps) {
		if h.deleteBatch(batch, why, began) || len(batch) == 1 {
			continue
		}
		for one := range slices.Chunk(batch, 1) {
			h.deleteBatch(one, why, began)
		}
	}
}

// deleteBatch says whether the transaction was done, or could not be known to be.
func (h *Holder) deleteBatch(batch []*unit, why string, began time.Duration) bool {
	var t Txn
	var names []Unit
	h.mu.Lock()
	for _, u := range batch {
		names = append(names, u.Unit)
		t.If = append(t.If, Condition{u.key(), u.rev})
		op := Op{Key: u.key(), Delete: true}
		if u.User != "" {
			op = Op{Key: u.key(), Value: encode(h.record(u.Unit, 0))}
		}
		t.Then = append(t.Then, op)
	}
	h.mu.Unlock()
	at, ok, err := h.commit(context.Background(), t)
	if err != nil {
		h.cfg.Log.Warn("records of units that were given up can't be deleted now", "units", describeUnits(names), "err", err)
		return true
	}
	if !ok {
		return false
	}
	h.mu.Lock()
	for _, u := range batch {
		if h.units[u.Unit] == u { // else the watch told before the answer came
			delete(h.units, u.Unit)
		}
		h.status.Released++
	}
	h.mu.Unlock()
	h.cfg.View.Note(t, at)
	h.cfg.Log.Info("units given up", "units", describeUnits(names), "revision", at, "why", why, "took", h.cfg.Clock.Now()-began)
	return true
}

// drop stops serving units that aren't ours any more, at once. That those are gone which
// were given up is no news: the watch may tell before the answer comes.
func (h *Holder) drop(units []*unit, why string) {
	if len(units) == 0 {
		return
	}
	var names []Unit
	h.mu.Lock()
	for _, u := range units {
		u.term.Store(nil)
		u.leaving = true
		if h.units[u.Unit] == u {
			delete(h.units, u.Unit)
		}
		if !u.closed {
			names = append(names, u.Unit)
			h.status.Dropped++
		}
	}
	h.mu.Unlock()
	if len(names) > 0 {
		h.cfg.Log.Error("units lost", "units", describeUnits(names), "why", why)
	}
	h.task(func() { h.endUsers(setOf(units)) })
}

// dropAll stops serving everybody.
func (h *Holder) dropAll() {
	var all []*unit
	h.mu.Lock()
	for _, u := range h.units {
		all = append(all, u)
	}
	h.mu.Unlock()
	h.drop(all, "the lease was lost and did not come back in time")
}

// leave ends everything when the process ends. Records stay: without the lease they
// count for nothing, and that is one transaction for all.
func (h *Holder) leave(ctx context.Context) {
	began := h.cfg.Clock.Now()
	h.mu.Lock()
	h.stopping = true
	all := map[Unit]bool{}
	for id, u := range h.units {
		u.leaving = true
		all[id] = true
	}
	h.mu.Unlock()
	h.endUsers(all)
	h.mu.Lock()
	for _, u := range h.units {
		u.term.Store(nil)
	}
	clear(h.units)
	h.mu.Unlock()
	t := h.term.Load()
	alive := t.holds(h.cfg.Clock.Now())
	t.end()
	h.life.Clean = true
	_, ok, err := h.commit(ctx, Txn{
		If:   []Condition{{keyAlive + h.cfg.Name, h.aliveAt}},
		Then: []Op{{Key: keyLives + h.cfg.Name, Value: encode(h.life)}},
	})
	if err == nil && ok && alive {
		revoking, done := context.WithTimeout(ctx, callLimit)
		defer done()
		err = h.cfg.Coordinator.Revoke(revoking, t.id)
	}
	h.cfg.Log.Info("everything is given up: the process ends", "units", len(all), "clean", ok, "took", h.cfg.Clock.Now()-began, "err", err)
}

// tokens are users that may be given up.
type tokens struct {
	left float64
	at   time.Duration
}

// fill adds those of the time since, of a second at most.
func (t *tokens) fill(now time.Duration, rate float64) {
	t.left = min(t.left+rate*(now-t.at).Seconds(), max(rate, 1))
	t.at = now
}

// crowd watches how many backends live.
type crowd struct {
	counts []crowdCount // changes within crowdTime, and the last before
	until  time.Duration
}

type crowdCount struct {
	at time.Duration
	n  int
}

func (c *crowd) saw(now time.Duration, m *Map) {
	n := 0
	for _, node := range m.nodes {
		if node.AliveAt != 0 {
			n++
		}
	}
	if len(c.counts) == 0 || c.counts[len(c.counts)-1].n != n {
		c.counts = append(c.counts, crowdCount{now, n})
	}
	for len(c.counts) > 1 && now-c.counts[1].at > crowdTime {
		c.counts = c.counts[1:]
	}
	for _, before := range c.counts {
		if 2*n < before.n {
			c.until = now + freezeTime
		}
	}
}

func (c *crowd) frozen(now time.Duration) bool { return now < c.until }
