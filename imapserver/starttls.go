package imapserver

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/tlsconn"
)

// handshaker is a connection with TLS from its first byte, such as a
// tlsconn.Conn or tls.Conn.
type handshaker interface {
	HandshakeContext(ctx context.Context) error
	NetConn() net.Conn
}

// socket is what a connection stands on.
func socket(conn net.Conn) net.Conn {
	if c, ok := conn.(handshaker); ok {
		return c.NetConn()
	}
	return conn
}

// setSecurity says how secure the client's connection is.
func (c *Client) setSecurity(conn net.Conn, cfg *Config) {
	_, c.TLS = conn.(handshaker)
	if ours, ok := conn.(*tlsconn.Conn); ok {
		c.ChannelBinding, c.Certified = ours.ChannelBinding, ours.Verified
	}
	c.Secured = cfg.PlaintextAllowed(c)
}

func (s *session) offersTLS() bool { return !s.client.TLS && s.cfg.TLS() != nil }

// errBehindStartTLS ends a connection on which something followed STARTTLS.
var errBehindStartTLS = errors.New("plaintext behind STARTTLS")

// handshakeFailed is the reason for which a connection never got TLS.
type handshakeFailed struct{ error }

// startTLS is STARTTLS. RFC 3501 section 6.2.1.
//
// Nothing that was learnt in the clear is used afterwards. What was sent behind
// the command may be somebody else's, who wants it to be taken for the
// client's: it ends the connection and is never read as a command.
func (s *session) startTLS(_ context.Context, cmd *command) error {
	if !s.dec.ExpectCRLF() {
		return s.dec.Err()
	}
	switch {
	case s.client.TLS:
		return imap.BadCommand("TLS is already active.")
	case s.cfg.TLS() == nil:
		return imap.BadCommand("TLS support isn't enabled.")
	case s.dec.Buffered() > 0 || len(s.stream.takeAhead()) > 0:
		return connectionLost{errBehindStartTLS}
	}
	cmd.after = s.secure
	return nil
}

// secure makes the handshake, and begins the session anew as if nothing had
// been said; but the time for the login goes on.
func (s *session) secure() error {
	if err := s.flush(); err != nil {
		return err
	}
	conn := tlsconn.Server(s.stream.sock, s.cfg.TLS())
	if err := s.handshake(conn); err != nil {
		return err
	}
	s.stream.conn = conn
	s.dec.Reset(&s.stream)
	s.enc.Reset(&s.stream)
	s.know(newClient(conn, s.cfg, s.client.Door))
	s.idSeen = false
	return nil
}

// implicitTLS is the handshake of a connection that begins with it.
func (s *session) implicitTLS() error {
	if conn, ok := s.stream.conn.(handshaker); ok {
		return s.handshake(conn)
	}
	return nil
}

// handshake is bounded as a whole, however the client spreads its bytes.
func (s *session) handshake(conn handshaker) error {
	deadline := s.stream.earlier(time.Now().Add(s.cfg.HandshakeTime))
	_ = s.stream.sock.SetDeadline(deadline)
	s.stream.forgetDeadlines()
	if s.stream.closing.Load() {
		return handshakeFailed{errShutdown}
	}
	if err := conn.HandshakeContext(context.WithoutCancel(s.ctx)); err != nil {
		s.logger().Info("TLS handshake failed", "error", err)
		return handshakeFailed{err}
	}
	return nil
}
