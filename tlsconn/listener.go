package tlsconn

import (
	"crypto/tls"
	"net"
)

// Listener makes the connections of ln be Conns that speak TLS from their first
// byte. config is asked for each of them; the handshake is left to whoever
// takes the connection, so that Accept waits for nobody.
func Listener(ln net.Listener, config func() *tls.Config) net.Listener {
	return &listener{ln, config}
}

type listener struct {
	net.Listener
	config func() *tls.Config
}

func (l *listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return Server(conn, l.config()), nil
}
