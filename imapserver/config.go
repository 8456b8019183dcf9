package imapserver

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/roost-mail/roost/idle"
	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/sasl"
)

// Config says what a Server is. It is not changed after New. Zero fields have
// the default named beside them.
type Config struct {
	Log           *slog.Logger  // none
	Authenticator Authenticator // required

	// Greeting is the text of the first line. "Roost ready."
	Greeting string

	// PlaintextAllowed says whether a client may send its password as it is.
	// Where not, LOGINDISABLED is shown and logins answer PRIVACYREQUIRED. Everybody.
	PlaintextAllowed func(*Client) bool

	// SecuredOnly says whether also mechanisms that hide the password need a
	// connection for which PlaintextAllowed holds (ssl = required). Never.
	SecuredOnly func() bool

	// TLS gives the configuration for the next handshake of STARTTLS; where it
	// gives nil, STARTTLS is not offered. Nowhere.
	TLS func() *tls.Config

	// Trusted says which peers may forward the originating client's address by
	// ID (login_trusted_networks). Nobody.
	Trusted func(netip.Addr) bool

	// IDFields is what we answer to ID (RFC 2971). "name" "Roost"
	IDFields map[string]string

	HandshakeTime time.Duration // for a TLS handshake; 30 s
	LoginTimeout  time.Duration // from the greeting to a login; 3 minutes
	IdleTimeout   time.Duration // between commands, and within IDLE; 30 minutes
	QuietTime     time.Duration // until a session that waits is parked, and holds less memory; 0.25 s

	// Poller, if set, waits for parked sessions; else each has a small goroutine.
	// It is closed after the Server.
	Poller *idle.Poller

	// EndTime is how long a session may take to end that End tells to. 5 s
	EndTime time.Duration

	ReadTimeout    time.Duration // without a byte within a command; 2 minutes
	WriteTimeout   time.Duration // without a byte of ours being taken; 2 minutes
	IdleKeepalive  time.Duration // between two "* OK Still here" (imap_idle_notify_interval); 2 minutes
	MaxMessage     int64         // bytes of an APPENDed message; 100 MiB
	MaxLine        int           // bytes of a command without its literals; 64 KiB
	MaxConnections int           // more are refused at once; 0: no limit

	// MaxLogins is how many connections that have not logged in one address may
	// have, or one network of 64 bits of IPv6; peers that are Trusted may have any
	// number. 0 is no limit. No limit.
	MaxLogins func() int

	// AppendLimitVaries says that users' quotas may know a lower limit than
	// MaxMessage: clients ask by STATUS (RFC 7889).
	AppendLimitVaries bool

	// SlowCommand is the duration from which a command gets a line in the log; 0: none.
	SlowCommand time.Duration

	// Mechanisms are the SASL mechanisms that are offered. All that package sasl has.
	Mechanisms []sasl.Mechanism
}

func (c Config) withDefaults() Config {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Greeting == "" {
		c.Greeting = "Roost ready."
	}
	if c.PlaintextAllowed == nil {
		c.PlaintextAllowed = func(*Client) bool { return true }
	}
	if c.Trusted == nil {
		c.Trusted = func(netip.Addr) bool { return false }
	}
	if c.IDFields == nil {
		c.IDFields = map[string]string{"name": "Roost"}
	}
	if c.Mechanisms == nil {
		c.Mechanisms = sasl.Mechanisms()
	}
	if c.SecuredOnly == nil {
		c.SecuredOnly = func() bool { return false }
	}
	if c.MaxLogins == nil {
		c.MaxLogins = func() int { return 0 }
	}
	if c.TLS == nil {
		c.TLS = func() *tls.Config { return nil }
	}
	setDefault(&c.HandshakeTime, 30*time.Second)
	setDefault(&c.LoginTimeout, 3*time.Minute)
	setDefault(&c.IdleTimeout, 30*time.Minute)
	setDefault(&c.QuietTime, 250*time.Millisecond)
	setDefault(&c.EndTime, 5*time.Second)
	setDefault(&c.ReadTimeout, 2*time.Minute)
	setDefault(&c.WriteTimeout, 2*time.Minute)
	setDefault(&c.IdleKeepalive, 2*time.Minute)
	setDefault(&c.MaxMessage, 100<<20)
	setDefault(&c.MaxLine, 64<<10)
	return c
}

func setDefault[T ~int | ~int64](v *T, def T) {
	if *v <= 0 {
		*v = def
	}
}

// Authenticator decides who may log in, and gives what the session works on.
type Authenticator interface {
	// Login checks cred and returns the session's Account or Proxy. A refusal is
	// an *imap.Error whose code and text the client sees, or a *Moved; it takes as
	// long as the Authenticator wants it to. The server calls it from the connection's
	// goroutine, and closes what it returns.
	Login(ctx context.Context, c *Client, cred Credentials) (*Login, error)
}

// Moved is an Authenticator's error for a user whose mail is not held here. A trusted
// director that sent a RouteRevision is told, and asks elsewhere; to all others it
// is UNAVAILABLE. Nothing was done yet for the login.
type Moved struct {
	Revision int64  // of the map by which we know; above 0
	Holder   string // who has the user by that map; empty if nobody has
	Err      error  // for the log; may be nil
}

func (m *Moved) Error() string {
	text := fmt.Sprintf("the user is not held here at revision %d, but by %s", m.Revision, m.holder())
	if m.Err != nil {
		text += ": " + m.Err.Error()
	}
	return text
}

func (m *Moved) Unwrap() error { return m.Err }

// holder is a word for the wire.
func (m *Moved) holder() string {
	if m.Holder == "" {
		return "-"
	}
	return sanitize(m.Holder, maxHolder)
}

const maxHolder = 255

// KeyHolder is an Authenticator that knows what SCRAM needs. Without it no
// mechanism of that kind is offered.
type KeyHolder interface {
	// Keys gives the keys of cred.AuthID for cred.Mechanism, invented ones for
	// users who do not exist. Login follows, with a Proof.
	Keys(ctx context.Context, c *Client, cred Credentials) (sasl.Keys, error)
}

// Credentials are what a client sent to prove who it is.
type Credentials struct {
	Mechanism string // as package sasl names it; empty for the command LOGIN
	AuthzID   string // who to act as; empty: AuthID
	AuthID    string
	Password  string
	Proof     *sasl.Proof // of SCRAM, which has no password

	// Delegation is in place of a password what another node of ours has signed, if it
	// has: the Authenticator finds out.
	Delegation *sasl.Delegation
}

// Client is what is known of a connection's other end before it logs in.
type Client struct {
	SessionID         string         // ours, or the one that a trusted peer gave
	ExternalSessionID string         // x-session-ext-id of anybody: only for logs
	Peer, Local       netip.AddrPort // the ends of the connection, as a PROXY header has them if there is one
	Carrier           netip.AddrPort // the proxy that sent that header; zero without. It is Peer if the header named nobody
	Remote            netip.AddrPort // the originating client: Peer, or what a trusted peer forwarded
	Connected         netip.AddrPort // where the originating client connected to: Local, or forwarded
	Trusted           bool           // Config.Trusted of Peer
	Secured           bool           // a plaintext password may be sent: Config.PlaintextAllowed
	TLS               bool           // the connection from Peer to here is encrypted
	CarrierTLS        bool           // the one from Peer to Carrier is, which is on our side

	// ProxyTTL is how many more times the connection may be handed on; a login
	// is refused where it has come down to 1.
	ProxyTTL int16

	// ChannelBinding gives the bytes that tie a login to the TLS connection, for
	// the kinds tls-exporter and tls-server-end-point. nil without TLS.
	ChannelBinding func(kind string) ([]byte, error)

	// Certified says whether the client has shown a certificate that an authority of
	// ours has signed. nil: not.
	Certified func() bool

	// Door is where the client came in. It may be nil.
	Door *Door

	// RouteRevision is that of the cluster's map by which a trusted director chose us
	// for the user; 0 if it did not say.
	RouteRevision int64

	// Forwarded holds the x-forward-* fields of a trusted peer, by their names
	// without that prefix. Their values are data, never settings.
	Forwarded map[string]string
}

// Door is what one listener is for. It is not changed.
type Door struct {
	NoMasters  bool // nobody acts for another: neither master users, nor nodes for theirs
	ClientCert bool // nobody logs in without a certificate
}

// firstProxyTTL is the ProxyTTL of a connection that no proxy handed on.
const firstProxyTTL = 5

// Login is a successful login: a session here, or a connection that is handed on.
type Login struct {
	User   string // whose mail it is
	Acting string // whose rights apply; empty: User
	Asker  string // the node whose word let it in; empty: none's

	// Names are the user's other names, by what they are; SessionInfo has them. They
	// are not changed.
	Names map[string]string

	Probe bool // a health check of ours: the debug level of the log is enough for it

	Account mailbox.Account // closed at the end of the session

	// RawIn and RawOut take down what the client sends and what we send, from
	// the login on. Either may be nil. They are closed with the session.
	RawIn, RawOut io.WriteCloser

	Proxy Proxy // if not nil, Account is nil
}

// Proxy takes a connection over after the login was answered.
type Proxy interface {
	// OK is what the tagged OK of the login says.
	OK() (capabilities []string, text string)

	// Run joins client to where its mail is, until either end or ctx is done;
	// ctx is cancelled by Shutdown. buffered is what the client has sent
	// already. Run returns when that is on its way, and ended is called once, by
	// any goroutine, when all is over; the server then closes client.
	Run(ctx context.Context, client net.Conn, buffered []byte, ended func(Result))

	// Status is where the mail is, for logs and administrators, and what Run has
	// copied so far from the client (in) and to it. It may be called from any
	// goroutine, at any time.
	Status() ProxyStatus

	// Close is called instead of Run if the client is gone before it could begin.
	Close() error
}

// ProxyStatus is where a proxied session's mail is.
type ProxyStatus struct {
	Backend string // its address
	Name    string // as the cluster's map has it; empty if it was not found there
	User    string // whose mail it is there

	BytesIn, BytesOut int64
}

// Result is how a proxied connection ended. Bytes are counted as the client
// sees them: In is what it sent.
type Result struct {
	BytesIn, BytesOut int64
	Reason            string
}
