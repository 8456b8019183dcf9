package mailboxmem

import (
	"context"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

func (h *handle) Fetch(_ context.Context, uids imap.UIDSet, items *imap.FetchItems, emit func(*mailbox.Message) error) error {
	present, err := h.present(uids)
	if err != nil {
		return err
	}
	var failed error
	for uid := range present.All() {
		out, m := h.pick(uid, items)
		if m == nil {
			continue
		}
		if err := m.content(items, out); err != nil {
			failed = err // told when all others were
			continue
		}
		if err := emit(out); err != nil {
			return err
		}
	}
	return failed
}

// present are those of uids that exist.
func (h *handle) present(uids imap.UIDSet) (imap.UIDSet, error) {
	defer h.account.lock()()
	return uids.Intersect(h.box.uids()), h.usable(false)
}

// pick marks a message \Seen if items ask for it, and tells what may change of
// it. It returns no message if that was expunged meanwhile, or has not changed
// since items.ChangedSince.
func (h *handle) pick(uid imap.UID, items *imap.FetchItems) (*mailbox.Message, *msg) {
	defer h.account.lock()()
	m, reader := h.box.find(uid), h.account.in(h.box)
	if m == nil || m.modSeqFor(reader) <= items.ChangedSince {
		return nil, nil
	}
	out := &mailbox.Message{UID: uid}
	if items.MarkSeen && !h.readOnly && !m.seenBy(reader) {
		h.box.change(m, reader, append(m.flagsFor(reader), imap.FlagSeen), h.box.lastModSeq+1)
		if _, told := h.told[uid]; told {
			h.told[uid] = m.modSeqFor(reader)
		}
		out.FlagsChanged = true
		h.box.wake()
	}
	if items.Flags || out.FlagsChanged {
		out.Flags = m.flagsFor(reader)
	}
	if items.ModSeq || out.FlagsChanged {
		out.ModSeq = m.modSeqFor(reader)
	}
	return out, m
}
