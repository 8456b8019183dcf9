package store

import (
	"errors"
	"log/slog"
	"sync"
	"time"
)

// WholeSyncer is an FS that can make all of a filesystem durable at once.
type WholeSyncer interface {
	// Filesystem names the filesystem of dir. whole says that OpenWhole works
	// there and that a write that failed shows in it.
	Filesystem(dir string) (id uint64, whole bool, err error)
	// OpenWhole opens the filesystem of dir. Sync makes durable all that was
	// written there, and reports failed writes, of any file, since it was
	// called last.
	OpenWhole(dir string) (File, error)
}

// syncer makes logs durable, for all accounts of a Store: each on its own while
// few wait for it, else all of a filesystem at once.
type syncer struct {
	fs  FS
	log *slog.Logger
	now func() time.Time

	mu      sync.Mutex
	volumes map[uint64]*syncVolume // by filesystem
}

const (
	// syncTogether is how many accounts wait at once before they share syncs.
	syncTogether = 8
	// syncWindow is how long one way is used before it is compared with the
	// other, and syncProbe how many windows pass until the worse one is tried
	// again: others may be writing much to the same filesystem, and then a shared
	// sync waits for them as well.
	syncWindow = 50 * time.Millisecond
	syncProbe  = 32
)

// syncVolume is one filesystem.
type syncVolume struct {
	log   *slog.Logger
	now   func() time.Time
	whole File // nil: each file is synced on its own

	mu      sync.Mutex
	active  int        // syncs under way or waiting
	next    *syncRound // may still be joined
	running *syncRound

	// Of the window: when it began, how many syncs began in it, how many at
	// most at once, and whether there were enough in the one before to share.
	window time.Time
	count  int
	peak   int
	busy   bool

	shared  bool
	rates   [2]float64 // syncs per second of the last windows alone and shared
	windows int
}

// syncRound is those who wait for the same sync.
type syncRound struct {
	done  chan struct{}
	alone bool // it was called off: each file is to be synced on its own
	err   error
}

// volume is the filesystem of dir.
func (s *syncer) volume(dir string) (*syncVolume, error) {
	fs, can := s.fs.(WholeSyncer)
	if !can {
		return &syncVolume{}, nil
	}
	id, whole, err := fs.Filesystem(dir)
	if err != nil || !whole {
		return &syncVolume{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.volumes[id]
	if v == nil {
		v = &syncVolume{log: s.log, now: s.now}
		if v.whole, err = fs.OpenWhole(dir); err != nil {
			return nil, err
		}
		s.volumes[id] = v
	}
	return v, nil
}

// close gives the filesystems back. Syncs go on, each on its own.
func (s *syncer) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, v := range s.volumes {
		errs = append(errs, v.giveUp())
	}
	clear(s.volumes)
	return errors.Join(errs...)
}

// syncable is a file, or a directory for its names.
type syncable interface{ Sync() error }

// sync makes durable what was written to f. An error means that it may be lost.
func (v *syncVolume) sync(f syncable) error {
	r, leads := v.enter()
	defer v.leave()
	switch {
	case r == nil:
		return f.Sync()
	case leads:
		v.run(r)
	default:
		<-r.done
	}
	if r.alone {
		return f.Sync()
	}
	return r.err
}

// enter joins a round, or returns nil for a sync of its own. Who begins a round
// leads it.
func (v *syncVolume) enter() (r *syncRound, leads bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.active++
	if v.whole == nil {
		return nil, false
	}
	v.peak = max(v.peak, v.active)
	v.count++
	if now := v.now(); now.Sub(v.window) > syncWindow {
		v.choose(now)
	}
	if !v.shared || !v.busy && v.active < syncTogether {
		return nil, false
	}
	if v.next == nil {
		v.next = &syncRound{done: make(chan struct{})}
		leads = true
	}
	return v.next, leads
}

// choose ends a window. Sharing takes less of the processors, so it need not be
// quite as fast.
func (v *syncVolume) choose(now time.Time) {
	const alone, shared = 0, 1
	took := now.Sub(v.window)
	if v.busy && took < 10*syncWindow {
		way := alone
		if v.shared {
			way = shared
		}
		v.rates[way] = float64(v.count) / took.Seconds()
		v.windows++
	}
	v.shared = v.rates[shared]*1.25 >= v.rates[alone]
	if v.windows%syncProbe == 1 {
		v.shared = !v.shared
	}
	v.busy = v.peak >= syncTogether
	v.window, v.count, v.peak = now, 0, v.active
}

func (v *syncVolume) leave() {
	v.mu.Lock()
	v.active--
	v.mu.Unlock()
}

// run waits for the round before and syncs. A failure is that of all members.
// Others whose writes failed would not be told of it again, so from then on
// each file is synced, and asked for its errors, on its own.
func (v *syncVolume) run(r *syncRound) {
	v.mu.Lock()
	before := v.running
	v.mu.Unlock()
	if before != nil {
		<-before.done
	}
	v.mu.Lock()
	whole := v.whole
	v.next, v.running = nil, r
	v.mu.Unlock()
	if r.alone = whole == nil; !r.alone {
		r.err = whole.Sync()
	}
	if r.err != nil {
		v.log.Error("syncing a filesystem failed; from now on each file is synced on its own", "error", r.err)
		_ = v.giveUp()
	}
	v.mu.Lock()
	v.running = nil
	v.mu.Unlock()
	close(r.done)
}

// giveUp ends the sharing.
func (v *syncVolume) giveUp() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	whole := v.whole
	if whole == nil {
		return nil
	}
	v.whole = nil
	return whole.Close()
}
