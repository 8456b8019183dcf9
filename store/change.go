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
	c := changer{h: h, change: &change, outcomes: map[uint32]*outcome{}, last: -1}
	err = h.session.submit(ctx, &txn{origin: h, alone: true, build: func(b *builder) error {
		if err := b.loaded(h.box); err != nil {
			return err
		}
		if change.Op != mailbox.FlagsRemove {
			if err := h.box.flags.room(list.keywords); err != nil {
				return err
			}
		}
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
	outcomes map[uint32]*outcome // by flags before, as far as they matter
	order    []*outcome
	last     int // the row before
	modified []imap.UID
}

// outcome is what becomes of messages that had the same flags.
type outcome struct {
	flags        flagList
	seen         bool // as the view sees it
	sharedSeen   bool
	flagsChanged bool
	seenChanged  bool
	uids         imap.UIDSet
	last         int // the last row in uids
}

// row takes in the row at i. Sets of UIDs in records may reach over UIDs that
// do not exist: one range for neighbours keeps them small.
func (c *changer) row(i int) {
	r := &c.h.box.rows[i]
	if c.change.UnchangedSince != nil {
		if m := c.h.see(r); c.change.Spares(m.modseq, m.flags) {
			c.modified = append(c.modified, m.uid)
			return
		}
	}
	shared := r.flags&rowSeen != 0
	seen := shared
	key := r.flags << 1
	if c.h.view.private {
		if seen = c.h.reader().at(r.uid).seen; seen {
			key |= 1
		}
	}
	o := c.outcomes[key]
	if o == nil {
		o = c.outcome(c.h.box.flags.combos[r.combo()], seen)
		o.sharedSeen = shared
		if !c.h.view.private {
			o.sharedSeen = o.seen
		}
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

// outcome applies the change to a combination of flags.
func (c *changer) outcome(before *combo, seen bool) *outcome {
	o := &outcome{flags: before.list, seen: seen}
	flags, changed := c.change.Apply(before.show(seen))
	if !changed {
		return o
	}
	list, after, err := splitFlags(flags)
	if err != nil {
		return o // not reached: both sides were checked
	}
	o.seenChanged = after != seen
	o.seen = after
	kept := len(list.keywords) == len(before.list.keywords) && list.system == before.list.system
	for _, k := range list.keywords {
		kept = kept && imap.HasFlag(before.plain, imap.Flag(k))
	}
	if !kept {
		o.flags, o.flagsChanged = list, true
	}
	return o
}

// records adds what the change comes to.
func (c *changer) records(b *builder) {
	flags := &recFlags{box: c.h.box.id}
	own := &recSeen{box: c.h.box.id, reader: c.h.view.acting}
	for _, o := range c.order {
		private := c.h.view.private && o.seenChanged
		shared := o.seenChanged && !private
		if o.flagsChanged || shared {
			flags.groups = append(flags.groups, flagGroup{
				flags: o.flags, seen: o.sharedSeen, flagsChanged: o.flagsChanged, seenChanged: shared, uids: joined(o.uids),
			})
		}
		switch {
		case private && o.seen:
			own.set = own.set.Union(joined(o.uids))
		case private:
			own.clear = own.clear.Union(joined(o.uids))
		}
	}
	if len(flags.groups) > 0 {
		flags.modseq = b.modseq()
		b.add(flags)
	}
	if !own.set.Empty() || !own.clear.Empty() {
		own.modseq = b.modseq()
		b.add(own)
	}
}

// joined is ranges, at least one, as a set: in order, and those that touch as one.
func joined(ranges imap.UIDSet) imap.UIDSet { return imap.UIDSet{}.Union(ranges[:1]).Union(ranges[1:]) }
