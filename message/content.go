package message

import (
	"errors"
	"io"

	"github.com/roost-mail/roost/imap"
)

// ErrUnknownEncoding says that a part can't be shown without its transfer
// encoding, because that is not known.
var ErrUnknownEncoding = errors.New("unknown content transfer encoding")

// Content is a section as FETCH BINARY shows it: without its content transfer
// encoding (RFC 3516 section 4.3).
type Content struct {
	off, length int64
	encoding    Encoding
}

// Content finds BINARY[path]. It is not ok if there is no such part. What is
// not a leaf has no transfer encoding of its own (RFC 2045 section 6.4), and
// shows as BODY[path] does.
func (d *Digest) Content(path []int) (c Content, ok bool) {
	off, length, ok := d.Section(path, imap.SectionAll)
	if !ok {
		return Content{}, false
	}
	c = Content{off: off, length: length}
	if i, ok := d.Find(path); ok && len(path) > 0 && d.Parts[i].Kind == KindLeaf {
		c.encoding = d.Parts[i].Encoding
	}
	return c, true
}

// ContentAs is the content of length bytes that have the encoding of part 1 of
// d, the digest of a header.
func (d *Digest) ContentAs(length int64) Content {
	c := Content{length: length}
	if d.Parts[0].Kind == KindLeaf {
		c.encoding = d.Parts[0].Encoding
	}
	return c
}

// Size is how many bytes there are without the encoding. Unless the encoding is
// none it reads the part once, in r, the message.
func (c Content) Size(r io.ReaderAt) (int64, error) {
	n, _, err := c.Range(r, 0, c.length)
	return n, err
}

// Range is what there is of the bytes from offset from on, at most count of
// them: how many, and a reader that yields just those. The part is decoded as
// far as that twice, a piece at a time, as the length has to be told first.
func (c Content) Range(r io.ReaderAt, from, count int64) (n int64, body io.Reader, err error) {
	from = min(from, c.length) // decoding never makes more of it
	count = min(count, c.length)
	switch c.encoding {
	case EncodingUnknown:
		return 0, nil, ErrUnknownEncoding
	case EncodingIdentity:
		n = min(count, c.length-from)
		return n, io.NewSectionReader(r, c.off+from, n), nil
	}
	have, err := io.Copy(io.Discard, io.LimitReader(c.reader(r), from+count))
	if err != nil {
		return 0, nil, err
	}
	n = max(have-from, 0)
	return n, io.LimitReader(&skipping{c.reader(r), from}, n), nil
}

// skipping passes over the first bytes, when it is first read.
type skipping struct {
	io.Reader
	skip int64
}

func (s *skipping) Read(p []byte) (int, error) {
	if s.skip > 0 {
		skip := s.skip
		s.skip = 0
		if _, err := io.CopyN(io.Discard, s.Reader, skip); err != nil {
			return 0, err
		}
	}
	return s.Reader.Read(p)
}

func (c Content) reader(r io.ReaderAt) io.Reader {
	return &contentReader{r: r, off: c.off, end: c.off + c.length, transfer: transferDecoder{encoding: c.encoding}}
}

// contentReader decodes a piece at a time.
type contentReader struct {
	r        io.ReaderAt
	off, end int64 // what is to be read yet
	transfer transferDecoder
	raw      []byte
	decoded  []byte
	rest     []byte // of decoded
}

func (c *contentReader) Read(p []byte) (int, error) {
	for len(c.rest) == 0 {
		if c.off == c.end {
			return 0, io.EOF
		}
		n := int(min(chunkSize, c.end-c.off))
		c.raw = grow(c.raw[:0], n)[:n]
		if err := readFull(c.r, c.raw, c.off); err != nil {
			return 0, err
		}
		c.off += int64(n)
		c.decoded = c.transfer.decode(c.decoded[:0], c.raw, c.off == c.end)
		c.rest = c.decoded
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}
