package imapwire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/roost-mail/roost/imap"
)

// String appends s in quotes if that is allowed, else as a literal. NUL, which
// neither may hold, becomes "?".
func (e *Encoder) String(s string) *Encoder {
	if len(s) <= maxQuoted && e.quotable(s) {
		if e.room(2*len(s) + 2) {
			e.buf = appendQuoted(e.buf, s)
		}
		return e
	}
	if !e.LiteralHeader(int64(len(s))).writable() {
		return e
	}
	for len(s) > 0 && e.writable() {
		n := min(len(s), writeSize/2)
		if e.roomForLiteral(n) {
			e.buf = appendWithoutNUL(e.buf, s[:n])
		}
		e.count(n)
		s = s[n:]
	}
	return e
}

// quotable is printable ASCII and, if the peer takes it, UTF-8.
func (e *Encoder) quotable(s string) bool {
	if all(s, classClean) {
		return true
	}
	return e.UTF8 && all(s, classClean|class8Bit) && utf8.ValidString(s)
}

// Value appends the value of an annotation: NIL if b is nil, else as String does,
// but what holds NUL as a literal8. RFC 5464 section 5.
func (e *Encoder) Value(b []byte) *Encoder {
	switch {
	case b == nil:
		return e.RawString("NIL")
	case bytes.IndexByte(b, 0) >= 0:
		return e.Literal8(int64(len(b)), bytes.NewReader(b))
	}
	return e.String(string(b))
}

// AString appends s as an atom if it can be one, else as String does.
func (e *Encoder) AString(s string) *Encoder {
	if isAtom(s) {
		return e.RawString(s)
	}
	return e.String(s)
}

// NString is String, or NIL if s is empty.
func (e *Encoder) NString(s string) *Encoder {
	if s == "" {
		return e.RawString("NIL")
	}
	return e.String(s)
}

// Mailbox appends a mailbox name that is UTF-8, in the encoding the peer takes
// and canonical as in imap.CanonicalName.
func (e *Encoder) Mailbox(name string) *Encoder {
	name = imap.CanonicalName(name)
	if !e.UTF8 {
		name = EncodeName(name)
	}
	return e.AString(name)
}

// Text appends text for people, to the end of the line. Control characters
// become spaces. A "[" at its beginning gets a space before it, so that a text
// is never read as a response code.
func (e *Encoder) Text(s string) *Encoder {
	if s != "" && s[0] == '[' {
		e.SP()
	}
	for len(s) > 0 && e.err == nil {
		n := min(len(s), writeSize/2)
		if e.room(n) {
			for i := range n {
				e.buf = append(e.buf, printable(s[i]))
			}
		}
		s = s[n:]
	}
	return e
}

func printable(b byte) byte {
	if b < ' ' || b == 0x7f {
		return ' '
	}
	return b
}

// Code appends a response code and a space: "[NAME args] ", where args, which
// may be empty, are in the form of the wire without "]" and line ends.
func (e *Encoder) Code(name imap.Code, args string) *Encoder {
	e.Special('[').word(string(name), classAtom)
	if args != "" {
		e.SP().word(args, classCode)
	}
	return e.RawString("] ")
}

// LiteralHeader announces a literal; its size bytes are then given to Write,
// before any other token. A client may wait here for the server.
func (e *Encoder) LiteralHeader(size int64) *Encoder { return e.literalHeader("", size) }

func (e *Encoder) literalHeader(prefix string, size int64) *Encoder {
	if size < 0 {
		return e.fail(fmt.Errorf("%w: literal of %d bytes", ErrNotSendable, size))
	}
	e.RawString(prefix).Special('{').Number64(uint64(size))
	nonSync := e.Wait != nil && size <= e.NonSync
	if nonSync {
		e.Special('+')
	}
	e.RawString("}\r\n")
	if e.Wait != nil && !nonSync {
		e.waitForServer()
	}
	if e.err == nil && size > 0 {
		e.left, e.err = size, errCounting
	}
	return e
}

// waitForServer ends the line with the error of Wait: the server has refused,
// so nothing of the line is missing.
func (e *Encoder) waitForServer() {
	if e.write(); e.err != nil {
		return
	}
	if err := e.Wait(); err != nil {
		e.failed, e.err = err, err
	}
}

// writable reports whether content of a literal is expected.
func (e *Encoder) writable() bool { return e.err == errCounting }

// roomForLiteral is room inside of a literal.
func (e *Encoder) roomForLiteral(n int) bool {
	e.err = nil
	ok := e.room(n)
	if ok {
		e.err = errCounting
	}
	return ok
}

// count notes that n bytes of the literal are appended.
func (e *Encoder) count(n int) {
	if e.left -= int64(n); e.left == 0 && e.writable() {
		e.err = nil
	}
}

// Write appends content of the literal that was announced. More of it than
// was announced is refused and breaks the connection.
func (e *Encoder) Write(p []byte) (int, error) {
	if int64(len(p)) > e.left && e.Err() == nil {
		e.breakOff(fmt.Errorf("%w: literal has more bytes than announced", ErrNotSendable))
	}
	done := 0
	for done < len(p) && e.writable() {
		n := min(len(p)-done, writeSize)
		if e.roomForLiteral(n) {
			e.buf = append(e.buf, p[done:done+n]...)
			done += n
			e.count(n)
		}
	}
	if done < len(p) {
		return done, e.Err()
	}
	return done, nil
}

// Literal announces a literal of size bytes and copies them from r. NUL
// becomes 0x80, because a literal may not hold it (RFC 9051 section 9, CHAR8).
// If r gives fewer bytes, the connection is broken: what was announced cannot
// be taken back, and must not be made up.
func (e *Encoder) Literal(size int64, r io.Reader) *Encoder {
	return e.LiteralHeader(size).copyLiteral(r, false)
}

// Literal8 is Literal as a literal8, in which NUL stays.
func (e *Encoder) Literal8(size int64, r io.Reader) *Encoder {
	return e.literalHeader("~", size).copyLiteral(r, true)
}

// copyLiteral reads into the buffer what is missing from the literal.
func (e *Encoder) copyLiteral(r io.Reader, binary bool) *Encoder {
	for empty := 0; e.writable(); {
		if len(e.buf) == cap(e.buf) && !e.roomForLiteral(1) {
			return e
		}
		free := e.buf[len(e.buf):cap(e.buf)]
		n, err := r.Read(free[:min(int64(len(free)), e.left)])
		if !binary {
			hideNUL(free[:n])
		}
		e.buf = e.buf[:len(e.buf)+n]
		e.count(n)
		if n > 0 {
			empty = 0
		} else if empty++; empty > 100 && err == nil {
			err = io.ErrNoProgress
		}
		if err != nil && e.writable() {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			err = fmt.Errorf("read literal, %d bytes missing: %w", e.left, err)
			e.left, e.err = 0, nil
			return e.fail(err)
		}
	}
	return e
}

func hideNUL(b []byte) {
	for {
		i := bytes.IndexByte(b, 0)
		if i < 0 {
			return
		}
		b[i] = 0x80
		b = b[i+1:]
	}
}
