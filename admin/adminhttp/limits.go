package adminhttp

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// Limits of callers.
const (
	maxFailures = 10              // calls without a valid token from one address, then none is looked at
	failureTime = time.Minute     // after the last one that counted; then all is forgotten
	maxSources  = 4096            // addresses of which failures are remembered
	maxCalls    = 16              // of one token, or of one user of the socket, at a time
	busyTime    = 2 * time.Second // when to try again then
	maxPerHost  = 32              // open connections from one address
)

// source is where a call over the network comes from: an address, or the network of 64
// bits that hosts with IPv6 choose theirs from. That of no address is the zero Addr.
func source(remote string) netip.Addr {
	at, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{}
	}
	addr := at.Addr().Unmap().WithZone("")
	if addr.Is4() {
		return addr
	}
	network, err := addr.Prefix(64)
	if err != nil {
		return addr
	}
	return network.Addr()
}

// failures counts calls without a valid token. It remembers so many addresses at most:
// of more, those are forgotten that failed the longest ago.
type failures struct {
	mu   sync.Mutex // guards what follows
	from map[netip.Addr]failed
}

type failed struct {
	times int
	until time.Time // when it is forgotten
}

// wait is for how long nothing from an address is looked at; 0: it may try.
func (f *failures) wait(from netip.Addr, now time.Time) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if e := f.from[from]; e.times >= maxFailures && now.Before(e.until) {
		return e.until.Sub(now)
	}
	return 0
}

// add counts one, and says how many there are with it. Those beyond maxFailures began
// at the same time as others.
func (f *failures) add(from netip.Addr, now time.Time) (times int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e, known := f.from[from]
	if !now.Before(e.until) {
		e.times = 0
	}
	if !known && len(f.from) >= maxSources {
		f.forget(now)
	}
	if f.from == nil {
		f.from = map[netip.Addr]failed{}
	}
	e = failed{e.times + 1, now.Add(failureTime)}
	f.from[from] = e
	return e.times
}

// forget drops what is over, and if nothing is, the oldest. The caller holds f.mu.
func (f *failures) forget(now time.Time) {
	var oldest netip.Addr
	var until time.Time
	for from, e := range f.from {
		if !now.Before(e.until) {
			delete(f.from, from)
		} else if until.IsZero() || e.until.Before(until) {
			oldest, until = from, e.until
		}
	}
	if len(f.from) >= maxSources {
		delete(f.from, oldest)
	}
}

// counts counts what there is of each key at a time, up to a limit.
type counts[K comparable] struct {
	mu  sync.Mutex // guards now
	now map[K]int
}

// add counts one in, unless there are as many as may be.
func (c *counts[K]) add(key K, limit int) (done func(), ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now[key] >= limit {
		return nil, false
	}
	if c.now == nil {
		c.now = map[K]int{}
	}
	c.now[key]++
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.now[key]--; c.now[key] == 0 {
			delete(c.now, key)
		}
	}, true
}

// limited accepts only so many connections at a time, and few of them from one address:
// nobody alone keeps others out.
type limited struct {
	net.Listener
	free  chan struct{} // has an element for each open connection
	hosts counts[netip.Addr]
}

func (l *limited) Accept() (net.Conn, error) {
	l.free <- struct{}{}
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			<-l.free
			return nil, err
		}
		leave, ok := func() {}, true
		if from := source(conn.RemoteAddr().String()); from.IsValid() { // it is none of a unix socket
			leave, ok = l.hosts.add(from, maxPerHost)
		}
		if ok {
			return &counted{Conn: conn, done: sync.OnceFunc(func() { leave(); <-l.free })}, nil
		}
		_ = conn.Close()
	}
}

type counted struct {
	net.Conn
	done func()
}

func (c *counted) Close() error {
	defer c.done()
	return c.Conn.Close()
}
