package imapwire

import (
	"bytes"
	"io"
	"sync"

	"github.com/roost-mail/roost/imap"
)

// readSize is the size of a read buffer. Literals that are read in larger
// pieces go around it.
const readSize = 64 << 10

// lookBack is how much of the consumed line always stays in the buffer, so
// that SkipLine sees the literal header before a line end, whoever read it.
const lookBack = 32

var readBuffers = sync.Pool{New: func() any { return new([readSize]byte) }}

// Decoder reads IMAP tokens. See the package comment for how to call it.
//
// An error of Err is an *imap.Error if the peer broke the grammar or a limit:
// SkipLine then goes on behind the line. Every other error is from the reader
// or a mistake of the caller, and ends the connection.
type Decoder struct {
	// ContinueFunc is set by servers: it tells the client to send the literal
	// it has announced, and flushes. While it is nil, literals are taken to
	// follow their header at once, as they do in responses.
	ContinueFunc func() error

	// UTF8 says that mailbox names come as UTF-8 and not as modified UTF-7.
	// RFC 6855 section 3.
	UTF8 bool

	r   io.Reader
	lim Limits
	buf *[readSize]byte // nil while nothing is buffered and nothing is read
	pos int             // buf[pos:end] is unread
	end int
	seg int // where in buf the line begins, or goes on behind a literal

	line  int   // bytes of this line so far, without the contents of literals
	held  int64 // bytes of this line's literals in memory
	depth int   // lists that are open
	begun bool  // the line has been looked at: SkipLine has something to skip

	err     error // of this line
	broken  error // of the connection
	readErr error // came with the last bytes of a Read; reported after them
	lit     *LiteralReader
	scratch []byte // a token that does not lie in buf in one piece
	one     [1]byte
}

// NewDecoder reads from r. It borrows a buffer when it first reads.
func NewDecoder(r io.Reader, lim Limits) *Decoder {
	return &Decoder{r: r, lim: lim.withDefaults()}
}

// Reset goes on with another reader, as after STARTTLS. What was buffered, the
// line that was begun and any error are dropped; ContinueFunc and UTF8 stay.
func (d *Decoder) Reset(r io.Reader) {
	d.putBuffer()
	*d = Decoder{ContinueFunc: d.ContinueFunc, UTF8: d.UTF8, r: r, lim: d.lim}
}

// SetLimits changes what the lines are bound by that follow.
func (d *Decoder) SetLimits(lim Limits) { d.lim = lim.withDefaults() }

// Err is the first error since the last SkipLine.
func (d *Decoder) Err() error { return d.err }

// Fail makes err the error of the current line unless it has one. It serves
// callers whose own checks belong into the same chain as the tokens.
func (d *Decoder) Fail(err error) {
	if d.err == nil {
		d.err = err
	}
}

// Expect makes a syntax error of a token that was not there: "Expected" what.
// It returns ok.
func (d *Decoder) Expect(ok bool, what string) bool {
	if !ok {
		d.failSyntax("Expected %s", what)
	}
	return ok
}

func (d *Decoder) failSyntax(format string, args ...any) bool {
	if d.err == nil {
		d.begun = true
		d.err = imap.BadCommand(format, args...)
	}
	return false
}

func (d *Decoder) failLimit(code imap.Code, text string) bool {
	if d.err == nil {
		d.begun = true
		d.err = &imap.Error{Code: code, Text: text, Err: ErrTooLong, Bad: true}
	}
	return false
}

// failBroken ends the connection's input for good.
func (d *Decoder) failBroken(err error) bool {
	if d.broken == nil {
		d.broken = err
	}
	d.err = d.broken
	return false
}

// Buffered is the number of bytes that were read but not yet parsed.
func (d *Decoder) Buffered() int { return d.end - d.pos }

// BufferedLine is the line that comes next, with its end, if all of it is
// buffered. Nothing is consumed; it is nil in the middle of a line.
func (d *Decoder) BufferedLine() []byte {
	if d.begun || d.lit != nil || d.err != nil || d.pos == d.end {
		return nil
	}
	rest := d.buf[d.pos:d.end]
	return rest[:bytes.IndexByte(rest, '\n')+1]
}

// TakeLine consumes the line that BufferedLine has shown. What it was shown stays
// valid until the next read.
func (d *Decoder) TakeLine() {
	d.pos += len(d.BufferedLine())
	d.lineEnd()
}

// FillMore reads once, behind what is buffered, if that is little. Its error
// does not stick.
func (d *Decoder) FillMore() error {
	if d.broken != nil || d.Buffered() > readSize/2 {
		return d.broken
	}
	return d.more()
}

// Fill makes sure that something is buffered, and reads once if nothing is.
// Its error does not stick: after a deadline has passed it can be called again.
func (d *Decoder) Fill() error {
	if d.broken != nil || d.pos < d.end {
		return d.broken
	}
	return d.more()
}

// WaitInput is Fill for a wait that may be long: it holds no buffer meanwhile.
// It costs one Read more than Fill.
func (d *Decoder) WaitInput() error {
	d.Release()
	if d.broken != nil || d.buf != nil || d.readErr != nil {
		return d.Fill()
	}
	n, err := d.r.Read(d.one[:])
	if n == 0 {
		return err
	}
	d.readErr = err
	d.buf = readBuffers.Get().(*[readSize]byte)
	d.buf[0], d.end = d.one[0], 1
	return nil
}

// Release returns the buffer to the pool if it holds nothing: no unread bytes
// and no part of a line. The next read borrows one again.
func (d *Decoder) Release() {
	if d.begun || d.pos < d.end {
		return
	}
	d.putBuffer()
}

func (d *Decoder) putBuffer() {
	if d.buf != nil {
		readBuffers.Put(d.buf)
	}
	d.buf, d.pos, d.end, d.seg = nil, 0, 0, 0
	d.scratch = nil
}

// TakeBuffered takes what was read but not parsed out of the decoder, for
// whoever reads the connection from now on.
func (d *Decoder) TakeBuffered() []byte {
	var rest []byte
	if d.pos < d.end {
		rest = append(rest, d.buf[d.pos:d.end]...)
	}
	d.putBuffer()
	return rest
}

// more reads at least one byte behind the unread ones, of which there are few.
func (d *Decoder) more() error {
	if err := d.readErr; err != nil {
		d.readErr = nil
		return err
	}
	if d.buf == nil {
		d.buf = readBuffers.Get().(*[readSize]byte)
	}
	keep := min(lookBack, d.pos-d.seg)
	d.end = copy(d.buf[:], d.buf[d.pos-keep:d.end])
	d.pos, d.seg = keep, 0
	for range 100 {
		n, err := d.r.Read(d.buf[d.end:])
		if n > 0 {
			d.end += n
			d.readErr = err
			return nil
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

// need makes at least n bytes unread, n being at most a few. It fails the
// line if that cannot be. It is small enough to be inlined.
func (d *Decoder) need(n int) bool {
	return d.err == nil && d.lit == nil && d.end-d.pos >= n || d.needMore(n)
}

func (d *Decoder) needMore(n int) bool {
	if d.err != nil {
		return false
	}
	if d.lit != nil {
		return d.failBroken(ErrLiteralOpen)
	}
	for d.end-d.pos < n {
		if err := d.more(); err != nil {
			if d.begun || d.pos < d.end {
				err = noEOF(err)
			}
			return d.failBroken(err)
		}
	}
	return true
}

// PeekByte is the next byte, which is not consumed.
func (d *Decoder) PeekByte() (b byte, ok bool) {
	if !d.need(1) {
		return 0, false
	}
	return d.buf[d.pos], true
}

// next reports whether the next byte is in c.
func (d *Decoder) next(c class) bool {
	return d.need(1) && classOf[d.buf[d.pos]]&c != 0
}

// advance consumes n unread bytes of the line.
func (d *Decoder) advance(n int) bool {
	d.pos += n
	d.line += n
	d.begun = true
	if d.line > d.lim.Line {
		return d.failLimit(imap.CodeNone, "Line is too long")
	}
	return true
}

// span consumes a run of bytes in c, which may be empty. The result is valid
// until the next call. It is nil after an error.
func (d *Decoder) span(c class) []byte {
	if !d.need(1) {
		return nil
	}
	run := d.run(c)
	if d.pos+len(run) < d.end {
		d.advance(len(run))
		return run
	}
	d.scratch = d.scratch[:0]
	for {
		d.scratch = append(d.scratch, run...)
		if !d.advance(len(run)) || !d.need(1) {
			return nil
		}
		if d.pos < d.end && classOf[d.buf[d.pos]]&c == 0 {
			return d.scratch
		}
		run = d.run(c)
	}
}

// run is what is unread and in c, as far as it is buffered.
func (d *Decoder) run(c class) []byte {
	rest := d.buf[d.pos:d.end]
	for i, b := range rest {
		if classOf[b]&c == 0 {
			return rest[:i]
		}
	}
	return rest
}

// lineEnd is called behind the last byte of a line.
func (d *Decoder) lineEnd() {
	d.seg = d.pos
	d.line, d.held, d.depth, d.begun, d.lit = 0, 0, 0, false, nil
	if cap(d.scratch) > readSize {
		d.scratch = nil
	}
}
