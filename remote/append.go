package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapclient"
	"github.com/roost-mail/roost/imapwire"
	"github.com/roost-mail/roost/mailbox"
)

// Append asks the peer about the mailbox first, so that next is not called in
// vain, and then streams. If the answer is lost, it looks whether the messages are
// there. Several messages go in one APPEND where the peer has
// MULTIAPPEND (RFC 3502); elsewhere one by one, and those that went in before
// one failed are removed again.
func (a *Account) Append(ctx context.Context, name string, next mailbox.NextMessage) (imap.AppendData, error) {
	before, err := a.appendable(ctx, name)
	if err != nil {
		return imap.AppendData{}, err
	}
	first, err := next()
	if mailbox.AtEnd(err) {
		return imap.AppendData{}, nil
	}
	if err != nil {
		return imap.AppendData{}, err
	}
	s := &sending{account: a, name: name, next: next, message: first}
	err = a.control.do(ctx, false, func(c *imapclient.Conn) error { return s.sendAll(ctx, c) })
	if errors.Is(err, errUnknown) && s.failed == nil && s.arrived(ctx, before) {
		return s.data, nil
	}
	if err != nil {
		s.takeBack(ctx)
		if s.failed != nil {
			return imap.AppendData{}, s.failed
		}
		return imap.AppendData{}, intoRefusal(err)
	}
	return s.data, nil
}

// appendable asks whether the mailbox exists and takes mail: for its rights, as
// it may take mail from those who may not look at it, and for its status, as
// some peers tell rights of what does not exist.
//
// The status is that before the messages, zero if it may not be known.
func (a *Account) appendable(ctx context.Context, name string) (before imap.Status, err error) {
	var rights imap.Rights
	var noRights, noStatus error
	err = a.control.do(ctx, true, func(c *imapclient.Conn) error {
		peer, err := a.control.toPeer(name)
		if err != nil {
			return err
		}
		h := &imapclient.Handler{MyRights: func(r imap.Rights) { rights = r }}
		status := &imapclient.Handler{MailboxStatus: func(d *imapclient.StatusData) { before = d.Status }}
		var asking *imapclient.Command
		if noRights = imap.NoPermission(); c.Has("ACL") {
			if asking, err = c.Send(ctx, h, func(e *imapwire.Encoder) { e.RawString("MYRIGHTS ").Mailbox(peer) }); err != nil {
				return err
			}
		}
		_, noStatus = c.Do(ctx, status, func(e *imapwire.Encoder) {
			e.RawString("STATUS ").Mailbox(peer).RawString(" (UIDVALIDITY UIDNEXT)")
		})
		if asking != nil {
			_, noRights = c.Wait(ctx, asking)
		}
		return c.Broken()
	})
	switch {
	case err != nil:
		return before, intoRefusal(err)
	case noRights == nil && !rights.Has(imap.RightInsert) && rights.Has(imap.RightLookup):
		return before, imap.NoPermission()
	case noRights == nil && !rights.Has(imap.RightInsert):
		return before, imap.NoMailboxTryCreate() // it may not be known
	case noRights == nil && rights.Has(imap.RightInsert) && !rights.Has(imap.RightRead):
		return imap.Status{}, nil
	}
	return before, intoRefusal(refusal(noStatus, imap.CodeNonExistent))
}

// sending is an APPEND under way.
type sending struct {
	account *Account
	name    string
	next    mailbox.NextMessage
	message *mailbox.NewMessage // to be sent; nil after the last
	failed  error               // of next or of a body
	data    imap.AppendData
	ids     []imap.ObjectID // of the messages that were sent, if the peer keeps them
}

func (s *sending) sendAll(ctx context.Context, c *imapclient.Conn) error {
	for s.message != nil {
		if err := s.send(ctx, c); err != nil {
			return err
		}
		if s.message == nil {
			break
		}
		// Without MULTIAPPEND the next is a command of its own.
		if s.advance(); s.failed != nil {
			return s.failed
		}
	}
	return nil
}

// send sends one command, with all messages if the peer takes several.
func (s *sending) send(ctx context.Context, c *imapclient.Conn) error {
	peer, err := s.account.control.toPeer(s.name)
	if err != nil {
		return err
	}
	multi := c.Has("MULTIAPPEND")
	status, err := c.Do(ctx, nil, func(e *imapwire.Encoder) {
		e.Atom("APPEND").SP().Mailbox(peer)
		s.write(c, e)
		for multi && e.Err() == nil {
			if s.advance(); s.message == nil {
				break
			}
			s.write(c, e)
		}
		if s.failed != nil {
			// Nothing but the end of the connection takes back what was begun.
			_ = c.Close()
		}
	})
	if s.failed != nil {
		_ = c.Close()
		return final{s.failed}
	}
	if err != nil {
		return err
	}
	s.note(status)
	return nil
}

// write appends the flags, the date and the body of a message.
func (s *sending) write(c *imapclient.Conn, e *imapwire.Encoder) {
	m := s.message
	e.SP()
	if len(m.Flags) > 0 {
		e.Flags(m.Flags).SP()
	}
	if !m.InternalDate.IsZero() {
		e.DateTime(m.InternalDate).SP()
	}
	if c.Has(imapwire.AppendEmailID) { // one that is new too, by which the message is found again
		id := m.EmailID
		if id == "" {
			id = imap.NewEmailID()
		}
		s.ids = append(s.ids, id)
		e.Atom(imapwire.AppendEmailID).SP().Atom(string(id)).SP()
	}
	body := &bodyReader{r: m.Body, failed: &s.failed, left: m.Size}
	if c.Has("BINARY") { // the message may have NUL, whoever keeps it now
		e.Literal8(m.Size, body)
		return
	}
	e.Literal(m.Size, body)
}

func (s *sending) advance() {
	message, err := s.next()
	if mailbox.AtEnd(err) {
		message, err = nil, nil
	}
	s.message, s.failed = message, err
}

// bodyReader remembers whether it was the body that failed, or the connection.
type bodyReader struct {
	r      io.Reader
	left   int64
	failed *error
}

func (b *bodyReader) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	b.left -= int64(n)
	if err != nil && b.left > 0 {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		*b.failed = fmt.Errorf("read message: %w", err)
	}
	return n, err
}

// note takes down an APPENDUID (RFC 4315 section 3).
func (s *sending) note(status *imapclient.Status) {
	if status.Code != "APPENDUID" {
		return
	}
	validity, set, _ := strings.Cut(status.Args, " ")
	n, err := strconv.ParseUint(validity, 10, 32)
	uids, errSet := imap.ParseNumSet(set)
	if err == nil && errSet == nil {
		s.data.UIDValidity = uint32(n)
		s.data.UIDs = s.data.UIDs.Union(uids.Resolve(0))
	}
}

// arrived looks for messages whose answer was lost, and sets data if all are there.
func (s *sending) arrived(ctx context.Context, before imap.Status) bool {
	if s.message != nil || !s.data.UIDs.Empty() {
		return false
	}
	uids, ok := s.account.arrived(ctx, s.name, before, s.ids)
	if ok {
		s.data = imap.AppendData{UIDValidity: before.UIDValidity, UIDs: uids}
	}
	return ok
}

// takeBack removes what went in before a later message failed.
func (s *sending) takeBack(ctx context.Context) {
	if s.data.UIDs.Empty() {
		return
	}
	box, err := s.account.Open(context.WithoutCancel(ctx), s.name, false)
	if err == nil {
		if box.Info().UIDValidity == s.data.UIDValidity {
			err = mailbox.Remove(context.WithoutCancel(ctx), box, s.data.UIDs)
		}
		_ = box.Close()
	}
	if err != nil {
		s.account.cfg.Log.Error("messages of an append that failed could not be removed",
			"owner", s.account.cfg.Owner, "uids", s.data.UIDs.String(), "error", err)
	}
}
