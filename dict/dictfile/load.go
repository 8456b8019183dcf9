package dictfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// snapshot is one state of the file. It never changes.
type snapshot struct {
	id fileID
	contents
	version uint64 // differs between states whose tables differ
}

// fileID is what shows that a file is another one or was changed. The zero
// value stands for no file.
type fileID struct {
	dev, ino     uint64
	size         int64
	mtime, ctime int64 // nanoseconds
}

func idOf(st fs.FileInfo) fileID {
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return fileID{size: st.Size(), mtime: st.ModTime().UnixNano()}
	}
	return fileID{
		dev: uint64(sys.Dev), ino: sys.Ino, size: st.Size(),
		mtime: sys.Mtim.Nano(), ctime: sys.Ctim.Nano(),
	}
}

// latest returns the state of the file, reading it only if it changed.
func (d *Dict) latest(ctx context.Context) (*snapshot, error) {
	if err := d.usable(ctx); err != nil {
		return nil, err
	}
	var id fileID
	st, err := os.Stat(d.path)
	switch {
	case err == nil:
		id = idOf(st)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("dictionary file: %w", err)
	}
	if s := d.current.Load(); s != nil && s.id == id {
		return s, nil
	}
	return d.load(ctx)
}

// load is latest by opening the file instead of asking for its attributes,
// which network file systems may remember from earlier.
func (d *Dict) load(ctx context.Context) (*snapshot, error) {
	if err := d.take(ctx, d.reading); err != nil {
		return nil, err
	}
	defer d.reading.give()
	f, err := os.OpenFile(d.path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return d.store(nil, fileID{}, contents{}), nil
	}
	if err != nil {
		return nil, fmt.Errorf("dictionary file: %w", err)
	}
	st, err := f.Stat()
	if s := d.current.Load(); err == nil && s != nil && s.id == idOf(st) {
		return s, f.Close()
	}
	text, id, err := d.readStable(f)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("dictionary file %s: %w", d.path, err)
	}
	c := parse(text)
	d.report(c)
	return d.store(f, id, c), nil
}

// store makes c, which is what file holds, the current state. The caller has
// the turn to read. It takes file over.
func (d *Dict) store(file *os.File, id fileID, c contents) *snapshot {
	old := d.current.Load()
	s := &snapshot{id: id, contents: c}
	if old != nil {
		s.version = old.version
		if !old.table.Equal(c.table) {
			s.version++
		}
	}
	d.current.Store(s)
	if d.held != nil {
		d.held.Close() // read only, or synced: nothing to learn from the error
	}
	d.held = file
	return s
}

// report logs what was wrong in a file, once until it looks different. The
// lines themselves may be private.
func (d *Dict) report(c contents) {
	if old := d.current.Load(); c.junk == "" || old != nil && old.junk == c.junk {
		return
	}
	d.opt.Logger.Warn("dictionary file has lines that are no entries; they are kept at its end",
		"path", d.path, "first_line", c.junkLine, "lines", strings.Count(c.junk, "\n"))
}

// readStable reads all of f. Users of the file never change it in place, but
// an editor may; then it reads again.
func (d *Dict) readStable(f *os.File) (string, fileID, error) {
	for range 5 {
		before, err := f.Stat()
		if err != nil {
			return "", fileID{}, err
		}
		text, err := d.readAll(f, before)
		if err != nil {
			return "", fileID{}, err
		}
		after, err := f.Stat()
		if err != nil {
			return "", fileID{}, err
		}
		if idOf(before) == idOf(after) {
			return text, idOf(after), nil
		}
	}
	return "", fileID{}, errors.New("keeps changing while it is read")
}

func (d *Dict) readAll(f *os.File, st fs.FileInfo) (string, error) {
	if !st.Mode().IsRegular() {
		return "", errors.New("not a regular file")
	}
	if st.Size() > d.limit {
		return "", fmt.Errorf("%d bytes are more than the limit of %d", st.Size(), d.limit)
	}
	var b strings.Builder
	b.Grow(int(st.Size()))
	_, err := io.Copy(&b, io.NewSectionReader(f, 0, st.Size()))
	return b.String(), err
}
