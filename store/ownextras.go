package store

import (
	"maps"
	"slices"
)

// What states and tables have of readers' own flags beyond their \Seen, and of
// the seed. All of it is left out where there is none, so that a program of an
// earlier version can still read the rest.

// encodeOwn is a mailbox's extra: uint mode, of the seed uint highest
// modification sequence and uint seen, uint forgotten, list of (string reader,
// uint base, uint lost).
func (b *box) encodeOwn(e *encoder) {
	var readers []string
	for _, name := range slices.Sorted(maps.Keys(b.readers)) {
		if r := b.readers[name]; r.base != 0 || r.lost != 0 {
			readers = append(readers, name)
		}
	}
	if b.mode == modeDefault && b.seed.highest == 0 && b.forgotten == 0 && len(readers) == 0 {
		return
	}
	for _, v := range []uint64{uint64(b.mode), b.seed.highest, uint64(b.seed.seen), b.forgotten, uint64(len(readers))} {
		e.uint(v)
	}
	for _, name := range readers {
		e.string(name)
		e.uint(b.readers[name].base)
		e.uint(uint64(b.readers[name].lost))
	}
}

func (b *box) decodeOwn(d *decoder) {
	mode := d.uint()
	if mode > uint64(modeLast) {
		d.fail()
	}
	b.mode = ownMode(mode)
	b.seed.highest, b.seed.seen, b.forgotten = d.uint(), d.uint32(), d.uint()
	for range d.count(3) {
		r := b.readers[d.string()]
		base, lost := d.uint(), d.uint32()
		if r == nil {
			d.fail()
			return
		}
		r.base, r.lost = base, lost
	}
}

func (a aside) encode(e *encoder) {
	if a.flags != 0 {
		e.uint(a.modseq)
		e.uint(uint64(a.flags))
	}
}

func (s *state) encodePolicy(e *encoder) {
	if s.policy == nil && len(s.ownKeywords) == 0 {
		return
	}
	e.uint(uint64(len(s.ownKeywords)))
	for _, k := range s.ownKeywords {
		e.string(k)
	}
	e.bool(s.policy != nil)
	if s.policy != nil {
		e.uint(uint64(s.policy.flags))
		e.bool(s.policy.on)
	}
}

func (s *state) decodePolicy(d *decoder) {
	n := d.count(1)
	if n > maxOwnKeywords {
		d.fail()
		return
	}
	for range n {
		s.ownKeywords = append(s.ownKeywords, d.string())
	}
	if d.bool() {
		s.policy = &policy{flags: ownFlags(d.uint32()), on: d.bool()}
	}
}

// Tags of the extras of a table.
const (
	tableSeed = 1 // spans as those of readers, and then for each uint flags
	tableOwn  = 2 // list of (string reader, for each of their spans uint flags)
)

// encodeOwnSpans ends a table.
func (b *box) encodeOwnSpans(e *encoder) {
	list := []extra{{tag: tableSeed}, {tag: tableOwn}}
	if len(b.seed.spans) > 0 {
		encodeSpans(&list[0].content, b.seed.spans)
		encodeSpanFlags(&list[0].content, b.seed.spans)
	}
	more := func(s ownSpan) bool { return s.flags&^ownSeen != 0 }
	var names []string
	for _, name := range slices.Sorted(maps.Keys(b.readers)) {
		if slices.ContainsFunc(b.readers[name].spans, more) {
			names = append(names, name)
		}
	}
	if len(names) > 0 {
		list[1].content.uint(uint64(len(names)))
	}
	for _, name := range names {
		list[1].content.string(name)
		encodeSpanFlags(&list[1].content, b.readers[name].spans)
	}
	if len(list[0].content.buf)+len(list[1].content.buf) > 0 {
		encodeExtras(e, list)
	}
}

func encodeSpanFlags(e *encoder, spans []ownSpan) {
	for _, s := range spans {
		e.uint(uint64(s.flags))
	}
}

func decodeSpanFlags(d *decoder, spans []ownSpan) {
	for i := range spans {
		flags := ownFlags(d.uint32())
		if (flags^spans[i].flags)&ownSeen != 0 {
			d.fail()
			return
		}
		spans[i].flags = flags
	}
}

func (t *tableData) decodeOwnSpans(d *decoder) {
	if d.err != nil || len(d.buf) == 0 {
		return
	}
	decodeExtras(d, func(tag uint64, d *decoder) {
		switch tag {
		case tableSeed:
			t.spans[""] = decodeSpans(d)
			decodeSpanFlags(d, t.spans[""])
		case tableOwn:
			for range d.count(2) {
				decodeSpanFlags(d, t.spans[d.string()])
			}
		default:
			d.failAs(errNewer)
		}
	})
}
