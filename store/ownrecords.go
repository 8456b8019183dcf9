package store

import "github.com/roost-mail/roost/imap"

// recOwn sets a reader's own flags of messages.
type recOwn struct {
	box    uint32
	modseq uint64
	groups []ownGroup
}

// ownGroup is the messages that end up with the same own flags.
type ownGroup struct {
	reader string // "" for all who have not marked a message themselves
	flags  flagList
	seen   bool
	uids   imap.UIDSet
}

func (*recOwn) kind() recordType { return typeOwn }

func (r *recOwn) encode(e *encoder) {
	e.uint(uint64(r.box))
	e.uint(r.modseq)
	e.uint(uint64(len(r.groups)))
	for i := range r.groups {
		g := &r.groups[i]
		e.string(g.reader)
		g.flags.encode(e)
		e.bool(g.seen)
		e.uids(g.uids)
	}
}

func (r *recOwn) decode(d *decoder) {
	r.box = d.uint32()
	r.modseq = d.uint()
	r.groups = make([]ownGroup, d.count(5))
	for i := range r.groups {
		g := &r.groups[i]
		g.reader = d.string()
		g.flags.decode(d)
		g.seen = d.bool()
		g.uids = d.uids()
	}
}

func (r *recOwn) apply(s *state, _ place) error {
	b, err := s.open(r.box)
	if err != nil {
		return err
	}
	for i := range r.groups {
		g := &r.groups[i]
		if err := s.learnOwn(&g.flags); err != nil {
			return err
		}
		b.setOwn(g.reader, g.uids, exactly(s.ownOf(&g.flags, g.seen)), r.modseq)
		if g.reader != "" {
			s.note(b, event{kind: eventOwn, reader: g.reader, uids: g.uids, origin: s.origin})
		}
	}
	s.modseq = max(s.modseq, r.modseq)
	return nil
}

// recPolicy says which flags are readers' own from now on.
type recPolicy struct {
	modseq   uint64
	from, to namedPolicy // from: what was in force if there was no such record before
}

type namedPolicy struct {
	flags flagList
	seen  bool
	on    bool
}

func (p *namedPolicy) encode(e *encoder) {
	p.flags.encode(e)
	e.bool(p.seen)
	e.bool(p.on)
}

func (p *namedPolicy) decode(d *decoder) {
	p.flags.decode(d)
	p.seen, p.on = d.bool(), d.bool()
}

func (p *namedPolicy) learn(s *state) (policy, error) {
	err := s.learnOwn(&p.flags)
	return policy{flags: s.ownOf(&p.flags, p.seen), on: p.on}, err
}

func (*recPolicy) kind() recordType { return typePolicy }

func (r *recPolicy) encode(e *encoder) {
	e.uint(r.modseq)
	r.from.encode(e)
	r.to.encode(e)
}

func (r *recPolicy) decode(d *decoder) {
	r.modseq = d.uint()
	r.from.decode(d)
	r.to.decode(d)
}

func (r *recPolicy) apply(s *state, _ place) error {
	from, err := r.from.learn(s)
	if err != nil {
		return err
	}
	to, err := r.to.learn(s)
	if err != nil {
		return err
	}
	if s.policy != nil {
		from = *s.policy
	}
	s.policy = &to
	s.modseq = max(s.modseq, r.modseq)
	for _, id := range s.boxIDs() {
		mode := s.boxes[id].mode
		// A mailbox that can't be read has no flags of readers left once it is repaired.
		_ = s.switchOwn(id, from.in(mode), to.in(mode), r.modseq)
	}
	return nil
}

// recMode says of mailboxes whether readers have flags of their own there.
type recMode struct {
	modseq uint64
	boxes  []boxMode
}

type boxMode struct {
	box  uint32
	mode ownMode
}

func (*recMode) kind() recordType { return typeMode }

func (r *recMode) encode(e *encoder) {
	e.uint(r.modseq)
	e.uint(uint64(len(r.boxes)))
	for _, b := range r.boxes {
		e.uint(uint64(b.box))
		e.uint(uint64(b.mode))
	}
}

func (r *recMode) decode(d *decoder) {
	r.modseq = d.uint()
	r.boxes = make([]boxMode, d.count(2))
	for i := range r.boxes {
		r.boxes[i].box = d.uint32()
		mode := d.uint()
		if mode > uint64(modeLast) {
			d.fail()
		}
		r.boxes[i].mode = ownMode(mode)
	}
}

func (r *recMode) apply(s *state, _ place) error {
	s.modseq = max(s.modseq, r.modseq)
	for _, m := range r.boxes {
		b := s.boxes[m.box]
		if b == nil {
			return errGone
		}
		was := b.mode
		b.mode = m.mode
		if s.policy == nil {
			return errGone // not reached: a policy stands before
		}
		if err := s.switchOwn(m.box, s.policy.in(was), s.policy.in(b.mode), r.modseq); err != nil {
			return err
		}
	}
	return nil
}

// recLost says since when readers have had no access to a mailbox, or that their
// own flags there are forgotten.
type recLost struct {
	modseq  uint64
	readers []lostReader
}

type lostReader struct {
	box    uint32
	reader string
	since  uint32 // seconds since 1970; 0: they have access
	forget bool
}

func (*recLost) kind() recordType { return typeLost }

func (r *recLost) encode(e *encoder) {
	e.uint(r.modseq)
	e.uint(uint64(len(r.readers)))
	for _, l := range r.readers {
		e.uint(uint64(l.box))
		e.string(l.reader)
		e.uint(uint64(l.since))
		e.bool(l.forget)
	}
}

func (r *recLost) decode(d *decoder) {
	r.modseq = d.uint()
	r.readers = make([]lostReader, d.count(4))
	for i := range r.readers {
		r.readers[i] = lostReader{box: d.uint32(), reader: d.string(), since: d.uint32(), forget: d.bool()}
	}
}

func (r *recLost) apply(s *state, _ place) error {
	s.modseq = max(s.modseq, r.modseq)
	for _, l := range r.readers {
		b := s.boxes[l.box]
		if b == nil || b.readers[l.reader] == nil {
			continue
		}
		if !l.forget {
			b.readers[l.reader].lost = l.since
			continue
		}
		b, err := s.open(l.box) // its table is written without them
		if err != nil {
			return err
		}
		delete(b.readers, l.reader)
		b.metadata = b.metadata.without(l.reader)
		b.forgotten = r.modseq
		b.dirty = true
		s.note(b, event{kind: eventOwn, reader: l.reader, uids: b.uids()})
	}
	return nil
}
