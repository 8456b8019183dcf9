package director

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/roost-mail/roost/idle"
	"github.com/roost-mail/roost/tlsconn"
)

// relayBuffer is what one burst in one direction takes, in bytes. Between
// bursts a pair of connections holds no buffer.
const relayBuffer = 64 << 10

// quietTime is how long a direction waits in a goroutine of its own after
// something came, before it is parked.
const quietTime = 250 * time.Millisecond

// pool lends the buffers of all pairs, and waits for those that are quiet.
type pool struct {
	*tlsconn.Bursts
	poller *idle.Poller // nil: each direction keeps its goroutine
	quiet  time.Duration
	delay  time.Duration // Config.DisconnectDelay

	pairs               atomic.Int64 // now
	toBackend, toClient atomic.Int64 // bytes, so far
}

func newPool(poller *idle.Poller) *pool {
	return &pool{Bursts: tlsconn.NewBursts(relayBuffer), poller: poller, quiet: quietTime}
}

// joint makes a pair of connections, which does nothing before run.
func (p *pool) joint(client, backend net.Conn, writeTimeout time.Duration) *joint {
	j := &joint{pool: p, timeout: writeTimeout}
	j.toBackend = direction{joint: j, src: client, dst: backend, source: p.Source(client)}
	j.toClient = direction{joint: j, src: backend, dst: client, source: p.Source(backend)}
	return j
}

// run copies between client and backend until one of them ends or ctx is done,
// closes both, and then calls ended. What is on its way to the other end when one
// closes is delivered first.
func (j *joint) run(ctx context.Context, ended func(in, out int64, reason string)) {
	j.ended = ended
	j.running.Store(2)
	j.pool.pairs.Add(1)
	j.stop = context.AfterFunc(ctx, func() { j.end("shutdown") })
	go j.toClient.run()
	go j.toBackend.run()
}

// joint is a pair of connections, and how it came to its end.
type joint struct {
	pool    *pool
	timeout time.Duration
	ended   func(in, out int64, reason string)
	stop    func() bool // of the context
	running atomic.Int32

	toBackend, toClient direction
	said                tail // by the client

	first  sync.Once // guards reason
	reason string
	over   atomic.Bool
	later  atomic.Pointer[time.Timer] // ends the client's connection some time after the backend's
}

// end closes both connections, for the first reason that is given.
func (j *joint) end(why string) {
	j.first.Do(func() {
		j.over.Store(true)
		if j.reason = why; j.later.Load() != nil {
			j.reason = backendGone // before the client did anything
		}
		for _, d := range []*direction{&j.toBackend, &j.toClient} {
			_ = d.src.Close()
		}
		for _, d := range []*direction{&j.toBackend, &j.toClient} {
			if t := d.parked.Load(); t != nil {
				t.Wake()
			}
		}
	})
	j.now()
}

// now has what was put off be done.
func (j *joint) now() {
	if t := j.later.Swap(nil); t != nil && t.Stop() {
		j.left()
	}
}

// endLater is end and left for a backend that is gone, after a part of
// DisconnectDelay: as many clients that come back at once would be a storm. One that
// says something meanwhile, or leaves, is done with at once.
func (j *joint) endLater(why string) {
	_ = j.toClient.src.Close()
	j.later.Store(time.AfterFunc(rand.N(j.pool.delay), func() {
		j.end(why)
		j.left()
	}))
	if j.over.Load() {
		j.now()
	}
}

// left is called when a direction has ended. The last one tells.
func (j *joint) left() {
	if j.running.Add(-1) > 0 {
		return
	}
	j.stop()
	j.pool.pairs.Add(-1)
	j.end("") // reason is read after the Once, so that it is seen here
	j.ended(j.toBackend.moved.Load(), j.toClient.moved.Load(), j.reason)
}

// direction is one of the two ways. It belongs to the goroutine that runs it, or
// to the poller.
type direction struct {
	joint    *joint
	src, dst net.Conn
	source   *tlsconn.Source
	moved    atomic.Int64 // bytes
	ends     time.Time    // the deadline for writes that is set now
	parked   atomic.Pointer[idle.Ticket]
}

// run moves bytes until src ends or is quiet.
func (d *direction) run() {
	err := d.relay()
	if err == errQuiet {
		d.park()
		return
	}
	why := d.ending(err)
	if why == backendGone && d.joint.pool.delay > 0 {
		d.joint.endLater(why)
		return
	}
	d.joint.end(why)
	d.joint.left()
}

// errQuiet says that nothing came for a while.
var errQuiet = errors.New("quiet")

// relay moves bytes. A buffer is lent only while there is something to move.
func (d *direction) relay() error {
	canPark := d.joint.pool.poller != nil && tlsconn.Socket(d.src) != nil
	for looked := int64(-1); ; {
		if canPark && looked < 0 {
			looked = d.moved.Load()
			_ = d.src.SetReadDeadline(time.Now().Add(d.joint.pool.quiet))
		}
		data, err := d.source.Next()
		switch {
		case err == nil:
			if err := d.move(data); err != nil {
				return err
			}
		case !canPark || !errors.Is(err, os.ErrDeadlineExceeded):
			return err
		case looked == d.moved.Load():
			return errQuiet
		default:
			looked = -1
		}
	}
}

func (d *direction) move(data []byte) error {
	total := &d.joint.pool.toClient
	if d == &d.joint.toBackend {
		d.joint.said.keep(data)
		total = &d.joint.pool.toBackend
	}
	d.writeInTime()
	n, err := d.dst.Write(data)
	d.source.Release()
	d.moved.Add(int64(n))
	total.Add(int64(n))
	if err != nil {
		return errWrite{timeoutAsDeadline(err)}
	}
	return nil
}

// writeInTime has a write end after the timeout or up to a quarter later. A deadline
// that will do stays: to set one is a call of the kernel at times.
func (d *direction) writeInTime() {
	timeout := d.joint.timeout
	if now := time.Now(); d.ends.Sub(now) < timeout {
		d.ends = now.Add(timeout + timeout/4)
		_ = d.dst.SetWriteDeadline(d.ends)
	}
}

// longTime is for waits that nothing but input has to end.
const longTime = 24 * time.Hour

// park lets the poller wait for src.
func (d *direction) park() {
	_ = d.src.SetReadDeadline(time.Time{})
	j := d.joint
	ticket, err := j.pool.poller.Ticket(tlsconn.Socket(d.src), d.run)
	if err == nil {
		d.parked.Store(ticket)
		err = ticket.Arm(time.Now().Add(longTime))
	}
	if err != nil {
		go d.run() // a read finds out what is wrong
	}
}

// ending is why the pair ends with an error of this direction.
func (d *direction) ending(err error) string {
	stuck, closed := "client does not read", backendGone
	if d == &d.joint.toBackend {
		stuck, closed = "backend does not read", "client disconnected"
	} else if d.joint.said.isLogout() {
		closed = "logged out"
	}
	if w, ok := errors.AsType[errWrite](err); ok && errors.Is(w.error, context.DeadlineExceeded) {
		return stuck
	}
	return closed
}

// backendGone is the reason when the backend closed without having been asked to.
const backendGone = "backend disconnected"

// tail is the end of what a client said, to tell a LOGOUT from a backend's death.
// A nil tail keeps nothing.
type tail struct {
	mu   sync.Mutex // guards last; the two directions end on goroutines of their own
	last [24]byte
}

func (t *tail) keep(p []byte) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := len(p); n < len(t.last) {
		copy(t.last[:], t.last[n:])
	}
	p = p[max(0, len(p)-len(t.last)):]
	copy(t.last[len(t.last)-len(p):], p)
}

func (t *tail) isLogout() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return bytes.HasSuffix(bytes.ToUpper(bytes.TrimRight(t.last[:], "\r\n")), []byte(" LOGOUT"))
}

// errWrite marks an error of the receiving end.
type errWrite struct{ error }

func timeoutAsDeadline(err error) error {
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		return context.DeadlineExceeded
	}
	return err
}
