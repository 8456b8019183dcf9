package tlsconn

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// Waiter waits for input.
type Waiter interface {
	// Wait returns when there is input, the connection has ended, or its read
	// deadline has passed. It reads nothing and takes little stack.
	Wait() error
}

// WaiterOf is the Waiter of a Conn or a socket, nil for others.
func WaiterOf(conn net.Conn) Waiter {
	if w, ok := conn.(Waiter); ok {
		return w
	}
	c, ok := conn.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return nil
	}
	return socketWaiter{raw}
}

type socketWaiter struct{ raw syscall.RawConn }

func (w socketWaiter) Wait() error { return w.raw.Read(readable) }

// readable is also true of a socket at its end.
func readable(fd uintptr) bool {
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		if err != unix.EINTR {
			return n != 0 || err != nil
		}
	}
}
