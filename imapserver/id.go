package imapserver

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/roost-mail/roost/imap"
)

// The limits of RFC 2971 section 3.3.
const (
	maxIDFields = 30
	maxIDKey    = 30
	maxIDValue  = 1024
)

// maxSessionID is how much of a session id from outside is kept.
const maxSessionID = 64

// id is ID. RFC 2971 section 3.1. Only the first before the login can tell us
// something, and only a trusted peer whom the connection is for.
func (s *session) id(_ context.Context, _ *command) error {
	if !s.dec.ExpectSP() {
		return s.dec.Err()
	}
	fields, err := s.parseID()
	if err != nil {
		return err
	}
	if !s.dec.ExpectCRLF() {
		return s.dec.Err()
	}
	if s.state == notAuthenticated && !s.idSeen {
		s.idSeen = true
		s.takeID(fields)
	}
	s.writeID()
	return nil
}

// parseID reads the fields that are not NIL, in lower case.
func (s *session) parseID() (map[string]string, error) {
	if s.dec.NIL() {
		return nil, nil
	}
	fields := make(map[string]string)
	n := 0
	err := s.dec.List(func() error {
		var key, value string
		var null bool
		if n++; n > maxIDFields {
			return imap.BadCommand("Too many ID fields")
		}
		if !s.dec.ExpectString(&key) || !s.dec.ExpectSP() || !s.dec.ExpectNString(&value, &null) {
			return s.dec.Err()
		}
		if len(key) > maxIDKey || len(value) > maxIDValue {
			return imap.BadCommand("ID field is too long")
		}
		if !null {
			fields[strings.ToLower(key)] = value
		}
		return nil
	})
	return fields, err
}

func (s *session) writeID() {
	s.enc.RawString("* ID ")
	if len(s.cfg.IDFields) == 0 {
		s.enc.RawString("NIL").CRLF()
		return
	}
	sep := byte('(')
	for _, key := range slices.Sorted(maps.Keys(s.cfg.IDFields)) {
		s.enc.Special(sep).String(key).SP().String(s.cfg.IDFields[key])
		sep = ' '
	}
	s.enc.RawString(")").CRLF()
}

// takeID takes over what the fields say of the originating client. A value that
// makes no sense is passed over.
func (s *session) takeID(fields map[string]string) {
	c := new(*s.client)
	if id := fields["x-session-ext-id"]; id != "" {
		c.ExternalSessionID = sanitize(id, maxSessionID)
	}
	c.takeTTL(fields["x-proxy-ttl"])
	if c.Trusted {
		c.takeForwarded(fields)
		c.Secured = s.cfg.PlaintextAllowed(c)
	}
	s.know(c)
}

// maxForwarded leaves room for our own fields in the ID to the next hop.
const maxForwarded = 16

// takeTTL counts hops. It is taken from anybody, for it can only shorten the way.
func (c *Client) takeTTL(text string) {
	if ttl, err := strconv.ParseUint(text, 10, 8); err == nil {
		c.ProxyTTL = min(c.ProxyTTL, int16(ttl))
	}
}

func (c *Client) takeForwarded(fields map[string]string) {
	if id := fields["x-session-id"]; id != "" {
		c.SessionID = sanitize(id, maxSessionID)
	}
	if revision, err := strconv.ParseInt(fields["x-roost-revision"], 10, 64); err == nil && revision > 0 {
		c.RouteRevision = revision
	}
	forwardAddr(&c.Remote, fields["x-originating-ip"], fields["x-originating-port"])
	forwardAddr(&c.Connected, fields["x-connected-ip"], fields["x-connected-port"])
	for key, value := range fields {
		if name, ok := strings.CutPrefix(key, "x-forward-"); ok && name != "" && len(c.Forwarded) < maxForwarded {
			if c.Forwarded == nil {
				c.Forwarded = make(map[string]string)
			}
			c.Forwarded[name] = value
		}
	}
}

// forwardAddr sets addr if ip is an address; a port that is none becomes 0.
func forwardAddr(addr *netip.AddrPort, ip, port string) {
	a, err := netip.ParseAddr(ip)
	if err != nil {
		return
	}
	p, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		p = 0
	}
	*addr = netip.AddrPortFrom(a.Unmap().WithZone(""), uint16(p))
}

// sanitize keeps what may stand in a log line of ours, up to limit bytes.
func sanitize(text string, limit int) string {
	text = text[:min(len(text), limit)]
	return strings.Map(func(r rune) rune {
		switch {
		case r >= '0' && r <= '9', r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', strings.ContainsRune("+/=-_.:@", r):
			return r
		}
		return '?'
	}, text)
}
