package imapserver

import (
	"bytes"
	stdflate "compress/flate"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/flate"

	"github.com/roost-mail/roost/imap"
)

// compress is COMPRESS. RFC 4978. It comes after the login, so that a director
// hands it on like everything else, and STARTTLS can't come behind it.
func (s *session) compress(_ context.Context, cmd *command) error {
	var name string
	if !s.dec.ExpectSP() || !s.dec.ExpectAtom(&name) || !s.dec.ExpectCRLF() {
		return s.dec.Err()
	}
	switch {
	case !strings.EqualFold(name, "DEFLATE"):
		return imap.BadCommand("Unknown compression mechanism")
	case s.deflated != nil:
		return imap.BadCommand("COMPRESS is already active")
	}
	cmd.after = func() error {
		if err := s.flush(); err != nil {
			return err
		}
		// What came behind the command can only be compressed.
		early := bytes.Clone(append(s.dec.TakeBuffered(), s.stream.takeAhead()...))
		s.deflated = &deflated{stream: s.stream, early: early}
		s.dec.Reset(s.deflated)
		s.enc.Reset(s.deflated)
		return nil
	}
	return nil
}

// deflated is a stream with compression on it. Like the stream it belongs to the
// session's goroutine, and holds little while the session is idle: the inflater
// is handed back, and what it needs to go on is kept, which is the text that
// the client has sent, up to inflateWindow of it. Nothing is kept for what we
// send: each piece is compressed on its own.
//
// Whatever a client's bytes inflate to, they are inflated as the session reads
// them, and its limits are those of any command.
type deflated struct {
	stream   *stream
	early    []byte    // compressed, read ahead of the stream
	inflater *inflater // nil while idle
	window   []byte    // while idle: what was inflated last
}

// inflateWindow is how far back compressed bytes may refer.
const inflateWindow = 32 << 10

// inflater is what the reading of compressed bytes takes.
type inflater struct {
	flate    io.Reader
	stream   *deflated
	in       [4096]byte // compressed
	from, to int        // of in: not inflated yet
	tail     [4]byte    // the last compressed bytes that were inflated
	waiting  bool       // the session waits for a command

	// out[:next] has been given out, out[next:end] not yet. It has room for a
	// window behind another one: less than that was asked for is all there is.
	out       [2*inflateWindow + 1]byte
	next, end int
}

var inflaters = sync.Pool{New: func() any {
	i := &inflater{}
	i.flate = stdflate.NewReader(i)
	return i
}}

// Read is the Decoder's source. A wait for a single byte is one between commands.
func (d *deflated) Read(p []byte) (int, error) {
	i := d.inflater
	for i == nil || i.next == i.end {
		if i != nil && len(p) == 1 && i.mayRest() { // the flate reader may have failed with errAtRest
			d.rest()
			i = nil
		}
		if i == nil || i.from == i.to {
			if err := d.await(len(p) == 1); err != nil {
				return 0, err
			}
		}
		i = d.inflater
		i.waiting = len(p) == 1
		if err := i.inflate(); err != nil && !errors.Is(err, errAtRest) {
			return 0, err
		}
	}
	n := copy(p, i.out[i.next:i.end])
	i.next += n
	return n, nil
}

// await reads compressed bytes; if the wait may be long, with no buffer. Its
// errors leave the inflater alone: the session may have been woken.
func (d *deflated) await(long bool) error {
	var first [1]byte
	n := 0
	if long && len(d.early) == 0 || d.inflater == nil {
		var err error
		if n, err = d.readRaw(first[:]); n == 0 {
			return err
		}
	}
	if d.inflater == nil {
		d.resume()
	}
	i := d.inflater
	i.from, i.to = 0, copy(i.in[:], first[:n])
	if n > 0 {
		return nil
	}
	n, err := d.readRaw(i.in[:])
	i.to = n
	if n > 0 {
		return nil
	}
	return err
}

func (d *deflated) readRaw(p []byte) (int, error) {
	if len(d.early) > 0 {
		n := copy(p, d.early)
		d.early = d.early[n:]
		return n, nil
	}
	return d.stream.Read(p)
}

// resume takes an inflater, and makes it go on where the last one ended.
func (d *deflated) resume() {
	i := inflaters.Get().(*inflater)
	i.stream = d
	i.end = copy(i.out[:], d.window)
	i.next, i.from, i.to = i.end, 0, 0
	_ = i.flate.(stdflate.Resetter).Reset(i, d.window) // has no error
	d.inflater, d.window = i, nil
}

// rest hands the inflater back.
func (d *deflated) rest() {
	i := d.inflater
	d.window = bytes.Clone(i.out[max(i.next-inflateWindow, 0):i.next])
	i.stream = nil
	inflaters.Put(i)
	d.inflater = nil
}

// mayRest reports whether all that came was inflated, up to where a block ends:
// a sender's flush ends with an empty block (RFC 1951 section 3.2.4).
func (i *inflater) mayRest() bool {
	return i.from == i.to && i.tail == [4]byte{0, 0, 0xff, 0xff}
}

// inflate reads what the flate reader has, which is nothing if it wants more
// compressed bytes and those did not end with a flush.
func (i *inflater) inflate() error {
	if len(i.out)-i.end <= inflateWindow {
		keep := max(i.end-inflateWindow, 0)
		i.end = copy(i.out[:], i.out[keep:i.end])
		i.next = i.end
	}
	n, err := i.flate.Read(i.out[i.end:])
	i.end += n
	if n > 0 {
		return nil
	}
	return err
}

// Read is for who does not read byte by byte.
func (i *inflater) Read(p []byte) (int, error) {
	if i.from == i.to {
		if err := i.more(); err != nil {
			return 0, err
		}
	}
	n := copy(p, i.in[i.from:i.to])
	for _, b := range p[:n] {
		i.note(b)
	}
	i.from += n
	return n, nil
}

// ReadByte is the flate reader's source.
func (i *inflater) ReadByte() (byte, error) {
	if i.from == i.to {
		if err := i.more(); err != nil {
			return 0, err
		}
	}
	b := i.in[i.from]
	i.from++
	i.note(b)
	return b, nil
}

func (i *inflater) note(b byte) { i.tail = [4]byte{i.tail[1], i.tail[2], i.tail[3], b} }

// errAtRest ends an inflater that has nothing to do: a client flushed nothing.
var errAtRest = errors.New("nothing more was sent")

// more reads the rest of what has come in part. An error here is the end of the
// connection, so this wait is not ended by a wake or a keepalive.
func (i *inflater) more() error {
	if i.waiting && i.mayRest() {
		return errAtRest
	}
	s := i.stream.stream
	until := s.until
	s.until = time.Time{}
	defer func() { s.until = until }()
	n, err := i.stream.readRaw(i.in[:])
	i.from, i.to = 0, n
	switch {
	case n > 0:
		return nil
	case errors.Is(err, errTimeout):
		return errStalled
	}
	return err
}

// errStalled is a block that came in part: the connection can't go on, as it can
// after a wait between commands.
var errStalled = errors.New("compressed block came in part")

var deflateBuffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// Write is the Encoder's sink.
func (d *deflated) Write(p []byte) (int, error) {
	buf := deflateBuffers.Get().(*bytes.Buffer)
	defer deflateBuffers.Put(buf)
	buf.Reset()
	if err := flate.StatelessDeflate(buf, p, false, nil); err != nil {
		return 0, err
	}
	if _, err := d.stream.Write(buf.Bytes()); err != nil {
		return 0, err
	}
	return len(p), nil
}
