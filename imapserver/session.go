package imapserver

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapwire"
	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/sasl"
)

// state is what a connection has come to (RFC 9051 section 3); rows name sets of it.
type state uint8

const (
	notAuthenticated state = 1 << iota
	authenticated
	selected
	loggedOut

	anyState = notAuthenticated | authenticated | selected
	loggedIn = authenticated | selected
)

// session is one connection. It belongs to one goroutine at a time, that of
// ServeConn at first; serve says where it goes on.
type session struct {
	srv      *Server
	cfg      *Config
	log      *slog.Logger       // what logger has made, or nil
	cancel   context.CancelFunc // of ctx: for the commands and the proxy
	ctx      context.Context
	stream   stream
	deflated *deflated // nil without COMPRESS; what dec and enc use instead of stream
	dec      *imapwire.Decoder
	enc      *imapwire.Encoder

	client *Client // replaced, never changed
	state  state
	login  *Login // nil before the login
	idSeen bool   // an ID command was read before the login
	waits  bool   // it is in Server.waiting; guarded by its mu
	card   card

	mbox     mailbox.Mailbox // nil unless selected
	name     string          // of mbox
	examined bool            // mbox was opened by EXAMINE
	readOnly bool            // what the client was told of it
	view     *view

	on         extensions
	hasModSeqs bool          // of mbox; false: NOMODSEQ
	settled    imap.ModSeq   // the client was told of all changes of mbox up to here
	saved      imap.UIDSet   // "$": what SEARCH has saved in this mailbox (RFC 5182)
	notify     *notification // nil before the first NOTIFY
	appended   imap.UIDSet   // by this session to mbox, since the last sync
	untold     imap.UIDSet   // of mbox: their flags have changed, which NOTIFY does not let us tell

	ahead []queuedFetch // read before those in front of them were answered

	pause   pause       // while no command runs, or IDLE
	ended   func()      // called when all is over
	cmd     *command    // that is running, or ran last; nil while parked
	words   []byte      // its tag and name
	proxied atomic.Bool // ctx belongs to a Proxy now

	stopLogin atomic.Pointer[context.CancelFunc] // of a login that is under way

	commands uint32
	bad      uint32 // BAD answers in a row
}

// The limits of what a command may make us hold: enough for a search text or a
// name, and before a login, when anybody may ask, for a password.
const (
	maxArgument  = 64 << 10
	maxArguments = 128 << 10

	maxArgumentBeforeLogin = sasl.MaxPassword
)

// setLimits follows the state.
func (s *session) setLimits() {
	lim := imapwire.Limits{Line: s.cfg.MaxLine, Literal: maxArgument, Held: maxArguments}
	if s.state == notAuthenticated {
		lim.Literal, lim.Held = maxArgumentBeforeLogin, 2*maxArgumentBeforeLogin
	}
	s.dec.SetLimits(lim)
}

func newSession(ctx context.Context, cancel context.CancelFunc, srv *Server, conn net.Conn, door *Door) *session {
	s := &session{srv: srv, cfg: &srv.cfg, ctx: ctx, cancel: cancel, state: notAuthenticated}
	now := time.Now()
	s.know(newClient(conn, &srv.cfg, door))
	s.stream = stream{
		conn:         conn,
		sock:         socket(conn),
		readTimeout:  srv.cfg.ReadTimeout,
		writeTimeout: srv.cfg.WriteTimeout,
		began:        now,
		limit:        srv.cfg.LoginTimeout,
		flush:        s.flush,
		traffic:      &srv.counters.traffic,
	}
	s.restore()
	return s
}

// makeCodec makes what reads and writes the stream.
func (s *session) makeCodec() {
	s.enc = imapwire.NewEncoder(&s.stream)
	s.dec = imapwire.NewDecoder(&s.stream, imapwire.Limits{})
	s.setLimits()
	s.dec.ContinueFunc = s.goOn
	utf8 := s.on&(rev2|utf8Accept) != 0
	s.enc.UTF8, s.dec.UTF8 = utf8, utf8
}

// goOn lets a client send its literal.
func (s *session) goOn() error {
	s.enc.RawString("+ OK").CRLF()
	return s.flush()
}

func newClient(conn net.Conn, cfg *Config, door *Door) *Client {
	c := &Client{SessionID: rand.Text()[:16], Peer: addrPort(conn.RemoteAddr()), Local: addrPort(conn.LocalAddr()), ProxyTTL: firstProxyTTL, Door: door}
	if carried, ok := socket(conn).(carried); ok {
		c.Carrier, c.CarrierTLS = addrPort(carried.Carrier()), carried.Encrypted()
	}
	c.Remote, c.Connected = c.Peer, c.Local
	c.Trusted = c.Peer != c.Carrier && cfg.Trusted(c.Peer.Addr())
	c.setSecurity(conn, cfg)
	return c
}

// carried is a connection that came with a PROXY header, such as a haproxy.Conn.
type carried interface {
	Carrier() net.Addr
	Encrypted() bool
}

// know is called when more is known of the client.
func (s *session) know(c *Client) {
	s.client = c
	s.card.client.Store(c)
	s.log = nil
}

// addrPort is zero for connections that have no IP address.
func addrPort(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := tcp.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

func byeShutdown() *imap.Error {
	return imap.Errorf(imap.CodeUnavailable, "Server shutting down")
}

// byeTimeout is how long a client may take for its last line.
const byeTimeout = 5 * time.Second

// connectionLost is a command's error that is no answer: the connection ends.
type connectionLost struct{ error }

// refuse ends a connection before it was begun.
func (s *session) refuse(why *imap.Error) {
	if _, ok := s.stream.conn.(handshaker); !ok { // a handshake is more than it is worth
		s.bye(why)
	}
	s.stream.close()
}

// shutdown and abort may be called from any goroutine. shutdown ends the
// session when its command is done, abort at once.
func (s *session) shutdown() {
	s.stream.shutdown()
	if s.proxied.Load() {
		s.cancel()
	}
}

func (s *session) abort() {
	s.cancel()
	s.endLogin()
	_ = s.stream.sock.Close() // not TLS's Close, which may wait for the client
	s.stream.rouse()
}

// serve has play run the session, to its end or until it goes on elsewhere.
func (s *session) serve(play func() error) {
	reason, parked := "Server error", false
	defer func() {
		if p := recover(); p != nil {
			s.logger().Error("panic", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			s.restore()
			s.enc.Reset(s.sink()) // half a line may stand there
			s.bye(imap.Errorf(imap.CodeServerBug, "Internal error"))
		}
		if !parked {
			s.close()
			s.logEnd(reason)
			s.ended()
		}
	}()
	err := play()
	if parked = err == errParked; !parked {
		reason = s.end(err)
	}
}

// begin is what play is at first.
func (s *session) begin() error {
	s.count(atLogin)
	if err := s.implicitTLS(); err != nil {
		return err
	}
	s.greet()
	return s.run()
}

func (s *session) greet() {
	s.enc.RawString("* OK ").Code("CAPABILITY", s.capabilities()).Text(s.cfg.Greeting).CRLF()
}

// run reads and executes commands until the client logs out, is handed to a
// proxy, or the connection ends with an error.
func (s *session) run() error {
	for s.state != loggedOut {
		if err := s.next(); err != nil {
			return err
		}
		if s.login != nil && s.login.Proxy != nil {
			return s.handOver()
		}
		if s.bad >= maxBad || s.state == notAuthenticated && s.bad >= maxBadBeforeLogin {
			return errTooManyBad
		}
	}
	return s.flush()
}

// next waits for a command, or the end of one, and executes it.
func (s *session) next() error {
	if len(s.ahead) == 0 {
		idle, err := s.wait()
		switch {
		case err != nil:
			return err
		case idle:
			return s.endIdle()
		}
	}
	return s.step()
}

// maxBad is how many BAD answers in a row end a connection.
const maxBad = 20

// maxBadBeforeLogin is maxBad for who has not logged in: other protocols, mostly.
const maxBadBeforeLogin = 10

var errTooManyBad = errors.New("too many invalid commands")

// flush sends what is answered. A line that could not be sent is a mistake of
// ours, told to the log; only a connection that is broken is an error.
func (s *session) flush() error {
	err := s.enc.Flush()
	if err == nil {
		return nil
	}
	if broken := s.enc.Flush(); broken != nil {
		return broken
	}
	s.logger().Warn("response was not sent", "error", err)
	return nil
}

// end says good-bye where there is somebody to hear it, and gives the reason
// for the log.
func (s *session) end(err error) (reason string) {
	told := s.card.ending.Load()
	ended, proxied := errors.AsType[proxyEnded](err)
	switch {
	case proxied && told != nil:
		return "Ended: " + told.Error()
	case proxied:
		return string(ended)
	}
	if failed, ok := errors.AsType[handshakeFailed](err); ok {
		return "TLS handshake failed: " + failed.Error()
	}
	var bye *imap.Error
	switch {
	case err == nil:
		return "Logged out"
	case errors.Is(err, errShutdown) && told != nil:
		bye, reason = told, "Ended: "+told.Error()
	case errors.Is(err, errShutdown):
		bye = byeShutdown()
	case errors.Is(err, imap.ErrUnknownOutcome):
		bye = imap.Errorf(imap.CodeUnavailable, "It is unknown whether the last command was done.")
		reason = "Unknown outcome: " + err.Error()
	case errors.Is(err, errTimeout):
		bye = imap.Errorf(imap.CodeNone, "Disconnected for inactivity.")
	case errors.Is(err, errBehindStartTLS):
		bye = imap.Errorf(imap.CodeNone, "Plaintext was sent behind STARTTLS.")
	case errors.Is(err, errTooManyBad):
		bye = imap.Errorf(imap.CodeNone, "Too many invalid IMAP commands.")
	case errors.Is(err, imapwire.ErrTooLong):
		bye = imap.Errorf(imap.CodeLimit, "Input is too long.")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "Connection closed"
	default:
		return "Connection lost: " + err.Error()
	}
	s.bye(bye)
	s.stream.linger()
	if reason == "" {
		reason = strings.TrimSuffix(bye.Text, ".")
	}
	return reason
}

// bye is the last line that a client gets.
func (s *session) bye(why *imap.Error) {
	s.stream.writeTimeout = min(s.stream.writeTimeout, byeTimeout)
	s.enc.RawString("* BYE ")
	s.writeCode(why.Code)
	s.enc.Text(why.Text).CRLF()
	_ = s.enc.Flush()
}

// close frees what the session holds.
func (s *session) close() {
	s.count(uncounted)
	s.cancel()
	s.endPause()
	s.closeMailbox()
	s.endNotify()
	if s.login != nil {
		if err := s.closeLogin(); err != nil {
			s.logger().Warn("close account", "error", err)
		}
	}
	s.stream.close()
	if s.dec != nil {
		s.dec.TakeBuffered() // gives the buffer back
	}
}

func (s *session) closeLogin() error {
	switch {
	case s.login.Account != nil:
		return s.login.Account.Close()
	case !s.proxied.Load():
		return s.login.Proxy.Close()
	}
	return nil
}

// closeMailbox leaves the selected state, if that is the state.
func (s *session) closeMailbox() {
	if s.mbox == nil {
		return
	}
	if err := s.mbox.Close(); err != nil {
		s.logger().Warn("close mailbox", "mailbox", s.name, "error", err)
	}
	s.mbox, s.view, s.saved, s.name, s.state = nil, nil, nil, "", authenticated
	s.appended, s.untold = nil, nil
}

// sink is where answers go.
func (s *session) sink() io.Writer {
	if s.deflated != nil {
		return s.deflated
	}
	return &s.stream
}

// isBack reports whether the acting user is not the owner, which takes a master
// password: another backend, or an administrator.
func (s *session) isBack() bool {
	return s.login != nil && s.login.Acting != "" && s.login.Acting != s.login.User
}

// account is the session's mail. Rows of the authenticated state only.
func (s *session) account() mailbox.Account { return s.login.Account }
