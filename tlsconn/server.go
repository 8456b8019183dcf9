package tlsconn

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"strings"
)

// Certificate is one that a server may show, and when.
type Certificate struct {
	tls.Certificate
	Names []string     // of SNI, the first label may be *; none: to everybody
	Local netip.Prefix // the addresses that the client connected to; invalid: all
}

// ServerConfig says how a server's handshakes are made. Versions before TLS 1.2
// are never spoken, nor are suites without forward secrecy.
type ServerConfig struct {
	Certificates []Certificate
	MinVersion   uint16        // 0: TLS 1.2
	CipherSuites []uint16      // up to TLS 1.2; nil: Suites()
	Curves       []tls.CurveID // nil: what crypto/tls finds best
	NoTickets    bool

	// ClientCAs are the authorities of certificates that clients may show; one that
	// shows another is not let in. nil: nobody is asked for one.
	ClientCAs *x509.CertPool
}

var errNoCertificate = errors.New("there is no certificate for the name that was asked for")

// TLS is the configuration as crypto/tls takes it.
func (c ServerConfig) TLS() *tls.Config {
	suites := c.CipherSuites
	if suites == nil {
		suites = Suites()
	}
	auth := tls.NoClientCert
	if c.ClientCAs != nil {
		auth = tls.VerifyClientCertIfGiven
	}
	return &tls.Config{
		ClientCAs:                   c.ClientCAs,
		ClientAuth:                  auth,
		MinVersion:                  max(c.MinVersion, tls.VersionTLS12),
		CipherSuites:                suites,
		CurvePreferences:            c.Curves,
		SessionTicketsDisabled:      c.NoTickets,
		DynamicRecordSizingDisabled: true, // it is for browsers; here it costs a record each 1.4 kB
		GetCertificate:              c.choose,
		GetConfigForClient:          c.remember,
	}
}

// remember keeps what is shown for ChannelBinding. A resumed session shows
// nothing, but stands for the same certificate.
func (c ServerConfig) remember(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	if r, ok := hello.Conn.(*records); ok {
		if cert, err := c.choose(hello); err == nil {
			r.shown = cert.Leaf
		}
	}
	return nil, nil
}

// choose finds the certificate that fits best: by name, the longer the better
// and an exact one before a pattern; then by the local network; then the later
// one in the file. Of those that fit as well, the client's abilities decide.
func (c ServerConfig) choose(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name := strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
	local := localAddr(hello.Conn)
	var best *Certificate
	bestScore, bestSupported := -1, false
	for i := range c.Certificates {
		cert := &c.Certificates[i]
		score := cert.score(name, local)
		if score < 0 || score < bestScore {
			continue
		}
		supported := hello.SupportsCertificate(&cert.Certificate) == nil
		if score == bestScore && bestSupported && !supported {
			continue
		}
		best, bestScore, bestSupported = cert, score, supported
	}
	if best == nil {
		return nil, errNoCertificate
	}
	return &best.Certificate, nil
}

// score is negative if the certificate is not for that name and address.
func (c *Certificate) score(name string, local netip.Addr) int {
	byName, byAddr := 0, 0
	if len(c.Names) > 0 {
		byName = -1
		for _, pattern := range c.Names {
			byName = max(byName, nameScore(strings.ToLower(pattern), name))
		}
	}
	if c.Local.IsValid() {
		byAddr = -1
		if c.Local.Contains(local) {
			byAddr = 1 + c.Local.Bits()
		}
	}
	if byName < 0 || byAddr < 0 {
		return -1
	}
	return byName<<8 + byAddr
}

func nameScore(pattern, name string) int {
	if pattern == name {
		return 2*len(pattern) + 1
	}
	if suffix, ok := strings.CutPrefix(pattern, "*."); ok {
		if label, rest, ok := strings.Cut(name, "."); ok && label != "" && rest == suffix {
			return 2 * len(pattern)
		}
	}
	return -1
}

func localAddr(conn net.Conn) netip.Addr {
	tcp, ok := conn.LocalAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return tcp.AddrPort().Addr().Unmap()
}
