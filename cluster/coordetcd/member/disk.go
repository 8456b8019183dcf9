package member

import (
	"context"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// Syncs says how fast a member's log gets onto its disk. All members of the cluster
// wait for the disks of most of them, and elect another leader when its disk is slow.
type Syncs struct {
	Count uint64        // in the last half minute
	P99   time.Duration // 99 % of them took no longer; etcd's buckets are powers of two
	Slow  bool          // P99 is above what a member can bear
}

// Times of looking at the disk.
const (
	syncsEvery = 30 * time.Second
	slowSync   = 64 * time.Millisecond // an eighth of the time after which a leader is given up
	fsyncs     = "etcd_disk_wal_fsync_duration_seconds"
)

// Syncs are those of the last half minute that is over.
func (m *Member) Syncs() Syncs {
	m.syncs.mu.Lock()
	defer m.syncs.mu.Unlock()
	return m.syncs.last
}

// syncs measures a member's disk, by etcd's own histogram. That is one for all members
// of a process.
type syncs struct {
	mu   sync.Mutex
	last Syncs
}

// watch looks at the disk until ctx ends, and logs when it becomes slow, and fast again.
func (s *syncs) watch(ctx context.Context, log *slog.Logger) {
	tick := time.NewTicker(syncsEvery)
	defer tick.Stop()
	before := buckets(prometheus.DefaultGatherer)
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		now := buckets(prometheus.DefaultGatherer)
		s.note(syncsBetween(before, now), log)
		before = now
	}
}

func (s *syncs) note(now Syncs, log *slog.Logger) {
	s.mu.Lock()
	was := s.last.Slow
	s.last = now
	s.mu.Unlock()
	switch {
	case now.Slow:
		log.Warn("coordinator: its disk is slow: everybody waits for it, and leaders change", "fsync_p99", now.P99, "fsyncs", now.Count)
	case was:
		log.Info("coordinator: its disk is fast again", "fsync_p99", now.P99, "fsyncs", now.Count)
	}
}

// buckets are etcd's histogram of syncs; nil before the first.
func buckets(from prometheus.Gatherer) *dto.Histogram {
	families, _ := from.Gather() // what can be gathered is there beside an error
	for _, f := range families {
		if f.GetName() == fsyncs && len(f.GetMetric()) == 1 {
			return f.GetMetric()[0].GetHistogram()
		}
	}
	return nil
}

// syncsBetween says how long the syncs took that are in the second histogram only.
func syncsBetween(before, now *dto.Histogram) Syncs {
	s := Syncs{Count: now.GetSampleCount() - before.GetSampleCount()}
	if s.Count == 0 {
		return s
	}
	counted := map[float64]uint64{}
	for _, b := range before.GetBucket() {
		counted[b.GetUpperBound()] = b.GetCumulativeCount()
	}
	s.P99 = math.MaxInt64
	for _, b := range now.GetBucket() {
		if (b.GetCumulativeCount()-counted[b.GetUpperBound()])*100 >= s.Count*99 {
			s.P99 = time.Duration(b.GetUpperBound() * float64(time.Second))
			break
		}
	}
	s.Slow = s.P99 > slowSync
	return s
}

// sharesDisk gives the volume that is on the filesystem of dir, or of what will contain
// it; "" if none is.
func sharesDisk(dir string, volumes []string) string {
	at, ok := device(dir)
	for !ok && dir != filepath.Dir(dir) {
		dir = filepath.Dir(dir)
		at, ok = device(dir)
	}
	for _, v := range volumes {
		if its, known := device(v); ok && known && its == at {
			return v
		}
	}
	return ""
}

func device(path string) (uint64, bool) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return uint64(stat.Dev), true
}
