// Package haproxy reads the PROXY protocol, versions 1 and 2: who a connection is
// from that a proxy in front of us has made.
//
// A Listener gives a connection out when its header has been read to the last byte
// and no further, so that a Conn is the socket itself with other addresses: nothing
// is buffered, and it can be waited for like any other. A header is believed from
// trusted peers only, and from them it must come: else anybody could claim to be
// anybody, or a slip in the proxy's configuration would make all clients one.
package haproxy

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"

	proxyproto "github.com/pires/go-proxyproto"
)

// Conn is a connection that began with a header. Its RemoteAddr and LocalAddr are
// those of the header; where that names nobody, as for a health check of the
// proxy's own, they are those of the socket.
type Conn struct {
	*net.TCPConn
	remote, local net.Addr // nil: those of the socket
	encrypted     bool
}

// RemoteAddr is who has connected to the proxy.
func (c *Conn) RemoteAddr() net.Addr {
	if c.remote == nil {
		return c.TCPConn.RemoteAddr()
	}
	return c.remote
}

// LocalAddr is where it has connected to.
func (c *Conn) LocalAddr() net.Addr {
	if c.local == nil {
		return c.TCPConn.LocalAddr()
	}
	return c.local
}

// Carrier is the proxy.
func (c *Conn) Carrier() net.Addr { return c.TCPConn.RemoteAddr() }

// Encrypted says that the client's connection to the proxy is encrypted, as far as
// the proxy says so.
func (c *Conn) Encrypted() bool { return c.encrypted }

// Limits of a header, in bytes.
const (
	maxLine  = 107     // of version 1, with its end
	maxBlock = 4 << 10 // of version 2, behind the first 16: addresses and other values
)

// Errors of headers, beside those of the parser.
var (
	errNoHeader = errors.New("no PROXY header")
	errTooLong  = errors.New("PROXY header is too long")
)

// read reads a header from the beginning of conn.
func read(conn *net.TCPConn) (*Conn, error) {
	raw, err := readHeader(conn)
	if err != nil {
		return nil, err
	}
	return parse(conn, raw)
}

// readHeader reads the bytes of a header and none behind it.
func readHeader(r io.Reader) ([]byte, error) {
	const prefix = 12 // shorter than any header, and as long as the signature of version 2
	buf := make([]byte, prefix, 4*prefix)
	if _, err := io.ReadFull(r, buf); err != nil {
		return nil, fmt.Errorf("PROXY header: %w", err)
	}
	switch {
	case bytes.Equal(buf, proxyproto.SIGV2):
		return readBlock(r, buf)
	case bytes.HasPrefix(buf, proxyproto.SIGV1):
		return readLine(r, buf)
	}
	return nil, errNoHeader
}

// readLine reads version 1 to the end of its line.
func readLine(r io.Reader, buf []byte) ([]byte, error) {
	for buf[len(buf)-1] != '\n' {
		if len(buf) == maxLine {
			return nil, errTooLong
		}
		buf = append(buf, 0)
		if _, err := io.ReadFull(r, buf[len(buf)-1:]); err != nil {
			return nil, fmt.Errorf("PROXY header: %w", err)
		}
	}
	return buf, nil
}

// readBlock reads version 2, which says how long it is.
func readBlock(r io.Reader, buf []byte) ([]byte, error) {
	signature := len(buf)
	buf = append(buf, make([]byte, 4)...)
	if _, err := io.ReadFull(r, buf[signature:]); err != nil {
		return nil, fmt.Errorf("PROXY header: %w", err)
	}
	n := binary.BigEndian.Uint16(buf[signature+2:])
	if n > maxBlock {
		return nil, errTooLong
	}
	fixed := len(buf)
	buf = append(buf, make([]byte, n)...)
	if _, err := io.ReadFull(r, buf[fixed:]); err != nil {
		return nil, fmt.Errorf("PROXY header: %w", err)
	}
	return buf, nil
}

// parse makes the connection of a header.
func parse(conn *net.TCPConn, raw []byte) (*Conn, error) {
	rest := bufio.NewReaderSize(bytes.NewReader(raw), maxBlock+16)
	header, err := proxyproto.Read(rest)
	if err != nil {
		return nil, err
	}
	if rest.Buffered() > 0 {
		return nil, errors.New("PROXY header: more than it says")
	}
	c := &Conn{TCPConn: conn}
	if header.Command == proxyproto.LOCAL {
		return c, nil
	}
	from, to, ok := header.TCPAddrs()
	if !ok {
		return c, nil // UNKNOWN, or what is no TCP
	}
	if c.remote, err = usable(from); err != nil {
		return nil, err
	}
	if c.local, err = usable(to); err != nil {
		return nil, err
	}
	values, err := header.TLVs()
	if err != nil {
		return nil, err
	}
	for _, v := range values {
		const clientUsedTLS = 1 // PP2_CLIENT_SSL, in the first byte
		if v.Type == proxyproto.PP2_TYPE_SSL && len(v.Value) > 0 && v.Value[0]&clientUsedTLS != 0 {
			c.encrypted = true
		}
	}
	return c, nil
}

// usable refuses what can't be the address of a client.
func usable(a *net.TCPAddr) (net.Addr, error) {
	ip, ok := netip.AddrFromSlice(a.IP)
	if ip = ip.Unmap(); !ok || ip.IsUnspecified() || ip.IsMulticast() {
		return nil, fmt.Errorf("PROXY header: address %s", a.IP)
	}
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, uint16(a.Port))), nil
}
