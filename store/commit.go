package store

import (
	"context"
	"errors"
	"slices"
	"time"
)

// txn is a transaction on its way.
type txn struct {
	// build makes the records from the state of the moment. It is called by the leader.
	build func(*builder) error
	// run is work for the leader that is no transaction; then build is nil.
	run func() error

	durable bool    // answered after a sync
	alone   bool    // sees all before it applied, and is applied before the next
	origin  *handle // whose own change it is

	entries []entry
	size    int64
	err     error
	done    bool // written by the leader before wake
	lead    bool // under queueMu: leadership was handed to it
	wake    chan struct{}
}

// submit has t done and returns its outcome. A cancelled ctx takes t out of the
// queue; once it is being worked on, its end is awaited.
func (a *account) submit(ctx context.Context, t *txn) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	t.wake = make(chan struct{}, 1)
	a.queueMu.Lock()
	if a.ended != nil {
		err := a.ended
		a.queueMu.Unlock()
		return err
	}
	a.queue = append(a.queue, t)
	if a.leading {
		a.queueMu.Unlock()
		if !a.await(ctx, t) {
			return ctx.Err()
		}
	} else {
		a.leading = true
		a.queueMu.Unlock()
	}
	if !t.done {
		a.lead(t)
	}
	return t.err
}

// await waits until t is done or leads. It reports false if t was withdrawn.
func (a *account) await(ctx context.Context, t *txn) bool {
	select {
	case <-t.wake:
		return true
	case <-ctx.Done():
	}
	a.queueMu.Lock()
	if !t.lead {
		for i, other := range a.queue {
			if other == t {
				a.queue = append(a.queue[:i], a.queue[i+1:]...)
				a.queueMu.Unlock()
				return false
			}
		}
	}
	a.queueMu.Unlock()
	<-t.wake
	return true
}

// lead works on the queue until own is done.
func (a *account) lead(own *txn) {
	sound := false
	defer func() {
		if !sound {
			a.abandon()
		}
	}()
	for !own.done {
		a.step()
	}
	sound = true
	a.queueMu.Lock()
	defer a.queueMu.Unlock()
	if len(a.queue) == 0 {
		a.leading = false
		return
	}
	a.queue[0].lead = true
	a.queue[0].wake <- struct{}{}
}

// abandon ends an account whose leader panicked: nobody may wait for it for
// ever, and its state is not to be trusted.
func (a *account) abandon() {
	a.queueMu.Lock()
	if a.ended == nil {
		a.ended = unavailable(errPanicked)
	}
	waiting := append(a.queue, a.group...)
	a.queue = nil
	a.queueMu.Unlock()
	for _, t := range waiting {
		if !t.done {
			a.finish(t, unknownOutcome(errPanicked))
		}
	}
	a.breakDown(errPanicked)
}

var errPanicked = errors.New("the writer of this account panicked")

// Bounds of a group of transactions that share a sync.
const (
	maxGroup      = 256
	maxGroupBytes = 16 << 20
	maxUnsynced   = 1 << 20
)

// take is the next transaction, if it may join group.
func (a *account) take(group []*txn, size int64) *txn {
	a.queueMu.Lock()
	defer a.queueMu.Unlock()
	if len(a.queue) == 0 || len(group) == maxGroup || size > maxGroupBytes {
		return nil
	}
	t := a.queue[0]
	if len(group) > 0 && (t.alone || group[len(group)-1].alone) {
		return nil
	}
	a.queue[0] = nil
	a.queue = a.queue[1:]
	return t
}

// step takes a group of transactions from the queue and brings it to its end.
func (a *account) step() {
	var group []*txn
	var size int64
	a.group = nil
	for {
		t := a.take(group, size)
		if t == nil {
			break
		}
		a.group = append(a.group, t)
		if t.run != nil {
			a.finish(t, t.run())
			return
		}
		if err := a.build(t); err != nil {
			a.finish(t, err)
			continue
		}
		if len(t.entries) == 0 {
			a.finish(t, nil)
			continue
		}
		group = append(group, t)
		size += t.size
		if err := a.writer.append(t.entries); err != nil {
			a.failed(err, group)
			return
		}
	}
	if len(group) > 0 {
		a.commit(group)
	}
	a.upkeep()
}

// build makes t's records.
func (a *account) build(t *txn) error {
	if broken := a.brokenNow(); broken != nil {
		return unavailable(broken)
	}
	if err := a.writable(); err != nil {
		return err
	}
	b := &builder{account: a, st: a.st, txn: t, now: a.store.now()}
	err := t.build(b)
	t.entries = b.entries
	for i := range t.entries {
		if body := t.entries[i].body; body != nil {
			t.size += body.size
		}
	}
	return err
}

// commit writes a group, syncs it if need be, applies it and tells everyone.
func (a *account) commit(group []*txn) {
	durable := false
	for _, t := range group {
		durable = durable || t.durable
	}
	a.store.files.use(&a.files, 2)
	began, before := time.Now(), a.writer.written
	err := a.writer.flush()
	if err == nil && (durable || a.writer.unsyncedBytes > maxUnsynced) {
		if err = a.writer.sync(); err == nil && !a.confirmed(group) {
			return
		}
	} else if err == nil {
		for _, t := range group {
			a.writer.keep(t.entries, a.writer.written-before)
		}
		a.syncSoon()
	}
	if err != nil {
		a.failed(err, group)
		return
	}
	if durable {
		a.store.counters.commits.Observe(time.Since(began))
	}
	a.applyAll(group)
	for _, t := range group {
		a.finish(t, nil)
	}
}

// confirmed says whether what was synced stands. If not, another backend may have
// the mail, with or without the group: nobody is told anything of it.
func (a *account) confirmed(group []*txn) bool {
	began := time.Now()
	err := a.fence.confirm()
	if a.fence.claimed() {
		a.store.counters.confirms.Observe(time.Since(began))
	}
	if err == nil {
		return true
	}
	a.giveUp(err)
	for _, t := range group {
		a.finish(t, unknownOutcome(err))
	}
	return false
}

// applyAll changes the state and calls the watchers and observers.
func (a *account) applyAll(group []*txn) {
	callAll(a.applyLocked(group))
}

// callAll calls watchers and observers. The caller holds no lock.
func callAll(handles []*handle, observers []*observer) {
	for _, h := range handles {
		h.call()
	}
	for _, o := range observers {
		o.call()
	}
}

func (a *account) applyLocked(group []*txn) ([]*handle, []*observer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, t := range group {
		a.st.origin = t.origin
		for i := range t.entries {
			e := &t.entries[i]
			if err := e.rec.apply(a.st, e.at); err != nil {
				a.log.Error("change does not fit the state", "user", a.user, "type", e.rec.kind(), "error", err)
			}
			a.tail.add(e)
		}
		a.noteMetadata(t)
	}
	a.st.origin = nil
	observers := a.observers
	if slices.ContainsFunc(group, (*txn).changesMarks) {
		observers = append(slices.Clip(observers), a.markers...)
	}
	return a.st.watchers(), observers
}

func (t *tail) add(e *entry) {
	t.records++
	if e.body != nil {
		t.bytes += e.body.size
	}
	t.bytes += frameLen
}

func (a *account) finish(t *txn, err error) {
	t.err, t.done = err, true
	t.wake <- struct{}{}
}

// failed deals with a log that could not be written or synced. It is never tried
// again: a new segment takes its place, and what was answered before its sync is
// written there. The group's outcome is unknown, unless the disk is full: then
// messages are refused, as the seal cuts them off, and other changes are written to
// the new segment, in the room that the ballast gives back.
func (a *account) failed(cause error, group []*txn) {
	a.log.Error("writing the log failed", "user", a.user, "segment", a.writer.name, "synced", a.writer.synced, "error", cause)
	full := isFull(cause)
	again := a.disk.ballast.releaseAt(cause) && !carryMail(group)
	if again {
		for _, t := range group {
			a.writer.keep(t.entries, t.size)
		}
	}
	err := a.replaceSegment()
	if err != nil {
		a.breakDown(errors.Join(cause, err))
	}
	if again && err == nil {
		if !a.confirmed(group) {
			return
		}
		a.applyAll(group)
	}
	for _, t := range group {
		switch {
		case err == nil && again:
			a.finish(t, nil)
		case err == nil && full:
			a.finish(t, errDiskFull)
		default:
			a.finish(t, unknownOutcome(cause))
		}
	}
}

// carryMail says whether there are messages in a group.
func carryMail(group []*txn) bool {
	for _, t := range group {
		for i := range t.entries {
			if t.entries[i].body != nil {
				return true
			}
		}
	}
	return false
}

// breakDown makes the account unavailable until all have closed it, or, with a
// coordinator, until someone opens it anew.
func (a *account) breakDown(cause error) {
	a.log.Error("account is unavailable", "user", a.user, "dir", a.disk.dir, "error", cause)
	if a.fence.claimed() {
		a.fence.end()
		a.cancel()
		a.store.detach(a.slot)
	}
	a.disable(cause)
}

// giveUp ends an account of which another backend may be the holder: it
// touches the disk no more, and who uses it is told that it is unavailable.
func (a *account) giveUp(cause error) {
	if a.fence.ended.Swap(true) {
		return
	}
	a.log.Warn("mail is given up without closing it", "user", a.user, "dir", a.disk.dir, "epoch", a.epoch, "error", cause)
	a.cancel()
	a.store.detach(a.slot)
	a.disable(cause)
}

// brokenNow is why the account is unavailable, for who does not hold a.mu.
func (a *account) brokenNow() error {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.broken
}

// disable has all who use the account hear that it is unavailable.
func (a *account) disable(cause error) {
	a.mu.Lock()
	if a.broken == nil {
		a.broken = cause
	}
	for _, b := range a.st.boxes {
		a.st.note(b, event{kind: eventBroken})
	}
	wake, observers := a.st.watchers(), a.observers
	a.mu.Unlock()
	callAll(wake, observers)
}

// syncSoon has what was written synced within the promised second.
func (a *account) syncSoon() {
	if a.timerSet {
		return
	}
	a.queueMu.Lock()
	defer a.queueMu.Unlock()
	if a.ended != nil {
		return
	}
	a.timerSet = true
	a.background.Add(1)
	a.timer = time.AfterFunc(syncDelay, func() {
		defer a.background.Done()
		err := a.submit(context.Background(), &txn{alone: true, run: a.syncNow})
		if err != nil && a.ctxErr() == nil && !errors.Is(err, errLapsed) {
			a.log.Error("sync of flag changes failed", "user", a.user, "error", err)
		}
	})
}

// syncDelay leaves room for the sync itself within one second.
const syncDelay = 500 * time.Millisecond

func (a *account) ctxErr() error {
	a.queueMu.Lock()
	defer a.queueMu.Unlock()
	return a.ended
}

// syncNow is run by the leader.
func (a *account) syncNow() error {
	a.timerSet = false
	if broken := a.brokenNow(); broken != nil {
		return unavailable(broken)
	}
	if err := a.writable(); err != nil {
		a.syncSoon()
		return err
	}
	dirty := a.writer.synced != a.writer.end
	if err := a.writer.sync(); err != nil {
		a.failed(err, nil)
		return a.brokenNow()
	}
	if dirty {
		a.confirmed(nil)
	}
	return a.brokenNow()
}
