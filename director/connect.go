package director

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapclient"
	"github.com/roost-mail/roost/imapserver"
	"github.com/roost-mail/roost/imapwire"
	"github.com/roost-mail/roost/sasl"
	"github.com/roost-mail/roost/tlsconn"
)

// Where backends listen unless their entry names a port.
const (
	imapPort  = 143
	imapsPort = 993
)

// Route is one login to send on. User decides the backend, so that a master
// login lands where the mail is.
type Route struct {
	User     string // whose mail is opened
	AuthID   string // who logs in: User, or the master user
	Password string

	// Delegation, if set, is handed on in place of a password: what another node has
	// signed for AuthID.
	Delegation *sasl.Delegation

	// Host, if set, is the backend (the passdb field `host`), and HostIP where it is,
	// if that need not be looked up (`hostip`); Port and Tag are the fields `port`
	// and `director_tag`. 0 leaves the port to the backend's entry.
	Host   string
	HostIP netip.Addr
	Port   uint16
	Tag    string

	// Security is that of the connection to the backend (the fields `ssl` and
	// `starttls`); Plain leaves it to the backend's entry. The backend's certificate
	// must be for Host, or the name or address of the backend's entry, unless
	// AnyCert is set.
	Security imapclient.Security
	AnyCert  bool

	Source    netip.Addr        // our address of the connection, in place of Config.Sources (`source_ip`)
	Timeout   time.Duration     // in place of Config.Timeout, unless 0 (`proxy_timeout`)
	NotBefore time.Time         // the login waits until then (`delay_until`)
	Forward   map[string]string // more fields x-forward-* for the backend (`forward_*`)
	Silent    bool              // the backend is told nothing of the client (`proxy_not_trusted`)
	OneByOne  bool              // each answer is waited for (`proxy_nopipelining`)
	PlainOnly bool              // no other way to log in than AUTHENTICATE PLAIN (`proxy_mech`)
}

// Connect logs in at the user's backend as the route says. The connection that
// comes back waits for Run.
func (d *Director) Connect(ctx context.Context, c *imapserver.Client, r Route) (imapserver.Proxy, error) {
	if err := sleep(ctx, time.Until(r.NotBefore)); err != nil {
		return nil, unavailable(fmt.Errorf("%s is delayed: %w", r.User, err))
	}
	if r.Timeout <= 0 {
		r.Timeout = d.cfg.Timeout
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	s := &search{director: d, client: c, route: r, query: cluster.Query{User: r.User, Tag: r.Tag}}
	for {
		p, err := s.attempt(ctx)
		took := time.Since(began).Milliseconds()
		if err == nil {
			p.log = d.cfg.Log.With("session", c.SessionID, "user", r.User, "backend", s.at.addr)
			p.log.Info("proxying", "acting", r.AuthID, "client", c.Remote.String(),
				"revision", int64(s.at.revision), "attempts", s.attempts, "ms", took)
			return p, nil
		}
		if !s.again(ctx, err) {
			return nil, refused(fmt.Errorf("login of %s at backend %q, revision %d, attempt %d, after %d ms: %w",
				r.User, s.at.name, s.at.revision, s.attempts, took, err))
		}
	}
}

// search is a login on its way to the backend that takes it. It belongs to one
// goroutine.
type search struct {
	director *Director
	client   *imapserver.Client
	route    Route
	query    cluster.Query

	at         target // of the last attempt
	attempts   int
	reconnects int
}

// target is a backend to try.
type target struct {
	name     string // as logs have it
	addr     string // to connect to
	host     string // that its certificate is for
	security imapclient.Security
	revision cluster.Revision // of the map that names it; 0 without a coordinator
	foreign  bool             // no Roost: it is told nothing of the map, and needs a Pass
}

// attempt tries the backend that the user has now.
func (s *search) attempt(ctx context.Context) (*proxied, error) {
	s.attempts++
	if err := s.locate(ctx); err != nil {
		return nil, final{fmt.Errorf("locate: %w", err)}
	}
	if s.at.addr == s.client.Local.String() {
		return nil, final{errors.New("proxying loops to itself: this is the address that the client connected to")}
	}
	if s.at.foreign && s.director.cfg.Admit != nil {
		pass, err := s.director.cfg.Admit(s.route.User, s.at.name)
		if err != nil {
			return nil, err
		}
		p, err := s.enter(ctx)
		if err != nil {
			pass.Done()
			return nil, err
		}
		p.pass = pass
		return p, nil
	}
	return s.enter(ctx)
}

// enter logs in at the backend.
func (s *search) enter(ctx context.Context) (*proxied, error) {
	doubt := s.doubt()
	conn, err := s.reach(ctx, doubt != "")
	switch {
	case err != nil && doubt != "":
		return nil, final{fmt.Errorf("it does not answer health checks (%s), nor this login: %w", doubt, err)}
	case err != nil:
		return nil, unreachable{err}
	}
	p, err := s.login(ctx, conn)
	if err != nil {
		_ = conn.Close()
	}
	return p, err
}

// doubt is why a backend is thought not to answer; empty if it is not. It is tried all
// the same, as it may have come back, but briefly and once.
func (s *search) doubt() (reason string) {
	if s.director.cfg.Refuses == nil || s.at.revision > 0 && !s.at.foreign {
		return ""
	}
	_, port, _ := net.SplitHostPort(s.at.addr)
	for _, addr := range []string{s.at.addr, net.JoinHostPort(s.at.host, port)} { // it may be checked by name
		if reason, yes := s.director.cfg.Refuses(addr); yes {
			return cmp.Or(reason, "no reason")
		}
	}
	return ""
}

// doubtTime is how long a backend has that is thought not to answer.
const doubtTime = time.Second

// again says whether another attempt follows one that failed, and waits for it.
//
// An error with which a cluster's backend answered nothing may mean that it has just
// died, and that it does not hold the user any more: the map will say so. To log in
// twice does no harm, as the first session ends with its connection.
func (s *search) again(ctx context.Context, err error) bool {
	if _, ok := errors.AsType[final](err); ok {
		return false
	}
	later, hasMoved := moved(err)
	answer, answered := errors.AsType[*imap.Error](err)
	inCluster := s.at.revision > 0
	if !inCluster || !hasMoved && answered {
		if answered && answer.Code != imap.CodeUnavailable || s.reconnects >= s.director.cfg.Reconnects {
			return false
		}
		s.reconnects++
	}
	pause := s.director.pause
	if inCluster { // the Locator waits for another answer; but backends could be of two minds
		pause = time.Duration(min(s.attempts-1, 10)) * (20*time.Millisecond + rand.N(20*time.Millisecond))
	}
	s.query.After, s.query.Refused = max(s.at.revision, later), s.at.name
	return sleep(ctx, pause) == nil
}

// sleep waits for d or the end of ctx, whose error it returns.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// locate finds out where to connect to.
func (s *search) locate(ctx context.Context) error {
	r := &s.route
	if r.Host != "" {
		s.at = target{name: r.Host, addr: r.Host, host: r.Host, security: r.Security}
		if r.HostIP.IsValid() {
			s.at.addr = r.HostIP.String()
		}
		s.at.addr = net.JoinHostPort(s.at.addr, strconv.Itoa(int(portOr(r.Port, r.Security))))
		return nil
	}
	b, err := s.director.cfg.Locator.Locate(ctx, s.query)
	if err != nil {
		return err
	}
	if r.Port != 0 {
		b.Port = r.Port
	}
	s.at = target{name: b.Name, host: b.Host, security: r.Security, revision: b.Revision, foreign: b.Foreign}
	if s.at.security == imapclient.Plain {
		s.at.security = imapclient.SecurityOf(b.TLS)
	}
	s.at.addr = b.Addr(portOr(0, s.at.security)).String()
	if s.at.host == "" {
		s.at.host = b.IP.String()
	}
	return nil
}

// portOr is port, or the usual one.
func portOr(port uint16, security imapclient.Security) uint16 {
	switch {
	case port != 0:
		return port
	case security == imapclient.ImplicitTLS:
		return imapsPort
	}
	return imapPort
}

// reach connects and waits until the backend would take a login. One that is
// stopped, and in a cluster soon replaced, has a third of the time for it, one that is
// doubted a moment.
func (s *search) reach(ctx context.Context, doubted bool) (*imapclient.Conn, error) {
	limit := s.route.Timeout
	switch {
	case doubted:
		limit = min(limit, doubtTime)
	case s.at.revision > 0:
		limit /= 3
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	nc, err := s.director.dialer(s.route.Source).DialContext(ctx, "tcp", s.at.addr)
	if err != nil {
		return nil, err
	}
	cfg := imapclient.Config{Timeout: s.route.Timeout, Security: s.at.security, Limits: loginLimits}
	if s.at.security != imapclient.Plain {
		cfg.TLS = tlsconn.Named(s.director.cfg.TLS(), s.at.host, s.route.AnyCert)
	}
	conn, err := imapclient.New(ctx, nc, cfg)
	if err != nil {
		return nil, err
	}
	if err := conn.Capability(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// loginLimits are for what a backend says until the login is done.
var loginLimits = imapwire.Limits{Line: 16 << 10, Literal: 4 << 10, ListItems: 100}

func (d *Director) dialer(source netip.Addr) *net.Dialer {
	dialer := &net.Dialer{KeepAlive: 5 * time.Minute}
	if n := uint64(len(d.cfg.Sources)); n > 0 && !source.IsValid() {
		source = d.cfg.Sources[d.dials.Add(1)%n]
	}
	if source.IsValid() {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(source, 0))
		dialer.Control = portAtConnect
	}
	return dialer
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
func (s *search) login(ctx context.Context, conn *imapclient.Conn) (*proxied, error) {
	var id *imapclient.Command
	var err error
	if conn.Has("ID") && !s.route.Silent {
		if id, err = conn.ID(ctx, s.fields()); err != nil {
			return nil, err
		}
	}
	if id != nil && s.route.OneByOne {
		if _, err := conn.Wait(ctx, id); err != nil {
			return nil, err
		}
	}
	if err := s.authenticate(ctx, conn); err != nil {
		return nil, err
	}
	if id != nil && !id.Answered() {
		_, err = conn.Wait(ctx, id)
	}
	if err == nil {
		err = conn.Capability(ctx)
	}
	if err != nil {
		return nil, err
	}
	p := &proxied{director: s.director, backend: s.at.addr, user: s.route.User, conn: conn, capabilities: conn.Capabilities()}
	if s.at.revision > 0 {
		p.name = s.at.name
	}
	return p, nil
}

func (s *search) authenticate(ctx context.Context, conn *imapclient.Conn) error {
	r := &s.route
	switch {
	case r.Delegation != nil && conn.Has("AUTH="+sasl.DelegationName):
		_, err := conn.AuthenticateBy(ctx, sasl.DelegationName, r.Delegation.Encode())
		return err
	case r.Delegation != nil:
		return final{imap.Wrap(imap.CodeCannot, "The user's server does not know delegation.", errNoDelegation)}
	case conn.Has("AUTH=PLAIN"):
		authzid := ""
		if r.AuthID != r.User {
			authzid = r.User
		}
		_, err := conn.Authenticate(ctx, authzid, r.AuthID, r.Password)
		return err
	case r.AuthID != r.User:
		return final{errors.New("no AUTH=PLAIN there, which a master login needs")}
	case r.PlainOnly:
		return final{errors.New("no AUTH=PLAIN there, which proxy_mech asks for")}
	}
	_, err := conn.Login(ctx, r.User, r.Password)
	return err
}

var errNoDelegation = errors.New("no AUTH=" + sasl.DelegationName + " there: it is no Roost with the same coordinator, or has cluster_delegation = no")

// maxForward is how many fields x-forward-* fit into an ID command beside ours
// (RFC 2971 section 3.3).
const maxForward = 16

// fields is what a backend that trusts us learns of the client, and in a cluster of
// our map.
func (s *search) fields() map[string]string {
	c := s.client
	fields := map[string]string{
		"name":               "Roost",
		"x-session-id":       c.SessionID,
		"x-originating-ip":   c.Remote.Addr().String(),
		"x-originating-port": strconv.Itoa(int(c.Remote.Port())),
		"x-connected-ip":     c.Connected.Addr().String(),
		"x-connected-port":   strconv.Itoa(int(c.Connected.Port())),
		"x-proxy-ttl":        strconv.Itoa(int(c.ProxyTTL) - 1),
	}
	if c.ExternalSessionID != "" {
		fields["x-session-ext-id"] = c.ExternalSessionID
	}
	if s.at.revision > 0 && !s.at.foreign {
		fields["x-roost-revision"] = strconv.FormatInt(int64(s.at.revision), 10)
	}
	left := maxForward
	for _, forward := range []map[string]string{s.route.Forward, c.Forwarded} {
		for name, value := range forward {
			if key := "x-forward-" + name; fields[key] == "" && left > 0 {
				fields[key] = value
				left--
			}
		}
	}
	return fields
}
