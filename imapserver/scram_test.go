package imapserver

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/xdg-go/scram"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/mailbox/mailboxmem"
	"github.com/roost-mail/roost/sasl"
	"github.com/roost-mail/roost/tlsconn/tlstest"
)

// scramAuth lets ann in, who knows "secret". closed counts her closed accounts.
type scramAuth struct {
	mail   *mailboxmem.Mail
	closed chan struct{}
}

func (a *scramAuth) Keys(_ context.Context, _ *Client, cred Credentials) (sasl.Keys, error) {
	return sasl.DeriveKeys(cred.Mechanism, "secret", "salt of "+cred.AuthID, sasl.DefaultIterations)
}

func (a *scramAuth) Login(_ context.Context, _ *Client, cred Credentials) (*Login, error) {
	if cred.Proof == nil || !cred.Proof.OK {
		return nil, imap.Errorf(imap.CodeAuthenticationFailed, "Authentication failed.")
	}
	return &Login{User: cred.AuthID, Account: &closing{a.mail.As(cred.AuthID, false), a.closed}}, nil
}

type closing struct {
	mailbox.Account
	closed chan struct{}
}

func (c *closing) Close() error {
	c.closed <- struct{}{}
	return c.Account.Close()
}

func scramServer(t *testing.T) (*testServer, *scramAuth) {
	a := &scramAuth{mailboxmem.New("ann"), make(chan struct{}, 10)}
	return tlsServer(t, tlstest.New(t), func(c *Config) { c.Authenticator = a }), a
}

// speakSCRAM plays a client until it has the server's proof, and returns the
// answer where it came to an end before.
func speakSCRAM(t *testing.T, conn net.Conn, r *bufio.Reader, mechanism, password string, binding scram.ChannelBinding) (end string) {
	t.Helper()
	client, err := scram.SHA256.NewClient("ann", password, "")
	if err != nil {
		t.Fatal(err)
	}
	talk := client.NewConversation()
	if binding.IsSupported() {
		talk = client.NewConversationWithChannelBinding(binding)
	}
	response, err := talk.Step("")
	if err != nil {
		t.Fatal(err)
	}
	sendLine(t, conn, "s AUTHENTICATE "+mechanism+" "+base64.StdEncoding.EncodeToString([]byte(response)))
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		text, goesOn := strings.CutPrefix(strings.TrimSpace(line), "+ ")
		if !goesOn {
			return text
		}
		challenge, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		if response, err = talk.Step(string(challenge)); err != nil {
			t.Fatal(err)
		}
		if talk.Done() {
			return ""
		}
		sendLine(t, conn, base64.StdEncoding.EncodeToString([]byte(response)))
	}
}

// SCRAM ties a login to the TLS connection, and needs none to hide the password.
func TestSCRAM(t *testing.T) {
	ts, _ := scramServer(t)
	for _, row := range []struct {
		name, mechanism, kind string
		version               uint16 // 0: no TLS
		password, want        string // want empty: the login succeeds
	}{
		{"plain connection", "SCRAM-SHA-256", "", 0, "secret", ""},
		{"plain connection, wrong", "SCRAM-SHA-256", "", 0, "other", "s NO [AUTHENTICATIONFAILED]"},
		{"plain connection, PLUS", "SCRAM-SHA-256-PLUS", "", 0, "secret", "s NO Unsupported"},
		{"exporter", "SCRAM-SHA-256-PLUS", "tls-exporter", tls.VersionTLS13, "secret", ""},
		{"exporter, wrong", "SCRAM-SHA-256-PLUS", "tls-exporter", tls.VersionTLS13, "other", "s NO [AUTHENTICATIONFAILED]"},
		{"end point", "SCRAM-SHA-256-PLUS", "tls-server-end-point", tls.VersionTLS13, "secret", ""},
		{"end point, 1.2", "SCRAM-SHA-256-PLUS", "tls-server-end-point", tls.VersionTLS12, "secret", ""},
		{"unique, 1.2", "SCRAM-SHA-256-PLUS", "tls-unique", tls.VersionTLS12, "secret", "s NO [AUTHENTICATIONFAILED]"},
		{"man in the middle", "SCRAM-SHA-256-PLUS", "other", tls.VersionTLS13, "secret", "s NO [AUTHENTICATIONFAILED]"},
		{"TLS unbound", "SCRAM-SHA-256", "", tls.VersionTLS13, "secret", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			conn, r := dialPlain(t, ts.addr)
			var binding scram.ChannelBinding
			if row.version != 0 {
				sendLine(t, conn, "a STARTTLS")
				wantLine(t, r, "a OK …")
				secure, sr := startTLSAs(t, conn, &tls.Config{InsecureSkipVerify: true, MaxVersion: row.version})
				conn, r, binding = secure, sr, bindingOf(t, secure, row.kind)
			}
			end := speakSCRAM(t, conn, r, row.mechanism, row.password, binding)
			if row.want != "" {
				if !strings.HasPrefix(end, row.want) {
					t.Errorf("got %q", end)
				}
				return
			}
			sendLine(t, conn, "")
			wantLine(t, r, "s OK [CAPABILITY …")
			sendLine(t, conn, "x LOGOUT")
			wantLine(t, r, "* BYE …")
		})
	}
}

func bindingOf(t *testing.T, conn *tls.Conn, kind string) (b scram.ChannelBinding) {
	t.Helper()
	state := conn.ConnectionState()
	var err error
	switch kind {
	case "tls-exporter":
		b, err = scram.NewTLSExporterBinding(&state)
	case "tls-server-end-point":
		sum := sha256.Sum256(state.PeerCertificates[0].Raw)
		b = scram.ChannelBinding{Type: scram.ChannelBindingTLSServerEndpoint, Data: sum[:]}
	case "tls-unique":
		b = scram.NewTLSUniqueBinding(state.TLSUnique)
	case "other":
		b = scram.ChannelBinding{Type: scram.ChannelBindingTLSExporter, Data: make([]byte, 32)}
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A client that takes the server's proof and then goes back on the login is not
// logged in, and what was opened for it is closed.
func TestSCRAMCancelled(t *testing.T) {
	ts, a := scramServer(t)
	for last, want := range map[string]string{"*": "s BAD …", "eA==": "s NO [AUTHENTICATIONFAILED] …", "!": "s BAD …"} {
		t.Run(fmt.Sprintf("%q", last), func(t *testing.T) {
			conn, r := dialPlain(t, ts.addr)
			if end := speakSCRAM(t, conn, r, "SCRAM-SHA-256", "secret", scram.ChannelBinding{}); end != "" {
				t.Fatal(end)
			}
			sendLine(t, conn, last)
			wantLine(t, r, want)
			<-a.closed
			sendLine(t, conn, "b SELECT INBOX")
			wantLine(t, r, "b BAD …")
		})
	}
	t.Run("connection lost", func(t *testing.T) {
		conn, r := dialPlain(t, ts.addr)
		speakSCRAM(t, conn, r, "SCRAM-SHA-256", "secret", scram.ChannelBinding{})
		_ = conn.Close()
		<-a.closed
	})
}

// -PLUS is offered on TLS alone, and none of it where nobody has keys.
func TestSCRAMOffered(t *testing.T) {
	ts, _ := scramServer(t)
	conn, r := dialPlain(t, ts.addr)
	sendLine(t, conn, "a CAPABILITY")
	wantLine(t, r, "* CAPABILITY … AUTH=SCRAM-SHA-256 AUTH=SCRAM-SHA-1…")
	wantLine(t, r, "a OK …")
	sendLine(t, conn, "b STARTTLS")
	wantLine(t, r, "b OK …")
	secure, r := startTLSAs(t, conn, &tls.Config{InsecureSkipVerify: true})
	sendLine(t, secure, "c CAPABILITY")
	wantLine(t, r, "* CAPABILITY … AUTH=SCRAM-SHA-256-PLUS AUTH=SCRAM-SHA-256 AUTH=SCRAM-SHA-1-PLUS …")
	wantLine(t, r, "c OK …")
	// The client claims that it saw no -PLUS (RFC 5802 section 6).
	sendLine(t, secure, "d AUTHENTICATE SCRAM-SHA-256 "+base64.StdEncoding.EncodeToString([]byte("y,,n=ann,r=abc")))
	wantLine(t, r, "d NO [AUTHENTICATIONFAILED] …")
}
