package imapserver

import (
	"errors"
	"net"
	"syscall"
	"time"

	"github.com/roost-mail/roost/tlsconn"
)

// pause is the wait for a client, between commands or within IDLE. While it
// lasts the session holds no buffer; and after Config.QuietTime no stack of the
// commands that it has run: it is parked.
type pause struct {
	idle      bool
	end       time.Duration // after the connection began: it ends
	keepalive time.Duration // of IDLE, counted as well: the client is told that it lives
	stop      func()        // the watch of the mailbox; nil while there is no pause
}

func (p *pause) begun() bool { return p.stop != nil }

// until is when something has to be done.
func (p *pause) until() time.Duration {
	if p.idle && p.keepalive < p.end {
		return p.keepalive
	}
	return p.end
}

// errParked ends a run that goes on in another goroutine, which has the session
// from then on.
var errParked = errors.New("the session goes on elsewhere")

// wait returns when there is input. What happens meanwhile is told within IDLE,
// and to who wants to know (NOTIFY); else a wake is passed over. idle says that
// it was an IDLE.
func (s *session) wait() (idle bool, err error) {
	p := &s.pause
	if !p.begun() {
		*p = pause{end: time.Since(s.stream.began) + s.cfg.IdleTimeout, stop: s.watchSelected()}
	}
	for {
		until := s.stream.began.Add(p.until())
		err := s.waitUntil(until)
		now := time.Now()
		switch {
		case errors.Is(err, errWoken) && p.idle:
			s.newsWithinIdle()
		case errors.Is(err, errWoken):
			p.stop()
			s.news()
			p.stop = s.watchSelected()
		case errors.Is(err, errTimeout) && now.Before(s.stream.earlier(until)):
			s.park(s.stream.earlier(until))
			return false, errParked
		case errors.Is(err, errTimeout) && p.idle && now.Sub(s.stream.began) < p.end:
			s.enc.RawString("* OK Still here").CRLF()
			p.keepalive = now.Sub(s.stream.began) + s.cfg.IdleKeepalive
		default:
			idle = p.idle
			s.endPause()
			return idle, err
		}
	}
}

// newsWithinIdle tells what has happened. What NOTIFY asks for beside takes
// commands on the mailbox, which a Watch does not let through.
func (s *session) newsWithinIdle() {
	if s.notify != nil {
		s.pause.stop()
		defer func() { s.pause.stop = s.watchIdle() }()
	}
	s.sync(false, false)
	s.notifyOthers()
}

// waitUntil waits for input until then, or for as long as it does before it is parked.
func (s *session) waitUntil(until time.Time) error {
	if quiet := time.Now().Add(s.cfg.QuietTime); quiet.Before(until) && canPark(s.stream.conn) {
		until = quiet
	}
	s.stream.until = until.Sub(s.stream.began)
	err := s.dec.WaitInput()
	s.stream.until = 0
	return err
}

// canPark says that a connection can be waited for from anywhere.
func canPark(conn net.Conn) bool {
	switch conn.(type) {
	case *tlsconn.Conn, syscall.Conn:
		return true
	}
	return false
}

func (s *session) endPause() {
	if s.pause.begun() {
		s.pause.stop()
	}
	s.pause = pause{}
}

// park gives the session up until it has something to do, but for what is needed
// to go on: then another goroutine has it.
func (s *session) park(until time.Time) {
	s.shed()
	s.srv.counters.parked.Add(1)
	resume := func() {
		s.srv.counters.parked.Add(-1)
		s.restore()
		s.serve(s.run)
	}
	sock, ok := s.stream.sock.(syscall.Conn)
	if s.cfg.Poller == nil || !ok {
		go s.parked(until, s.cfg.QuietTime, resume)
		return
	}
	stream := &s.stream
	ticket, err := s.cfg.Poller.Ticket(sock, resume)
	if err == nil {
		// It is known before it begins, so that no wake is missed; afterwards the
		// session may be running elsewhere.
		stream.parked.Store(ticket)
		err = ticket.Arm(until)
	}
	switch {
	case err != nil:
		go resume() // a read finds out what is wrong
	case stream.closing.Load() || stream.woken.Load():
		ticket.Wake()
	}
}

// shed gives back what is only needed while there is something to read or write.
func (s *session) shed() {
	if !s.pause.idle { // else it is still to be answered
		s.cmd = nil
	}
	s.log = nil
	if s.deflated == nil && s.dec.Buffered() == 0 && s.enc.Buffered() == 0 {
		s.dec, s.enc = nil, nil
	}
}

// restore makes it again.
func (s *session) restore() {
	if s.cmd == nil {
		s.cmd = &command{}
	}
	if s.dec == nil {
		s.makeCodec()
	}
}

// parked waits until the session has something to do, and has it run by a
// goroutine that may grow: this one stays as small as it began. How small that
// is depends on what goroutines needed lately, and after a storm of logins it is
// more than it has to be: so at times another takes its place, ever more seldom.
func (s *session) parked(until time.Time, nap time.Duration, resume func()) {
	end := time.Now().Add(nap)
	if end.Before(until) && s.stream.sleep(end) {
		go s.parked(until, 2*nap, resume)
		return
	}
	if !end.Before(until) {
		s.stream.sleep(until)
	}
	go resume()
}
