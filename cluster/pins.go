package cluster

import (
	"context"
	"math"
	"time"
)

// A pinned user is a unit of its own. As long as it has no record the user belongs to
// the slot, and so only the slot's holder makes one: it closes the account and
// writes that it gave the user up, in a transaction that compares its own record, and
// then whoever should hold the user takes it as any unit. If the slot's holder dies
// before, its successor does it.
//
// Backwards likewise: who holds a user that is pinned no more gives it up and leaves the
// record, which only the slot's holder deletes. So the revision of that is known to
// it, and the user's epoch there is above that of the record, although the slot's own
// may be below.
//
// A user pinned to a backend that is no candidate goes to others of its tag, in
// the order of Map.Rank, as soon as the lease has ended: they see the same volumes,
// and mail that can be read elsewhere beats waiting for a machine. With
// volumes of its own there are no others.
//
// The user that a backend's health checks log in as (Registration.Probe) is pinned to
// it likewise, without a record of the administrator's, and goes to nobody else.
//
// A pin counts among the backends with the tag of the one that it names. For users
// of other tags it is none.

// handover is a user to be given out of a slot that is ours.
type handover struct {
	user string
	slot *unit
	pin  Condition // that it is pinned still
	to   string
}

// homecoming is a user who belongs to a slot of ours again.
type homecoming struct {
	user string
	slot *unit
	rev  Revision // of the slot's record
	at   Revision // of the user's
	from Held     // which says
	old  Condition
}

// handing is what is done with a user of a slot that is ours, who has no Claims meanwhile.
type handing int

const (
	leavingSlot handing = iota + 1 // the account is closed, then the record made
	unsureHome                     // the record may be deleted; the Map will tell
)

// users looks at all units of users.
func (p *planner) users() {
	for user := range p.h.handing {
		p.settle(user)
	}
	for user := range p.m.users {
		p.user(user)
	}
	for user := range p.m.pins {
		p.giveOut(user)
	}
	for user := range p.m.probes {
		p.giveOut(user)
	}
	for id, u := range p.h.units {
		if id.User != "" && p.m.users[id.User].at == 0 {
			p.own(u, Held{}, 0, "")
		}
	}
}

// user looks at one that has a record.
func (p *planner) user(user string) {
	id := Unit{User: user}
	held, at := p.m.Held(id)
	pinned := p.m.pinned(user, p.h.cfg.Registration.Tag)
	wanted := "the holder of the slot"
	if pinned {
		wanted = p.m.Wanted(id)
	}
	if u := p.h.units[id]; u != nil {
		p.own(u, held, at, wanted)
		return
	}
	switch {
	case held.Backend == "" || held.Tag != p.h.cfg.Registration.Tag:
	case held.Backend == p.h.cfg.Name && held.Lease == p.term.id:
		p.take = append(p.take, taking{unit: id, from: held, at: at, why: "its record says so already"})
	case p.m.Holds(held):
	case pinned:
		p.free(id, held, at, wanted)
	default:
		if slot := p.slotOf(user); slot != nil {
			home := homecoming{user: user, slot: slot, rev: slot.rev, at: at, from: held}
			if held.Backend != p.h.cfg.Name {
				home.old = dead(p.m, held)
			}
			p.home = append(p.home, home)
		}
	}
}

// giveOut has a pinned user without a record leave the slot, if there is somebody to
// take it.
func (p *planner) giveOut(user string) {
	_, is := p.h.handing[user]
	if is || p.m.users[user].at != 0 || !p.m.pinned(user, p.h.cfg.Registration.Tag) {
		return
	}
	_, pin := p.m.pin(user)
	rank := p.m.Rank(Unit{User: user})
	if slot := p.slotOf(user); slot != nil && len(rank) > 0 {
		p.handOver = append(p.handOver, handover{user, slot, pin, rank[0]})
	}
}

// slotOf is the unit that a user's slot is, if it is ours and all about it is known.
func (p *planner) slotOf(user string) *unit {
	u := p.h.units[Unit{Tag: p.h.cfg.Registration.Tag, Slot: SlotOf(p.h.cfg.Template, user)}]
	if u == nil || u.leaving || u.term.Load() != p.term || p.m.Revision < u.rev {
		return nil
	}
	return u
}

// settle ends an entry of handing once the Map shows that the user's record is deleted:
// the user is in the slot, with an epoch above all there was.
func (p *planner) settle(user string) {
	if p.h.handing[user] != unsureHome {
		return
	}
	u := p.h.units[Unit{Tag: p.h.cfg.Registration.Tag, Slot: SlotOf(p.h.cfg.Template, user)}]
	if u != nil && p.m.users[user].at == 0 {
		u.setFloor(user, epoch(p.h.generation.Load(), p.m.Revision))
	}
	if u == nil || p.m.users[user].at == 0 {
		delete(p.h.handing, user)
	}
}

// handOver gives users out of their slots.
func (h *Holder) handOver(all []handover) {
	if len(all) == 0 {
		return
	}
	set := map[Unit]bool{}
	h.mu.Lock()
	for _, one := range all {
		h.handing[one.user] = leavingSlot
		set[Unit{User: one.user}] = true
	}
	h.mu.Unlock()
	h.task(func() {
		began := h.cfg.Clock.Now()
		h.endUsers(set)
		for _, one := range all {
			one.slot.setFloor(one.user, math.MaxUint64)
			h.handOut(one, began)
		}
		h.poke()
	})
}

// handOut writes that a user can be taken. If that fails because something has changed
// meanwhile, the user stays in the slot as long as there is no record.
func (h *Holder) handOut(one handover, began time.Duration) {
	gone := Held{Backend: h.cfg.Name, Incarnation: h.cfg.Incarnation, Tag: h.cfg.Registration.Tag}
	key := Unit{User: one.user}.key()
	absent := Condition{key, 0}
	write := Txn{If: []Condition{absent, one.pin}, Then: []Op{{Key: key, Value: encode(gone)}}}
	at, left, err := h.commitWhile(one.slot, write)
	stayed := false
	if err == nil && !left {
		at, stayed, err = h.commitWhile(one.slot, Txn{If: []Condition{absent}})
	}
	h.mu.Lock()
	if stayed {
		one.slot.setFloor(one.user, epoch(h.generation.Load(), at))
	}
	if left {
		h.status.Released++
	}
	delete(h.handing, one.user)
	h.mu.Unlock()
	if left {
		h.cfg.View.Note(write, at)
	}
	h.cfg.Log.Info("pinned user leaves the slot", "user", one.user, "slot", one.slot.Unit, "done", left, "revision", at,
		"to", one.to, "why", "the user is pinned", "took", h.cfg.Clock.Now()-began, "err", err)
}

// commitWhile commits if a unit of ours has its record still, and again until the outcome
// is known, as long as it is ours.
func (h *Holder) commitWhile(u *unit, t Txn) (at Revision, ok bool, err error) {
	for {
		rev := h.revisionOf(u)
		given := Txn{If: append([]Condition{{u.key(), rev}}, t.If...), Then: t.Then}
		at, ok, err = h.commit(context.Background(), given)
		gone := u.term.Load() == nil
		if gone || err == nil && (ok || h.revisionOf(u) == rev) {
			return at, ok, err
		}
		<-h.cfg.Clock.After(retryFirst)
	}
}

func (h *Holder) revisionOf(u *unit) Revision {
	h.mu.Lock()
	defer h.mu.Unlock()
	return u.rev
}

// goHome takes users into their slots.
func (h *Holder) goHome(ctx context.Context, all []homecoming) {
	for _, one := range all {
		key := Unit{User: one.user}.key()
		t := Txn{
			If:   []Condition{{one.slot.key(), one.rev}, {key, one.at}},
			Then: []Op{{Key: key, Delete: true}},
		}
		if one.old.Key != "" {
			t.If = append(t.If, one.old)
		}
		one.slot.setFloor(one.user, math.MaxUint64)
		at, ok, err := h.commit(ctx, t)
		h.mu.Lock()
		h.handing[one.user] = unsureHome
		if err == nil && ok {
			one.slot.setFloor(one.user, epoch(h.generation.Load(), at))
			delete(h.handing, one.user)
			h.status.Taken++
		}
		h.mu.Unlock()
		if err != nil {
			h.cfg.Log.Warn("user can't be taken into the slot now", "user", one.user, "slot", one.slot.Unit, "err", err)
			return
		}
		if ok {
			h.cfg.View.Note(t, at)
			h.cfg.Log.Info("user taken into the slot", "user", one.user, "slot", one.slot.Unit, "revision", at,
				"from", one.from.Backend, "why", "the user is pinned no more")
		}
	}
}

// setFloor has Claims of a user count only from an epoch on. Holder.mu is held, or no
// other goroutine sets one for this user.
func (u *unit) setFloor(user string, floor uint64) {
	for {
		old := u.floors.Load()
		next := map[string]uint64{user: floor}
		if old != nil {
			for k, v := range *old {
				if k != user {
					next[k] = v
				}
			}
		}
		if u.floors.CompareAndSwap(old, &next) {
			return
		}
	}
}

// floor is the least epoch with which a Claim of the user counts.
func (u *unit) floor(user string) uint64 {
	if floors := u.floors.Load(); floors != nil {
		return (*floors)[user]
	}
	return 0
}
