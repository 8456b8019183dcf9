package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/roost-mail/roost/config"
	"github.com/roost-mail/roost/imapclient"
	"github.com/roost-mail/roost/imapserver"
	"github.com/roost-mail/roost/imapwire"
	"github.com/roost-mail/roost/tlsconn"
	"github.com/roost-mail/roost/tlsconn/tlstest"
)

// secureRig gives each node of a rig a certificate for its address, has the
// director reach the backends with the passdb fields proxyFields, and the
// backends the director with the settings imapc.
func secureRig(t *testing.T, r *rig, ca *tlstest.Authority, proxyFields, imapc string) {
	t.Helper()
	write := func(name, text string) string {
		path := filepath.Join(r.root, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	authority := write("ca.pem", ca.PEM)
	for name, addr := range rigAddrs {
		pair := ca.Valid(t, addr)
		appendTo(t, r.files[name], fmt.Sprintf("ssl = yes\nssl_cert = <%s\nssl_key = <%s\nssl_client_ca_file = %s\n%s"+
			"service imap-login {\n inet_listener imaps {\n  port = %d\n }\n}\n",
			write(name+".pem", pair.Cert), write(name+".key", pair.Key), authority, imapc, r.tlsPort(t)))
	}
	users := filepath.Join(r.root, "etc/users.director")
	text, err := os.ReadFile(users)
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.NewReplacer("TLSPORT", strconv.Itoa(r.tlsPort(t))).Replace(proxyFields)
	if strings.Contains(fields, "port=") {
		text = []byte(strings.ReplaceAll(string(text), "port="+strconv.Itoa(r.port), ""))
	}
	write("etc/users.director", strings.ReplaceAll(string(text), "proxy=y", "proxy=y "+fields))
}

// TestTLSBetweenNodes runs transcripts over a cluster whose nodes speak TLS with
// each other, whose certificates are verified.
func TestTLSBetweenNodes(t *testing.T) {
	for _, row := range []struct{ name, proxy, imapc string }{
		{"starttls", "starttls=yes", "imapc_ssl = starttls\n"},
		{"imaps", "ssl=yes port=TLSPORT", "imapc_ssl = imaps\nimapc_port = TLSPORT\n"},
	} {
		for _, name := range []string{"01-reading.txt", "06-live.txt"} {
			t.Run(row.name+"/"+name, func(t *testing.T) {
				r := startRigWith(t, "rig", func(r *rig) {
					imapc := strings.ReplaceAll(row.imapc, "TLSPORT", strconv.Itoa(r.tlsPort(t)))
					secureRig(t, r, tlstest.New(t), row.proxy, imapc)
				})
				runTranscript(t, r, filepath.Join("testdata/transcripts", name))
			})
		}
	}
}

// TestTLSToWrongBackend: a backend whose certificate is not for its address, or
// that has no TLS, is not logged in to, whatever is in between.
func TestTLSToWrongBackend(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, fields, spoil, want string }{
		{"another name", "starttls=yes", "another name", "NO [UNAVAILABLE]"},
		{"another name, but any", "starttls=any-cert", "another name", "OK"},
		{"no TLS", "starttls=yes", "no TLS", "NO [UNAVAILABLE]"},
		{"no TLS, but any", "starttls=any-cert", "no TLS", "NO [UNAVAILABLE]"},
		{"another authority", "starttls=yes", "another authority", "NO [UNAVAILABLE]"},
		{"not a word", "starttls=maybe", "", "NO [UNAVAILABLE]"},
		{"expired", "starttls=yes", "expired", "NO [UNAVAILABLE]"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			ca := tlstest.New(t)
			r := startRigWith(t, "rig", func(r *rig) {
				secureRig(t, r, ca, row.fields, "")
				spoil(t, r, ca, row.spoil)
			})
			c := dialIMAP(t, r.address())
			defer c.close()
			c.command("LOGIN someone1 pass")
			c.expect(row.want)
		})
	}
}

// spoil makes backend be1, where someone1 lives, not what its clients expect.
func spoil(t *testing.T, r *rig, ca *tlstest.Authority, how string) {
	t.Helper()
	pair := ca.Valid(t, "127.0.1.99", "be1.example.org")
	switch how {
	case "":
		return
	case "no TLS":
		appendTo(t, r.files["be1"], "ssl = no\n")
		return
	case "another authority":
		pair = tlstest.New(t).Valid(t, rigAddrs["be1"])
	case "expired":
		pair = ca.Pair(t, time.Now().Add(-time.Hour), rigAddrs["be1"])
	}
	for name, text := range map[string]string{"be1.pem": pair.Cert, "be1.key": pair.Key} {
		if err := os.WriteFile(filepath.Join(r.root, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// logBuffer is a log that a test reads.
type logBuffer struct {
	mu   sync.Mutex // guards text
	text strings.Builder
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

// take is what was logged since the last take.
func (b *logBuffer) take() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer b.text.Reset()
	return b.text.String()
}

// single is a backend alone, with TLS, whose file a test changes.
type single struct {
	dir, file string
	plain     string // address
	secure    string
	node      *node
	log       *logBuffer
	ca        *tlstest.Authority
}

func startSingle(t *testing.T, settings string) *single {
	t.Helper()
	s := &single{dir: t.TempDir(), log: &logBuffer{}, ca: tlstest.New(t)}
	s.file = filepath.Join(s.dir, "roost.conf")
	given := map[string]net.Listener{}
	for _, addr := range []*string{&s.plain, &s.secure} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		*addr = ln.Addr().String()
		given[*addr] = ln
	}
	s.certificate(t, s.ca.Valid(t, "imap.example.org"))
	s.write(t, settings)
	set, _, err := config.Load(s.file)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	if s.node, err = newNode(ctx, set, slog.New(slog.NewTextHandler(s.log, nil))); err != nil {
		t.Fatal(err)
	}
	if err := s.node.listen(ctx, given); err != nil {
		t.Fatal(err)
	}
	s.node.start(ctx)
	t.Cleanup(func() {
		if err := s.node.close(ctx); err != nil {
			t.Error(err)
		}
	})
	return s
}

// write writes the configuration, with settings at the end of it.
func (s *single) write(t *testing.T, settings string) {
	t.Helper()
	_, plain, _ := net.SplitHostPort(s.plain)
	_, secure, _ := net.SplitHostPort(s.secure)
	text := fmt.Sprintf(`listen = 127.0.0.1
mail_location = roost:%s/mail/%%u
auth_failure_delay = 0
ssl_cert = <cert.pem
ssl_key = <key.pem
passdb {
  driver = static
  args = password=secret
}
userdb {
  driver = static
  args = home=/nowhere
}
service imap-login {
  inet_listener imap {
    port = %s
  }
  inet_listener imaps {
    port = %s
  }
}
`, s.dir, plain, secure)
	if err := os.WriteFile(s.file, []byte(text+settings), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (s *single) certificate(t *testing.T, pair tlstest.Pair) {
	t.Helper()
	for name, text := range map[string]string{"cert.pem": pair.Cert, "key.pem": pair.Key} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// connect logs in with TLS from the first byte and gives what the server showed.
func (s *single) connect(t *testing.T, name string) (c *imapclient.Conn, shown *tls.ConnectionState) {
	t.Helper()
	tlsConfig := tlsconn.Named(&tls.Config{RootCAs: s.ca.Pool()}, name, false)
	shown = new(tls.ConnectionState)
	tlsConfig.VerifyConnection = func(state tls.ConnectionState) error {
		*shown = state
		return nil
	}
	c, err := imapclient.Dial(t.Context(), "tcp", s.secure, imapclient.Config{Security: imapclient.ImplicitTLS, TLS: tlsConfig, Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := c.Login(t.Context(), "alice", "secret"); err != nil {
		t.Fatal(err)
	}
	return c, shown
}

// alive says that a session still answers.
func alive(t *testing.T, c *imapclient.Conn) {
	t.Helper()
	if _, err := c.Do(t.Context(), nil, imapCommand("NOOP")); err != nil {
		t.Errorf("the session is lost: %v", err)
	}
}

// TestReload: new certificates and settings hold for who comes next, and
// sessions that are there do not notice; what is wrong changes nothing.
func TestReload(t *testing.T) {
	s := startSingle(t, "")
	before, first := s.connect(t, "imap.example.org")
	serial := func(state *tls.ConnectionState) string { return state.PeerCertificates[0].SerialNumber.String() }

	s.certificate(t, s.ca.Valid(t, "imap.example.org"))
	s.log.take()
	s.node.logReload(s.file)
	if log := s.log.take(); !strings.Contains(log, "configuration was read again") {
		t.Error(log)
	}
	during, second := s.connect(t, "imap.example.org")
	if serial(first) == serial(second) {
		t.Error("the old certificate is shown still")
	}

	// A key that does not belong to the certificate.
	broken := s.ca.Valid(t, "imap.example.org")
	broken.Key = s.ca.Valid(t, "imap.example.org").Key
	s.certificate(t, broken)
	s.node.logReload(s.file)
	if log := s.log.take(); !strings.Contains(log, "roost.conf:4: ssl_cert: private key does not match public key") ||
		!strings.Contains(log, "the old one stays") {
		t.Error(log)
	}
	if _, third := s.connect(t, "imap.example.org"); serial(third) != serial(second) {
		t.Error("a broken certificate changed something")
	}

	// A mistake anywhere keeps everything as it was.
	s.certificate(t, s.ca.Valid(t, "other.example.org"))
	s.write(t, "no_such_setting = yes\n")
	s.node.logReload(s.file)
	if log := s.log.take(); !strings.Contains(log, "roost.conf:22: no_such_setting") {
		t.Error(log)
	}
	if _, third := s.connect(t, "imap.example.org"); serial(third) != serial(second) {
		t.Error("a file with errors changed something")
	}

	// One that expires soon is told of; what needs a restart is named, and not done.
	s.certificate(t, s.ca.Pair(t, time.Now().Add(48*time.Hour), "imap.example.org"))
	s.write(t, "instance_name = other\nmail_location = roost:/elsewhere/%u\nlogin_trusted_networks = 192.0.2.0/24\n")
	s.node.logReload(s.file)
	log := s.log.take()
	for _, want := range []string{"expires on", "roost.conf:23: mail_location: it changes with a restart only"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %q:\n%s", want, log)
		}
	}
	if now := s.node.latest().set; !strings.HasPrefix(now.Mail.Location, "roost:"+s.dir) || len(now.Login.TrustedNetworks) != 1 {
		t.Errorf("mail_location %s, networks %v", now.Mail.Location, now.Login.TrustedNetworks)
	}
	alive(t, before)
	alive(t, during)
}

// TestReloadUnderLoad: while certificates change all the time, every connection
// gets one of them and no session is lost.
func TestReloadUnderLoad(t *testing.T) {
	s := startSingle(t, "")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	pairs := []tlstest.Pair{s.ca.Valid(t, "imap.example.org"), s.ca.Valid(t, "imap.example.org")}
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				s.certificate(t, pairs[i%2])
				s.node.logReload(s.file)
			}
		}
	})
	for range 20 {
		c, _ := s.connect(t, "imap.example.org")
		alive(t, c)
		_ = c.Logout(t.Context())
	}
	close(stop)
	wg.Wait()
}

// TestSNI: the certificate fits the name that is asked for.
func TestSNI(t *testing.T) {
	s := startSingle(t, "")
	for name, pair := range map[string]tlstest.Pair{"mx": s.ca.Valid(t, "mx.example.net"), "star": s.ca.Valid(t, "*.example.com")} {
		for ext, text := range map[string]string{".pem": pair.Cert, ".key": pair.Key} {
			if err := os.WriteFile(filepath.Join(s.dir, name+ext), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.write(t, `local_name mx.example.net {
  ssl_cert = <mx.pem
  ssl_key = <mx.key
}
local_name *.example.com {
  ssl_cert = <star.pem
  ssl_key = <star.key
}
`)
	s.node.logReload(s.file)
	for _, name := range []string{"imap.example.org", "mx.example.net", "mail.example.com"} {
		s.connect(t, name) // which verifies the name
	}
}

// TestPlaintextAllowed: without TLS nobody logs in but from where it is safe anyway.
func TestPlaintextAllowed(t *testing.T) {
	for _, row := range []struct {
		settings string
		peer     string
		tls      bool
		allowed  bool
	}{
		{"", "192.0.2.7:1", false, false},
		{"", "192.0.2.7:1", true, true},
		{"", "127.0.0.1:1", false, true},
		{"", "198.51.100.1:1", false, true}, // the server's own address
		{"disable_plaintext_auth = no\n", "192.0.2.7:1", false, true},
		{"disable_plaintext_auth = no\nssl = required\n", "192.0.2.7:1", false, false},
		{"ssl = required\n", "192.0.2.7:1", true, true},
		{"ssl = required\n", "127.0.0.1:1", false, true},
		{"ssl = no\n", "192.0.2.7:1", false, false},
	} {
		t.Run(row.settings+row.peer, func(t *testing.T) {
			s := startSingle(t, row.settings)
			c := client(row.peer, "198.51.100.1:143")
			c.TLS = row.tls
			if got := s.node.plaintextAllowed(&c); got != row.allowed {
				t.Errorf("allowed: %v", got)
			}
		})
	}
}

func client(peer, local string) imapserver.Client {
	return imapserver.Client{Peer: netip.MustParseAddrPort(peer), Local: netip.MustParseAddrPort(local)}
}

func imapCommand(text string) func(*imapwire.Encoder) {
	return func(e *imapwire.Encoder) { e.RawString(text) }
}

// TestClientCertificates: nodes show each other certificates, without which nobody gets in at a
// backend, or at the director's port for backends; and master logins are for that port alone.
func TestClientCertificates(t *testing.T) {
	ca, other := tlstest.New(t), tlstest.New(t)
	r := startRigWith(t, "rig", func(r *rig) {
		secureRig(t, r, ca, "starttls=yes", fmt.Sprintf("imapc_ssl = imaps\nimapc_port = %d\n", r.tlsPort(t)))
		for name, file := range r.files {
			own := filepath.Join(r.root, name)
			appendTo(t, file, fmt.Sprintf("ssl_client_cert = <%s.pem\nssl_client_key = <%s.key\nssl_verify_client_cert = yes\nssl_ca = <%s/ca.pem\nssl_require_crl = no\n", own, own, r.root))
			if name == "director" {
				appendTo(t, file, "service imap-login {\n inet_listener imap {\n  master_logins = no\n }\n inet_listener imaps {\n  client_cert = yes\n }\n}\n")
			} else {
				appendTo(t, file, "auth_ssl_require_client_cert = yes\n")
			}
		}
	})
	runTranscript(t, r, "testdata/transcripts/06-live.txt")
	pair := func(a *tlstest.Authority) []tls.Certificate {
		return []tls.Certificate{a.Valid(t, "be1.example.org").Certificate(t)}
	}
	for _, row := range []struct {
		node         string
		certificates []tls.Certificate
		want         string
	}{
		{"director", nil, "NO [AUTHENTICATIONFAILED] Client didn't present valid SSL certificate"},
		{"be1", nil, "NO [AUTHENTICATIONFAILED] Client didn't present valid SSL certificate"},
		{"director", pair(other), "refused"},
		{"be1", pair(other), "refused"},
		{"director", pair(ca), "OK"},
		{"be1", pair(ca), "OK"},
	} {
		if got := masterLogin(t, r, row.node, ca, row.certificates); !strings.HasPrefix(got, row.want) {
			t.Errorf("%s, %d certificates: %s, want %s", row.node, len(row.certificates), got, row.want)
		}
	}
	c := dialIMAP(t, r.address())
	defer c.close()
	c.command("LOGIN someone1*someone2 master-secret")
	c.expect("NO [AUTHENTICATIONFAILED]")
	c.command("LOGIN someone1 pass")
	c.expect("OK")
}

// masterLogin is the answer of a node's port for TLS to a master login; refused if the
// handshake has no good end.
func masterLogin(t *testing.T, r *rig, name string, ca *tlstest.Authority, certificates []tls.Certificate) string {
	t.Helper()
	conn, err := net.DialTimeout("tcp", net.JoinHostPort(rigAddrs[name], strconv.Itoa(r.tlsPort(t))), patience)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	config := ca.Client(rigAddrs[name])
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if len(certificates) == 0 {
			return &tls.Certificate{}, nil
		}
		return &certificates[0], nil
	}
	secured := tls.Client(conn, config)
	if _, err := secured.Write([]byte("a LOGIN someone1*someone2 master-secret\r\n")); err != nil {
		return "refused"
	}
	for lines := bufio.NewScanner(secured); lines.Scan(); {
		if answer, ok := strings.CutPrefix(lines.Text(), "a "); ok {
			return answer
		}
	}
	return "refused"
}
