package store

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// FS is all that the store asks of a file system. Tests put one in its place
// that fails, tears writes and forgets what was not synced.
type FS interface {
	// Create makes a new file for reading and writing; it fails if the name is taken.
	Create(name string) (File, error)
	// Reopen opens a file that this process created for reading and writing.
	Reopen(name string) (File, error)
	// Open opens a file for reading.
	Open(name string) (File, error)
	// Temp makes a nameless file in dir that goes away when it is closed.
	Temp(dir string) (File, error)
	// Link gives a file a second name; it fails with fs.ErrExist if that is taken.
	Link(from, to string) error
	Remove(name string) error
	// SyncDir makes the names in dir durable.
	SyncDir(dir string) error
	// Mkdir makes a directory and what is missing above it, all durable.
	Mkdir(dir string) error
	// List returns the names in dir.
	List(dir string) ([]fs.DirEntry, error)
	// Free is how many bytes may still be written in dir.
	Free(dir string) (int64, error)
	// Reserve makes a new file that takes up size bytes of the disk, or none.
	Reserve(name string, size int64) error
	// Lock takes the advisory lock of a directory, or fails with ErrInUse.
	Lock(dir string) (io.Closer, error)
}

// File is an open file.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Sync makes data and size durable.
	Sync() error
	Size() (int64, error)
}

// ErrInUse is the cause of an open that failed because another process has the account open.
var ErrInUse = errors.New("locked by another process")

// OS is the real file system.
type OS struct{}

type osFile struct{ *os.File }

func (f osFile) Sync() error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// Create implements FS.
func (OS) Create(name string) (File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// Reopen implements FS.
func (OS) Reopen(name string) (File, error) {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// Open implements FS.
func (OS) Open(name string) (File, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// Temp implements FS.
func (OS) Temp(dir string) (File, error) {
	f, err := os.CreateTemp(dir, tempPrefix)
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return osFile{f}, nil
}

// Link implements FS.
func (OS) Link(from, to string) error { return os.Link(from, to) }

// Remove implements FS.
func (OS) Remove(name string) error { return os.Remove(name) }

// SyncDir implements FS.
func (OS) SyncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Mkdir implements FS.
func (o OS) Mkdir(dir string) error {
	if info, err := os.Stat(dir); err == nil {
		if !info.IsDir() {
			return fmt.Errorf("%s is not a directory", dir)
		}
		return nil
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := o.Mkdir(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return o.SyncDir(parent)
}

// List implements FS.
func (OS) List(dir string) ([]fs.DirEntry, error) { return os.ReadDir(dir) }

// Free implements FS.
func (OS) Free(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// Filesystem implements WholeSyncer. The filesystems named are local and report
// failed writes to syncfs; Linux does since 5.8, and failures to write the
// filesystem's own journal since 5.17.
func (OS) Filesystem(dir string) (id uint64, whole bool, err error) {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return 0, false, err
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return 0, false, err
	}
	switch fs.Type {
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.TMPFS_MAGIC:
		return st.Dev, syncfsReports(), nil
	}
	return st.Dev, false, nil
}

// syncfsReports says whether the kernel is Linux 5.17 or later.
func syncfsReports() bool {
	var name unix.Utsname
	var major, minor int
	if unix.Uname(&name) != nil {
		return false
	}
	n, _ := fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &major, &minor)
	return n == 2 && (major > 5 || major == 5 && minor >= 17)
}

// OpenWhole implements WholeSyncer. The directory stays open: what failed before
// it was opened is not told.
func (OS) OpenWhole(dir string) (File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	return wholeFS{osFile{f}}, nil
}

// wholeFS is a directory that stands for its filesystem.
type wholeFS struct{ osFile }

// Sync implements File, for all files. On a filesystem that is read-only, perhaps
// since an error made it so, syncfs does nothing and reports success before Linux
// 6.12, whatever waits in memory to be written.
func (f wholeFS) Sync() error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = conn.Control(func(fd uintptr) {
		var st unix.Statfs_t
		failed = errors.Join(unix.Syncfs(int(fd)), unix.Fstatfs(int(fd), &st))
		if failed == nil && st.Flags&unix.ST_RDONLY != 0 {
			failed = unix.EROFS
		}
	})
	return errors.Join(err, failed)
}

// Reserve implements FS. Where the file system can't set blocks apart, they are
// written, with bytes that don't compress.
func (OS) Reserve(name string, size int64) error {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = unix.Fallocate(int(f.Fd()), 0, 0, size)
	if errors.Is(err, unix.EOPNOTSUPP) {
		_, err = io.CopyN(f, rand.Reader, size)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		err = errors.Join(err, os.Remove(name))
	}
	return err
}

// defaultMaxFiles leaves three quarters of what the process may open to
// connections and to what is being read.
func defaultMaxFiles() int {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return 256
	}
	return int(min(r.Cur/4, 1<<20))
}

// Lock implements FS.
func (OS) Lock(dir string) (io.Closer, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrInUse
		}
		return nil, errors.Join(err, f.Close())
	}
	return dirLock{f}, nil
}

type dirLock struct{ dir *os.File }

// Close gives the lock back for everyone who shares it: a program that this
// process is about to start has the directory open until it runs.
func (l dirLock) Close() error {
	return errors.Join(unix.Flock(int(l.dir.Fd()), unix.LOCK_UN), l.dir.Close())
}
