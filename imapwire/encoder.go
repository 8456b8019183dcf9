package imapwire

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	"github.com/roost-mail/roost/imap"
)

const writeSize = 64 << 10

var writeBuffers = sync.Pool{New: func() any { return new([writeSize]byte) }}

// ErrNotSendable is a value that its token cannot hold, such as an atom with a
// line end in it: a mistake of the caller.
var ErrNotSendable = errors.New("value cannot be sent")

// errCounting stands in Encoder.err while a literal is being written.
var errCounting = errors.New("literal is not complete")

// Encoder writes IMAP tokens. All methods that give the Encoder can be chained.
//
// The first error stays until Flush. An error of a value, or of the reader of a
// literal, takes its whole line
// back, also what is appended up to CRLF, and the lines around it are sent; if
// a part of the line has already left, and after every error of the writer,
// the connection is broken and Flush gives that error ever after.
type Encoder struct {
	// UTF8 says that the peer takes UTF-8 in quoted strings and mailbox names.
	// RFC 6855 section 3.
	UTF8 bool

	// Wait is set by clients. A literal is then sent only after Wait has
	// returned nil, which it does when the server's continuation request has
	// come. Its error ends the line where it is: nothing more is sent of it.
	// With LITERAL+ (RFC 7888) in use, NonSync is the greatest literal for
	// which the client need not wait; for LITERAL- it is 4096.
	Wait    func() error
	NonSync int64

	w      io.Writer
	buf    []byte // nil or of writeSize capacity, from writeBuffers
	mark   int    // where in buf the current line begins
	left   int64  // bytes that are missing from an announced literal
	parted bool   // the beginning of the current line has been written
	err    error  // what appenders look at: lineErr, broken or errCounting
	failed error  // the first error of a line since Flush
	broken error
}

// NewEncoder writes to w, but nothing before Flush or a full buffer.
func NewEncoder(w io.Writer) *Encoder { return &Encoder{w: w} }

// Reset goes on with another writer, as after STARTTLS. It drops what was not
// flushed; UTF8, Wait and NonSync stay.
func (e *Encoder) Reset(w io.Writer) {
	e.release()
	*e = Encoder{UTF8: e.UTF8, Wait: e.Wait, NonSync: e.NonSync, w: w}
}

// Err is the error that the next Flush will give, as far as it is known.
func (e *Encoder) Err() error {
	if e.broken != nil {
		return e.broken
	}
	return e.failed
}

// Buffered is the number of bytes that were not yet written.
func (e *Encoder) Buffered() int { return len(e.buf) }

// Flush writes what is buffered and gives the buffer back. It may be called
// inside of a line.
func (e *Encoder) Flush() error {
	e.write()
	err := e.Err()
	e.failed = nil
	if e.broken == nil {
		e.release()
	}
	return err
}

func (e *Encoder) release() {
	if e.buf != nil {
		writeBuffers.Put((*[writeSize]byte)(e.buf[:writeSize]))
		e.buf = nil
	}
	e.mark = 0
}

// write empties the buffer.
func (e *Encoder) write() {
	if e.broken != nil || len(e.buf) == 0 {
		return
	}
	e.parted = e.parted || len(e.buf) > e.mark
	if _, err := e.w.Write(e.buf); err != nil {
		e.breakOff(err)
		return
	}
	e.buf, e.mark = e.buf[:0], 0
}

// breakOff ends the connection's output for good.
func (e *Encoder) breakOff(err error) *Encoder {
	if e.broken == nil {
		e.broken = err
	}
	e.err = e.broken
	e.release()
	return e
}

// fail ends the current line: it is taken back or the connection breaks.
func (e *Encoder) fail(err error) *Encoder {
	if e.err != nil {
		return e.stuck()
	}
	if e.parted {
		return e.breakOff(err)
	}
	e.buf = e.buf[:e.mark]
	if e.failed == nil {
		e.failed = err
	}
	e.err = err
	return e
}

// stuck is where appenders go that find an error. Only a token in place of
// the bytes of a literal makes it worse.
func (e *Encoder) stuck() *Encoder {
	if e.err == errCounting {
		return e.breakOff(fmt.Errorf("%d bytes missing: %w", e.left, errCounting))
	}
	return e
}

// room makes space for n bytes, at most writeSize, unless there is an error.
func (e *Encoder) room(n int) bool {
	if e.err != nil {
		e.stuck()
		return false
	}
	if len(e.buf)+n <= cap(e.buf) {
		return true
	}
	if e.buf == nil {
		e.buf = writeBuffers.Get().(*[writeSize]byte)[:0]
		return true
	}
	e.write()
	return e.err == nil
}

// CRLF ends the line. What is appended next belongs to a new line.
func (e *Encoder) CRLF() *Encoder {
	if e.room(2) {
		e.buf = append(e.buf, '\r', '\n')
	}
	e.mark, e.parted, e.err = len(e.buf), false, e.broken
	return e
}

// SP appends a space.
func (e *Encoder) SP() *Encoder { return e.Special(' ') }

// Special appends the byte b, which is not checked.
func (e *Encoder) Special(b byte) *Encoder {
	if e.room(1) {
		e.buf = append(e.buf, b)
	}
	return e
}

// Raw appends bytes that are already in the form of the wire. They are not checked.
func (e *Encoder) Raw(b []byte) *Encoder {
	for len(b) > writeSize && e.room(writeSize) {
		e.buf = append(e.buf, b[:writeSize]...)
		b = b[writeSize:]
	}
	if e.room(len(b)) {
		e.buf = append(e.buf, b...)
	}
	return e
}

// RawString is Raw.
func (e *Encoder) RawString(s string) *Encoder {
	for len(s) > writeSize && e.room(writeSize) {
		e.buf = append(e.buf, s[:writeSize]...)
		s = s[writeSize:]
	}
	if e.room(len(s)) {
		e.buf = append(e.buf, s...)
	}
	return e
}

// AppendFunc appends what f appends to the slice it is given, as
// imap.UIDSet.AppendTo does. It is not checked.
func (e *Encoder) AppendFunc(f func([]byte) []byte) *Encoder {
	if !e.room(256) {
		return e
	}
	tail := e.buf[len(e.buf):cap(e.buf)]
	out := f(tail[:0])
	if len(out) <= len(tail) && (len(out) == 0 || &out[0] == &tail[0]) {
		e.buf = e.buf[:len(e.buf)+len(out)]
		return e
	}
	return e.Raw(out)
}

// word appends s, which must be of one or more bytes in c.
func (e *Encoder) word(s string, c class) *Encoder {
	if s == "" || !all(s, c) {
		return e.fail(fmt.Errorf("%w: %.40q", ErrNotSendable, s))
	}
	return e.RawString(s)
}

// Atom appends s, or fails if it is no atom. "[" and "]" are allowed, for
// BODY[1] and the like.
func (e *Encoder) Atom(s string) *Encoder { return e.word(s, classAtomOut) }

// Tagged begins a tagged line: tag and a space. "*" and "+" are tags here too.
func (e *Encoder) Tagged(tag string) *Encoder {
	if tag == "*" || tag == "+" {
		return e.RawString(tag).SP()
	}
	return e.word(tag, classTag).SP()
}

// Number appends n.
func (e *Encoder) Number(n uint32) *Encoder { return e.Number64(uint64(n)) }

// Number64 appends n.
func (e *Encoder) Number64(n uint64) *Encoder {
	if e.room(20) {
		e.buf = strconv.AppendUint(e.buf, n, 10)
	}
	return e
}

// Flag appends a system flag or a keyword, or fails if it is neither.
func (e *Encoder) Flag(f imap.Flag) *Encoder {
	name := string(f)
	if name == `\*` {
		return e.RawString(name)
	}
	if len(name) > 0 && name[0] == '\\' {
		name = name[1:]
	}
	if name == "" || !all(name, classKeyword) {
		return e.fail(fmt.Errorf("%w: flag %.40q", ErrNotSendable, string(f)))
	}
	return e.RawString(string(f))
}

// Flags appends a list of flags, with its parentheses.
func (e *Encoder) Flags(list []imap.Flag) *Encoder {
	e.Special('(')
	for i, f := range list {
		if i > 0 {
			e.SP()
		}
		e.Flag(f)
	}
	return e.Special(')')
}

// DateTime appends t in quotes. RFC 9051 section 9, date-time.
func (e *Encoder) DateTime(t time.Time) *Encoder {
	if e.room(40) {
		e.buf = append(e.buf, '"')
		e.buf = AppendDateTime(e.buf, t)
		e.buf = append(e.buf, '"')
	}
	return e
}

// Date appends the day of t, without quotes.
func (e *Encoder) Date(t time.Time) *Encoder {
	if e.room(40) {
		e.buf = AppendDate(e.buf, t)
	}
	return e
}
