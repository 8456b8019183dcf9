package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

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
		if err != nil || !more {
			return err
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
			if err := f.content(r); err != nil {
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
	c, err := f.contents.open(r.blob)
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
}

func (c *contents) close() {
	for _, r := range c.files {
		r.file.Close() //nolint:errcheck // only read
	}
}

// open finds the message at a place.
func (c *contents) open(at place) (*content, error) {
	r, err := c.segment(at.seg)
	if err != nil {
		return nil, c.damaged(at, err)
	}
	size, err := r.file.Size()
	if err != nil {
		return nil, c.damaged(at, err)
	}
	if c.buf == nil {
		c.buf = make([]byte, minRead)
	}
	f, head, err := readRecord(r.file, r.salt, at.off, size, c.buf)
	if err != nil {
		return nil, c.damaged(at, err)
	}
	digest, err := c.digestOf(f.kind, head)
	if err != nil {
		return nil, c.damaged(at, err)
	}
	if err := c.digest.Decode(digest); err != nil {
		return nil, c.damaged(at, err)
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
		return nil, fmt.Errorf("%w: no segment %d", errFormat, seg)
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

// damaged is the answer for a message that can't be read.
func (c *contents) damaged(at place, err error) error {
	a := c.account
	a.log.Error("message can't be read", "user", a.user, "segment", at.seg, "offset", at.off, "err", err)
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
		header, err := c.read(off, min(length, maxHeader))
		if err != nil {
			return mailbox.SectionData{}, err
		}
		fields := message.FilterFields(nil, header, s.Fields, s.Kind == imap.SectionHeaderFieldsNot)
		from, n := partial(s, int64(len(fields)))
		return mailbox.SectionData{Size: n, Body: bytes.NewReader(fields[from : from+n])}, nil
	}
	from, n := partial(s, length)
	return mailbox.SectionData{Size: n, Body: io.NewSectionReader(c.file, c.off+off+from, n)}, nil
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

// body is the whole message.
func (c *content) body() io.ReaderAt { return io.NewSectionReader(c.file, c.off, c.size) }
