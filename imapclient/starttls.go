package imapclient

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/roost-mail/roost/imapwire"
	"github.com/roost-mail/roost/tlsconn"
)

// Security says how a connection is encrypted. There is no mode that goes on in
// the clear where TLS is not to be had.
type Security int

// The kinds of Security.
const (
	Plain       Security = iota
	ImplicitTLS          // from the first byte (RFC 8314 section 3)
	StartTLS             // by the command STARTTLS, before anything else is sent
)

// SecurityOf is that of "imaps" and "starttls", as settings and records of backends have
// it; of all else Plain.
func SecurityOf(name string) Security {
	switch name {
	case "imaps":
		return ImplicitTLS
	case "starttls":
		return StartTLS
	}
	return Plain
}

// encrypt is nc with TLS from its first byte, if that is asked for.
func encrypt(ctx context.Context, nc net.Conn, cfg *Config) (net.Conn, error) {
	if cfg.Security != ImplicitTLS {
		return nc, nil
	}
	_ = nc.SetDeadline(time.Now().Add(cfg.Timeout))
	return tlsconn.Connect(ctx, nc, cfg.TLS)
}

// startTLS is STARTTLS. RFC 9051 section 6.2.1. What the server said before it
// is forgotten; what somebody put behind its answer, to be taken for what is
// said within TLS, breaks the connection. So does a server that takes us as
// logged in already, or refuses.
func (c *Conn) startTLS(ctx context.Context) error {
	if c.preauth {
		return c.fail(errors.New("STARTTLS: the server logs us in without it"))
	}
	if _, err := c.Do(ctx, &Handler{}, func(e *imapwire.Encoder) { e.Atom("STARTTLS") }); err != nil {
		return c.fail(errors.Join(errors.New("STARTTLS is refused"), err))
	}
	if c.dec.Buffered() > 0 {
		return c.fail(errors.New("STARTTLS: plaintext behind the answer"))
	}
	_ = c.wire.SetDeadline(time.Now().Add(c.cfg.Timeout))
	conn, err := tlsconn.Connect(ctx, c.wire.Conn, c.cfg.TLS)
	if err != nil {
		return c.fail(err)
	}
	c.wire.Conn = conn // nobody else has the Conn yet
	c.dec.Reset(c.wire)
	c.enc.Reset(c.wire)
	c.caps, c.enc.NonSync = nil, 0
	return nil
}
