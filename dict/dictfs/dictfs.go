// Package dictfs keeps a dictionary in a directory, one file for each key, as
// Dovecot's "fs:posix:prefix=" dict does; both may use the directory at once.
// Dovecot can't iterate it recursively, which sharing needs; this package does.
//
// A file is replaced by renaming. A commit of several changes is first written to
// a journal, .roost-journal, which whoever comes next after a crash completes: to
// this package a commit happens whole or not at all, while Dovecot may see parts
// of it. Writers hold an exclusive flock(2) of .roost-lock, listings a shared one;
// a single key is read without a lock. The file also counts commits.
//
// Because a name can't be a file and a directory, a key can't be below another:
// setting both is dict.ErrInvalid, as are keys with an empty part.
//
// A site with many keys has many small files: each listing reads them all.
package dictfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/roost-mail/roost/dict"
)

// Options say how a directory is used.
type Options struct {
	// Mode is the permissions of new files; directories are searchable beside.
	// 0 means those that the directory has, if it exists, else 0600.
	Mode    uint32
	Timeout time.Duration // of a call, waits for locks included; 0 means 10 s
}

// Open returns a handle on the dictionary in dir, which is absolute. It need not
// exist: the first commit makes it. The Dict is a dict.Versioner, which does not
// notice what other programs change.
func Open(dir string, opt Options) dict.Dict {
	return dict.New(&driver{dir: dir, opt: opt}, dict.Options{Name: "in " + dir, Timeout: opt.Timeout})
}

type driver struct {
	dir   string
	opt   Options
	fault func(step string) error // set by tests only: the error of a step of a commit
}

var (
	_ dict.Driver    = (*driver)(nil)
	_ dict.Versioner = (*driver)(nil)
)

// Close implements dict.Driver.
func (d *driver) Close() error { return nil }

func (d *driver) at(name string) string { return d.dir + "/" + name }

// Get implements dict.Driver.
func (d *driver) Get(ctx context.Context, key string) (string, bool, error) {
	if err := d.settle(ctx); err != nil {
		return "", false, err
	}
	return d.get(key)
}

func (d *driver) get(key string) (string, bool, error) {
	p, err := path(key)
	if err != nil {
		return "", false, nil // it can't be set either
	}
	return read(d.at(p))
}

// read returns what a file holds, and whether there is one.
func read(name string) (string, bool, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0) // not to wait at a pipe
	if isMissing(err) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() {
		return "", false, err
	}
	text, err := io.ReadAll(io.LimitReader(f, dict.MaxListing+1))
	if err == nil && len(text) > dict.MaxListing {
		err = fmt.Errorf("%s: more than %d bytes", name, dict.MaxListing)
	}
	return string(text), err == nil, err
}

// isMissing says that there is no such file; a directory that would hold it may
// be a file.
func isMissing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ENAMETOOLONG)
}

// List implements dict.Driver.
func (d *driver) List(ctx context.Context, prefix string, add func(key, value string) error) error {
	if err := d.settle(ctx); err != nil {
		return err
	}
	unlock, err := d.lock(ctx, unix.LOCK_SH)
	if err != nil {
		return err
	}
	defer unlock()
	dir := d.dir
	if below := strings.TrimSuffix(prefix, "/") + "/"; below != dict.Root {
		p, err := path(strings.TrimSuffix(below, "/"))
		if err != nil {
			return nil // nothing can be there
		}
		dir = d.at(p)
	}
	return walk(ctx, dir, prefix, add)
}

// walk lists a directory whose keys begin with prefix.
func walk(ctx context.Context, dir, prefix string, add func(key, value string) error) error {
	list, err := os.ReadDir(dir)
	if isMissing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range list {
		if err := ctx.Err(); err != nil {
			return err
		}
		if isHidden(e.Name()) {
			continue
		}
		part, whole := extend(e.Name())
		key, name := prefix+part, dir+"/"+e.Name()
		if e.IsDir() {
			if whole {
				key += "/"
			}
			if err := walk(ctx, name, key, add); err != nil {
				return err
			}
			continue
		}
		value, ok, err := read(name)
		if err == nil && ok && whole {
			err = add(key, value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Version implements dict.Versioner: the number of commits.
func (d *driver) Version(ctx context.Context) (string, error) {
	if err := d.settle(ctx); err != nil {
		return "", err
	}
	text, _, err := read(d.at(lockName))
	return text, err
}

// lock takes the directory's lock, shared or exclusive. Without a directory there
// is nothing to lock for readers.
func (d *driver) lock(ctx context.Context, how int) (unlock func(), err error) {
	f, err := d.openLock(how)
	if err != nil {
		return nil, err
	}
	if f == nil {
		return func() {}, nil
	}
	for {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			_ = f.Close()
			return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		select {
		case <-time.After(lockPause):
		case <-ctx.Done():
			_ = f.Close()
			return nil, fmt.Errorf("%s is locked by others: %w", f.Name(), context.Cause(ctx))
		}
	}
}

const lockPause = 3 * time.Millisecond

func (d *driver) openLock(how int) (*os.File, error) {
	if how == unix.LOCK_SH {
		f, err := os.Open(d.at(lockName))
		if isMissing(err) {
			return nil, nil
		}
		return f, err
	}
	if err := d.mkdir(d.dir); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(d.at(lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if st, err := f.Stat(); err == nil && st.Size() == 0 {
		err = d.own(f)
		return f, err
	}
	return f, nil
}
