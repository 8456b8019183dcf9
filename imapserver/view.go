package imapserver

import (
	"slices"
	"sort"

	"github.com/roost-mail/roost/imap"
)

// view is what the client believes about the selected mailbox: which message
// has which sequence number. Messages that are gone keep their number until
// the client has been told (RFC 9051 section 7.5.1).
//
// It holds runs of UIDs, not messages: a mailbox of a million messages without
// gaps costs one run.
type view struct {
	uids   imap.UIDSet // told to the client, gone ones included
	before []uint32    // before[i] counts the messages ahead of uids[i]
	recent imap.UIDSet // of uids, those that are recent for this session
	gone   imap.UIDSet // of uids, those whose EXPUNGE is still to be told
	hint   int         // the run that seq found last
}

// newView is the view of a client that is told of uids.
func newView(uids, recent imap.UIDSet) *view {
	v := &view{uids: slices.Clone(uids), recent: recent}
	v.number()
	return v
}

func (v *view) number() {
	v.before = slices.Grow(v.before[:0], len(v.uids))
	var n uint32
	for _, r := range v.uids {
		v.before = append(v.before, n)
		n += r.Stop - r.Start + 1
	}
	v.hint = 0
}

// count is the number of messages, which is also the highest sequence number.
func (v *view) count() uint32 {
	last := len(v.uids) - 1
	if last < 0 {
		return 0
	}
	return v.before[last] + v.uids[last].Stop - v.uids[last].Start + 1
}

// seq is the sequence number of uid, 0 if the client does not know it. Asking
// in ascending order takes constant time.
func (v *view) seq(uid imap.UID) imap.SeqNum {
	u := uint32(uid)
	i := v.hint
	if i >= len(v.uids) || u < v.uids[i].Start || u > v.uids[i].Stop {
		i++
		if i >= len(v.uids) || u < v.uids[i].Start || u > v.uids[i].Stop {
			i = sort.Search(len(v.uids), func(i int) bool { return v.uids[i].Stop >= u })
		}
		if i == len(v.uids) || u < v.uids[i].Start {
			return 0
		}
		v.hint = i
	}
	return imap.SeqNum(v.before[i] + u - v.uids[i].Start + 1)
}

// uidsOf turns sequence numbers, which have to exist, into UIDs. A run of
// numbers becomes one run of UIDs, gaps included: what lies in a gap is gone, as
// new messages only come behind all others. So a set stays as short as it was
// written, however torn the mailbox is.
func (v *view) uidsOf(seqs imap.UIDSet) imap.UIDSet {
	out := make(imap.UIDSet, len(seqs))
	for i, r := range seqs {
		out[i] = imap.Range{Start: v.uidAt(r.Start), Stop: v.uidAt(r.Stop)}
	}
	return out
}

// uidAt is the UID of a sequence number, which has to exist.
func (v *view) uidAt(seq uint32) uint32 {
	i := sort.Search(len(v.uids), func(i int) bool { return v.lastSeq(i) >= seq })
	return v.uids[i].Start + seq - v.before[i] - 1
}

// countOf is how many messages of uids the client knows.
func (v *view) countOf(uids imap.UIDSet) int {
	n := 0
	for _, r := range uids {
		n += int(v.upTo(r.Stop)) - int(v.upTo(r.Start-1))
	}
	return n
}

// upTo is how many messages have a UID of at most u.
func (v *view) upTo(u uint32) uint32 {
	i := sort.Search(len(v.uids), func(i int) bool { return v.uids[i].Stop >= u })
	switch {
	case i == len(v.uids):
		return v.count()
	case u < v.uids[i].Start:
		return v.before[i]
	}
	return v.before[i] + u - v.uids[i].Start + 1
}

// seqsOf turns UIDs into sequence numbers. UIDs that the client does not know
// are left out.
func (v *view) seqsOf(uids imap.UIDSet) imap.UIDSet {
	var out imap.UIDSet
	i := 0
	for _, r := range uids {
		i += sort.Search(len(v.uids)-i, func(n int) bool { return v.uids[i+n].Stop >= r.Start })
		for j := i; j < len(v.uids) && v.uids[j].Start <= r.Stop; j++ {
			lo, hi := max(r.Start, v.uids[j].Start), min(r.Stop, v.uids[j].Stop)
			offset := v.before[j] + 1 - v.uids[j].Start
			out = appendRun(out, imap.Range{Start: lo + offset, Stop: hi + offset})
		}
	}
	return out
}

// lastSeq is the sequence number of the last message in the i-th run.
func (v *view) lastSeq(i int) uint32 { return v.before[i] + v.uids[i].Stop - v.uids[i].Start + 1 }

// appendRun adds a run that lies behind all others.
func appendRun(s imap.UIDSet, r imap.Range) imap.UIDSet {
	if n := len(s); n > 0 && s[n-1].Stop+1 == r.Start {
		s[n-1].Stop = r.Stop
		return s
	}
	return append(s, r)
}

// add puts new messages behind the others.
func (v *view) add(uids, recent imap.UIDSet) {
	n := v.count()
	for _, r := range uids {
		if last := len(v.uids) - 1; last >= 0 && r.Start <= v.uids[last].Stop {
			continue // already told; a home that repeats itself must not shift numbers
		}
		runs := len(v.uids)
		v.uids = appendRun(v.uids, r)
		if len(v.uids) > runs {
			v.before = append(v.before, n)
		}
		n += r.Stop - r.Start + 1
	}
	v.recent = v.recent.Union(recent)
}

// vanish marks messages whose EXPUNGE the client is to be told when it may be.
func (v *view) vanish(uids imap.UIDSet) { v.gone = v.gone.Union(uids.Intersect(v.uids)) }

// expunge removes what has vanished and returns the sequence numbers it had:
// told from the highest to the lowest, each is right when it is told.
func (v *view) expunge() imap.UIDSet {
	if v.gone.Empty() {
		return nil
	}
	seqs := v.seqsOf(v.gone)
	v.uids = v.uids.Minus(v.gone) // a new slice, as gone is not empty
	v.recent = v.recent.Minus(v.gone)
	v.gone = nil
	v.number()
	return seqs
}

// resolve turns a set as the client wrote it into the UIDs it names, up to the
// last that the client knows. A sequence number without a message is BAD; a UID
// without one names nothing (RFC 9051 section 6.4.9). `1:*` in an empty mailbox
// is let pass: it asks for all there is.
func (v *view) resolve(set imap.NumSet, isUID bool) (imap.UIDSet, error) {
	if isUID {
		last := v.uids.Max()
		return set.Resolve(uint32(last)).Intersect(imap.UIDRange(1, last)), nil
	}
	n := v.count()
	if n == 0 && set.String() == "1:*" {
		return nil, nil
	}
	if set.Max() > n {
		return nil, imap.BadCommand("Invalid sequence set: no such message")
	}
	return v.uidsOf(set.Resolve(n)), nil
}
