package store

import (
	"context"
	"time"
	"unsafe"
)

// What is held in memory, beside the rows of mailboxes, in bytes.
const (
	accountCost = 16 << 10
	boxCost     = 1 << 10
	comboCost   = 256

	// foldWorth is how large a changed mailbox is before it is folded to be
	// dropped; smaller ones are kept.
	foldWorth = 256 << 10
	// dropWait bounds how long a busy account is waited for.
	dropWait = time.Second
)

// cost is what the messages of b take in memory. The caller holds account.mu.
func (b *box) cost() int64 {
	n := int64(cap(b.rows))*int64(unsafe.Sizeof(row{})) + int64(len(b.flags.combos))*comboCost + int64(cap(b.uidsNow))*8
	n += int64(cap(b.seed.spans)) * int64(unsafe.Sizeof(ownSpan{}))
	for _, r := range b.readers {
		n += int64(cap(r.spans)) * int64(unsafe.Sizeof(ownSpan{}))
	}
	return n
}

// use notes that b, which is loaded, is in use. The caller holds a.mu for writing.
func (a *account) use(b *box) {
	if a.forgotten {
		return
	}
	if b.share.release == nil {
		b.share.release = func(ctx context.Context) bool { return a.release(ctx, b) }
	}
	a.store.memory.use(&b.share, b.cost())
}

// opened notes what the account takes, once it is open.
func (a *account) opened() {
	a.mu.Lock()
	defer a.mu.Unlock()
	s, p := a.store, a.slot
	a.share.release = func(context.Context) bool { return p.releaseIdle(s) }
	a.files.release = func(ctx context.Context) bool { return p.releaseIdle(s) || a.park(ctx) }
	a.st.freed = func(b *box) { s.memory.free(&b.share) }
	for _, b := range a.st.boxes {
		if b.loaded {
			a.use(b)
		}
	}
	s.memory.use(&a.share, accountCost+int64(len(a.st.boxes))*boxCost+int64(cap(a.st.blobs.list))*int64(unsafe.Sizeof(blob{}))+a.st.marksCost())
	s.files.use(&a.files, 1)
}

// forget is called when the account is closed.
func (a *account) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.forgotten = true
	for _, b := range a.st.boxes {
		a.store.memory.free(&b.share)
	}
	a.store.memory.free(&a.share)
	a.store.files.free(&a.files)
}

// release drops the messages of a mailbox that no session has open. If they
// changed they have to be folded first.
func (a *account) release(ctx context.Context, b *box) (later bool) {
	ctx, cancel := context.WithTimeout(ctx, dropWait)
	defer cancel()
	// An account that is being closed frees all it has.
	_ = a.submit(ctx, &txn{alone: true, run: func() error {
		fold := false
		if fold, later = a.drop(b); fold {
			later = a.startMaintenance()
		}
		return nil
	}})
	return later
}

// drop is run by the leader. It reports whether b has to be folded first, and
// whether it may be possible later for another reason.
func (a *account) drop(b *box) (fold, later bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case b.gone || !b.loaded || len(b.handles) > 0:
		return false, false
	case a.installing: // no manifest lists the table yet
		return false, true
	case b.dirty:
		return b.cost() >= foldWorth, false
	}
	b.unload()
	a.store.memory.free(&b.share)
	return false, false
}

// park closes the log of an account that does not write. It holds one file less.
func (a *account) park(ctx context.Context) (later bool) {
	ctx, cancel := context.WithTimeout(ctx, dropWait)
	defer cancel()
	err := a.submit(ctx, &txn{alone: true, run: func() error {
		if a.brokenNow() != nil || a.writer.file == nil {
			return nil
		}
		if err := a.syncNow(); err != nil {
			return err
		}
		a.store.files.use(&a.files, 1)
		return a.writer.park()
	}})
	if err != nil && a.ctxErr() == nil && ctx.Err() == nil {
		a.log.Warn("closing a log for a while failed", "user", a.user, "error", err)
	}
	return false
}

// unload forgets what the table of b holds.
func (b *box) unload() {
	b.rows, b.flags, b.uidsNow, b.loaded = nil, flagTable{}, nil, false
	b.seed.spans = nil
	for _, r := range b.readers {
		r.spans = nil
	}
}

// releaseIdle has the account closed, beside the caller, if it only lingers.
func (p *slot) releaseIdle(s *Store) (later bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !p.idle || !p.timer.Stop() {
		return false
	}
	s.closing.Go(func() { s.expire(p) })
	return true
}
