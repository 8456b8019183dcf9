package share

import (
	"context"
	"hash/maphash"
	"slices"
	"time"
)

// lookEvery is how often a Source is looked at that does not tell of changes.
const lookEvery = time.Second

// watcher is somebody who wants to know when what a user sees changes.
type watcher struct {
	user   string
	groups func() []string // now
	notify func()
	seen   uint64 // sum of what Visible returned last, 0 at first; of the goroutine
}

// Watch has notify be called after each change of what Visible returns, until stop is called;
// it may be called once more meanwhile. notify must not wait. A change of groups is not
// noticed.
func (x *Index) Watch(user string, groups func() []string, notify func()) (stop func()) {
	w := &watcher{user: user, groups: groups, notify: notify}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.watchers[w] = struct{}{}
	if x.stopWatching == nil {
		x.stopWatching = x.startWatching()
	}
	return func() { x.unwatch(w) }
}

// unwatch ends the goroutine when the last watcher goes, without waiting for it: it may
// be waiting for mu.
func (x *Index) unwatch(w *watcher) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.watchers, w)
	if len(x.watchers) == 0 && x.stopWatching != nil {
		x.stopWatching()
		x.stopWatching = nil
	}
}

func (x *Index) startWatching() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	changed := x.changed()
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-changed:
			}
			changed = x.changed() // before looking, so that nothing is missed
			x.tellWatchers(ctx)
		}
	}()
	return cancel
}

// changed returns a channel that is closed when it is time to look.
func (x *Index) changed() <-chan struct{} {
	if c, ok := x.source.(interface{ Changed() <-chan struct{} }); ok {
		return c.Changed()
	}
	c := make(chan struct{})
	time.AfterFunc(lookEvery, func() { close(c) })
	return c
}

// tellWatchers looks for everybody anew.
func (x *Index) tellWatchers(ctx context.Context) {
	x.mu.Lock()
	if ctx.Err() != nil { // another goroutine may have begun
		x.mu.Unlock()
		return
	}
	all := make([]*watcher, 0, len(x.watchers))
	for w := range x.watchers {
		all = append(all, w)
	}
	x.mu.Unlock()
	for _, w := range all {
		if sum := x.sum(ctx, w); sum != w.seen && ctx.Err() == nil {
			w.seen = sum
			w.notify()
		}
	}
}

// sum stands for what a watcher's user sees. What can't be read is like nothing.
func (x *Index) sum(ctx context.Context, w *watcher) uint64 {
	mailboxes, vague, err := x.Visible(ctx, w.user, w.groups())
	var h maphash.Hash
	h.SetSeed(x.seed)
	maphash.WriteComparable(&h, err == nil)
	for _, owner := range sortedKeys(mailboxes) {
		for _, e := range mailboxes[owner] {
			maphash.WriteComparable(&h, [2]string{owner, e.Name})
			maphash.WriteComparable(&h, e.Rights)
		}
	}
	for _, owner := range slices.Sorted(slices.Values(vague)) {
		maphash.WriteComparable(&h, owner)
	}
	return h.Sum64()
}
