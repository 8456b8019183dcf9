// Package dictfile keeps a dictionary in one file, in the format and under the
// locks of Dovecot's "file:" dict, so that both may use the file at once.
//
// The file has two lines for each entry, the key and the value, with TAB, CR,
// LF, NUL and \001 escaped by \001. It is never changed in place: a commit
// takes the lock, reads the file again, writes all of it anew beside it, syncs,
// and renames the new file over the old. Readers take no lock; they see one
// version of the file or the next.
//
// By default the lock is the file <path>.lock, created exclusively, which is
// also the new version in the making. One that is left behind by a crash is
// broken when it is a minute old. With the kernel's locks (flock, fcntl) the
// file itself is locked and the new version is <path>.tmp. All users of a file
// must use the same method.
//
// A handle keeps the parsed file in memory and reads it again when its inode,
// size or times change; on NFS that is as late as the attribute cache allows.
// The clocks of machines that share a file must agree within some seconds.
//
// What is not ours is kept: entries under other keys than package dict allows,
// such as "priv/", and lines that are no entries, which move to the end and are
// reported. Symbolic links are followed, not replaced.
//
// The package is for sites of moderate size: each commit costs the whole file.
package dictfile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/roost-mail/roost/dict"
)

// maxFile is the size in bytes beyond which a file is neither read nor written.
const maxFile = 256 << 20

// ErrLocked is the error of a Commit that waited too long for others' locks.
// Nothing was changed.
var ErrLocked = errors.New("dictionary file stays locked")

// Options say how a file is used. The zero value is Dovecot's default.
type Options struct {
	Lock     Lock          // how writers exclude each other
	LockWait time.Duration // longest wait for the lock; 0 means 30 s
	Logger   *slog.Logger  // for damaged files and broken locks; nil means none
}

// Dict is a handle on a dictionary file; it implements dict.Dict and
// dict.Versioner. Every read sees one state of the whole file.
type Dict struct {
	dict.Reader
	path string
	opt  Options

	current atomic.Pointer[snapshot] // as last read; the next is stored by who holds reading

	reading turn     // guards held
	held    *os.File // the file of current, kept open so that its inode is not used again

	writing   turn // one commit at a time in this process; taken before reading
	closed    chan struct{}
	closeOnce sync.Once

	limit int64                   // maxFile, less in tests
	fault func(step string) error // set by tests only: the error of a step of a commit
}

var (
	_ dict.Dict      = (*Dict)(nil)
	_ dict.Versioner = (*Dict)(nil)
)

// Open returns a handle on the file at path, which is absolute. The file and
// its directory need not exist: the first commit makes them. Two handles on one
// file, in one process or several, exclude each other's commits.
func Open(path string, opt Options) (*Dict, error) {
	if !filepath.IsAbs(path) {
		return nil, fmt.Errorf("dictionary file %q: path is not absolute", path)
	}
	if opt.Lock > LockFcntl {
		return nil, fmt.Errorf("dictionary file %q: unknown lock method", path)
	}
	if opt.LockWait == 0 {
		opt.LockWait = 30 * time.Second
	}
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	d := &Dict{
		path: filepath.Clean(path), opt: opt, limit: maxFile,
		reading: make(turn, 1), writing: make(turn, 1), closed: make(chan struct{}),
	}
	d.Reader = dict.NewReader(func(ctx context.Context) (dict.Table, error) {
		s, err := d.latest(ctx)
		if err != nil {
			return dict.Table{}, err
		}
		return s.table, nil
	})
	return d, nil
}

// Version implements dict.Versioner. It costs a stat(2) when nothing changed.
func (d *Dict) Version(ctx context.Context) (string, error) {
	s, err := d.latest(ctx)
	if err != nil {
		return "", err
	}
	return strconv.FormatUint(s.version, 10), nil
}

// Close implements dict.Dict. A commit that waits for the lock gives up.
func (d *Dict) Close() error {
	var err error
	d.closeOnce.Do(func() {
		close(d.closed)
		d.writing <- struct{}{} // never given back
		d.reading <- struct{}{}
		if d.held != nil {
			err = d.held.Close()
		}
		d.current.Store(nil)
	})
	return err
}

// usable tells why the handle may not be used: it is closed or ctx has ended.
func (d *Dict) usable(ctx context.Context) error {
	select {
	case <-d.closed:
		return dict.ErrClosed
	default:
		return ctx.Err()
	}
}

// turn is a mutex that can be waited for with a context.
type turn chan struct{}

func (d *Dict) take(ctx context.Context, t turn) error {
	if err := d.usable(ctx); err != nil {
		return err
	}
	select {
	case t <- struct{}{}:
		return nil
	case <-d.closed:
		return dict.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t turn) give() { <-t }
