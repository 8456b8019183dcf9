package imapserver

import "context"

// expunge is EXPUNGE. RFC 3501 section 6.4.3. The EXPUNGE responses come from
// sync, as do those for what others remove.
func (s *session) expunge(ctx context.Context, _ *command) error {
	if !s.dec.ExpectCRLF() {
		return s.dec.Err()
	}
	return s.mbox.Expunge(ctx, nil, true)
}

// uidExpunge is UID EXPUNGE. RFC 4315 section 2.1.
func (s *session) uidExpunge(ctx context.Context, cmd *command) error {
	set, err := s.parseSet()
	if err != nil {
		return err
	}
	if !s.dec.ExpectCRLF() {
		return s.dec.Err()
	}
	uids, err := s.resolve(set, cmd.is(byUID))
	if err != nil {
		return err
	}
	return s.mbox.Expunge(ctx, uids, false)
}
