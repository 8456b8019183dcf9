package store

import (
	"context"
	"errors"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/message"
)

// Fetch implements mailbox.Mailbox.
func (h *handle) Fetch(ctx context.Context, uids imap.UIDSet, items *imap.FetchItems, emit func(*mailbox.Message) error) error {
	f := fetcher{
		items:  items,
		cursor: cursor{h: h, uids: uids, since: items.ChangedSince},
		digest: items.Envelope || items.Body || items.BodyStructure || asksContent(items),
	}
	f.cursor.bodies = f.digest
	f.contents.account, f.contents.bodies = h.session.account, len(items.Sections) > 0 || len(items.BinarySizes) > 0 || items.Preview
	defer f.contents.close()
	defer f.digests.close()
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

// asksContent reports whether something is asked that no digest file has.
func asksContent(i *imap.FetchItems) bool {
	return len(i.Sections) > 0 || len(i.BinarySizes) > 0 || i.EmailID || i.Preview
}

// fetcher is one FETCH on its way.
type fetcher struct {
	items    *imap.FetchItems
	cursor   cursor
	digest   bool // something is asked that needs the digest
	contents contents
	digests  digests
	matcher  message.Matcher
	out      mailbox.Message
	scratch  []byte
	damaged  error // of a message that can't be read
}

// structure adds what a digest has.
func (f *fetcher) structure(d *message.Digest) {
	if f.items.Envelope {
		f.out.Envelope = d.Envelope
	}
	if f.items.BodyStructure {
		f.out.BodyStructure = d.BodyStructure
	}
	if f.items.Body {
		f.scratch = d.AppendBody(f.scratch[:0])
		f.out.Body = f.scratch
	}
}

// markSeen sets \Seen on the messages of the batch that lack it, and returns which.
// While nothing may be changed reading goes on, as by BODY.PEEK.
func (f *fetcher) markSeen(ctx context.Context) (imap.UIDSet, error) {
	h := f.cursor.h
	if !f.items.MarkSeen || h.info.ReadOnly || h.session.writable() != nil {
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
	_, err := h.change(ctx, set, mailbox.FlagChange{Op: mailbox.FlagsAdd, Flags: []imap.Flag{imap.FlagSeen}})
	if errors.Is(err, errLapsed) && !errors.Is(err, imap.ErrUnknownOutcome) {
		return nil, nil
	}
	return set, err
}

func (f *fetcher) emitAll(marked imap.UIDSet, emit func(*mailbox.Message) error) error {
	if f.digest && !asksContent(f.items) {
		f.digests.begin(f.contents.account, f.cursor.h.box.id, f.cursor.rows)
	}
	f.contents.begin(f.cursor.rows)
	for i := range f.cursor.rows {
		r := &f.cursor.rows[i]
		f.out = mailbox.Message{UID: r.uid, Sections: f.out.Sections[:0], BinarySizes: f.out.BinarySizes[:0], FlagsChanged: marked.Contains(r.uid)}
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
		if f.items.SaveDate {
			f.out.SaveDate = time.Unix(int64(r.saved), 0).UTC()
		}
		if f.digest {
			switch err := f.content(r); {
			case errors.Is(err, errExpunged):
				continue
			case imap.CodeOf(err) == imap.CodeUnknownCTE:
				f.damaged = err
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

// preview adds the preview, which is made from the text each time.
func (f *fetcher) preview(c *content) error {
	body, err := c.body()
	if err != nil {
		return err
	}
	f.out.Preview, err = f.matcher.Preview(body, c.digest, mailbox.MaxPreview)
	f.out.HasPreview = err == nil
	if err != nil {
		return unreadable(err)
	}
	return nil
}

// content adds what is read from the digest file or the log.
func (f *fetcher) content(r *seenRow) error {
	if d := f.digests.find(r); d != nil {
		f.structure(d)
		return nil
	}
	c, err := f.contents.openRow(r)
	if err != nil {
		return err
	}
	f.structure(c.digest)
	if f.items.EmailID {
		f.out.EmailID = c.email.emailID()
	}
	for _, part := range f.items.BinarySizes {
		n, err := c.binarySize(part)
		if err != nil {
			return err
		}
		f.out.BinarySizes = append(f.out.BinarySizes, n)
	}
	if f.items.Preview {
		if err := f.preview(c); err != nil {
			return err
		}
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
