package remote

import (
	"context"
	"sync"
	"time"

	"github.com/roost-mail/roost/imapclient"
)

// stopPatience is how long the end of a listener waits for the peer to end its
// IDLE, before it closes the connection.
const stopPatience = 5 * time.Second

// listener is a goroutine that waits for a peer's news, until it is stopped.
type listener struct {
	done   chan struct{} // closed when the goroutine has ended
	ending chan struct{} // closed when it shall
	end    sync.Once

	mu     sync.Mutex // guards what follows
	notify func()     // nil once stopped
	conn   *imapclient.Conn
}

// start begins run, in the goroutine of l.
func (l *listener) start(notify func(), run func()) {
	l.notify, l.done, l.ending = notify, make(chan struct{}), make(chan struct{})
	go func() {
		defer close(l.done)
		run()
	}()
}

// stop ends the goroutine; ended is called when it has. It may be called again.
func (l *listener) stop(ended func()) {
	l.end.Do(func() {
		close(l.ending)
		l.mu.Lock()
		l.notify = nil
		l.mu.Unlock()
		l.interrupt()
		<-l.done
		ended()
	})
}

func (l *listener) stopped() bool {
	select {
	case <-l.ending:
		return true
	default:
		return false
	}
}

// interrupt ends the IDLE that is under way.
func (l *listener) interrupt() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != nil {
		l.conn.Interrupt()
	}
}

// tell says that there is news.
func (l *listener) tell() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.notify != nil {
		l.notify()
	}
}

// on has interrupt reach an IDLE on c, until off is called.
func (l *listener) on(c *imapclient.Conn) (off func()) {
	c.Rearm()
	set := func(c *imapclient.Conn) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.conn = c
	}
	set(c)
	return func() {
		set(nil)
		c.Rearm()
	}
}

// contexts are for what the goroutine does: an attempt to connect ends at once
// when it is stopped, an exchange only if it takes too long.
func (l *listener) contexts() (exchange, connect context.Context, cancel context.CancelFunc) {
	exchange, cancel = context.WithCancel(context.Background())
	connect, cancelConnect := context.WithCancel(exchange)
	go func() {
		select {
		case <-l.ending:
			cancelConnect()
		case <-exchange.Done():
			return
		}
		timer := time.NewTimer(stopPatience)
		defer timer.Stop()
		select {
		case <-timer.C:
			cancel()
		case <-exchange.Done():
		}
	}()
	return exchange, connect, cancel
}

// pause waits, unless it is stopped.
func (l *listener) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.ending:
	}
}
