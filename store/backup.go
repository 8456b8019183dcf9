package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// BackupReport is what a backup did.
type BackupReport struct {
	User     string `json:"user"`
	Manifest uint64 `json:"manifest"` // the number of the one that was copied
	Files    int    `json:"files"`    // that the backup consists of
	Bytes    int64  `json:"bytes"`
	Copied   int    `json:"copied"` // files, this time
	Sent     int64  `json:"sent"`   // bytes, this time
}

// Backup copies the account in dir to the directory to, which is made, or holds
// an earlier backup of the same account: then only what is new is copied. The
// account may be in use meanwhile; it loses what was written in the last moment. The
// copy is an account that Check and Restore read, and always whole: the last step
// is to replace its manifest. A cancelled ctx ends it early.
func Backup(ctx context.Context, dir, to string) (BackupReport, error) {
	return backUp(ctx, OS{}, dir, to)
}

func backUp(ctx context.Context, fsys FS, dir, to string) (r BackupReport, err error) {
	b := &backup{ctx: ctx, from: disk{fs: fsys, dir: dir, pins: &pins{}}, to: to, block: make([]byte, copyBlock)}
	end, err := b.register()
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, end()) }()
	m, err := b.from.newestManifest()
	switch {
	case err != nil:
		return r, err
	case m == nil:
		return r, fmt.Errorf("%s %w", dir, errNoAccount)
	}
	b.report.User, b.report.Manifest = m.User, m.Number
	if err := b.prepare(m); err != nil {
		return b.report, err
	}
	if err := b.copyAll(m); err != nil {
		return b.report, err
	}
	return b.report, b.finish(m)
}

// backup is one on its way.
type backup struct {
	ctx     context.Context
	from    disk
	to      string
	renew   func() error // the registration, now and then
	renewed time.Time
	block   []byte
	report  BackupReport
}

// backupRenew is how often a registration is renewed.
const backupRenew = backupAge / 6

// register has sweeps leave the account alone until end is called, or backupAge
// after the last renewal. A snapshot that can't be written to needs none.
func (b *backup) register() (end func() error, err error) {
	b.renew = func() error { return nil }
	name := b.from.path(fmt.Sprintf("%s%016x", backupPrefix, randomUint64()))
	f, err := b.from.fs.Create(name)
	if errors.Is(err, unix.EROFS) {
		return b.renew, nil
	}
	if err != nil {
		return nil, fmt.Errorf("register the backup: %w", err)
	}
	b.renew = func() error { return writeAll(f, []byte("a backup is being made\n"), 0) }
	end = func() error { return errors.Join(f.Close(), b.from.fs.Remove(name)) }
	if err := b.renew(); err != nil && !isFull(err) { // then the time of its making counts
		return nil, errors.Join(err, end())
	}
	b.renewed = time.Now()
	return end, nil
}

// prepare makes the directory, and refuses one that holds something else.
func (b *backup) prepare(m *manifest) error {
	if err := (OS{}).Mkdir(b.to); err != nil {
		return err
	}
	target := disk{fs: OS{}, dir: b.to}
	old, err := target.newestManifest()
	switch {
	case errors.Is(err, errNoManifest): // an earlier backup was broken off
		return nil
	case err != nil || old == nil:
		return err
	case old.Account != m.Account:
		return fmt.Errorf("%s holds a backup of another account, of %q: it is not overwritten", b.to, old.User)
	case old.Number > m.Number:
		return fmt.Errorf("%s holds a later backup of %q than the mail that is there now: it is not overwritten", b.to, old.User)
	}
	return nil
}

func (b *backup) entries() (names []string, err error) {
	list, err := os.ReadDir(b.to)
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names, err
}

// copyAll copies what m lists, and changes m to say what was copied.
func (b *backup) copyAll(m *manifest) error {
	var segments []segmentEntry
	for _, s := range m.Segments {
		if s.Open {
			sealed, err := b.durable(m, s)
			if err != nil {
				return err
			}
			if sealed <= headerLen {
				continue
			}
			s = segmentEntry{Name: s.Name, Sealed: sealed}
		}
		segments = append(segments, s)
		if err := b.copy(s.Name, s.Sealed); err != nil {
			return err
		}
	}
	m.Segments = segments
	for _, name := range m.Tables {
		if err := b.copy(name, -1); err != nil {
			return err
		}
	}
	var digests []digestEntry
	for _, d := range m.Digests { // copies of what the log has: they may be missing
		switch err := b.copy(d.Name, -1); {
		case err == nil:
			digests = append(digests, d)
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
	}
	m.Digests = digests
	return nil
}

// durable is how much of an open segment is known to be synced. What follows may
// be lost in a power loss, and then be written differently.
func (b *backup) durable(m *manifest, s segmentEntry) (int64, error) {
	name, err := parseFileName(s.Name)
	if err != nil {
		return 0, err
	}
	id, err := parseObjectID(m.Account)
	if err != nil {
		return 0, err
	}
	known := s.Begun
	if name.seq == m.Replay.Seq {
		known = max(known, m.Replay.Off)
	}
	r, err := b.from.openSegment(id, name, 0)
	if known <= headerLen && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, errDamaged)) {
		return 0, nil // nothing is written yet
	}
	if err != nil {
		return 0, err
	}
	defer r.file.Close() //nolint:errcheck // only read
	found, err := r.scan(headerLen)
	if err != nil {
		return 0, err
	}
	return max(known, found.durable()), nil
}

// copy copies the first size bytes of a file, or all for -1, unless they are there. A file
// never changes but at its end.
func (b *backup) copy(name string, size int64) error {
	f, err := b.from.fs.Open(b.from.path(name))
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read
	if size < 0 {
		if size, err = f.Size(); err != nil {
			return err
		}
	}
	b.report.Files++
	b.report.Bytes += size
	target := filepath.Join(b.to, name)
	if info, err := os.Stat(target); err == nil && info.Size() == size {
		return nil
	}
	b.report.Copied++
	b.report.Sent += size
	err = b.replace(target, func(w io.Writer) error {
		for off := int64(0); off < size; {
			if err := b.step(); err != nil {
				return err
			}
			block := b.block[:min(copyBlock, size-off)]
			if err := readFull(f, block, off); err != nil {
				return err
			}
			if _, err := w.Write(block); err != nil {
				return err
			}
			off += int64(len(block))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("copy %s: %w", name, err)
	}
	return nil
}

// step looks whether the backup is to end, and renews its registration.
func (b *backup) step() error {
	if now := time.Now(); now.Sub(b.renewed) > backupRenew {
		if err := b.renew(); err != nil && !isFull(err) {
			return err
		}
		b.renewed = now
	}
	return b.ctx.Err()
}

// replace writes a file under another name, syncs it, and gives it its name.
func (b *backup) replace(target string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(b.to, tempPrefix)
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), target)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// finish makes m the manifest of the backup, and removes what it does not list.
// It names no holder: any backend may restore it.
func (b *backup) finish(m *manifest) error {
	m.Holder = ""
	text, err := m.encode()
	if err != nil {
		return err
	}
	d := OS{}
	if err := d.SyncDir(b.to); err != nil {
		return err
	}
	name := manifestName(m.Number)
	err = b.replace(filepath.Join(b.to, name), func(w io.Writer) error { _, err := w.Write(text); return err })
	if err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	if err := d.SyncDir(b.to); err != nil {
		return err
	}
	listed := map[string]bool{name: true}
	m.addListed(listed)
	names, err := b.entries()
	if err != nil {
		return err
	}
	for _, name := range names {
		_, err := parseFileName(name)
		if _, is := parseManifestName(name); (is || err == nil) && !listed[name] {
			if err := os.Remove(filepath.Join(b.to, name)); err != nil {
				return err
			}
		}
	}
	return nil
}
