package moving

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/roost-mail/roost/mailbox"
)

// observation is an Observe. It begins where the mail is, and goes elsewhere when
// that leaves this process.
type observation struct {
	account *Account
	below   []string
	notify  func()

	home Home
	here *local // the same in this process; nil: it is elsewhere
	stop func()

	last  []mailbox.Glance // as told last
	told  bool             // there is a last
	moved time.Time
	heard atomic.Bool // since then
}

// Observe implements mailbox.Observer.
func (a *Account) Observe(ctx context.Context, below []string, notify func()) (stop func(), err error) {
	home, here := a.home(ctx)
	o := &observation{account: a, below: below, notify: notify, home: home}
	if here != nil {
		o.here = here.use()
	}
	if o.stop, err = home.Observe(ctx, below, notify); err != nil {
		if here != nil {
			err = a.cfg.Arrived(err)
		}
		_ = o.here.done()
		return nil, err
	}
	a.observation = o
	return func() {
		o.stop()
		_ = o.here.done()
		o.here = nil
		if a.observation == o {
			a.observation = nil
		}
	}, nil
}

// look asks the observer, and once more elsewhere if the mail has left.
func look[T any](ctx context.Context, o *observation, ask func(mailbox.Observer) (T, error)) (T, error) {
	if o.here != nil && !o.account.cfg.Here() {
		o.move(ctx)
	}
	answer, err := ask(o.home)
	if o.here != nil && isLost(err) {
		o.move(ctx)
		answer, err = ask(o.home)
	}
	return answer, err
}

// move goes on elsewhere. Once something was told, it waits for nothing: notify is called when
// there is something to tell. What is told first, later news are compared with: that is waited for.
func (o *observation) move(ctx context.Context) {
	o.stop()
	_ = o.here.done()
	o.here, o.moved = nil, time.Now()
	o.home = o.account.elsewhere()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if o.told {
		cancel()
	}
	stop, err := o.home.Observe(ctx, o.below, func() {
		o.heard.Store(true)
		o.notify()
	})
	if err != nil {
		o.account.cfg.Log.Warn("owner's mail can't be observed any more", "owner", o.account.cfg.Owner, "error", err)
		stop = func() {}
	}
	o.stop = stop
}

// settleTime is how long what was told last is true, until there is an answer from
// where the mail has gone.
const settleTime = 10 * time.Second

// Overview implements mailbox.Observer.
func (a *Account) Overview(ctx context.Context) ([]mailbox.Glance, error) {
	o := a.observation
	if o == nil {
		return nil, nil
	}
	all, err := look(ctx, o, func(h mailbox.Observer) ([]mailbox.Glance, error) { return h.Overview(ctx) })
	if err == nil && len(all) == 0 && !o.heard.Load() && time.Since(o.moved) < settleTime {
		return append([]mailbox.Glance(nil), o.last...), nil
	}
	if err == nil {
		o.last, o.told = append([]mailbox.Glance(nil), all...), true
	}
	return all, err
}

// MetadataChanges implements mailbox.Observer. What changes while the mail moves
// is not heard of.
func (a *Account) MetadataChanges(ctx context.Context) ([]mailbox.MetadataChange, error) {
	if a.observation == nil {
		return nil, nil
	}
	return look(ctx, a.observation, func(h mailbox.Observer) ([]mailbox.MetadataChange, error) { return h.MetadataChanges(ctx) })
}
