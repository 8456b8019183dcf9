package dictfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// inheritAccess gives f, still private, the permissions of the file it is to
// replace, or if there is none those that its directory suggests.
func inheritAccess(f *os.File, target string) error {
	st, err := os.Stat(target)
	if errors.Is(err, fs.ErrNotExist) {
		return directoryAccess(f, target)
	}
	if err != nil {
		return err
	}
	return setAccess(f, st, st.Mode().Perm())
}

// directoryAccess gives f, a new file called name, its directory's owner and
// permissions without those to search.
func directoryAccess(f *os.File, name string) error {
	st, err := os.Stat(filepath.Dir(name))
	if err != nil {
		return err
	}
	return setAccess(f, st, st.Mode().Perm()&0o666)
}

// setAccess gives f the group and mode of like, and if we are root its owner.
// Where the group cannot be given, the group that f has gets no more than
// everybody: it is not the one the permissions were meant for.
func setAccess(f *os.File, like fs.FileInfo, mode fs.FileMode) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	has, ok := st.Sys().(*syscall.Stat_t)
	want, ok2 := like.Sys().(*syscall.Stat_t)
	if !ok || !ok2 {
		return f.Chmod(mode & 0o600)
	}
	if has.Uid != want.Uid && os.Geteuid() == 0 {
		if err := f.Chown(int(want.Uid), -1); err != nil {
			return err
		}
	}
	if has.Gid != want.Gid && f.Chown(-1, int(want.Gid)) != nil {
		mode &= ^fs.FileMode(0o070) | mode<<3
	}
	return f.Chmod(mode)
}
