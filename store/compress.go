package store

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"runtime"
	"slices"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/roost-mail/roost/imap"
)

// The codings of a body.
const (
	codingPlain = 0
	codingZstd  = 1 // one frame of RFC 8878, with its checksum
)

const (
	// zstdWindow bounds what a decoder keeps in memory: a frame that asks for more is refused.
	zstdWindow = 1 << 20
	// minCompress is the size of a message for which compression is tried.
	minCompress = 256
)

// codec compresses bodies and reads them again. Encoders are few, and wait for
// nobody while they are in use; a decoder belongs to who reads a message.
type codec struct {
	level    zstd.EncoderLevel // 0: nothing is compressed
	encoders chan *zstd.Encoder
	decoders sync.Pool
}

// newCodec makes a codec for one of zstd's levels 1 to 22, or 0.
func newCodec(level int) *codec {
	c := &codec{encoders: make(chan *zstd.Encoder, runtime.GOMAXPROCS(0))}
	if level > 0 {
		c.level = zstd.EncoderLevelFromZstd(level)
	}
	for range cap(c.encoders) {
		c.encoders <- nil
	}
	return c
}

// encoder takes an encoder, which goes back into c.encoders.
func (c *codec) encoder() (*zstd.Encoder, error) {
	if e := <-c.encoders; e != nil {
		return e, nil
	}
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(c.level), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(zstdWindow), zstd.WithEncoderCRC(true), zstd.WithLowerEncoderMem(true))
	if err != nil {
		c.encoders <- nil
	}
	return e, err
}

// decoder takes a decoder. free gives it back.
func (c *codec) decoder() (*zstd.Decoder, error) {
	if d, is := c.decoders.Get().(*zstd.Decoder); is {
		return d, nil
	}
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(zstdWindow))
}

func (c *codec) free(d *zstd.Decoder) {
	if d.Reset(nil) == nil { // lets go of what it read from
		c.decoders.Put(d)
	}
}

// worth is the size that a compressed message of n bytes must stay below.
func worth(n int64) int64 { return n - n/16 }

// compress makes a body smaller, if that is configured and wins. It returns the
// body to be written, and its coding.
func (s *spooler) compress(body *spool) (*spool, uint64, error) {
	c := s.disk.codec
	if c.level == 0 || body.size < minCompress {
		return body, codingPlain, nil
	}
	e, err := c.encoder()
	if err != nil {
		return nil, 0, unavailable(err)
	}
	defer func() { c.encoders <- e }()
	if body.file == nil {
		small := e.EncodeAll(body.mem, make([]byte, 0, len(body.mem)/2))
		if int64(len(small)) >= worth(body.size) {
			return body, codingPlain, nil
		}
		return &spool{mem: small, size: int64(len(small)), sum: checksum(small)}, codingZstd, nil
	}
	w := &spoolWriter{file: s.file, out: spool{file: s.file, at: s.end}, limit: worth(body.size)}
	e.Reset(w)
	_, err = io.Copy(e, io.NewSectionReader(body.file, body.at, body.size))
	err = errors.Join(err, e.Close())
	e.Reset(nil)
	switch {
	case errors.Is(err, errNotWorth):
		return body, codingPlain, nil
	case err != nil:
		return nil, 0, notSpooled("compress message", err)
	}
	s.end += w.out.size
	return &w.out, codingZstd, nil
}

// errNotWorth ends a compression that does not win.
var errNotWorth = errors.New("the message does not get smaller")

// spoolWriter appends to the spool file, up to limit.
type spoolWriter struct {
	file  File
	out   spool
	limit int64
}

func (w *spoolWriter) Write(b []byte) (int, error) {
	if w.out.size+int64(len(b)) >= w.limit {
		return 0, errNotWorth
	}
	if err := writeAll(w.file, b, w.out.at+w.out.size); err != nil {
		return 0, err
	}
	w.out.size += int64(len(b))
	w.out.sum = crc32.Update(w.out.sum, castagnoli, b)
	return len(b), nil
}

// inflated is the plain bytes of a compressed body. It is made for reading
// forwards: going back begins anew. At the end the checksum is compared.
type inflated struct {
	from    io.ReaderAt // the compressed bytes
	stored  int64
	size    int64
	decoder *zstd.Decoder
	at      int64 // of the decoder
	begun   bool
	scratch []byte
}

// ReadAt implements io.ReaderAt.
func (z *inflated) ReadAt(b []byte, off int64) (n int, err error) {
	if off < 0 || off >= z.size {
		return 0, io.EOF
	}
	if !z.begun || off < z.at {
		if err := z.decoder.Reset(io.NewSectionReader(z.from, 0, z.stored)); err != nil {
			return 0, damagedStream(err)
		}
		z.begun, z.at = true, 0
	}
	if err := z.skip(off - z.at); err != nil {
		return 0, err
	}
	want := min(int64(len(b)), z.size-off)
	n, err = io.ReadFull(z.decoder, b[:want])
	z.at += int64(n)
	if err != nil {
		return n, damagedStream(err)
	}
	if z.at == z.size {
		if err := z.end(); err != nil {
			return 0, err
		}
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (z *inflated) skip(n int64) error {
	if n > 0 && z.scratch == nil {
		z.scratch = make([]byte, 32<<10)
	}
	for n > 0 {
		done, err := io.ReadFull(z.decoder, z.scratch[:min(n, int64(len(z.scratch)))])
		z.at += int64(done)
		n -= int64(done)
		if err != nil {
			return damagedStream(err)
		}
	}
	return nil
}

// end makes sure that the frame ends where it should, and that its checksum fits.
func (z *inflated) end() error {
	var one [1]byte
	switch n, err := z.decoder.Read(one[:]); {
	case n == 0 && errors.Is(err, io.EOF):
		z.begun = false
		return nil
	case n > 0:
		return damagedStream(fmt.Errorf("more than %d bytes", z.size))
	default:
		return damagedStream(err)
	}
}

// damagedStream is what a client hears of a body that can't be decoded.
func damagedStream(err error) error {
	if imap.CodeOf(err) == imap.CodeUnavailable {
		return err
	}
	return imap.Wrap(imap.CodeCorruption, "Message is damaged", fmt.Errorf("%w: %w", errDamaged, err))
}

// inflate is the plain bytes of a small compressed body.
func (c *contents) inflate(stored []byte, size int64) ([]byte, error) {
	z, err := c.inflated(bytes.NewReader(stored), int64(len(stored)), size)
	if err != nil {
		return nil, err
	}
	mem := make([]byte, size)
	if size > 0 {
		_, err = z.ReadAt(mem, 0)
	}
	return mem, err
}

// inflated reads a compressed body with the decoder that c holds until its close.
func (c *contents) inflated(from io.ReaderAt, stored, size int64) (*inflated, error) {
	if c.decoder == nil {
		d, err := c.account.disk.codec.decoder()
		if err != nil {
			return nil, unavailable(err)
		}
		c.decoder = d
	}
	return &inflated{from: from, stored: stored, size: size, decoder: c.decoder}, nil
}

// packed is how many bytes of messages were put into a segment, before and after
// compression.
type packed struct{ plain, stored uint64 }

// pack notes that a message was put at a place.
func (s *state) pack(at place, size uint32) {
	p := s.packs[at.seg]
	p.plain += uint64(size)
	p.stored += uint64(at.body)
	s.packs[at.seg] = p
}

// storedLive is about how many bytes in a segment are in use.
func (s *state) storedLive(seg uint32) int64 {
	live, p := s.live[seg], s.packs[seg]
	if p.plain == 0 {
		return int64(live)
	}
	return int64(float64(live) * float64(p.stored) / float64(p.plain))
}

func (s *state) encodePacks(e *encoder) {
	for _, seg := range slices.Sorted(maps.Keys(s.packs)) {
		if p := s.packs[seg]; p.plain != p.stored {
			e.uint(uint64(seg))
			e.uint(p.plain)
			e.uint(p.stored)
		}
	}
}

func (s *state) decodePacks(d *decoder) {
	for len(d.buf) > 0 && d.err == nil {
		seg := d.uint32()
		s.packs[seg] = packed{plain: d.uint(), stored: d.uint()}
	}
}
