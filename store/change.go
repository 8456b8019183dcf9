package store

import (
	"context"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// Store implements mailbox.Mailbox. The change survives a crash of the process
// on return, and power loss within a second.
func (h *handle) Store(ctx context.Context, uids imap.UIDSet, change mailbox.FlagChange, emit func(*mailbox.Message) error) (imap.UIDSet, error) {
	if h.info.ReadOnly {
		return nil, errReadOnly
	}
	modified, err := h.change(ctx, uids, change)
	if err != nil || change.Silent && !change.ModSeqs {
		return modified, err
	}
	c := cursor{h: h, uids: uids.Minus(modified)}
	var m mailbox.Message
	for {
		more, err := c.next()
		if err != nil || !more {
			return modified, err
		}
		for i := range c.rows {
			m = mailbox.Message{UID: c.rows[i].uid, ModSeq: c.rows[i].modseq, ModSeqAlone: change.Silent}
			if !change.Silent {
				m.Flags = c.rows[i].flags
			}
			if err := emit(&m); err != nil {
				return modified, err
			}
		}
	}
}

// change makes the transaction of a Store.
func (h *handle) change(ctx context.Context, uids imap.UIDSet, change mailbox.FlagChange) (modified imap.UIDSet, err error) {
	list, _, err := splitFlags(change.Flags)
	if err != nil {
		return nil, err
	}
	c := changer{h: h, change: &change, outcomes: map[uint64]*outcome{}, last: -1}
	err = h.session.submit(ctx, &txn{origin: h, alone: true, build: func(b *builder) error {
		if err := b.loaded(h.box); err != nil {
			return err
		}
		if change.Op != mailbox.FlagsRemove {
			if err := h.box.flags.room(list.keywords); err != nil {
				return err
			}
		}
		c.sight, c.apart = h.sight(), b.st.apart(h.view)
		for _, r := range uids {
			i, _ := h.box.find(r.Start)
			for ; i < len(h.box.rows) && h.box.rows[i].uid <= r.Stop; i++ {
				c.row(i)
			}
		}
		c.records(b)
		return nil
	}})
	return imap.UIDSetOf(c.modified...), err
}

// changer works out what a Store does to each message.
type changer struct {
	h        *handle
	change   *mailbox.FlagChange
	sight    sight
	apart    ownFlags
	outcomes map[uint64]*outcome // by flags before, shared and own
	order    []*outcome
	last     int // the row before
	modified []imap.UID
}

// outcome is what becomes of messages that had the same flags.
type outcome struct {
	flags        flagList // as those see them who share all
	seen         bool
	flagsChanged bool     // so that all see it
	aloneChanged bool     // so that those see it who share all
	before, own  ownFlags // the reader's
	uids         imap.UIDSet
	last         int // the last row in uids
}

// row takes in the row at i. Sets of UIDs in records may reach over UIDs that
// do not exist: one range for neighbours keeps them small.
func (c *changer) row(i int) {
	r := &c.h.box.rows[i]
	if c.change.UnchangedSince != nil {
		if m := c.sight.see(r); c.change.Spares(m.modseq, m.flags) {
			c.modified = append(c.modified, m.uid)
			return
		}
	}
	own := c.sight.mark(r.uid).flags
	key := uint64(r.flags)<<32 | uint64(own)
	o := c.outcomes[key]
	if o == nil {
		o = c.outcome(&c.h.box.flags.combos[r.combo()].list, r.flags&rowSeen != 0, own)
		c.outcomes[key] = o
		c.order = append(c.order, o)
	}
	if n := len(o.uids); n > 0 && o.last == i-1 {
		o.uids[n-1].Stop = r.uid
	} else {
		o.uids = append(o.uids, imap.Range{Start: r.uid, Stop: r.uid})
	}
	o.last = i
}

// outcome applies the change to a combination of flags. before is what all share
// of it, mine the reader's own marks, of which those in c.sight.own count.
func (c *changer) outcome(before *flagList, sharedSeen bool, mine ownFlags) *outcome {
	st, own := c.sight.st, c.sight.own
	o := &outcome{flags: *before, seen: sharedSeen, before: mine, own: mine}
	visible, seen := *before, sharedSeen
	if own != 0 {
		visible = st.put(*before, own, mine)
	}
	if own&ownSeen != 0 {
		seen = mine&ownSeen != 0
	}
	flags, changed := c.change.Apply(visible.flags(seen))
	if !changed {
		return o
	}
	list, after, err := splitFlags(flags)
	if err != nil {
		return o // not reached: both sides were checked
	}
	o.own = mine&^own | st.ownOf(&list, after)&own
	o.flags, o.seen = st.put(list, own, st.ownOf(before, false)), after
	if own&ownSeen != 0 {
		o.seen = sharedSeen
	}
	was, is := st.put(*before, c.apart, 0), st.put(o.flags, c.apart, 0)
	o.flagsChanged = !was.equal(&is) || c.apart&ownSeen == 0 && o.seen != sharedSeen
	o.aloneChanged = (st.ownOf(before, sharedSeen)^st.ownOf(&o.flags, o.seen))&c.apart != 0
	return o
}

// records adds what the change comes to.
func (c *changer) records(b *builder) {
	flags := &recFlags{box: c.h.box.id}
	seen := &recSeen{box: c.h.box.id, reader: c.h.view.acting}
	own := &recOwn{box: c.h.box.id}
	for _, o := range c.order {
		if o.flagsChanged || o.aloneChanged {
			flags.groups = append(flags.groups, flagGroup{
				flags: o.flags, seen: o.seen, flagsChanged: o.flagsChanged, seenChanged: o.aloneChanged, uids: joined(o.uids),
			})
		}
		switch {
		case o.own == o.before:
		case (o.own^o.before)&^ownSeen != 0:
			g := ownGroup{reader: c.h.view.acting, uids: joined(o.uids)}
			g.flags, g.seen = b.st.ownList(o.own)
			own.groups = append(own.groups, g)
		case o.own&ownSeen != 0:
			seen.set = seen.set.Union(joined(o.uids))
		default:
			seen.clear = seen.clear.Union(joined(o.uids))
		}
	}
	if len(flags.groups) > 0 {
		flags.modseq = b.modseq()
		b.add(flags)
	}
	if !seen.set.Empty() || !seen.clear.Empty() {
		seen.modseq = b.modseq()
		b.add(seen)
	}
	if len(own.groups) > 0 {
		own.modseq = b.modseq()
		b.add(own)
	}
	if r := c.h.box.readers[seen.reader]; r != nil && r.lost != 0 && seen.modseq+own.modseq > 0 { // that they may do it is seen here
		b.add(&recLost{readers: []lostReader{{box: seen.box, reader: seen.reader}}})
	}
}

// joined is ranges, at least one, as a set: in order, and those that touch as one.
func joined(ranges imap.UIDSet) imap.UIDSet { return imap.UIDSet{}.Union(ranges[:1]).Union(ranges[1:]) }
