package imapserver

import (
	"context"
	"strings"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapwire"
	"github.com/roost-mail/roost/mailbox"
)

// statusRow is a data item of STATUS. RFC 3501 section 6.3.10.
type statusRow struct {
	name  string
	item  imap.StatusItems
	value func(*imap.Status) uint32
}

func statusRows() [5]statusRow {
	return [...]statusRow{
		{"MESSAGES", imap.StatusMessages, func(s *imap.Status) uint32 { return s.Messages }},
		{"RECENT", imap.StatusRecent, func(s *imap.Status) uint32 { return s.Recent }},
		{"UIDNEXT", imap.StatusUIDNext, func(s *imap.Status) uint32 { return uint32(s.UIDNext) }},
		{"UIDVALIDITY", imap.StatusUIDValidity, func(s *imap.Status) uint32 { return s.UIDValidity }},
		{"UNSEEN", imap.StatusUnseen, func(s *imap.Status) uint32 { return s.Unseen }},
	}
}

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
	s.enc.RawString("* STATUS ").Mailbox(cmd.mailbox).SP()
	sep := byte('(')
	for _, r := range statusRows() {
		if items&r.item != 0 {
			s.enc.Special(sep).RawString(r.name).SP().Number(r.value(&status))
			sep = ' '
		}
	}
	s.enc.RawString(")").CRLF()
	return nil
}

func (s *session) parseStatus(cmd *command) (imap.StatusItems, error) {
	var items imap.StatusItems
	if !s.dec.ExpectSP() || !s.dec.ExpectMailbox(&cmd.mailbox) || !s.dec.ExpectSP() {
		return 0, s.dec.Err()
	}
	cmd.mailbox = imap.CanonicalName(cmd.mailbox)
	err := s.dec.List(func() error {
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
	s.dec.ExpectCRLF()
	return items, s.dec.Err()
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
		s.enc.RawString("(").String(imapwire.EncodeName(p)).RawString(` "`).Special(imap.Delimiter).RawString(`")`)
	}
	s.enc.RawString(")")
}
