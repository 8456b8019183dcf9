package tlsconn

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/roost-mail/roost/tlsconn/tlstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tcpPair is the two ends of a connection.
func tcpPair(t testing.TB) (a, b net.Conn) {
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
	for _, c := range []net.Conn{a, b} {
		_ = c.SetDeadline(time.Now().Add(30 * time.Second))
		t.Cleanup(func() { c.Close() })
	}
	return a, b
}

// secured is both ends after the handshake: ours as the server.
func secured(t testing.TB, clientEnd, serverEnd net.Conn, maxVersion uint16) (client *tls.Conn, server *Conn) {
	t.Helper()
	ca := tlstest.New(t)
	cert := Certificate{Certificate: ca.Valid(t, "imap.example.org").Certificate(t)}
	server = Server(serverEnd, ServerConfig{Certificates: []Certificate{cert}}.TLS())
	config := ca.Client("imap.example.org")
	config.MaxVersion = maxVersion
	client = tls.Client(clientEnd, config)
	done := make(chan error, 1)
	go func() { done <- client.Handshake() }()
	if err := errors.Join(server.Handshake(), <-done); err != nil {
		t.Fatal(err)
	}
	return client, server
}

// What comes out is what went in, whatever the sizes of reads and writes, for
// sockets and for what is none.
func TestCopy(t *testing.T) {
	for name, pair := range map[string]func(testing.TB) (net.Conn, net.Conn){
		"tcp": tcpPair, "pipe": func(testing.TB) (net.Conn, net.Conn) { return net.Pipe() },
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(name+tls.VersionName(version), func(t *testing.T) {
				a, b := pair(t)
				client, server := secured(t, a, b, version)
				random := rand.New(rand.NewPCG(1, 2))
				data := make([]byte, 1<<20)
				for i := range data {
					data[i] = byte(random.Uint32())
				}
				go func() {
					sizes := rand.New(rand.NewPCG(3, 4))
					for rest := data; len(rest) > 0; {
						n := min(len(rest), 1+sizes.IntN(40<<10))
						_, _ = client.Write(rest[:n])
						rest = rest[n:]
					}
					_ = client.Close()
				}()
				var got bytes.Buffer
				for {
					p := make([]byte, 1+random.IntN(40<<10))
					n, err := server.Read(p)
					got.Write(p[:n])
					if err == io.EOF {
						break
					}
					if err != nil {
						t.Fatal(err)
					}
				}
				if !bytes.Equal(got.Bytes(), data) {
					t.Errorf("%d bytes, not those that were sent", got.Len())
				}
			})
		}
	}
}

// After what has come was read nothing is buffered, so that Wait may sleep.
func TestNothingIsBufferedWhileIdle(t *testing.T) {
	a, b := tcpPair(t)
	client, server := secured(t, a, b, 0)
	p := make([]byte, 64)
	for _, text := range []string{"a NOOP\r\n", "b NOOP\r\nc NOOP\r\n"} {
		if _, err := io.WriteString(client, text); err != nil {
			t.Fatal(err)
		}
		n, err := server.Read(p)
		if string(p[:n]) != text || err != nil {
			t.Fatalf("%q, %v", p[:n], err)
		}
		r := server.records
		if r.source.buf != nil || r.unread != nil || r.left != 0 || r.have != 0 || server.more {
			t.Errorf("idle with %d unread bytes, %d of a record", len(r.unread), r.left)
		}
	}
}

// A read that is ended by its deadline can be tried again, also within a record.
func TestDeadlineInARecord(t *testing.T) {
	a, b := tcpPair(t)
	through := &partly{Conn: a}
	client, server := secured(t, through, b, 0)
	through.cut = 9
	if _, err := io.WriteString(client, "hello"); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 64)
	for range 3 {
		_ = server.SetReadDeadline(time.Unix(1, 0))
		if _, err := server.Read(p); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
		_ = server.SetReadDeadline(time.Now().Add(30 * time.Millisecond))
		if _, err := server.Read(p); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
	}
	if _, err := a.Write(through.held); err != nil {
		t.Fatal(err)
	}
	_ = server.SetReadDeadline(time.Now().Add(30 * time.Second))
	if n, err := server.Read(p); string(p[:n]) != "hello" || err != nil {
		t.Errorf("%q, %v", p[:n], err)
	}
}

// partly sends only the first cut bytes of a Write, if cut is not 0.
type partly struct {
	net.Conn
	cut  int
	held []byte
}

func (c *partly) Write(p []byte) (int, error) {
	n := len(p)
	if c.cut > 0 {
		c.held = bytes.Clone(p[c.cut:])
		p = p[:c.cut]
	}
	_, err := c.Conn.Write(p)
	return n, err
}
