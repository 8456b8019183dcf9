package simworld

import (
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/roost-mail/roost/store"
)

// disk is a filesystem that machines share. It knows what each has written and not
// synced: that is lost with the machine, from some moment on, unless another has looked at
// it before.
type disk struct {
	mu    sync.Mutex // guards what follows, and all inodes
	names map[string]*inode
	dirs  map[string]bool
	locks map[string]*dirLock
	undo  map[*process][]nameUndo // changes of names, not synced, in order
}

type inode struct {
	data   []byte
	mtime  time.Time
	writer *process    // who wrote what is not synced
	undo   []writeUndo // in order
}

// nameUndo says what a name was before a change.
type nameUndo struct {
	name string
	was  *inode // nil: there was none
}

type writeUndo struct {
	off int64
	old []byte // what was overwritten
	len int    // of the file
}

func newDisk(dirs ...string) *disk {
	d := &disk{names: map[string]*inode{}, dirs: map[string]bool{"/": true}, locks: map[string]*dirLock{}, undo: map[*process][]nameUndo{}}
	for _, dir := range dirs {
		d.mkdir(dir)
	}
	return d
}

func (d *disk) mkdir(dir string) {
	for ; !d.dirs[dir]; dir = filepath.Dir(dir) {
		d.dirs[dir] = true
	}
}

// seen makes durable what others than p did to the names of a directory.
func (d *disk) seen(p *process, dir string) {
	for other := range d.undo {
		if other != p {
			d.settle(other, dir)
		}
	}
}

// settle makes durable what p did to the names of a directory.
func (d *disk) settle(p *process, dir string) {
	kept := d.undo[p][:0]
	for _, u := range d.undo[p] {
		if filepath.Dir(u.name) != dir {
			kept = append(kept, u)
		}
	}
	d.undo[p] = kept
}

// set sets what a name is, nil for nothing.
func (d *disk) set(p *process, name string, n *inode) {
	d.undo[p] = append(d.undo[p], nameUndo{name, d.names[name]})
	if n == nil {
		delete(d.names, name)
	} else {
		d.names[name] = n
	}
}

// lose undoes what a process that ends has not synced, from some moment on, and
// takes its locks.
func (d *disk) lose(p *process, rnd *rand.Rand) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, n := range d.names {
		if n.writer == p {
			n.lose(rnd)
		}
	}
	all := d.undo[p]
	left := rnd.IntN(len(all) + 1)
	for i := len(all) - 1; i >= left; i-- {
		if n := all[i].was; n == nil {
			delete(d.names, all[i].name)
		} else {
			d.names[all[i].name] = n
		}
	}
	d.forget(p)
}

// forget takes the locks of a process that has ended.
func (d *disk) forget(p *process) {
	delete(d.undo, p)
	for dir, l := range d.locks {
		if l.p == p {
			delete(d.locks, dir)
		}
	}
}

func (n *inode) lose(rnd *rand.Rand) {
	left := rnd.IntN(len(n.undo) + 1)
	for i := len(n.undo) - 1; i >= left; i-- {
		u := n.undo[i]
		n.data = n.data[:u.len]
		copy(n.data[min(u.off, int64(u.len)):], u.old)
	}
	n.settle()
}

func (n *inode) settle() { n.writer, n.undo = nil, nil }

func (n *inode) write(p *process, b []byte, off int64) {
	if n.writer != p {
		n.settle()
		n.writer = p
	}
	end := int(off) + len(b)
	u := writeUndo{off: off, len: len(n.data)}
	if off < int64(len(n.data)) {
		u.old = append([]byte(nil), n.data[off:min(end, len(n.data))]...)
	}
	n.undo = append(n.undo, u)
	if end > len(n.data) {
		n.data = append(n.data, make([]byte, end-len(n.data))...)
	}
	copy(n.data[off:], b)
	n.mtime = time.Now()
}

// export writes all files below dir to a real directory.
func (d *disk) export(dir, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, n := range d.names {
		rel, err := filepath.Rel(dir, name)
		if err != nil || !filepath.IsLocal(rel) {
			continue
		}
		file := filepath.Join(to, rel)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(file, n.data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

type dirLock struct {
	d   *disk
	p   *process
	dir string
}

func (l *dirLock) Close() error {
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	if l.d.locks[l.dir] == l {
		delete(l.d.locks, l.dir)
	}
	return nil
}

// volume is what a process sees of disks: the shared one below mountPoint while that is
// mounted, else its machine's own. Every call is a place where the process may be
// stopped, and each that changes something takes a while.
type volume struct{ p *process }

// mountPoint is where the mail is.
const mountPoint = "/mail"

func (v volume) disk(name string) *disk {
	if rel, err := filepath.Rel(mountPoint, name); err == nil && filepath.IsLocal(rel) && v.p.machine.isMounted() {
		return v.p.machine.w.disk
	}
	return v.p.machine.own
}

// look is called before what changes nothing. The disk is locked if there is no error.
func (v volume) look(name string) (*disk, error) {
	if err := v.p.pass(); err != nil {
		return nil, err
	}
	d := v.disk(name)
	d.mu.Lock()
	return d, nil
}

// change is called before a change, likewise. What a process that has ended was at does
// not happen.
func (v volume) change(name string) (*disk, error) {
	if err := v.p.write(); err != nil {
		return nil, err
	}
	d := v.disk(name)
	d.mu.Lock()
	if v.p.isDead() {
		d.mu.Unlock()
		return nil, errDead
	}
	return d, nil
}

func notThere(op, name string) error {
	return &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
}

// Create implements store.FS.
func (v volume) Create(name string) (store.File, error) {
	d, err := v.change(name)
	if err != nil {
		return nil, err
	}
	defer d.mu.Unlock()
	d.seen(v.p, filepath.Dir(name))
	switch {
	case !d.dirs[filepath.Dir(name)]:
		return nil, notThere("create", name)
	case d.names[name] != nil:
		return nil, &fs.PathError{Op: "create", Path: name, Err: fs.ErrExist}
	}
	n := &inode{mtime: time.Now()}
	d.set(v.p, name, n)
	return &file{v, d, n}, nil
}

// Reopen implements store.FS.
func (v volume) Reopen(name string) (store.File, error) { return v.Open(name) }

// Open implements store.FS.
func (v volume) Open(name string) (store.File, error) {
	d, err := v.look(name)
	if err != nil {
		return nil, err
	}
	defer d.mu.Unlock()
	d.seen(v.p, filepath.Dir(name))
	n := d.names[name]
	if n == nil {
		return nil, notThere("open", name)
	}
	return &file{v, d, n}, nil
}

// Temp implements store.FS.
func (v volume) Temp(dir string) (store.File, error) {
	d, err := v.look(dir)
	if err != nil {
		return nil, err
	}
	defer d.mu.Unlock()
	return &file{v, d, &inode{}}, nil
}

// Link implements store.FS.
func (v volume) Link(from, to string) error {
	d, err := v.change(to)
	if err != nil {
		return err
	}
	defer d.mu.Unlock()
	d.seen(v.p, filepath.Dir(to))
	switch {
	case d.names[from] == nil:
		return notThere("link", from)
	case d.names[to] != nil:
		return &fs.PathError{Op: "link", Path: to, Err: fs.ErrExist}
	}
	d.set(v.p, to, d.names[from])
	return nil
}

// Remove implements store.FS.
func (v volume) Remove(name string) error {
	d, err := v.change(name)
	if err != nil {
		return err
	}
	defer d.mu.Unlock()
	d.seen(v.p, filepath.Dir(name))
	if d.names[name] == nil {
		return notThere("remove", name)
	}
	d.set(v.p, name, nil)
	return nil
}

// SyncDir implements store.FS.
func (v volume) SyncDir(dir string) error {
	d, err := v.change(dir)
	if err != nil {
		return err
	}
	defer d.mu.Unlock()
	d.settle(v.p, dir)
	return nil
}

// Mkdir implements store.FS.
func (v volume) Mkdir(dir string) error {
	d, err := v.look(dir)
	if err != nil {
		return err
	}
	defer d.mu.Unlock()
	d.mkdir(dir)
	return nil
}

// List implements store.FS.
func (v volume) List(dir string) ([]fs.DirEntry, error) {
	d, err := v.look(dir)
	if err != nil {
		return nil, err
	}
	defer d.mu.Unlock()
	if !d.dirs[dir] {
		return nil, notThere("list", dir)
	}
	d.seen(v.p, dir)
	var list []fs.DirEntry
	for name, n := range d.names {
		if base, is := strings.CutPrefix(name, dir+"/"); is && !strings.Contains(base, "/") {
			list = append(list, dirEntry{base, n.mtime})
		}
	}
	return list, nil
}

// Free implements store.FS.
func (v volume) Free(string) (int64, error) { return 1 << 40, nil }

// Reserve implements store.FS.
func (v volume) Reserve(string, int64) error { return errors.ErrUnsupported }

// Lock implements store.FS.
func (v volume) Lock(dir string) (io.Closer, error) {
	d, err := v.look(dir)
	if err != nil {
		return nil, err
	}
	defer d.mu.Unlock()
	if d.locks[dir] != nil {
		return nil, store.ErrInUse
	}
	l := &dirLock{d, v.p, dir}
	d.locks[dir] = l
	return l, nil
}

type dirEntry struct {
	name  string
	mtime time.Time
}

func (e dirEntry) Name() string               { return e.name }
func (e dirEntry) IsDir() bool                { return false }
func (e dirEntry) Type() fs.FileMode          { return 0 }
func (e dirEntry) Info() (fs.FileInfo, error) { return e, nil }
func (e dirEntry) Size() int64                { return 0 }
func (e dirEntry) Mode() fs.FileMode          { return 0 }
func (e dirEntry) ModTime() time.Time         { return e.mtime }
func (e dirEntry) Sys() any                   { return nil }

// file is an open file. It stays what it was when the volume is unmounted.
type file struct {
	v volume
	d *disk
	n *inode
}

func (f *file) ReadAt(b []byte, off int64) (int, error) {
	if err := f.v.p.pass(); err != nil {
		return 0, err
	}
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.n.writer != f.v.p {
		f.n.settle()
	}
	if off >= int64(len(f.n.data)) {
		return 0, io.EOF
	}
	n := copy(b, f.n.data[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// change is as that of a volume.
func (f *file) change() error {
	if err := f.v.p.write(); err != nil {
		return err
	}
	f.d.mu.Lock()
	if f.v.p.isDead() {
		f.d.mu.Unlock()
		return errDead
	}
	return nil
}

func (f *file) WriteAt(b []byte, off int64) (int, error) {
	if err := f.change(); err != nil {
		return 0, err
	}
	defer f.d.mu.Unlock()
	f.n.write(f.v.p, b, off)
	return len(b), nil
}

func (f *file) Sync() error {
	if err := f.change(); err != nil {
		return err
	}
	defer f.d.mu.Unlock()
	f.n.settle()
	return nil
}

func (f *file) Size() (int64, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	return int64(len(f.n.data)), nil
}

func (f *file) Close() error { return nil }
