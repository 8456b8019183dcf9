package store

import (
	"path/filepath"
	"sync/atomic"

	"github.com/roost-mail/roost/metric"
)

// counters are owned by a Store.
type counters struct {
	commits   metric.Histogram
	confirms  metric.Histogram
	rewritten atomic.Int64
}

// Stats is what a Store has open, and what it has done since it was made.
type Stats struct {
	Accounts  int   // that are open, or being opened or closed
	Lingering int   // of them, those that nobody uses
	Memory    int64 // bytes, about
	Files     int64 // that are open

	Commits   metric.Snapshot // durable ones, each for any number of changes: from the write to the answer
	Confirms  metric.Snapshot // of them, the waits for Claim.Confirm
	Rewritten int64           // bytes of messages that were moved to get room back
}

// Stats reads no disk. It may be called by any goroutine.
func (s *Store) Stats() Stats {
	st := Stats{
		Memory: s.memory.inUse(), Files: s.files.inUse(),
		Commits: s.counters.commits.Read(), Confirms: s.counters.confirms.Read(), Rewritten: s.counters.rewritten.Load(),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st.Accounts, st.Lingering = len(s.accounts), s.idle
	return st
}

func (l *lru) inUse() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.used
}

// Volume is one of Options.Volumes.
type Volume struct {
	Root    string
	ID      string // of its marker
	Free    int64  // bytes
	Ballast bool   // it is in place
	Err     error  // why the rest is not known: it is not mounted, mostly
}

// Volumes looks at the filesystems that hold mail, and so may hang with them.
func (s *Store) Volumes() []Volume {
	volumes := make([]Volume, 0, len(s.options.Volumes))
	for _, root := range s.options.Volumes {
		v := Volume{Root: root}
		if v.ID, v.Err = volumeID(s.options.FS, root); v.Err == nil {
			v.Free, v.Err = s.options.FS.Free(root)
		}
		if abs, err := filepath.Abs(root); err == nil {
			v.Ballast = s.ballasts[abs].inPlace()
		}
		volumes = append(volumes, v)
	}
	return volumes
}

func (b *ballast) inPlace() bool {
	if b == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.there
}
