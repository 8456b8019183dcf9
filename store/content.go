package store

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"

	"github.com/klauspost/compress/zstd"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/message"
)

// contents reads messages from the segments. Files stay open until close.
type contents struct {
	account *account
	files   map[uint32]*segmentReader
	last    *segmentReader // has the window
	window  *[]byte        // that the store has lent; nil if none was needed
	bodies  bool           // more than heads is wanted
	dense   bool           // messages are wanted in the order in which they lie
	rec     recMessage
	raw     []byte // the digest as it was read
	email   objectID
	digest  message.Digest
	coding  uint64
	size    uint32
	decoder *zstd.Decoder // of compressed messages, once there was one
	passing bool          // a content is done with when the next is opened, its readers too
	current content       // used again for each, if passing
}

// content is a message in its segment. It is valid until the next is opened.
type content struct {
	digest *message.Digest
	email  objectID
	files  *contents
	row    *seenRow
	reader *segmentReader
	off    int64 // where the body begins
	size   int64 // of the message
	coding uint64
	stored int64 // of the body, as it lies there
	sum    uint32
	mem    []byte    // the message, once it was read and is small
	plain  *inflated // the message, if it is compressed and large
}

func (c *contents) close() {
	for _, r := range c.files {
		r.file.Close() //nolint:errcheck // only read
	}
	if c.window != nil {
		c.account.store.windows.Put(c.window)
	}
	if c.decoder != nil {
		c.account.disk.codec.free(c.decoder)
	}
}

// denseGap is how far apart messages may lie to be read in one piece.
const denseGap = 16 << 10

// begin takes notice of the messages that will be opened next.
func (c *contents) begin(rows []seenRow) {
	near := 0
	for i := 1; i < len(rows); i++ {
		before, at := rows[i-1].at, rows[i].at
		gap := at.off - before.off
		if size := int64(rows[i-1].size); c.bodies && gap > size {
			gap -= size
		}
		if at.seg == before.seg && gap > 0 && gap < denseGap {
			near++
		}
	}
	c.dense = near > len(rows)/2
}

// aim has the reader read as much at once as pays for a message.
func (c *contents) aim(r *segmentReader, row *seenRow) {
	if c.last != r {
		if c.last != nil {
			r.win, c.last.win = c.last.win[:0], nil
		}
		c.last = r
	}
	r.ahead = minRead
	if c.bodies {
		r.ahead += min(int64(row.size), smallBody)
	}
	if c.dense {
		r.ahead = scanWindow
		if cap(r.win) < scanWindow && c.window == nil {
			c.window = c.account.store.windows.Get().(*[]byte)
			r.win = (*c.window)[:0]
		}
	}
}

// errExpunged says that a message went away while it was about to be read.
var errExpunged = errors.New("message was expunged")

// openRow finds a message. Its segment may have been rewritten since its place
// was looked up: then it is looked up again, once.
func (c *contents) openRow(r *seenRow) (*content, error) {
	m, err := c.open(r)
	if vanished(err) {
		c.forget(r.at.seg)
		a := c.account
		a.mu.RLock()
		b := a.st.blobs.find(r.blob)
		if b == nil || b.refs == 0 {
			a.mu.RUnlock()
			return nil, errExpunged
		}
		r.at = b.place()
		a.mu.RUnlock()
		m, err = c.open(r)
		if vanished(err) {
			a.log.Error("segment is missing", "user", a.user, "dir", a.disk.dir, "segment", r.at.seg, "uid", r.uid)
		}
	}
	if err != nil {
		return nil, unreadable(err)
	}
	m.row = r
	return m, nil
}

// forget gives up a segment that can't be read any more.
func (c *contents) forget(seg uint32) {
	if r := c.files[seg]; r != nil {
		r.file.Close() //nolint:errcheck // only read
		delete(c.files, seg)
	}
}

// open finds the message at its place.
func (c *contents) open(row *seenRow) (*content, error) {
	r, err := c.segment(row.at.seg)
	if err != nil {
		return nil, err
	}
	c.aim(r, row)
	f, head, err := c.record(r, row.at.off)
	if err != nil {
		return nil, err
	}
	digest, err := c.digestOf(f.kind, head)
	if err != nil {
		return nil, err
	}
	c.raw = append(c.raw[:0], digest...) // head goes when the body is read
	if err := c.digest.Decode(c.raw); err != nil {
		return nil, fmt.Errorf("%w: %w", errFormat, err)
	}
	m := &c.current
	if !c.passing {
		m = new(content)
	}
	*m = content{
		digest: &c.digest, email: c.email, reader: r, off: row.at.off + frameLen + f.head,
		size: int64(c.size), coding: c.coding, stored: f.body, sum: f.bodySum, files: c,
	}
	switch {
	case m.coding > codingZstd:
		return nil, fmt.Errorf("body of coding %d: %w", m.coding, errNewer)
	case m.coding == codingPlain && m.stored != m.size, m.stored > m.size:
		return nil, fmt.Errorf("%w: %d bytes, not %d", errDamaged, m.stored, m.size)
	}
	return m, nil
}

// record reads a head. The segment may have grown since it was opened.
func (c *contents) record(r *segmentReader, off int64) (frame, []byte, error) {
	f, head, err := r.record(off)
	if !errors.Is(err, errDamaged) {
		return f, head, err
	}
	size, statErr := r.file.Size()
	if statErr != nil {
		return f, nil, statErr
	}
	if size <= r.size {
		return f, nil, err
	}
	r.size, r.win = size, r.win[:0]
	return r.record(off)
}

// digestOf finds the digest in the head of a record, and sets email.
func (c *contents) digestOf(kind recordType, head []byte) ([]byte, error) {
	d := &decoder{buf: head}
	switch kind {
	case typeMessage:
		c.rec.flags.keywords = c.rec.flags.keywords[:0]
		c.rec.decode(d)
		c.email, c.coding, c.size = c.rec.email, c.rec.coding, c.rec.size
		return c.rec.digest, d.end()
	case typeBlob:
		var r recBlob
		r.decode(d)
		c.email, c.coding, c.size = r.email, r.coding, r.size
		return r.digest, d.end()
	}
	return nil, fmt.Errorf("%w: type %d is no message", errFormat, kind)
}

func (c *contents) segment(seg uint32) (*segmentReader, error) {
	if r := c.files[seg]; r != nil {
		return r, nil
	}
	a := c.account
	a.segMu.RLock()
	name, known := a.segs[seg]
	a.segMu.RUnlock()
	if !known {
		return nil, fmt.Errorf("segment %d: %w", seg, fs.ErrNotExist)
	}
	r, err := a.disk.openSegment(a.id, name, 0)
	if err != nil {
		return nil, err
	}
	if c.files == nil {
		c.files = map[uint32]*segmentReader{}
	}
	c.files[seg] = r
	return r, nil
}

// report raises the alarm for a damaged message.
func (c *contents) report(r *seenRow, err error) {
	a := c.account
	a.log.Error("message is damaged", "user", a.user, "uid", r.uid, "segment", r.at.seg, "offset", r.at.off, "error", err)
}

// unreadable is the answer for a message that can't be read.
func unreadable(err error) error {
	if errors.Is(err, errDamaged) || errors.Is(err, errFormat) {
		return imap.Wrap(imap.CodeCorruption, "Message is damaged", err)
	}
	return unavailable(err)
}

// maxHeader bounds what of a header is read to pick fields from it.
const maxHeader = 8 << 20

// section finds the bytes that s asks for.
func (c *content) section(s *imap.Section) (mailbox.SectionData, error) {
	if s.Binary {
		return c.binary(s)
	}
	off, length, ok := c.digest.Section(s.Part, s.Kind)
	if !ok || off < 0 || length < 0 || off+length > c.size {
		return mailbox.SectionData{Missing: true}, nil
	}
	if s.Kind == imap.SectionHeaderFields || s.Kind == imap.SectionHeaderFieldsNot {
		header, err := c.header(off, length)
		if err != nil {
			return mailbox.SectionData{}, err
		}
		fields := message.FilterFields(nil, header, s.Fields, s.Kind == imap.SectionHeaderFieldsNot)
		from, n := partial(s, int64(len(fields)))
		return mailbox.SectionData{Size: n, Body: bytes.NewReader(fields[from : from+n])}, nil
	}
	from, n := partial(s, length)
	from += off
	body, err := c.body()
	if err != nil {
		return mailbox.SectionData{}, err
	}
	data := mailbox.SectionData{Size: n, Body: io.NewSectionReader(body, from, n)}
	if n == c.size && c.mem == nil && c.coding == codingPlain {
		data.Body = &checkedReader{r: data.Body, left: n, want: c.sum}
	}
	return data, nil
}

// binary finds a section without its transfer encoding.
func (c *content) binary(s *imap.Section) (mailbox.SectionData, error) {
	part, ok := c.digest.Content(s.Part)
	if !ok {
		return mailbox.SectionData{Missing: true}, nil
	}
	body, err := c.body()
	if err != nil {
		return mailbox.SectionData{}, err
	}
	from, count := int64(0), c.size
	if s.Partial {
		from, count = int64(s.Offset), int64(s.Count)
	}
	n, r, err := part.Range(body, from, count)
	return mailbox.SectionData{Size: n, Body: r}, undecodable(err)
}

// binarySize is BINARY.SIZE of a part. Nothing keeps it: a part is read once.
func (c *content) binarySize(path []int) (int64, error) {
	part, ok := c.digest.Content(path)
	if !ok {
		return 0, nil
	}
	body, err := c.body()
	if err != nil {
		return 0, err
	}
	n, err := part.Size(body)
	return n, undecodable(err)
}

func undecodable(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, message.ErrUnknownEncoding):
		return imap.Wrap(imap.CodeUnknownCTE, "Content-Transfer-Encoding is unknown", err)
	}
	return unreadable(err)
}

// smallBody is how large a message may be to be read whole before any of it is
// shown, so that damage is noticed in time. Larger ones are checked on their way
// if they are read whole.
const smallBody = 128 << 10

// body is the whole message.
func (c *content) body() (io.ReaderAt, error) {
	if c.size > smallBody {
		return c.large()
	}
	if c.mem == nil {
		mem, err := c.read(0, c.stored) // nothing else is read of this message after it
		if err != nil {
			return nil, err
		}
		if checksum(mem) != c.sum {
			return nil, imap.Wrap(imap.CodeCorruption, "Message is damaged", errDamaged)
		}
		if c.coding == codingZstd {
			if mem, err = c.files.inflate(mem, c.size); err != nil {
				return nil, err
			}
		}
		c.mem = mem
	}
	return message.Memory(c.mem), nil
}

// large is a message that is not read into memory.
func (c *content) large() (io.ReaderAt, error) {
	stored := io.NewSectionReader(&resuming{content: c}, 0, c.stored)
	if c.coding == codingPlain {
		return stored, nil
	}
	if c.plain == nil {
		plain, err := c.files.inflated(stored, c.stored, c.size)
		if err != nil {
			return nil, err
		}
		c.plain = plain
	}
	return c.plain, nil
}

// checkedReader fails at the end if what was read does not have the checksum.
type checkedReader struct {
	r         io.Reader
	left      int64
	sum, want uint32
}

func (c *checkedReader) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.sum = crc32.Update(c.sum, castagnoli, b[:n])
	c.left -= int64(n)
	if c.left == 0 && n > 0 && c.sum != c.want {
		return 0, imap.Wrap(imap.CodeCorruption, "Message is damaged", errDamaged)
	}
	return n, err
}

// header reads a header, or the part of it that fields are picked from.
func (c *content) header(off, length int64) ([]byte, error) {
	length = min(length, maxHeader)
	if off < 0 || length < 0 || off+length > c.size {
		return nil, imap.Wrap(imap.CodeCorruption, "Message is damaged", errFormat)
	}
	if c.coding != codingPlain {
		return c.unpacked(off, length)
	}
	if c.mem != nil {
		return c.mem[off : off+length], nil
	}
	return c.read(off, length)
}

// unpacked is a part of a compressed message.
func (c *content) unpacked(off, length int64) ([]byte, error) {
	body, err := c.body()
	if err != nil {
		return nil, err
	}
	if c.mem != nil {
		return c.mem[off : off+length], nil
	}
	b := make([]byte, length)
	if n, err := body.ReadAt(b, off); int64(n) < length {
		return nil, damagedStream(err)
	}
	return b, nil
}

// read is valid until the next is read.
func (c *content) read(off, length int64) ([]byte, error) {
	b, err := c.reader.peek(c.off+off, length)
	if err != nil {
		return nil, unreadable(err)
	}
	return b, nil
}

// partial is the part of length bytes that s asks for.
func partial(s *imap.Section, length int64) (from, n int64) {
	if !s.Partial {
		return 0, length
	}
	from = min(int64(s.Offset), length)
	return from, min(int64(s.Count), length-from)
}
