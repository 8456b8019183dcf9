package imapserver

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/roost-mail/roost/idle"
	"github.com/roost-mail/roost/tlsconn"
)

// Reasons for which a stream ends a read. They end the connection, but for
// errWoken.
var (
	errShutdown = errors.New("server shutting down")
	errWoken    = errors.New("woken")
	errTimeout  = errors.New("disconnected for inactivity")
)

// longAgo as a deadline ends a read that is under way.
var longAgo = time.Unix(1, 0)

// stream is the bytes of a connection: counted, with a deadline for each read
// and write, and a copy for the raw log. It belongs to the session's goroutine;
// wake and shutdown may be called from any.
type stream struct {
	conn          net.Conn // for reads and writes; STARTTLS replaces it
	sock          net.Conn // what it stands on, whose deadline wakes it; never replaced
	in, out       int64
	traffic       *traffic      // of all
	waited        time.Duration // for the client, to send or to take
	rawIn, rawOut io.WriteCloser

	readTimeout, writeTimeout time.Duration

	// When the deadlines that are set now end, counted from began; 0 is unknown.
	// To set one is a call of the kernel at times, so those that will do stay.
	began               time.Time
	readEnds, writeEnds time.Duration

	// until is when a read has to be over, counted from began: within a command it is
	// zero and each read has readTimeout; between commands it is fixed, whatever comes.
	until time.Duration

	// brief has a read not wait: what is there or nothing. full says that the
	// last read was given all it had room for, so that there may be more.
	brief, full bool

	// limit, if not zero, bounds all reads: the time for a login, counted from began.
	limit time.Duration

	// flush is called before a read waits: what was answered goes out when,
	// and only when, nothing more is there to be read.
	flush func() error

	// A wait reads a little more than the one byte it is asked for, so that a
	// short command costs one read and an idle session holds no buffer.
	ahead    [64]byte
	from, to int

	woken   atomic.Bool // wake was called, and wait has not told yet
	closing atomic.Bool // shutdown was called

	parked atomic.Pointer[idle.Ticket] // the last wait without a goroutine; nil before
}

// wake makes the wait that is under way, or the next one, return errWoken. It
// does not disturb reads within a command, as nobody wakes during one.
func (s *stream) wake() {
	s.woken.Store(true)
	s.rouse()
}

// rouse ends the wait that is under way, wherever.
func (s *stream) rouse() {
	_ = s.sock.SetReadDeadline(longAgo)
	if t := s.parked.Load(); t != nil {
		t.Wake()
	}
}

// shutdown ends the read that is under way and all that follow with errShutdown.
func (s *stream) shutdown() {
	s.closing.Store(true)
	s.rouse()
}

// Read is the Decoder's source.
func (s *stream) Read(p []byte) (int, error) {
	if s.from < s.to {
		n := copy(p, s.ahead[s.from:s.to])
		s.from += n
		return n, nil
	}
	if !s.brief {
		if err := s.flush(); err != nil {
			return 0, err
		}
	}
	if len(p) != 1 {
		return s.read(p)
	}
	n, err := s.read(s.ahead[:])
	s.from, s.to = copy(p, s.ahead[:n]), n
	return s.from, err
}

// read sets the deadline first and looks at the marks afterwards, as wake and
// shutdown do the reverse: none is lost.
func (s *stream) read(p []byte) (int, error) {
	waiting := s.until != 0
	for {
		now := time.Now()
		deadline := s.deadline(now)
		s.readBy(now, deadline)
		if s.closing.Load() {
			return 0, errShutdown
		}
		if waiting && s.woken.Swap(false) {
			return 0, errWoken
		}
		n, err := s.conn.Read(p)
		after := time.Now()
		s.waited += after.Sub(now)
		if n > 0 {
			s.full = n == len(p)
			s.in += int64(n)
			s.traffic.read(n)
			copyRaw(&s.rawIn, p[:n])
			return n, nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return 0, err
		}
		// Before the deadline it was wake or shutdown that ended the read, or a
		// deadline of an earlier read; the marks are looked at again.
		s.readEnds = 0
		if !after.Before(deadline) {
			return 0, errTimeout
		}
	}
}

// readBy has a read end at a deadline, or before: a read that ends too early is
// begun again.
func (s *stream) readBy(now, deadline time.Time) {
	ends := deadline.Sub(s.began)
	if now.Sub(s.began) < s.readEnds && s.readEnds <= ends {
		return
	}
	_ = s.conn.SetReadDeadline(deadline)
	s.readEnds = ends
}

// writeBy has a write end after writeTimeout or up to a quarter later: never
// before, since TLS does not go on after that.
func (s *stream) writeBy(now time.Time) {
	ends, slack := now.Sub(s.began)+s.writeTimeout, s.writeTimeout/4
	if ends <= s.writeEnds && s.writeEnds <= ends+slack {
		return
	}
	_ = s.conn.SetWriteDeadline(now.Add(s.writeTimeout + slack))
	s.writeEnds = ends + slack
}

// forgetDeadlines is called after somebody else has set them.
func (s *stream) forgetDeadlines() { s.readEnds, s.writeEnds = 0, 0 }

// briefRead is long enough for a read that finds something to be made.
const briefRead = time.Millisecond

// mayHaveMore reports whether a read is likely to find something at once.
func (s *stream) mayHaveMore() bool { return s.from < s.to || s.full }

func (s *stream) deadline(now time.Time) time.Time {
	switch {
	case s.brief:
		return now.Add(briefRead)
	case s.until != 0:
		return s.earlier(s.began.Add(s.until))
	}
	return s.earlier(now.Add(s.readTimeout))
}

// earlier is t, or limit if that is before.
func (s *stream) earlier(t time.Time) time.Time {
	if limit := s.began.Add(s.limit); s.limit != 0 && t.After(limit) {
		return limit
	}
	return t
}

// sleep returns when a read would not wait, at until, or after wake or shutdown.
// quiet says that nothing but until has come.
func (s *stream) sleep(until time.Time) (quiet bool) {
	_ = s.sock.SetReadDeadline(until)
	s.forgetDeadlines()
	if s.closing.Load() || s.woken.Load() {
		return false
	}
	err := tlsconn.WaiterOf(s.conn).Wait()
	return errors.Is(err, os.ErrDeadlineExceeded) && !s.closing.Load() && !s.woken.Load()
}

// Write is the Encoder's sink. A client has writeTimeout, or a little more, for
// each piece, not for the whole: a slow one may take its time, one that stands still may not.
func (s *stream) Write(p []byte) (int, error) {
	const piece = 64 << 10
	done := 0
	for done < len(p) {
		now := time.Now()
		s.writeBy(now)
		n, err := s.conn.Write(p[done:min(done+piece, len(p))])
		s.waited += time.Since(now)
		copyRaw(&s.rawOut, p[done:done+n])
		done += n
		s.out += int64(n)
		s.traffic.wrote(n)
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// copyRaw keeps the raw log; one that fails is given up, never the session.
func copyRaw(w *io.WriteCloser, p []byte) {
	if *w == nil || len(p) == 0 {
		return
	}
	if _, err := (*w).Write(p); err != nil {
		_ = (*w).Close()
		*w = nil
	}
}

// takeAhead is what was read but not given out yet.
func (s *stream) takeAhead() []byte {
	rest := s.ahead[s.from:s.to]
	s.from = s.to
	return rest
}

// The bounds of linger.
const (
	lingerTime  = time.Second
	lingerBytes = 1 << 20
)

// linger closes our half and waits a moment for the other to be closed. A
// connection that is closed with unread input is reset, and the client loses
// the last line that we sent.
func (s *stream) linger() {
	half, ok := s.conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	_ = s.conn.SetReadDeadline(time.Now().Add(lingerTime))
	_, _ = io.CopyN(io.Discard, s.conn, lingerBytes)
}

func (s *stream) close() {
	_ = s.conn.Close()
	s.endRawLogs()
}

// endRawLogs closes the raw logs of a login.
func (s *stream) endRawLogs() {
	for _, w := range []*io.WriteCloser{&s.rawIn, &s.rawOut} {
		if *w != nil {
			_ = (*w).Close()
			*w = nil
		}
	}
}
