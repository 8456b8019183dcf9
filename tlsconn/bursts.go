package tlsconn

import (
	"io"
	"net"
	"sync"
	"syscall"
)

// Bursts lends buffers for the input of many connections, each for as long as
// input is being worked on. It is safe for concurrent use.
type Bursts struct{ free sync.Pool }

// NewBursts makes buffers of size bytes.
func NewBursts(size int) *Bursts {
	return &Bursts{sync.Pool{New: func() any { b := make([]byte, size); return &b }}}
}

// Source is the input of one connection. It belongs to the one who reads it.
type Source struct {
	conn   net.Conn
	raw    syscall.RawConn // nil if conn is no socket
	bursts *Bursts

	buf *[]byte // nil while nothing is lent
	n   int
	err error
	try func(fd uintptr) bool // s.read, made once
}

// Source is the input of conn, which is a socket, a Conn, or anything else: then
// a buffer is held while it waits.
func (b *Bursts) Source(conn net.Conn) *Source {
	s := &Source{conn: conn, bursts: b}
	if c, ok := conn.(syscall.Conn); ok {
		s.raw, _ = c.SyscallConn()
		s.try = s.read
	}
	return s
}

// Next waits, without a buffer, and returns what has come: something, or why
// there is nothing. It is valid until Release, which must come before Next.
func (s *Source) Next() ([]byte, error) {
	s.n, s.err = 0, nil
	if s.raw == nil {
		return s.nextOfConn()
	}
	if err := s.raw.Read(s.try); err != nil {
		return nil, err
	}
	switch {
	case s.err != nil:
		s.Release()
		return nil, s.err
	case s.n == 0:
		s.Release()
		return nil, io.EOF
	}
	return (*s.buf)[:s.n], nil
}

func (s *Source) nextOfConn() ([]byte, error) {
	if w, ok := s.conn.(Waiter); ok {
		if err := w.Wait(); err != nil {
			return nil, err
		}
	}
	s.buf = s.bursts.free.Get().(*[]byte)
	n, err := s.conn.Read(*s.buf)
	if n == 0 {
		s.Release()
		return nil, err
	}
	return (*s.buf)[:n], nil
}

// read is tried when the socket may have something; false waits on.
func (s *Source) read(fd uintptr) bool {
	s.buf = s.bursts.free.Get().(*[]byte)
	for {
		s.n, s.err = syscall.Read(int(fd), *s.buf)
		if s.err != syscall.EINTR {
			break
		}
	}
	s.n = max(s.n, 0)
	if s.err == syscall.EAGAIN {
		s.Release()
		return false
	}
	return true
}

// Release gives the buffer back. What Next returned is no longer valid.
func (s *Source) Release() {
	if s.buf != nil {
		s.bursts.free.Put(s.buf)
		s.buf = nil
	}
}
