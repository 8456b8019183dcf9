package director

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// relayBuffer is what one burst in one direction takes, in bytes. Between
// bursts a pair of connections holds no buffer.
const relayBuffer = 64 << 10

// pool lends the buffers of all pairs.
type pool struct{ free sync.Pool }

func newPool() *pool {
	return &pool{sync.Pool{New: func() any { b := make([]byte, relayBuffer); return &b }}}
}

// join copies between client and backend until one of them ends or ctx is
// done, closes both, and tells how many bytes went each way and which end it
// was. What is on its way to the other end when one closes is delivered first.
func (p *pool) join(ctx context.Context, client, backend net.Conn, writeTimeout time.Duration) (in, out int64, reason string) {
	var (
		first sync.Once
		sent  [2]atomic.Int64
		wg    sync.WaitGroup
	)
	var said tail // by the client
	end := func(why string) {
		first.Do(func() {
			reason = why
			_ = client.Close()
			_ = backend.Close()
		})
	}
	stop := context.AfterFunc(ctx, func() { end("shutdown") })
	defer stop()
	wg.Go(func() {
		err := p.copy(backend, client, &sent[0], &said, writeTimeout)
		end(ending(err, "client disconnected", "backend does not read"))
	})
	wg.Go(func() {
		err := p.copy(client, backend, &sent[1], nil, writeTimeout)
		closed := backendGone
		if said.isLogout() {
			closed = "logged out"
		}
		end(ending(err, closed, "client does not read"))
	})
	wg.Wait()
	end("") // reason is read after the Once, so that it is seen here
	return sent[0].Load(), sent[1].Load(), reason
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

// copy moves bytes until src ends. It takes a buffer only while there is
// something to move.
func (p *pool) copy(dst, src net.Conn, sent *atomic.Int64, said *tail, writeTimeout time.Duration) error {
	raw := rawConn(src)
	for {
		buf, n, err := p.read(src, raw)
		if n > 0 {
			said.keep((*buf)[:n])
			_ = dst.SetWriteDeadline(time.Now().Add(writeTimeout))
			var written int
			written, werr := dst.Write((*buf)[:n])
			sent.Add(int64(written))
			if werr != nil {
				p.free.Put(buf)
				return errWrite{timeoutAsDeadline(werr)}
			}
		}
		p.free.Put(buf)
		if err != nil {
			return err
		}
	}
}

func timeoutAsDeadline(err error) error {
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		return context.DeadlineExceeded
	}
	return err
}

// read waits for input without holding a buffer, then fills one from the pool.
// The caller gives the buffer back.
func (p *pool) read(src net.Conn, raw syscall.RawConn) (buf *[]byte, n int, err error) {
	if raw == nil {
		buf = p.free.Get().(*[]byte)
		n, err = src.Read(*buf)
		return buf, n, err
	}
	var rerr error
	err = raw.Read(func(fd uintptr) bool {
		buf = p.free.Get().(*[]byte)
		for {
			n, rerr = syscall.Read(int(fd), *buf)
			if rerr != syscall.EINTR {
				break
			}
		}
		if rerr == syscall.EAGAIN {
			p.free.Put(buf)
			buf = nil
			return false
		}
		return true
	})
	if buf == nil {
		buf = p.free.Get().(*[]byte)
	}
	n = max(n, 0)
	switch {
	case err != nil:
		return buf, 0, err
	case rerr != nil:
		return buf, 0, rerr
	case n == 0:
		return buf, 0, io.EOF
	}
	return buf, n, nil
}

// rawConn is nil for a connection that is no socket, such as a pipe in a test.
func rawConn(c net.Conn) syscall.RawConn {
	s, ok := c.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}
