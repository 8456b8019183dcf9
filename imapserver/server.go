package imapserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"github.com/roost-mail/roost/imap"
)

// Server serves IMAP connections. Its methods may be called from any goroutine.
type Server struct {
	cfg  Config
	rows map[string]countedRow

	capabilities []capabilityRow

	counters counters

	mu        sync.Mutex
	sessions  map[*session]struct{}
	waiting   map[netip.Prefix]int // of them, not logged in and not trusted, by where they are from
	listeners map[net.Listener]struct{}
	closing   bool
	drained   chan struct{} // closed when closing and no session is left
}

// New makes a server. It starts nothing.
func New(cfg Config) *Server {
	return &Server{
		cfg:  cfg.withDefaults(),
		rows: countedRows(),

		capabilities: capabilityRows(),

		sessions:  make(map[*session]struct{}),
		waiting:   make(map[netip.Prefix]int),
		listeners: make(map[net.Listener]struct{}),
		drained:   make(chan struct{}),
	}
}

// ErrClosed is what Serve returns after Shutdown.
var ErrClosed = errors.New("imap server is closed")

// The bounds of the pause after an Accept that failed, as when there are no
// file descriptors left.
const (
	minAcceptPause = 5 * time.Millisecond
	maxAcceptPause = time.Second
)

// Serve accepts connections until ctx is done, Shutdown is called or ln is
// closed, and closes ln. Sessions outlive ctx: Shutdown ends them.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error { return s.ServeDoor(ctx, ln, nil) }

// ServeDoor is Serve for a listener that is for something else than others.
func (s *Server) ServeDoor(ctx context.Context, ln net.Listener, door *Door) error {
	if !s.addListener(ln) {
		_ = ln.Close()
		return ErrClosed
	}
	defer s.removeListener(ln)
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	pause := minAcceptPause
	for {
		conn, err := ln.Accept()
		switch {
		case err == nil:
			pause = minAcceptPause
			go s.serveConn(context.WithoutCancel(ctx), conn, door, func() {})
			continue
		case s.isClosing():
			return ErrClosed
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accept: %w", err)
		}
		s.cfg.Log.Warn("accept failed", "error", err, "pause", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		pause = min(2*pause, maxAcceptPause)
	}
}

// ServeConn serves one connection and closes it. It returns when that is done;
// when ctx is done the client is told BYE, as by Shutdown.
func (s *Server) ServeConn(ctx context.Context, conn net.Conn) {
	done := make(chan struct{})
	s.serveConn(ctx, conn, nil, func() { close(done) })
	<-done
}

// growStack has the goroutine's stack grow once, while nearly nothing is on it, to what a
// login needs: else it doubles again and again, and each time all is copied.
//
//go:noinline
func growStack() {
	var room [loginStack]byte
	runtime.KeepAlive(&room)
}

// loginStack is what a login needs, in bytes.
const loginStack = 12 << 10

// serveConn begins to serve a connection, and calls ended when it is closed.
func (s *Server) serveConn(ctx context.Context, conn net.Conn, door *Door, ended func()) {
	growStack()
	own, cancel := context.WithCancel(ctx)
	ss := newSession(own, cancel, s, conn, door)
	if refusal := s.add(ss); refusal != nil {
		ss.refuse(refusal)
		cancel()
		ended()
		return
	}
	stop := func() bool { return true }
	if ctx.Done() != nil {
		stop = context.AfterFunc(ctx, func() {
			ss.shutdown()
			ss.endLogin()
		})
	}
	ss.ended = func() {
		stop()
		s.remove(ss)
		ended()
	}
	ss.serve(ss.begin)
}

// Shutdown ends the server: no more connections, and each session is told
// "BYE [UNAVAILABLE]" as soon as its command is done. When ctx is done the
// sessions that are left are cut off, and the error is that of ctx. A
// connection that was handed to a Proxy has its context cancelled at once.
func (s *Server) Shutdown(ctx context.Context) error {
	s.close()
	select {
	case <-s.drained:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	for ss := range s.sessions {
		ss.abort()
	}
	s.mu.Unlock()
	select {
	case <-s.drained:
	case <-time.After(abortTimeout):
	}
	return ctx.Err()
}

// abortTimeout is how long Shutdown waits for sessions that were cut off.
const abortTimeout = 5 * time.Second

func (s *Server) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return
	}
	s.closing = true
	for ln := range s.listeners {
		_ = ln.Close()
	}
	for ss := range s.sessions {
		ss.shutdown()
	}
	if len(s.sessions) == 0 {
		close(s.drained)
	}
}

// add takes a session in, or says why it may not come in.
func (s *Server) add(ss *session) *imap.Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closing:
		return byeShutdown()
	case s.cfg.MaxConnections > 0 && len(s.sessions) >= s.cfg.MaxConnections:
		return imap.Errorf(imap.CodeUnavailable, "Too many connections")
	}
	if limit := s.cfg.MaxLogins(); !ss.client.Trusted && limit > 0 && ss.client.Peer.IsValid() {
		from := origin(ss.client)
		if s.waiting[from] >= limit {
			return imap.Errorf(imap.CodeLimit, "Too many connections from your address that have not logged in")
		}
		s.waiting[from]++
		ss.waits = true
	}
	s.sessions[ss] = struct{}{}
	return nil
}

// origin is what shares a limit: an address, or a network of IPv6 such as one client
// is given.
func origin(c *Client) netip.Prefix {
	bits := 64
	if c.Peer.Addr().Is4() {
		bits = 32
	}
	p, _ := c.Peer.Addr().WithZone("").Prefix(bits) // is an error for too many bits only
	return p
}

// loggedIn is called when a session no longer waits for a login.
func (s *Server) loggedIn(ss *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !ss.waits {
		return
	}
	ss.waits = false
	from := origin(ss.client)
	if s.waiting[from]--; s.waiting[from] == 0 {
		delete(s.waiting, from)
	}
}

func (s *Server) remove(ss *session) {
	s.loggedIn(ss)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, ss)
	if s.closing && len(s.sessions) == 0 {
		close(s.drained)
	}
}

func (s *Server) addListener(ln net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closing {
		s.listeners[ln] = struct{}{}
	}
	return !s.closing
}

func (s *Server) removeListener(ln net.Listener) {
	_ = ln.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, ln)
}

func (s *Server) isClosing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing
}
