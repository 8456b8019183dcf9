package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// ViewConfig is what a View needs.
type ViewConfig struct {
	Coordinator Coordinator
	Clock       Clock
	Log         *slog.Logger
}

// View is one node's copy of the Map, which Run keeps up to date. Its methods may
// be called by any number of goroutines.
type View struct {
	cfg ViewConfig

	mu      sync.RWMutex // guards what follows, and the Map
	m       *Map
	ahead   map[string]Event // by key: noted, and newer than m.Revision
	changed chan struct{}    // closed at the next change
	heard   time.Duration    // when the Coordinator last said something; at first, when we began
	away    error            // why it can't be followed; nil if it can, or nobody has tried yet

	unread map[string]Revision // unreadable records, by key; Run's
}

// Waits between attempts to reach the Coordinator, of which a random part is taken.
const (
	retryFirst = 100 * time.Millisecond
	retryMost  = 5 * time.Second
	listLimit  = 30 * time.Second // for one list of all keys

	// After quietTime without news the Coordinator is asked for its revision, because a
	// watch may wait for ever: when packets are lost, or what it waits for was undone.
	quietTime  = 3 * time.Second
	askLimit   = 5 * time.Second
	stuckAfter = 2 * time.Minute // a watch that has not told by then what there is

	maxUnread = 1000 // unreadable records that are remembered, so as to be logged once
)

// NewView makes a View that knows nothing until Run is called.
func NewView(cfg ViewConfig) *View {
	return &View{
		cfg:     cfg,
		m:       newMap(cfg.Clock),
		ahead:   map[string]Event{},
		changed: make(chan struct{}),
		heard:   cfg.Clock.Now(),
		unread:  map[string]Revision{},
	}
}

// Run follows the Coordinator until ctx ends: it lists all keys and watches them,
// and does so again, after a while, whenever that breaks off. It is called once.
func (v *View) Run(ctx context.Context) {
	wait := retryFirst
	for {
		began := v.cfg.Clock.Now()
		err := v.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		v.lost(err)
		if v.cfg.Clock.Now()-began > retryMost {
			wait = retryFirst
		}
		select {
		case <-v.cfg.Clock.After(wait/2 + rand.N(wait/2)):
		case <-ctx.Done():
			return
		}
		wait = min(2*wait, retryMost)
	}
}

// follow lists and watches, until something fails.
func (v *View) follow(ctx context.Context) error {
	listing, done := context.WithTimeout(ctx, listLimit)
	defer done()
	kvs, at, err := v.cfg.Coordinator.Range(listing, "")
	if err != nil {
		return err
	}
	if err := v.list(kvs, at); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return v.ask(ctx) })
	group.Go(func() error { return v.watch(ctx, at) })
	return group.Wait()
}

// watch tells of all changes after a revision, until something fails.
func (v *View) watch(ctx context.Context, after Revision) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	err := v.cfg.Coordinator.Watch(ctx, "", after, func(events []Event, at Revision) {
		if ctx.Err() != nil { // what came before could not be taken in
			return
		}
		if err := v.tell(events, at); err != nil {
			stop(err)
		}
	})
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if err == nil {
		err = errors.New("the watch ended")
	}
	return err
}

// ask finds out whether the watch is to be believed when it says nothing. It returns
// when that is not so.
func (v *View) ask(ctx context.Context) error {
	var due Revision // that the watch should have told of
	var since time.Duration
	for {
		select {
		case <-v.cfg.Clock.After(quietTime):
		case <-ctx.Done():
			return ctx.Err()
		}
		c := v.Contact()
		switch {
		case c.Heard < quietTime:
			continue
		case c.Revision < due && v.cfg.Clock.Now()-since > stuckAfter:
			return fmt.Errorf("the watch is at revision %d and does not come to %d", c.Revision, due)
		}
		asking, done := context.WithTimeout(ctx, askLimit)
		_, at, err := v.cfg.Coordinator.Range(asking, keyParams)
		done()
		switch {
		case err != nil:
			return err
		case at < c.Revision:
			return errWentBack
		case c.Revision >= due:
			due, since = at, v.cfg.Clock.Now()
		}
		v.mu.Lock()
		v.heard = v.cfg.Clock.Now()
		v.mu.Unlock()
	}
}

var errWentBack = errors.New("the coordinator's revision went back")

// list begins anew with all keys as of a revision, and what was noted after it.
func (v *View) list(kvs []KV, at Revision) error {
	m := newMap(v.cfg.Clock)
	m.Revision = at
	for _, kv := range kvs {
		if err := v.take(m, Event{KV: kv}); err != nil {
			return err
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if at < v.m.Revision {
		v.cfg.Log.Error("the coordinator went back: it was restored from a copy or made anew, and roost cluster new-generation is due",
			"revision", at, "before", v.m.Revision)
		clear(v.ahead)
	}
	v.forget(at)
	for _, e := range v.ahead {
		if err := m.apply(e); errors.Is(err, errTooMuch) {
			return err
		}
	}
	if v.m.Revision == 0 || v.away != nil {
		v.cfg.Log.Info("the cluster's map is known", "revision", at, "keys", len(kvs), "after", v.sinceHeard())
	}
	m.inherit(v.m)
	v.m = m
	v.reached()
	return nil
}

// tell takes in what happened up to a revision, but for what is noted already.
func (v *View) tell(events []Event, at Revision) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if at < v.m.Revision {
		return errWentBack
	}
	for _, e := range events {
		if e.Changed <= v.ahead[e.Key].Changed {
			continue
		}
		if err := v.take(v.m, e); err != nil {
			return err
		}
	}
	v.m.Revision = at
	v.forget(at)
	v.reached()
	return nil
}

// take applies e to m. A record that can't be read is logged, once; the error is that
// the cluster is too large. Only Run's goroutine calls it.
func (v *View) take(m *Map, e Event) error {
	err := m.apply(e)
	if errors.Is(err, errTooMuch) {
		return err
	}
	if err != nil && v.unread[e.Key] != e.Changed && len(v.unread) < maxUnread {
		v.unread[e.Key] = e.Changed
		v.cfg.Log.Error("record of the coordinator", "key", fmt.Sprintf("%.600q", e.Key), "revision", e.Changed, "err", err)
	}
	return nil
}

// Note takes in what this node has committed itself, before the watch tells: from
// now on it is in the Map, and no older news of these keys replaces it.
func (v *View) Note(t Txn, revision Revision) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if revision <= v.m.Revision {
		return
	}
	for _, op := range t.Then {
		e := Event{KV{Key: op.Key, Value: op.Value, Changed: revision, Lease: op.Lease}, op.Delete}
		if v.ahead[op.Key].Changed >= revision {
			continue
		}
		v.ahead[op.Key] = e
		if err := v.m.apply(e); err != nil {
			v.cfg.Log.Error("own change of the cluster's map", "key", op.Key, "err", err)
		}
	}
	v.wake()
}

// forget drops what was noted up to a revision which the watch has reached. v.mu is
// held.
func (v *View) forget(at Revision) {
	for key, e := range v.ahead {
		if e.Changed <= at {
			delete(v.ahead, key)
		}
	}
}

// reached records that the Coordinator has said something. v.mu is held.
func (v *View) reached() {
	v.heard, v.away = v.cfg.Clock.Now(), nil
	v.wake()
}

// wake lets everybody in Await look again. v.mu is held.
func (v *View) wake() {
	close(v.changed)
	v.changed = make(chan struct{})
}

// lost records that the Coordinator can't be reached, which is logged when it begins.
func (v *View) lost(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if errors.Is(err, ErrCompacted) {
		v.cfg.Log.Info("the cluster's map is listed again", "revision", v.m.Revision, "err", err)
		return
	}
	if v.away == nil {
		v.cfg.Log.Warn("the coordinator can't be followed; what is known of the cluster stays as it is", "revision", v.m.Revision, "err", err)
	}
	v.away = err
	v.wake()
}

func (v *View) sinceHeard() time.Duration { return v.cfg.Clock.Now() - v.heard }

// Read calls f with the Map, which does not change meanwhile. f keeps nothing of it
// and waits for nothing.
func (v *View) Read(f func(*Map)) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	f(v.m)
}

// Await calls f as Read does, now and after every change of the Map or of Contact,
// until it returns true. The error is that of ctx.
func (v *View) Await(ctx context.Context, f func(*Map) bool) error {
	return v.await(ctx, nil, f)
}

// await is Await that looks again at a moment too.
func (v *View) await(ctx context.Context, moment <-chan time.Time, f func(*Map) bool) error {
	for {
		var done bool
		var changed chan struct{}
		v.Read(func(m *Map) { done, changed = f(m), v.changed })
		if done {
			return nil
		}
		select {
		case <-changed:
		case <-moment:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// AwaitRevision waits until all is known up to a revision.
func (v *View) AwaitRevision(ctx context.Context, r Revision) error {
	return v.Await(ctx, func(m *Map) bool { return m.Revision >= r })
}

// Contact is how a View hears the Coordinator.
type Contact struct {
	Revision Revision      // up to which all is known; 0: nothing is, yet
	Heard    time.Duration // how long ago the Coordinator last said something; it is asked after 3 seconds
	Away     error         // why it can't be followed; nil if it can
}

// Contact tells how current the Map is.
func (v *View) Contact() Contact {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return Contact{v.m.Revision, v.sinceHeard(), v.away}
}
