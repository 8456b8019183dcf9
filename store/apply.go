package store

import (
	"errors"
	"fmt"
	"slices"

	"github.com/roost-mail/roost/imap"
)

// errGone says that a record speaks of a mailbox that does not exist. A flag
// change may be written while the mailbox is being deleted, so it is skipped.
var errGone = fmt.Errorf("%w: no such mailbox", errFormat)

// errTable says that a record can't be applied, as its mailbox can't be read. It
// must stay in the log: a repair may need it.
var errTable = errors.New("mailbox can't be read")

// open finds a mailbox that a record changes the messages of, and loads it.
func (s *state) open(id uint32) (*box, error) {
	b := s.boxes[id]
	if b == nil {
		return nil, errGone
	}
	if !b.loaded {
		if err := s.load(b); err != nil {
			return nil, fmt.Errorf("%w: %w", errTable, err)
		}
	}
	return b, nil
}

func (r *recMessage) apply(s *state, at place) error {
	s.nextBlob = max(s.nextBlob, r.blob+1) // also if its mailbox can't be read
	b, err := s.open(r.box)
	if err != nil {
		return err
	}
	if err := s.blobs.add(r.blob, at); err != nil {
		return err
	}
	s.pack(at, r.size)
	if err := s.ref(r.blob, r.size); err != nil {
		return err
	}
	err = s.addRow(b, row{uid: r.uid, modseq: r.modseq, date: r.date, size: r.size, blob: r.blob, saved: r.saved},
		r.flags, r.seen && r.reader == "")
	if err != nil {
		return err
	}
	if r.seen && r.reader != "" {
		b.setOwn(r.reader, imap.UIDSet{{Start: r.uid, Stop: r.uid}}, seenSet(true), r.modseq)
	}
	s.note(b, event{kind: eventNew})
	return nil
}

func (r *recBlob) apply(s *state, at place) error {
	s.pack(at, r.size)
	b := s.blobs.find(r.blob)
	if b == nil || at.off/recordAlign > 1<<32-1 {
		return nil // expunged meanwhile
	}
	if b.refs > 0 {
		s.live[b.seg] -= min(s.live[b.seg], uint64(r.size))
		s.live[at.seg] += uint64(r.size)
	}
	b.seg, b.off = at.seg, uint32(at.off/recordAlign)
	return nil
}

func (r *recCopy) apply(s *state, _ place) error {
	b, err := s.open(r.box)
	if err != nil {
		return err
	}
	for _, it := range r.items {
		if err := s.ref(it.blob, it.size); err != nil {
			return err
		}
		err := s.addRow(b, row{uid: it.uid, modseq: r.modseq, date: it.date, size: it.size, blob: it.blob, saved: r.saved},
			r.flags[it.flags], it.seen)
		if err != nil {
			return err
		}
	}
	for _, seen := range r.seen {
		b.setOwn(seen.reader, seen.uids, seenSet(true), r.modseq)
	}
	s.note(b, event{kind: eventNew})
	return nil
}

func (r *recExpunge) apply(s *state, _ place) error {
	b, err := s.open(r.box)
	if err != nil {
		return err
	}
	if r.uids.Empty() {
		return nil
	}
	first, _ := b.find(r.uids[0].Start)
	left, next := b.rows[:first], 0
	kept := newKeeper(b, r.kept)
	for _, old := range b.rows[first:] {
		for next < len(r.uids) && r.uids[next].Stop < old.uid {
			next++
		}
		if next == len(r.uids) || old.uid < r.uids[next].Start {
			left = append(left, old)
			continue
		}
		b.forget(&old)
		s.drop(kept, &old)
	}
	s.keep(kept)
	b.rows, b.uidsNow = left, nil
	b.expunged.add(r.modseq, r.uids)
	b.shared = max(b.shared, r.modseq)
	s.modseq = max(s.modseq, r.modseq)
	b.dirty = true
	s.note(b, event{kind: eventExpunge, uids: r.uids})
	return nil
}

// forget takes a message out of the counters.
func (b *box) forget(r *row) {
	b.messages--
	b.sums.remove(r, b.flags.deleted(r.flags))
	if r.flags&rowSeen == 0 {
		b.unseen--
	}
	for name, reader := range b.readers {
		if m := b.marks(name); m.at(r.uid).flags&ownSeen != 0 {
			reader.seen--
		}
	}
	if b.seed.at(r.uid).flags&ownSeen != 0 {
		b.seed.seen--
	}
}

func (r *recFlags) apply(s *state, _ place) error {
	b, err := s.open(r.box)
	if err != nil {
		return err
	}
	for i := range r.groups {
		g := &r.groups[i]
		flags := b.flags.intern(g.flags) << 1
		if g.seen {
			flags |= rowSeen
		}
		for _, span := range g.uids {
			rows := b.within(span)
			for j := range rows {
				b.setFlags(&rows[j], flags, g, r.modseq)
			}
		}
		e := event{kind: eventFlags, uids: g.uids, origin: s.origin}
		if !g.flagsChanged {
			e.kind = eventShared
		}
		s.note(b, e)
	}
	s.modseq = max(s.modseq, r.modseq)
	b.dirty = true
	b.compactFlags()
	return nil
}

// setFlags gives a message its new flags.
func (b *box) setFlags(r *row, flags uint32, g *flagGroup, modseq uint64) {
	switch {
	case r.flags&rowSeen == 0 && flags&rowSeen != 0:
		b.unseen--
	case r.flags&rowSeen != 0 && flags&rowSeen == 0:
		b.unseen++
	}
	if g.flagsChanged {
		b.sums.remove(r, b.flags.deleted(r.flags))
		b.sums.add(r, b.flags.deleted(flags))
	}
	r.flags = flags
	if g.flagsChanged {
		r.modseq = modseq
		b.shared = max(b.shared, modseq)
	}
	if g.seenChanged {
		r.seenMod = modseq
		b.sharedSeen = max(b.sharedSeen, modseq)
	}
}

func (r *recSeen) apply(s *state, _ place) error {
	b, err := s.open(r.box)
	if err != nil {
		return err
	}
	b.setOwn(r.reader, r.set, seenSet(true), r.modseq)
	b.setOwn(r.reader, r.clear, seenSet(false), r.modseq)
	s.note(b, event{kind: eventOwn, reader: r.reader, uids: r.set.Union(r.clear), origin: s.origin})
	s.modseq = max(s.modseq, r.modseq)
	return nil
}

func (r *recCreate) apply(s *state, _ place) error {
	if s.names[r.name] != nil || s.boxes[r.box] != nil || r.box == 0 || r.box == 1<<32-1 {
		return fmt.Errorf("%w: mailbox %q exists", errFormat, r.name)
	}
	b := newBox(r.box, r.name)
	b.uidValidity, b.objectID, b.entries = r.uidValidity, r.id, r.entries
	b.shared, b.dirty = r.modseq, true // it is loaded when it is used: nothing is
	s.boxes[b.id], s.names[b.name] = b, b
	s.nextBox = max(s.nextBox, r.box+1)
	s.lastValidity = max(s.lastValidity, r.uidValidity)
	s.modseq = max(s.modseq, r.modseq)
	s.shareVersion++
	s.sorted.Store(nil)
	s.expiry.Store(nil)
	return nil
}

func (r *recDelete) apply(s *state, _ place) error {
	b, err := s.open(r.box)
	if err != nil {
		return err
	}
	kept := newKeeper(b, r.kept)
	for i := range b.rows {
		s.drop(kept, &b.rows[i])
	}
	s.keep(kept)
	delete(s.boxes, b.id)
	delete(s.names, b.name)
	b.gone = true
	b.rows, b.uidsNow, b.sums = nil, nil, sums{}
	if s.freed != nil {
		s.freed(b)
	}
	s.note(b, event{kind: eventGone})
	s.noteFollowers(b.name)
	s.shareVersion++
	s.sorted.Store(nil)
	s.expiry.Store(nil)
	return nil
}

func (r *recRename) apply(s *state, _ place) error {
	for _, m := range r.moves {
		b := s.boxes[m.box]
		if b == nil {
			return errGone
		}
		delete(s.names, b.name)
	}
	for _, m := range r.moves {
		b := s.boxes[m.box]
		if s.names[m.name] != nil {
			return fmt.Errorf("%w: mailbox %q exists", errFormat, m.name)
		}
		b.name = m.name
		s.names[m.name] = b
		s.note(b, event{kind: eventRights}) // which may hang on the name, and on what is above it
	}
	for _, m := range r.moves { // what was below already follows them now
		s.noteFollowers(m.name)
	}
	s.shareVersion++
	s.sorted.Store(nil)
	return nil
}

func (r *recEntries) apply(s *state, _ place) error {
	b := s.boxes[r.box]
	if b == nil {
		return errGone
	}
	b.entries = slices.Clip(r.entries)
	s.expiry.Store(nil)
	s.shareVersion++
	s.note(b, event{kind: eventRights})
	s.noteFollowers(b.name)
	return nil
}

func (r *recSubscribe) apply(s *state, _ place) error {
	names := s.subs[r.user]
	if !r.on {
		delete(names, r.name)
		return nil
	}
	if names == nil {
		names = map[string]struct{}{}
		s.subs[r.user] = names
	}
	names[r.name] = struct{}{}
	return nil
}

func (r *recReserve) apply(s *state, _ place) error {
	s.modseqLimit = max(s.modseqLimit, r.limit)
	return nil
}

func (r *recRecent) apply(s *state, _ place) error {
	b := s.boxes[r.box]
	if b == nil {
		return errGone
	}
	b.recentKept = max(b.recentKept, r.uid)
	b.claim(r.uid)
	return nil
}

// claim says that messages below uid are recent no more. It returns from where
// on they had been.
func (b *box) claim(uid uint32) uint32 {
	for {
		from := b.recent.Load()
		if from >= uid || b.recent.CompareAndSwap(from, uid) {
			return from
		}
	}
}

func (r *recShared) apply(s *state, _ place) error {
	s.published = max(s.published, r.version)
	return nil
}
