package message

import "bytes"

// nextDelimiter goes to the next line that is a delimiter of an open
// multipart. k is that multipart's place on the stack, last says that the
// delimiter is its last one. It starts at the start of a line.
func (s *scanner) nextDelimiter() (k int, last, ok bool) {
	if s.longest == 0 || s.full {
		s.src.skipAll()
		return 0, false, false
	}
	for {
		if k, last, ok = s.matchDelimiter(); ok {
			return k, last, true
		}
		if !s.src.skipToDashes() {
			return 0, false, false
		}
	}
}

func (s *scanner) atDelimiter() bool {
	if s.longest == 0 || s.full {
		return false
	}
	_, _, ok := s.matchDelimiter()
	return ok
}

// matchDelimiter compares the line here with the boundaries of all open
// multiparts. Whatever follows a boundary on its line is ignored, as RFC 2046
// section 5.1.1 wants; so the longest boundary that matches is meant, and of
// equal ones the innermost that is still open. Behind its last delimiter a
// multipart's boundary separates nothing any more.
func (s *scanner) matchDelimiter() (k int, last, ok bool) {
	line := s.src.peek(len("--") + s.longest + len("--"))
	if len(line) < 2 || line[0] != '-' || line[1] != '-' {
		return 0, false, false
	}
	line = line[2:]
	best := 0
	for i := len(s.open) - 1; i >= 0; i-- {
		o := &s.open[i]
		n := len(o.boundary)
		if n == 0 || n < best || n == best && ok || !bytes.HasPrefix(line, o.boundary) {
			continue
		}
		best, k, ok = n, i, !o.closed
	}
	return k, bytes.HasPrefix(line[best:], []byte("--")), ok
}
