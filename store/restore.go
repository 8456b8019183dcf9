package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
)

// What a restored account skips, so that nothing is given out again that the lost
// one may have given out since the backup.
const (
	restoreUIDs    = 1 << 20
	restoreModSeqs = 1 << 40
)

// restoreHolder is the holder of an account that is being restored: no backend
// opens one that was left half-way.
const restoreHolder = "(restore)"

// Restore makes the backup in from the mail of user in dir, which must hold none.
// The account has a new id. With newValidity all mailboxes get new UIDVALIDITYs
// and ids, and clients load all anew; else UIDs and modification sequences go on far above
// those of the backup, and clients keep what they have. The backup stays as it is.
// Of o, FS, Log, Now and Volumes are used.
func Restore(ctx context.Context, o Options, from, user, dir string, newValidity bool) (err error) {
	s := New(Options{Holder: restoreHolder, FS: o.FS, Log: o.Log, Now: o.Now, Volumes: o.Volumes, Linger: -1})
	defer func() { err = errors.Join(err, s.Close()) }()
	source := disk{fs: s.options.FS, dir: from, pins: &pins{}}
	m, err := source.newestManifest()
	switch {
	case err != nil:
		return err
	case m == nil:
		return fmt.Errorf("%s holds no backup", from)
	}
	rec := &recRestored{from: m.User, to: user}
	if err := s.copyBack(&source, m, user, dir); err != nil {
		return err
	}
	account, err := s.Open(ctx, user, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, account.Close()) }()
	err = account.submit(ctx, &txn{durable: true, alone: true, build: func(b *builder) error {
		b.account.next.modseq += restoreModSeqs
		rec.modseq = b.modseq()
		rec.skip = restoreUIDs
		if newValidity {
			rec.skip, rec.validity, rec.salt = 0, b.validity(), newObjectID()
			b.account.next.validity += uint32(len(b.st.boxes))
		}
		b.add(rec)
		return nil
	}})
	if err != nil {
		// A clean close would let any backend open it.
		giveUp := func() error { account.breakDown(err); return nil }
		return errors.Join(err, account.submit(context.WithoutCancel(ctx), &txn{alone: true, run: giveUp}))
	}
	return account.fold(ctx)
}

// copyBack copies what m lists into dir, under a new account id, and installs a
// manifest there as the last step.
func (s *Store) copyBack(source *disk, m *manifest, user, dir string) (err error) {
	if _, err := s.checkVolumes(dir); err != nil {
		return err
	}
	target := disk{fs: s.options.FS, dir: dir}
	if err := target.fs.Mkdir(dir); err != nil {
		return err
	}
	lock, err := target.fs.Lock(target.dir)
	if err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if there, err := target.newestManifest(); err != nil || there != nil {
		return errors.Join(fmt.Errorf("there is mail in %s already: it is not overwritten", dir), err)
	}
	c := copier{source: source, target: &target, id: newObjectID(), block: make([]byte, copyBlock)}
	if err := c.all(m); err != nil {
		return errors.Join(err, c.undo())
	}
	m.Account, m.User, m.Holder = c.id.String(), user, restoreHolder
	m.Claimed = 0 // perhaps by a coordinator of long ago
	return target.installManifest(m)
}

// copier copies the files of an account to another one.
type copier struct {
	source, target *disk
	id             objectID // of the target
	block          []byte
	made           []string
}

func (c *copier) all(m *manifest) error {
	sealed := map[string]int64{}
	for _, s := range m.Segments {
		sealed[s.Name] = s.Sealed
	}
	listed := map[string]bool{}
	m.addListed(listed)
	for _, name := range slices.Sorted(maps.Keys(listed)) {
		if err := c.copy(name, sealed[name]); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return c.target.fs.SyncDir(c.target.dir)
}

// copy copies a file, size bytes of it or all for 0. Only its header changes.
func (c *copier) copy(name string, size int64) error {
	in, err := c.source.fs.Open(c.source.path(name))
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // only read
	if size == 0 {
		if size, err = in.Size(); err != nil {
			return err
		}
	}
	if size < headerLen {
		return errDamaged
	}
	out, err := c.target.fs.Create(c.target.path(name))
	if err != nil {
		return err
	}
	c.made = append(c.made, c.target.path(name))
	for off := int64(0); off < size && err == nil; {
		block := c.block[:min(copyBlock, size-off)]
		if err = readFull(in, block, off); err != nil {
			break
		}
		if off == 0 {
			c.claim(block)
		}
		err = writeAll(out, block, off)
		off += int64(len(block))
	}
	if err == nil {
		err = out.Sync()
	}
	return errors.Join(err, out.Close())
}

// claim puts the new account id into a file's header, if it is one.
func (c *copier) claim(block []byte) {
	header := block[:headerLen]
	if binary.LittleEndian.Uint32(header[60:]) != checksum(header[:60]) {
		return // damaged, and stays so
	}
	copy(header[16:], c.id[:])
	binary.LittleEndian.PutUint32(header[60:], checksum(header[:60]))
}

// undo removes what was copied.
func (c *copier) undo() error {
	var errs []error
	for _, path := range c.made {
		if err := c.target.fs.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// recRestored makes the account one that clients of the lost one can go on with.
type recRestored struct {
	modseq   uint64 // above all that was ever issued: all messages have it
	skip     uint32 // UIDs that are not given out
	validity uint32 // of the first mailbox, counted up for the others; 0: they stay
	salt     objectID
	from, to string // the owner's names
}

func (*recRestored) kind() recordType { return typeRestored }

func (r *recRestored) encode(e *encoder) {
	e.uint(r.modseq)
	e.uint(uint64(r.skip))
	e.uint(uint64(r.validity))
	e.id(r.salt)
	e.string(r.from)
	e.string(r.to)
}

func (r *recRestored) decode(d *decoder) {
	r.modseq = d.uint()
	r.skip, r.validity = d.uint32(), d.uint32()
	r.salt = d.id()
	r.from, r.to = d.string(), d.string()
}

func (r *recRestored) apply(s *state, _ place) error {
	var errs []error
	for i, id := range slices.Sorted(maps.Keys(s.boxes)) {
		b, err := s.open(id)
		if err != nil { // a damaged mailbox stays so
			errs = append(errs, err)
			b = s.boxes[id]
		}
		b.restored(r)
		if r.validity > 0 {
			b.uidValidity = r.validity + uint32(i)
			s.lastValidity = max(s.lastValidity, b.uidValidity)
		}
	}
	s.modseq, s.floor = max(s.modseq, r.modseq), max(s.floor, r.modseq)
	if subs := s.subs[r.from]; subs != nil && r.from != r.to {
		s.subs[r.to] = subs
		delete(s.subs, r.from)
	}
	s.shareVersion++
	return errors.Join(errs...)
}

// restored has each message count as changed, all that is not there as expunged,
// and new messages get UIDs that nobody has seen.
func (b *box) restored(r *recRestored) {
	for i := range b.rows {
		b.rows[i].modseq, b.rows[i].seenMod = r.modseq, r.modseq
	}
	for i := range b.seed.spans {
		b.seed.spans[i].modseq = r.modseq
	}
	b.seed.highest = r.modseq
	for _, reader := range b.readers {
		for i := range reader.spans {
			reader.spans[i].modseq = r.modseq
		}
		reader.highest = r.modseq
	}
	b.shared, b.sharedSeen = r.modseq, r.modseq
	b.expunged = history{floor: r.modseq}
	b.uidNext = uint32(min(uint64(b.uidNext)+uint64(r.skip), 1<<32-2))
	b.nextUID = b.uidNext
	for i := range b.objectID {
		b.objectID[i] ^= r.salt[i]
	}
	b.dirty = b.loaded
}
