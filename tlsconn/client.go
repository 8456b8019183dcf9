package tlsconn

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"
)

// ClientConfig says how we verify the servers that we connect to.
type ClientConfig struct {
	CAFile, CADir string           // authorities in PEM; both empty: the system's
	Certificate   *tls.Certificate // ours, if a server asks for one
	MinVersion    uint16           // 0: TLS 1.2
}

// TLS is the configuration for any server; ServerName is left to Connect. The
// authorities are read here.
func (c ClientConfig) TLS() (*tls.Config, error) {
	config := &tls.Config{
		MinVersion:                  max(c.MinVersion, tls.VersionTLS12),
		DynamicRecordSizingDisabled: true,
		ClientSessionCache:          tls.NewLRUClientSessionCache(0),
	}
	if c.Certificate != nil {
		config.Certificates = []tls.Certificate{*c.Certificate}
	}
	var err error
	config.RootCAs, err = c.roots()
	return config, err
}

func (c ClientConfig) roots() (*x509.CertPool, error) {
	if c.CAFile == "" && c.CADir == "" {
		return nil, nil
	}
	pool := x509.NewCertPool()
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, err
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s: there is no PEM certificate in it", c.CAFile)
		}
	}
	if c.CADir == "" {
		return pool, nil
	}
	files, err := os.ReadDir(c.CADir)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		if pem, err := os.ReadFile(filepath.Join(c.CADir, f.Name())); err == nil {
			pool.AppendCertsFromPEM(pem) // other files may lie there too
		}
	}
	return pool, nil
}

// Named is config for the server name, a host name or an IP address, whose
// certificate must be for it; with anyCert it is not verified at all.
func Named(config *tls.Config, name string, anyCert bool) *tls.Config {
	config = config.Clone()
	config.ServerName = name
	if anyCert {
		config.InsecureSkipVerify = true
		config.ClientSessionCache = nil // a session that was not verified is not for others
	}
	return config
}

// Connect makes the handshake over conn, until ctx ends. It closes conn if that fails.
func Connect(ctx context.Context, conn net.Conn, config *tls.Config) (*Conn, error) {
	c := Client(conn, config)
	if err := c.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("TLS: %w", err)
	}
	return c, nil
}
