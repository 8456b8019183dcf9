package dictfile

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/roost-mail/roost/dict"
)

// Commit implements dict.Dict. If the file already says what is wanted it is
// not locked and not written.
//
// The file is replaced in one step, synced before and its directory after. A
// commit is visible to others from the rename on; if syncing the directory then
// fails the error says so, and only a crash of the machine can still undo it.
func (d *Dict) Commit(ctx context.Context, changes []dict.Change, conditions ...dict.Condition) error {
	if err := dict.CheckCommit(changes, conditions); err != nil {
		return err
	}
	s, err := d.load(ctx)
	if err != nil {
		return err
	}
	if _, changed, err := s.table.Apply(changes, conditions); err != nil || !changed {
		return err
	}
	if err := d.take(ctx, d.writing); err != nil {
		return err
	}
	defer d.writing.give()
	next, err := d.prepare(ctx)
	if err != nil {
		return fmt.Errorf("dictionary file: %w", err)
	}
	defer next.close()
	return d.replace(ctx, next, changes, conditions)
}

// replace writes the changed contents and installs them. The caller has the
// turn to write, and next the lock of the file.
func (d *Dict) replace(ctx context.Context, next *successor, changes []dict.Change, conditions []dict.Condition) error {
	s, err := d.load(ctx)
	if err != nil {
		return err
	}
	c := s.contents
	table, changed, err := c.table.Apply(changes, conditions)
	if err != nil || !changed {
		return err
	}
	c.table = table
	if n := c.size(); n > d.limit {
		return fmt.Errorf("dictionary file %s: %d bytes would be more than the limit of %d", d.path, n, d.limit)
	}
	if err := d.write(next, c); err != nil {
		return fmt.Errorf("dictionary file %s: %w", d.path, err)
	}
	return d.install(next, c)
}

// write fills the next version and brings it to the disk.
func (d *Dict) write(next *successor, c contents) error {
	steps := []struct {
		name string
		run  func() error
	}{
		{"access", func() error { return inheritAccess(next.file, next.target) }},
		{"write", func() error { return c.write(next.file) }},
		{"sync", next.file.Sync},
		{"confirm", next.confirm},
	}
	for _, step := range steps {
		if err := d.failure(step.name); err != nil {
			return err
		}
		if err := step.run(); err != nil {
			return err
		}
	}
	return nil
}

// install puts the next version in the file's place and makes it our current
// state, so that our own commit need not be read again.
func (d *Dict) install(next *successor, c contents) error {
	file := next.file
	if err := os.Rename(file.Name(), next.target); err != nil {
		return fmt.Errorf("dictionary file: %w", err)
	}
	next.file = nil
	// It is the dictionary now, and others may lock it. Where confirm could not
	// lock, for lack of such locks, there is nothing to unlock either.
	_ = unix.Flock(int(file.Fd()), unix.LOCK_UN)
	d.reading <- struct{}{} // only short reads are before us; from here there is no way back
	defer d.reading.give()
	st, err := file.Stat()
	if err != nil {
		file.Close()
		return fmt.Errorf("dictionary file: %w", err)
	}
	d.store(file, idOf(st), c)
	return d.syncDir(filepath.Dir(next.target))
}

func (d *Dict) syncDir(name string) error {
	if err := d.failure("directory"); err != nil {
		return err
	}
	dir, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("dictionary file: %w", err)
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("sync directory of dictionary file: %w", err)
	}
	return nil
}

func (d *Dict) failure(step string) error {
	if d.fault == nil {
		return nil
	}
	return d.fault(step)
}
