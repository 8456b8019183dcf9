package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Bounds of what a replay has to read. When the tail exceeds one, the account is
// folded.
const (
	foldBytes   = 32 << 20
	foldRecords = 10_000
	foldFreed   = 8 << 20   // bytes of messages that went
	segmentMax  = 256 << 20 // after which a new segment is begun
)

// upkeep starts what the log's growth asks for. It is called by the leader
// between transactions.
func (a *account) upkeep() {
	if a.brokenNow() != nil || a.fence.check() != nil {
		return
	}
	a.mu.Lock()
	a.st.blobs.compact()
	a.mu.Unlock()
	limits := a.store.options.limits
	if a.writer.end > limits.segment {
		if err := a.rollOver(); err != nil {
			a.failed(err, nil)
			return
		}
	}
	if a.folding || a.unapplied || a.tail.bytes < limits.foldBytes && a.tail.records < limits.foldRecords && a.tailSegments() <= maxTailSegments && a.st.freedBytes < foldFreed && !a.overdue() {
		return
	}
	a.startMaintenance()
}

// startMaintenance has the account folded in the background. It is run by the
// leader, and reports whether maintenance is under way after it.
func (a *account) startMaintenance() bool {
	a.queueMu.Lock()
	defer a.queueMu.Unlock()
	if a.folding || a.ended != nil || a.brokenNow() != nil {
		return a.folding
	}
	a.folding = true
	a.background.Add(1)
	go func() {
		defer a.background.Done()
		if err := a.maintain(a.ctx); err != nil && a.ctx.Err() == nil {
			a.log.Error("maintenance failed", "user", a.user, "error", err)
			_ = pause(a.ctx, retryPause)
		}
		a.maintained()
	}()
	return true
}

// maxTailSegments bounds the files that an open has to read: an account that is
// often opened for a little has many small ones.
const maxTailSegments = 8

// tailSegments counts the segments that a replay has to read.
func (a *account) tailSegments() int {
	if a.counted != a.man {
		a.counted, a.segments = a.man, len(a.man.Segments)-a.man.covered()
	}
	return a.segments
}

// snapshot is a state at one place of the log, encoded.
type snapshot struct {
	name    fileName
	content []byte
	state   tableRef
	tables  map[uint32]tableRef // of mailboxes that were written anew
	changed []*box              // those of them that were dirty
	files   map[uint32]bool     // the table files that state refers to
	used    map[uint32]bool     // segments with content that some message has
	replay  replayFrom
	tail    tail

	digestJobs []*digestJob
	digests    []digestEntry // that were written
}

// fold writes the state to a new table file and has replay begin behind it. The
// leader only takes the snapshot and installs the manifest; the writing is done here.
func (a *account) fold(ctx context.Context) error {
	a.foldMu.Lock() // a second snapshot would take what the first marked for folded
	defer a.foldMu.Unlock()
	var s *snapshot
	err := a.submit(ctx, &txn{alone: true, run: func() (err error) {
		if a.unapplied {
			return fmt.Errorf("%w: repair it", errTable)
		}
		s, err = a.snapshot()
		a.installing = err == nil
		return err
	}})
	if err == nil {
		err = a.disk.fail("fold.snapshot")
	}
	if err == nil {
		err = a.fence.check()
	}
	if err == nil {
		err = a.disk.withRoom(func() error { return a.disk.writeNew(a.disk.path(s.name.String()), s.content) })
	}
	if err == nil {
		a.writeDigests(ctx, s)
	}
	if err == nil { // no manifest may become durable before what it lists
		err = a.disk.syncNames()
	}
	if err == nil {
		err = a.disk.fail("fold.written")
	}
	wrote := err
	err = a.submit(ctx, &txn{alone: true, run: func() error {
		a.installing = a.installing && s == nil
		if wrote != nil {
			a.unfold(s)
			return wrote
		}
		return a.installFold(s)
	}})
	return err
}

// snapshot encodes the state. The log is synced first, as a fold must not know
// more than the log.
func (a *account) snapshot() (*snapshot, error) {
	if err := a.syncNow(); err != nil {
		return nil, err
	}
	name := a.newName(kindTable)
	s := &snapshot{
		name: name, tables: map[uint32]tableRef{}, tail: a.tail, used: a.st.blobs.segments(),
		files:  map[uint32]bool{name.seq: true},
		replay: replayFrom{Seq: a.writer.name.seq, Off: a.writer.end},
	}
	h := fileHeader{account: a.id, name: name, salt: uint32(randomUint64())}
	s.content = h.encode(tableMagic)
	tables := map[uint32]tableRef{}
	merge := len(a.man.Tables) >= maxTables
	for _, id := range slices.Sorted(maps.Keys(a.st.boxes)) {
		b := a.st.boxes[id]
		tables[id] = b.table
		if !b.dirty && (!merge || b.table.Seq == 0) {
			s.files[b.table.Seq] = true
			continue
		}
		if b.dirty {
			if job := a.digestJob(b); job != nil {
				s.digestJobs = append(s.digestJobs, job)
			}
		}
		table, err := a.tableOf(b)
		if err != nil {
			a.unfold(s)
			return nil, err
		}
		s.tables[id] = s.add(h.salt, typeTable, table)
		tables[id] = s.tables[id]
		if b.dirty {
			s.changed = append(s.changed, b)
			b.dirty = false
		}
	}
	var e encoder
	encodeState(&e, a.st, tables)
	s.state = s.add(h.salt, typeState, e.buf)
	return s, nil
}

// maxTables is how many table files there are before all tables are written
// into one.
const maxTables = 6

// tableOf is the table of b: encoded if it changed, else as it was.
func (a *account) tableOf(b *box) ([]byte, error) {
	if !b.dirty {
		return a.readTableRecord(b.table, typeTable)
	}
	var e encoder
	encodeTable(&e, b)
	return e.buf, nil
}

// unfold takes back what the snapshot s marked as folded. Tables that only were to
// move are where they were, and their mailboxes perhaps not loaded.
func (a *account) unfold(s *snapshot) {
	if s == nil {
		return
	}
	for _, b := range s.changed {
		b.dirty = true
	}
}

// add appends a record and returns where it is.
func (s *snapshot) add(salt uint32, kind recordType, head []byte) tableRef {
	ref := tableRef{Seq: s.name.seq, Off: int64(len(s.content))}
	s.content = appendFrame(s.content, salt, ref.Off, kind, head, 0, 0)
	s.content = append(s.content, padding(int64(len(s.content)))...)
	return ref
}

// installFold makes a written snapshot the state that an open starts from.
func (a *account) installFold(s *snapshot) error {
	if broken := a.brokenNow(); broken != nil {
		return unavailable(broken)
	}
	if err := a.writable(); err != nil {
		a.unfold(s)
		return err
	}
	m := *a.man
	m.State, m.Replay = &s.state, s.replay
	names := map[uint32]fileName{s.name.seq: s.name}
	for seq, n := range a.names {
		if n.kind == kindLog || s.files[seq] {
			names[seq] = n
		}
	}
	m.Tables = tableNames(names)
	m.Segments = a.liveSegments(s, names)
	m.Digests = mergeDigests(a.man.Digests, s.digests, a.st.boxes)
	m.NextSeq = a.man.NextSeq
	if err := a.disk.installManifest(&m); err != nil {
		a.breakDown(err)
		return unavailable(err)
	}
	a.man, a.names = &m, names
	for id, ref := range s.tables {
		if b := a.st.boxes[id]; b != nil {
			b.table = ref
		}
	}
	a.setSegments()
	a.tail.bytes -= s.tail.bytes
	a.tail.records -= s.tail.records
	return a.disk.fail("fold.installed")
}

// liveSegments are the segments that are still needed once s is installed: those
// that hold messages, and those with records behind s. The others leave names.
func (a *account) liveSegments(s *snapshot, names map[uint32]fileName) []segmentEntry {
	var live []segmentEntry
	covered := (&manifest{Segments: a.man.Segments, Replay: s.replay}).covered()
	for i, entry := range a.man.Segments {
		name, err := parseFileName(entry.Name)
		if err == nil && i < covered && !s.used[name.seq] {
			delete(names, name.seq)
			delete(a.st.live, name.seq)
			delete(a.st.packs, name.seq)
			continue
		}
		live = append(live, entry)
	}
	live[len(live)-1] = a.writer.entry()
	return live
}

func tableNames(names map[uint32]fileName) []string {
	var tables []string
	for _, seq := range slices.Sorted(maps.Keys(names)) {
		if names[seq].kind == kindTable {
			tables = append(tables, names[seq].String())
		}
	}
	return tables
}

// newName names a new file. The leader calls it; the next manifest tells.
func (a *account) newName(kind string) fileName {
	n := fileName{kind: kind, epoch: a.man.Epoch, incarnation: a.incarnation, seq: a.man.NextSeq}
	a.man.NextSeq++
	return n
}

// rollOver ends the segment and begins another.
func (a *account) rollOver() error {
	if err := a.writer.sync(); err != nil {
		return err
	}
	return a.replaceSegment()
}

// replaceSegment seals the segment at what is synced and begins a new one with
// what was answered already and is not synced.
func (a *account) replaceSegment() error {
	old := a.writer
	m := *a.man
	m.Segments = slices.Clone(a.man.Segments)
	name := a.newName(kindLog)
	m.NextSeq = a.man.NextSeq
	w := newLogWriter(&a.disk, a.id, name)
	if err := w.begunWith(old.unsynced); err != nil {
		return errors.Join(err, w.close())
	}
	last := len(m.Segments) - 1
	m.Segments[last] = segmentEntry{Name: old.name.String(), Sealed: old.synced}
	if old.synced == 0 {
		m.Segments = m.Segments[:last]
	}
	m.Segments = append(m.Segments, w.entry())
	if err := a.disk.installManifest(&m); err != nil {
		return errors.Join(err, w.close())
	}
	a.man, a.writer = &m, w
	a.names[name.seq] = name
	a.setSegments()
	if err := old.close(); err != nil {
		a.log.Warn("closing a segment failed", "user", a.user, "segment", old.name, "error", err)
	}
	return a.disk.fail("segment.replaced")
}
