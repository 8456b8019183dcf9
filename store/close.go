package store

import (
	"context"
	"errors"
	"maps"
	"slices"
)

// close ends the account. With everything synced it leaves a manifest that
// names no holder, so that any backend may open it. Without the right to the mail
// nothing is changed on disk. sweep is false for haste.
func (a *account) close(sweep bool) error {
	a.cancel()
	a.queueMu.Lock()
	if a.timer != nil && a.timer.Stop() {
		a.background.Done()
	}
	a.queueMu.Unlock()
	err := a.submit(context.Background(), &txn{alone: true, run: a.closeClean})
	a.background.Wait()
	a.forget()
	if err == nil && sweep && a.fence.check() == nil {
		a.sweep()
	}
	return errors.Join(err, a.unlock())
}

var errEnded = errors.New("account is closed")

// closeClean is run by the leader.
func (a *account) closeClean() error {
	a.queueMu.Lock()
	a.ended = unavailable(errEnded)
	a.queueMu.Unlock()
	if err := a.fence.check(); err != nil {
		a.giveUp(err)
		return a.writer.close()
	}
	if broken := a.brokenNow(); broken != nil {
		return errors.Join(broken, a.writer.close())
	}
	a.writer.begin = nil // the last manifest tells
	err := a.saveRecent()
	if err == nil {
		err = a.writer.sync()
	}
	if err != nil {
		return errors.Join(err, a.writer.close())
	}
	m := *a.man
	m.Segments = slices.Clone(m.Segments)
	m.Holder, m.Clean = "", true
	m.ModSeqLimit, m.ModSeqFloor = a.st.modseq+1, a.st.floor
	last := len(m.Segments) - 1
	if !a.writer.begun() {
		m.Segments = m.Segments[:last]
	} else {
		m.Segments[last] = segmentEntry{Name: a.writer.name.String(), Sealed: a.writer.synced}
	}
	return errors.Join(a.disk.installManifest(&m), a.writer.close())
}

// saveRecent writes which messages have been told of as \Recent.
func (a *account) saveRecent() error {
	var entries []entry
	for _, id := range slices.Sorted(maps.Keys(a.st.boxes)) {
		b := a.st.boxes[id]
		if uid := b.recent.Load(); uid != b.recentKept {
			entries = append(entries, entry{rec: &recRecent{box: id, uid: uid}})
			b.recentKept = uid
		}
	}
	if len(entries) == 0 {
		return nil
	}
	return a.writer.append(entries)
}
