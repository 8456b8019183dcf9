package store

import "slices"

// reader is one user's own flags in one mailbox. With that of no user, the seed,
// go those who have not marked a message themselves.
type reader struct {
	highest uint64 // modification sequence of the last change
	seen    uint32 // how many of the messages that exist are seen
	base    uint64 // what messages show at least that were not marked since
	lost    uint32 // since when the user has no access, in seconds since 1970; 0: has, as far as is known

	// spans are the messages ever marked, in order and apart. A span may reach
	// over UIDs that do not exist (any more).
	spans []ownSpan
}

type ownSpan struct {
	start, stop uint32
	flags       ownFlags
	modseq      uint64
}

// at is the state of a message: the zero span if it was never marked.
func (r *reader) at(uid uint32) ownSpan {
	if r == nil {
		return ownSpan{}
	}
	i := r.find(uid)
	if i == len(r.spans) || r.spans[i].start > uid {
		return ownSpan{}
	}
	return r.spans[i]
}

// before is the last UID up to stop that is in the gap between spans that uid is in.
func (r *reader) before(uid, stop uint32) uint32 {
	if r == nil {
		return stop
	}
	if i := r.find(uid); i < len(r.spans) {
		return min(stop, r.spans[i].start-1)
	}
	return stop
}

// find is the first span that ends at or after uid.
func (r *reader) find(uid uint32) int {
	i, _ := slices.BinarySearchFunc(r.spans, uid, func(s ownSpan, uid uint32) int {
		switch {
		case s.stop < uid:
			return -1
		case s.start > uid:
			return 1
		}
		return 0
	})
	return i
}

// lay lays pieces, at least one and without gaps, over what is there.
func (r *reader) lay(pieces []ownSpan) {
	start, stop := pieces[0].start, pieces[len(pieces)-1].stop
	i := r.find(start)
	j := i
	var left, right []ownSpan
	for j < len(r.spans) && r.spans[j].start <= stop {
		old := r.spans[j]
		if old.start < start {
			left = []ownSpan{{start: old.start, stop: start - 1, flags: old.flags, modseq: old.modseq}}
		}
		if old.stop > stop {
			right = []ownSpan{{start: stop + 1, stop: old.stop, flags: old.flags, modseq: old.modseq}}
		}
		j++
	}
	r.spans = slices.Replace(r.spans, i, j, slices.Concat(left, pieces, right)...)
	r.highest = max(r.highest, pieces[0].modseq)
}
