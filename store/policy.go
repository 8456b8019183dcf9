package store

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/roost-mail/roost/imap"
)

// Which flags are each reader's own is said by the settings, View.PrivateFlags and
// View.PrivateSeen, and by the entry imap.MetadataPrivateFlags of a mailbox. What is in force is a
// record in the log. What was a reader's own is set aside when it becomes everybody's, and when
// it becomes the reader's own again, it is what it was on messages that did not change
// meanwhile. On others readers go on with what they saw: what was everybody's becomes the seed, with
// which those go who mark nothing themselves.

// aside is what was set aside last in a mailbox, and when.
type aside struct {
	modseq uint64   // of the switch; messages that did not change since show none above
	flags  ownFlags // that have been everybody's since
}

func (s *state) boxIDs() []uint32 { return slices.Sorted(maps.Keys(s.boxes)) }

// switchOwn makes the flags to the readers' own in a mailbox, where it was from.
func (s *state) switchOwn(id uint32, from, to ownFlags, modseq uint64) error {
	if from == to {
		return nil
	}
	b, err := s.open(id)
	if err != nil {
		return err
	}
	w := switcher{s: s, box: b, from: from, to: to, modseq: modseq}
	seed, changed := w.readerAfter(nil, &b.seed)
	b.seed.highest = modseq
	for name, r := range b.readers {
		spans, news := w.readerAfter(r, &b.seed)
		r.spans = spans
		s.note(b, event{kind: eventOwn, reader: name, uids: news})
	}
	b.seed.spans = seed
	if left := from &^ to; left != 0 && len(b.rows) > 0 {
		b.aside = aside{modseq: modseq, flags: left}
	}
	b.aside.flags &^= to
	for _, name := range b.watching() {
		if b.readers[name] == nil {
			s.note(b, event{kind: eventOwn, reader: name, uids: changed})
		}
	}
	b.countOwn()
	b.dirty = true
	return nil
}

// watching are the users other than the owner who have b open, and not marked anything.
func (b *box) watching() []string {
	names := map[string]bool{}
	for h := range b.handles {
		if !h.view.owner {
			names[h.view.acting] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// countOwn counts anew what each reader has seen.
func (b *box) countOwn() {
	b.seed.seen = 0
	for i := range b.rows {
		if b.seed.at(b.rows[i].uid).flags&ownSeen != 0 {
			b.seed.seen++
		}
	}
	for name, r := range b.readers {
		m := b.marks(name)
		r.seen = 0
		r.count(b.rows, &m, 1)
	}
}

// switcher works out what becomes of own flags when other flags become own.
type switcher struct {
	s        *state
	box      *box
	from, to ownFlags
	modseq   uint64
}

// readerAfter is what r's spans become, or for nil those of the seed, and which
// messages look different, or may do so to sessions that have not yet heard of the last change.
func (w *switcher) readerAfter(r, seed *reader) (spans []ownSpan, changed imap.UIDSet) {
	m := marks{reader: r, seed: seed}
	last := -1 // the row of the last span
	var news []imap.UID
	for i := range w.box.rows {
		row := &w.box.rows[i]
		shared := w.s.ownOf(&w.box.flags.combos[row.combo()].list, row.flags&rowSeen != 0)
		old, came := m.at(row.uid), w.to&^w.from
		if aside := w.box.aside; max(row.modseq, row.seenMod) <= aside.modseq {
			came &^= aside.flags
		}
		flags := old.flags | shared&came
		before := old.flags&w.from | shared&^w.from
		after := flags&w.to | shared&^w.to
		differs := (before^after)&(w.from|w.to) != 0 || max(row.modseq, old.modseq) < row.seenMod
		if differs {
			news = append(news, imap.UID(row.uid))
		}
		if r != nil && r.at(row.uid).stop == 0 {
			continue // goes with the seed
		}
		modseq := old.modseq
		if differs {
			modseq = w.modseq
		}
		switch n := len(spans); {
		case flags == 0 && modseq == 0:
		case n > 0 && last == i-1 && spans[n-1].flags == flags && spans[n-1].modseq == modseq:
			spans[n-1].stop, last = row.uid, i
		default:
			spans, last = append(spans, ownSpan{start: row.uid, stop: row.uid, flags: flags, modseq: modseq}), i
		}
	}
	return spans, imap.UIDSetOf(news...)
}

// settle brings the settings of a reader's session into force. That it can't be
// done now is no reason not to read: then it is as it was.
func (s *Session) settle(ctx context.Context) {
	if s.view.owner || s.settled {
		return
	}
	s.settled = true
	s.mu.RLock()
	same := s.st.policy != nil && s.st.follows(s.view)
	s.mu.RUnlock()
	if same {
		return
	}
	err := s.submit(ctx, &txn{alone: true, build: func(b *builder) error { return b.policy(s.view) }})
	if err != nil {
		s.settled = false
		s.log.Warn("mail_private_flags can't be brought into force yet", "user", s.user, "acting", s.view.acting, "error", err)
	}
}

// named is the policy of the settings.
func (v view) named() namedPolicy {
	list, seen, _ := splitFlags(v.flags)
	return namedPolicy{flags: list, seen: seen, on: v.private}
}

// follows reports whether the policy in force is that of v.
func (s *state) follows(v view) bool {
	want := v.named()
	list, seen := s.ownList(s.policy.flags)
	return s.policy.on == want.on && seen == want.seen && list.equal(&want.flags)
}

// policy adds the record that brings v's settings into force, unless they are.
// Before the first, \Seen was each reader's own; if there are no readers yet, it
// may always have been as it is to be: if that record is lost, it is written again.
func (b *builder) policy(v view) error {
	if b.st.policy != nil && b.st.follows(v) {
		return nil
	}
	rec := &recPolicy{from: v.named(), to: v.named()}
	if b.st.policy == nil && b.st.hasReaders() {
		rec.from = namedPolicy{seen: true, on: v.private}
	}
	switches := b.st.policy != nil || !rec.to.seen || !rec.to.flags.equal(&rec.from.flags)
	keywords := len(b.st.ownKeywords)
	for _, k := range rec.to.flags.keywords {
		if b.st.ownKeyword(k) == 0 {
			keywords++
		}
	}
	if keywords > maxOwnKeywords {
		return imap.Errorf(imap.CodeLimit, "Too many different private keywords in this account")
	}
	if switches {
		b.txn.durable = true
		rec.modseq = b.modseq()
		for _, id := range b.st.boxIDs() {
			_ = b.account.ensure(b.st.boxes[id]) // what is damaged is logged, and left as it is
		}
	}
	b.add(rec)
	return nil
}

func (s *state) hasReaders() bool {
	for _, b := range s.boxes {
		for _, r := range b.readers {
			if r.highest > 0 {
				return true
			}
		}
	}
	return false
}

// modeOf is what entries of a mailbox say, and whether they do.
func modeOf(entries []imap.MetadataEntry) (mode ownMode, says bool) {
	for _, e := range entries {
		if e.Name != imap.MetadataPrivateFlags {
			continue
		}
		switch string(e.Value) {
		case "private":
			return modePrivate, true
		case "shared":
			return modeShared, true
		}
		return modeDefault, true
	}
	return modeDefault, false
}

// mode adds what follows from entries that a mailbox is given: for itself, and for
// those below that say nothing themselves and have nothing in between that does.
func (b *builder) mode(m *box, entries []imap.MetadataEntry, v view) error {
	mode, says := modeOf(entries)
	if !says {
		return nil
	}
	if mode == modeDefault {
		mode = b.modeAbove(m.name)
	}
	if b.st.policy == nil {
		if err := b.policy(v); err != nil {
			return err
		}
	}
	rec := &recMode{modseq: b.modseq()}
	below := m.name + string(imap.Delimiter)
	for _, name := range b.st.namesSorted() {
		f := b.st.names[name]
		if f != m && !(strings.HasPrefix(name, below) && b.st.follower(f, m)) || f.mode == mode {
			continue
		}
		if err := b.account.ensure(f); err != nil {
			return err
		}
		rec.boxes = append(rec.boxes, boxMode{box: f.id, mode: mode})
	}
	if len(rec.boxes) > 0 {
		b.add(rec)
	}
	return nil
}

// follower reports whether f, which is below m, has its mode from m.
func (s *state) follower(f, m *box) bool {
	for name := f.name; name != m.name; name = parentName(name) {
		if b := s.names[name]; b != nil && b.metadata[""][imap.MetadataPrivateFlags] != nil {
			return false
		}
	}
	return true
}

// modeAbove is what a mailbox has that says nothing itself.
func (b *builder) modeAbove(name string) ownMode {
	for above := parentName(name); above != ""; above = parentName(above) {
		if m := b.st.names[above]; m != nil {
			return m.mode
		}
	}
	return modeDefault
}
