package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Segments that are mostly dead, or many and small, are rewritten: what lives in
// them is appended to the log again, and a fold leaves them out.
const (
	rewriteBatch  = 2 << 20     // bytes that are appended at once
	retryPause    = time.Minute // after something failed
	rewriteMax    = 512 << 20   // bytes in one go
	smallSegment  = 4 << 20
	maxSmall      = 6
	rewriteBlobs  = 128
	deadFraction  = 2 // a segment is rewritten if less than 1/2 of it lives
	minRewriteLen = 64 << 10
)

// maintain folds the account, rewrites segments if that pays, and removes files
// that nothing needs any more. One at a time runs, in the background.
func (a *account) maintain(ctx context.Context) error {
	if err := a.forgetKept(ctx); err != nil {
		return err
	}
	if err := a.submit(ctx, &txn{alone: true, run: a.endDeadSegment}); err != nil {
		return err
	}
	if err := a.fold(ctx); err != nil {
		return err
	}
	var victims []victim
	err := a.submit(ctx, &txn{alone: true, run: func() error {
		victims = a.victims()
		return nil
	}})
	if err != nil {
		return err
	}
	for _, v := range victims {
		if !a.roomToMove(v) {
			continue
		}
		if err := a.rewrite(ctx, v); err != nil {
			return err
		}
	}
	if len(victims) > 0 {
		if err := a.fold(ctx); err != nil {
			return err
		}
	}
	a.sweep()
	return nil
}

// endDeadSegment begins a new segment if most of the open one is dead, so that
// it can be rewritten. It is run by the leader.
func (a *account) endDeadSegment() error {
	if broken := a.brokenNow(); broken != nil {
		return unavailable(broken)
	}
	if err := a.writable(); err != nil {
		return err
	}
	a.mu.Lock()
	a.st.freedBytes = 0
	a.mu.Unlock()
	if !a.mostlyDead(a.writer.name.seq, a.writer.end) {
		return nil
	}
	err := a.rollOver()
	if err != nil {
		a.failed(err, nil)
	}
	return err
}

// mostlyDead says whether it pays to rewrite a segment of so many bytes.
func (a *account) mostlyDead(seg uint32, size int64) bool {
	return size >= minRewriteLen && a.st.storedLive(seg) < size/deadFraction
}

// sweep removes what is no longer needed. What fails is tried again another time.
func (a *account) sweep() {
	if err := a.disk.sweep(a.epoch, a.incarnation); err != nil {
		a.log.Warn("removing old files failed", "user", a.user, "dir", a.disk.dir, "error", err)
	}
}

// maintained lets the next maintenance begin.
func (a *account) maintained() {
	// If the account is being closed, there is none.
	_ = a.submit(context.Background(), &txn{alone: true, run: func() error { a.folding = false; return nil }})
}

// victim is a segment to be rewritten.
type victim struct {
	name   fileName
	sealed int64
	live   int64
}

// victims chooses among the segments that the folded state covers. It is run by
// the leader.
func (a *account) victims() []victim {
	var dead, small []victim
	room := int64(rewriteMax)
	for _, entry := range a.man.Segments[:a.man.covered()] {
		name, err := parseFileName(entry.Name)
		live := a.st.storedLive(name.seq)
		if err != nil || live > room {
			continue
		}
		v := victim{name: name, sealed: entry.Sealed, live: live}
		switch {
		case a.mostlyDead(name.seq, entry.Sealed):
			dead = append(dead, v)
		case entry.Sealed < smallSegment:
			small = append(small, v)
		default:
			continue
		}
		room -= live
	}
	if len(small) > maxSmall {
		return append(dead, small...)
	}
	return dead
}

// roomToMove says whether what lives in a segment fits onto the disk once more. The
// old copy stays for a while. Half of what is kept from messages is left for others.
func (a *account) roomToMove(v victim) bool {
	free, err := a.disk.fs.Free(a.disk.dir)
	if err == nil && free-v.live >= a.store.options.MinFree/2 {
		return true
	}
	a.log.Warn("there is no room to rewrite a segment", "user", a.user, "segment", v.name, "bytes", v.live, "free", free, "error", err)
	return false
}

// rewrite appends what lives in a segment to the log. If some of it is damaged
// the segment stays, with all that was in it.
func (a *account) rewrite(ctx context.Context, v victim) error {
	r, err := a.disk.openSegment(a.id, v.name, v.sealed)
	if err != nil {
		return err
	}
	defer r.file.Close() //nolint:errcheck // only read
	ids := a.blobsIn(v.name.seq)
	for len(ids) > 0 {
		var batch []entry
		size := int64(0)
		for len(ids) > 0 && size < rewriteBatch && len(batch) < rewriteBlobs {
			e, err := a.readBlob(r, ids[0])
			if errors.Is(err, errDamaged) || errors.Is(err, errFormat) {
				a.log.Error("message is damaged; its segment is kept", "user", a.user, "segment", v.name, "error", err)
				return nil
			}
			if err != nil {
				return err
			}
			ids = ids[1:]
			if e.rec != nil {
				batch = append(batch, e)
				size += e.body.size
			}
		}
		if err := a.moveBlobs(ctx, v.name.seq, batch); err != nil {
			return err
		}
		a.store.counters.rewritten.Add(size)
		if err := a.store.rewriting.wait(ctx, size, a.store.options.RewriteRate); err != nil {
			return err
		}
	}
	return a.disk.fail("rewrite.done")
}

// throttle spreads the rewriting of all accounts over time, so that clients find
// the disk free.
type throttle struct {
	mu    sync.Mutex
	until time.Time // when what was written so far has had its time
}

// wait waits as long as n bytes take at rate bytes a second.
func (t *throttle) wait(ctx context.Context, n, rate int64) error {
	t.mu.Lock()
	now := time.Now()
	if t.until.Before(now) {
		t.until = now
	}
	t.until = t.until.Add(time.Duration(float64(n) / float64(rate) * float64(time.Second)))
	d := t.until.Sub(now)
	t.mu.Unlock()
	return pause(ctx, d)
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// blobsIn are the ids of what lives in a segment.
func (a *account) blobsIn(seg uint32) []uint32 {
	a.mu.RLock()
	defer a.mu.RUnlock()
	var ids []uint32
	for i := range a.st.blobs.list {
		if b := &a.st.blobs.list[i]; b.seg == seg && b.refs > 0 {
			ids = append(ids, b.id)
		}
	}
	return ids
}

// readBlob reads a message's head, checks its body, and makes the record that
// moves it. There is no record if it was expunged meanwhile.
func (a *account) readBlob(r *segmentReader, id uint32) (entry, error) {
	a.mu.RLock()
	b := a.st.blobs.find(id)
	var at place
	if b != nil {
		at = b.place()
	}
	a.mu.RUnlock()
	if b == nil {
		return entry{}, nil
	}
	f, head, err := r.record(at.off)
	if err != nil {
		return entry{}, err
	}
	rec, err := decodeRecord(f.kind, head)
	if err != nil {
		return entry{}, err
	}
	moved := &recBlob{}
	switch m := rec.(type) {
	case *recMessage:
		*moved = recBlob{blob: m.blob, email: m.email, size: m.size, coding: m.coding, digest: append([]byte(nil), m.digest...)}
	case *recBlob:
		*moved = *m
		moved.digest = append([]byte(nil), m.digest...)
	}
	if moved.blob != id {
		return entry{}, fmt.Errorf("%w: record at %d is not message content %d", errFormat, at.off, id)
	}
	if err := r.checkBody(at.off, f); err != nil {
		return entry{}, err
	}
	return entry{rec: moved, body: &spool{file: r.file, at: at.off + frameLen + f.head, size: f.body, sum: f.bodySum}}, nil
}

// moveBlobs appends what is still needed of batch, in one transaction.
func (a *account) moveBlobs(ctx context.Context, from uint32, batch []entry) error {
	return a.submit(ctx, &txn{durable: true, build: func(b *builder) error {
		for _, e := range batch {
			blob := b.st.blobs.find(e.rec.(*recBlob).blob)
			if blob != nil && blob.refs > 0 && blob.seg == from {
				b.entries = append(b.entries, e)
			}
		}
		return nil
	}})
}
