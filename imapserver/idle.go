package imapserver

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/roost-mail/roost/imap"
)

// idle is IDLE. RFC 2177. It is a command in progress: EXPUNGE may be told.
//
// The session waits for input as between commands, without a buffer; a change
// in the mailbox ends the wait by stream.wake. There is no goroutine but the
// connection's own.
func (s *session) idle(_ context.Context, _ *command) error {
	if !s.dec.ExpectCRLF() {
		return s.dec.Err()
	}
	s.enc.RawString("+ idling").CRLF()
	if err := s.idleWatched(); err != nil {
		return connectionLost{err}
	}
	var word string
	if !s.dec.Atom(&word) || !strings.EqualFold(word, "DONE") || !s.dec.ExpectCRLF() {
		s.dec.Fail(imap.BadCommand("Expected DONE"))
		return s.dec.Err()
	}
	return nil
}

// idleWatched returns when the client has sent something.
func (s *session) idleWatched() error {
	if s.mbox == nil || s.quiet() {
		return s.idleWait()
	}
	stop := s.mbox.Watch(s.stream.wake)
	defer stop()
	s.sync(true, false)
	return s.idleWait()
}

// idleWait tells what happens and, at times, that the connection lives.
func (s *session) idleWait() error {
	end := time.Now().Add(s.cfg.IdleTimeout)
	keepalive := time.Now().Add(s.cfg.IdleKeepalive)
	for {
		s.stream.until = keepalive
		if end.Before(keepalive) {
			s.stream.until = end
		}
		err := s.dec.WaitInput()
		s.stream.until = time.Time{}
		switch {
		case errors.Is(err, errWoken):
			s.sync(false, false)
			s.notifyOthers()
		case errors.Is(err, errTimeout) && time.Now().Before(end):
			s.enc.RawString("* OK Still here").CRLF()
			keepalive = time.Now().Add(s.cfg.IdleKeepalive)
		default:
			return err
		}
	}
}
