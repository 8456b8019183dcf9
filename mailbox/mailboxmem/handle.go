package mailboxmem

import (
	"context"
	"slices"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

var (
	_ mailbox.Mailbox     = (*handle)(nil)
	_ mailbox.EntryHolder = (*handle)(nil)
)

// handle is a session's view of a box. Mail.mu guards it.
type handle struct {
	account  *account
	box      *box
	readOnly bool
	info     mailbox.Info
	goneTold bool
	notify   func() // nil without a Watch

	// told holds the messages that the session knows of, each with the
	// modification sequence of the flags that it knows.
	told map[imap.UID]imap.ModSeq
}

func newHandle(a *account, b *box, readOnly bool) *handle {
	h := &handle{account: a, box: b, readOnly: readOnly, told: map[imap.UID]imap.ModSeq{}}
	b.handles[h] = struct{}{}
	h.info = mailbox.Info{Name: b.name, UIDValidity: b.uidValidity, MailboxID: b.id, ReadOnly: readOnly}
	c := h.changes()
	h.tell(c)
	for _, m := range b.messages {
		if !m.seenBy(a.in(b)) {
			h.info.Unseen = m.uid
			break
		}
	}
	return h
}

func (h *handle) Info() mailbox.Info {
	defer h.account.lock()()
	return h.info
}

func (h *handle) Sync(context.Context, bool) (mailbox.Changes, error) {
	defer h.account.lock()()
	c := h.changes()
	h.tell(c)
	return c, nil
}

// changes compares what the session knows with what is.
func (h *handle) changes() mailbox.Changes {
	if h.box.gone {
		return mailbox.Changes{Gone: !h.goneTold}
	}
	reader := h.account.in(h.box)
	c := mailbox.Changes{UIDNext: h.box.uidNext, HighestModSeq: h.box.highestModSeq(reader)}
	known := 0
	var fresh, recent []imap.UID
	for _, m := range h.box.messages {
		modSeq, told := h.told[m.uid]
		if told {
			known++
			if modSeq != m.modSeqFor(reader) {
				c.Flags = append(c.Flags, m.flagsOnly(reader))
			}
			continue
		}
		fresh = append(fresh, m.uid)
		if h.account.ownsRecent() && m.uid >= h.box.recentFrom {
			recent = append(recent, m.uid)
		}
	}
	c.New, c.Recent = imap.UIDSetOf(fresh...), imap.UIDSetOf(recent...)
	if known < len(h.told) {
		c.Vanished = h.info.UIDs.Minus(h.box.uids())
	}
	c.FlagsChanged = len(h.info.Flags) != len(h.flags())
	return c
}

// tell moves the session's knowledge on by c.
func (h *handle) tell(c mailbox.Changes) {
	if h.box.gone {
		h.goneTold = true
		return
	}
	for uid := range c.Vanished.All() {
		delete(h.told, uid)
	}
	for uid := range c.New.All() {
		h.told[uid] = h.box.find(uid).modSeqFor(h.account.in(h.box))
	}
	for _, m := range c.Flags {
		h.told[m.UID] = m.ModSeq
	}
	h.info.UIDs = h.info.UIDs.Minus(c.Vanished).Union(c.New)
	h.info.Recent = h.info.Recent.Minus(c.Vanished).Union(c.Recent)
	h.info.UIDNext, h.info.HighestModSeq = c.UIDNext, c.HighestModSeq
	h.info.Flags = h.flags()
	if !h.readOnly {
		h.info.PermanentFlags = append(h.flags(), imap.FlagWildcard)
		if h.account.ownsRecent() {
			h.box.recentFrom = h.box.uidNext
		}
	}
}

// flags are those known in the mailbox.
func (h *handle) flags() []imap.Flag {
	flags := append(imap.SystemFlags(), h.box.keywords...)
	if h.account.in(h.box).own {
		flags = h.account.mail.withKeywords(flags)
	}
	return flags
}

// pending reports whether Sync would have something to tell.
func (h *handle) pending() bool {
	c := h.changes()
	return !c.Empty()
}

func (h *handle) Watch(notify func()) (stop func()) {
	defer h.account.lock()()
	h.notify = notify
	if h.pending() {
		notify()
	}
	return func() {
		defer h.account.lock()()
		h.notify = nil
	}
}

func (h *handle) Close() error {
	defer h.account.lock()()
	h.notify = nil
	delete(h.box.handles, h)
	return nil
}

// usable is the refusal of a command on a mailbox that is gone, or that it may not change.
func (h *handle) usable(changing bool) error {
	switch {
	case h.box.gone:
		return imap.NoMailbox()
	case changing && h.readOnly:
		return imap.Errorf(imap.CodeNoPerm, "Mailbox is read-only")
	}
	return nil
}

func (h *handle) Store(_ context.Context, uids imap.UIDSet, change mailbox.FlagChange, emit func(*mailbox.Message) error) (imap.UIDSet, error) {
	results, modified, err := h.store(uids, change)
	if err != nil || change.Silent && !change.ModSeqs {
		return modified, err
	}
	for i := range results {
		if err := emit(&results[i]); err != nil {
			return modified, err
		}
	}
	return modified, nil
}

// store changes flags and returns the result. The session is taken to know of
// it, except for a silent change on top of one that it has not heard of.
func (h *handle) store(uids imap.UIDSet, change mailbox.FlagChange) (results []mailbox.Message, modified imap.UIDSet, err error) {
	defer h.account.lock()()
	if err := h.usable(true); err != nil {
		return nil, nil, err
	}
	reader, modSeq := h.account.in(h.box), h.box.lastModSeq+1
	for uid := range uids.Intersect(h.box.uids()).All() {
		m := h.box.find(uid)
		if change.Spares(m.modSeqFor(reader), m.flagsFor(reader)) {
			modified = modified.Union(imap.UIDSetOf(uid))
			continue
		}
		before, told := h.told[uid]
		current := before == m.modSeqFor(reader)
		if flags, changed := change.Apply(m.flagsFor(reader)); changed {
			h.box.change(m, reader, flags, modSeq)
		}
		if told && (current || !change.Silent) {
			h.told[uid] = m.modSeqFor(reader)
		}
		result := m.flagsOnly(reader)
		if change.Silent {
			result.Flags, result.ModSeqAlone = nil, true
		}
		results = append(results, result)
	}
	h.box.wake()
	return results, modified, nil
}

// Vanished knows of all messages that ever were.
func (h *handle) Vanished(_ context.Context, uids imap.UIDSet, since imap.ModSeq) (imap.UIDSet, error) {
	defer h.account.lock()()
	if err := h.usable(false); err != nil {
		return nil, err
	}
	var gone []imap.UID
	for _, e := range h.box.expunged {
		if e.modSeq > since && uids.Contains(e.uid) {
			gone = append(gone, e.uid)
		}
	}
	return imap.UIDSetOf(gone...), nil
}

func (h *handle) Expunge(_ context.Context, uids imap.UIDSet, all bool) error {
	defer h.account.lock()()
	if err := h.usable(true); err != nil {
		return err
	}
	h.box.remove(func(m *msg) bool {
		return imap.HasFlag(m.flags, imap.FlagDeleted) && (all || uids.Contains(m.uid))
	})
	h.box.wake()
	return nil
}

func (h *handle) Copy(_ context.Context, uids imap.UIDSet, dest string) (imap.CopyData, error) {
	defer h.account.lock()()
	if err := h.usable(false); err != nil {
		return imap.CopyData{}, err
	}
	return h.copy(uids, dest, false)
}

func (h *handle) Move(_ context.Context, uids imap.UIDSet, dest string) (imap.CopyData, error) {
	defer h.account.lock()()
	if err := h.usable(true); err != nil {
		return imap.CopyData{}, err
	}
	data, err := h.copy(uids, dest, true)
	if err != nil {
		return imap.CopyData{}, err
	}
	h.box.remove(func(m *msg) bool { return data.Source.Contains(m.uid) })
	h.box.wake()
	return data, nil
}

// copy puts copies into dest. Those of a message that is gone are left out.
func (h *handle) copy(uids imap.UIDSet, dest string, move bool) (imap.CopyData, error) {
	to := h.account.mail.boxes[dest]
	if to == nil {
		return imap.CopyData{}, imap.NoMailboxTryCreate()
	}
	source := uids.Intersect(h.box.uids())
	if source.Empty() {
		return imap.CopyData{}, nil
	}
	var messages []*msg
	for uid := range source.All() {
		messages = append(messages, h.box.find(uid))
	}
	if quota := h.account.mail.quota; quota != nil && !(move && quota.Counts(h.box.name)) {
		if err := h.account.mail.admit(dest, messages); err != nil {
			return imap.CopyData{}, err
		}
	}
	first := to.uidNext
	for _, m := range messages {
		to.take(m, h.account.mail.becomesOwn(h.box, to))
	}
	to.wake()
	return imap.CopyData{UIDValidity: to.uidValidity, Source: source, Dest: imap.UIDRange(first, to.uidNext-1)}, nil
}

// flagsOnly is m as Store and Sync tell of it.
func (m *msg) flagsOnly(r reader) mailbox.Message {
	return mailbox.Message{UID: m.uid, Flags: slices.Clip(m.flagsFor(r)), ModSeq: m.modSeqFor(r)}
}

// Standing makes the handle a mailbox.EntryHolder.
func (h *handle) Standing(context.Context) (mailbox.Standing, error) {
	defer h.account.lock()()
	return h.account.mail.standing(h.box), h.usable(false)
}
