package dictfile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// staleAge is the age at which a dotlock counts as left behind. Dovecot's is
// the same; a healthy writer needs milliseconds.
const staleAge = 60 * time.Second

// successor is the right to replace a file, and the file that will replace it.
// It belongs to one goroutine.
type successor struct {
	target string     // no symbolic link
	file   *os.File   // the next version; nil once it is installed
	locks  []*os.File // held until close
}

// prepare waits for the lock of the file and creates its next version, empty
// and private. The caller closes the successor.
func (d *Dict) prepare(ctx context.Context) (*successor, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, d.opt.LockWait, ErrLocked)
	defer cancel()
	if d.opt.Lock == LockDotlock {
		return d.prepareDotlock(ctx)
	}
	return d.prepareKernel(ctx)
}

// prepareDotlock locks the name we were given, as Dovecot would. If that is a
// symbolic link the file it leads to is locked as well, for those who use it
// under its own name.
func (d *Dict) prepareDotlock(ctx context.Context) (*successor, error) {
	s := &successor{}
	file, err := d.dotlock(ctx, d.path)
	if err != nil {
		return nil, err
	}
	s.file = file
	if s.target, err = resolve(d.path); err == nil && s.target != d.path {
		s.locks = append(s.locks, file)
		s.file, err = d.dotlock(ctx, s.target)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// dotlock creates the lock file of path, waiting for others'.
func (d *Dict) dotlock(ctx context.Context, path string) (*os.File, error) {
	name := path + ".lock"
	for try := 0; ; try++ {
		f, err := create(name)
		if !errors.Is(err, fs.ErrExist) {
			return f, err
		}
		broken, err := d.breakStale(name)
		if err != nil {
			return nil, err
		}
		if !broken {
			if err := d.pause(ctx, try); err != nil {
				return nil, fmt.Errorf("lock %s: %w", name, err)
			}
		}
	}
}

// breakStale removes the lock file called name if its owner must be gone, and
// tells whether it is worth trying again at once. Of several breakers only the
// one with the kernel's lock on the lock file removes it: otherwise the slower
// one might remove the faster one's new lock.
func (d *Dict) breakStale(name string) (bool, error) {
	st, err := os.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // just released
	}
	if err != nil || !st.Mode().IsRegular() || age(st) < staleAge {
		return false, err
	}
	f, err := os.OpenFile(name, os.O_RDWR|unix.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // another has broken it, and what is there next is a new lock
	}
	if err == nil {
		defer f.Close()
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == unix.EWOULDBLOCK {
			return false, nil
		}
		st, err = f.Stat()
		if err != nil || !isNamed(f, name) || age(st) < staleAge {
			return false, err
		}
	}
	d.opt.Logger.Warn("breaking a lock that was left behind", "lock", name, "age", age(st).Round(time.Second))
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	return true, nil
}

// age is the time since the file was written. A time in the future is a wrong
// clock or a trick; then the time of the last change of the inode counts.
func age(st fs.FileInfo) time.Duration {
	if a := time.Since(st.ModTime()); a >= 0 {
		return a
	}
	return time.Duration(time.Now().UnixNano() - idOf(st).ctime)
}

// prepareKernel locks the file itself, which therefore has to exist.
func (d *Dict) prepareKernel(ctx context.Context) (*successor, error) {
	for try := 0; ; {
		if err := d.waited(ctx); err != nil {
			return nil, fmt.Errorf("lock %s: %w", d.path, err)
		}
		target, err := resolve(d.path)
		if err != nil {
			return nil, err
		}
		f, err := openOrCreate(target)
		if err != nil {
			return nil, err
		}
		switch locked, err := d.kernelLock(f); {
		case err != nil:
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", target, err)
		case locked && isNamed(f, target):
			return d.prepareTemporary(target, f)
		case locked:
			f.Close() // replaced while we waited: lock the new one
			continue
		}
		f.Close()
		if err := d.pause(ctx, try); err != nil {
			return nil, fmt.Errorf("lock %s: %w", d.path, err)
		}
		try++
	}
}

// prepareTemporary creates the next version beside target. What is there under
// that name is left from a crash, for we have the lock.
func (d *Dict) prepareTemporary(target string, lock *os.File) (*successor, error) {
	s := &successor{target: target, locks: []*os.File{lock}}
	name := target + ".tmp"
	err := os.Remove(name)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		s.file, err = create(name)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// kernelLock tries to lock f. Locks of fcntl belong to the open file here, not
// to the process, so that handles in one process exclude each other too.
func (d *Dict) kernelLock(f *os.File) (bool, error) {
	var err error
	if d.opt.Lock == LockFlock {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	} else {
		err = unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
	}
	if err == unix.EAGAIN || err == unix.EACCES {
		return false, nil
	}
	return err == nil, err
}

// pause waits before the next try for a lock: some milliseconds at first, a
// quarter of a second in the end, at random so that nobody keeps step.
func (d *Dict) pause(ctx context.Context, try int) error {
	limit := min(2*time.Millisecond<<min(try, 10), 250*time.Millisecond)
	timer := time.NewTimer(limit/2 + rand.N(limit/2))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-d.closed:
	case <-ctx.Done():
	}
	return d.waited(ctx)
}

// waited tells why waiting for a lock has to end, if it has to.
func (d *Dict) waited(ctx context.Context) error {
	if context.Cause(ctx) == ErrLocked {
		return ErrLocked
	}
	return d.usable(ctx)
}

// confirm makes sure that the next version is still under its name: a lock that
// was broken is no right to replace anything. From here to the rename nobody
// who breaks locks as we do can break this one.
//
// Who looks whether our lock is stale holds the kernel's lock for that moment,
// and may have meant a predecessor of ours: that is waited for, a second at the most.
func (s *successor) confirm() error {
	const tries, pause = 200, 5 * time.Millisecond
	err := unix.Flock(int(s.file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	for i := 0; err == unix.EWOULDBLOCK && i < tries; i++ {
		time.Sleep(pause)
		err = unix.Flock(int(s.file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if err == unix.EWOULDBLOCK || !isNamed(s.file, s.file.Name()) {
		return fmt.Errorf("lock %s was broken by another process", s.file.Name())
	}
	return nil
}

// close gives up the next version, unless it was installed, and then the locks
// in reverse order: each protects what was made after it.
func (s *successor) close() {
	if s.file != nil {
		s.locks = append(s.locks, s.file)
	}
	for _, f := range slices.Backward(s.locks) {
		if f.Name() != s.target && isNamed(f, f.Name()) {
			os.Remove(f.Name()) // what stays is found stale later
		}
		f.Close()
	}
}

// create makes an empty file that only we can read.
func create(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			return nil, err
		}
		f, err = os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	}
	return f, err
}

// openOrCreate opens a file, or makes an empty one with permissions as its
// directory suggests.
func openOrCreate(name string) (*os.File, error) {
	for {
		f, err := os.OpenFile(name, os.O_RDWR|unix.O_NONBLOCK, 0)
		if !errors.Is(err, fs.ErrNotExist) {
			return f, err
		}
		f, err = create(name)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if err := directoryAccess(f, name); err != nil {
			f.Close()
			return nil, err
		}
		return f, nil
	}
}

// isNamed tells whether name is a name of the open file.
func isNamed(f *os.File, name string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Lstat(name)
	return err == nil && os.SameFile(a, b)
}

// resolve follows symbolic links; the file need not exist.
func resolve(path string) (string, error) {
	for range 40 { // the kernel's own limit
		next, err := os.Readlink(path)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, fs.ErrNotExist) {
			return path, nil
		}
		if err != nil {
			return "", err
		}
		if !filepath.IsAbs(next) {
			next = filepath.Dir(path) + "/" + next // not Join: a/.. may lead elsewhere
		}
		path = next
	}
	return "", fmt.Errorf("%s: too many symbolic links", path)
}
