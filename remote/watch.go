package remote

import (
	"context"
	"sync"
	"time"

	"github.com/roost-mail/roost/imapclient"
)

// stopPatience is how long the end of a Watch waits for the peer to end its
// IDLE, before it closes the connection.
const stopPatience = 5 * time.Second

// watch is a Watch. Its goroutine has the box's link until it ends.
type watch struct {
	box    *box
	done   chan struct{} // closed when the goroutine has ended
	ending chan struct{} // closed when it shall
	end    sync.Once

	mu     sync.Mutex // guards what follows
	notify func()     // nil once stopped
	conn   *imapclient.Conn
}

func (b *box) Watch(notify func()) (stop func()) {
	w := &watch{box: b, notify: notify, done: make(chan struct{}), ending: make(chan struct{})}
	b.watch = w
	b.mu.Lock()
	b.watching = w
	b.mu.Unlock()
	go w.run()
	return w.stop
}

// stop ends the Watch, gives the link back and may be called again.
func (w *watch) stop() {
	w.end.Do(func() {
		close(w.ending)
		w.mu.Lock()
		w.notify = nil
		if w.conn != nil {
			w.conn.Interrupt()
		}
		w.mu.Unlock()
		<-w.done
		w.box.mu.Lock()
		w.box.watching = nil
		w.box.mu.Unlock()
		w.box.watch = nil
	})
}

func (w *watch) stopped() bool {
	select {
	case <-w.ending:
		return true
	default:
		return false
	}
}

// hear is told that something has come. It runs within the goroutine.
func (w *watch) hear(incomplete, pending bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if incomplete && w.conn != nil {
		w.conn.Interrupt()
	}
	if pending && w.notify != nil {
		w.notify()
	}
}

// run waits for the peer's news until the end, and through lost connections.
func (w *watch) run() {
	defer close(w.done)
	// An attempt to connect ends at once with the Watch, an exchange only if it
	// takes too long.
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	connecting, cancelConnecting := context.WithCancel(ctx)
	defer cancelConnecting()
	go w.cancelLate(ctx, cancelConnecting, cancel)
	for !w.stopped() && w.box.usable() == nil {
		err := w.box.link.do(connecting, true, func(c *imapclient.Conn) error { return w.listen(ctx, c) })
		w.box.noteReached(err)
		w.hear(false, w.box.hasNews())
		if err != nil {
			w.pause(w.box.account.cfg.PollInterval / 30)
		}
	}
	// The mailbox has ended: nothing can happen any more.
	<-w.ending
}

// cancelLate closes the connection of a Watch that does not end by itself.
func (w *watch) cancelLate(ctx context.Context, cancelConnecting, cancel context.CancelFunc) {
	select {
	case <-w.ending:
		cancelConnecting()
	case <-ctx.Done():
		return
	}
	timer := time.NewTimer(stopPatience)
	defer timer.Stop()
	select {
	case <-timer.C:
		cancel()
	case <-ctx.Done():
	}
}

// listen is a turn of waiting.
func (w *watch) listen(ctx context.Context, c *imapclient.Conn) error {
	c.Rearm()
	w.mu.Lock()
	w.conn = c
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		w.conn = nil
		w.mu.Unlock()
		c.Rearm()
	}()
	if err := w.box.complete(ctx, c); err != nil {
		return err
	}
	w.hear(false, w.box.hasNews())
	if w.stopped() {
		return nil
	}
	if c.Has("IDLE") {
		return c.Idle(ctx, nil, w.box.account.cfg.IdleTime)
	}
	_, err := c.Do(ctx, nil, command("NOOP"))
	w.pause(w.box.account.cfg.PollInterval)
	return err
}

func (w *watch) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-w.ending:
	}
}

// hasNews reports whether Sync has something to tell.
func (b *box) hasNews() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state.pending()
}
