package imapserver

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox/mailboxmem"
)

// A connection with TLS from its first byte waits, is woken and ends as any other.
func TestTLS(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{cert}, PrivateKey: key}}}
	mail := mailboxmem.New("ann")
	ts := newTestServer(t, func(c *Config) {
		c.Authenticator = authFunc(func(context.Context, *Client, Credentials) (*Login, error) {
			return &Login{User: "ann", Account: mail.As("ann", false)}, nil
		})
	})
	ln, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = ts.Serve(context.Background(), ln) }()
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
	for range 6 {
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

// Who never ends the handshake is not waited for longer than for a login.
func TestTLSHandshakeTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		server, client := net.Pipe()
		defer func() { _ = client.Close() }()
		New(Config{Authenticator: annsMail()}).ServeConn(context.Background(), tls.Server(server, &tls.Config{}))
		if took := time.Since(start); took != 3*time.Minute {
			t.Errorf("ended after %v", took)
		}
	})
}
