package imapserver

import (
	"bytes"
	"context"
	"io"
	"strings"
	"sync"

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
		s.deflated = &deflated{stream: &s.stream, early: early}
		s.dec.Reset(s.deflated)
		s.enc.Reset(s.deflated)
		return nil
	}
	return nil
}

// deflated is a stream with compression on it. Like the stream it belongs to the
// session's goroutine, and holds little while the session is idle: the tables
// of the inflater are handed back, and what it needs to go on is kept, which is the
// text that the client has sent, up to inflateWindow of it. Only in the middle
// of a block with codes of its own, where a client has not flushed or has with
// zlib's Z_BLOCK, they stay. Nothing is kept for what we send: each piece is
// compressed on its own.
//
// Whatever a client's bytes inflate to, they are inflated as the session reads
// them, and its limits are those of any command.
type deflated struct {
	stream   *stream
	early    []byte // compressed, read ahead of the stream
	inflater inflater
	window   []byte // while the inflater has no tables: what was inflated last
}

var inflateTablesPool = sync.Pool{New: func() any { return new(inflateTables) }}

// Read is the Decoder's source. A wait for a single byte is one between commands.
func (d *deflated) Read(p []byte) (int, error) {
	for {
		if t := d.inflater.tables; t != nil {
			if err := d.inflate(t); err != nil {
				return 0, err
			}
			if t.next < t.end {
				n := copy(p, t.out[t.next:t.end])
				t.next += n
				return n, nil
			}
			if d.inflater.mode == endOfInput {
				return 0, io.EOF
			}
		}
		if len(p) == 1 {
			d.rest()
		}
		if err := d.await(len(p) == 1); err != nil {
			return 0, err
		}
	}
}

// inflate goes on when all was given out, with a window before what is to come.
func (d *deflated) inflate(t *inflateTables) error {
	if t.next < t.end {
		return nil
	}
	if t.end > len(t.out)-inflateWindow/2 {
		t.end = copy(t.out[:], t.out[t.end-inflateWindow:t.end])
		t.next = t.end
	}
	return d.inflater.run()
}

// await reads compressed bytes; if the wait may be long, with no buffer. Its
// errors leave the inflater alone: the session may have been woken.
func (d *deflated) await(long bool) error {
	z := &d.inflater
	var first [1]byte
	n := 0
	if long || z.tables == nil {
		var err error
		if n, err = d.readRaw(first[:]); n == 0 {
			return err
		}
		d.resume()
	}
	raw := z.tables.raw[:]
	held := copy(raw, z.in)
	if n > 0 {
		raw[held] = first[0]
		n += copy(raw[held+1:], d.stream.takeAhead())
	} else {
		var err error
		if n, err = d.readRaw(raw[held:]); n == 0 {
			return err
		}
	}
	z.in = raw[:held+n]
	return nil
}

func (d *deflated) readRaw(p []byte) (int, error) {
	if len(d.early) > 0 {
		n := copy(p, d.early)
		d.early = d.early[n:]
		return n, nil
	}
	return d.stream.Read(p)
}

// resume takes tables, and makes the inflater go on where it ended.
func (d *deflated) resume() {
	if d.inflater.tables != nil {
		return
	}
	t := inflateTablesPool.Get().(*inflateTables)
	t.end = copy(t.out[:], d.window)
	t.next = t.end
	d.inflater.tables, d.window = t, nil
}

// rest hands the tables back if they are not needed to go on.
func (d *deflated) rest() {
	z := &d.inflater
	if z.tables == nil || z.mode == inDynamic || len(z.in) > 0 {
		return
	}
	t := z.tables
	d.window = bytes.Clone(t.out[max(t.end-inflateWindow, 0):t.end])
	z.tables, z.in = nil, nil
	inflateTablesPool.Put(t)
}

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
