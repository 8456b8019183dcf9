package store

import "slices"

// reader is one user's own \Seen in one mailbox.
type reader struct {
	highest uint64 // modification sequence of the last change
	seen    uint32 // how many of the messages that exist are seen

	// spans are the messages ever marked, in order and apart. What is in none
	// is unseen. A span may reach over UIDs that do not exist (any more).
	spans []seenSpan
}

type seenSpan struct {
	start, stop uint32
	seen        bool
	modseq      uint64
}

// at is the state of a message: the zero span if it was never marked.
func (r *reader) at(uid uint32) seenSpan {
	if r == nil {
		return seenSpan{}
	}
	i := r.find(uid)
	if i == len(r.spans) || r.spans[i].start > uid {
		return seenSpan{}
	}
	return r.spans[i]
}

// find is the first span that ends at or after uid.
func (r *reader) find(uid uint32) int {
	i, _ := slices.BinarySearchFunc(r.spans, uid, func(s seenSpan, uid uint32) int {
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

// mark lays span over what is there.
func (r *reader) mark(span seenSpan) {
	i := r.find(span.start)
	j := i
	var left, right []seenSpan
	for j < len(r.spans) && r.spans[j].start <= span.stop {
		old := r.spans[j]
		if old.start < span.start {
			left = []seenSpan{{start: old.start, stop: span.start - 1, seen: old.seen, modseq: old.modseq}}
		}
		if old.stop > span.stop {
			right = []seenSpan{{start: span.stop + 1, stop: old.stop, seen: old.seen, modseq: old.modseq}}
		}
		j++
	}
	r.spans = slices.Replace(r.spans, i, j, slices.Concat(left, []seenSpan{span}, right)...)
	r.highest = max(r.highest, span.modseq)
}
