package imapserver

import (
	"context"
	"slices"
	"strings"

	"github.com/roost-mail/roost/imap"
)

// create is CREATE. RFC 3501 section 6.3.3. A delimiter at the end of the name
// says that there will be names below it, which is always possible here.
func (s *session) create(ctx context.Context, cmd *command) error {
	if !s.dec.ExpectSP() || !s.dec.ExpectMailbox(&cmd.mailbox) {
		return s.dec.Err()
	}
	name := strings.TrimSuffix(cmd.mailbox, string(imap.Delimiter))
	cmd.mailbox = name
	words, err := s.parseCreateOptions()
	if err != nil {
		return err
	}
	var uses []imap.Attr
	for _, word := range words {
		use, err := imap.CheckSpecialUse(word)
		if err != nil {
			return err
		}
		if !slices.Contains(uses, use) {
			uses = append(uses, use)
		}
	}
	if err := imap.CheckName(name); err != nil {
		return err
	}
	if err := s.account().Create(ctx, name, uses...); err != nil {
		return err
	}
	cmd.names = []string{name}
	s.tellMailboxID(ctx, cmd, name)
	return nil
}

// tellMailboxID has the tagged OK tell what was made, who may read it. RFC 8474
// section 4.1.
func (s *session) tellMailboxID(ctx context.Context, cmd *command, name string) {
	status, err := s.account().Status(ctx, name, imap.StatusMailboxID)
	if err == nil && status.MailboxID != "" {
		cmd.code, cmd.args = "MAILBOXID", mailboxID(status.MailboxID)
	}
}

// parseCreateOptions reads the special uses, if there are any, and the end of the
// line. RFC 4466 section 2.2, RFC 6154 section 5.3.
func (s *session) parseCreateOptions() (uses []string, err error) {
	if !s.dec.SP() {
		s.dec.ExpectCRLF()
		return nil, s.dec.Err()
	}
	err = s.dec.List(func() error {
		var option string
		if !s.dec.ExpectAtom(&option) || !s.dec.Expect(strings.EqualFold(option, "USE"), "USE") || !s.dec.ExpectSP() {
			return s.dec.Err()
		}
		return s.dec.List(func() error {
			var use imap.Flag
			if !s.dec.ExpectFlag(&use) {
				return s.dec.Err()
			}
			uses = append(uses, string(use))
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	s.dec.ExpectCRLF()
	return uses, s.dec.Err()
}

// deleteMailbox is DELETE. RFC 3501 section 6.3.4. If it is the selected one
// the session hears of it as others do.
func (s *session) deleteMailbox(ctx context.Context, cmd *command) error {
	name, err := s.parseMailbox(cmd)
	if err != nil {
		return err
	}
	cmd.fresh = name == s.name
	cmd.names = []string{name}
	return s.account().Delete(ctx, name)
}

// rename is RENAME. RFC 3501 section 6.3.5.
func (s *session) rename(ctx context.Context, cmd *command) error {
	var from, to string
	if !s.dec.ExpectSP() || !s.dec.ExpectMailbox(&from) || !s.dec.ExpectSP() ||
		!s.dec.ExpectMailbox(&to) || !s.dec.ExpectCRLF() {
		return s.dec.Err()
	}
	to = strings.TrimSuffix(to, string(imap.Delimiter))
	cmd.mailbox = from
	if err := imap.CheckName(to); err != nil {
		return err
	}
	cmd.names = []string{from, to}
	return s.account().Rename(ctx, from, to)
}

// subscribe is SUBSCRIBE. RFC 3501 section 6.3.6.
func (s *session) subscribe(ctx context.Context, cmd *command) error {
	return s.setSubscribed(ctx, cmd, true)
}

// unsubscribe is UNSUBSCRIBE. RFC 3501 section 6.3.7.
func (s *session) unsubscribe(ctx context.Context, cmd *command) error {
	return s.setSubscribed(ctx, cmd, false)
}

func (s *session) setSubscribed(ctx context.Context, cmd *command, subscribed bool) error {
	name, err := s.parseMailbox(cmd)
	if err != nil {
		return err
	}
	name = strings.TrimSuffix(name, string(imap.Delimiter))
	cmd.names = []string{name}
	return s.account().SetSubscribed(ctx, name, subscribed)
}
