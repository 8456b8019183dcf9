package tlsconn

import (
	"crypto/tls"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/roost-mail/roost/tlsconn/tlstest"
)

// TestChoice: which certificate is shown for which name.
func TestChoice(t *testing.T) {
	ca := tlstest.New(t)
	pair := func(name string) tls.Certificate { return ca.Valid(t, name).Certificate(t) }
	here, elsewhere := netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("192.0.2.0/24")
	config := ServerConfig{Certificates: []Certificate{
		{Certificate: pair("default.example")},
		{Certificate: pair("exact.example"), Names: []string{"a.example.org", "Exact.example"}},
		{Certificate: pair("any.example"), Names: []string{"*.example.org"}},
		{Certificate: pair("elsewhere.example"), Names: []string{"a.example.org"}, Local: elsewhere},
		{Certificate: pair("here.example"), Names: []string{"here.example"}, Local: here},
		{Certificate: pair("nowhere.example"), Names: []string{"here.example"}},
	}}
	for name, want := range map[string]string{
		"":                "default.example",
		"other.example":   "default.example",
		"a.example.org":   "exact.example",
		"A.EXAMPLE.ORG":   "exact.example",
		"exact.example":   "exact.example",
		"b.example.org":   "any.example",
		"c.b.example.org": "default.example",
		"example.org":     "default.example",
		"here.example":    "here.example",
	} {
		if got, err := shownFor(t, config, name); got != want {
			t.Errorf("%q: %s, %v; want %s", name, got, err, want)
		}
	}
	if got, err := shownFor(t, ServerConfig{Certificates: config.Certificates[1:]}, "other.example"); err == nil {
		t.Errorf("without a default %s is shown to everybody", got)
	}
}

// shownFor is the name of the certificate that a client sees who asks for name.
func shownFor(t *testing.T, config ServerConfig, name string) (string, error) {
	t.Helper()
	a, b := tcpPair(t)
	go func() { _ = Server(b, config.TLS()).Handshake() }()
	client := tls.Client(a, &tls.Config{ServerName: name, InsecureSkipVerify: true})
	if err := client.Handshake(); err != nil {
		return "", err
	}
	return client.ConnectionState().PeerCertificates[0].DNSNames[0], nil
}

func TestOldVersionsAreNotSpoken(t *testing.T) {
	ca := tlstest.New(t)
	config := ServerConfig{Certificates: []Certificate{{Certificate: ca.Valid(t, "x").Certificate(t)}}}
	for _, row := range []struct {
		least, spoken uint16
		ok            bool
	}{
		{0, tls.VersionTLS11, false},
		{tls.VersionTLS10, tls.VersionTLS11, false},
		{0, tls.VersionTLS12, true},
		{tls.VersionTLS13, tls.VersionTLS12, false},
		{tls.VersionTLS13, tls.VersionTLS13, true},
	} {
		a, b := tcpPair(t)
		config.MinVersion = row.least
		go func() { _ = Server(b, config.TLS()).Handshake() }()
		client := tls.Client(a, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: row.spoken})
		if err := client.Handshake(); (err == nil) != row.ok {
			t.Errorf("least %s, spoken %s: %v", tls.VersionName(row.least), tls.VersionName(row.spoken), err)
		}
	}
}

func TestParseSuites(t *testing.T) {
	for list, want := range map[string]int{
		"ALL:!kRSA:!SRP:!kDHd:!DSS:!aNULL:!eNULL:!EXPORT:!DES:!3DES:!MD5:!PSK:!RC4:!ADH:!LOW@STRENGTH": 6,
		"HIGH:!aNULL:@SECLEVEL=2":                  6,
		"EECDH+AESGCM:EDH+AESGCM":                  4,
		"ECDHE-ECDSA-AES256-GCM-SHA384":            1,
		"HIGH:!AES128":                             4,
		"HIGH:-AES128:ECDHE+AES128+ECDSA":          5,
		"HIGH:!AES128:ECDHE+AES128+ECDSA":          4,
		"ECDHE-RSA-AES128-SHA:ECDHE+CHACHA20:+RSA": 2,
		"AES128-SHA":                               0,
		"":                                         0,
		"!ALL":                                     0,
		"ALL:!ALL":                                 0,
	} {
		if got, err := ParseSuites(list); len(got) != want || (err != nil) != (want == 0) {
			t.Errorf("%s: %d suites, %v; want %d", list, len(got), err, want)
		}
	}
}

func TestParseCurves(t *testing.T) {
	got, err := ParseCurves("X25519:P-256:secp384r1")
	if want := []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384}; !slices.Equal(got, want) || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"sect571r1", "X25519:", ":"} {
		if got, err := ParseCurves(bad); err == nil {
			t.Errorf("%s: %v", bad, got)
		}
	}
}

func TestParsePair(t *testing.T) {
	ca := tlstest.New(t)
	good, other := ca.Valid(t, "a.example"), ca.Valid(t, "b.example")
	for _, row := range []struct{ cert, key, want string }{
		{good.Cert, good.Key, ""},
		{good.Cert + ca.PEM, good.Key, ""},
		{"/etc/ssl/cert.pem", good.Key, "no PEM certificate"},
		{good.Cert, "", "no PEM private key"},
		{good.Cert, good.Cert, "no PEM private key"},
		{good.Cert, other.Key, "does not match"},
		{good.Cert, "-----BEGIN ENCRYPTED PRIVATE KEY-----\n", "has a password"},
	} {
		_, err := ParsePair(row.cert, row.key)
		if (err == nil) != (row.want == "") || err != nil && !strings.Contains(err.Error(), row.want) {
			t.Errorf("%v, want %q", err, row.want)
		}
	}
}

func TestDoubts(t *testing.T) {
	ca := tlstest.New(t)
	now := time.Now()
	for _, row := range []struct {
		end   time.Time
		names []string
		want  string
	}{
		{now.AddDate(0, 1, 0), []string{"a.example"}, ""},
		{now.AddDate(0, 0, 10), nil, "expires on"},
		{now.AddDate(0, 0, -1), nil, "has expired"},
		{now.AddDate(0, 1, 0), []string{"b.example"}, "not for b.example"},
	} {
		pair := ca.Pair(t, row.end, "a.example").Certificate(t)
		doubts := strings.Join(Doubts(&pair, row.names, now), "; ")
		if (doubts == "") != (row.want == "") || !strings.Contains(doubts, row.want) {
			t.Errorf("%q, want %q", doubts, row.want)
		}
	}
}

// TestClientCertificate: a certificate is asked for where there are authorities, counts in a
// resumed session too, and is refused if somebody else has signed it.
func TestClientCertificate(t *testing.T) {
	ca, other := tlstest.New(t), tlstest.New(t)
	shown := []Certificate{{Certificate: ca.Valid(t, "x").Certificate(t)}}
	asks := ServerConfig{Certificates: shown, ClientCAs: ca.Pool()}.TLS()
	connect := func(server *tls.Config, client *tls.Config) (verified, resumed bool, err error) {
		a, b := tcpPair(t)
		done := make(chan bool)
		go func() {
			conn := Server(b, server)
			_, _ = conn.Write([]byte("x"))
			done <- conn.Verified()
		}()
		conn := Client(a, client)
		if err = conn.Handshake(); err == nil {
			_, err = conn.Read(make([]byte, 1)) // a refusal comes behind the client's handshake
		}
		resumed = conn.ConnectionState().DidResume
		_ = conn.Close()
		return <-done, resumed, err
	}
	client := func(a *tlstest.Authority) *tls.Config {
		c := ca.Client("x")
		c.ClientSessionCache = tls.NewLRUClientSessionCache(0)
		if a != nil {
			c.Certificates = []tls.Certificate{a.Valid(t, "y").Certificate(t)}
		}
		return c
	}
	own := client(ca)
	for _, again := range []bool{false, true} {
		if verified, resumed, err := connect(asks, own); !verified || resumed != again || err != nil {
			t.Errorf("with a certificate: verified %v, resumed %v, %v", verified, resumed, err)
		}
	}
	if verified, _, err := connect(asks, client(nil)); verified || err != nil {
		t.Errorf("without a certificate: verified %v, %v", verified, err)
	}
	forced := client(nil)
	stranger := other.Valid(t, "y").Certificate(t)
	forced.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &stranger, nil }
	if verified, _, err := connect(asks, forced); verified || err == nil {
		t.Errorf("with another authority's certificate: verified %v, %v", verified, err)
	}
	if verified, _, err := connect(ServerConfig{Certificates: shown}.TLS(), client(ca)); verified || err != nil {
		t.Errorf("where none is asked for: verified %v, %v", verified, err)
	}
}
