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

// TestReaderSpans marks ranges at random and compares with an array.
func TestReaderSpans(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 5))
	r := &reader{}
	var want [64]seenSpan
	for n := range 2000 {
		start := uint32(rnd.IntN(60))
		span := seenSpan{start: start, stop: start + uint32(rnd.IntN(4)), seen: rnd.IntN(2) == 0, modseq: uint64(n + 1)}
		r.mark(span)
		for uid := span.start; uid <= span.stop; uid++ {
			want[uid] = span
		}
		for uid := range uint32(len(want)) {
			if got := r.at(uid); got.seen != want[uid].seen || got.modseq != want[uid].modseq {
				t.Fatalf("after %d marks: UID %d is %+v, want %+v", n, uid, got, want[uid])
			}
		}
	}
	var e encoder
	encodeSpans(&e, r.spans[1:])
	d := &decoder{buf: e.buf}
	if got := decodeSpans(d); fmt.Sprint(got) != fmt.Sprint(r.spans[1:]) || d.end() != nil {
		t.Errorf("decoded %v, want %v", got, r.spans[1:])
	}
}
