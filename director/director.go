// Package director is the front door: it finds the backend a user lives on,
// logs in there, and joins the two connections.
//
// It keeps no state per user. Where a user lives is the Locator's to say; after
// the login a connection is two sockets and the bytes between them, and holds
// no buffer while nothing is said. It decides no rights and opens no mail; who
// the user is, the caller has found out before.
//
// A backend that can't be reached is UNAVAILABLE within Config.Timeout, and not
// before another one that may have the user by now was asked. Its words are never
// passed on: what the backend's refusals mean to the client is decided in refused.
package director

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/idle"
	"github.com/roost-mail/roost/imapclient"
	"github.com/roost-mail/roost/imapserver"
)

// Config says where backends are and how to reach them.
type Config struct {
	Locator cluster.Locator
	Log     *slog.Logger

	// Sources are the local addresses of connections to backends, in turn
	// (login_source_ips); without any the system chooses.
	Sources []netip.Addr

	// Refuses, if set, says that the backend at an address does not even greet, and why:
	// its users wait for one brief try, not for a time-out. It is cheap. Backends of a
	// cluster are not asked about: a lease says which of them live.
	Refuses func(addr string) (reason string, yes bool)

	// Admit asks for leave before anything is sent to a backend that is no Roost: the
	// login asks again where the user is if there is none. nil: that is not needed.
	Admit func(user, backend string) (Pass, error)

	// Timeout bounds connecting and logging in at a backend, all attempts
	// together. 0 means 5 seconds.
	Timeout time.Duration

	// Reconnects is how often a backend that can't be reached, or is UNAVAILABLE, is
	// tried again, a second later (login_proxy_max_reconnects). While a cluster's map
	// may name another backend, trying goes on until Timeout.
	Reconnects int

	// DisconnectDelay is the time over which the connections of clients are closed whose
	// backend has closed without having been asked to. 0 is at once.
	DisconnectDelay time.Duration

	// TLS gives the configuration for connections to backends, which is Named
	// for each. nil without routes that ask for it.
	TLS func() *tls.Config

	// Poller, if set, waits for connections that are quiet, which need no
	// goroutines then. It is closed after all connections have ended.
	Poller *idle.Poller

	// WriteTimeout ends a connection one end of which takes no bytes. 0 means 2 minutes.
	WriteTimeout time.Duration
}

// Pass is leave to have one session at a backend. cluster.Pass is one.
type Pass interface {
	// Notify has end called when the session has to end at once; perhaps that is now.
	Notify(end func(why string))

	// Done says that nothing can be sent there any more. It may be called again.
	Done()
}

// Director sends logins on. It is safe for concurrent use.
type Director struct {
	cfg   Config
	pool  *pool
	dials atomic.Uint64
	pause time.Duration // before a backend is tried again
}

// New makes a Director. It connects to nobody.
func New(cfg Config) *Director {
	if cfg.Timeout <= 0 {
		cfg.Timeout = 5 * time.Second
	}
	if cfg.WriteTimeout <= 0 {
		cfg.WriteTimeout = 2 * time.Minute
	}
	d := &Director{cfg: cfg, pool: newPool(cfg.Poller), pause: time.Second}
	d.pool.delay = cfg.DisconnectDelay
	return d
}

// Counts is what a Director has counted since it was made.
type Counts struct {
	Pairs                         int64 // of connections that are joined now
	BytesToBackend, BytesToClient int64 // copied by pairs
}

// Counts reads what was counted, while counting goes on.
func (d *Director) Counts() Counts {
	return Counts{d.pool.pairs.Load(), d.pool.toBackend.Load(), d.pool.toClient.Load()}
}

// proxied is a connection that is logged in at the backend. It belongs to the
// goroutine of the client's session, but for backend and joint.
type proxied struct {
	director     *Director
	backend      string // where it is; never changed, as are the next two
	name, user   string // imapserver.ProxyStatus
	conn         *imapclient.Conn
	log          *slog.Logger
	capabilities []string
	pass         Pass                  // nil without
	joint        atomic.Pointer[joint] // once there is one
}

// OK gives the backend's capabilities, so that none is promised that it lacks.
func (p *proxied) OK() (capabilities []string, text string) {
	return p.capabilities, "Logged in"
}

// Run copies bytes until one end closes or ctx is done.
func (p *proxied) Run(ctx context.Context, client net.Conn, buffered []byte, ended func(imapserver.Result)) {
	backend, early := p.conn.Detach()
	p.conn, p.capabilities = nil, nil // they are as large as the rest
	if p.pass != nil {
		told := ended
		ended = func(r imapserver.Result) {
			p.pass.Done()
			told(r)
		}
	}
	for _, first := range []struct {
		to   net.Conn
		data []byte
	}{{backend, buffered}, {client, early}} {
		if len(first.data) == 0 {
			continue
		}
		_ = first.to.SetWriteDeadline(time.Now().Add(p.director.cfg.WriteTimeout))
		if _, err := first.to.Write(first.data); err != nil {
			_ = backend.Close()
			ended(imapserver.Result{Reason: "disconnected"})
			return
		}
	}
	j := p.director.pool.joint(client, backend, p.director.cfg.WriteTimeout)
	j.toBackend.moved.Store(int64(len(buffered)))
	j.toClient.moved.Store(int64(len(early)))
	p.joint.Store(j)
	if p.pass != nil {
		p.pass.Notify(func(why string) { p.cut(backend, j, why) })
	}
	j.run(ctx, func(in, out int64, reason string) {
		if reason == backendGone {
			p.log.Warn("backend closed the connection of a client that did not log out")
		}
		ended(imapserver.Result{BytesIn: in, BytesOut: out, Reason: reason})
	})
}

// Status implements imapserver.Proxy.
func (p *proxied) Status() imapserver.ProxyStatus {
	s := imapserver.ProxyStatus{Backend: p.backend, Name: p.name, User: p.user}
	if j := p.joint.Load(); j != nil {
		s.BytesIn, s.BytesOut = j.toBackend.moved.Load(), j.toClient.moved.Load()
	}
	return s
}

// cut ends the session at once. What was sent and has not left yet does not leave any
// more.
func (p *proxied) cut(backend net.Conn, j *joint, why string) {
	p.log.Warn("session is ended: its backend must get nothing more", "why", why)
	var sock any = backend
	if layered, ok := backend.(interface{ NetConn() net.Conn }); ok {
		sock = layered.NetConn()
	}
	if tcp, ok := sock.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
		_ = tcp.Close() // not TLS's Close, which says good-bye
	}
	j.end("its backend must get nothing more")
	p.pass.Done()
}

// Close gives the backend's connection up.
func (p *proxied) Close() error {
	err := p.conn.Close()
	if p.pass != nil {
		p.pass.Done()
	}
	return err
}
