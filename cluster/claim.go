package cluster

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/roost-mail/roost/imap"
)

// Moved, as the cause of an *imap.Error with UNAVAILABLE, says that this backend does
// not serve a user, and who does by what it knows.
type Moved struct {
	Revision Revision // of that knowledge
	Holder   string   // "": nobody
}

func (m *Moved) Error() string {
	if m.Holder == "" {
		return fmt.Sprintf("nobody holds the user at revision %d", m.Revision)
	}
	return fmt.Sprintf("%s holds the user at revision %d", m.Holder, m.Revision)
}

// Claim is the right to one user's mail, as store.Claim says. Its methods may be called by any
// number of goroutines.
type Claim struct {
	h     *Holder
	unit  *unit
	user  string
	epoch uint64
}

var (
	errLeaseLost = errors.New("the lease is lost")
	errGivenUp   = errors.New("the user was given up")
)

// epoch is that of a revision. Both only grow.
func epoch(generation uint64, r Revision) uint64 { return generation<<48 | uint64(r) }

// Claim gives the right to open a user's mail. It waits for ClaimLimit at most while
// the user is on the way here, or the lease might come back. Otherwise the error is
// an *imap.Error with UNAVAILABLE, whose cause is a *Moved.
func (h *Holder) Claim(ctx context.Context, user string) (*Claim, error) {
	return h.claim(ctx, user, 0)
}

// Serves is nil if this backend serves a user, asked by who knows of a revision. It
// waits for ClaimLimit at most, as Claim does, and until the watch has reached the
// revision. The error is that of Claim.
func (h *Holder) Serves(ctx context.Context, user string, r Revision) error {
	_, err := h.claim(ctx, user, r)
	return err
}

// Holds says whether a Claim of a user would be given now.
func (h *Holder) Holds(user string) (yes bool) {
	h.atUnit(user, func(m *Map, id Unit) { yes = h.claimNow(m, id, user) != nil })
	return yes
}

// Keeps says whether a user is this backend's: Holds is so, or will be if the lease comes
// back, in the same epoch then.
func (h *Holder) Keeps(user string) (yes bool) {
	h.atUnit(user, func(_ *Map, id Unit) {
		u := h.units[id]
		yes = u != nil && !u.leaving
	})
	return yes
}

// atUnit calls f with the unit of a user, with h.mu held.
func (h *Holder) atUnit(user string, f func(m *Map, id Unit)) {
	slot := SlotOf(h.cfg.Template, user)
	h.cfg.View.Read(func(m *Map) {
		h.mu.Lock()
		defer h.mu.Unlock()
		f(m, m.UnitOf(user, h.cfg.Registration.Tag, slot))
	})
}

func (h *Holder) claim(ctx context.Context, user string, r Revision) (c *Claim, err error) {
	slot := SlotOf(h.cfg.Template, user)
	ctx, stop := context.WithTimeout(ctx, ClaimLimit)
	defer stop()
	var moved Moved
	err = h.cfg.View.Await(ctx, func(m *Map) bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		id := m.UnitOf(user, h.cfg.Registration.Tag, slot)
		if c = h.claimNow(m, id, user); c != nil {
			return m.Revision >= r
		}
		moved = h.moved(m, id)
		return m.Revision >= r && !h.coming(m, id)
	})
	if c != nil && err == nil {
		return c, nil
	}
	return nil, imap.Wrap(imap.CodeUnavailable, "Your mail is on its way to another server; try again", &moved)
}

// claimNow makes a Claim if the unit is ours and all about it is known. h.mu is held.
func (h *Holder) claimNow(m *Map, id Unit, user string) *Claim {
	u := h.units[id]
	_, handing := h.handing[user]
	if u == nil || u.leaving || handing && id.User == "" || h.answering[user] || m.Revision < u.rev || !u.term.Load().holds(h.cfg.Clock.Now()) {
		return nil
	}
	c := &Claim{h: h, unit: u, user: user, epoch: epoch(h.generation.Load(), u.rev)}
	if floor := u.floor(user); floor == math.MaxUint64 {
		return nil
	} else {
		c.epoch = max(c.epoch, floor)
	}
	return c
}

// coming says whether a unit may be ours soon. h.mu is held.
func (h *Holder) coming(m *Map, id Unit) bool {
	if h.stopping {
		return false
	}
	if u := h.units[id]; u != nil {
		return !u.leaving // it has just come, or the lease may come back
	}
	held, _ := m.Held(id)
	return m.Wanted(id) == h.cfg.Name && !m.Holds(held)
}

// moved says where a unit is. h.mu is held.
func (h *Holder) moved(m *Map, id Unit) Moved {
	held, _ := m.Held(id)
	to := Moved{Revision: m.Changed}
	if m.Holds(held) && held.Backend != h.cfg.Name {
		to.Holder = held.Backend
	}
	return to
}

// Epoch is greater than that of every earlier holder.
func (c *Claim) Epoch() uint64 { return c.epoch }

// Check is nil while the right holds by the clock.
func (c *Claim) Check() error {
	t := c.unit.term.Load()
	switch {
	case t == nil || c.epoch < c.unit.floor(c.user):
		return errGivenUp
	case !t.holds(c.h.cfg.Clock.Now()):
		return errLeaseLost
	}
	return nil
}

// Confirm is nil if the right was held without a gap from the last Check until now: nobody
// else had it. By CheckCoordinator the Coordinator says so, in one read for all that
// wait. It is tried until the deadline.
func (c *Claim) Confirm(ctx context.Context) error {
	if err := c.Check(); err != nil || c.h.cfg.CommitCheck == CheckClock {
		return err
	}
	lease, err := c.h.confirm(ctx)
	if err != nil {
		return err
	}
	if t := c.unit.term.Load(); t == nil || t.id != lease {
		return errLeaseLost
	}
	return c.Check()
}

func keysOf(set map[Unit]bool) iter.Seq[Unit] {
	return func(yield func(Unit) bool) {
		for u := range set {
			if !yield(u) {
				return
			}
		}
	}
}

// describeUnits names units for the log: users, and slots as ranges.
func describeUnits(units []Unit) string {
	var users []string
	var slots []int
	for _, u := range units {
		if u.User != "" {
			users = append(users, u.User)
		} else {
			slots = append(slots, int(u.Slot))
		}
	}
	slices.Sort(users)
	slices.Sort(slots)
	var parts []string
	if len(slots) > 0 {
		parts = append(parts, fmt.Sprintf("%d slots: %s", len(slots), ranges(slots)))
	}
	if len(users) > 0 {
		parts = append(parts, fmt.Sprintf("%d users: %s", len(users), strings.Join(users, " ")))
	}
	text := strings.Join(parts, "; ")
	if len(text) > 2000 {
		text = text[:2000] + " ..."
	}
	return text
}

// ranges writes numbers, which are in order, as 1-3,7.
func ranges(numbers []int) string {
	var b strings.Builder
	for i := 0; i < len(numbers); {
		j := i
		for j+1 < len(numbers) && numbers[j+1] == numbers[j]+1 {
			j++
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Itoa(numbers[i]))
		if j > i {
			b.WriteString("-" + strconv.Itoa(numbers[j]))
		}
		i = j + 1
	}
	return b.String()
}
