package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/message"
)

// Fetch implements mailbox.Mailbox.
func (h *handle) Fetch(ctx context.Context, uids imap.UIDSet, items *imap.FetchItems, emit func(*mailbox.Message) error) error {
	f := fetcher{
		items:  items,
		cursor: cursor{h: h, uids: uids},
		digest: items.Envelope || items.Body || items.BodyStructure || len(items.Sections) > 0,
	}
	f.cursor.bodies = f.digest
	f.contents.account = h.session.account
	defer f.contents.close()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		before := f.cursor
		more, err := f.cursor.next()
		if err != nil {
			return err
		}
		if !more {
			return f.damaged // after all that could be read
		}
		marked, err := f.markSeen(ctx)
		if err != nil {
			return err
		}
		if !marked.Empty() {
			before.rows = f.cursor.rows
			f.cursor = before
			if _, err := f.cursor.next(); err != nil {
				return err
			}
		}
		if err := f.emitAll(marked, emit); err != nil {
			return err
		}
	}
}

// fetcher is one FETCH on its way.
type fetcher struct {
	items    *imap.FetchItems
	cursor   cursor
	digest   bool // something is asked that needs the digest
	contents contents
	out      mailbox.Message
	scratch  []byte
	damaged  error // of the first message that can't be read
}

// markSeen sets \Seen on the messages of the batch that lack it, and returns which.
func (f *fetcher) markSeen(ctx context.Context) (imap.UIDSet, error) {
	h := f.cursor.h
	if !f.items.MarkSeen || h.info.ReadOnly {
		return nil, nil
	}
	var unseen []imap.UID
	for i := range f.cursor.rows {
		if !f.cursor.rows[i].seen {
			unseen = append(unseen, f.cursor.rows[i].uid)
		}
	}
	if len(unseen) == 0 {
		return nil, nil
	}
	set := imap.UIDSetOf(unseen...)
	return set, h.change(ctx, set, mailbox.FlagChange{Op: mailbox.FlagsAdd, Flags: []imap.Flag{imap.FlagSeen}})
}

func (f *fetcher) emitAll(marked imap.UIDSet, emit func(*mailbox.Message) error) error {
	for i := range f.cursor.rows {
		r := &f.cursor.rows[i]
		f.out = mailbox.Message{UID: r.uid, Sections: f.out.Sections[:0], FlagsChanged: marked.Contains(r.uid)}
		if f.items.Flags || f.out.FlagsChanged {
			f.out.Flags = r.flags
		}
		if f.items.ModSeq || f.out.FlagsChanged {
			f.out.ModSeq = r.modseq
		}
		if f.items.InternalDate {
			f.out.InternalDate = r.date.time()
		}
		if f.items.Size {
			f.out.Size = int64(r.size)
		}
		if f.digest {
			switch err := f.content(r); {
			case errors.Is(err, errExpunged):
				continue
			case imap.CodeOf(err) == imap.CodeCorruption:
				f.contents.report(r, err)
				f.damaged = err
				continue
			case err != nil:
				return err
			}
		}
		if err := emit(&f.out); err != nil {
			return err
		}
	}
	return nil
}

// content adds what is read from the log.
func (f *fetcher) content(r *seenRow) error {
	c, err := f.contents.openRow(r)
	if err != nil {
		return err
	}
	if f.items.Envelope {
		f.out.Envelope = c.digest.Envelope
	}
	if f.items.BodyStructure {
		f.out.BodyStructure = c.digest.BodyStructure
	}
	if f.items.Body {
		f.scratch = c.digest.AppendBody(f.scratch[:0])
		f.out.Body = f.scratch
	}
	for i := range f.items.Sections {
		s, err := c.section(&f.items.Sections[i])
		if err != nil {
			return err
		}
		f.out.Sections = append(f.out.Sections, s)
	}
	return nil
}

// contents reads messages from the segments. Files stay open until close.
type contents struct {
	account *account
	files   map[uint32]*segmentReader
	buf     []byte
	rec     recMessage
	digest  message.Digest
}

// content is a message in its segment. It is valid until the next is opened.
type content struct {
	digest *message.Digest
	file   io.ReaderAt
	off    int64 // where the body begins
	size   int64
	sum    uint32
	mem    []byte // the body, once it was read and is small
}

func (c *contents) close() {
	for _, r := range c.files {
		r.file.Close() //nolint:errcheck // only read
	}
}

// errExpunged says that a message went away while it was about to be read.
var errExpunged = errors.New("message was expunged")

// openRow finds a message. Its segment may have been rewritten since its place
// was looked up: then it is looked up again, once.
func (c *contents) openRow(r *seenRow) (*content, error) {
	m, err := c.open(r.at)
	if errors.Is(err, fs.ErrNotExist) {
		a := c.account
		a.mu.RLock()
		b := a.st.blobs.find(r.blob)
		if b == nil || b.refs == 0 {
			a.mu.RUnlock()
			return nil, errExpunged
		}
		r.at = b.place()
		a.mu.RUnlock()
		m, err = c.open(r.at)
	}
	if err != nil {
		return nil, unreadable(err)
	}
	return m, nil
}

// open finds the message at a place.
func (c *contents) open(at place) (*content, error) {
	r, err := c.segment(at.seg)
	if err != nil {
		return nil, err
	}
	size, err := r.file.Size()
	if err != nil {
		return nil, err
	}
	if c.buf == nil {
		c.buf = make([]byte, minRead)
	}
	f, head, err := readRecord(r.file, r.salt, at.off, size, c.buf)
	if err != nil {
		return nil, err
	}
	digest, err := c.digestOf(f.kind, head)
	if err != nil {
		return nil, err
	}
	if err := c.digest.Decode(digest); err != nil {
		return nil, fmt.Errorf("%w: %w", errFormat, err)
	}
	return &content{digest: &c.digest, file: r.file, off: at.off + frameLen + f.head, size: f.body, sum: f.bodySum}, nil
}

// digestOf finds the digest in the head of a record.
func (c *contents) digestOf(kind recordType, head []byte) ([]byte, error) {
	d := &decoder{buf: head}
	switch kind {
	case typeMessage:
		c.rec.flags.keywords = c.rec.flags.keywords[:0]
		c.rec.decode(d)
		return c.rec.digest, d.end()
	case typeBlob:
		var r recBlob
		r.decode(d)
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
	a.log.Error("message is damaged", "user", a.user, "uid", r.uid, "segment", r.at.seg, "offset", r.at.off, "err", err)
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

var specifiers = [...]message.Specifier{
	imap.SectionAll:             message.SectionBody,
	imap.SectionHeader:          message.SectionHeader,
	imap.SectionHeaderFields:    message.SectionHeader,
	imap.SectionHeaderFieldsNot: message.SectionHeader,
	imap.SectionText:            message.SectionText,
	imap.SectionMIME:            message.SectionMIME,
}

// section finds the bytes that s asks for.
func (c *content) section(s *imap.Section) (mailbox.SectionData, error) {
	off, length, ok := c.digest.Section(s.Part, specifiers[s.Kind])
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
	if n == c.size && c.mem == nil {
		data.Body = &checkedReader{r: data.Body, left: n, want: c.sum}
	}
	return data, nil
}

// smallBody is how large a message may be to be read whole before any of it is
// shown, so that damage is noticed in time. Larger ones are checked on their way
// if they are read whole.
const smallBody = 128 << 10

// body is the whole message.
func (c *content) body() (io.ReaderAt, error) {
	if c.size > smallBody {
		return io.NewSectionReader(c.file, c.off, c.size), nil
	}
	if c.mem == nil {
		mem, err := c.read(0, c.size)
		if err != nil {
			return nil, err
		}
		if checksum(mem) != c.sum {
			return nil, imap.Wrap(imap.CodeCorruption, "Message is damaged", errDamaged)
		}
		c.mem = mem
	}
	return bytes.NewReader(c.mem), nil
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
	if c.mem != nil {
		return c.mem[off : off+length], nil
	}
	return c.read(off, length)
}

func (c *content) read(off, length int64) ([]byte, error) {
	b := make([]byte, length)
	if err := readFull(c.file, b, c.off+off); err != nil {
		return nil, imap.Wrap(imap.CodeCorruption, "Message is damaged", err)
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
