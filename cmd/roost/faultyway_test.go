package main

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// faultyWay is a network in memory between an owner's readers and the owner's
// backend, with an accident on it. It goes by the clock of the test's bubble.
type faultyWay struct {
	accepted chan net.Conn // by the backend
	closed   chan struct{}

	mu       sync.Mutex // guards what follows
	down     bool       // nobody can connect
	stuck    bool       // who connects hears nothing
	accident accident
	passed   [2]int // bytes, by direction
	conns    []*memConn
}

// accident befalls the connection that carries the byte after so many of a direction.
type accident struct {
	kind      fault
	direction int // toBackend or fromBackend
	after     int
}

type fault string

const (
	noFault fault = ""
	cut     fault = "cut"     // the connection is closed
	away    fault = "away"    // so are all others, and nobody can connect
	restart fault = "restart" // that, for as long as a takeover takes
	hang    fault = "hang"    // nothing passes any more, new connections neither
	drip    fault = "drips"   // each byte comes alone, and late
)

const (
	toBackend = iota
	fromBackend
)

func newFaultyWay() *faultyWay {
	return &faultyWay{accepted: make(chan net.Conn), closed: make(chan struct{})}
}

// arm forgets what has passed, and lets something happen.
func (w *faultyWay) arm(a accident) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.accident, w.passed = a, [2]int{}
}

// repair has new connections work again. Those that hang go on hanging.
func (w *faultyWay) repair() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.accident, w.down, w.stuck = accident{}, false, false
}

// befall has something happen now.
func (w *faultyWay) befall(f fault) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.happens(f)
}

func (w *faultyWay) happens(f fault) {
	switch f {
	case cut:
		w.goAway()
		w.down = false
	case away:
		w.goAway()
	case restart:
		w.goAway()
		time.AfterFunc(7*time.Second, w.repair)
	case hang:
		w.stuck = true
		for _, c := range w.conns {
			c.hang()
		}
	}
}

func (w *faultyWay) goAway() {
	w.down = true
	for _, c := range w.conns {
		_ = c.Close()
	}
	w.conns = nil
}

func (w *faultyWay) counted() [2]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.passed
}

func (w *faultyWay) dial(ctx context.Context) (net.Conn, error) {
	w.mu.Lock()
	if w.down {
		w.mu.Unlock()
		return nil, errors.New("connection refused")
	}
	here, there := newMemPipe()
	here.stuck, there.stuck = w.stuck, w.stuck
	here.pass = func(c *memConn, p []byte) { w.pass(c, toBackend, p) }
	there.pass = func(c *memConn, p []byte) { w.pass(c, fromBackend, p) }
	w.conns = append(w.conns, here)
	w.mu.Unlock()
	select {
	case w.accepted <- there:
		return here, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// pass carries bytes, and lets the accident happen.
func (w *faultyWay) pass(c *memConn, direction int, p []byte) {
	w.mu.Lock()
	a, at := &w.accident, w.passed[direction]
	w.passed[direction] += len(p)
	if a.kind == drip {
		w.mu.Unlock()
		for i := range p {
			time.Sleep(time.Millisecond)
			c.out.put(p[i : i+1])
		}
		return
	}
	defer w.mu.Unlock()
	if a.kind == noFault || a.direction != direction || at+len(p) <= a.after {
		c.deliver(p)
		return
	}
	c.deliver(p[:max(0, a.after-at)])
	if a.kind == cut {
		_ = c.Close()
	} else {
		w.happens(a.kind)
	}
	a.kind = noFault
}

// Accept, Close and Addr make the backend's end a net.Listener.
func (w *faultyWay) Accept() (net.Conn, error) {
	select {
	case c := <-w.accepted:
		return c, nil
	case <-w.closed:
		return nil, net.ErrClosed
	}
}

func (w *faultyWay) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-w.closed:
	default:
		close(w.closed)
	}
	w.goAway()
	return nil
}

func (w *faultyWay) Addr() net.Addr { return memAddr{} }

type memAddr struct{}

func (memAddr) Network() string { return "memory" }
func (memAddr) String() string  { return "memory" }

// memConn is a connection in memory with room for whatever is sent.
type memConn struct {
	in, out *memHalf
	peer    *memConn
	pass    func(c *memConn, p []byte) // nil: all is delivered

	mu    sync.Mutex
	stuck bool // what is sent from here is lost
}

func newMemPipe() (a, b *memConn) {
	ab, ba := newMemHalf(), newMemHalf()
	a, b = &memConn{in: ba, out: ab}, &memConn{in: ab, out: ba}
	a.peer, b.peer = b, a
	return a, b
}

func (c *memConn) deliver(p []byte) {
	c.mu.Lock()
	stuck := c.stuck
	c.mu.Unlock()
	if !stuck {
		c.out.put(p)
	}
}

// hang loses what is sent from now on at either end.
func (c *memConn) hang() {
	for _, end := range []*memConn{c, c.peer} {
		end.mu.Lock()
		end.stuck = true
		end.mu.Unlock()
	}
}

func (c *memConn) Read(p []byte) (int, error) { return c.in.take(p) }

func (c *memConn) Write(p []byte) (int, error) {
	if c.out.isClosed() {
		return 0, io.ErrClosedPipe
	}
	if c.pass == nil {
		c.out.put(p)
	} else {
		c.pass(c, p)
	}
	return len(p), nil
}

// Close ends both directions, unless the other end can't hear of it.
func (c *memConn) Close() error {
	c.mu.Lock()
	stuck := c.stuck
	c.mu.Unlock()
	c.in.close()
	if !stuck {
		c.out.close()
	}
	return nil
}

func (c *memConn) LocalAddr() net.Addr               { return memAddr{} }
func (c *memConn) RemoteAddr() net.Addr              { return memAddr{} }
func (c *memConn) SetDeadline(t time.Time) error     { return c.SetReadDeadline(t) }
func (c *memConn) SetWriteDeadline(time.Time) error  { return nil } // there is always room
func (c *memConn) SetReadDeadline(t time.Time) error { return c.in.setDeadline(t) }

// memHalf is one direction.
type memHalf struct {
	mu       sync.Mutex // guards what follows
	change   sync.Cond
	buf      []byte
	closed   bool
	deadline time.Time
	timer    *time.Timer
}

func newMemHalf() *memHalf {
	h := &memHalf{}
	h.change.L = &h.mu
	return h
}

func (h *memHalf) put(p []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		h.buf = append(h.buf, p...)
	}
	h.change.Broadcast()
}

func (h *memHalf) take(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case len(h.buf) > 0:
			n := copy(p, h.buf)
			h.buf = h.buf[n:]
			return n, nil
		case h.closed:
			return 0, io.EOF
		case !h.deadline.IsZero() && !time.Now().Before(h.deadline):
			return 0, os.ErrDeadlineExceeded
		}
		h.change.Wait()
	}
}

func (h *memHalf) isClosed() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.closed
}

func (h *memHalf) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	if h.timer != nil {
		h.timer.Stop()
	}
	h.change.Broadcast()
}

func (h *memHalf) setDeadline(t time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.deadline = t
	if h.timer != nil {
		h.timer.Stop()
	}
	if !t.IsZero() {
		h.timer = time.AfterFunc(max(0, time.Until(t)), func() {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.change.Broadcast()
		})
	}
	h.change.Broadcast()
	return nil
}
