package store

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"unsafe"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// The owner's marks on messages of mailboxes that live on servers which can't keep
// them. They belong to the account and to none of its mailboxes.

// Bounds of an account's marks.
const (
	maxMarkedBoxes = 10_000
	maxMarkRanges  = 500_000
	marksKept      = 400 * 24 * 3600 // seconds since the mailbox was opened last
	marksRefresh   = 24 * 3600       // how exact that is
)

var _ mailbox.MarkKeeper = (*Session)(nil)

// markedBox are the marks in one mailbox. It is guarded as state is.
type markedBox struct {
	mailbox.Marks
	used uint32 // seconds since 1970
}

func (m *markedBox) ranges() (n int) {
	for i := range m.Flags {
		n += len(m.Flags[i].UIDs)
	}
	return n
}

// marksCost is what marks take in memory.
func (s *state) marksCost() (n int64) {
	for _, m := range s.marks {
		n += boxCost/4 + int64(m.ranges())*int64(unsafe.Sizeof(imap.Range{}))
	}
	return n
}

// recMarks changes marks. Those of another UIDVALIDITY are gone by it.
type recMarks struct {
	box      mailbox.MarkedBox
	validity uint32
	uidNext  uint32
	messages uint32
	used     uint32
	set      []mailbox.Marked
	clear    []mailbox.Marked
}

func (*recMarks) kind() recordType { return typeMarks }

func (r *recMarks) encode(e *encoder) {
	encodeMarkedBox(e, r.box)
	for _, v := range []uint32{r.validity, r.uidNext, r.messages, r.used} {
		e.uint(uint64(v))
	}
	encodeMarked(e, r.set)
	encodeMarked(e, r.clear)
}

func (r *recMarks) decode(d *decoder) {
	r.box = decodeMarkedBox(d)
	r.validity, r.uidNext, r.messages, r.used = d.uint32(), d.uint32(), d.uint32(), d.uint32()
	r.set, r.clear = decodeMarked(d), decodeMarked(d)
	if r.validity == 0 {
		d.fail()
	}
}

func encodeMarkedBox(e *encoder, box mailbox.MarkedBox) {
	e.string(box.Account)
	e.string(box.Name)
	e.string(string(box.ID))
}

func decodeMarkedBox(d *decoder) mailbox.MarkedBox {
	return mailbox.MarkedBox{Account: d.string(), Name: d.string(), ID: imap.ObjectID(d.string())}
}

func encodeMarked(e *encoder, list []mailbox.Marked) {
	e.uint(uint64(len(list)))
	for _, m := range list {
		e.string(string(m.Flag))
		e.uids(m.UIDs)
	}
}

func decodeMarked(d *decoder) []mailbox.Marked {
	list := make([]mailbox.Marked, d.count(2))
	for i := range list {
		list[i] = mailbox.Marked{Flag: imap.Flag(d.string()), UIDs: d.uids()}
	}
	return list
}

func (r *recMarks) apply(s *state, _ place) error {
	old := s.marks[r.box]
	m := markedBox{used: r.used}
	if old != nil && old.UIDValidity == r.validity {
		m.Marks = old.Marks
	}
	m.Marks = m.Change(r.set, r.clear)
	m.UIDValidity, m.UIDNext, m.Messages = r.validity, imap.UID(r.uidNext), r.messages
	if len(m.Flags) == 0 {
		delete(s.marks, r.box)
		return nil
	}
	s.marks[r.box] = &m
	return nil
}

// recMarksMoved has marks follow renames of mailboxes, all at once. Those that have no new
// name are forgotten.
type recMarksMoved struct{ moves []marksMove }

type marksMove struct {
	from mailbox.MarkedBox
	to   string
}

func (*recMarksMoved) kind() recordType { return typeMarksMoved }

func (r *recMarksMoved) encode(e *encoder) {
	e.uint(uint64(len(r.moves)))
	for _, m := range r.moves {
		encodeMarkedBox(e, m.from)
		e.string(m.to)
	}
}

func (r *recMarksMoved) decode(d *decoder) {
	r.moves = make([]marksMove, d.count(4))
	for i := range r.moves {
		r.moves[i] = marksMove{decodeMarkedBox(d), d.string()}
	}
}

func (r *recMarksMoved) apply(s *state, _ place) error {
	moved := map[mailbox.MarkedBox]*markedBox{}
	for _, m := range r.moves {
		if marks := s.marks[m.from]; marks != nil && m.to != "" {
			moved[mailbox.MarkedBox{Account: m.from.Account, Name: m.to}] = marks
		}
	}
	for _, m := range r.moves {
		delete(s.marks, m.from)
	}
	maps.Copy(s.marks, moved)
	return nil
}

// marksSorted are the names of all mailboxes with marks.
func (s *state) marksSorted() []mailbox.MarkedBox {
	return slices.SortedFunc(maps.Keys(s.marks), func(a, b mailbox.MarkedBox) int {
		return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
}

// encodeMarks is the account's extra: records of marks, one after the other.
func (s *state) encodeMarks(e *encoder) {
	for _, box := range s.marksSorted() {
		m := s.marks[box]
		rec := recMarks{
			box: box, validity: m.UIDValidity, uidNext: uint32(m.UIDNext), messages: m.Messages, used: m.used, set: m.Flags,
		}
		rec.encode(e)
	}
}

func (s *state) decodeMarks(d *decoder) {
	for len(d.buf) > 0 && d.err == nil {
		var rec recMarks
		rec.decode(d)
		if d.err == nil {
			_ = rec.apply(s, place{}) // it knows no error
		}
	}
}

// Marks implements mailbox.MarkKeeper.
func (s *Session) Marks(box mailbox.MarkedBox) (mailbox.Marks, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if m := s.st.marks[box]; m != nil {
		return m.Marks, s.usable()
	}
	return mailbox.Marks{}, s.usable()
}

// Mark implements mailbox.MarkKeeper.
func (s *Session) Mark(ctx context.Context, box mailbox.MarkedBox, change *mailbox.MarkChange) (mailbox.Marks, error) {
	err := s.submit(ctx, &txn{alone: true, build: func(b *builder) error { return b.mark(box, change) }})
	if err != nil {
		return mailbox.Marks{}, err
	}
	return s.Marks(box)
}

func (b *builder) mark(box mailbox.MarkedBox, change *mailbox.MarkChange) error {
	old := b.st.marks[box]
	if old == nil {
		old = &markedBox{}
	}
	rec := &recMarks{box: box, validity: change.UIDValidity, used: b.seconds()}
	have := mailbox.Marks{}
	if old.UIDValidity == change.UIDValidity {
		have = old.Marks
	}
	rec.uidNext, rec.messages = uint32(have.UIDNext), have.Messages
	var gone imap.UIDSet
	if change.UIDNext > 0 {
		rec.uidNext, rec.messages = uint32(change.UIDNext), uint32(change.UIDs.Len())
		if change.UIDNext > 1 {
			gone = imap.UIDRange(1, change.UIDNext-1).Minus(change.UIDs)
		}
	}
	for _, f := range mailbox.MarkedFlags(have.Flags, change.Set) {
		before := have.With(f)
		after := before.Union(mailbox.MarkedWith(change.Set, f)).Minus(mailbox.MarkedWith(change.Clear, f)).Minus(gone)
		rec.set = appendMarked(rec.set, f, after.Minus(before))
		rec.clear = appendMarked(rec.clear, f, before.Minus(after))
	}
	same := len(rec.set)+len(rec.clear) == 0
	switch {
	case same && old.UIDValidity == 0: // nothing was marked, and nothing is
		return nil
	case same && old.UIDValidity == rec.validity && uint32(old.UIDNext) == rec.uidNext && old.Messages == rec.messages && rec.used < old.used+marksRefresh:
		return nil
	}
	if err := b.marksRoom(box, rec); err != nil {
		return err
	}
	b.add(rec)
	return nil
}

func appendMarked(list []mailbox.Marked, f imap.Flag, uids imap.UIDSet) []mailbox.Marked {
	if uids.Empty() {
		return list
	}
	return append(list, mailbox.Marked{Flag: f, UIDs: uids})
}

// marksRoom forgets mailboxes that were not opened for long, and as many more as it
// takes for rec to have room, those first that were not opened for the longest time.
func (b *builder) marksRoom(box mailbox.MarkedBox, rec *recMarks) error {
	count, ranges, stale := 1, 0, false
	for _, m := range rec.set {
		ranges += len(m.UIDs)
	}
	for other, m := range b.st.marks {
		ranges += m.ranges()
		if other != box {
			count++
			stale = stale || m.used+marksKept < rec.used
		}
	}
	if count <= maxMarkedBoxes && ranges <= maxMarkRanges && !stale {
		return nil
	}
	others := slices.DeleteFunc(b.st.marksSorted(), func(other mailbox.MarkedBox) bool { return other == box })
	slices.SortStableFunc(others, func(x, y mailbox.MarkedBox) int { return cmp.Compare(b.st.marks[x].used, b.st.marks[y].used) })
	forget := &recMarksMoved{}
	for _, other := range others {
		m := b.st.marks[other]
		if count <= maxMarkedBoxes && ranges <= maxMarkRanges && m.used+marksKept >= rec.used {
			break
		}
		count, ranges = count-1, ranges-m.ranges()
		forget.moves = append(forget.moves, marksMove{from: other})
	}
	if ranges > maxMarkRanges && len(rec.set) > 0 {
		return imap.Errorf(imap.CodeLimit, "Too many flags of one's own")
	}
	if len(forget.moves) > 0 {
		b.add(forget)
	}
	return nil
}

// MoveMarks implements mailbox.MarkKeeper.
func (s *Session) MoveMarks(ctx context.Context, box mailbox.MarkedBox, to string) error {
	return s.submit(ctx, &txn{alone: true, build: func(b *builder) error {
		rec := &recMarksMoved{}
		for _, from := range b.st.marksSorted() {
			rest, inside := strings.CutPrefix(from.Name, box.Name)
			switch {
			case from.Account != box.Account || !inside:
			case rest == "" && to == "":
				rec.moves = append(rec.moves, marksMove{from: from})
			case to != "" && (rest == "" || rest[0] == imap.Delimiter):
				rec.moves = append(rec.moves, marksMove{from, to + rest})
			}
		}
		if len(rec.moves) > 0 {
			b.add(rec)
		}
		return nil
	}})
}

// WatchMarks implements mailbox.MarkKeeper.
func (s *Session) WatchMarks(notify func()) (stop func()) {
	o := &observer{notify: notify}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.account.markers = append(slices.Clip(s.account.markers), o)
	return func() {
		s.mu.Lock()
		s.account.markers = slices.DeleteFunc(slices.Clone(s.account.markers), func(p *observer) bool { return p == o })
		s.mu.Unlock()
		o.mu.Lock()
		defer o.mu.Unlock()
		o.notify = nil
	}
}

// changesMarks says whether t has changed marks.
func (t *txn) changesMarks() bool {
	return slices.ContainsFunc(t.entries, func(e entry) bool { return e.rec.kind() == typeMarks || e.rec.kind() == typeMarksMoved })
}

// marks looks for what no change leaves behind.
func (c *checker) marks() {
	st := c.account.st
	for _, box := range st.marksSorted() {
		m, last := st.marks[box], ""
		for i := range m.Flags {
			f := strings.ToLower(string(m.Flags[i].Flag))
			if f <= last || m.Flags[i].UIDs.Empty() {
				c.bad("marks in %+v: flag %q is out of order or on nothing", box, f)
			}
			last = f
		}
		if box.Account == "" || (box.Name == "") == (box.ID == "") || last == "" {
			c.bad("marks in %+v are nowhere or none", box)
		}
	}
	if len(st.marks) > maxMarkedBoxes {
		c.bad("marks in %d mailboxes", len(st.marks))
	}
}
