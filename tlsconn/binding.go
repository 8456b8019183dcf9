package tlsconn

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
)

// ErrNoBinding says that this connection has no channel binding of that kind.
var ErrNoBinding = errors.New("no such channel binding on this connection")

// ChannelBinding is what ties a login to this connection, at the server's side
// and after the handshake: tls-exporter (RFC 9266, TLS 1.3 only) or
// tls-server-end-point (RFC 5929 section 4).
func (c *Conn) ChannelBinding(kind string) ([]byte, error) {
	state := c.ConnectionState()
	switch kind {
	case "tls-exporter":
		if state.Version < tls.VersionTLS13 {
			return nil, fmt.Errorf("%s: %w", kind, ErrNoBinding)
		}
		return state.ExportKeyingMaterial("EXPORTER-Channel-Binding", []byte{}, 32)
	case "tls-server-end-point":
		hash, ok := endPointHash(c.records.shown)
		if !ok {
			return nil, fmt.Errorf("%s: %w", kind, ErrNoBinding)
		}
		h := hash.New()
		h.Write(c.records.shown.Raw)
		return h.Sum(nil), nil
	}
	return nil, fmt.Errorf("%.40q: %w", kind, ErrNoBinding)
}

// endPointHash is the hash of the certificate's signature, but never a weaker
// one than SHA-256. A signature without one hash, as Ed25519's, has none.
func endPointHash(cert *x509.Certificate) (crypto.Hash, bool) {
	if cert == nil {
		return 0, false
	}
	switch cert.SignatureAlgorithm {
	case x509.SHA384WithRSA, x509.ECDSAWithSHA384, x509.SHA384WithRSAPSS:
		return crypto.SHA384, true
	case x509.SHA512WithRSA, x509.ECDSAWithSHA512, x509.SHA512WithRSAPSS:
		return crypto.SHA512, true
	case x509.SHA256WithRSA, x509.ECDSAWithSHA256, x509.SHA256WithRSAPSS, x509.SHA1WithRSA, x509.ECDSAWithSHA1:
		return crypto.SHA256, true
	}
	return 0, false
}
