package imapserver

import (
	"context"
	"strings"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapwire"
	"github.com/roost-mail/roost/mailbox"
)

// statusRow is a data item of STATUS.
type statusRow struct {
	name  string
	rfc   string
	item  imap.StatusItems
	write func(*imapwire.Encoder, *imap.Status)
}

func statusRows() []statusRow {
	const core = "RFC 3501 section 6.3.10"
	return []statusRow{
		{"MESSAGES", core, imap.StatusMessages, func(e *imapwire.Encoder, s *imap.Status) { e.Number(s.Messages) }},
		{"RECENT", core, imap.StatusRecent, func(e *imapwire.Encoder, s *imap.Status) { e.Number(s.Recent) }},
		{"UIDNEXT", core, imap.StatusUIDNext, func(e *imapwire.Encoder, s *imap.Status) { e.Number(uint32(s.UIDNext)) }},
		{"UIDVALIDITY", core, imap.StatusUIDValidity, func(e *imapwire.Encoder, s *imap.Status) { e.Number(s.UIDValidity) }},
		{"UNSEEN", core, imap.StatusUnseen, func(e *imapwire.Encoder, s *imap.Status) { e.Number(s.Unseen) }},
		{"HIGHESTMODSEQ", "RFC 7162 section 3.1.7", imap.StatusHighestModSeq, func(e *imapwire.Encoder, s *imap.Status) { e.Number64(uint64(s.HighestModSeq)) }},
		{"MAILBOXID", "RFC 8474 section 4.3", imap.StatusMailboxID, func(e *imapwire.Encoder, s *imap.Status) { e.Special('(').Atom(string(s.MailboxID)).Special(')') }},
		{"SIZE", "RFC 8438", imap.StatusSize, func(e *imapwire.Encoder, s *imap.Status) { e.Number64(s.Size) }},
		{"DELETED", "RFC 9208 section 4.1.4", imap.StatusDeleted, func(e *imapwire.Encoder, s *imap.Status) { e.Number(s.Deleted) }},
		{"APPENDLIMIT", "RFC 7889 section 3.1", imap.StatusAppendLimit, func(e *imapwire.Encoder, s *imap.Status) { e.Number64(s.AppendLimit) }},
		{"DELETED-STORAGE", "RFC 9208 section 4.1.4", imap.StatusDeletedStorage, func(e *imapwire.Encoder, s *imap.Status) { e.Number64(kibibytes(s.DeletedStorage)) }},
	}
}

// kibibytes is n in units of 1024 bytes, rounded up (RFC 9208 section 5.1).
func kibibytes(n uint64) uint64 { return n/1024 + min(n%1024, 1) }

// status is STATUS.
func (s *session) status(ctx context.Context, cmd *command) error {
	items, err := s.parseStatus(cmd)
	if err != nil {
		return err
	}
	status, err := s.account().Status(ctx, cmd.mailbox, items)
	if err != nil {
		return err
	}
	s.writeStatus(cmd.mailbox, items, &status)
	return nil
}

// writeStatus writes a STATUS response. RFC 3501 section 7.2.4.
func (s *session) writeStatus(name string, items imap.StatusItems, status *imap.Status) {
	if most := uint64(s.cfg.MaxMessage); status.AppendLimit == 0 || status.AppendLimit > most {
		limited := *status
		limited.AppendLimit = most
		status = &limited
	}
	s.enc.RawString("* STATUS ").Mailbox(name).SP()
	sep := byte('(')
	for _, r := range statusRows() {
		if items&r.item != 0 && (r.item != imap.StatusMailboxID || status.MailboxID != "") {
			s.enc.Special(sep).RawString(r.name).SP()
			r.write(s.enc, status)
			sep = ' '
		}
	}
	if sep == '(' { // nothing that was asked for is known
		s.enc.Special(sep)
	}
	s.enc.RawString(")").CRLF()
	if items&imap.StatusHighestModSeq != 0 {
		s.turnOn(condStore)
	}
}

func (s *session) parseStatus(cmd *command) (imap.StatusItems, error) {
	if !s.dec.ExpectSP() || !s.dec.ExpectMailbox(&cmd.mailbox) || !s.dec.ExpectSP() {
		return 0, s.dec.Err()
	}
	items, err := s.parseStatusItems()
	if err != nil {
		return 0, err
	}
	s.dec.ExpectCRLF()
	return items, s.dec.Err()
}

func (s *session) parseStatusItems() (items imap.StatusItems, err error) {
	err = s.dec.List(func() error {
		var name string
		if !s.dec.ExpectAtom(&name) {
			return s.dec.Err()
		}
		for _, r := range statusRows() {
			if strings.EqualFold(name, r.name) {
				items |= r.item
				return nil
			}
		}
		return imap.BadCommand("Unknown status item %s", strings.ToUpper(name))
	})
	if err != nil {
		return 0, err
	}
	if items == 0 {
		return 0, imap.BadCommand("Empty status list")
	}
	return items, nil
}

// namespace is NAMESPACE. RFC 2342 section 5.
func (s *session) namespace(_ context.Context, _ *command) error {
	if !s.dec.ExpectCRLF() {
		return s.dec.Err()
	}
	list := mailbox.NamespaceList{Personal: []string{""}}
	if n, ok := s.account().(mailbox.Namespaces); ok {
		list = n.Namespaces()
	}
	s.enc.RawString("* NAMESPACE")
	for _, prefixes := range [][]string{list.Personal, list.Others, list.Shared} {
		s.writeNamespace(prefixes)
	}
	s.enc.CRLF()
	return nil
}

func (s *session) writeNamespace(prefixes []string) {
	if len(prefixes) == 0 {
		s.enc.RawString(" NIL")
		return
	}
	s.enc.RawString(" (")
	for _, p := range prefixes {
		if !s.enc.UTF8 {
			p = imapwire.EncodeName(p)
		}
		s.enc.RawString("(").String(p).RawString(` "`).Special(imap.Delimiter).RawString(`")`)
	}
	s.enc.RawString(")")
}
