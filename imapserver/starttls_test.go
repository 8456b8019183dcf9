package imapserver

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/sasl"
	"github.com/roost-mail/roost/tlsconn"
	"github.com/roost-mail/roost/tlsconn/tlstest"
)

// tlsServer offers STARTTLS; passwords need it unless open is set.
func tlsServer(t *testing.T, ca *tlstest.Authority, adjust func(*Config)) *testServer {
	return newTestServer(t, func(c *Config) {
		c.TLS = serverTLS(t, ca)
		c.PlaintextAllowed = func(c *Client) bool { return c.TLS }
		if adjust != nil {
			adjust(c)
		}
	})
}

func dialPlain(t *testing.T, addr string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(testTimeout))
	r := bufio.NewReader(conn)
	wantLine(t, r, "* OK …")
	return conn, r
}

// startTLSAs goes on with TLS after the OK of STARTTLS.
func startTLSAs(t *testing.T, conn net.Conn, config *tls.Config) (*tls.Conn, *bufio.Reader) {
	t.Helper()
	secure := tls.Client(conn, config)
	if err := secure.Handshake(); err != nil {
		t.Fatal(err)
	}
	return secure, bufio.NewReader(secure)
}

func TestStartTLS(t *testing.T) {
	ca := tlstest.New(t)
	ts := tlsServer(t, ca, nil)
	conn, r := dialPlain(t, ts.addr)
	sendLine(t, conn, "a CAPABILITY")
	wantLine(t, r, "* CAPABILITY … STARTTLS LOGINDISABLED…")
	wantLine(t, r, "a OK …")
	sendLine(t, conn, "b LOGIN ann secret")
	wantLine(t, r, "b NO [PRIVACYREQUIRED] …")
	sendLine(t, conn, "c STARTTLS extra")
	wantLine(t, r, "c BAD …")
	sendLine(t, conn, "d STARTTLS")
	wantLine(t, r, "d OK Begin TLS negotiation now.")
	secure, r := startTLSAs(t, conn, ca.Client("imap.example.org"))
	sendLine(t, secure, "e CAPABILITY")
	line := wantLine(t, r, "* CAPABILITY … AUTH=PLAIN …")
	if strings.Contains(line, "STARTTLS") || strings.Contains(line, "LOGINDISABLED") {
		t.Errorf("capabilities with TLS: %s", line)
	}
	wantLine(t, r, "e OK …")
	sendLine(t, secure, "f STARTTLS")
	wantLine(t, r, "f BAD …already…")
	sendLine(t, secure, "g LOGIN ann secret")
	wantLine(t, r, "g OK …")
	sendLine(t, secure, "h STARTTLS")
	wantLine(t, r, "h BAD …")
	sendLine(t, secure, "i LOGOUT")
	wantLine(t, r, "* BYE …")
	wantLine(t, r, "i OK …")
}

func TestStartTLSIsNotOfferedWithoutACertificate(t *testing.T) {
	ts := newTestServer(t, nil)
	conn, r := dialPlain(t, ts.addr)
	sendLine(t, conn, "a CAPABILITY")
	if line := wantLine(t, r, "* CAPABILITY …"); strings.Contains(line, "STARTTLS") {
		t.Error(line)
	}
	wantLine(t, r, "a OK …")
	sendLine(t, conn, "b STARTTLS")
	wantLine(t, r, "b BAD … TLS support isn't enabled.")
}

// Commands that somebody puts behind STARTTLS in the clear are never executed:
// CVE-2011-0411 of Postfix, CVE-2021-33515 of Dovecot, and others.
func TestCommandsBehindStartTLSAreNotExecuted(t *testing.T) {
	for name, injected := range map[string]string{
		"command":  "x LOGIN ann secret\r\n",
		"a byte":   "x",
		"line end": "\r\n",
		"long":     "x NOOP " + strings.Repeat("x", 100<<10),
	} {
		t.Run(name, func(t *testing.T) {
			logins := make(chan Credentials, 1)
			ts := tlsServer(t, tlstest.New(t), func(c *Config) {
				c.PlaintextAllowed = nil
				c.Authenticator = authFunc(func(_ context.Context, _ *Client, cred Credentials) (*Login, error) {
					logins <- cred
					return nil, imap.Errorf(imap.CodeAuthenticationFailed, "No.")
				})
			})
			conn, r := dialPlain(t, ts.addr)
			go func() { _, _ = io.WriteString(conn, "a STARTTLS\r\n"+injected) }()
			wantLine(t, r, "* BYE Plaintext was sent behind STARTTLS.")
			if rest, _ := io.ReadAll(r); len(rest) > 0 {
				t.Errorf("and then %q", rest)
			}
			select {
			case cred := <-logins:
				t.Errorf("executed: %+v", cred)
			default:
			}
		})
	}
}

// What comes later, between the OK and the handshake, is taken for TLS and ends it.
func TestPlaintextInPlaceOfTheHandshake(t *testing.T) {
	ts := tlsServer(t, tlstest.New(t), nil)
	conn, r := dialPlain(t, ts.addr)
	sendLine(t, conn, "a STARTTLS")
	wantLine(t, r, "a OK …")
	sendLine(t, conn, "x LOGIN ann secret\r\ny NOOP")
	rest, _ := io.ReadAll(r)
	if bytes.Contains(rest, []byte("x ")) || bytes.Contains(rest, []byte("OK")) {
		t.Errorf("answered %q", rest)
	}
}

// What a client, or somebody in its name, said before TLS is not believed after it.
func TestStartTLSForgetsWhatWasSaidBefore(t *testing.T) {
	ca := tlstest.New(t)
	seen := make(chan Client, 1)
	ts := tlsServer(t, ca, func(c *Config) {
		c.Trusted = func(netip.Addr) bool { return true }
		c.Authenticator = authFunc(func(_ context.Context, c *Client, _ Credentials) (*Login, error) {
			seen <- *c
			return nil, imap.Errorf(imap.CodeAuthenticationFailed, "No.")
		})
	})
	conn, r := dialPlain(t, ts.addr)
	sendLine(t, conn, `a ID ("x-originating-ip" "192.0.2.66" "x-session-id" "forged" "x-session-ext-id" "forged" "x-forward-ssl" "yes" "x-proxy-ttl" "2")`)
	wantLine(t, r, "* ID …")
	wantLine(t, r, "a OK …")
	sendLine(t, conn, "b STARTTLS")
	wantLine(t, r, "b OK …")
	secure, r := startTLSAs(t, conn, ca.Client("imap.example.org"))
	sendLine(t, secure, "c LOGIN ann secret")
	wantLine(t, r, "c NO …")
	c := <-seen
	if c.Remote != c.Peer || c.SessionID == "forged" || c.ExternalSessionID != "" || c.Forwarded != nil || c.ProxyTTL != firstProxyTTL || !c.TLS {
		t.Errorf("%+v", c)
	}
	sendLine(t, secure, `d ID ("x-originating-ip" "192.0.2.7")`)
	wantLine(t, r, "* ID …")
	wantLine(t, r, "d OK …")
	sendLine(t, secure, "e LOGIN ann secret")
	wantLine(t, r, "e NO …")
	if c := <-seen; c.Remote.Addr() != netip.MustParseAddr("192.0.2.7") {
		t.Errorf("the ID within TLS was not taken: %v", c.Remote)
	}
}

// With ssl = required also a mechanism that hides the password waits for TLS.
func TestSecuredOnly(t *testing.T) {
	hidden := sasl.Mechanism{Name: "HIDDEN"}
	ca := tlstest.New(t)
	ts := tlsServer(t, ca, func(c *Config) {
		c.Mechanisms = []sasl.Mechanism{hidden}
		c.SecuredOnly = func() bool { return true }
	})
	conn, r := dialPlain(t, ts.addr)
	sendLine(t, conn, "a CAPABILITY")
	if line := wantLine(t, r, "* CAPABILITY …"); strings.Contains(line, "AUTH=") {
		t.Error(line)
	}
	wantLine(t, r, "a OK …")
	sendLine(t, conn, "b AUTHENTICATE HIDDEN")
	wantLine(t, r, "b NO [PRIVACYREQUIRED] Authentication not allowed until SSL/TLS is enabled.")
}

// A client that sends its handshake byte by byte does not get more time.
func TestSlowHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		server, client := net.Pipe()
		var playing sync.WaitGroup
		playing.Go(func() {
			hello := append([]byte{22, 3, 1, 2, 0}, make([]byte, 512)...)
			for _, b := range hello {
				time.Sleep(time.Second)
				if _, err := client.Write([]byte{b}); err != nil {
					return
				}
			}
		})
		playing.Go(func() { _, _ = io.Copy(io.Discard, client) })
		New(Config{Authenticator: annsMail()}).ServeConn(context.Background(), tlsconn.Server(server, &tls.Config{}))
		if took := time.Since(start); took != 30*time.Second {
			t.Errorf("ended after %v", took)
		}
		_ = client.Close()
		playing.Wait()
	})
}

// Both ends of a login derive the same channel binding (RFC 9266, RFC 5929).
func TestChannelBinding(t *testing.T) {
	ca := tlstest.New(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			type bound struct{ exporter, endPoint []byte }
			got := make(chan bound, 1)
			ts := tlsServer(t, ca, func(c *Config) {
				c.Authenticator = authFunc(func(_ context.Context, c *Client, _ Credentials) (*Login, error) {
					var b bound
					b.exporter, _ = c.ChannelBinding("tls-exporter")
					b.endPoint, _ = c.ChannelBinding("tls-server-end-point")
					got <- b
					return nil, imap.Errorf(imap.CodeAuthenticationFailed, "No.")
				})
			})
			conn, r := dialPlain(t, ts.addr)
			sendLine(t, conn, "a STARTTLS")
			wantLine(t, r, "a OK …")
			config := ca.Client("imap.example.org")
			config.MaxVersion = version
			secure, r := startTLSAs(t, conn, config)
			sendLine(t, secure, "b LOGIN ann secret")
			wantLine(t, r, "b NO …")
			state := secure.ConnectionState()
			b := <-got
			if want := fmt.Sprintf("%x", sha256Of(state.PeerCertificates[0].Raw)); fmt.Sprintf("%x", b.endPoint) != want {
				t.Errorf("tls-server-end-point %x, want %s", b.endPoint, want)
			}
			if version == tls.VersionTLS12 {
				if b.exporter != nil {
					t.Error("tls-exporter before TLS 1.3")
				}
				return
			}
			want, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32)
			if err != nil || !bytes.Equal(b.exporter, want) {
				t.Errorf("tls-exporter %x, want %x, %v", b.exporter, want, err)
			}
		})
	}
}

func sha256Of(b []byte) []byte {
	sum := sha256.Sum256(b)
	return sum[:]
}
