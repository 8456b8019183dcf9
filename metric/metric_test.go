package metric

import (
	"sync"
	"testing"
	"time"
)

func TestHistogram(t *testing.T) {
	var h Histogram
	for _, d := range []time.Duration{-1, 0, 100 * time.Microsecond, 100*time.Microsecond + 1, time.Second, 10 * time.Second, time.Hour} {
		h.Observe(d)
	}
	s := h.Read()
	if s.Count != 7 || s.Upto[0] != 3 || s.Upto[1] != 4 || s.Upto[len(s.Upto)-1] != 6 {
		t.Errorf("%+v", s)
	}
	if want := time.Hour + 11*time.Second + 200*time.Microsecond; s.Sum != want {
		t.Errorf("sum %v, want %v", s.Sum, want)
	}
}

func TestHistogramAtOnce(t *testing.T) {
	var h Histogram
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 1000 {
				h.Observe(time.Duration(i) * time.Millisecond)
			}
		})
	}
	all.Wait()
	if s := h.Read(); s.Count != 8000 || s.Sum != 28*time.Second {
		t.Errorf("%+v", s)
	}
}

// TestNil: who is not asked to count does not.
func TestNil(t *testing.T) {
	var h *Histogram
	h.Observe(time.Second)
	if s := h.Read(); s.Count != 0 {
		t.Errorf("%+v", s)
	}
}

func TestObserveTakesNoMemory(t *testing.T) {
	var h Histogram
	if n := testing.AllocsPerRun(100, func() { h.Observe(time.Millisecond) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkObserve(b *testing.B) {
	var h Histogram
	for b.Loop() {
		h.Observe(30 * time.Microsecond)
	}
}
