package tlsconn

import (
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"
)

// expiresSoon is how long before a certificate's end it is warned of. It is
// less than the third of a 90 days' certificate at which it is renewed.
const expiresSoon = 14 * 24 * time.Hour

// ParsePair reads a certificate with the chain behind it, and its key, both in
// PEM. An error says that they can't be used at all.
func ParsePair(cert, key string) (tls.Certificate, error) {
	switch {
	case !strings.Contains(cert, "-----BEGIN CERTIFICATE-----"):
		return tls.Certificate{}, errors.New("there is no PEM certificate in it")
	case strings.Contains(key, "ENCRYPTED"):
		return tls.Certificate{}, errors.New("the key has a password, which this version can't take off: openssl pkey -in KEY -out KEY.plain")
	case !strings.Contains(key, "PRIVATE KEY-----"):
		return tls.Certificate{}, errors.New("there is no PEM private key")
	}
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	if err != nil {
		return tls.Certificate{}, errors.New(strings.TrimPrefix(err.Error(), "tls: "))
	}
	return pair, nil
}

// Doubts are what an administrator should know of a certificate that can be
// used: that clients will refuse it, or soon will, or not under these names.
func Doubts(pair *tls.Certificate, names []string, now time.Time) []string {
	leaf := pair.Leaf
	var doubts []string
	switch {
	case now.After(leaf.NotAfter):
		doubts = append(doubts, "the certificate has expired on "+day(leaf.NotAfter))
	case now.Before(leaf.NotBefore):
		doubts = append(doubts, "the certificate is not valid before "+day(leaf.NotBefore))
	case now.Add(expiresSoon).After(leaf.NotAfter):
		doubts = append(doubts, "the certificate expires on "+day(leaf.NotAfter))
	}
	if key, ok := leaf.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() < 2048 {
		doubts = append(doubts, fmt.Sprintf("an RSA key of %d bits is too short for most clients", key.N.BitLen()))
	}
	for _, name := range names {
		if leaf.VerifyHostname(strings.Replace(name, "*", "any", 1)) != nil {
			doubts = append(doubts, "the certificate is not for "+name)
		}
	}
	return doubts
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// ParsePool reads certificates of authorities.
func ParsePool(pem []byte) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("there is no PEM certificate in it")
	}
	return pool, nil
}
