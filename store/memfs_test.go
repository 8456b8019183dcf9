package store

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// memFS is a file system in memory that knows what was synced, can stop as if
// the process had died, and can fail.
type memFS struct {
	mu    sync.Mutex
	names map[string]*memNode // as the process sees them
	kept  map[string]*memNode // as they are after a power loss
	locks map[string]*memLock

	clock    time.Time
	free     int64
	capacity int64                              // 0: what is written changes free not
	ops      int                                // that change something, so far
	freezeAt int                                // this and later operations do nothing; 0: never
	failOp   func(op, name string) (int, error) // how much is written, and an error

	calls    int // of all kinds
	failCall func(call int) error

	stopAt  int           // this operation waits, once
	stopped chan struct{} // closed when it does
	resume  chan struct{} // until this is closed
}

type memNode struct {
	data   []byte
	synced []byte
	mtime  time.Time
	room   int64 // it takes up without data
}

// left is how much can be written. The caller holds m.mu.
func (m *memFS) left() int64 {
	if m.capacity == 0 {
		return m.free
	}
	left := m.capacity
	for _, n := range m.names {
		left -= max(n.room, int64(len(n.data)))
	}
	return left
}

// pass lets time pass.
func (m *memFS) pass(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.clock = m.clock.Add(d)
}

// snapshot is a copy of all there is at this moment, without locks.
func (m *memFS) snapshot() *memFS {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := newMemFS()
	c.clock, c.free = m.clock, m.free
	copies := map[*memNode]*memNode{}
	copyOf := func(n *memNode) *memNode {
		if copies[n] == nil {
			copies[n] = &memNode{data: bytes.Clone(n.data), synced: bytes.Clone(n.synced), mtime: n.mtime}
		}
		return copies[n]
	}
	for name, n := range m.names {
		c.names[name] = copyOf(n)
	}
	for name, n := range m.kept {
		c.kept[name] = copyOf(n)
	}
	return c
}

// call counts an operation of any kind.
func (m *memFS) call() error {
	m.calls++
	if m.failCall != nil {
		return m.failCall(m.calls)
	}
	return nil
}

// look counts an operation that changes nothing. The caller holds no lock.
func (m *memFS) look() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.call()
}

var errFrozen = errors.New("the process is dead")

func newMemFS() *memFS {
	return &memFS{names: map[string]*memNode{}, kept: map[string]*memNode{}, locks: map[string]*memLock{}, free: 1 << 40, clock: time.Unix(1.7e9, 0)}
}

// markVolume does what InitVolume does.
func (m *memFS) markVolume(root string) {
	text := []byte(volumeMagic + newObjectID().String() + "\n")
	marker := &memNode{data: text, synced: bytes.Clone(text), mtime: m.clock}
	m.names[filepath.Join(root, volumeMarker)], m.kept[filepath.Join(root, volumeMarker)] = marker, marker
}

// step counts an operation that changes something.
func (m *memFS) step(op, name string) (int, error) {
	m.ops++
	if m.ops == m.stopAt {
		m.mu.Unlock()
		close(m.stopped)
		<-m.resume
		m.mu.Lock()
	}
	if err := m.call(); err != nil {
		return 0, err
	}
	if m.freezeAt > 0 && m.ops >= m.freezeAt {
		return 0, errFrozen
	}
	if m.failOp != nil {
		return m.failOp(op, name)
	}
	return 0, nil
}

// crash ends the process. With power lost, what was not synced is kept only in
// part: of each file up to some byte, of new names some.
func (m *memFS) crash(rnd *rand.Rand, power bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.locks, m.freezeAt, m.failOp, m.failCall = map[string]*memLock{}, 0, nil, nil
	if !power {
		return
	}
	for name, node := range m.names {
		if m.kept[name] != node && rnd.IntN(2) == 0 {
			delete(m.names, name)
		}
	}
	for name, node := range m.kept {
		if m.names[name] == nil && rnd.IntN(2) == 0 {
			m.names[name] = node // its removal was lost
		}
	}
	for _, node := range m.names {
		if more := len(node.data) - len(node.synced); more > 0 {
			node.data = node.data[:len(node.synced)+rnd.IntN(more+1)]
			copy(node.data, node.synced)
		}
		node.synced = append([]byte(nil), node.data...)
	}
	m.kept = map[string]*memNode{}
	for name, node := range m.names {
		m.kept[name] = node
	}
}

// losePower ends the process; of file contents only what was synced is kept.
func (m *memFS) losePower() {
	m.mu.Lock()
	for _, node := range m.names {
		node.data = node.data[:len(node.synced)]
	}
	m.mu.Unlock()
	m.crash(rand.New(rand.NewPCG(1, 1)), true)
}

type memFile struct {
	fs   *memFS
	name string
	node *memNode
}

func (m *memFS) Create(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.step("create", name); err != nil {
		return nil, err
	}
	if m.names[name] != nil {
		return nil, fs.ErrExist
	}
	node := &memNode{mtime: m.clock}
	m.names[name] = node
	return &memFile{m, name, node}, nil
}

func (m *memFS) Reopen(name string) (File, error) { return m.Open(name) }

func (m *memFS) Open(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.call(); err != nil {
		return nil, err
	}
	node := m.names[name]
	if node == nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &memFile{m, name, node}, nil
}

func (m *memFS) Temp(string) (File, error) { return &memFile{m, "", &memNode{}}, m.look() }

func (m *memFS) Link(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.step("link", to); err != nil {
		return err
	}
	if m.names[to] != nil {
		return fs.ErrExist
	}
	if m.names[from] == nil {
		return &fs.PathError{Op: "link", Path: from, Err: fs.ErrNotExist}
	}
	m.names[to] = m.names[from]
	return nil
}

func (m *memFS) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.step("remove", name); err != nil {
		return err
	}
	delete(m.names, name)
	return nil
}

func (m *memFS) SyncDir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.step("syncdir", dir); err != nil {
		return err
	}
	for name, node := range m.names {
		m.kept[name] = node
	}
	for name := range m.kept {
		if m.names[name] == nil {
			delete(m.kept, name)
		}
	}
	return nil
}

func (m *memFS) Mkdir(string) error { return m.look() }

func (m *memFS) List(dir string) ([]fs.DirEntry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.call(); err != nil {
		return nil, err
	}
	var list []fs.DirEntry
	for name, node := range m.names {
		if filepath.Dir(name) == dir {
			list = append(list, memEntry{filepath.Base(name), node.mtime})
		}
	}
	return list, nil
}

func (m *memFS) Free(string) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.left(), m.call()
}

func (m *memFS) Reserve(name string, size int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.step("reserve", name); err != nil {
		return err
	}
	if m.capacity > 0 && m.left() < size {
		return syscall.ENOSPC
	}
	m.names[name] = &memNode{mtime: m.clock, room: size}
	return nil
}

func (m *memFS) Lock(name string) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.call(); err != nil {
		return nil, err
	}
	if m.locks[name] != nil {
		return nil, ErrInUse
	}
	m.locks[name] = &memLock{m, name}
	return m.locks[name], nil
}

// breakLocks is what a higher epoch does.
func (m *memFS) breakLocks() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.locks = map[string]*memLock{}
}

type memLock struct {
	fs   *memFS
	name string
}

func (l *memLock) Close() error {
	l.fs.mu.Lock()
	defer l.fs.mu.Unlock()
	if l.fs.locks[l.name] == l {
		delete(l.fs.locks, l.name)
	}
	return nil
}

type memEntry struct {
	name  string
	mtime time.Time
}

func (e memEntry) Name() string               { return e.name }
func (e memEntry) IsDir() bool                { return false }
func (e memEntry) Type() fs.FileMode          { return 0 }
func (e memEntry) Info() (fs.FileInfo, error) { return e, nil }
func (e memEntry) Size() int64                { return 0 }
func (e memEntry) Mode() fs.FileMode          { return 0 }
func (e memEntry) ModTime() time.Time         { return e.mtime }
func (e memEntry) Sys() any                   { return nil }

func (f *memFile) ReadAt(b []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.call(); err != nil {
		return 0, err
	}
	if off >= int64(len(f.node.data)) {
		return 0, io.EOF
	}
	n := copy(b, f.node.data[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) WriteAt(b []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.name != "" {
		n, err := f.fs.step("write", f.name)
		if err != nil {
			b = b[:min(n, len(b))]
			f.node.write(b, off)
			return len(b), err
		}
		if grows := off + int64(len(b)) - int64(len(f.node.data)); f.fs.capacity > 0 && grows > f.fs.left() {
			f.node.write(b[:max(0, int64(len(b))-grows+f.fs.left())], off)
			return 0, syscall.ENOSPC
		}
	}
	f.node.write(b, off)
	f.node.mtime = f.fs.clock
	return len(b), nil
}

func (n *memNode) write(b []byte, off int64) {
	if need := int(off) + len(b); need > len(n.data) {
		n.data = append(n.data, make([]byte, need-len(n.data))...)
	}
	copy(n.data[off:], b)
}

func (f *memFile) Sync() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if _, err := f.fs.step("sync", f.name); err != nil {
		return err
	}
	f.node.synced = append([]byte(nil), f.node.data...)
	return nil
}

func (f *memFile) Size() (int64, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return max(f.node.room, int64(len(f.node.data))), f.fs.call()
}

func (f *memFile) Close() error { return nil }
