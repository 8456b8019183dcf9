package haproxy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	proxyproto "github.com/pires/go-proxyproto"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// v2 is a header of version 2: command and family, then what follows its length.
func v2(command, family byte, block ...byte) string {
	b := append([]byte(nil), proxyproto.SIGV2...)
	b = append(b, command, family)
	b = binary.BigEndian.AppendUint16(b, uint16(len(block)))
	return string(append(b, block...))
}

var (
	block4 = []byte{192, 0, 2, 7, 192, 0, 2, 1, 0x0f, 0xa0, 0, 143}
	block6 = append(append(netip.MustParseAddr("2001:db8::7").AsSlice(), netip.MustParseAddr("2001:db8::1").AsSlice()...), 0x0f, 0xa0, 0, 143)
)

func with(block []byte, more ...byte) []byte { return append(bytes.Clone(block), more...) }

// Headers, and whom they name; "-" is nobody, and empty what is refused.
var headers = []struct {
	name, header, from, to string
	encrypted              bool
}{
	{"version 1", "PROXY TCP4 192.0.2.7 192.0.2.1 4000 143\r\n", "192.0.2.7:4000", "192.0.2.1:143", false},
	{"version 1, IPv6", "PROXY TCP6 2001:db8::7 2001:db8::1 4000 143\r\n", "[2001:db8::7]:4000", "[2001:db8::1]:143", false},
	{"version 1, unknown", "PROXY UNKNOWN\r\n", "-", "-", false},
	{"version 1, unknown, as long as may be", "PROXY UNKNOWN " + strings.Repeat("f", maxLine-16) + "\r\n", "-", "-", false},
	{"version 1, a byte too long", "PROXY UNKNOWN " + strings.Repeat("f", maxLine-15) + "\r\n", "", "", false},
	{"version 1, without end", "PROXY TCP4 " + strings.Repeat("1", 200_000), "", "", false},
	{"version 1, bare line feed", "PROXY TCP4 192.0.2.7 192.0.2.1 4000 143\n", "", "", false},
	{"version 1, no address", "PROXY TCP4 192.0.2.777 192.0.2.1 4000 143\r\n", "", "", false},
	{"version 1, name", "PROXY TCP4 localhost 192.0.2.1 4000 143\r\n", "", "", false},
	{"version 1, another family", "PROXY TCP4 2001:db8::7 2001:db8::1 4000 143\r\n", "", "", false},
	{"version 1, no port", "PROXY TCP4 192.0.2.7 192.0.2.1 4000 65536\r\n", "", "", false},
	{"version 1, everywhere", "PROXY TCP4 0.0.0.0 192.0.2.1 4000 143\r\n", "", "", false},
	{"version 1, many", "PROXY TCP4 224.0.0.1 192.0.2.1 4000 143\r\n", "", "", false},
	{"version 2", v2(0x21, 0x11, block4...), "192.0.2.7:4000", "192.0.2.1:143", false},
	{"version 2, IPv6", v2(0x21, 0x21, block6...), "[2001:db8::7]:4000", "[2001:db8::1]:143", false},
	{
		"version 2, IPv4 in IPv6", v2(0x21, 0x21, append(append(netip.MustParseAddr("::ffff:192.0.2.7").AsSlice(), netip.MustParseAddr("2001:db8::1").AsSlice()...), 0x0f, 0xa0, 0, 143)...),
		"192.0.2.7:4000", "[2001:db8::1]:143", false,
	},
	{"version 2, local", v2(0x20, 0x00), "-", "-", false},
	{"version 2, local that names somebody", v2(0x20, 0x11, block4...), "-", "-", false},
	{"version 2, unknown command", v2(0x22, 0x11, block4...), "", "", false},
	{"version 2, version 3", v2(0x31, 0x11, block4...), "", "", false},
	{"version 2, no family", v2(0x21, 0x00), "", "", false},
	{"version 2, short", v2(0x21, 0x11, block4[:11]...), "", "", false},
	{"version 2, UDP", v2(0x21, 0x12, block4...), "-", "-", false},
	{"version 2, a Unix socket", v2(0x21, 0x31, make([]byte, 216)...), "-", "-", false},
	{"version 2, values", v2(0x21, 0x11, with(block4, 0x02, 0, 3, 'a', 'b', 'c', 0xea, 0, 1, 0)...), "192.0.2.7:4000", "192.0.2.1:143", false},
	{"version 2, TLS at the proxy", v2(0x21, 0x11, with(block4, 0x20, 0, 5, 1, 0, 0, 0, 0)...), "192.0.2.7:4000", "192.0.2.1:143", true},
	{"version 2, no TLS at the proxy", v2(0x21, 0x11, with(block4, 0x20, 0, 5, 6, 0, 0, 0, 0)...), "192.0.2.7:4000", "192.0.2.1:143", false},
	{"version 2, empty TLS", v2(0x21, 0x11, with(block4, 0x20, 0, 0)...), "192.0.2.7:4000", "192.0.2.1:143", false},
	{"version 2, a value longer than the header", v2(0x21, 0x11, with(block4, 0x02, 0xff, 0xff, 'a')...), "", "", false},
	{"version 2, as long as may be", v2(0x21, 0x11, with(block4, append([]byte{0x04, 0x0f, 0xf1}, make([]byte, maxBlock-15)...)...)...), "192.0.2.7:4000", "192.0.2.1:143", false},
	{"version 2, too long", v2(0x21, 0x11, with(block4, append([]byte{0x04, 0x0f, 0xf2}, make([]byte, maxBlock-14)...)...)...), "", "", false},
	{"nothing of the kind", "a LOGIN alice secret\r\n", "", "", false},
	{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03abcdefgh", "", "", false},
	{"nearly", "PROXYTCP4 192.0.2.7 192.0.2.1 4000 143\r\n", "", "", false},
	{"spaces", "PROXY  TCP4 192.0.2.7 192.0.2.1 4000 143\r\n", "", "", false},
}

// all is a Listener that trusts everybody, and its log.
func listen(t *testing.T, cfg Config) (ln net.Listener, log *lines) {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	log = &lines{}
	cfg.Log = slog.New(slog.NewTextHandler(log, nil))
	if cfg.Trusted == nil {
		cfg.Trusted = func(netip.Addr) bool { return true }
	}
	if cfg.Timeout == nil {
		cfg.Timeout = func() time.Duration { return time.Minute }
	}
	ln = Listen(tcp, cfg)
	t.Cleanup(func() { ln.Close() })
	return ln, log
}

type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), "\n")
}

func dial(t *testing.T, ln net.Listener) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// What a connection is, and that what follows the header is left where it is.
func TestHeaders(t *testing.T) {
	ln, _ := listen(t, Config{})
	for _, row := range headers {
		t.Run(row.name, func(t *testing.T) {
			client := dial(t, ln)
			go func() { _, _ = io.WriteString(client, row.header+"a NOOP\r\n") }()
			if row.from == "" {
				if _, err := client.Read(make([]byte, 1)); err == nil {
					t.Error("taken in")
				}
				return
			}
			conn, err := ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			c := conn.(*Conn)
			from, to := row.from, row.to
			if from == "-" {
				from, to = client.LocalAddr().String(), client.RemoteAddr().String()
			}
			if c.RemoteAddr().String() != from || c.LocalAddr().String() != to || c.Encrypted() != row.encrypted {
				t.Errorf("from %v to %v, encrypted: %v", c.RemoteAddr(), c.LocalAddr(), c.Encrypted())
			}
			if c.Carrier().String() != client.LocalAddr().String() {
				t.Errorf("by %v", c.Carrier())
			}
			rest := make([]byte, 8)
			if _, err := io.ReadFull(conn, rest); err != nil || string(rest) != "a NOOP\r\n" {
				t.Errorf("then %q, %v", rest, err)
			}
		})
	}
}

// A peer that takes its time, or says nothing, is dropped and holds up nobody.
func TestSlowHeaders(t *testing.T) {
	ln, _ := listen(t, Config{Timeout: func() time.Duration { return 100 * time.Millisecond }})
	silent, drips := dial(t, ln), dial(t, ln)
	go func() {
		for _, b := range []byte("PROXY TCP4 192.0.2.7 192.0.2.1 4000 143\r\n") {
			if _, err := drips.Write([]byte{b}); err != nil {
				return
			}
			time.Sleep(10 * time.Millisecond) // the peer's
		}
	}()
	quick := dial(t, ln)
	_, _ = io.WriteString(quick, "PROXY UNKNOWN\r\n")
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	for _, c := range []net.Conn{silent, drips} {
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("taken in")
		}
	}
}

// Who is not trusted is dropped before anything is read, with a line, and not with
// a line each time.
func TestNotTrusted(t *testing.T) {
	ln, log := listen(t, Config{Trusted: func(a netip.Addr) bool { return a == netip.MustParseAddr("192.0.2.9") }})
	accepted := make(chan error, 1)
	go func() { _, err := ln.Accept(); accepted <- err }()
	for range 20 {
		if _, err := dial(t, ln).Read(make([]byte, 1)); err == nil {
			t.Error("taken in")
		}
	}
	if n := log.count(); n != 1 {
		t.Errorf("%d lines", n)
	}
	ln.Close()
	if err := <-accepted; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

// Close ends whatever is under way (TestMain), and every Accept.
func TestClose(t *testing.T) {
	ln, _ := listen(t, Config{})
	reading := dial(t, ln)
	_, _ = io.WriteString(reading, "PROXY TC")
	waiting := dial(t, ln) // its header is read, and nobody takes it
	_, _ = io.WriteString(waiting, "PROXY UNKNOWN\r\n")
	first, _ := io.WriteString(dial(t, ln), "PROXY UNKNOWN\r\n")
	if conn, err := ln.Accept(); err != nil || first == 0 {
		t.Fatal(err)
	} else {
		conn.Close()
	}
	ln.Close()
	for range 2 {
		if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	}
	if _, err := reading.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("still open")
	}
}

// Nothing that is sent makes the reader fail otherwise than by an error, read more
// than a header may have, or take what is no address.
func FuzzHeader(f *testing.F) {
	for _, row := range headers {
		f.Add([]byte(row.header))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bytes.NewReader(data)
		raw, err := readHeader(r)
		if err != nil {
			return
		}
		if len(raw) != len(data)-r.Len() || len(raw) > maxBlock+16 {
			t.Fatalf("%d bytes of %d, %d left", len(raw), len(data), r.Len())
		}
		c, err := parse(nil, raw)
		if err != nil {
			return
		}
		for _, a := range []net.Addr{c.remote, c.local} {
			if a != nil && !addr(a).IsValid() {
				t.Errorf("%v", a)
			}
		}
	})
}
