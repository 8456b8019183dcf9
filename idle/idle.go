// Package idle waits for input on connections that are quiet most of the time,
// all of them in one goroutine: none of them has a stack while it waits.
//
// A Poller has an epoll instance beside that of the Go runtime, which a socket
// joins for as long as it is waited for. It reads nothing.
package idle

import (
	"container/heap"
	"errors"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Poller waits for any number of connections. Its methods and those of its
// Tickets may be called from any goroutine.
type Poller struct {
	epoll *os.File // waited for by the runtime's poller
	raw   syscall.RawConn
	done  chan struct{} // closed when the goroutine has ended
	begun time.Time     // from which tickets count

	mu     sync.Mutex // guards what follows
	slots  []*Ticket  // by number; nil is free
	free   []uint32
	ends   deadlines
	closed bool
}

// Ticket is one wait for a connection.
type Ticket struct {
	poller *Poller
	raw    syscall.RawConn
	ready  func()

	// Under poller.mu:
	state state
	slot  uint32
	until time.Duration // since poller.begun: a time.Time would make tickets a size larger
	place int           // in poller.ends
}

type state uint8

const (
	made state = iota
	armed
	fired
)

// New makes a Poller. Its goroutine ends with Close.
func New() (*Poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	p := &Poller{epoll: os.NewFile(uintptr(fd), "epoll"), begun: time.Now(), done: make(chan struct{})}
	if p.raw, err = p.epoll.SyscallConn(); err != nil {
		_ = p.epoll.Close()
		return nil, err
	}
	go p.run()
	return p, nil
}

// ErrClosed is what Arm returns after Close.
var ErrClosed = errors.New("poller is closed")

// Ticket makes a wait for conn, which begins with Arm. ready is called once, in a
// goroutine of its own: when a read of conn would not wait, when its time is
// over, or after Wake.
func (p *Poller) Ticket(conn syscall.Conn, ready func()) (*Ticket, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	return &Ticket{poller: p, raw: raw, ready: ready}, nil
}

// Arm begins to wait, at most until then. ready may be called before it returns.
// After an error ready is not called.
func (t *Ticket) Arm(until time.Time) error {
	p := t.poller
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return ErrClosed
	case t.state == fired: // by Wake
		go t.ready()
		return nil
	}
	p.seat(t)
	if err := t.control(unix.EPOLL_CTL_ADD); err != nil {
		p.unseat(t)
		return err
	}
	t.state, t.until = armed, until.Sub(p.begun)
	heap.Push(&p.ends, t)
	if t.place == 0 {
		_ = p.epoll.SetReadDeadline(until)
	}
	return nil
}

// Wake ends the wait, or the one that is about to begin.
func (t *Ticket) Wake() {
	t.poller.mu.Lock()
	defer t.poller.mu.Unlock()
	if t.state == armed {
		t.fire()
		return
	}
	t.state = fired
}

// fire ends an armed wait. The caller holds poller.mu.
func (t *Ticket) fire() {
	p := t.poller
	// A connection that was closed meanwhile has left by itself.
	_ = t.control(unix.EPOLL_CTL_DEL)
	heap.Remove(&p.ends, t.place)
	p.unseat(t)
	t.state = fired
	go t.ready()
}

// seat gives t a number. The caller holds mu, as of the next two.
func (p *Poller) seat(t *Ticket) {
	if n := len(p.free); n > 0 {
		t.slot, p.free = p.free[n-1], p.free[:n-1]
		p.slots[t.slot] = t
		return
	}
	t.slot = uint32(len(p.slots))
	p.slots = append(p.slots, t)
}

func (p *Poller) unseat(t *Ticket) {
	p.slots[t.slot] = nil
	p.free = append(p.free, t.slot)
}

// control has the socket join or leave. It does nothing on a closed one, whose
// number may be another's by now.
func (t *Ticket) control(op int) error {
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLONESHOT, Fd: int32(t.slot)}
	var failed error
	err := t.raw.Control(func(fd uintptr) {
		failed = unix.EpollCtl(int(t.poller.epollFD()), op, int(fd), &event)
	})
	if err == nil && failed != nil {
		err = os.NewSyscallError("epoll_ctl", failed)
	}
	return err
}

func (p *Poller) epollFD() (fd int) {
	_ = p.raw.Control(func(n uintptr) { fd = int(n) })
	return fd
}

// run fires what is ready and what is late.
func (p *Poller) run() {
	defer close(p.done)
	events := make([]unix.EpollEvent, 128)
	for {
		n := 0
		err := p.raw.Read(func(fd uintptr) bool {
			n, _ = unix.EpollWait(int(fd), events, 0)
			return n > 0
		})
		p.mu.Lock()
		if p.closed {
			p.mu.Unlock()
			return
		}
		for _, e := range events[:max(n, 0)] {
			// Of one that was fired meanwhile another may have the number; its
			// session looks once too often.
			if t := p.slots[e.Fd]; t != nil {
				t.fire()
			}
		}
		p.late(time.Since(p.begun))
		p.mu.Unlock()
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
	}
}

// late fires what has waited long enough, and sets when to look again.
func (p *Poller) late(now time.Duration) {
	for len(p.ends) > 0 && now >= p.ends[0].until {
		p.ends[0].fire()
	}
	var next time.Time
	if len(p.ends) > 0 {
		next = p.begun.Add(p.ends[0].until)
	}
	_ = p.epoll.SetReadDeadline(next)
}

// Close ends all waits that are left, as if they were woken, and the goroutine.
func (p *Poller) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	for len(p.ends) > 0 {
		p.ends[0].fire()
	}
	p.mu.Unlock()
	_ = p.epoll.SetReadDeadline(time.Unix(1, 0))
	<-p.done
	return p.epoll.Close()
}

// deadlines is a heap of tickets, the earliest first.
type deadlines []*Ticket

func (d deadlines) Len() int           { return len(d) }
func (d deadlines) Less(i, j int) bool { return d[i].until < d[j].until }
func (d deadlines) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].place, d[j].place = i, j
}

func (d *deadlines) Push(x any) {
	t := x.(*Ticket)
	t.place = len(*d)
	*d = append(*d, t)
}

func (d *deadlines) Pop() any {
	last := len(*d) - 1
	t := (*d)[last]
	(*d)[last] = nil
	*d = (*d)[:last]
	return t
}
