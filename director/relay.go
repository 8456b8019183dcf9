package director

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/roost-mail/roost/tlsconn"
)

// relayBuffer is what one burst in one direction takes, in bytes. Between
// bursts a pair of connections holds no buffer.
const relayBuffer = 64 << 10

// pool lends the buffers of all pairs.
type pool struct{ *tlsconn.Bursts }

func newPool() *pool { return &pool{tlsconn.NewBursts(relayBuffer)} }

// join copies between client and backend until one of them ends or ctx is
// done, closes both, and tells how many bytes went each way and which end it
// was. What is on its way to the other end when one closes is delivered first.
func (p *pool) join(ctx context.Context, client, backend net.Conn, writeTimeout time.Duration) (in, out int64, reason string) {
	j := &joint{client: client, backend: backend, timeout: writeTimeout}
	stop := context.AfterFunc(ctx, func() { j.end("shutdown") })
	defer stop()
	done := make(chan struct{})
	go j.toClient(p, done)
	j.toBackend(p)
	<-done
	j.end("") // reason is read after the Once, so that it is seen here
	return j.in.Load(), j.out.Load(), j.reason
}

// joint is a pair of connections, and how it came to its end.
type joint struct {
	client, backend net.Conn
	timeout         time.Duration
	in, out         atomic.Int64
	said            tail // by the client

	first  sync.Once // guards reason
	reason string
}

func (j *joint) end(why string) {
	j.first.Do(func() {
		j.reason = why
		_ = j.client.Close()
		_ = j.backend.Close()
	})
}

func (j *joint) toBackend(p *pool) {
	err := relay(j.backend, p.Source(j.client), &j.in, &j.said, j.timeout)
	j.end(ending(err, "client disconnected", "backend does not read"))
}

func (j *joint) toClient(p *pool, done chan<- struct{}) {
	defer close(done)
	err := relay(j.client, p.Source(j.backend), &j.out, nil, j.timeout)
	closed := backendGone
	if j.said.isLogout() {
		closed = "logged out"
	}
	j.end(ending(err, closed, "client does not read"))
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

func ending(err error, read, write string) string {
	if w, ok := errors.AsType[errWrite](err); ok && errors.Is(w.error, context.DeadlineExceeded) {
		return write
	}
	return read
}

// relay moves bytes until src ends. A buffer is lent only while there is
// something to move.
func relay(dst net.Conn, src *tlsconn.Source, sent *atomic.Int64, said *tail, writeTimeout time.Duration) error {
	for {
		data, err := src.Next()
		if err != nil {
			return err
		}
		said.keep(data)
		_ = dst.SetWriteDeadline(time.Now().Add(writeTimeout))
		n, err := dst.Write(data)
		src.Release()
		sent.Add(int64(n))
		if err != nil {
			return errWrite{timeoutAsDeadline(err)}
		}
	}
}

func timeoutAsDeadline(err error) error {
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		return context.DeadlineExceeded
	}
	return err
}
