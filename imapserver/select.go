package imapserver

import (
	"context"
	"strconv"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// selectMailbox is SELECT. RFC 3501 section 6.3.1.
func (s *session) selectMailbox(ctx context.Context, cmd *command) error {
	return s.open(ctx, cmd, false)
}

// examine is EXAMINE. RFC 3501 section 6.3.2.
func (s *session) examine(ctx context.Context, cmd *command) error { return s.open(ctx, cmd, true) }

// open leaves the mailbox that was selected, whether or not the new one can be
// opened: a refused SELECT ends in the authenticated state.
func (s *session) open(ctx context.Context, cmd *command, examine bool) error {
	known, err := s.parseSelect(cmd)
	if err != nil {
		return err
	}
	name := cmd.mailbox
	if s.mbox != nil {
		s.closeMailbox()
		s.enc.RawString("* OK [CLOSED] Previous mailbox closed.").CRLF()
	}
	mbox, err := mailbox.Reopen(ctx, s.account(), name, examine, known.mailboxID)
	if err != nil {
		return err
	}
	info := mbox.Info()
	s.mbox, s.name, s.state = mbox, name, selected
	s.examined, s.readOnly = examine, info.ReadOnly
	s.hasModSeqs, s.settled = info.HighestModSeq > 0, info.HighestModSeq
	s.view = newView(info.UIDs, info.Recent)
	s.writeInfo(&info)
	if err := s.resync(ctx, known, &info); err != nil {
		s.closeMailbox()
		return err
	}
	cmd.code = readOnlyCode(info.ReadOnly || examine)
	return nil
}

// parseMailbox reads the one argument of many commands, and the end of the line.
func (s *session) parseMailbox(cmd *command) (string, error) {
	if !s.dec.ExpectSP() || !s.dec.ExpectMailbox(&cmd.mailbox) || !s.dec.ExpectCRLF() {
		return "", s.dec.Err()
	}
	return cmd.mailbox, nil
}

// writeInfo writes what a client is told of a mailbox at SELECT.
func (s *session) writeInfo(info *mailbox.Info) {
	s.writeKnownFlags(info)
	s.tellCounts()
	if seq := s.view.seq(info.Unseen); seq != 0 && s.on&rev2 == 0 {
		s.writeNumberCode("UNSEEN", uint32(seq), "First unseen.")
	}
	s.writeNumberCode("UIDVALIDITY", info.UIDValidity, "UIDs valid.")
	s.writeNumberCode("UIDNEXT", uint32(info.UIDNext), "Predicted next UID.")
	if info.MailboxID != "" { // RFC 8474 section 4.2
		s.enc.RawString("* OK ").Code("MAILBOXID", mailboxID(info.MailboxID)).Text("Ok.").CRLF()
	}
	switch {
	case s.on&condStore == 0:
	case s.hasModSeqs:
		s.tellHighestModSeq("Highest.")
	default: // RFC 7162 section 3.1.2.2
		s.enc.RawString("* OK ").Code("NOMODSEQ", "").Text("No modification sequences here.").CRLF()
	}
	if s.on&rev2 != 0 { // RFC 9051 section 6.3.2
		s.writeList("LIST", &mailbox.ListEntry{Name: s.name})
	}
}

// mailboxID is the argument of the response code MAILBOXID.
func mailboxID(id imap.ObjectID) string { return "(" + string(id) + ")" }

func (s *session) writeNumberCode(code imap.Code, n uint32, text string) {
	s.enc.RawString("* OK ").Code(code, strconv.FormatUint(uint64(n), 10)).Text(text).CRLF()
}
