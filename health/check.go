package health

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapclient"
	"github.com/roost-mail/roost/imapwire"
	"github.com/roost-mail/roost/tlsconn"
)

// check is one check of one backend. An error is a *Failure.
func (m *Monitor) check(ctx context.Context, t Target, set Settings) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	late := m.cfg.Clock.After(set.Timeout)
	timedOut := make(chan struct{})
	go func() {
		select {
		case <-late:
			close(timedOut)
			cancel()
		case <-ctx.Done():
		}
	}()
	p := &probe{target: t, set: set, monitor: m}
	err := p.run(ctx)
	if err == nil {
		return nil
	}
	select {
	case <-timedOut:
		err = fmt.Errorf("timed out after %v", set.Timeout)
	default:
	}
	return &Failure{Step: p.step, Err: err}
}

// probe is one connection to a backend, and how far it has come.
type probe struct {
	target  Target
	set     Settings
	monitor *Monitor
	step    Step
	conn    *imapclient.Conn
}

// proxyLocal is a header of the PROXY protocol, version 2, with the command LOCAL: the
// connection is made for nobody else.
const proxyLocal = "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"

func (p *probe) run(ctx context.Context) error {
	p.step = Connect
	nc, err := new(net.Dialer).DialContext(ctx, "tcp", p.target.Addr)
	if err != nil {
		return err
	}
	if p.target.Proxied {
		if _, err = io.WriteString(nc, proxyLocal); err != nil {
			_ = nc.Close()
			return err
		}
	}
	p.step = Greeting
	if p.conn, err = imapclient.New(ctx, nc, p.clientConfig()); err != nil {
		if inner := errors.Unwrap(err); inner != nil && strings.HasPrefix(err.Error(), "greeting: ") {
			return inner // the step says it already
		}
		return err
	}
	defer func() { _ = p.conn.Close() }()
	if p.set.User != "" {
		if err := p.mail(ctx); err != nil {
			return err
		}
	}
	_ = p.conn.Logout(ctx) // that it answered so far is enough
	return nil
}

func (p *probe) clientConfig() imapclient.Config {
	// One check must not take the memory of a large answer.
	cfg := imapclient.Config{
		Timeout: p.set.Timeout + time.Second, Security: p.target.Security,
		Limits: imapwire.Limits{Line: 64 << 10, Literal: 64 << 10, ListItems: 1 << 10},
	}
	if cfg.Security != imapclient.Plain {
		cfg.TLS = tlsconn.Named(p.monitor.cfg.TLS(), p.target.Host, p.target.AnyCert)
	}
	return cfg
}

// mail does with the user's mail what Settings asks for.
func (p *probe) mail(ctx context.Context) error {
	p.step = Login
	if err := p.login(ctx); err != nil {
		return err
	}
	p.step = Open
	if err := p.do(ctx, func(e *imapwire.Encoder) { e.Atom("EXAMINE").SP().Mailbox(imap.Inbox) }); err != nil {
		return err
	}
	if !p.set.Write {
		return nil
	}
	p.step = Write
	return p.write(ctx)
}

// BackendVariable in a user's name stands for the name of the backend, with hyphens for
// colons: those are not allowed in passwd-files.
const BackendVariable = "%{backend}"

// UserAt is the user who logs in at a backend, by a name that may have BackendVariable.
func UserAt(user, backend string) string {
	return strings.ReplaceAll(user, BackendVariable, strings.ReplaceAll(backend, ":", "-"))
}

func (p *probe) login(ctx context.Context) error {
	user := UserAt(p.set.User, p.target.Name)
	if err := p.conn.Capability(ctx); err != nil {
		return err
	}
	var err error
	if p.conn.Has("AUTH=PLAIN") {
		_, err = p.conn.Authenticate(ctx, "", user, p.set.Password)
	} else {
		_, err = p.conn.Login(ctx, user, p.set.Password)
	}
	return err
}

// write leaves the mailbox empty: the message is born deleted, and what others who
// check at the same time have put there goes with it.
func (p *probe) write(ctx context.Context) error {
	err := p.do(ctx, p.append)
	if code := imap.CodeOf(err); code == imap.CodeTryCreate || code == imap.CodeNonExistent {
		err = p.do(ctx, func(e *imapwire.Encoder) { e.Atom("CREATE").SP().Mailbox(Mailbox) })
		if err != nil && imap.CodeOf(err) != imap.CodeAlreadyExists {
			return err
		}
		err = p.do(ctx, p.append)
	}
	if err != nil {
		return err
	}
	if err := p.do(ctx, func(e *imapwire.Encoder) { e.Atom("SELECT").SP().Mailbox(Mailbox) }); err != nil {
		return err
	}
	return p.do(ctx, func(e *imapwire.Encoder) { e.Atom("EXPUNGE") })
}

const message = "From: Roost <probe@localhost>\r\nSubject: health check\r\n\r\nThis message may be deleted.\r\n"

func (p *probe) append(e *imapwire.Encoder) {
	e.Atom("APPEND").SP().Mailbox(Mailbox).SP().Flags([]imap.Flag{imap.FlagSeen, imap.FlagDeleted}).SP()
	e.Literal(int64(len(message)), strings.NewReader(message))
}

func (p *probe) do(ctx context.Context, build func(*imapwire.Encoder)) error {
	_, err := p.conn.Do(ctx, &imapclient.Handler{}, build)
	return err
}
