package remote

import (
	"context"

	"github.com/roost-mail/roost/imapclient"
)

// watch is a Watch. Its goroutine has the box's link until it ends.
type watch struct {
	listener
	box *box
}

func (b *box) Watch(notify func()) (stop func()) {
	w := &watch{box: b}
	b.watch, b.link.waits = w, true
	b.mu.Lock()
	b.watching = w
	b.mu.Unlock()
	w.start(notify, w.run)
	return w.stop
}

// stop ends the Watch, gives the link back and may be called again.
func (w *watch) stop() {
	w.listener.stop(func() {
		w.box.mu.Lock()
		w.box.watching = nil
		w.box.mu.Unlock()
		w.box.watch, w.box.link.waits = nil, false
	})
}

// hear is told that something has come. It runs within the goroutine.
func (w *watch) hear(incomplete, pending bool) {
	if incomplete {
		w.interrupt()
	}
	if pending {
		w.tell()
	}
}

// run waits for the peer's news until the end, and through lost connections.
func (w *watch) run() {
	exchange, connect, cancel := w.contexts()
	defer cancel()
	for !w.stopped() && w.box.usable() == nil {
		err := w.box.link.do(connect, true, func(c *imapclient.Conn) error { return w.listen(exchange, c) })
		w.box.noteReached(err)
		w.hear(false, w.box.hasNews())
		if err != nil {
			w.pause(w.box.account.cfg.PollInterval / 30)
		}
	}
	// The mailbox has ended: nothing can happen any more.
	<-w.ending
}

// listen is a turn of waiting.
func (w *watch) listen(ctx context.Context, c *imapclient.Conn) error {
	defer w.on(c)()
	if err := w.box.complete(ctx, c); err != nil {
		return err
	}
	w.hear(false, w.box.hasNews())
	if w.box.incomplete() { // much happens, or the peer contradicts itself, for ever
		w.pause(w.box.account.cfg.PollInterval / 30)
		return nil
	}
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

// incomplete reports whether more has to be asked for.
func (b *box) incomplete() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state.incomplete()
}

// hasNews reports whether Sync has something to tell.
func (b *box) hasNews() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state.pending()
}
