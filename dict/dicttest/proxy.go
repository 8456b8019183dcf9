package dicttest

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
)

// proxy passes bytes on between clients and a server, until it is told otherwise.
type proxy struct {
	ln     net.Listener
	server string
	run    sync.WaitGroup

	mu      sync.Mutex // guards what follows
	conns   map[net.Conn]struct{}
	stalled chan struct{} // closed unless bytes wait
	left    int           // bytes that clients may yet send before all is cut; negative: no end
}

func newProxy(t *testing.T, server string) *proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{ln: ln, server: server, conns: map[net.Conn]struct{}{}, stalled: make(chan struct{}), left: -1}
	close(p.stalled)
	p.run.Go(p.accept)
	t.Cleanup(func() {
		_ = ln.Close()
		p.stall(false)
		p.closeAll()
		p.run.Wait()
	})
	return p
}

func (p *proxy) addr() string { return p.ln.Addr().String() }

// stall has bytes wait, or go on.
func (p *proxy) stall(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.stalled:
		if on {
			p.stalled = make(chan struct{})
		}
	default:
		if !on {
			close(p.stalled)
		}
	}
}

// cutAfter ends all connections once clients have sent n more bytes; 0: now, and
// those to come; negative: never.
func (p *proxy) cutAfter(n int) {
	p.mu.Lock()
	p.left = n
	p.mu.Unlock()
	if n == 0 {
		p.closeAll()
	}
}

func (p *proxy) closeAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
	clear(p.conns)
}

func (p *proxy) accept() {
	for {
		client, err := p.ln.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.server)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		p.conns[client], p.conns[server] = struct{}{}, struct{}{}
		p.mu.Unlock()
		p.run.Go(func() { p.pass(server, client, true) })
		p.run.Go(func() { p.pass(client, server, false) })
	}
}

// pass copies one direction, then closes both ends.
func (p *proxy) pass(to, from net.Conn, counted bool) {
	defer to.Close()   //nolint:errcheck // it is over
	defer from.Close() //nolint:errcheck // it is over
	buf := make([]byte, 16<<10)
	for {
		n, err := from.Read(buf)
		p.mu.Lock()
		wait := p.stalled
		p.mu.Unlock()
		<-wait
		allowed, cut := n, false
		if counted {
			allowed, cut = p.count(n)
		}
		if _, e := to.Write(buf[:allowed]); e != nil || errors.Is(err, io.EOF) || err != nil {
			return
		}
		if cut {
			p.closeAll()
			return
		}
	}
}

// count says how many of n bytes may pass, and whether that was all.
func (p *proxy) count(n int) (allowed int, cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left < 0 {
		return n, false
	}
	allowed = min(n, p.left)
	p.left -= allowed
	return allowed, p.left == 0
}
