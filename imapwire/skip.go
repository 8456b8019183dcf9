package imapwire

import (
	"bytes"
	"fmt"
	"io"
	"math"
)

// SkipLine ends the current line, good or bad, and clears its error. It is
// called once after each line: behind CRLF there is nothing to skip; after an
// error the rest of the line is read and dropped, with the literals that come
// with it. A synchronising literal that was not accepted will not be sent, so
// there the line has ended.
//
// An error says that the connection cannot go on: from the reader, or
// ErrTooLong if the rest is more than Limits.Drain.
func (d *Decoder) SkipLine() error {
	budget := d.lim.Drain - int64(d.line)
	for d.broken == nil {
		switch {
		case d.lit != nil && !d.lit.accepted:
			d.lineEnd()
		case d.lit != nil:
			budget = d.dropLiteral(budget)
			continue
		case d.begun:
			budget = d.dropToLineEnd(budget)
			continue
		}
		d.err = nil
		return nil
	}
	return d.broken
}

func (d *Decoder) dropLiteral(budget int64) int64 {
	l := d.lit
	budget -= l.left
	if budget < 0 {
		d.failBroken(fmt.Errorf("skip literal of %d bytes: %w", l.Size, ErrTooLong))
		return 0
	}
	if err := l.drop(); err != nil {
		d.failBroken(err)
	}
	return budget
}

// dropToLineEnd drops bytes to the next line feed. If a literal header stands
// before it, the literal is open afterwards and the line goes on behind it.
func (d *Decoder) dropToLineEnd(budget int64) int64 {
	for ended := false; !ended; {
		if d.pos == d.end {
			if err := d.more(); err != nil {
				d.failBroken(noEOF(err))
				return 0
			}
		}
		n := d.end - d.pos
		if i := bytes.IndexByte(d.buf[d.pos:d.end], '\n'); i >= 0 {
			n, ended = i+1, true
		}
		d.pos += n
		if budget -= int64(n); budget < 0 {
			d.failBroken(fmt.Errorf("skip line: %w", ErrTooLong))
			return 0
		}
	}
	line := d.buf[d.seg : d.pos-1]
	if h, ok := headerAtEnd(line[max(0, len(line)-lookBack):]); ok {
		d.openLiteral(h)
		return budget
	}
	d.lineEnd()
	return budget
}

// literalHeader is what {n}, {n+} and ~{n} say.
type literalHeader struct {
	size    int64
	nonSync bool
	binary  bool
}

// headerAtEnd finds a literal header at the end of line, which has no line
// feed. A number that is too great becomes the greatest.
func headerAtEnd(line []byte) (h literalHeader, ok bool) {
	line = bytes.TrimSuffix(line, []byte{'\r'})
	line, closed := bytes.CutSuffix(line, []byte{'}'})
	line, h.nonSync = bytes.CutSuffix(line, []byte{'+'})
	open := bytes.LastIndexByte(line, '{')
	if !closed || open < 0 || open == len(line)-1 {
		return h, false
	}
	for _, b := range line[open+1:] {
		if b < '0' || b > '9' {
			return h, false
		}
		h.size = appendDigit(h.size, b)
	}
	h.binary = open > 0 && line[open-1] == '~'
	return h, true
}

// appendDigit is 10n and the digit b; what would overflow stays at the greatest.
func appendDigit(n int64, b byte) int64 {
	if n > (math.MaxInt64-9)/10 {
		return math.MaxInt64
	}
	return 10*n + int64(b-'0')
}

func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
