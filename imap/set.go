package imap

import (
	"iter"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Limits of a sequence set as a client may send it.
const (
	MaxSetLen    = 64 << 10 // bytes of its text
	MaxSetRanges = 20_000
)

// Range is the numbers from Start to Stop, both included.
type Range struct{ Start, Stop uint32 }

// star stands for `*` in a NumSet that is not resolved yet.
const star = 0

// NumSet is a sequence set as the client wrote it (RFC 9051 section 9,
// sequence-set): numbers that may be UIDs or sequence numbers, with `*` open.
type NumSet struct{ ranges []Range }

// ParseNumSet reads a sequence set.
func ParseNumSet(s string) (NumSet, error) {
	if len(s) > MaxSetLen {
		return NumSet{}, BadCommand("Sequence set is too long")
	}
	var set NumSet
	for part := range strings.SplitSeq(s, ",") {
		if len(set.ranges) == MaxSetRanges {
			return NumSet{}, BadCommand("Sequence set has too many parts")
		}
		r, ok := parseRange(part)
		if !ok {
			return NumSet{}, BadCommand("Invalid sequence set")
		}
		set.ranges = append(set.ranges, r)
	}
	return set, nil
}

func parseRange(s string) (Range, bool) {
	first, last, isRange := strings.Cut(s, ":")
	start, ok := parseSetNumber(first)
	if !ok || !isRange {
		return Range{start, start}, ok
	}
	stop, ok := parseSetNumber(last)
	return Range{start, stop}, ok
}

func parseSetNumber(s string) (uint32, bool) {
	if s == "*" {
		return star, true
	}
	if s == "" || s[0] < '0' || s[0] > '9' {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err == nil && n != 0
}

// Resolve puts highest in the place of `*`; when highest is 0 (an empty
// mailbox) a `*` names nothing. The ranges come back in order and apart.
func (s NumSet) Resolve(highest uint32) UIDSet {
	out := make(UIDSet, 0, len(s.ranges))
	for _, r := range s.ranges {
		if r.Start == star {
			r.Start = highest
		}
		if r.Stop == star {
			r.Stop = highest
		}
		if r.Start == 0 || r.Stop == 0 {
			continue
		}
		if r.Start > r.Stop {
			r.Start, r.Stop = r.Stop, r.Start
		}
		out = append(out, r)
	}
	return out.normalize()
}

// Max is the largest number that s names, `*` not counted; 0 if there is none.
func (s NumSet) Max() uint32 {
	var m uint32
	for _, r := range s.ranges {
		m = max(m, r.Start, r.Stop)
	}
	return m
}

// String is the set as it is written on the wire.
func (s NumSet) String() string { return string(appendRanges(nil, s.ranges)) }

// UIDSet is a set of numbers, as ranges in ascending order that neither touch
// nor overlap. It mostly holds UIDs. The nil set is empty. Methods never
// change their receiver, so a set can be shared.
type UIDSet []Range

// UIDSetOf makes a set of uids in any order.
func UIDSetOf(uids ...UID) UIDSet {
	s := make(UIDSet, 0, len(uids))
	for _, u := range uids {
		if n := len(s); n > 0 && s[n-1].Stop+1 == uint32(u) && u != 0 {
			s[n-1].Stop++
			continue
		}
		s = append(s, Range{uint32(u), uint32(u)})
	}
	return s.normalize()
}

// UIDRange is the set of all from start to stop; it is empty if stop < start.
func UIDRange(start, stop UID) UIDSet {
	if stop < start {
		return nil
	}
	return UIDSet{{uint32(start), uint32(stop)}}
}

// UIDSetOfRanges makes a set of ranges in any order, each with Start up to Stop.
func UIDSetOfRanges(ranges ...Range) UIDSet { return UIDSet(slices.Clone(ranges)).normalize() }

// normalize sorts and joins in place.
func (s UIDSet) normalize() UIDSet {
	ordered := func(a, b Range) int { return int(int64(a.Start) - int64(b.Start)) }
	if !slices.IsSortedFunc(s, ordered) {
		slices.SortFunc(s, ordered)
	}
	out := s[:0]
	for _, r := range s {
		if n := len(out); n > 0 && (out[n-1].Stop == math.MaxUint32 || r.Start <= out[n-1].Stop+1) {
			out[n-1].Stop = max(out[n-1].Stop, r.Stop)
			continue
		}
		out = append(out, r)
	}
	return out
}

// Len counts the numbers in s.
func (s UIDSet) Len() int {
	n := 0
	for _, r := range s {
		n += int(r.Stop-r.Start) + 1
	}
	return n
}

// Empty reports whether s holds nothing.
func (s UIDSet) Empty() bool { return len(s) == 0 }

// Contains reports whether u is in s.
func (s UIDSet) Contains(u UID) bool {
	i, _ := s.find(uint32(u))
	return i < len(s) && s[i].Start <= uint32(u)
}

// find is the first range that ends at or after n.
func (s UIDSet) find(n uint32) (int, bool) {
	return slices.BinarySearchFunc(s, n, func(r Range, n uint32) int {
		switch {
		case r.Stop < n:
			return -1
		case r.Start > n:
			return 1
		}
		return 0
	})
}

// Min and Max are the smallest and the largest member, 0 if s is empty.
func (s UIDSet) Min() UID {
	if len(s) == 0 {
		return 0
	}
	return UID(s[0].Start)
}

// Max is the largest member, 0 if s is empty.
func (s UIDSet) Max() UID {
	if len(s) == 0 {
		return 0
	}
	return UID(s[len(s)-1].Stop)
}

// All yields the members in ascending order.
func (s UIDSet) All() iter.Seq[UID] {
	return func(yield func(UID) bool) {
		for _, r := range s {
			for n := uint64(r.Start); n <= uint64(r.Stop); n++ {
				if !yield(UID(n)) {
					return
				}
			}
		}
	}
}

// Union is the set of what is in s or in t.
func (s UIDSet) Union(t UIDSet) UIDSet {
	if len(s) == 0 {
		return t
	}
	if len(t) == 0 {
		return s
	}
	return append(slices.Clone(s), t...).normalize()
}

// Intersect is the set of what is in both s and t.
func (s UIDSet) Intersect(t UIDSet) UIDSet {
	var out UIDSet
	for i, j := 0, 0; i < len(s) && j < len(t); {
		lo, hi := max(s[i].Start, t[j].Start), min(s[i].Stop, t[j].Stop)
		if lo <= hi {
			out = append(out, Range{lo, hi})
		}
		if s[i].Stop < t[j].Stop {
			i++
		} else {
			j++
		}
	}
	return out
}

// Minus is the set of what is in s and not in t.
func (s UIDSet) Minus(t UIDSet) UIDSet {
	if len(t) == 0 || len(s) == 0 {
		return s
	}
	var out UIDSet
	j := 0
	for _, r := range s {
		for j < len(t) && t[j].Stop < r.Start {
			j++
		}
		lo, done := r.Start, false
		for k := j; k < len(t) && t[k].Start <= r.Stop; k++ {
			if t[k].Start > lo {
				out = append(out, Range{lo, t[k].Start - 1})
			}
			if t[k].Stop >= r.Stop {
				done = true
				break
			}
			lo = t[k].Stop + 1
		}
		if !done {
			out = append(out, Range{lo, r.Stop})
		}
	}
	return out
}

// String is the set as it is written on the wire; the empty set is "".
func (s UIDSet) String() string { return string(s.AppendTo(nil)) }

// AppendTo appends the wire form of s to dst.
func (s UIDSet) AppendTo(dst []byte) []byte { return appendRanges(dst, s) }

func appendRanges(dst []byte, ranges []Range) []byte {
	for i, r := range ranges {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendSetNumber(dst, r.Start)
		if r.Stop != r.Start {
			dst = appendSetNumber(append(dst, ':'), r.Stop)
		}
	}
	return dst
}

func appendSetNumber(dst []byte, n uint32) []byte {
	if n == star {
		return append(dst, '*')
	}
	return strconv.AppendUint(dst, uint64(n), 10)
}
