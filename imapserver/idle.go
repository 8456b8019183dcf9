package imapserver

import (
	"context"
	"strings"
	"time"

	"github.com/roost-mail/roost/imap"
)

// idle is IDLE. RFC 2177. It is a command in progress: EXPUNGE may be told.
//
// It is a pause like the one between commands, which ends the command.
func (s *session) idle(_ context.Context, _ *command) error {
	if !s.dec.ExpectCRLF() {
		return s.dec.Err()
	}
	s.enc.RawString("+ idling").CRLF()
	now := time.Since(s.stream.began)
	s.pause = pause{idle: true, end: now + s.cfg.IdleTimeout, keepalive: now + s.cfg.IdleKeepalive, stop: func() {}}
	if s.notify != nil { // which takes more commands than a Watch lets through
		s.sync(true, false)
		s.pause.stop = s.watchIdle()
		return nil
	}
	s.pause.stop = s.watchIdle()
	s.sync(true, false)
	return nil
}

// watchIdle has news of the selected mailbox end the wait within IDLE.
func (s *session) watchIdle() (stop func()) {
	if s.mbox == nil || s.quiet() {
		return func() {}
	}
	return s.mbox.Watch(s.stream.wake)
}

// endIdle reads what has ended an IDLE and answers it.
func (s *session) endIdle() error {
	var word string
	if !s.dec.Atom(&word) || !strings.EqualFold(word, "DONE") || !s.dec.ExpectCRLF() {
		s.dec.Fail(imap.BadCommand("Expected DONE"))
		return s.finish(s.cmd, s.dec.Err(), 0)
	}
	return s.finish(s.cmd, nil, 0)
}
