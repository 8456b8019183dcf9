package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

// A user belongs to one unit among the backends of each tag, and the director says which
// tag counts. When that changes, as the passdb's director_tag has, the user's mail may be
// open still by the right of the unit that counted before. What is on disk names who
// opened it, and in which epoch; then a Claim's Alive refuses, and the backend asks:
//
//   - Who holds the other unit ends the user's sessions, closes the account, has no Claim
//     of before count any more, and says so in the record. So a later one of its own is
//     in an epoch above that revision, and the one on disk is known to be dead.
//   - Who held it when its lease ended may come back to it, with its accounts open. So its
//     record is deleted, as if the unit were taken, and its own kind takes it anew.
//
// Epochs of different units grow each by itself, so the one on disk may be above ours.
// The revision at which the asking ends is above both, and becomes the user's floor.
// All of this goes on beside the login, which is refused and comes again.

// Ask is a request to give a user up. It lives with the lease of who asks.
type Ask struct {
	By     string `json:"by"`               // the backend that asks
	Holder string `json:"holder,omitempty"` // the one that is asked; "": nobody, it is for the revision
	Done   bool   `json:"done,omitempty"`   // Holder has closed all that it had open before
}

// asked is an Ask in the Map.
type asked struct {
	Ask
	at    Revision // 0: there is none
	lease LeaseID
}

var errChanged = errors.New("it has changed meanwhile")

const (
	askTime  = 2 * ReleaseLimit // for an answer
	askPause = 2 * time.Second  // between two asks for one user
	maxGone  = 10_000           // users of whom it is known that others' Claims are dead
)

// gone says which Claims of a backend are dead: those up to an epoch.
type gone struct {
	holder string
	upto   uint64
}

// rival is a unit by which a user may be open at another backend.
type rival struct {
	unit Unit
	held Held
	at   Revision // 0: there is none
}

// rivalOf finds the unit of another tag by which a backend may have a Claim in an epoch, or
// may get it back: it has held the unit since then, even if its lease has ended. Within a
// tag there is none: who gives a user up has no Claims before another one can have any.
func (c *Claim) rivalOf(m *Map, holder string, of uint64) rival {
	own, slot := c.h.cfg.Registration.Tag, SlotOf(c.h.cfg.Template, c.user)
	var units []Unit
	for tag := range m.slots {
		if tag != own {
			units = append(units, Unit{Tag: tag, Slot: slot})
		}
	}
	if held, at := m.Held(Unit{User: c.user}); at != 0 && held.Tag != own {
		units = append(units, Unit{User: c.user})
	}
	for _, u := range units {
		held, at := m.Held(u)
		first := at
		if held.First != 0 {
			first = held.First
		}
		if held.Backend == holder && held.Lease != 0 && of&(1<<48-1) >= uint64(first) {
			return rival{u, held, at}
		}
	}
	return rival{}
}

// Alive says whether the named holder is another backend that may have the user open
// by the right of an epoch: it holds the user, or the user's slot of another tag, since
// then, or may come back to that. It is then asked to give the user up, so that a
// Claim that is asked for later finds it gone.
func (c *Claim) Alive(holder string, of uint64) (alive bool) {
	if holder == c.h.cfg.Name {
		return false
	}
	c.h.cfg.View.Read(func(m *Map) {
		c.h.mu.Lock()
		defer c.h.mu.Unlock()
		if g := c.h.gone[c.user]; g.holder == holder && of <= g.upto {
			return
		}
		r := c.rivalOf(m, holder, of)
		if alive = r.at != 0; alive {
			c.ask(m, holder, of, r)
		}
	})
	return alive
}

// Behind says whether an epoch above that of the Claim is one of a unit that the user
// belonged to before, by the name of who opened the mail in it; a Claim that is asked
// for later is above it. Else the Coordinator has lost its past.
func (c *Claim) Behind(holder string, of uint64) (behind bool) {
	c.h.cfg.View.Read(func(m *Map) {
		c.h.mu.Lock()
		defer c.h.mu.Unlock()
		behind = of <= epoch(c.h.generation.Load(), m.Revision) && len(m.slots)+len(m.users) > 1
		if !behind {
			return
		}
		r := rival{}
		if g := c.h.gone[c.user]; holder != c.h.cfg.Name && (g.holder != holder || of > g.upto) {
			r = c.rivalOf(m, holder, of)
		}
		c.ask(m, holder, of, r)
	})
	return behind
}

// ask begins to have a user given up, if that does not go on already. View.Read and h.mu
// are held.
func (c *Claim) ask(m *Map, holder string, of uint64, r rival) {
	h, now := c.h, c.h.cfg.Clock.Now()
	if next, is := h.asking[c.user]; h.stopping || is && now < next {
		return
	}
	for user, next := range h.asking {
		if now >= next {
			delete(h.asking, user)
		}
	}
	h.asking[c.user] = now + askTime + askPause
	if n, _ := m.Node(r.held.Backend); r.at != 0 && n.Registration.Local {
		h.cfg.Log.Error("a user's mail is open at a backend with volumes of its own, and wanted here: two tags share a directory, or their volumes are not what they say",
			"user", c.user, "holder", holder)
		return
	}
	h.task(func() { c.asking(holder, of, r) })
}

// asking has the user given up, and makes that known to Claims to come.
func (c *Claim) asking(holder string, of uint64, r rival) {
	h := c.h
	began := h.cfg.Clock.Now()
	at, err := c.haveGivenUp(r)
	h.mu.Lock()
	if err == nil {
		c.unit.setFloor(c.user, epoch(h.generation.Load(), at))
		if len(h.gone) >= maxGone {
			clear(h.gone)
		}
		h.gone[c.user] = gone{holder, of}
	}
	h.asking[c.user] = h.cfg.Clock.Now() + askPause
	h.mu.Unlock()
	log := h.cfg.Log.With("user", c.user, "unit", c.unit.Unit, "holder", holder, "its_unit", r.unit, "its_epoch", of, "took", h.cfg.Clock.Now()-began)
	if err != nil {
		log.Warn("a user's mail is open by the right of another tag, and not given up yet", "err", err)
		return
	}
	log.Info("a user's tag has changed: who had the mail has given it up", "revision", at)
}

// haveGivenUp returns when no Claim of a rival counts that was given before, and gives a
// revision above all of them.
func (c *Claim) haveGivenUp(r rival) (Revision, error) {
	h, key := c.h, keyAsks+c.user
	if r.at != 0 {
		fenced, err := c.fenceDead(r)
		if err != nil {
			return 0, err
		}
		if fenced {
			r = rival{}
		}
	}
	var before Revision
	h.cfg.View.Read(func(m *Map) { before = m.asks[c.user].at })
	ask := Txn{
		If:   []Condition{{key, before}},
		Then: []Op{{Key: key, Value: encode(Ask{By: h.cfg.Name, Holder: r.held.Backend}), Lease: h.term.Load().id}},
	}
	at, ok, err := h.commitWhile(c.unit, ask)
	switch {
	case err != nil:
		return 0, err
	case !ok:
		return 0, fmt.Errorf("another backend asks for the user too, or the unit changes hands")
	}
	h.cfg.View.Note(ask, at)
	if r.at != 0 {
		if at, err = c.answer(at, r); err != nil {
			return 0, err
		}
	}
	end := Txn{If: []Condition{{key, at}}, Then: []Op{{Key: key, Delete: true}}}
	last, ok, err := h.commitWhile(c.unit, end)
	if err != nil || !ok {
		return 0, fmt.Errorf("the record of the request could not be deleted: %w", cmp.Or(err, errChanged))
	}
	h.cfg.View.Note(end, last)
	return last, nil
}

// answer waits until the one who was asked in a revision says that it is done, and gives
// the revision of that.
func (c *Claim) answer(asked Revision, r rival) (at Revision, err error) {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	late := c.h.cfg.Clock.After(askTime)
	go func() {
		select {
		case <-late:
			stop()
		case <-ctx.Done():
		}
	}()
	var a Ask
	err = c.h.cfg.View.Await(ctx, func(m *Map) bool {
		now := m.asks[c.user]
		a, at = now.Ask, now.at
		_, held := m.Held(r.unit)
		return m.Revision >= asked && (at != asked || held != r.at || !m.Holds(r.held))
	})
	if err != nil {
		return 0, fmt.Errorf("%s does not answer", r.held.Backend)
	}
	if !a.Done || a.Holder != r.held.Backend {
		return 0, fmt.Errorf("%s: %w", r.unit, errChanged)
	}
	return at, nil
}

// fenceDead deletes the record of a rival whose lease has ended, if it has: so it can't
// come back to what it has open.
func (c *Claim) fenceDead(r rival) (done bool, err error) {
	var old Condition
	c.h.cfg.View.Read(func(m *Map) {
		if !m.Holds(r.held) {
			old = dead(m, r.held)
		}
	})
	if old.Key == "" {
		return false, nil
	}
	op := Op{Key: r.unit.key(), Delete: true}
	if r.unit.User != "" {
		left := r.held
		left.Lease = 0
		op = Op{Key: r.unit.key(), Value: encode(left)}
	}
	t := Txn{If: []Condition{{r.unit.key(), r.at}, old}, Then: []Op{op}}
	at, ok, err := c.h.commitWhile(c.unit, t)
	if err != nil || !ok {
		return false, fmt.Errorf("%s could not be taken from who held it: %w", r.unit, cmp.Or(err, errChanged))
	}
	c.h.cfg.View.Note(t, at)
	return true, nil
}

// asks looks at who is asked of us.
func (p *planner) asks() {
	for user, a := range p.m.asks {
		if a.Holder != p.h.cfg.Name || a.Done || p.h.answering[user] {
			continue
		}
		if u := p.unitOf(user); u != nil {
			p.answers = append(p.answers, answering{user, u, a})
		}
	}
}

// answering is a user to be given up for who asks.
type answering struct {
	user string
	unit *unit
	ask  asked
}

// unitOf is the unit by which a user is here; nil if the user is not.
func (p *planner) unitOf(user string) *unit {
	if u := p.h.units[Unit{User: user}]; u != nil {
		return u
	}
	return p.slotOf(user)
}

// answer gives up users for who asks.
func (h *Holder) answer(all []answering) {
	for _, one := range all {
		h.mu.Lock()
		h.answering[one.user] = true // no Claims meanwhile
		h.mu.Unlock()
		h.task(func() {
			defer h.poke()
			h.answerOne(one)
		})
	}
}

func (h *Holder) answerOne(one answering) {
	began := h.cfg.Clock.Now()
	h.endUsers(map[Unit]bool{{User: one.user}: true})
	one.unit.setFloor(one.user, math.MaxUint64) // what hangs counts no more
	key := keyAsks + one.user
	done := one.ask.Ask
	done.Done = true
	t := Txn{If: []Condition{{key, one.ask.at}}, Then: []Op{{Key: key, Value: encode(done), Lease: one.ask.lease}}}
	at, ok, err := h.commitUnlessGone(one, t)
	h.mu.Lock()
	one.unit.setFloor(one.user, epoch(h.generation.Load(), at))
	delete(h.answering, one.user)
	h.mu.Unlock()
	if ok {
		h.cfg.View.Note(t, at)
	}
	h.cfg.Log.Info("a user is given up for a backend of another tag", "user", one.user, "unit", one.unit.Unit, "to", one.ask.By,
		"done", ok, "revision", at, "took", h.cfg.Clock.Now()-began, "err", err)
}

// commitUnlessGone commits an answer while the unit is ours. If the request is gone, as
// the lease of who asked has ended, that is the answer.
func (h *Holder) commitUnlessGone(one answering, t Txn) (at Revision, ok bool, err error) {
	for one.unit.term.Load() != nil {
		at, ok, err = h.commit(context.Background(), t)
		if err == nil {
			return at, ok, nil
		}
		h.cfg.View.Read(func(m *Map) {
			if m.asks[one.user].at != one.ask.at {
				at, err = max(m.Revision, m.asks[one.user].at), nil
			}
		})
		if err == nil {
			return at, false, nil
		}
		<-h.cfg.Clock.After(retryFirst)
	}
	return 0, false, err
}
