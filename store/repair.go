package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"

	"github.com/roost-mail/roost/imap"
)

// lostAndFound is where a repair puts what it takes out of use. Nothing is deleted.
const lostAndFound = "lost+found"

// foundName is the mailbox of messages of which it is not known where they were.
const foundName = "Lost and found"

// Repair makes a damaged account sound again, as far as what is there allows:
//
//   - a manifest that can't be read gives way to the one before, with the segments that are newer;
//   - a segment that is missing or has no header leaves the list, a short one is sealed at its end;
//   - a folded state that can't be read gives way to that of an older manifest;
//   - a mailbox whose table can't be read gets the messages that the log tells of,
//     with the flags that they came with;
//   - a message whose content is damaged or missing leaves its mailbox;
//   - all counters are counted anew.
//
// Each file in which something was damaged stays in lost+found, under its own name.
// What is done is written to w, a line each, and at last what Check says. The
// account must be closed, and not left open by another backend. Of o, Holder, Version, FS, Log and Now are used.
func Repair(ctx context.Context, o Options, user, dir string, w io.Writer) (err error) {
	s := New(Options{Holder: o.Holder, Version: o.Version, FS: o.FS, Log: o.Log, Now: o.Now, Linger: -1})
	defer func() { err = errors.Join(err, s.Close()) }()
	r := &repair{disk: disk{fs: s.options.FS, dir: dir, pins: &pins{}, codec: s.codec}, user: user, holder: o.Holder, w: w}
	if err := r.files(); err != nil {
		return err
	}
	account, err := s.Open(ctx, user, dir)
	if err != nil {
		return err
	}
	err = account.submit(ctx, &txn{alone: true, run: func() error { return r.mend(account.account) }})
	if err == nil {
		err = account.fold(ctx)
	}
	if err = errors.Join(err, account.Close()); err != nil {
		return err
	}
	return check(s.options.FS, dir, w)
}

// repair is one on its way.
type repair struct {
	disk         disk
	user, holder string
	w            io.Writer
}

func (r *repair) say(format string, args ...any) { fmt.Fprintf(r.w, format+"\n", args...) }

// keep gives a file a second name in lost+found.
func (r *repair) keep(name string) error {
	to := filepath.Join(r.disk.dir, lostAndFound)
	if err := r.disk.fs.Mkdir(to); err != nil {
		return err
	}
	err := r.disk.fs.Link(r.disk.path(name), filepath.Join(to, name))
	if errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrNotExist) {
		return nil // it is there already, or was lost
	}
	if err == nil {
		r.say("%s is kept in %s", name, lostAndFound)
		err = r.disk.fs.SyncDir(to)
	}
	return err
}

// files mends what keeps the account from being opened.
func (r *repair) files() (err error) {
	lock, err := r.disk.fs.Lock(r.disk.dir)
	if err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	all, highest, err := r.manifests()
	if err != nil {
		return err
	}
	m := all[0]
	switch {
	case m.User != r.user:
		return fmt.Errorf("%s holds the mail of %q, not of %q", r.disk.dir, m.User, r.user)
	case m.Holder != "" && m.Holder != r.holder:
		return fmt.Errorf("backend %q has not closed the mail of %q: say `roost store takeover` first, if it is dead", m.Holder, m.User)
	}
	changed := m.Number != highest
	if changed {
		if err := r.unlisted(m); err != nil {
			return err
		}
	}
	for _, step := range []func(*manifest, []*manifest) (bool, error){r.state, r.segments} {
		did, err := step(m, all)
		if err != nil {
			return err
		}
		changed = changed || did
	}
	if !changed {
		return nil
	}
	m.Number, m.Clean = highest, false
	return r.disk.installManifest(m)
}

// manifests are those that can be read, the newest first, and the highest number
// there is. Others that would be newer are put aside.
func (r *repair) manifests() (all []*manifest, highest uint64, err error) {
	entries, err := r.disk.fs.List(r.disk.dir)
	if err != nil {
		return nil, 0, err
	}
	var numbers []uint64
	for _, e := range entries {
		if n, is := parseManifestName(e.Name()); is {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	slices.Reverse(numbers)
	var aside []string
	for _, n := range numbers {
		highest = max(highest, n)
		m, err := r.disk.readManifest(n)
		switch {
		case err == nil:
			all = append(all, m)
		case !errors.Is(err, errDamaged) && !errors.Is(err, errFormat):
			return nil, 0, err
		case len(all) == 0:
			r.say("%v", err)
			aside = append(aside, manifestName(n))
		}
	}
	if len(all) == 0 {
		return nil, 0, fmt.Errorf("%s has no manifest that can be read: restore a backup", r.disk.dir)
	}
	for _, name := range aside {
		if err := errors.Join(r.keep(name), r.disk.fs.Remove(r.disk.path(name))); err != nil {
			return nil, 0, err
		}
	}
	return all, highest, nil
}

// unlisted adds to m the segments that only a later manifest listed, which can't be
// read: they may have all mail of the time since. What of them is listed
// twice, or was never answered, does no harm.
func (r *repair) unlisted(m *manifest) error {
	id, err := parseObjectID(m.Account)
	if err != nil {
		return err
	}
	entries, err := r.disk.fs.List(r.disk.dir)
	if err != nil {
		return err
	}
	next := m.NextSeq
	for _, e := range entries {
		name, err := parseFileName(e.Name())
		if err != nil || name.seq < next || name.seq == 1<<32-1 {
			continue
		}
		m.NextSeq, m.Epoch = max(m.NextSeq, name.seq+1), max(m.Epoch, name.epoch)
		if name.kind != kindLog {
			continue
		}
		file, err := r.disk.openSegment(id, name, 0)
		if errors.Is(err, errDamaged) {
			continue // it is no use, or another's
		}
		if err != nil {
			return err
		}
		file.file.Close() //nolint:errcheck // only read
		r.say("segment %s is in no manifest that can be read, and is taken in", name)
		m.Segments = append(m.Segments, segmentEntry{Name: name.String(), Sealed: file.size})
	}
	m.Segments = mergeSegments(m.Segments, nil)
	return nil
}

// state takes the folded state of an older manifest if that of m can't be read.
func (r *repair) state(m *manifest, all []*manifest) (changed bool, err error) {
	for _, old := range all {
		err := r.readable(old)
		if err == nil {
			if !changed {
				return false, nil
			}
			r.say("the folded state of manifest %d takes its place, with what came after it", old.Number)
			m.State, m.Replay, m.Tables, m.Digests = old.State, old.Replay, old.Tables, nil
			m.Segments = mergeSegments(old.Segments, m.Segments)
			return true, nil
		}
		if errors.Is(err, errNewer) || !errors.Is(err, errDamaged) && !errors.Is(err, errFormat) && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
		if old == m {
			r.say("folded state: %v", err)
			for _, name := range m.Tables {
				if err := r.keep(name); err != nil {
					return false, err
				}
			}
		}
		changed = true
	}
	return false, fmt.Errorf("%s has no folded state that can be read: restore a backup; `roost store dump` shows what the log has", r.disk.dir)
}

// readable reads the folded state of a manifest.
func (r *repair) readable(m *manifest) error {
	if m.State == nil {
		return nil
	}
	a := &account{disk: r.disk}
	var err error
	if a.id, err = parseObjectID(m.Account); err != nil {
		return err
	}
	if a.names, err = m.fileNames(); err != nil {
		return err
	}
	head, err := a.readTableRecord(*m.State, typeState)
	if err != nil {
		return err
	}
	_, err = decodeState(&decoder{buf: head})
	return err
}

// mergeSegments are those of an older list and of a newer one, which knows better.
func mergeSegments(old, list []segmentEntry) []segmentEntry {
	known := map[string]segmentEntry{}
	for _, s := range slices.Concat(old, list) {
		known[s.Name] = s
	}
	return slices.SortedFunc(maps.Values(known), func(a, b segmentEntry) int {
		x, _ := parseFileName(a.Name) // the manifests that list them were checked
		y, _ := parseFileName(b.Name)
		return int(x.seq) - int(y.seq)
	})
}

// segments takes those off the list that can't be used at all, and seals short ones.
func (r *repair) segments(m *manifest, _ []*manifest) (changed bool, err error) {
	id, err := parseObjectID(m.Account)
	if err != nil {
		return false, err
	}
	var usable []segmentEntry
	for i, s := range m.Segments {
		name, err := parseFileName(s.Name)
		if err != nil {
			return false, err
		}
		least := s.least()
		if name.seq == m.Replay.Seq {
			least = max(least, m.Replay.Off)
		}
		file, err := r.disk.openSegment(id, name, 0)
		switch {
		case s.Open && s.Begun == 0 && err != nil: // an open copes with that
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, errDamaged):
			r.say("segment: %v", err)
			if err := r.keep(s.Name); err != nil {
				return false, err
			}
			changed = true
			continue
		case err != nil:
			return false, err
		default:
			size := file.size
			file.file.Close() //nolint:errcheck // only read
			if size >= least && (!s.Open || i == len(m.Segments)-1) {
				break
			}
			r.say("segment %s has %d bytes, not %d", s.Name, size, least)
			if err := r.keep(s.Name); err != nil {
				return false, err
			}
			changed = true
			if size <= headerLen || name.seq == m.Replay.Seq && size < m.Replay.Off {
				continue
			}
			s = segmentEntry{Name: s.Name, Sealed: size}
		}
		usable = append(usable, s)
	}
	m.Segments = usable
	return changed, nil
}

// mend goes through all mailboxes and messages and counts anew. It is run by the leader.
func (r *repair) mend(a *account) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := &mender{repair: r, account: a, files: contents{account: a}, bad: map[uint32]bool{}, used: map[uint32]uint32{}, sizes: map[uint32]uint32{}}
	defer c.files.close()
	var lost []*box
	for _, id := range slices.Sorted(maps.Keys(a.st.boxes)) {
		b := a.st.boxes[id]
		if !b.loaded {
			t, err := a.readTable(b)
			if errors.Is(err, errNewer) {
				return err
			}
			if err != nil {
				r.say("mailbox %q: %v", b.name, err)
				if err := r.keep(a.names[b.table.Seq].String()); err != nil {
					return err
				}
				lost = append(lost, b)
				continue
			}
			b.adopt(t)
		}
		c.count(b)
	}
	for i := range a.st.kept {
		for _, k := range a.st.kept[i].rows {
			c.used[k.blob]++
			c.sizes[k.blob] = k.size
		}
	}
	if len(lost) > 0 {
		c.salvage(lost)
	}
	if err := c.verify(); err != nil {
		return err
	}
	c.recount()
	a.unapplied = false
	return nil
}

// mender is the second half of a repair: the account is open.
type mender struct {
	*repair
	account *account
	files   contents
	bad     map[uint32]bool   // contents that can't be read
	used    map[uint32]uint32 // how many messages have a content
	sizes   map[uint32]uint32
}

func (c *mender) count(b *box) {
	for i := range b.rows {
		c.used[b.rows[i].blob]++
		c.sizes[b.rows[i].blob] = b.rows[i].size
	}
}

// salvage fills mailboxes whose tables are lost with the contents that no other
// message has: by the records of their delivery. Contents that a rewrite or a copy
// took elsewhere have none and go into a mailbox of their own.
func (c *mender) salvage(lost []*box) {
	st := c.account.st
	boxes := map[uint32]*box{}
	for _, b := range lost {
		boxes[b.id] = b
		b.rows, b.flags, b.uidsNow, b.loaded = nil, flagTable{}, nil, true
		b.seed.spans, b.aside = nil, aside{}
		for _, reader := range b.readers {
			reader.spans = nil
		}
	}
	c.unapplied(boxes)
	var found *box
	for i := range st.blobs.list {
		blob := &st.blobs.list[i]
		if blob.refs == 0 || c.used[blob.id] > 0 {
			continue
		}
		rec := c.record(blob)
		if rec == nil {
			continue
		}
		b := boxes[rec.box]
		n := 0
		if b != nil {
			n = len(b.rows)
		}
		if b == nil || n > 0 && b.rows[n-1].uid >= rec.uid || rec.uid >= b.uidNext {
			if found == nil {
				found = c.foundBox()
			}
			b = found
			rec.uid = b.uidNext
			b.uidNext++
			b.nextUID = b.uidNext
		}
		row := row{uid: rec.uid, modseq: st.modseq, date: rec.date, size: rec.size, blob: blob.id, saved: rec.saved}
		row.flags = b.flags.intern(rec.flags) << 1
		if rec.seen && rec.reader == "" {
			row.flags |= rowSeen
		}
		b.rows = append(b.rows, row)
		c.used[blob.id]++
		c.sizes[blob.id] = row.size
	}
	for _, b := range lost {
		c.say("mailbox %q: %d messages were found in the log", b.name, len(b.rows))
	}
}

// unapplied finds messages that came since the last fold into mailboxes whose
// tables are lost: a replay could not apply them.
func (c *mender) unapplied(lost map[uint32]*box) {
	a := c.account
	for _, s := range a.man.Segments[a.man.covered():] {
		name, err := parseFileName(s.Name)
		if err != nil {
			continue
		}
		r, err := c.files.segment(name.seq)
		if err != nil {
			continue // nothing is written yet
		}
		found, err := r.scan(headerLen)
		if err != nil {
			continue
		}
		for _, txn := range found.txns {
			for _, rec := range txn.records {
				m, is := rec.rec.(*recMessage)
				if !is || lost[m.box] == nil || a.st.blobs.find(m.blob) != nil {
					continue
				}
				a.st.blobs.insert(blob{id: m.blob, seg: name.seq, off: uint32(rec.off / recordAlign), refs: 1})
				a.st.nextBlob = max(a.st.nextBlob, m.blob+1)
			}
		}
	}
	a.next.blob = max(a.next.blob, a.st.nextBlob)
	for _, b := range lost {
		for i := range a.st.blobs.list {
			if rec := c.record(&a.st.blobs.list[i]); rec != nil && rec.box == b.id && rec.uid >= b.uidNext {
				b.uidNext = rec.uid + 1
			}
		}
		b.nextUID = b.uidNext
	}
}

// insert puts a blob in its place.
func (m *blobMap) insert(b blob) {
	i, _ := slices.BinarySearchFunc(m.list, b.id, func(b blob, id uint32) int { return cmp.Compare(b.id, id) })
	m.list = slices.Insert(m.list, i, b)
}

// record is what the log says of a content, or nil.
func (c *mender) record(blob *blob) *recMessage {
	r, err := c.files.segment(blob.seg)
	if err != nil {
		return nil
	}
	f, head, err := c.files.record(r, blob.place().off)
	if err != nil {
		return nil
	}
	rec, err := decodeRecord(f.kind, head)
	if err != nil {
		return nil
	}
	switch m := rec.(type) {
	case *recMessage:
		return m
	case *recBlob:
		now := c.account.store.now()
		return &recMessage{blob: m.blob, size: m.size, date: packTime(now), saved: uint32(max(now.Unix(), 0))}
	}
	return nil
}

// foundBox makes the mailbox of messages without one.
func (c *mender) foundBox() *box {
	st, a := c.account.st, c.account
	name := foundName
	for n := 2; st.names[name] != nil; n++ {
		name = fmt.Sprintf("%s %d", foundName, n)
	}
	b := newBox(st.nextBox, name)
	st.nextBox++
	st.lastValidity = max(st.lastValidity+1, uint32(max(a.store.now().Unix(), 0)))
	b.uidValidity, b.objectID, b.loaded = st.lastValidity, newObjectID(), true
	a.next.box, a.next.validity = st.nextBox, max(a.next.validity, st.lastValidity)
	st.boxes[b.id], st.names[b.name] = b, b
	st.shareVersion++
	st.sorted.Store(nil)
	c.say("mailbox %q has messages of which nobody knows where they were", name)
	return b
}

// verify reads every content, and takes the messages away whose content is damaged.
func (c *mender) verify() error {
	a := c.account
	for _, id := range slices.Sorted(maps.Keys(c.used)) {
		blob := a.st.blobs.find(id)
		if blob == nil {
			c.bad[id] = true
			continue
		}
		err := c.files.verify(blob.place(), c.sizes[id])
		switch {
		case err == nil:
		case errors.Is(err, errNewer):
			return err
		case errors.Is(err, errDamaged), errors.Is(err, errFormat), errors.Is(err, fs.ErrNotExist), imap.CodeOf(err) == imap.CodeCorruption:
			c.bad[id] = true
			if name, known := a.segs[blob.seg]; known {
				if err := c.keep(name.String()); err != nil {
					return err
				}
			}
		default:
			return err
		}
	}
	for _, id := range slices.Sorted(maps.Keys(a.st.boxes)) {
		b := a.st.boxes[id]
		b.rows = slices.DeleteFunc(b.rows, func(r row) bool {
			if c.bad[r.blob] {
				c.say("mailbox %q: UID %d is taken away, its content is damaged or missing", b.name, r.uid)
			}
			return c.bad[r.blob]
		})
		b.uidsNow = nil
	}
	for i := range a.st.kept {
		g := &a.st.kept[i]
		g.rows = slices.DeleteFunc(g.rows, func(r keptRow) bool { return c.bad[r.blob] })
	}
	a.st.kept = slices.DeleteFunc(a.st.kept, func(g keptGroup) bool { return len(g.rows) == 0 })
	return nil
}

// recount counts everything anew.
func (c *mender) recount() {
	st := c.account.st
	c.account.next.modseq++ // less than is reserved: a new block was, when it was opened
	st.modseq = c.account.next.modseq
	st.floor = st.modseq
	clear(c.used)
	for _, b := range st.boxes {
		c.count(b)
		b.recount(st)
	}
	for i := range st.kept {
		for _, k := range st.kept[i].rows {
			c.used[k.blob]++
		}
	}
	st.live, st.blobs.dead = map[uint32]uint64{}, 0
	for i := range st.blobs.list {
		blob := &st.blobs.list[i]
		blob.refs = c.used[blob.id]
		if blob.refs == 0 {
			st.blobs.dead++
			continue
		}
		st.live[blob.seg] += uint64(c.sizes[blob.id])
	}
}

// recount sets b's counters to what its rows say.
func (b *box) recount(st *state) {
	b.messages, b.unseen, b.sums = uint32(len(b.rows)), 0, sums{}
	for i := range b.rows {
		r := &b.rows[i]
		b.sums.add(r, b.flags.deleted(r.flags))
		if r.flags&rowSeen == 0 {
			b.unseen++
		}
		b.shared, b.sharedSeen = max(b.shared, r.modseq), max(b.sharedSeen, r.seenMod)
	}
	b.countOwn()
	b.expunged = history{floor: st.modseq} // what was taken away is in no history
	b.dirty = true
}
