package dict

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// Mirror is a copy of a dictionary in memory that stays up to date: by the
// dictionary's Watch if it is a Watcher, and by polling. What it shows is at
// most about MirrorOptions.Every old while the dictionary can be read; when it
// cannot, the Mirror goes on showing what it has. It costs memory for the whole
// dictionary, and reads take no time.
//
// It runs two goroutines, which end with Close.
type Mirror struct {
	Reader // of the copy. Before the origin was read once it waits for that

	origin Dict
	opt    MirrorOptions
	stop   context.CancelFunc
	run    sync.WaitGroup

	reading chan struct{} // holds something while the origin is read

	mu       sync.Mutex // guards what follows
	table    Table
	since    []Change // made while the origin is being read
	stale    bool     // it has to be read again soon
	commits  map[*commit]struct{}
	loaded   chan struct{} // closed once table is the origin's
	told     chan struct{} // closed at the next change
	failed   error         // of the latest reading; nil if it went well
	followed bool          // the origin tells of changes
}

// MirrorOptions say how up to date a Mirror is.
type MirrorOptions struct {
	Every time.Duration // between two looks at the origin; 0 means 1 s
	Log   *slog.Logger  // nil means none
}

const (
	// A reading of everything takes at most one part of so many of the time, unless
	// the copy would be old for longer than rarely lets it.
	readingShare = 10
	// So many times as rarely is all read again if the origin tells of changes, or
	// has a version that stays: both may miss what other programs do.
	rarely = 30
)

// NewMirror starts a Mirror of d, which it does not close.
func NewMirror(d Dict, opt MirrorOptions) *Mirror {
	if opt.Every <= 0 {
		opt.Every = time.Second
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	m := &Mirror{
		origin: d, opt: opt, reading: make(chan struct{}, 1), loaded: make(chan struct{}), told: make(chan struct{}),
		commits: map[*commit]struct{}{},
	}
	m.Reader = NewReader(m.latest)
	ctx, cancel := context.WithCancel(context.Background())
	m.stop = cancel
	m.run.Go(func() { m.poll(ctx) })
	if w, ok := d.(Watcher); ok {
		m.run.Go(func() { m.follow(ctx, w) })
	}
	return m
}

// Close ends the Mirror; the origin stays open.
func (m *Mirror) Close() {
	m.stop()
	m.run.Wait()
}

// Changed returns a channel that is closed when the copy next changes.
func (m *Mirror) Changed() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.told
}

// Failing is why the copy may be old: the error of the latest attempt to read
// the origin; nil if that went well.
func (m *Mirror) Failing() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.failed
}

// Writer is the origin, for those who read in order to write: it reads what is
// there now, and what it commits is in the copy at once, but for keys that others
// change at the same time: those follow. Closing it does nothing.
func (m *Mirror) Writer() Dict { return mirrorWriter{m.origin, m} }

type mirrorWriter struct {
	Dict
	m *Mirror
}

// commit is one of the Writer that is under way. Its answer may come after others have
// changed the same keys, and after the copy has that.
type commit struct {
	told map[string]bool // by key: the origin has told of it meanwhile
	read bool            // the origin was read meanwhile, and did not tell of all changes
}

// Commit implements Dict.
func (w mirrorWriter) Commit(ctx context.Context, changes []Change, conditions ...Condition) error {
	c := w.m.begin(changes)
	err := w.Dict.Commit(ctx, changes, conditions...)
	w.m.end(c, changes, err)
	return err
}

func (m *Mirror) begin(changes []Change) *commit {
	c := &commit{told: make(map[string]bool, len(changes))}
	for _, change := range changes {
		c.told[change.Key] = false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.commits[c] = struct{}{}
	return c
}

// end makes the changes in the copy, but for keys of which the origin has told meanwhile: it
// has told of these changes then, or will. If it was read meanwhile instead, only what is
// read from now on is surely as new.
func (m *Mirror) end(c *commit, changes []Change, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.commits, c)
	if err != nil {
		return
	}
	m.stale = m.stale || c.read || m.since != nil && !m.followed
	m.apply(slices.DeleteFunc(slices.Clone(changes), func(change Change) bool { return c.told[change.Key] }))
}

// Close implements Dict.
func (mirrorWriter) Close() error { return nil }

// firstWait bounds how long a reader waits for the first copy.
const firstWait = 5 * time.Second

// latest is the copy, as soon as there is one.
func (m *Mirror) latest(ctx context.Context) (Table, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, firstWait, errNotRead)
	defer cancel()
	select {
	case <-m.loaded:
	case <-ctx.Done():
		return Table{}, errors.Join(context.Cause(ctx), m.Failing())
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.table, nil
}

var errNotRead = errors.New("the dictionary could not be read yet")

// poll reads the origin again and again until ctx ends.
func (m *Mirror) poll(ctx context.Context) {
	var version string
	var read time.Time // when all was read
	for ctx.Err() == nil {
		began := time.Now()
		now, same := m.unchanged(ctx, version)
		all := m.opt.Every * rarely
		if !same && !m.isFollowed() || m.isStale() || began.Sub(read) >= all {
			if m.read(ctx) == nil {
				version, read = now, began
			}
		}
		pause := m.opt.Every
		if m.Failing() == nil { // else the dictionary may be back soon, whatever it took to find out
			pause = max(pause, min(time.Since(began)*(readingShare-1), all))
		}
		m.rest(ctx, pause)
	}
}

// unchanged asks the origin's version, and whether that is still the given one.
func (m *Mirror) unchanged(ctx context.Context, version string) (now string, same bool) {
	v, ok := m.origin.(Versioner)
	if !ok || m.isFollowed() {
		return "", false
	}
	now, err := v.Version(ctx)
	if err != nil {
		return "", false
	}
	return now, now == version
}

func (m *Mirror) isStale() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.stale
}

func (m *Mirror) isFollowed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.followed
}

// follow watches the origin, again after pauses when the watch breaks.
func (m *Mirror) follow(ctx context.Context, w Watcher) {
	said := false
	for ctx.Err() == nil {
		err := w.Watch(ctx, func(changes []Change) {
			if changes != nil {
				m.tell(changes)
				return
			}
			began := time.Now()
			m.setFollowed(false) // what happened before is not told
			read := m.read(ctx) == nil
			m.setFollowed(read)
			said = said && !read
			m.rest(ctx, min(time.Since(began)*(readingShare-1), m.opt.Every))
		})
		m.setFollowed(false)
		if ctx.Err() != nil {
			return
		}
		if !said {
			m.opt.Log.Warn("dictionary is polled: it does not tell of changes", "error", err)
			said = true // until it tells of changes again
		}
		m.rest(ctx, m.opt.Every)
	}
}

// rest waits, but not longer than ctx.
func (m *Mirror) rest(ctx context.Context, pause time.Duration) {
	select {
	case <-time.After(pause):
	case <-ctx.Done():
	}
}

func (m *Mirror) setFollowed(yes bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.followed = yes
}

// read makes the copy anew.
func (m *Mirror) read(ctx context.Context) error {
	select {
	case m.reading <- struct{}{}:
		defer func() { <-m.reading }()
	case <-ctx.Done():
		return ctx.Err()
	}
	m.mu.Lock()
	m.since, m.stale = []Change{}, false
	m.mu.Unlock()
	var entries []Entry
	err := m.origin.Iterate(ctx, Root, func(key, value string) error {
		entries = append(entries, Entry{key, value})
		return nil
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	m.swap(NewTable(entries), err)
	return err
}

// swap puts a table in the place of the copy, with the changes that were made
// while it was read, which it may or may not show.
func (m *Mirror) swap(table Table, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if (err != nil) != (m.failed != nil) {
		m.say(err)
	}
	m.failed, m.stale = err, m.stale || err != nil
	for c := range m.commits {
		c.read = c.read || !m.followed
	}
	since := m.since
	m.since = nil
	if err != nil {
		return
	}
	m.replace(table.merge(table.effective(since)))
	select {
	case <-m.loaded:
	default:
		close(m.loaded)
	}
}

func (m *Mirror) say(err error) {
	if err == nil {
		m.opt.Log.Info("dictionary can be read again")
		return
	}
	m.opt.Log.Error("dictionary can't be read, what was read before is used", "error", err)
}

// tell takes in what the origin tells of.
func (m *Mirror) tell(changes []Change) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for c := range m.commits {
		for _, change := range changes {
			if _, both := c.told[change.Key]; both {
				c.told[change.Key] = true
			}
		}
	}
	m.apply(changes)
}

// apply makes changes in the copy that were made at the origin. It is called with mu held.
func (m *Mirror) apply(changes []Change) {
	if m.since != nil {
		m.since = append(m.since, changes...)
	}
	m.replace(m.table.merge(m.table.effective(changes)))
}

// replace is called with mu held.
func (m *Mirror) replace(table Table) {
	if table.Equal(m.table) {
		return
	}
	m.table = table
	close(m.told)
	m.told = make(chan struct{})
}
