package imapserver

import (
	"bufio"
	"context"
	"crypto/tls"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox/mailboxmem"
	"github.com/roost-mail/roost/tlsconn"
	"github.com/roost-mail/roost/tlsconn/tlstest"
)

// A connection with TLS from its first byte waits, is woken and ends as any
// other, whether it is ours, which idles cheaply, or the standard library's.
func TestTLS(t *testing.T) {
	config := serverTLS(t, tlstest.New(t))
	t.Run("ours", func(t *testing.T) {
		testTLS(t, func(ln net.Listener) net.Listener { return tlsconn.Listener(ln, config) })
	})
	t.Run("standard", func(t *testing.T) {
		testTLS(t, func(ln net.Listener) net.Listener { return tls.NewListener(ln, config()) })
	})
}

// serverTLS shows a certificate for imap.example.org.
func serverTLS(t *testing.T, ca *tlstest.Authority) func() *tls.Config {
	cert := tlsconn.Certificate{Certificate: ca.Valid(t, "imap.example.org").Certificate(t)}
	config := tlsconn.ServerConfig{Certificates: []tlsconn.Certificate{cert}}.TLS()
	return func() *tls.Config { return config }
}

func testTLS(t *testing.T, wrap func(net.Listener) net.Listener) {
	mail := mailboxmem.New("ann")
	ts := newTestServer(t, func(c *Config) {
		c.Authenticator = authFunc(func(context.Context, *Client, Credentials) (*Login, error) {
			return &Login{User: "ann", Account: mail.As("ann", false)}, nil
		})
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = ts.Serve(context.Background(), wrap(ln)) }()
	conn, err := tls.Dial("tcp", ln.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(testTimeout))
	r := bufio.NewReader(conn)
	wantLine(t, r, "* OK …")
	sendLine(t, conn, "a LOGIN ann secret\r\nb SELECT INBOX\r\nc IDLE")
	wantLine(t, r, "a OK …")
	for range 7 {
		wantLine(t, r, "* …")
	}
	wantLine(t, r, "b OK …")
	wantLine(t, r, "+ idling")
	for range 10 {
		appendTo(t, mail.As("ann", false), imap.Inbox)
		wantLine(t, r, "* … EXISTS")
		wantLine(t, r, "* … RECENT")
	}
	sendLine(t, conn, "DONE\r\nd LOGOUT")
	wantLine(t, r, "c OK …")
	wantLine(t, r, "* BYE …")
	wantLine(t, r, "d OK …")
}

// Who never ends the handshake is not waited for as long as for a login.
func TestTLSHandshakeTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		server, client := net.Pipe()
		defer func() { _ = client.Close() }()
		New(Config{Authenticator: annsMail()}).ServeConn(context.Background(), tls.Server(server, &tls.Config{}))
		if took := time.Since(start); took != 30*time.Second {
			t.Errorf("ended after %v", took)
		}
	})
}
