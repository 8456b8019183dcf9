// Package metric counts how long things take, for whoever asks.
//
// Packages own their Histograms and atomic counters, and know nothing of where
// these are shown. To count costs a few nanoseconds, takes no lock and no memory.
package metric

import (
	"sync/atomic"
	"time"
)

// Bounds are the upper bounds of a Histogram's buckets; the last one has none.
var Bounds = [...]time.Duration{
	100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second,
}

// Histogram counts durations in buckets. The zero Histogram is empty, a nil one
// counts nothing. It is safe for concurrent use, and must not be copied.
type Histogram struct {
	buckets [len(Bounds) + 1]atomic.Uint64
	sum     atomic.Int64
}

// Observe counts a duration.
func (h *Histogram) Observe(d time.Duration) {
	if h == nil {
		return
	}
	i := 0
	for i < len(Bounds) && d > Bounds[i] {
		i++
	}
	h.buckets[i].Add(1)
	h.sum.Add(int64(d))
}

// Snapshot is what a Histogram has counted.
type Snapshot struct {
	Count uint64
	Sum   time.Duration
	Upto  [len(Bounds)]uint64 // how many took at most Bounds[i]
}

// Read is what was counted so far. Durations that are counted meanwhile may be in
// Count and not in Sum.
func (h *Histogram) Read() Snapshot {
	var s Snapshot
	if h == nil {
		return s
	}
	for i := range h.buckets {
		s.Count += h.buckets[i].Load()
		if i < len(s.Upto) {
			s.Upto[i] = s.Count
		}
	}
	s.Sum = time.Duration(h.sum.Load())
	return s
}
