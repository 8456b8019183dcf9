package imapserver

import (
	"context"

	"github.com/roost-mail/roost/imap"
)

// closeCommand is CLOSE. RFC 3501 section 6.4.2. Who may not expunge, or has a
// mailbox that is not there any more, closes it all the same (RFC 4314
// section 4); if the expunge failed for another reason the mailbox stays
// selected, because an OK would say that it was done.
func (s *session) closeCommand(ctx context.Context, _ *command) error {
	if !s.dec.ExpectCRLF() {
		return s.dec.Err()
	}
	if !s.examined && !s.mbox.Info().ReadOnly {
		err := s.mbox.Expunge(ctx, nil, true)
		switch imap.CodeOf(err) {
		case imap.CodeNone, imap.CodeNoPerm, imap.CodeNonExistent:
		default:
			return err
		}
	}
	s.closeMailbox()
	return nil
}

// unselect is UNSELECT. RFC 3691 section 2.
func (s *session) unselect(_ context.Context, _ *command) error {
	if !s.dec.ExpectCRLF() {
		return s.dec.Err()
	}
	s.closeMailbox()
	return nil
}
