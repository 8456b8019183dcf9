package imapclient_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/roost-mail/roost/imapclient"
	"github.com/roost-mail/roost/tlsconn"
	"github.com/roost-mail/roost/tlsconn/tlstest"
)

const tlsGreeting = "S: * OK [CAPABILITY IMAP4rev1 STARTTLS LITERAL+ AUTH=PLAIN] hi\n"

// TestNothingIsSaidWithoutTLS: whatever somebody between us and the server does,
// the client sends STARTTLS in the clear and nothing else.
func TestNothingIsSaidWithoutTLS(t *testing.T) {
	for name, script := range map[string]string{
		"refused":       tlsGreeting + "C: R1 STARTTLS\nS: R1 NO not today\nsilence",
		"not known":     "S: * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hi\nC: R1 STARTTLS\nS: R1 BAD what\nsilence",
		"logged in":     "S: * PREAUTH [CAPABILITY IMAP4rev1] you are alice\nsilence",
		"bye":           tlsGreeting + "C: R1 STARTTLS\nS: * BYE\n",
		"no handshake":  tlsGreeting + "C: R1 STARTTLS\nS: R1 OK go\nS: * OK here you are\nsilence",
		"response, too": tlsGreeting + "C: R1 STARTTLS\nS~ R1 OK go\\r\\n* CAPABILITY IMAP4rev1\\r\\n\nsilence",
	} {
		t.Run(name, func(t *testing.T) {
			client, server := tcpPair(t)
			said := make(chan string, 1)
			go func() {
				defer server.Close()
				var b strings.Builder
				follow(t, tee{server, &b}, script)
				said <- b.String()
			}()
			_, err := imapclient.New(context.Background(), client, imapclient.Config{
				Timeout: 5 * time.Second, Security: imapclient.StartTLS, TLS: tlstest.New(t).Client("imap.example.org"),
			})
			if err == nil {
				t.Error("connected")
			}
			_ = client.Close()
			rest, _ := strings.CutPrefix(<-said, "R1 STARTTLS\r\n")
			if rest != "" && rest[0] != 22 { // a handshake record
				t.Errorf("said in the clear: %q", rest)
			}
		})
	}
}

// tee keeps what is read.
type tee struct {
	net.Conn
	said *strings.Builder
}

func (c tee) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.said.Write(p[:n])
	return n, err
}

// TestTLSIsVerified by name and authority, and what was said before STARTTLS is
// forgotten: the script's server offers other capabilities afterwards.
func TestTLSIsVerified(t *testing.T) {
	ca := tlstest.New(t)
	for _, row := range []struct {
		name    string
		cert    tlstest.Pair
		anyCert bool
		ok      bool
	}{
		{"right", ca.Valid(t, "imap.example.org"), false, true},
		{"another name", ca.Valid(t, "mx.example.org"), false, false},
		{"another name, any", ca.Valid(t, "mx.example.org"), true, true},
		{"expired", ca.Pair(t, time.Now().Add(-time.Minute), "imap.example.org"), false, false},
		{"another authority", tlstest.New(t).Valid(t, "imap.example.org"), false, false},
	} {
		for _, security := range []imapclient.Security{imapclient.StartTLS, imapclient.ImplicitTLS} {
			t.Run(row.name, func(t *testing.T) {
				client, server := net.Pipe()
				done := make(chan struct{})
				go func() {
					defer close(done)
					defer server.Close()
					if security == imapclient.StartTLS {
						follow(t, server, tlsGreeting+"C: R1 STARTTLS\nS: R1 OK go")
					}
					config := tlsconn.ServerConfig{Certificates: []tlsconn.Certificate{{Certificate: row.cert.Certificate(t)}}}
					secure := tls.Server(server, config.TLS())
					if secure.Handshake() != nil {
						return
					}
					if security == imapclient.ImplicitTLS {
						_, _ = io.WriteString(secure, "* OK hi\r\n")
					}
					line, _ := bufio.NewReader(secure).ReadString('\n')
					tag, _, _ := strings.Cut(line, " ")
					_, _ = io.WriteString(secure, "* CAPABILITY IMAP4rev1 INSIDE\r\n"+tag+" OK\r\n")
				}()
				config := &tls.Config{RootCAs: ca.Pool()}
				c, err := imapclient.New(context.Background(), client, imapclient.Config{
					Timeout: 5 * time.Second, Security: security, TLS: tlsconn.Named(config, "imap.example.org", row.anyCert),
				})
				if (err == nil) != row.ok {
					t.Errorf("error %v", err)
				}
				if err == nil {
					if err := c.Capability(t.Context()); err != nil || c.Has("LITERAL+") || !c.Has("INSIDE") {
						t.Errorf("capabilities %q, %v", c.Capabilities(), err)
					}
					_ = c.Close()
				}
				_ = client.Close()
				<-done
			})
		}
	}
}

// tcpPair is two ends that write without waiting for a reader.
func tcpPair(t *testing.T) (a, b net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if a, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if b, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	return a, b
}
