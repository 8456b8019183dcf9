package haproxy

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Config says whom a Listener believes.
type Config struct {
	// Trusted says whether a peer is a proxy of ours (haproxy_trusted_networks). All
	// others are dropped.
	Trusted func(netip.Addr) bool

	// Timeout is how long a header may take as a whole (haproxy_timeout).
	Timeout func() time.Duration

	Log *slog.Logger
}

// maxPending bounds how many headers are read at a time. They come from trusted
// peers, so it is reached only if those are broken.
const maxPending = 1000

// Listen makes the connections of ln be Conns. Those without a header that is as
// it should be, in time, are dropped with a line in the log, and none holds up
// another.
func Listen(ln net.Listener, cfg Config) net.Listener {
	l := &listener{
		Listener: ln, cfg: cfg,
		ready:   make(chan *Conn),
		failed:  make(chan error),
		pending: make(chan struct{}, maxPending),
		dropped: droppedLog{log: cfg.Log, told: map[netip.Addr]bool{}},
	}
	l.open, l.end = context.WithCancel(context.Background())
	return l
}

// listener has a goroutine that accepts, from the first Accept on, and one for each
// header that is being read. All end with Close.
type listener struct {
	net.Listener
	cfg     Config
	begin   sync.Once
	ready   chan *Conn
	failed  chan error
	pending chan struct{}
	open    context.Context // until Close
	end     context.CancelFunc
	dropped droppedLog
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	l.begin.Do(func() { go l.run() })
	select {
	case conn := <-l.ready:
		return conn, nil
	case err := <-l.failed:
		return nil, err
	case <-l.open.Done():
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. Connections whose header is still being read are
// dropped.
func (l *listener) Close() error {
	l.end()
	return l.Listener.Close()
}

func (l *listener) run() {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			select {
			case l.failed <- err:
				continue
			case <-l.open.Done():
				return
			}
		}
		select {
		case l.pending <- struct{}{}:
			go l.read(conn)
		case <-l.open.Done():
			_ = conn.Close()
			return
		}
	}
}

// read gives a connection out, or drops it.
func (l *listener) read(conn net.Conn) {
	defer func() { <-l.pending }()
	ours, why := l.header(conn)
	if why != "" {
		l.dropped.add(conn.RemoteAddr(), why)
		_ = conn.Close()
		return
	}
	select {
	case l.ready <- ours:
	case <-l.open.Done():
		_ = conn.Close()
	}
}

// header reads the header; why says what is wrong with it.
func (l *listener) header(conn net.Conn) (ours *Conn, why string) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok || !l.cfg.Trusted(addr(conn.RemoteAddr())) {
		return nil, "it is not in haproxy_trusted_networks"
	}
	_ = tcp.SetReadDeadline(time.Now().Add(l.cfg.Timeout()))
	stop := context.AfterFunc(l.open, func() { _ = tcp.SetReadDeadline(time.Unix(1, 0)) })
	ours, err := read(tcp)
	if !stop() {
		return nil, "the listener is closed"
	}
	if err != nil {
		return nil, err.Error()
	}
	_ = tcp.SetReadDeadline(time.Time{})
	return ours, ""
}

// addr is zero for what has no IP address.
func addr(a net.Addr) netip.Addr {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

// droppedLog tells of connections that were dropped: of each peer once a minute.
type droppedLog struct {
	log *slog.Logger

	mu      sync.Mutex // guards what follows
	told    map[netip.Addr]bool
	until   time.Time // told is for the time before
	skipped int       // lines that were not written, so far
}

const (
	toldAgain = time.Minute
	maxTold   = 100 // peers that are told of in that time
)

func (d *droppedLog) add(from net.Addr, why string) {
	peer := addr(from)
	d.mu.Lock()
	if now := time.Now(); now.After(d.until) {
		clear(d.told)
		d.until = now.Add(toldAgain)
	}
	silent := d.told[peer] || len(d.told) >= maxTold
	skipped := d.skipped
	if silent {
		d.skipped++
	} else {
		d.told[peer], d.skipped = true, 0
	}
	d.mu.Unlock()
	if !silent {
		d.log.Warn("connection to a haproxy listener is dropped", "peer", from.String(), "reason", why, "dropped_silently", skipped)
	}
}
