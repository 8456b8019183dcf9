package adminhttp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/roost-mail/roost/admin"
	"github.com/roost-mail/roost/imap"
)

// Socket opens the unix socket at path, which only its owner can use. One that a
// dead process has left there is replaced; one that is served is an error.
func Socket(path string) (net.Listener, error) {
	if err := removeStale(path); err != nil {
		return nil, err
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil { // who came before is judged by peer.caller
		_ = ln.Close()
		return nil, err
	}
	return ln, nil
}

func removeStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s is there, and no socket", path)
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		_ = conn.Close()
		return fmt.Errorf("%s is served by another process", path)
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return err
	}
	return os.Remove(path)
}

type peerKey struct{}

// peer is who is at the other end of a unix socket.
type peer struct {
	uid, pid int
	err      error
}

// withPeer remembers who is connected by a unix socket, as the kernel says.
func withPeer(ctx context.Context, conn net.Conn) context.Context {
	if c, ok := conn.(*counted); ok {
		conn = c.Conn
	}
	unixConn, ok := conn.(*net.UnixConn)
	if !ok {
		return ctx
	}
	return context.WithValue(ctx, peerKey{}, peerOf(unixConn))
}

func peerOf(conn *net.UnixConn) (p peer) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return peer{err: err}
	}
	var cred *unix.Ucred
	cerr := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err = errors.Join(cerr, err); err != nil {
		return peer{err: err}
	}
	return peer{uid: int(cred.Uid), pid: int(cred.Pid)}
}

// caller may do everything if it is root, or whom this process runs as.
func (p peer) caller() (admin.Caller, error) {
	if p.err != nil || p.uid != 0 && p.uid != os.Geteuid() {
		return admin.Caller{}, imap.Wrap(imap.CodeNoPerm, "only root and the server's own user may use this socket", p.err)
	}
	name := "uid " + strconv.Itoa(p.uid)
	if u, err := user.LookupId(strconv.Itoa(p.uid)); err == nil {
		name += " (" + u.Username + ")"
	}
	return admin.Caller{Name: name, From: "socket, pid " + strconv.Itoa(p.pid), Operate: true}, nil
}

// Listen opens the API's port. config, which gives the configuration for the next
// handshake, is nil for plain HTTP.
func Listen(address string, config func() *tls.Config) (net.Listener, error) {
	ln, err := net.Listen("tcp", address)
	if err != nil || config == nil {
		return ln, err
	}
	return tls.NewListener(ln, &tls.Config{
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			c := config().Clone()
			c.NextProtos = []string{"http/1.1"}
			return c, nil
		},
	}), nil
}
