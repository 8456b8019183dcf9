package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/roost-mail/roost/imap"
)

// openAccount opens the account in dir for writing: it takes the lock, reads
// the newest manifest and the log behind it, and installs a manifest that names
// this process. Nothing is served before that.
func openAccount(s *Store, p *slot, user string, f *fence) (*account, error) {
	dir := p.dir
	a := &account{
		store: s, slot: p, user: user, log: s.options.Log, fence: f,
		disk: disk{fs: s.options.FS, dir: dir, failPoint: s.options.FailPoint, pins: &pins{}, codec: s.codec, fence: f, pending: &s.pending},
		segs: map[uint32]fileName{},
	}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	var err error
	if a.disk.ballast, err = s.checkVolumes(dir); err != nil {
		return nil, err
	}
	if err := a.disk.withRoom(func() error { return a.disk.fs.Mkdir(dir) }); err != nil {
		return nil, err
	}
	if a.disk.volume, err = s.syncer.volume(dir); err != nil {
		return nil, err
	}
	if err := a.takeLock(); err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	err = a.disk.withRoom(a.recover)
	for range recoverTries {
		if !errors.Is(err, errFenced) || !f.claimed() || f.check() != nil {
			break
		}
		err = a.disk.withRoom(a.recover)
	}
	if err != nil {
		return nil, errors.Join(err, a.unlock())
	}
	return a, nil
}

// recoverTries is how often an open begins anew because a predecessor that has lost
// its right, and does not know yet, installed one more manifest.
const recoverTries = 5

// takeLock takes the lock of the directory. A stopped process keeps its lock, and
// failover must not wait for it: with a coordinator, admit decides.
func (a *account) takeLock() (err error) {
	a.lock, err = a.disk.fs.Lock(a.disk.dir)
	if a.locked = errors.Is(err, ErrInUse); !a.locked {
		return err
	}
	if a.fence.claimed() {
		return nil
	}
	if m, _ := a.disk.newestManifest(); m != nil && m.Holder != "" {
		return fmt.Errorf("%w, of backend %q most likely", err, m.Holder)
	}
	return err
}

// unlock gives the lock back, if it was there to be taken.
func (a *account) unlock() error {
	if a.lock == nil {
		return nil
	}
	return a.lock.Close()
}

// recover brings the account into memory and makes it ours. If it fails nothing
// is left open, and it may be called again.
func (a *account) recover() (err error) {
	a.incarnation, a.tail, a.writer = randomUint64(), tail{}, nil
	defer func() {
		if err != nil && a.writer != nil {
			err = errors.Join(err, a.writer.close())
		}
	}()
	old, err := a.disk.newestManifest()
	if err != nil {
		return err
	}
	if old == nil {
		old = &manifest{
			Account: newObjectID().String(), User: a.user, Clean: true,
			NextSeq: 1, ModSeqLimit: 1,
		}
	}
	if err := a.admit(old); err != nil {
		return err
	}
	l := &loader{disk: &a.disk, log: a.log}
	if err := l.load(old); err != nil {
		return err
	}
	a.id, a.st, a.names = l.id, l.st, l.names
	for _, t := range l.tails {
		defer t.reader.file.Close() //nolint:errcheck // only read
	}
	return a.takeOver(old, l)
}

// takeOver seals the predecessor's open segment, copies what it holds behind the
// seal, applies all, and installs our manifest.
func (a *account) takeOver(old *manifest, l *loader) error {
	m := *old
	m.advance(a.fence)
	m.Incarnation = fmt.Sprintf("%016x", a.incarnation)
	m.Holder, m.Clean, m.TookOver = a.store.options.Holder, false, !old.Clean
	m.Version = a.store.options.Version
	m.Segments = slices.Clone(old.Segments)
	a.man, a.epoch = &m, m.Epoch
	a.writer = newLogWriter(&a.disk, a.id, a.newName(kindLog))
	moved, err := a.sealPredecessor(l)
	if err != nil {
		return err
	}
	a.st.load = a.ensureAlone
	l.apply(a, moved)
	a.reserve(old)
	m.Segments = append(m.Segments, a.writer.entry())
	if err := a.disk.installManifest(&m); err != nil {
		return err
	}
	m.TookOver = false // those after it did not
	if !a.writer.linked {
		a.writer.begin = a.begin
	}
	if old.Number == 0 {
		a.log.Info("account created", "user", a.user, "dir", a.disk.dir)
	}
	a.names[a.writer.name.seq] = a.writer.name
	a.setSegments()
	return nil
}

// begin notes in the manifest that n bytes of the open segment are durable. It is
// called by the leader, once for a segment.
func (a *account) begin(n int64) error {
	m := *a.man
	m.Segments = slices.Clone(m.Segments)
	m.Segments[len(m.Segments)-1].Begun = n
	if err := a.disk.installManifest(&m); err != nil {
		return err
	}
	a.man = &m
	return nil
}

// ensureAlone is ensure while no one else sees the account.
func (a *account) ensureAlone(b *box) error {
	t, err := a.readTable(b)
	if err != nil {
		return err
	}
	b.adopt(t)
	return nil
}

// sealPredecessor finds the open segment that an unclean end left, seals it at
// what is known to be synced, and writes what follows into our segment: it may
// have existed in a page cache only.
func (a *account) sealPredecessor(l *loader) (moved []scannedTxn, err error) {
	last := len(a.man.Segments) - 1
	if last < 0 || !a.man.Segments[last].Open {
		return nil, nil
	}
	if len(l.tails) == 0 || l.tails[len(l.tails)-1].name.String() != a.man.Segments[last].Name {
		a.dropSegment(last)
		return nil, nil
	}
	t := &l.tails[len(l.tails)-1]
	seal := max(t.found.durable(), t.from, a.man.Segments[last].Begun)
	keep := 0
	for keep < len(t.found.txns) && t.found.txns[keep].end <= seal {
		keep++
	}
	after := t.found.txns[keep:]
	t.found.txns = t.found.txns[:keep]
	for i := range after {
		switch err := a.moveTxn(t.reader, &after[i]); {
		case errors.Is(err, errDamaged):
			a.log.Warn("transaction was torn and is dropped", "user", a.user, "segment", t.name, "offset", after[i].start)
		case err != nil:
			return nil, err
		default:
			moved = append(moved, after[i])
		}
	}
	if seal == headerLen { // not even the header is known to be synced
		a.dropSegment(last)
	} else {
		a.man.Segments[last] = segmentEntry{Name: t.name.String(), Sealed: seal}
	}
	return moved, a.writer.sync()
}

// dropSegment takes an open segment of which nothing is kept off the list.
func (a *account) dropSegment(i int) {
	if name, err := parseFileName(a.man.Segments[i].Name); err == nil {
		delete(a.names, name.seq)
	}
	a.man.Segments = a.man.Segments[:i]
}

// moveTxn copies a transaction into our segment, and changes t to say where it
// is. Nothing is written if a body of it is damaged.
func (a *account) moveTxn(r *segmentReader, t *scannedTxn) error {
	for _, rec := range t.records {
		if err := r.checkBody(rec.off, rec.frame); err != nil {
			return err
		}
	}
	if err := a.writer.create(); err != nil {
		return err
	}
	start := a.writer.end
	for i := range t.records {
		rec := &t.records[i]
		_, head, err := r.record(rec.off)
		if err != nil {
			return err
		}
		var body *spool
		if rec.frame.body > 0 {
			body = &spool{file: r.file, at: rec.off + frameLen + rec.frame.head, size: rec.frame.body, sum: rec.frame.bodySum}
		}
		rec.off = a.writer.end
		if err := a.writer.appendRaw(rec.frame.kind, head, body); err != nil {
			return err
		}
	}
	return a.writer.appendRecord(&recCommit{start: start}, nil)
}

// reserve settles the modification sequences. What an unclean end may have lost
// must not be used again.
func (a *account) reserve(old *manifest) {
	st := a.st
	st.floor = max(st.floor, old.ModSeqFloor)
	if !old.Clean {
		st.modseq = max(st.modseq, st.modseqLimit, old.ModSeqLimit)
		st.floor = st.modseq
	}
	st.modseqLimit = st.modseq + modseqBlock
	a.man.ModSeqLimit, a.man.ModSeqFloor = st.modseqLimit, st.floor
	a.next = allocator{box: st.nextBox, blob: st.nextBlob, validity: st.lastValidity, modseq: st.modseq}
}

// setSegments tells readers which segments and digest files there are.
func (a *account) setSegments() {
	a.segMu.Lock()
	defer a.segMu.Unlock()
	a.segs = map[uint32]fileName{}
	for seq, n := range a.names {
		if n.kind == kindLog {
			a.segs[seq] = n
		}
	}
	a.digests = make(map[uint32]digestEntry, len(a.man.Digests))
	for _, entry := range a.man.Digests {
		a.digests[entry.Box] = entry
	}
}

// createInbox makes INBOX, at the first open.
func (a *account) createInbox(ctx context.Context) error {
	if a.st.names[imap.Inbox] != nil {
		return nil
	}
	return a.submit(ctx, &txn{durable: true, alone: true, build: func(b *builder) error {
		if b.st.names[imap.Inbox] != nil {
			return nil
		}
		_, err := b.create(imap.Inbox)
		return err
	}})
}
