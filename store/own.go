package store

import (
	"fmt"
	"slices"
	"strings"

	"github.com/roost-mail/roost/imap"
)

// ownFlags is a set of the flags that readers can have for themselves: bit 0 is
// \Seen, then come flagList.system, and state.ownKeywords.
type ownFlags uint32

const (
	ownSeen        ownFlags = 1
	ownSystem               = 1                                 // where flagList.system begins
	ownKeyword              = 5                                 // where keywords begin
	maxOwnKeywords          = 27                                // that an account ever had as flags of readers
	ownDeleted              = ownFlags(bitDeleted << ownSystem) // never in a set
)

// policy says which flags are each reader's own.
type policy struct {
	flags ownFlags
	on    bool // in mailboxes that say nothing themselves
}

// ownMode is what a mailbox says itself.
type ownMode uint8

const (
	modeDefault ownMode = iota
	modePrivate
	modeShared
	modeLast = modeShared
)

// in are the flags that are readers' own in a mailbox of that mode.
func (p policy) in(m ownMode) ownFlags {
	if m == modePrivate || m == modeDefault && p.on {
		return p.flags
	}
	return 0
}

// ownOf are those of a message's flags that readers can have for themselves.
func (s *state) ownOf(list *flagList, seen bool) ownFlags {
	own := ownFlags(list.system&systemMask) << ownSystem &^ ownDeleted
	if seen {
		own |= ownSeen
	}
	for _, k := range list.keywords {
		own |= s.ownKeyword(k)
	}
	return own
}

// ownKeyword is the bit of a keyword, 0 for one that was never a reader's own.
func (s *state) ownKeyword(k string) ownFlags {
	for i, known := range s.ownKeywords {
		if strings.EqualFold(k, known) {
			return 1 << (ownKeyword + i)
		}
	}
	return 0
}

// ownBit is the bit of a flag, 0 for one that readers can't have for themselves.
func (s *state) ownBit(f imap.Flag) ownFlags {
	list, seen, err := splitFlags([]imap.Flag{f})
	if err != nil {
		return 0
	}
	return s.ownOf(&list, seen)
}

// put is list with just those flags of own that are in flags.
func (s *state) put(list flagList, own, flags ownFlags) flagList {
	out := flagList{system: list.system&^uint8(own>>ownSystem&systemMask) | uint8((own&flags)>>ownSystem&systemMask)}
	for _, k := range list.keywords {
		if s.ownKeyword(k)&own == 0 {
			out.keywords = append(out.keywords, k)
		}
	}
	for i, k := range s.ownKeywords {
		if own&flags&(1<<(ownKeyword+i)) != 0 {
			out.keywords = append(out.keywords, k)
		}
	}
	return out
}

// ownList is a set as records hold it, by name.
func (s *state) ownList(flags ownFlags) (list flagList, seen bool) {
	return s.put(flagList{}, ^ownFlags(0), flags), flags&ownSeen != 0
}

// learnOwn makes keywords such that readers can have for themselves.
func (s *state) learnOwn(list *flagList) error {
	for _, k := range list.keywords {
		if s.ownKeyword(k) != 0 {
			continue
		}
		if len(s.ownKeywords) == maxOwnKeywords {
			return fmt.Errorf("%w: too many private keywords", errFormat)
		}
		s.ownKeywords = append(slices.Clip(s.ownKeywords), k)
	}
	return nil
}

// own are the flags of b that are v's own.
func (s *state) own(b *box, v view) ownFlags {
	if v.owner {
		return 0
	}
	return s.policyFor(v).in(b.mode)
}

// policyFor is the policy in force; before there is one, what v's session was
// told.
func (s *state) policyFor(v view) policy {
	if s.policy != nil {
		return *s.policy
	}
	p := policy{on: v.private}
	for _, f := range v.flags {
		p.flags |= s.ownBit(f)
	}
	return p
}

// apart are the flags whose shared value is the owner's and that of those readers
// who share it: their changes are no news for readers with their own.
func (s *state) apart(v view) ownFlags {
	if s.policy != nil {
		return s.policy.flags
	}
	return s.policyFor(v).flags | ownSeen
}

// ownKeywordsOf are the keywords among flags.
func (s *state) ownKeywordsOf(flags ownFlags) []string {
	list, _ := s.ownList(flags)
	return list.keywords
}

// addOwn adds the record that gives messages own flags of a reader.
func (b *builder) addOwn(box uint32, reader string, uids imap.UIDSet, flags ownFlags) {
	g := ownGroup{reader: reader, uids: uids}
	g.flags, g.seen = b.st.ownList(flags)
	b.add(&recOwn{box: box, modseq: b.modseq(), groups: []ownGroup{g}})
}

// marks are one user's own flags in one mailbox. For messages that they never
// marked those hold that all had when the mailbox became private.
type marks struct {
	reader *reader
	seed   *reader
	base   uint64 // no message that was not marked shows less
}

func (b *box) marks(name string) marks {
	m := marks{reader: b.readers[name], seed: &b.seed, base: b.forgotten}
	if m.reader != nil {
		m.base = m.reader.base
	}
	return m
}

func (m *marks) at(uid uint32) ownSpan {
	if s := m.reader.at(uid); s.stop != 0 {
		return s
	}
	s := m.seed.at(uid)
	s.modseq = max(s.modseq, m.base)
	return s
}

// sight is how a view sees a mailbox. It holds as long as account.mu is held.
type sight struct {
	st    *state
	box   *box
	owner bool
	own   ownFlags // that are the view's own
	marks marks
}

func (s *state) sight(b *box, v view) sight {
	at := sight{st: s, box: b, owner: v.owner, own: s.own(b, v)}
	if !v.owner {
		at.marks = b.marks(v.acting)
	}
	return at
}

func (h *handle) sight() sight { return h.session.st.sight(h.box, h.view) }

// mark is the reader's own span of a message; the owner has none.
func (s *sight) mark(uid uint32) ownSpan {
	if s.owner {
		return ownSpan{}
	}
	return s.marks.at(uid)
}

// seen is whether a message is seen.
func (s *sight) seen(r *row) bool {
	if s.own&ownSeen != 0 {
		return s.marks.at(r.uid).flags&ownSeen != 0
	}
	return r.flags&rowSeen != 0
}

// see is what is seen of a row.
func (s *sight) see(r *row) seenRow {
	own, modseq := s.mark(r.uid), r.modseq
	if s.own == 0 {
		modseq = max(modseq, r.seenMod)
	}
	m := seenRow{
		uid: imap.UID(r.uid), date: r.date, size: r.size, saved: r.saved,
		modseq: imap.ModSeq(max(modseq, own.modseq)), seen: r.flags&rowSeen != 0,
	}
	if s.own&ownSeen != 0 {
		m.seen = own.flags&ownSeen != 0
	}
	c := s.box.flags.combos[r.combo()]
	if apart := s.own &^ ownSeen; apart == 0 || (s.st.ownOf(&c.list, false)^own.flags)&apart == 0 {
		m.flags = c.show(m.seen)
	} else {
		list := s.st.put(c.list, apart, own.flags)
		m.flags = list.flags(m.seen)
	}
	return m
}

// flags are those of a list, in a new slice.
func (f *flagList) flags(seen bool) []imap.Flag {
	flags := append(systemFlags(f.system), keywordFlags(f.keywords)...)
	if seen {
		flags = append(flags, imap.FlagSeen)
	}
	return flags
}

func (f *flagList) equal(g *flagList) bool {
	return f.system == g.system && len(f.keywords) == len(g.keywords) &&
		!slices.ContainsFunc(f.keywords, func(k string) bool {
			return !slices.ContainsFunc(g.keywords, func(l string) bool { return strings.EqualFold(k, l) })
		})
}

// setOwn gives messages new own flags of a reader, "" being the seed.
func (b *box) setOwn(name string, uids imap.UIDSet, to func(ownFlags) ownFlags, modseq uint64) {
	if uids.Empty() {
		return
	}
	r, seed := &b.seed, (*reader)(nil)
	if name != "" {
		r, seed = b.reader(name), &b.seed
	}
	m := marks{reader: r, seed: seed}
	for _, span := range uids {
		pieces := m.pieces(span.Start, span.Stop, to, modseq)
		rows := b.within(span)
		if name == "" {
			b.countSeeds(rows, pieces)
		} else {
			r.count(rows, &m, -1)
		}
		r.lay(pieces)
		if name != "" {
			r.count(rows, &m, 1)
		}
	}
	b.dirty = true
}

// count adds by to r.seen for each row that m has as seen.
func (r *reader) count(rows []row, m *marks, by int) {
	for i := range rows {
		if m.at(rows[i].uid).flags&ownSeen != 0 {
			r.seen = uint32(int(r.seen) + by)
		}
	}
}

// countSeeds counts what seen becomes for the seed and all who go by it, when
// pieces are laid over it.
func (b *box) countSeeds(rows []row, pieces []ownSpan) {
	after := reader{spans: pieces}
	for i := range rows {
		was, is := b.seed.at(rows[i].uid).flags&ownSeen, after.at(rows[i].uid).flags&ownSeen
		if was == is {
			continue
		}
		by := int(is) - int(was)
		b.seed.seen = uint32(int(b.seed.seen) + by)
		for _, r := range b.readers {
			if r.at(rows[i].uid).stop == 0 {
				r.seen = uint32(int(r.seen) + by)
			}
		}
	}
}

// pieces are the spans from start to stop after a change.
func (m *marks) pieces(start, stop uint32, to func(ownFlags) ownFlags, modseq uint64) []ownSpan {
	var out []ownSpan
	for at := start; ; {
		end := stop
		var old ownFlags
		if s := m.reader.at(at); s.stop != 0 {
			old, end = s.flags, min(stop, s.stop)
		} else {
			end = m.reader.before(at, stop)
			if s := m.seed.at(at); s.stop != 0 {
				old, end = s.flags, min(end, s.stop)
			} else {
				end = m.seed.before(at, end)
			}
		}
		flags := to(old)
		if n := len(out); n > 0 && out[n-1].flags == flags {
			out[n-1].stop = end
		} else {
			out = append(out, ownSpan{start: at, stop: end, flags: flags, modseq: modseq})
		}
		if end == stop {
			return out
		}
		at = end + 1
	}
}

// seenSet is the change of \Seen alone.
func seenSet(on bool) func(ownFlags) ownFlags {
	if on {
		return func(f ownFlags) ownFlags { return f | ownSeen }
	}
	return func(f ownFlags) ownFlags { return f &^ ownSeen }
}

// exactly sets all own flags.
func exactly(flags ownFlags) func(ownFlags) ownFlags {
	return func(ownFlags) ownFlags { return flags }
}
