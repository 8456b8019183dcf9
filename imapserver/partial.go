package imapserver

import (
	"strconv"
	"strings"

	"github.com/roost-mail/roost/imap"
)

// partial is which of the results PARTIAL asks for, counted from 1, from the
// first or backwards from the last. RFC 9394 section 3.1.
type partial struct {
	from, to  uint32 // 0: not asked for
	backwards bool
	text      string // as the client wrote it
}

// parsePartial reads a space and a range.
func (s *session) parsePartial(p *partial) error {
	if p.to != 0 {
		return imap.BadCommand("PARTIAL is given twice")
	}
	if !s.dec.ExpectSP() || !s.dec.ExpectAtom(&p.text) {
		return s.dec.Err()
	}
	first, last, _ := strings.Cut(p.text, ":")
	_, p.backwards = strings.CutPrefix(first, "-")
	for i, text := range []string{first, last} {
		digits, minus := strings.CutPrefix(text, "-")
		n, err := strconv.ParseUint(digits, 10, 32)
		if err != nil || n == 0 || minus != p.backwards {
			return imap.BadCommand("Invalid range of PARTIAL")
		}
		if i == 0 {
			p.from = uint32(n)
		}
		p.to = uint32(n)
	}
	p.from, p.to = min(p.from, p.to), max(p.from, p.to)
	return nil
}

// bounds are where the range begins and ends among n results.
func (p *partial) bounds(n int) (from, end int) {
	from, end = min(int(p.from)-1, n), min(int(p.to), n)
	if p.backwards {
		from, end = n-end, n-from
	}
	return from, end
}

// of are the members of a set that are in the range.
func (p *partial) of(set imap.UIDSet) (part imap.UIDSet) {
	from, end := p.bounds(set.Len())
	at := 0 // of the first in r
	for _, r := range set {
		n := int(r.Stop-r.Start) + 1
		lo, hi := max(from-at, 0), min(end-at, n)
		if lo < hi {
			part = append(part, imap.Range{Start: r.Start + uint32(lo), Stop: r.Start + uint32(hi) - 1})
		}
		at += n
	}
	return part
}

// writePartial writes the item of an ESEARCH response; write writes what is in
// the range, if anything is.
func (s *session) writePartial(p *partial, empty bool, write func()) {
	s.enc.RawString(" PARTIAL (").RawString(p.text).SP()
	if empty {
		s.enc.RawString("NIL")
	} else {
		write()
	}
	s.enc.Special(')')
}

// told is searchReturn.told with PARTIAL. RFC 9394 section 3.2.
func (cmd *command) told(ret searchReturn, found imap.UIDSet) imap.UIDSet {
	if ret&returnPartial == 0 || ret&returnCount != 0 {
		return ret.told(found)
	}
	part := cmd.partial.of(found)
	if ret.endsOnly() {
		part = part.Union(ret.told(found))
	}
	return part
}

// toldInOrder is told for SORT, in no order.
func (cmd *command) toldInOrder(ret searchReturn, uids []imap.UID) imap.UIDSet {
	if ret&returnPartial == 0 || ret&returnCount != 0 {
		return imap.UIDSetOf(ret.toldInOrder(uids)...)
	}
	from, end := cmd.partial.bounds(len(uids))
	part := imap.UIDSetOf(uids[from:end]...)
	if ret.endsOnly() {
		part = part.Union(imap.UIDSetOf(ret.toldInOrder(uids)...))
	}
	return part
}
