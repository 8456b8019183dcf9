package imapserver

import (
	"context"
	"io"
	"strings"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapwire"
	"github.com/roost-mail/roost/mailbox"
)

// maxAppends bounds the messages of one APPEND.
const maxAppends = 10_000

// appender reads the messages of one APPEND, one after the other, as the
// account asks for them.
type appender struct {
	*session
	next    *mailbox.NewMessage     // parsed and not given out yet
	literal *imapwire.LiteralReader // of next
	count   int
	utf8    bool  // a ")" follows the literal
	end     error // what message returns from now on: io.EOF or why it failed
}

// append is APPEND. RFC 3501 section 6.3.11, RFC 3502, RFC 4315 section 3.
//
// A client that waits before its literal is told to go on only when the account
// has said that the mailbox takes mail: until then nothing is uploaded in vain.
func (s *session) append(ctx context.Context, cmd *command) error {
	a := &appender{session: s}
	if !s.dec.ExpectSP() || !s.dec.ExpectMailbox(&cmd.mailbox) {
		return s.dec.Err()
	}
	if err := a.parse(); err != nil {
		return err
	}
	data, err := s.account().Append(ctx, cmd.mailbox, a.message)
	if err != nil {
		return err
	}
	if cmd.mailbox == s.name {
		cmd.fresh, s.appended = true, data.UIDs
	}
	if data.UIDValidity != 0 && !data.UIDs.Empty() {
		cmd.code, cmd.args = "APPENDUID", appendUID(&data)
	}
	return nil
}

func appendUID(d *imap.AppendData) string {
	b := imap.UIDSetOf(imap.UID(d.UIDValidity)).AppendTo(nil)
	return string(d.UIDs.AppendTo(append(b, ' ')))
}

// message is the mailbox.NextMessage of the command. Behind the end there is
// the next command, which an account that asks once more must not get.
func (a *appender) message() (m *mailbox.NewMessage, err error) {
	if a.end == nil {
		var more bool
		if m, more, a.end = a.read(); a.end == nil && !more {
			a.end = io.EOF
		} else if mailbox.AtEnd(a.end) { // the client's connection, not its command
			a.end = io.ErrUnexpectedEOF
		}
	}
	return m, a.end
}

func (a *appender) read() (m *mailbox.NewMessage, more bool, err error) {
	if a.next == nil {
		if a.utf8 {
			a.utf8 = false
			if !a.dec.ExpectSpecial(')') {
				return nil, false, a.dec.Err()
			}
		}
		if a.dec.CRLF() {
			return nil, false, nil
		}
		if err := a.parse(); err != nil {
			return nil, false, err
		}
	}
	m, a.next = a.next, nil
	if err := a.accept(); err != nil {
		return nil, false, err
	}
	return m, true, nil
}

// accept lets the literal come.
func (a *appender) accept() error {
	if err := a.literal.Accept(); err != nil {
		return connectionLost{err}
	}
	return nil
}

// parse reads what stands ahead of a message, up to its literal's header.
func (a *appender) parse() error {
	m := &mailbox.NewMessage{}
	if !a.dec.ExpectSP() {
		return a.dec.Err()
	}
	if b, ok := a.dec.PeekByte(); ok && b == '(' {
		if !a.dec.ExpectFlagList(&m.Flags) || !a.dec.ExpectSP() {
			return a.dec.Err()
		}
	}
	if b, ok := a.dec.PeekByte(); ok && b == '"' {
		if !a.dec.ExpectDateTime(&m.InternalDate) || !a.dec.ExpectSP() {
			return a.dec.Err()
		}
	}
	if b, ok := a.dec.PeekByte(); ok && b == imapwire.AppendEmailID[0] && a.isBack() {
		if err := a.parseEmailID(m); err != nil {
			return err
		}
	}
	if b, ok := a.dec.PeekByte(); ok && b&^0x20 == 'U' {
		if err := a.parseUTF8(); err != nil {
			return err
		}
	}
	literal, err := a.dec.LiteralReader()
	if err != nil {
		return err
	}
	if a.utf8 && !literal.Binary {
		return imap.BadCommand("UTF8 needs a literal8")
	}
	m.Size, m.Body = literal.Size, literal
	a.next, a.literal = m, literal
	m.Flags, err = checkFlags(m.Flags)
	if err != nil {
		return err
	}
	a.count++
	return a.checkSize()
}

// parseUTF8 reads "UTF8 (" ahead of a literal. RFC 6855 section 4.
func (a *appender) parseUTF8() error {
	var name string
	if !a.dec.ExpectAtom(&name) || !a.dec.Expect(strings.EqualFold(name, "UTF8"), "literal") ||
		!a.dec.ExpectSP() || !a.dec.ExpectSpecial('(') {
		return a.dec.Err()
	}
	if a.on&utf8Accept == 0 {
		return imap.BadCommand("UTF8=ACCEPT is not enabled")
	}
	a.utf8 = true
	return nil
}

// parseEmailID reads the one extension of APPEND that we know.
func (a *appender) parseEmailID(m *mailbox.NewMessage) error {
	var name, id string
	if !a.dec.ExpectAtom(&name) || !a.dec.ExpectSP() || !a.dec.ExpectAtom(&id) || !a.dec.ExpectSP() {
		return a.dec.Err()
	}
	if m.EmailID = imap.ObjectID(id); !strings.EqualFold(name, imapwire.AppendEmailID) || !m.EmailID.Valid() {
		return imap.BadCommand("Unknown APPEND extension")
	}
	return nil
}

func (a *appender) checkSize() error {
	switch {
	case a.literal.Size == 0:
		return imap.Errorf(imap.CodeNone, "Can't save a zero byte message") // RFC 3502 section 6.3.11
	case a.literal.Size > a.cfg.MaxMessage:
		return imap.Errorf(imap.CodeTooBig, "Message is too big")
	case a.count > maxAppends:
		return imap.Errorf(imap.CodeLimit, "Too many messages in one command")
	}
	return nil
}
