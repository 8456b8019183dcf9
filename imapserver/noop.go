package imapserver

import "context"

// noop is NOOP and CHECK: what is new is told at the end of every command, by
// these two with a question to the mailbox's home. RFC 3501 sections 6.1.2 and 6.4.1.
func (s *session) noop(_ context.Context, _ *command) error {
	s.dec.ExpectCRLF()
	return s.dec.Err()
}

// logout is LOGOUT. RFC 3501 section 6.1.3.
func (s *session) logout(_ context.Context, _ *command) error {
	if !s.dec.ExpectCRLF() {
		return s.dec.Err()
	}
	s.closeMailbox()
	s.state = loggedOut
	s.enc.RawString("* BYE Logging out").CRLF()
	return nil
}
