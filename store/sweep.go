package store

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"
)

// How long a file stays after the last manifest that lists it was replaced:
// readers may be about to open it, and a predecessor may not know yet. What an
// earlier epoch or another process made and no manifest lists stays longer, and
// so does what a process that died left of a manifest.
const (
	sweepAge    = 10 * time.Minute
	sweepAgeOld = 24 * time.Hour

	// Manifests: the newest three, and for a week each that took over from a
	// process that did not close, and so may go on some day.
	keptNewest   = 3
	keptClosed   = 2 // of an account that was closed, as soon as it is
	keptTakeover = 7 * 24 * time.Hour

	// backupAge is how long the registration of a backup counts that is not
	// renewed.
	backupAge = time.Hour
)

// sweep removes files that nothing needs any more, and manifests that no
// predecessor could be based on. epoch and incarnation are ours; nothing is
// removed if the newest manifest is not. Nothing breaks if it fails half-way.
//
// All ages are by the clock of the file system: now is when the newest manifest was written.
func (d *disk) sweep(epoch, incarnation uint64) error {
	s := sweeper{disk: d, epoch: epoch, incarnation: incarnation, infos: map[string]fs.FileInfo{}, current: map[string]bool{}, listed: map[string]bool{}, dropped: map[string]bool{}}
	if err := d.fence.check(); err != nil {
		return err
	}
	if err := s.look(); err != nil {
		return err
	}
	if err := d.fence.confirm(); err != nil { // the right was valid after the manifest was installed
		return err
	}
	if s.backup() {
		return nil
	}
	if err := s.manifests(); err != nil {
		return err
	}
	for name := range s.infos {
		if s.unneeded(name) {
			s.remove = append(s.remove, name)
		}
	}
	slices.Sort(s.remove)
	for _, name := range s.remove {
		if err := d.fence.check(); err != nil {
			return err
		}
		if err := d.fs.Remove(d.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// sweeper is one sweep on its way.
type sweeper struct {
	disk        *disk
	epoch       uint64
	incarnation uint64

	infos   map[string]fs.FileInfo
	numbers []uint64 // of manifests, ascending
	newest  *manifest
	current map[string]bool // listed by it
	now     time.Time
	next    uint32 // files of ours from this number on may be in the making
	listed  map[string]bool
	dropped map[string]bool // listed before, if not in listed
	remove  []string
}

// look lists the directory and makes sure that the account is ours.
func (s *sweeper) look() error {
	entries, err := s.disk.fs.List(s.disk.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			continue // removed meanwhile
		}
		s.infos[e.Name()] = info
		if n, is := parseManifestName(e.Name()); is {
			s.numbers = append(s.numbers, n)
		}
	}
	if len(s.numbers) == 0 {
		return errFenced
	}
	slices.Sort(s.numbers)
	newest := s.numbers[len(s.numbers)-1]
	m, err := s.disk.readManifest(newest)
	if err != nil {
		return err
	}
	if m.Epoch != s.epoch || m.Incarnation != fmt.Sprintf("%016x", s.incarnation) {
		return errFenced
	}
	s.newest, s.now, s.next = m, s.infos[manifestName(newest)].ModTime(), m.NextSeq
	m.addListed(s.current)
	m.addListed(s.listed)
	return nil
}

func (s *sweeper) age(name string) time.Duration { return s.now.Sub(s.infos[name].ModTime()) }

// backup says whether a backup is being made: then all stays.
func (s *sweeper) backup() bool {
	for name := range s.infos {
		if strings.HasPrefix(name, backupPrefix) && s.age(name) <= backupAge {
			return true
		}
	}
	return false
}

// manifests notes what is listed by a manifest that was replaced only now, or
// not at all, what was listed before, and which manifests are to go.
func (s *sweeper) manifests() error {
	last := len(s.numbers) - 1
	for i, n := range s.numbers[:last] {
		name := manifestName(n)
		m, err := s.disk.readManifest(n)
		fresh := s.age(manifestName(s.numbers[i+1])) <= sweepAge
		switch {
		case fresh && err != nil:
			return err
		case err != nil: // kept as long as any
			if s.age(name) > keptTakeover {
				s.remove = append(s.remove, name)
			}
			continue
		}
		guard := m.TookOver && s.age(name) <= keptTakeover
		switch {
		case i <= last-keptClosed && !guard && s.superseded(m):
			s.remove = append(s.remove, name)
		case fresh:
			m.addListed(s.listed)
		default:
			m.addListed(s.dropped)
			if !guard && i <= last-keptNewest {
				s.remove = append(s.remove, name)
			}
		}
	}
	return nil
}

// superseded says whether m is needed no more after a clean close: it lists no
// file that the newest manifest does not, and has no other folded state.
func (s *sweeper) superseded(m *manifest) bool {
	if !s.newest.Clean || m.State != nil && (s.newest.State == nil || *m.State != *s.newest.State) {
		return false
	}
	old := map[string]bool{}
	m.addListed(old)
	for name := range old {
		if s.infos[name] != nil && !s.current[name] {
			return false
		}
	}
	return true
}

// unneeded judges what is no manifest.
func (s *sweeper) unneeded(name string) bool {
	if strings.HasPrefix(name, tempPrefix) || strings.HasPrefix(name, backupPrefix) {
		return s.age(name) > sweepAgeOld
	}
	parsed, err := parseFileName(name)
	switch {
	case err != nil || s.listed[name] || s.disk.pins.held(name):
		return false
	case s.dropped[name]:
		return true
	case parsed.epoch > s.epoch:
		return false
	case parsed.epoch < s.epoch || parsed.incarnation != s.incarnation:
		return s.age(name) > sweepAgeOld
	}
	return parsed.seq < s.next && s.age(name) > sweepAge
}

// addListed adds the files that m lists.
func (m *manifest) addListed(listed map[string]bool) {
	for _, s := range m.Segments {
		listed[s.Name] = true
	}
	for _, name := range m.Tables {
		listed[name] = true
	}
	for _, d := range m.Digests {
		listed[d.Name] = true
	}
}

// pins counts who has which file of an account open for reading.
type pins struct {
	mu    sync.Mutex
	count map[string]int
}

// open opens a file of the account and pins it until it is closed.
func (p *pins) open(d *disk, name string) (File, error) {
	p.add(name, 1)
	f, err := d.fs.Open(d.path(name))
	if err != nil {
		p.add(name, -1)
		return nil, err
	}
	return &pinnedFile{File: f, release: sync.OnceFunc(func() { p.add(name, -1) })}, nil
}

func (p *pins) add(name string, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.count == nil {
		p.count = map[string]int{}
	}
	if p.count[name] += n; p.count[name] == 0 {
		delete(p.count, name)
	}
}

func (p *pins) held(name string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count[name] > 0
}

// pinnedFile is a File that a sweep leaves alone.
type pinnedFile struct {
	File
	release func()
}

func (f *pinnedFile) Close() error {
	f.release()
	return f.File.Close()
}
