// Package tlsconn is TLS for connections that are mostly idle: the connection,
// the certificates that a server shows, and what a client verifies.
//
// A Conn is a tls.Conn over a socket that it is never told to read past the end
// of a record. So after a Read that found less than it had room for, nothing
// is buffered anywhere, and Wait can sleep on the socket itself: an idle
// connection keeps its keys and no input buffer. A buffer is borrowed for a
// burst of input and given back when tls.Conn has taken it.
//
// Certificates are judged when they are read (ParsePair) and chosen per
// handshake (ServerConfig); a server that gets others asks for a new
// ServerConfig, and connections that are there keep what they negotiated.
package tlsconn

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"syscall"
)

// Conn is a TLS connection. Like any net.Conn it is for one reader and one
// writer at a time; deadlines and Close may come from any goroutine.
type Conn struct {
	*tls.Conn
	records *records
	more    bool // the last Read had no room for all: of its record there may be more
}

// Server is the server's side of TLS over conn. The handshake is made by
// HandshakeContext, or by the first Read or Write.
func Server(conn net.Conn, config *tls.Config) *Conn {
	r := newRecords(conn)
	return &Conn{Conn: tls.Server(r, config), records: r}
}

// Client is the client's side; see Server.
func Client(conn net.Conn, config *tls.Config) *Conn {
	r := newRecords(conn)
	return &Conn{Conn: tls.Client(r, config), records: r}
}

// Read is that of tls.Conn. It holds no buffer while it waits for a record.
func (c *Conn) Read(p []byte) (int, error) {
	if err := c.Wait(); err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(p)
	c.more = n == len(p) && n > 0
	return n, err
}

// Wait returns when there is input, the connection has ended, or with the error
// of a read deadline. It uses little stack, for that is kept while it waits.
func (c *Conn) Wait() error {
	if c.more {
		return nil
	}
	if err := c.records.fill(); errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return nil // any other end is for tls.Conn to judge
}

// Socket is what conn stands on, nil if that is no socket. If nothing is buffered
// of conn, that one is ready says that conn may be.
func Socket(conn net.Conn) syscall.Conn {
	if c, ok := conn.(*Conn); ok {
		conn = c.NetConn()
	}
	s, _ := conn.(syscall.Conn)
	return s
}

// NetConn is the connection below TLS. It may be closed at once, without a word
// to the peer, from any goroutine.
func (c *Conn) NetConn() net.Conn { return c.records.Conn }

// Verified says whether the peer has shown a certificate that one of the authorities
// has signed. Before the handshake it has not.
func (c *Conn) Verified() bool { return len(c.ConnectionState().VerifiedChains) > 0 }

// recordBursts lends buffers of a record and its header.
var recordBursts = NewBursts(16<<10 + 512)

const headerSize = 5 // type, version, length; RFC 8446 section 5.1

// records is the socket as tls.Conn sees it: a Read ends with a record, or
// within one, never behind it. It belongs to the reader of the Conn.
type records struct {
	net.Conn
	source *Source
	unread []byte // of source's burst
	err    error  // what ended the input

	header [headerSize]byte
	have   int // bytes of header that were passed on
	left   int // bytes of the record behind it that were not

	shown *x509.Certificate // by a server, see ServerConfig
}

func newRecords(conn net.Conn) *records {
	return &records{Conn: conn, source: recordBursts.Source(conn)}
}

func (r *records) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := r.fill(); err != nil {
		return 0, err
	}
	limit := r.left
	if limit == 0 {
		limit = headerSize - r.have
	}
	n := copy(p[:min(len(p), limit)], r.unread)
	r.passed(p[:n])
	if r.unread = r.unread[n:]; len(r.unread) == 0 {
		r.unread = nil
		r.source.Release()
	}
	return n, nil
}

// passed keeps count of what belongs to the record.
func (r *records) passed(p []byte) {
	if r.left > 0 {
		r.left -= len(p)
		return
	}
	r.have += copy(r.header[r.have:], p)
	if r.have == headerSize {
		r.have, r.left = 0, int(binary.BigEndian.Uint16(r.header[3:]))
	}
}

// fill makes sure that something is there to be read. A deadline's error does
// not stay.
func (r *records) fill() error {
	if len(r.unread) > 0 || r.err != nil {
		return r.err
	}
	var err error
	if r.unread, err = r.source.Next(); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		r.err = err
	}
	return err
}
