package idle

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const patience = time.Minute

// pair is the two ends of a connection.
func pair(t *testing.T) (near, far *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	a, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a.(*net.TCPConn), b.(*net.TCPConn)
}

func newPoller(t *testing.T) *Poller {
	t.Helper()
	p, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// wait arms a ticket; the channel is closed when it is ready.
func wait(t *testing.T, p *Poller, conn syscall.Conn, d time.Duration) (*Ticket, chan struct{}) {
	t.Helper()
	ready := make(chan struct{})
	ticket, err := p.Ticket(conn, func() { close(ready) }) // twice would panic
	if err != nil {
		t.Fatal(err)
	}
	if err := ticket.Arm(time.Now().Add(d)); err != nil {
		t.Fatal(err)
	}
	return ticket, ready
}

func await(t *testing.T, ready <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-ready:
	case <-time.After(patience):
		t.Fatalf("never ready: %s", what)
	}
}

func TestReady(t *testing.T) {
	p := newPoller(t)
	for _, row := range []struct {
		what string
		wait time.Duration
		do   func(ticket *Ticket, near, far *net.TCPConn)
	}{
		{"input", time.Hour, func(_ *Ticket, _, far *net.TCPConn) { _, _ = far.Write([]byte("x")) }},
		{"the other end closes", time.Hour, func(_ *Ticket, _, far *net.TCPConn) { _ = far.Close() }},
		{"the other end closes its half", time.Hour, func(_ *Ticket, _, far *net.TCPConn) { _ = far.CloseWrite() }},
		{"the other end resets", time.Hour, func(_ *Ticket, _, far *net.TCPConn) { _ = far.SetLinger(0); _ = far.Close() }},
		{"woken", time.Hour, func(ticket *Ticket, _, _ *net.TCPConn) { ticket.Wake(); ticket.Wake() }},
		{"closed here, then woken", time.Hour, func(ticket *Ticket, near, _ *net.TCPConn) { _ = near.Close(); ticket.Wake() }},
		{"time is over", time.Millisecond, func(*Ticket, *net.TCPConn, *net.TCPConn) {}},
	} {
		t.Run(row.what, func(t *testing.T) {
			near, far := pair(t)
			ticket, ready := wait(t, p, near, row.wait)
			row.do(ticket, near, far)
			await(t, ready, row.what)
		})
	}
}

func TestInputThatWasThereBefore(t *testing.T) {
	p := newPoller(t)
	near, far := pair(t)
	for range 3 { // the same connection, again and again
		if _, err := far.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		_, ready := wait(t, p, near, time.Hour)
		await(t, ready, "input")
		if _, err := near.Read(make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWakeBeforeArm(t *testing.T) {
	p := newPoller(t)
	near, _ := pair(t)
	ready := make(chan struct{})
	ticket, err := p.Ticket(near, func() { close(ready) })
	if err != nil {
		t.Fatal(err)
	}
	ticket.Wake()
	if err := ticket.Arm(time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	await(t, ready, "woken before")
}

// The earliest deadline counts, whichever came first.
func TestDeadlinesInAnyOrder(t *testing.T) {
	p := newPoller(t)
	var readies []chan struct{}
	for _, d := range []time.Duration{time.Hour, 30 * time.Millisecond, 2 * time.Hour, time.Millisecond} {
		near, _ := pair(t)
		_, ready := wait(t, p, near, d)
		readies = append(readies, ready)
	}
	await(t, readies[1], "30 ms")
	await(t, readies[3], "1 ms")
	for _, i := range []int{0, 2} {
		select {
		case <-readies[i]:
			t.Error("an hour is over")
		default:
		}
	}
}

func TestCloseWakesAll(t *testing.T) {
	p, err := New()
	if err != nil {
		t.Fatal(err)
	}
	near, _ := pair(t)
	_, ready := wait(t, p, near, time.Hour)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	await(t, ready, "closed")
	ticket, err := p.Ticket(near, func() { t.Error("ready after Close") })
	if err != nil {
		t.Fatal(err)
	}
	if err := ticket.Arm(time.Now()); !errors.Is(err, ErrClosed) {
		t.Errorf("Arm after Close: %v", err)
	}
}

// Many connections that are written to, woken and closed at once are each ready
// once per wait, and all in the end.
func TestManyAtOnce(t *testing.T) {
	p := newPoller(t)
	var all sync.WaitGroup
	var count atomic.Int64
	const conns, rounds = 50, 40
	for i := range conns {
		near, far := pair(t)
		all.Go(func() {
			for r := range rounds {
				ready := make(chan struct{})
				ticket, err := p.Ticket(near, func() { count.Add(1); close(ready) })
				if err != nil {
					t.Error(err)
					return
				}
				if err := ticket.Arm(time.Now().Add(time.Hour)); err != nil {
					t.Error(err)
					return
				}
				if (i+r)%2 == 0 {
					ticket.Wake()
				} else if _, err := far.Write([]byte("x")); err != nil {
					t.Error(err)
				}
				await(t, ready, "one of many")
				if (i+r)%2 != 0 {
					_, _ = near.Read(make([]byte, 10))
				}
			}
		})
	}
	all.Wait()
	if n := count.Load(); n != conns*rounds {
		t.Errorf("ready %d times, not %d", n, conns*rounds)
	}
}
