package store

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/roost-mail/roost/imap"
)

func TestPackTime(t *testing.T) {
	for _, s := range []string{
		"1970-01-01T00:00:00Z", "2024-02-29T23:59:59+01:00", "2024-02-29T00:30:00-11:30",
		"1969-12-31T23:59:59Z", "1900-01-01T00:00:00+14:00", "2100-01-01T00:00:00-12:00",
	} {
		want, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		p := packTime(want)
		if got := p.time().Format(time.RFC3339); got != s {
			t.Errorf("%s became %s", s, got)
		}
		day := floorDiv(time.Date(want.Year(), want.Month(), want.Day(), 0, 0, 0, 0, time.UTC).Unix(), 86400)
		if p.day() != day {
			t.Errorf("%s is day %d, want %d", s, p.day(), day)
		}
	}
}

// Combinations that no message has are forgotten, and those in use stay.
func TestCompactFlags(t *testing.T) {
	b := newBox(1, "x")
	for i := range 100 {
		list := flagList{system: uint8(i % 8), keywords: []string{fmt.Sprint("k", i%50)}}
		b.rows = append(b.rows, row{uid: uint32(i + 1), flags: b.flags.intern(list)<<1 | uint32(i%2)})
	}
	for i := range 2000 {
		b.flags.intern(flagList{keywords: []string{fmt.Sprint("k", i%50), fmt.Sprint("k", i/50)}})
	}
	before := fmt.Sprint(shown(b))
	b.compactFlags()
	if got := fmt.Sprint(shown(b)); got != before {
		t.Errorf("got %s\nwant %s", got, before)
	}
	if n := len(b.flags.combos); n > 200 {
		t.Errorf("%d combinations are left", n)
	}
}

func shown(b *box) (all [][]imap.Flag) {
	for i := range b.rows {
		all = append(all, b.flags.combos[b.rows[i].combo()].show(b.rows[i].flags&rowSeen != 0))
	}
	return all
}

// TestReaderSpans marks ranges at random, of a reader and of the seed, and compares
// with arrays.
func TestReaderSpans(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 5))
	b := newBox(1, "INBOX")
	for uid := uint32(1); uid < 64; uid += 2 {
		b.rows = append(b.rows, row{uid: uid})
	}
	var own, seed [64]ownSpan
	for n := range 4000 {
		start := 1 + uint32(rnd.IntN(59))
		span := ownSpan{start: start, stop: start + uint32(rnd.IntN(4)), flags: ownFlags(rnd.IntN(8)), modseq: uint64(n + 1)}
		to, name, want := exactly(span.flags), "bob", &own
		switch rnd.IntN(3) {
		case 0:
			to = seenSet(rnd.IntN(2) == 0)
		case 1:
			name, want = "", &seed
		}
		b.setOwn(name, imap.UIDSet{{Start: span.start, Stop: span.stop}}, to, span.modseq)
		for uid := span.start; uid <= span.stop; uid++ {
			was := want[uid].flags
			if want[uid].modseq == 0 {
				was = seed[uid].flags
			}
			want[uid] = ownSpan{start: 1, flags: to(was), modseq: span.modseq}
		}
		m, seen := b.marks("bob"), uint32(0)
		for uid := range uint32(len(own)) {
			want := own[uid]
			if want.modseq == 0 {
				want = seed[uid]
			}
			got := m.at(uid)
			if got.flags != want.flags || got.modseq != want.modseq {
				t.Fatalf("after %d marks: UID %d is %+v, want %+v", n, uid, got, want)
			}
			if uid%2 == 1 && got.flags&ownSeen != 0 {
				seen++
			}
		}
		if r := b.readers["bob"]; r != nil && r.seen != seen {
			t.Fatalf("after %d marks: %d seen, want %d", n, r.seen, seen)
		}
	}
	spans := b.readers["bob"].spans[1:]
	var e encoder
	encodeSpans(&e, spans)
	encodeSpanFlags(&e, spans)
	d := &decoder{buf: e.buf}
	got := decodeSpans(d)
	if decodeSpanFlags(d, got); fmt.Sprint(got) != fmt.Sprint(spans) || d.end() != nil {
		t.Errorf("decoded %v, want %v", got, spans)
	}
}
