package store

import (
	"errors"
	"log/slog"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/roost-mail/roost/imap"
)

// ballast is a file that takes up room on a volume. When the volume is full it
// is removed, so that expunges, flag changes, folds and rewrites still work; when
// there is room again it is made anew. All accounts on the volume share it; a
// nil ballast is none.
type ballast struct {
	fs   FS
	log  *slog.Logger
	name string
	size int64
	keep int64 // how much has to stay free beside it

	filling sync.WaitGroup
	mu      sync.Mutex
	tried   bool // since the process started
	busy    bool // it is being made
	there   bool
}

// ballastPrefix begins the name of the ballast in the root of a volume; the
// backend's name follows.
const ballastPrefix = ".roost-ballast-"

func newBallast(o *Options, root string) *ballast {
	if o.Ballast <= 0 {
		return nil
	}
	name := filepath.Join(root, ballastPrefix+filepath.Base("/"+o.Holder))
	return &ballast{fs: o.FS, log: o.Log, name: name, size: o.Ballast, keep: o.MinFree}
}

// isFull reports whether err says that there is no room on the disk.
func isFull(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }

// errDiskFull is the answer to a message for which there is no room. Nothing of it is kept.
var errDiskFull = imap.Errorf(imap.CodeOverQuota, "The server's disk is full")

// release gives the room back. It reports false if there is none to give.
func (b *ballast) release() bool {
	if b == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.there {
		return b.tried // someone else has just released it, perhaps
	}
	if err := b.fs.Remove(b.name); err != nil {
		b.log.Error("the disk is full, and its ballast can't be removed", "file", b.name, "error", err)
		return false
	}
	b.there = false
	b.log.Error("the disk is full: its ballast is released and messages are refused until there is room", "file", b.name, "bytes", b.size)
	return true
}

// releaseAt is release, if err says that the disk is full.
func (b *ballast) releaseAt(err error) bool { return isFull(err) && b.release() }

// prepare makes the file when the process first opens mail on the volume.
func (b *ballast) prepare() {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.tried {
		b.tried = true
		b.fill()
	}
}

// refill makes the file again, beside the caller, if there is room for it.
func (b *ballast) refill(free int64) {
	if b == nil || free < b.needs() {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.there || b.busy {
		return
	}
	b.busy = true
	b.filling.Go(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.busy = false
		b.fill()
	})
}

// needs is the room that there has to be before the file is made: somewhat more
// than it takes, so that it does not come and go.
func (b *ballast) needs() int64 { return b.keep + b.size + b.size/4 }

// fill makes the file if it is not there and there is room. The caller holds b.mu.
func (b *ballast) fill() {
	if f, err := b.fs.Open(b.name); err == nil {
		size, err := f.Size()
		if err = errors.Join(err, f.Close()); err == nil && size == b.size {
			b.there = true
			return
		}
		if err := b.fs.Remove(b.name); err != nil {
			b.log.Warn("ballast of another size can't be removed", "file", b.name, "error", err)
			return
		}
	}
	free, err := b.fs.Free(filepath.Dir(b.name))
	if err == nil && free < b.needs() {
		b.log.Warn("there is no room for a ballast", "file", b.name, "bytes", b.size, "free", free)
		return
	}
	if err == nil {
		err = b.fs.Reserve(b.name, b.size)
	}
	if err != nil {
		b.log.Warn("ballast can't be made", "file", b.name, "bytes", b.size, "error", err)
		return
	}
	b.there = true
}

// wait waits for a refill on its way.
func (b *ballast) wait() {
	if b != nil {
		b.filling.Wait()
	}
}

// withRoom does what may find the disk full, and once more when the ballast is
// released. Only for what leaves nothing behind when it fails: a segment is never
// written again.
func (d *disk) withRoom(do func() error) error {
	err := do()
	if d.ballast.releaseAt(err) {
		err = do()
	}
	return err
}
