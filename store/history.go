package store

import (
	"context"
	"slices"

	"github.com/roost-mail/roost/imap"
)

// history is which messages of a mailbox were expunged when, as far as it is
// known: all expunges with a modification sequence above floor. It is guarded as
// state is.
type history struct {
	list   []expungedAt // by ascending modification sequence
	ranges int          // in list
	floor  uint64
}

type expungedAt struct {
	modseq uint64 // of the latest expunge of uids
	uids   imap.UIDSet
}

// maxHistory bounds the ranges of UIDs that a history holds: 8 bytes each in
// memory, less in the state.
const maxHistory = 1000

func (h *history) empty() bool { return len(h.list) == 0 && h.floor == 0 }

// add takes down an expunge.
func (h *history) add(modseq uint64, uids imap.UIDSet) {
	h.list = append(h.list, expungedAt{modseq, uids})
	for h.ranges += len(uids); h.ranges > maxHistory; {
		h.shrink()
	}
}

// shrink makes one of the older half, which then names the latest modification
// sequence of them all, so that who asks for less is told of too many UIDs. If
// that is no gain, or long still, it is forgotten.
func (h *history) shrink() {
	half := (len(h.list) + 1) / 2
	old := expungedAt{modseq: h.list[half-1].modseq}
	for _, e := range h.list[:half] {
		h.ranges -= len(e.uids)
		old.uids = append(old.uids, e.uids...)
	}
	old.uids = joined(old.uids)
	if half == 1 || len(old.uids) > maxHistory/2 {
		h.list, h.floor = slices.Clone(h.list[half:]), old.modseq
		return
	}
	h.list = append([]expungedAt{old}, h.list[half:]...)
	h.ranges += len(old.uids)
}

// since are the UIDs expunged after modseq. known is false if there may be more.
func (h *history) since(modseq uint64) (uids imap.UIDSet, known bool) {
	for i := len(h.list) - 1; i >= 0 && h.list[i].modseq > modseq; i-- {
		uids = append(uids, h.list[i].uids...)
	}
	if len(uids) > 0 {
		uids = joined(uids)
	}
	return uids, modseq >= h.floor
}

func (h *history) encode(e *encoder) {
	e.uint(h.floor)
	e.uint(uint64(len(h.list)))
	last := uint64(0)
	for _, x := range h.list {
		e.uint(x.modseq - last)
		e.uids(x.uids)
		last = x.modseq
	}
}

func (h *history) decode(d *decoder) {
	h.floor = d.uint()
	last := uint64(0)
	for range d.count(2) {
		x := expungedAt{modseq: last + d.uint(), uids: d.uids()}
		if d.err != nil || x.modseq < last {
			d.fail()
			return
		}
		h.list, h.ranges, last = append(h.list, x), h.ranges+len(x.uids), x.modseq
	}
}

// Vanished implements mailbox.Mailbox. Where the history does not reach back far
// enough, all UIDs are named that messages had.
func (h *handle) Vanished(_ context.Context, uids imap.UIDSet, since imap.ModSeq) (imap.UIDSet, error) {
	a := h.session.account
	a.mu.Lock() // uids may work out its set
	defer a.mu.Unlock()
	if err := h.usable(); err != nil {
		return nil, err
	}
	gone, known := h.box.expunged.since(uint64(since))
	if !known {
		gone = imap.UIDRange(1, imap.UID(h.box.uidNext-1)).Minus(h.box.uids())
	}
	return uids.Intersect(gone), nil
}
