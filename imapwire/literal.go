package imapwire

import (
	"bytes"
	"io"

	"github.com/roost-mail/roost/imap"
)

// directRead is the least size of a Read that goes around the buffer.
const directRead = 1024

// maxSizeDigits leaves room for ~{+} and CR in lookBack.
const maxSizeDigits = 20

// LiteralReader is the content of one literal. It has to be read to its end
// before parsing goes on; SkipLine also ends it, and refuses it if it was not
// accepted. At its end Read gives io.EOF.
type LiteralReader struct {
	Size    int64
	NonSync bool // {n+}: the content comes without being asked for
	Binary  bool // ~{n}: may contain NUL. RFC 3516 section 4.4

	d        *Decoder
	left     int64
	accepted bool
}

// Accept asks the client for a synchronising literal, by ContinueFunc. For
// other literals, and if called again, it does nothing.
func (l *LiteralReader) Accept() error {
	if l.accepted {
		return nil
	}
	l.accepted = true
	if err := l.d.ContinueFunc(); err != nil {
		l.d.failBroken(err)
		return err
	}
	l.closeAtEnd()
	return nil
}

// Read needs Accept before it, or the error is ErrNotAccepted. Errors of the
// connection stay.
func (l *LiteralReader) Read(p []byte) (int, error) {
	d := l.d
	switch {
	case !l.accepted:
		return 0, ErrNotAccepted
	case l.left == 0:
		return 0, io.EOF
	case d.broken != nil:
		return 0, d.broken
	case len(p) == 0:
		return 0, nil
	}
	n, err := d.readInto(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	if err != nil && l.left > 0 {
		err = noEOF(err)
		d.failBroken(err)
		return n, err
	}
	if l.left > 0 {
		return n, nil
	}
	d.readErr = err
	l.closeAtEnd()
	return n, nil
}

// closeAtEnd lets the line go on behind the literal.
func (l *LiteralReader) closeAtEnd() {
	if l.left > 0 {
		return
	}
	l.d.seg = l.d.pos
	l.d.lit = nil
}

// drop reads the rest of the literal and forgets it.
func (l *LiteralReader) drop() error {
	for l.left > 0 {
		if l.d.pos == l.d.end {
			if err := l.d.more(); err != nil {
				return noEOF(err)
			}
		}
		n := min(l.left, int64(l.d.Buffered()))
		l.d.pos += int(n)
		l.left -= n
	}
	l.closeAtEnd()
	return nil
}

// readInto reads once, from the buffer if it has anything.
func (d *Decoder) readInto(p []byte) (int, error) {
	if d.pos == d.end && len(p) >= directRead && d.readErr == nil {
		return d.r.Read(p)
	}
	if d.pos == d.end {
		if err := d.more(); err != nil {
			return 0, err
		}
	}
	n := copy(p, d.buf[d.pos:d.end])
	d.pos += n
	return n, nil
}

// LiteralReader begins a literal of any size, whose content the caller streams
// or refuses. RFC 9051 section 4.3, RFC 7888, RFC 3516. A synchronising
// literal is not asked for until Accept.
func (d *Decoder) LiteralReader() (*LiteralReader, error) {
	if !d.beginLiteral() {
		d.failSyntax("Expected literal")
		return nil, d.err
	}
	l := d.lit
	if l.accepted {
		l.closeAtEnd()
	}
	return l, nil
}

// beginLiteral consumes a literal header, if there is one, and opens the literal.
func (d *Decoder) beginLiteral() bool {
	if b, ok := d.PeekByte(); !ok || b != '{' && b != '~' {
		return false
	}
	var h literalHeader
	h.binary = d.Special('~')
	if !d.ExpectSpecial('{') {
		return false
	}
	if !d.next(classDigit) {
		return d.failSyntax("Invalid literal size")
	}
	// More digits than this would not be seen by SkipLine.
	for n := 0; d.next(classDigit); n++ {
		if n == maxSizeDigits {
			return d.failSyntax("Invalid literal size")
		}
		h.size = appendDigit(h.size, d.buf[d.pos])
		d.advance(1)
	}
	h.nonSync = d.Special('+')
	if !d.ExpectSpecial('}') || !d.Expect(d.newline(), "line end after literal size") {
		return false
	}
	d.openLiteral(h)
	return true
}

// openLiteral is called behind a header. The literal has to be closed before
// anything else is parsed.
func (d *Decoder) openLiteral(h literalHeader) {
	d.lit = &LiteralReader{
		Size: h.size, NonSync: h.nonSync, Binary: h.binary,
		d: d, left: h.size,
		accepted: h.nonSync || d.ContinueFunc == nil,
	}
}

// beginHeld begins a literal that is to be read into memory.
func (d *Decoder) beginHeld() bool {
	if !d.beginLiteral() {
		return false
	}
	size := d.lit.Size
	if size > d.lim.Literal || size > d.lim.Held-d.held {
		return d.failLimit(imap.CodeTooBig, "Literal is too big")
	}
	d.held += size
	return true
}

// readHeld accepts the literal that beginHeld began, and appends it to dst.
func (d *Decoder) readHeld(dst []byte) ([]byte, bool) {
	l := d.lit
	if l.Accept() != nil {
		return dst, false
	}
	l.closeAtEnd()
	start := len(dst)
	for l.left > 0 {
		// A size is believed only as far as bytes have come.
		n := int(min(l.left, 64<<10))
		dst = append(dst, make([]byte, n)...)
		if _, err := io.ReadFull(l, dst[len(dst)-n:]); err != nil {
			return dst, d.failBroken(err)
		}
	}
	if !l.Binary && bytes.IndexByte(dst[start:], 0) >= 0 {
		return dst, d.failSyntax("NUL in literal")
	}
	return dst, true
}
