package auth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// statInterval is how old the answer of stat(2) may be.
	statInterval = time.Second
	// settled is the age from which on a file's time tells every change: two
	// changes within one tick of the file system's clock have the same time.
	settled = 2 * time.Second
	// unfinishedTime is how long a file that ends within a line counts as being
	// written. An empty one always does.
	unfinishedTime = 10 * time.Second
	// maxPasswdFiles bounds what paths with variables can make us keep.
	maxPasswdFiles = 1024
)

// passwdFiles is the passwd-files of all databases by their paths. It is shared
// by all attempts and safe for concurrent use.
type passwdFiles struct {
	log     *slog.Logger
	changes atomic.Uint64 // how often one was read anew

	mu    sync.Mutex
	files *lru[string, *passwdFile]
}

func newPasswdFiles(log *slog.Logger) *passwdFiles {
	return &passwdFiles{log: log, files: newLRU[string, *passwdFile](maxPasswdFiles)}
}

// table is the present contents of the file, at most statInterval old. A file
// that does not exist is fs.ErrNotExist.
func (p *passwdFiles) table(ctx context.Context, path string) (*passwdTable, error) {
	p.mu.Lock()
	var file *passwdFile
	if known := p.files.get(path); known != nil {
		file = *known
	} else {
		file = *p.files.put(path, &passwdFile{path: path, log: p.log, changes: &p.changes})
	}
	p.mu.Unlock()
	return file.get(ctx)
}

// look begins to look at all files that were not for statInterval, and returns how
// often they have changed.
func (p *passwdFiles) look() uint64 {
	p.mu.Lock()
	files := p.files.values()
	p.mu.Unlock()
	for _, f := range files {
		if r := f.last.Load(); r != nil && time.Since(r.checked) >= statInterval {
			f.refresh()
		}
	}
	return p.changes.Load()
}

// passwdFile is one file and its last reading.
type passwdFile struct {
	path    string
	log     *slog.Logger
	changes *atomic.Uint64 // of all files

	last atomic.Pointer[reading]

	mu     sync.Mutex
	flight chan struct{} // closed when the reading under way ends; nil if none is
}

// reading is the outcome of one look at the file.
type reading struct {
	table   *passwdTable
	info    os.FileInfo
	err     error // if table is nil
	checked time.Time
	// complaint is why the file as it is now was not taken; empty if it was.
	complaint string
	// racy says that the file was changed so short before it was read that a
	// further change need not show in its times.
	racy bool
}

func (f *passwdFile) get(ctx context.Context) (*passwdTable, error) {
	if r := f.last.Load(); r != nil && time.Since(r.checked) < statInterval {
		return r.table, r.err
	}
	select {
	case <-f.refresh():
		r := f.last.Load()
		return r.table, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// refresh starts a look at the file unless one is under way, and returns what is
// closed at its end. The goroutine ends with the file system's answer; waiting
// for it ends with each caller's context.
func (f *passwdFile) refresh() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.flight == nil {
		done := make(chan struct{})
		f.flight = done
		go func() {
			f.last.Store(f.look(f.last.Load()))
			f.mu.Lock()
			f.flight = nil
			f.mu.Unlock()
			close(done)
		}()
	}
	return f.flight
}

// look reads the file if stat(2) shows a change since the last reading. A file
// that was good once and now can't be read, or looks as if it is being written,
// does not replace what was read before; it is looked at again.
func (f *passwdFile) look(last *reading) *reading {
	now := time.Now()
	info, err := f.stat()
	if last != nil && last.table != nil && err == nil && !last.racy && same(last.info, info) {
		next := *last
		next.checked, next.complaint = now, ""
		return &next
	}
	var table *passwdTable
	if err == nil {
		table, err = f.read()
	}
	if err != nil {
		return f.failed(last, fmt.Errorf("passwd-file: %w", err), now)
	}
	if last != nil && last.table != nil && table.unfinished != "" &&
		(table.number == 0 || now.Sub(info.ModTime()).Abs() < unfinishedTime) {
		return f.failed(last, fmt.Errorf("passwd-file: %s:%d: %s", f.path, table.number, table.unfinished), now)
	}
	if last == nil || last.table == nil || last.complaint != "" || !same(last.info, info) {
		f.report(table)
		f.changes.Add(1)
	}
	return &reading{table: table, info: info, checked: now, racy: now.Sub(info.ModTime()).Abs() < settled}
}

// failed is the reading after one that failed: the one before, if it was good. A
// file that is not there has no users, and nobody is let in by what it was.
func (f *passwdFile) failed(last *reading, err error, now time.Time) *reading {
	if last == nil || last.table == nil || errors.Is(err, fs.ErrNotExist) {
		return &reading{err: err, checked: now}
	}
	next := *last
	next.checked, next.complaint = now, err.Error()
	if next.complaint != last.complaint {
		f.log.Error("a passwd-file cannot be used, what was read before stays", "file", f.path, "reason", err)
	}
	return &next
}

func (f *passwdFile) stat() (os.FileInfo, error) {
	info, err := os.Stat(f.path)
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "read", Path: f.path, Err: errors.New("not a regular file")}
	}
	return info, err
}

func (f *passwdFile) read() (*passwdTable, error) {
	text, err := readPasswd(f.path)
	if err != nil {
		return nil, err
	}
	return parsePasswd(text), nil
}

func same(a, b os.FileInfo) bool {
	return a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && os.SameFile(a, b)
}

func readPasswd(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxPasswdFile+1))
	if len(text) > maxPasswdFile {
		return "", fmt.Errorf("%s is longer than %d bytes", path, maxPasswdFile)
	}
	return string(text), err
}

func (f *passwdFile) report(t *passwdTable) {
	for _, bad := range t.bad {
		f.log.Warn("line of passwd-file skipped", "where", fmt.Sprintf("%s:%d", f.path, bad.number), "reason", bad.err)
	}
	if more := t.badAll - len(t.bad); more > 0 {
		f.log.Warn("further lines of passwd-file skipped", "file", f.path, "lines", more)
	}
}
