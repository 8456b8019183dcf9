package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/message"
)

// A digest file holds the digests of one mailbox's messages in order of UID, so
// that a FETCH of many reads them in large pieces. It is a copy: the log has
// them too. So it is never synced, and whatever of it is missing, damaged or
// older than the mailbox is read from the log.

// digestEntry is a digest file in the manifest.
type digestEntry struct {
	Box   uint32 `json:"box"`
	Name  string `json:"name"`
	Index int64  `json:"index"` // offset of the last record
	Count int    `json:"count"` // messages in it
	Last  uint32 `json:"last"`  // UID up to which all messages of that time are in it
}

const (
	digestStep  = 64  // messages from one mark of the index to the next
	digestMin   = 128 // messages of a mailbox before it has a digest file
	digestBatch = 32  // messages asked for at once before it is read
	digestWaste = 8   // how many messages may be passed over for one that is asked for
)

// recDigest is a message's digest in a digest file.
type recDigest struct {
	uid    uint32
	blob   uint32
	digest []byte
}

func (r *recDigest) encode(e *encoder) {
	e.uint(uint64(r.uid))
	e.uint(uint64(r.blob))
	e.bytes(r.digest)
}

func (r *recDigest) decode(d *decoder) error {
	r.uid, r.blob, r.digest = d.uint32(), d.uint32(), d.bytes()
	return d.end()
}

// digestMark says where the record of a UID is.
type digestMark struct {
	uid uint32
	off int64
}

func encodeDigestIndex(e *encoder, box uint32, marks []digestMark) {
	e.uint(uint64(box))
	e.uint(uint64(len(marks)))
	last := digestMark{}
	for _, m := range marks {
		e.uint(uint64(m.uid - last.uid))
		e.uint(uint64(m.off - last.off))
		last = m
	}
}

func decodeDigestIndex(d *decoder, box uint32, end int64) ([]digestMark, error) {
	if d.uint32() != box {
		d.fail()
	}
	marks := make([]digestMark, d.count(2))
	last := digestMark{}
	for i := range marks {
		gap, step := d.uint32(), int64(d.uint())
		m := digestMark{uid: last.uid + gap, off: last.off + step}
		if m.uid <= last.uid || m.off <= last.off || m.off >= end {
			d.fail()
			return nil, d.err
		}
		marks[i], last = m, m
	}
	return marks, d.end()
}

// digestJob is a digest file to be written with a fold.
type digestJob struct {
	box  uint32
	name fileName
	rows []digestRow
}

type digestRow struct{ uid, blob uint32 }

// digestJob is the digest file that has to be written for a changed mailbox: if
// there is none, or if the one there is lacks a quarter, is half dead, or can't
// be read. Otherwise it is nil. It is run by the leader.
func (a *account) digestJob(b *box) *digestJob {
	var old digestEntry
	for _, entry := range a.man.Digests {
		if entry.Box == b.id {
			old = entry
		}
	}
	covered, exact := b.find(old.Last)
	if exact {
		covered++
	}
	missing, dead := len(b.rows)-covered, old.Count-covered
	least := max(a.store.options.limits.digests, 1)
	if len(b.rows) < least || missing <= old.Count/4 && dead <= old.Count/2 && !a.isSpoiled(old.Name) {
		return nil
	}
	job := &digestJob{box: b.id, name: a.newName(kindDigest), rows: make([]digestRow, len(b.rows))}
	for i := range b.rows {
		job.rows[i] = digestRow{b.rows[i].uid, b.rows[i].blob}
	}
	return job
}

// writeDigests writes the digest files that belong to a snapshot. What fails is
// left out; on a nearly full disk all are, as the room is for what is needed.
func (a *account) writeDigests(ctx context.Context, s *snapshot) {
	for _, job := range s.digestJobs {
		if free, err := a.disk.fs.Free(a.disk.dir); err != nil || free < 2*a.store.options.MinFree {
			return
		}
		entry, err := a.writeDigestFile(ctx, job)
		if err != nil {
			a.log.Debug("no digest file is written", "user", a.user, "file", job.name, "error", err)
			continue
		}
		s.digests = append(s.digests, entry)
	}
}

func (a *account) writeDigestFile(ctx context.Context, job *digestJob) (entry digestEntry, err error) {
	w, err := newDigestWriter(a, job)
	if err != nil {
		return entry, err
	}
	defer func() { err = errors.Join(err, w.file.Close()) }()
	c := contents{account: a}
	defer c.close()
	for batch := range slices.Chunk(job.rows, batchSize) {
		if err := ctx.Err(); err != nil {
			return entry, err
		}
		for _, r := range a.placesOf(batch) {
			_, err := c.openRow(&r)
			if errors.Is(err, errExpunged) || imap.CodeOf(err) == imap.CodeCorruption {
				continue // who asks for it finds out
			}
			if err != nil {
				return entry, err
			}
			if err := w.add(&recDigest{uid: uint32(r.uid), blob: r.blob, digest: c.raw}); err != nil {
				return entry, err
			}
		}
	}
	return w.finish(job.rows[len(job.rows)-1].uid)
}

// placesOf finds out where contents lie. What was expunged is left out.
func (a *account) placesOf(rows []digestRow) []seenRow {
	a.mu.RLock()
	defer a.mu.RUnlock()
	found := make([]seenRow, 0, len(rows))
	for _, r := range rows {
		if b := a.st.blobs.find(r.blob); b != nil {
			found = append(found, seenRow{uid: imap.UID(r.uid), blob: r.blob, at: b.place()})
		}
	}
	return found
}

type digestWriter struct {
	file  File
	salt  uint32
	entry digestEntry
	marks []digestMark
	buf   []byte
	wrote int64
	enc   encoder
}

func newDigestWriter(a *account, job *digestJob) (*digestWriter, error) {
	f, err := a.disk.fs.Create(a.disk.path(job.name.String()))
	if err != nil {
		return nil, err
	}
	h := fileHeader{account: a.id, name: job.name, salt: uint32(randomUint64())}
	return &digestWriter{
		file: f, salt: h.salt, buf: h.encode(digestMagic),
		entry: digestEntry{Box: job.box, Name: job.name.String()},
	}, nil
}

func (w *digestWriter) end() int64 { return w.wrote + int64(len(w.buf)) }

func (w *digestWriter) add(r *recDigest) error {
	if w.entry.Count%digestStep == 0 {
		w.marks = append(w.marks, digestMark{uid: r.uid, off: w.end()})
	}
	w.entry.Count++
	w.enc.buf = w.enc.buf[:0]
	r.encode(&w.enc)
	return w.record(typeDigests)
}

// record appends what is encoded.
func (w *digestWriter) record(kind recordType) error {
	w.buf = appendFrame(w.buf, w.salt, w.end(), kind, w.enc.buf, 0, 0)
	w.buf = append(w.buf, padding(w.end())...)
	if len(w.buf) < flushAt {
		return nil
	}
	return w.flush()
}

func (w *digestWriter) flush() error {
	if err := writeAll(w.file, w.buf, w.wrote); err != nil {
		return err
	}
	w.wrote += int64(len(w.buf))
	w.buf = w.buf[:0]
	return nil
}

func (w *digestWriter) finish(last uint32) (digestEntry, error) {
	w.entry.Index, w.entry.Last = w.end(), last
	w.enc.buf = w.enc.buf[:0]
	encodeDigestIndex(&w.enc, w.entry.Box, w.marks)
	if err := w.record(typeDigestIndex); err != nil {
		return digestEntry{}, err
	}
	return w.entry, w.flush()
}

// mergeDigests are the digest files after a fold, by mailbox. Those of which
// less than half is of use are left out.
func mergeDigests(old, fresh []digestEntry, boxes map[uint32]*box) []digestEntry {
	byBox := map[uint32]digestEntry{}
	for _, entry := range slices.Concat(old, fresh) {
		if b := boxes[entry.Box]; b != nil && int(b.messages) >= entry.Count/2 && b.messages > 0 {
			byBox[entry.Box] = entry
		}
	}
	return slices.SortedFunc(maps.Values(byBox), func(x, y digestEntry) int { return cmp.Compare(x.Box, y.Box) })
}

// digests reads one mailbox's digest file, in order of UID.
type digests struct {
	account *account
	entry   digestEntry
	reader  *segmentReader // nil: there is none that can be read
	marks   []digestMark
	mark    int   // the last that was passed
	next    int64 // offset of the next record
	use     bool  // for the batch
	opened  bool
	rec     recDigest
	digest  message.Digest
}

// begin decides if the file is read for the messages of rows, or the log.
func (d *digests) begin(a *account, box uint32, rows []seenRow) {
	d.use = false
	if len(rows) < digestBatch {
		return
	}
	if !d.opened {
		d.opened = true
		d.open(a, box)
	}
	if d.reader == nil {
		return
	}
	first, last := d.markOf(uint32(rows[0].uid)), d.markOf(uint32(rows[len(rows)-1].uid))
	d.use = (last-first+1)*digestStep <= digestWaste*len(rows)
}

// markOf counts the marks up to uid.
func (d *digests) markOf(uid uint32) int {
	i, exact := slices.BinarySearchFunc(d.marks, uid, func(m digestMark, uid uint32) int { return cmp.Compare(m.uid, uid) })
	if exact {
		i++
	}
	return i
}

func (d *digests) open(a *account, box uint32) {
	d.account = a
	a.segMu.RLock()
	entry, known := a.digests[box]
	a.segMu.RUnlock()
	if !known {
		return
	}
	read, err := a.readDigests(entry)
	if err != nil {
		d.entry = entry
		d.spoiled(err)
		return
	}
	*d = *read
}

// readDigests opens a digest file and reads its index.
func (a *account) readDigests(entry digestEntry) (*digests, error) {
	name, err := parseFileName(entry.Name)
	if err != nil {
		return nil, err
	}
	r, err := a.disk.openSegment(a.id, name, 0)
	if err != nil {
		return nil, err
	}
	marks, err := readDigestIndex(r, entry)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("index: %w", err), r.file.Close())
	}
	return &digests{account: a, entry: entry, reader: r, marks: marks, next: headerLen, opened: true}, nil
}

// all calls f with each record.
func (d *digests) all(f func(*recDigest)) error {
	last := uint32(0)
	for d.next < d.entry.Index {
		size, err := d.read(d.next)
		if err == nil && d.rec.uid <= last {
			err = errFormat
		}
		if err != nil {
			return fmt.Errorf("record at %d: %w", d.next, err)
		}
		f(&d.rec)
		last = d.rec.uid
		d.next += size
	}
	return nil
}

func readDigestIndex(r *segmentReader, entry digestEntry) ([]digestMark, error) {
	if entry.Index < headerLen {
		return nil, errFormat
	}
	f, head, err := readRecord(r.file, r.salt, entry.Index, r.size, nil)
	if err != nil {
		return nil, err
	}
	if f.kind != typeDigestIndex {
		return nil, fmt.Errorf("%w: type %d", errFormat, f.kind)
	}
	return decodeDigestIndex(&decoder{buf: head}, entry.Box, entry.Index)
}

// find is the digest of a message, or nil if it has to be read from the log. It
// is valid until the next call. UIDs ascend from call to call.
func (d *digests) find(row *seenRow) *message.Digest {
	if !d.use {
		return nil
	}
	uid := uint32(row.uid)
	for d.mark < len(d.marks) && d.marks[d.mark].uid <= uid {
		d.next = max(d.next, d.marks[d.mark].off)
		d.mark++
	}
	for d.next < d.entry.Index {
		size, err := d.read(d.next)
		if err != nil {
			d.spoiled(err)
			d.next = d.skip()
			return nil
		}
		if d.rec.uid > uid {
			return nil
		}
		d.next += size
		if d.rec.uid == uid {
			if d.rec.blob != row.blob || d.digest.Decode(d.rec.digest) != nil {
				return nil
			}
			return &d.digest
		}
	}
	return nil
}

// skip is where the next mark is: the length of what is damaged is not known.
func (d *digests) skip() int64 {
	if d.mark < len(d.marks) {
		return d.marks[d.mark].off
	}
	return d.entry.Index
}

// read reads the record at off into rec.
func (d *digests) read(off int64) (size int64, err error) {
	f, head, err := d.reader.record(off)
	if err != nil {
		return 0, err
	}
	if f.kind != typeDigests {
		return 0, fmt.Errorf("%w: type %d", errFormat, f.kind)
	}
	return f.size(), d.rec.decode(&decoder{buf: head})
}

func (d *digests) close() {
	if d.reader != nil {
		d.reader.file.Close() //nolint:errcheck // only read
	}
}

// spoiled has the file written anew by the next fold of the mailbox.
func (d *digests) spoiled(err error) {
	a := d.account
	a.segMu.Lock()
	defer a.segMu.Unlock()
	if a.spoiled == nil {
		a.spoiled = map[string]bool{}
	}
	if !a.spoiled[d.entry.Name] {
		a.spoiled[d.entry.Name] = true
		a.log.Debug("digest file can't be read; the log is", "user", a.user, "file", d.entry.Name, "error", err)
	}
}

func (a *account) isSpoiled(name string) bool {
	a.segMu.RLock()
	defer a.segMu.RUnlock()
	return a.spoiled[name]
}
