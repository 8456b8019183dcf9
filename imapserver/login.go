package imapserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/sasl"
)

// loginCommand is LOGIN. RFC 3501 section 6.2.3.
func (s *session) loginCommand(ctx context.Context, cmd *command) error {
	var user, password string
	if !s.dec.ExpectSP() || !s.dec.ExpectAString(&user) || !s.dec.ExpectSP() ||
		!s.dec.ExpectAString(&password) || !s.dec.ExpectCRLF() {
		return s.dec.Err()
	}
	if err := s.checkSecured(); err != nil {
		return err
	}
	// The way of PLAIN, so that both have the same form whichever command they come by.
	plain, err := sasl.ParsePlain([]byte("\x00" + user + "\x00" + password))
	if err != nil {
		return err
	}
	cred := &Credentials{AuthID: plain.AuthID, Password: plain.Password}
	login, err := s.logIn(ctx, cred)
	if err != nil {
		return err
	}
	s.adopt(login, cred)
	s.welcome(cmd)
	return nil
}

// checkSecured refuses a plaintext password where others could read it.
func (s *session) checkSecured() error {
	if s.client.Secured {
		return nil
	}
	if s.cfg.SecuredOnly() {
		return imap.Errorf(imap.CodePrivacyRequired, "Authentication not allowed until SSL/TLS is enabled.")
	}
	return imap.Errorf(imap.CodePrivacyRequired, "Plaintext authentication disallowed on non-secure (SSL/TLS) connections.")
}

// logIn asks the Authenticator. What it gives is for adopt or discard.
func (s *session) logIn(ctx context.Context, cred *Credentials) (*Login, error) {
	began := time.Now()
	login, err := s.askAuthenticator(ctx, cred)
	s.countLogin(login, err, time.Since(began))
	if err != nil {
		s.logRefused(cred, err)
		return nil, err
	}
	if login.Acting == "" {
		login.Acting = login.User
	}
	return login, nil
}

// adopt makes the session that of a login.
func (s *session) adopt(login *Login, cred *Credentials) {
	s.login = login
	s.card.login.Store(login)
	s.srv.loggedIn(s)
	s.state = authenticated
	s.setLimits()
	s.stream.limit = 0
	s.log = nil
	s.logLogin(cred)
}

// discard frees a login that came to nothing: the client went back on its word.
func (s *session) discard(login *Login) {
	if login == nil {
		return
	}
	for _, c := range []io.Closer{login.RawIn, login.RawOut, login.Account, login.Proxy} {
		if c == nil {
			continue
		}
		if err := c.Close(); err != nil {
			s.logger().Warn("close after a login that came to nothing", "error", err)
		}
	}
}

func (s *session) askAuthenticator(ctx context.Context, cred *Credentials) (*Login, error) {
	if s.client.ProxyTTL <= 1 {
		return nil, imap.Errorf(imap.CodeContactAdmin, "TTL reached zero - proxies appear to be looping?")
	}
	ctx, done := s.loginContext(ctx)
	defer done()
	login, err := s.cfg.Authenticator.Login(ctx, s.client, *cred)
	if moved, ok := errors.AsType[*Moved](err); ok {
		return nil, s.elsewhere(moved)
	}
	if err != nil {
		return nil, err
	}
	if login == nil || (login.Account == nil) == (login.Proxy == nil) {
		return nil, errors.New("authenticator gave neither an account nor a proxy")
	}
	return login, nil
}

// loginContext is for one login, whose end it does not outlive. It is no child of the
// session's, which would keep room for it as long as the session lasts.
func (s *session) loginContext(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.stopLogin.Store(&cancel)
	if s.ctx.Err() != nil {
		cancel()
	}
	return ctx, func() {
		s.stopLogin.Store(nil)
		cancel()
	}
}

// endLogin may be called from any goroutine, after ctx has ended.
func (s *session) endLogin() {
	if stop := s.stopLogin.Load(); stop != nil {
		(*stop)()
	}
}

// elsewhere is the answer for a user who is not held here.
func (s *session) elsewhere(moved *Moved) *imap.Error {
	if !s.client.Trusted || s.client.RouteRevision == 0 {
		return imap.Wrap(imap.CodeUnavailable, "Account is temporarily unavailable.", moved)
	}
	code := fmt.Sprintf("%s %d %s", imap.CodeMoved, moved.Revision, moved.holder())
	return imap.Wrap(imap.Code(code), "Another server has the user.", moved)
}

// welcome makes the tagged OK of a login tell the capabilities, as they differ
// from those of the greeting.
func (s *session) welcome(cmd *command) {
	cmd.code = "CAPABILITY"
	if s.login.Proxy != nil {
		capabilities, text := s.login.Proxy.OK()
		cmd.args, cmd.text = strings.Join(capabilities, " "), text
		if cmd.args == "" {
			cmd.code = imap.CodeNone
		}
		return
	}
	cmd.args = s.capabilities()
	s.stream.rawIn, s.stream.rawOut = s.login.RawIn, s.login.RawOut
}

// handOver lets the Proxy have the connection; the session goes on when that has
// ended.
func (s *session) handOver() error {
	if err := s.flush(); err != nil {
		return err
	}
	buffered := append(s.dec.TakeBuffered(), s.stream.takeAhead()...)
	s.stream.in -= int64(len(buffered)) // the proxy counts them
	conn := s.stream.conn
	for _, clear := range []func(time.Time) error{conn.SetReadDeadline, conn.SetWriteDeadline} {
		if err := clear(time.Time{}); err != nil && !errors.Is(err, net.ErrClosed) {
			return err
		}
	}
	s.proxied.Store(true) // from here on Shutdown cancels ctx, and Close is not called
	if s.stream.closing.Load() {
		s.cancel()
	}
	s.words = nil
	s.count(atProxied)
	s.shed()
	s.login.Proxy.Run(s.ctx, conn, buffered, func(r Result) {
		s.stream.in += r.BytesIn
		s.stream.out += r.BytesOut
		s.serve(func() error { return proxyEnded(r.Reason) })
	})
	return errParked
}

// proxyEnded is the reason for which a proxied connection came to its end.
type proxyEnded string

func (e proxyEnded) Error() string { return string(e) }
