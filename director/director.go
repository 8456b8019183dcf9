// Package director is the front door: it finds the backend a user lives on,
// logs in there, and joins the two connections.
//
// It keeps no state per user. Where a user lives is the Locator's to say; after
// the login a connection is two sockets and the bytes between them, and holds
// no buffer while nothing is said. It decides no rights and opens no mail; who
// the user is, the caller has found out before.
//
// A backend that can't be reached is UNAVAILABLE within Config.Timeout. Its
// words are never passed on: what the backend's refusals mean to the client is
// decided in refused.
package director

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/idle"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapclient"
	"github.com/roost-mail/roost/imapserver"
	"github.com/roost-mail/roost/tlsconn"
)

// Config says where backends are and how to reach them.
type Config struct {
	Locator cluster.Locator
	Log     *slog.Logger

	// Sources are the local addresses of connections to backends, in turn
	// (login_source_ips); without any the system chooses.
	Sources []netip.Addr

	// Refuses, if set, says that the backend at an address does not even greet, and
	// why: its users are told so without waiting for a time-out. It is cheap.
	Refuses func(addr string) (reason string, yes bool)

	// Timeout bounds connecting and logging in at a backend, all attempts
	// together. 0 means 5 seconds.
	Timeout time.Duration

	// TLS gives the configuration for connections to backends, which is Named
	// for each. nil without routes that ask for it.
	TLS func() *tls.Config

	// Poller, if set, waits for connections that are quiet, which need no
	// goroutines then. It is closed after all connections have ended.
	Poller *idle.Poller

	// WriteTimeout ends a connection one end of which takes no bytes. 0 means 2 minutes.
	WriteTimeout time.Duration
}

// Where backends listen unless their entry names a port.
const (
	imapPort  = 143
	imapsPort = 993
)

// Director sends logins on. It is safe for concurrent use.
type Director struct {
	cfg   Config
	pool  *pool
	dials atomic.Uint64
}

// New makes a Director. It connects to nobody.
func New(cfg Config) *Director {
	if cfg.Timeout <= 0 {
		cfg.Timeout = 5 * time.Second
	}
	if cfg.WriteTimeout <= 0 {
		cfg.WriteTimeout = 2 * time.Minute
	}
	return &Director{cfg: cfg, pool: newPool(cfg.Poller)}
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

// Route is one login to send on. User decides the backend, so that a master
// login lands where the mail is.
type Route struct {
	User     string // whose mail is opened
	AuthID   string // who logs in: User, or the master user
	Password string

	// Host, if set, is the backend (the passdb field `host`); Port and Tag are
	// its fields `port` and `director_tag`. 0 leaves the port to the backend's entry.
	Host string
	Port uint16
	Tag  string

	// Security is that of the connection to the backend (the fields `ssl` and
	// `starttls`). The backend's certificate must be for Host, or the name or
	// address of the backend's entry, unless AnyCert is set.
	Security imapclient.Security
	AnyCert  bool
}

func (r *Route) usualPort() uint16 {
	if r.Security == imapclient.ImplicitTLS {
		return imapsPort
	}
	return imapPort
}

// Connect logs in at the user's backend as the route says. The connection that
// comes back waits for Run.
func (d *Director) Connect(ctx context.Context, c *imapserver.Client, r Route) (imapserver.Proxy, error) {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.Timeout)
	defer cancel()
	addr, host, err := d.locate(ctx, r)
	if err != nil {
		return nil, unavailable(fmt.Errorf("locate %s: %w", r.User, err))
	}
	if addr == c.Local.String() {
		return nil, unavailable(fmt.Errorf("proxying %s loops to itself: %s is this director", r.User, addr))
	}
	if d.cfg.Refuses != nil {
		if reason, yes := d.cfg.Refuses(addr); yes {
			return nil, unavailable(fmt.Errorf("backend %s of %s does not answer health checks: %s", addr, r.User, reason))
		}
	}
	conn, err := d.dial(ctx, addr, host, r)
	if err != nil {
		return nil, unavailable(fmt.Errorf("backend %s of %s: %w", addr, r.User, err))
	}
	p, err := d.login(ctx, conn, c, r)
	if err != nil {
		_ = conn.Close()
		return nil, refused(fmt.Errorf("backend %s of %s: %w", addr, r.User, err))
	}
	p.log = d.cfg.Log.With("session", c.SessionID, "user", r.User, "backend", addr)
	p.log.Info("proxying", "acting", r.AuthID, "client", c.Remote.String())
	return p, nil
}

// locate gives the address to connect to, and the name that it has by its certificate.
func (d *Director) locate(ctx context.Context, r Route) (addr, host string, err error) {
	if r.Host != "" {
		port := r.Port
		if port == 0 {
			port = r.usualPort()
		}
		return net.JoinHostPort(r.Host, strconv.Itoa(int(port))), r.Host, nil
	}
	backend, err := d.cfg.Locator.Locate(ctx, cluster.Query{User: r.User, Tag: r.Tag})
	if err != nil {
		return "", "", err
	}
	if r.Port != 0 {
		backend.Port = r.Port
	}
	if host = backend.Host; host == "" {
		host = backend.IP.String()
	}
	return backend.Addr(r.usualPort()).String(), host, nil
}

func (d *Director) dial(ctx context.Context, addr, host string, r Route) (*imapclient.Conn, error) {
	dialer := net.Dialer{KeepAlive: 5 * time.Minute}
	if n := uint64(len(d.cfg.Sources)); n > 0 {
		source := d.cfg.Sources[d.dials.Add(1)%n]
		dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(source, 0))
		dialer.Control = portAtConnect
	}
	nc, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	cfg := imapclient.Config{Timeout: d.cfg.Timeout, Security: r.Security}
	if r.Security != imapclient.Plain {
		cfg.TLS = tlsconn.Named(d.cfg.TLS(), host, r.AnyCert)
	}
	return imapclient.New(ctx, nc, cfg)
}

// portAtConnect leaves the local port to connect(2), which can use one again that
// leads elsewhere; bind(2) would run out of them.
func portAtConnect(_, _ string, c syscall.RawConn) error {
	var err error
	if cerr := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	}); cerr != nil {
		return cerr
	}
	return err
}

// login tells the backend who the client really is, then logs in.
func (d *Director) login(ctx context.Context, conn *imapclient.Conn, c *imapserver.Client, r Route) (*proxied, error) {
	if err := conn.Capability(ctx); err != nil {
		return nil, err
	}
	var id *imapclient.Command
	var err error
	if conn.Has("ID") {
		if id, err = conn.ID(ctx, forward(c)); err != nil {
			return nil, err
		}
	}
	switch {
	case conn.Has("AUTH=PLAIN"):
		authzid := ""
		if r.AuthID != r.User {
			authzid = r.User
		}
		_, err = conn.Authenticate(ctx, authzid, r.AuthID, r.Password)
	case r.AuthID != r.User:
		return nil, errors.New("no AUTH=PLAIN there, which a master login needs")
	default:
		_, err = conn.Login(ctx, r.User, r.Password)
	}
	if err != nil {
		return nil, err
	}
	if id != nil {
		_, err = conn.Wait(ctx, id)
	}
	if err == nil {
		err = conn.Capability(ctx)
	}
	if err != nil {
		return nil, err
	}
	return &proxied{director: d, backend: conn.RemoteAddr().String(), conn: conn, capabilities: conn.Capabilities()}, nil
}

// forward is what a backend that trusts us learns of the client.
func forward(c *imapserver.Client) map[string]string {
	fields := map[string]string{
		"name":               "Roost",
		"x-session-id":       c.SessionID,
		"x-originating-ip":   c.Remote.Addr().String(),
		"x-originating-port": strconv.Itoa(int(c.Remote.Port())),
		"x-connected-ip":     c.Connected.Addr().String(),
		"x-connected-port":   strconv.Itoa(int(c.Connected.Port())),
		"x-proxy-ttl":        strconv.Itoa(c.ProxyTTL - 1),
	}
	if c.ExternalSessionID != "" {
		fields["x-session-ext-id"] = c.ExternalSessionID
	}
	for name, value := range c.Forwarded {
		fields["x-forward-"+name] = value
	}
	return fields
}

func unavailable(cause error) error {
	return imap.Wrap(imap.CodeUnavailable, "Account is temporarily unavailable.", cause)
}

// refused is what the client hears when the backend did not let us in: a wrong
// password looks as it does here, limits and other codes pass, and all else is
// trouble of ours.
func refused(cause error) error {
	e, ok := errors.AsType[*imap.Error](cause)
	if !ok {
		return unavailable(cause)
	}
	switch e.Code {
	case imap.CodeAuthenticationFailed:
		return imap.Wrap(e.Code, "Authentication failed.", cause)
	case imap.CodeAuthorizationFailed, imap.CodeExpired, imap.CodeContactAdmin, imap.CodeLimit, imap.CodeInUse:
		return imap.Wrap(e.Code, "Login is not possible now.", cause)
	}
	return unavailable(cause)
}

// proxied is a connection that is logged in at the backend. It belongs to the
// goroutine of the client's session, but for backend and joint.
type proxied struct {
	director     *Director
	backend      string // where it is; never changed
	conn         *imapclient.Conn
	log          *slog.Logger
	capabilities []string
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
	j.run(ctx, func(in, out int64, reason string) {
		if reason == backendGone {
			p.log.Warn("backend closed the connection of a client that did not log out")
		}
		ended(imapserver.Result{BytesIn: in, BytesOut: out, Reason: reason})
	})
}

// Status implements imapserver.Proxy.
func (p *proxied) Status() (backend string, in, out int64) {
	if j := p.joint.Load(); j != nil {
		in, out = j.toBackend.moved.Load(), j.toClient.moved.Load()
	}
	return p.backend, in, out
}

// Close gives the backend's connection up.
func (p *proxied) Close() error { return p.conn.Close() }
