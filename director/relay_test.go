package director

import (
	"bytes"
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/roost-mail/roost/idle"
)

// tcpPair is the two ends of a connection.
func tcpPair(t testing.TB) (a, b net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	a, err = net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err = ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

type joined struct {
	in, out int64
	reason  string
}

func startJoin(ctx context.Context, t testing.TB) (client, backend net.Conn, done chan joined) {
	client, front := tcpPair(t)
	back, backend := tcpPair(t)
	done = make(chan joined, 1)
	poller, err := idle.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = poller.Close() })
	p := newPool(poller)
	p.quiet = time.Millisecond // so that they are parked all the time
	p.joint(front, back, time.Minute).run(ctx, func(in, out int64, reason string) { done <- joined{in, out, reason} })
	return client, backend, done
}

func TestJoinCopiesBothWays(t *testing.T) {
	client, backend, done := startJoin(context.Background(), t)
	big := bytes.Repeat([]byte("0123456789abcdef"), 100_000)
	go func() {
		_, _ = client.Write(big)
	}()
	got := make([]byte, len(big))
	if _, err := io.ReadFull(backend, got); err != nil || !bytes.Equal(got, big) {
		t.Fatalf("client to backend: %v, equal %v", err, bytes.Equal(got, big))
	}
	_, _ = backend.Write([]byte("* BYE\r\n"))
	backend.Close()
	answer, err := io.ReadAll(client)
	if err != nil || string(answer) != "* BYE\r\n" {
		t.Fatalf("what was on its way when the backend closed: %q, %v", answer, err)
	}
	r := <-done
	if r.in != int64(len(big)) || r.out != 7 || r.reason != "backend disconnected" {
		t.Errorf("%+v", r)
	}
}

func TestJoinEndsWithClientAndContext(t *testing.T) {
	client, _, done := startJoin(context.Background(), t)
	client.Close()
	if r := <-done; r.reason != "client disconnected" {
		t.Errorf("reason %q", r.reason)
	}
	ctx, cancel := context.WithCancel(context.Background())
	_, _, done = startJoin(ctx, t)
	cancel()
	if r := <-done; r.reason != "shutdown" {
		t.Errorf("reason %q", r.reason)
	}
}

func BenchmarkJoin(b *testing.B) {
	client, backend, _ := startJoin(context.Background(), b)
	chunk := make([]byte, 16<<10)
	go func() {
		for {
			if _, err := client.Write(chunk); err != nil {
				return
			}
		}
	}()
	b.SetBytes(int64(len(chunk)))
	b.ReportAllocs()
	buf := make([]byte, len(chunk))
	for b.Loop() {
		if _, err := io.ReadFull(backend, buf); err != nil {
			b.Fatal(err)
		}
	}
}

func TestLogoutIsNoDisconnection(t *testing.T) {
	for _, row := range []struct{ said, reason string }{
		{"a1 NOOP\r\na2 logout\r\n", "logged out"},
		{"a1 NOOP\r\n", backendGone},
		{"a1 APPEND logout\r\n ", backendGone},
	} {
		client, backend, done := startJoin(context.Background(), t)
		for _, b := range []byte(row.said) { // in bursts of one byte, too
			if _, err := client.Write([]byte{b}); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(backend, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
		}
		backend.Close()
		if r := <-done; r.reason != row.reason {
			t.Errorf("%q: %s, want %s", row.said, r.reason, row.reason)
		}
	}
}

// TestCounts: pairs are counted while they last, and bytes as they pass.
func TestCounts(t *testing.T) {
	d := New(Config{})
	client, front := tcpPair(t)
	back, backend := tcpPair(t)
	done := make(chan joined, 1)
	d.pool.joint(front, back, time.Minute).run(context.Background(), func(in, out int64, reason string) { done <- joined{in, out, reason} })
	_, _ = client.Write([]byte("a NOOP\r\n"))
	if _, err := io.ReadFull(backend, make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	if c := d.Counts(); c.Pairs != 1 {
		t.Errorf("%+v", c)
	}
	_, _ = backend.Write([]byte("a OK\r\n"))
	backend.Close()
	<-done
	if c := d.Counts(); c != (Counts{BytesToBackend: 8, BytesToClient: 6}) {
		t.Errorf("%+v", c)
	}
}

// Clients whose backend is gone are let go one after the other; one that says
// something, or leaves, at once.
func TestDisconnectDelay(t *testing.T) {
	for name, row := range map[string]struct {
		delay time.Duration
		do    func(client net.Conn, cancel context.CancelFunc)
	}{
		"silent":   {5 * time.Millisecond, func(net.Conn, context.CancelFunc) {}},
		"speaks":   {time.Hour, func(c net.Conn, _ context.CancelFunc) { _, _ = io.WriteString(c, "a NOOP\r\n") }},
		"leaves":   {time.Hour, func(c net.Conn, _ context.CancelFunc) { c.Close() }},
		"is ended": {time.Hour, func(_ net.Conn, cancel context.CancelFunc) { cancel() }},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			client, front := tcpPair(t)
			back, backend := tcpPair(t)
			p := newPool(nil)
			p.delay = row.delay
			j, done := p.joint(front, back, time.Minute), make(chan joined, 1)
			j.run(ctx, func(in, out int64, reason string) { done <- joined{in, out, reason} })
			backend.Close()
			if name != "silent" {
				for end := time.Now().Add(time.Minute); j.later.Load() == nil && time.Now().Before(end); {
					time.Sleep(time.Millisecond) // nothing tells
				}
			}
			row.do(client, cancel)
			if r := <-done; r.reason != backendGone {
				t.Errorf("ended: %s", r.reason)
			}
			if _, err := client.Read(make([]byte, 1)); err == nil {
				t.Error("the client's connection is open")
			}
		})
	}
}
