package imapserver

import (
	"context"
	"strings"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// setACL is SETACL. RFC 4314 section 3.1.
func (s *session) setACL(ctx context.Context, cmd *command) error {
	var identifier, letters string
	acl, err := s.parseACL(cmd, &identifier, &letters)
	if err != nil {
		return err
	}
	change := imap.ACLReplace
	if letters != "" && (letters[0] == '+' || letters[0] == '-') {
		change, letters = imap.ACLChange(letters[0]), letters[1:]
	}
	rights, err := imap.ParseRights(letters)
	if err != nil {
		return err
	}
	return acl.SetACL(ctx, cmd.mailbox, identifier, change, rights)
}

// deleteACL is DELETEACL. RFC 4314 section 3.2.
func (s *session) deleteACL(ctx context.Context, cmd *command) error {
	var identifier string
	acl, err := s.parseACL(cmd, &identifier, nil)
	if err != nil {
		return err
	}
	return acl.DeleteACL(ctx, cmd.mailbox, identifier)
}

// getACL is GETACL. RFC 4314 section 3.3.
func (s *session) getACL(ctx context.Context, cmd *command) error {
	acl, err := s.parseACL(cmd, nil, nil)
	if err != nil {
		return err
	}
	entries, err := acl.GetACL(ctx, cmd.mailbox)
	if err != nil {
		return err
	}
	s.enc.RawString("* ACL ").Mailbox(cmd.mailbox)
	for _, e := range entries {
		s.enc.SP().AString(e.Identifier).SP().AString(e.Rights.String())
	}
	s.enc.CRLF()
	return nil
}

// listRights is LISTRIGHTS. RFC 4314 section 3.4.
func (s *session) listRights(ctx context.Context, cmd *command) error {
	var identifier string
	acl, err := s.parseACL(cmd, &identifier, nil)
	if err != nil {
		return err
	}
	rights, err := acl.ListRights(ctx, cmd.mailbox, identifier)
	if err != nil {
		return err
	}
	s.enc.RawString("* LISTRIGHTS ").Mailbox(cmd.mailbox).SP().AString(identifier)
	for _, group := range rightGroups(rights) {
		s.enc.SP().AString(group)
	}
	s.enc.CRLF()
	return nil
}

// rightGroups is what an identifier always has, then what may be granted to
// it. The virtual rights c and d go with the first if that has one of their
// parts; else they stand by themselves, once any part can be granted (RFC 4314
// section 2.1.1).
func rightGroups(r imap.GrantableRights) []string {
	groups := []string{r.Required.String()}
	all := r.Required
	for _, group := range r.Optional {
		groups = append(groups, group.Letters())
		all |= group
	}
	for _, c := range strings.TrimPrefix(all.String(), all.Letters()) {
		if !strings.ContainsRune(groups[0], c) {
			groups = append(groups, string(c))
		}
	}
	return groups
}

// myRights is MYRIGHTS. RFC 4314 section 3.5.
func (s *session) myRights(ctx context.Context, cmd *command) error {
	acl, err := s.parseACL(cmd, nil, nil)
	if err != nil {
		return err
	}
	rights, err := acl.MyRights(ctx, cmd.mailbox)
	if err != nil {
		return err
	}
	s.writeMyRights(cmd.mailbox, rights)
	return nil
}

// writeMyRights writes a MYRIGHTS response. RFC 4314 section 3.8.
func (s *session) writeMyRights(name string, rights imap.Rights) {
	s.enc.RawString("* MYRIGHTS ").Mailbox(name).SP().AString(rights.String()).CRLF()
}

// parseACL reads a mailbox name and, where they are asked for, an identifier
// and rights. It gives the account's ACL side.
func (s *session) parseACL(cmd *command, identifier, rights *string) (mailbox.ACL, error) {
	if !s.dec.ExpectSP() || !s.dec.ExpectMailbox(&cmd.mailbox) {
		return nil, s.dec.Err()
	}
	for _, arg := range []*string{identifier, rights} {
		if arg != nil && (!s.dec.ExpectSP() || !s.dec.ExpectAString(arg)) {
			return nil, s.dec.Err()
		}
	}
	if !s.dec.ExpectCRLF() {
		return nil, s.dec.Err()
	}
	if identifier != nil {
		if err := imap.CheckIdentifier(*identifier); err != nil {
			return nil, err
		}
	}
	acl, ok := s.account().(mailbox.ACL)
	if !ok {
		return nil, imap.Errorf(imap.CodeCannot, "ACLs disabled.")
	}
	return acl, nil
}
