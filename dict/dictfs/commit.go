package dictfs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/roost-mail/roost/dict"
)

// Commit implements dict.Driver.
func (d *driver) Commit(ctx context.Context, changes []dict.Change, conditions []dict.Condition) error {
	unlock, err := d.lock(ctx, unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer unlock()
	if err := d.recover(); err != nil {
		return err
	}
	for _, c := range conditions {
		value, ok, err := d.get(c.Key)
		if err != nil {
			return err
		}
		if ok == c.Missing || ok && value != c.Value {
			return fmt.Errorf("%w: key %q", dict.ErrConflict, c.Key)
		}
	}
	changes, err = d.effective(changes)
	if err != nil || len(changes) == 0 {
		return err
	}
	if err := d.possible(changes); err != nil {
		return err
	}
	if len(changes) == 1 {
		return errors.Join(d.apply(changes, true), d.count())
	}
	text, err := encode(changes)
	if err != nil {
		return err
	}
	if err := d.write(d.at(journalName), text, true); err != nil {
		return err
	}
	return d.recover()
}

// effective are the changes that do something.
func (d *driver) effective(changes []dict.Change) ([]dict.Change, error) {
	var some []dict.Change
	for _, c := range changes {
		value, ok, err := d.get(c.Key)
		if err != nil {
			return nil, err
		}
		if ok == c.Unset || ok && value != c.Value {
			some = append(some, c)
		}
	}
	return some, nil
}

// possible says whether the names of new keys can be files.
func (d *driver) possible(changes []dict.Change) error {
	files, gone := map[string]bool{}, map[string]bool{}
	for _, c := range changes {
		p, err := path(c.Key)
		if err != nil {
			return err
		}
		files[p], gone[p] = !c.Unset, c.Unset
	}
	for p, set := range files {
		if !set {
			continue
		}
		if st, err := os.Stat(d.at(p)); err == nil && st.IsDir() {
			return fmt.Errorf("%w: there are keys below %q", dict.ErrInvalid, p)
		}
		for dir := filepath.Dir(p); dir != "."; dir = filepath.Dir(dir) {
			st, err := os.Stat(d.at(dir))
			if files[dir] || err == nil && !st.IsDir() && !gone[dir] {
				return fmt.Errorf("%w: %q would be below the key %q", dict.ErrInvalid, p, dir)
			}
		}
	}
	return nil
}

// encode makes a journal of changes, decode the reverse.
func encode(changes []dict.Change) (string, error) {
	text, err := json.Marshal(changes)
	return string(text), err
}

func decode(text string) ([]dict.Change, error) {
	var changes []dict.Change
	if err := json.Unmarshal([]byte(text), &changes); err != nil {
		return nil, err
	}
	return changes, dict.CheckCommit(changes, nil)
}

// settle completes what a crash left half done, if there is anything.
func (d *driver) settle(ctx context.Context) error {
	if _, err := os.Lstat(d.at(journalName)); err != nil {
		return nil // whatever is wrong shows when keys are read
	}
	unlock, err := d.lock(ctx, unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer unlock()
	return d.recover()
}

// recover makes the changes in the journal, which may have been made before. It is
// called with the lock held.
func (d *driver) recover() error {
	text, ok, err := read(d.at(journalName))
	if err != nil || !ok {
		return err
	}
	changes, err := decode(text)
	if err != nil {
		return fmt.Errorf("%s: %w", d.at(journalName), err)
	}
	if err := d.apply(changes, false); err != nil {
		return err
	}
	if err := d.syncAll(); err != nil {
		return err
	}
	if err := d.count(); err != nil {
		return err
	}
	return os.Remove(d.at(journalName))
}

// apply makes changes, those that make room first.
func (d *driver) apply(changes []dict.Change, sync bool) error {
	for _, unset := range []bool{true, false} {
		for _, c := range changes {
			if c.Unset != unset {
				continue
			}
			p, err := path(c.Key)
			if err != nil {
				return err
			}
			if err := d.failure("apply"); err != nil {
				return err
			}
			if unset {
				err = d.remove(d.at(p))
			} else {
				err = d.write(d.at(p), c.Value, sync)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// remove removes a file, and the directories that are empty then.
func (d *driver) remove(name string) error {
	if err := os.Remove(name); err != nil && !isMissing(err) {
		return err
	}
	for dir := filepath.Dir(name); len(dir) > len(d.dir); dir = filepath.Dir(dir) {
		if unix.Rmdir(dir) != nil {
			return nil // there are others in it
		}
	}
	return nil
}

// tries is how often a directory is made that Dovecot removes because it is empty.
const tries = 5

// write puts a file in the place of another.
func (d *driver) write(name, text string, sync bool) error {
	f, err := os.CreateTemp(d.dir, ownNames+"new-")
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // an error shows before it counts
	_, err = f.WriteString(text)
	if err == nil {
		err = d.own(f)
	}
	if err == nil && sync {
		err = f.Sync()
	}
	for range tries {
		if err != nil {
			break
		}
		if err = d.mkdir(filepath.Dir(name)); err != nil {
			break
		}
		if err = os.Rename(f.Name(), name); err == nil && sync {
			return syncDir(filepath.Dir(name))
		}
		if !errors.Is(err, os.ErrNotExist) {
			break
		}
		err = nil
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// mkdir makes a directory and those above it.
func (d *driver) mkdir(dir string) error {
	if st, err := os.Stat(dir); err == nil && st.IsDir() {
		return nil
	}
	if len(dir) > len(d.dir) {
		if err := d.mkdir(filepath.Dir(dir)); err != nil {
			return err
		}
	} else if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	return d.own(f)
}

// own gives a file or directory, which is new and private, the permissions it is
// to have, and if we are root the owner of the directory of it all.
func (d *driver) own(f *os.File) error {
	var top, st unix.Stat_t
	if err := errors.Join(unix.Stat(d.dir, &top), unix.Fstat(int(f.Fd()), &st)); err != nil {
		return err
	}
	if os.Geteuid() == 0 && (top.Uid != st.Uid || top.Gid != st.Gid) {
		if err := f.Chown(int(top.Uid), int(top.Gid)); err != nil {
			return err
		}
	}
	mode := d.opt.Mode
	if mode == 0 {
		mode = 0o600 | top.Mode&0o066
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		mode |= mode & 0o444 >> 2
		mode |= top.Mode & unix.S_ISGID
		return unix.Fchmod(int(f.Fd()), mode)
	}
	return unix.Fchmod(int(f.Fd()), mode)
}

// count counts a commit.
func (d *driver) count() error {
	text, _, err := read(d.at(lockName))
	if err != nil {
		return err
	}
	n, _ := strconv.ParseUint(strings.TrimSpace(text), 10, 64)
	f, err := os.OpenFile(d.at(lockName), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(strconv.FormatUint(n+1, 10)) // it never gets shorter
	return errors.Join(err, f.Close())
}

// syncAll brings all that was written to the disk.
func (d *driver) syncAll() error {
	if err := d.failure("sync"); err != nil {
		return err
	}
	f, err := os.Open(d.dir)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	return unix.Syncfs(int(f.Fd()))
}

func syncDir(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	return f.Sync()
}

func (d *driver) failure(step string) error {
	if d.fault == nil {
		return nil
	}
	return d.fault(step)
}
