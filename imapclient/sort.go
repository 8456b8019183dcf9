package imapclient

import (
	"errors"

	"github.com/roost-mail/roost/imap"
)

// sort reads a SORT response. RFC 5256 section 4, RFC 7162 section 3.1.6.
func (c *Conn) sort(h *Handler) bool {
	var found []imap.Range
	var modSeq uint64
	for c.dec.SP() {
		var n uint32
		if c.dec.Special('(') {
			if !c.modSeqItem(&modSeq) {
				return false
			}
			break
		}
		if !c.dec.Number(&n) {
			break // a space at the end
		}
		found = appendNumber(found, n)
	}
	if h.Sort != nil && c.dec.Err() == nil {
		h.Sort(found, imap.ModSeq(modSeq))
	}
	return c.dec.Err() == nil
}

// appendNumber makes the last range longer if n comes next.
func appendNumber(ranges []imap.Range, n uint32) []imap.Range {
	if last := len(ranges) - 1; last >= 0 && n > 1 && ranges[last].Stop == n-1 {
		ranges[last].Stop = n
		return ranges
	}
	return append(ranges, imap.Range{Start: n, Stop: n})
}

// ranges reads a set in the order in which it is written, however long: it is
// the line that has a limit. RFC 5267 section 3.2.
func (c *Conn) ranges() (ranges []imap.Range, ok bool) {
	for {
		var r imap.Range
		if !c.dec.ExpectNumber(&r.Start) {
			return nil, false
		}
		r.Stop = r.Start
		if c.dec.Special(':') && !c.dec.ExpectNumber(&r.Stop) {
			return nil, false
		}
		if r.Start > r.Stop {
			r.Start, r.Stop = r.Stop, r.Start
		}
		if !c.dec.Expect(r.Start > 0, "number above 0") {
			return nil, false
		}
		ranges = append(ranges, r)
		if !c.dec.Special(',') {
			return ranges, true
		}
	}
}

// maxThreadNesting is how deep the lists of a THREAD response may nest.
const maxThreadNesting = 1 << 20

var errThread = errors.New("invalid thread")

// thread reads a THREAD response. RFC 5256 section 4. Lists are as deep as the
// server likes, so it keeps a stack of its own.
func (c *Conn) thread(h *Handler) bool {
	var list []imap.ThreadMember
	var outer []uint32 // where each open list begins
	depth := uint32(0)
	begun := false // a list was opened and has no member yet
	c.dec.SP()
	for {
		var n uint32
		switch {
		case c.dec.Special('('):
			if len(outer) == maxThreadNesting {
				c.dec.Fail(errThread)
				return false
			}
			if begun { // siblings whose parent is not there
				list = append(list, imap.ThreadMember{Depth: depth})
				depth++
			}
			outer, begun = append(outer, depth), true
		case len(outer) == 0:
			if h.Thread != nil && c.dec.Err() == nil {
				h.Thread(list)
			}
			return c.dec.Err() == nil
		case !begun && c.dec.Special(')'):
			depth, outer = outer[len(outer)-1], outer[:len(outer)-1]
		case !begun && c.dec.SP():
		case c.dec.Number(&n) && n > 0:
			list = append(list, imap.ThreadMember{UID: imap.UID(n), Depth: depth})
			depth, begun = depth+1, false
		default:
			c.dec.Fail(errThread)
			return false
		}
	}
}
