package imapserver

import (
	"context"
	"time"

	"github.com/roost-mail/roost/imap"
)

// canUnauthenticate: a connection that a director handed on stays with its
// user, since only the director knows where another lives; a back session has
// one purpose. With COMPRESS in use the layer would have to end, so there it is
// not offered.
func (s *session) canUnauthenticate() bool {
	c := s.client
	forwarded := c.ProxyTTL != firstProxyTTL || c.Remote != c.Peer
	return !forwarded && !s.isBack() && s.deflated == nil
}

// unauthenticate is UNAUTHENTICATE: everything is as before the login but TLS,
// and what ID told. RFC 8437.
func (s *session) unauthenticate(_ context.Context, _ *command) error {
	if !s.dec.ExpectCRLF() {
		return s.dec.Err()
	}
	if !s.canUnauthenticate() {
		return imap.BadCommand("Not possible on this connection")
	}
	s.closeMailbox()
	s.endNotify()
	s.logger().Info("logout", "reason", "Unauthenticate", "commands", s.commands)
	if err := s.closeLogin(); err != nil {
		s.logger().Warn("close account", "error", err)
	}
	s.stream.endRawLogs()
	s.login, s.state, s.on = nil, notAuthenticated, 0
	s.card.login.Store(nil)
	s.setLimits()
	s.enc.UTF8, s.dec.UTF8 = false, false
	s.stream.limit = time.Since(s.stream.began) + s.cfg.LoginTimeout
	s.log = nil
	return nil
}
