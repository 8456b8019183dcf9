package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// troubleStays is how long a backend is no candidate after the last failure of storage.
const troubleStays = 10 * time.Second

// health is what a Holder knows of its storage, and of its way to the Coordinator.
type health struct {
	limit   time.Duration
	pending func() time.Duration // may be nil

	mu       sync.Mutex // guards what follows
	probing  bool
	since    time.Duration // the probe is under way
	bad      error         // what a probe failed with last
	badUntil time.Duration // for how long that counts
	away     error         // why the lease can't be renewed
}

// probe writes to storage now and then until ctx ends. One that hangs is not followed
// by another.
func (h *Holder) probe(ctx context.Context) {
	if h.cfg.Probe == nil {
		return
	}
	for ctx.Err() == nil {
		done := h.probeOnce(ctx)
		select {
		case <-done:
		case <-ctx.Done():
			return // the goroutine goes on until the kernel lets it
		}
		select {
		case <-h.cfg.Clock.After(h.cfg.TTL / 3):
		case <-ctx.Done():
		}
	}
}

func (h *Holder) probeOnce(ctx context.Context) (done chan struct{}) {
	done = make(chan struct{})
	h.health.began(h.cfg.Clock.Now())
	go func() {
		defer close(done)
		limited, stop := context.WithTimeout(ctx, h.cfg.StorageTimeout)
		defer stop()
		err := h.cfg.Probe(limited)
		if ctx.Err() == nil && h.health.probed(h.cfg.Clock.Now(), err) {
			h.cfg.Log.Error("storage can't be written to: this backend takes no more users", "err", err)
		}
	}()
	return done
}

func (s *health) began(now time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.probing, s.since = true, now
}

// probed records a probe's end, and says whether storage has just gone bad.
func (s *health) probed(now time.Duration, err error) (news bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.probing = false
	if err == nil {
		return false
	}
	news = now >= s.badUntil
	s.bad, s.badUntil = err, now+troubleStays
	return news
}

// keptAlive records how an attempt to have a lease ended, and says whether that is
// other than before.
func (s *health) keptAlive(err error) (news bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	news = (s.away == nil) != (err == nil)
	s.away = err
	return news
}

// stalled says what hangs in storage, too long for the lease to go on; "" if nothing.
func (s *health) stalled(now time.Duration) string {
	if s.pending != nil {
		if d := s.pending(); d > s.limit {
			return fmt.Sprintf("a write to storage has been under way for %v", d.Round(time.Millisecond))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := now - s.since; s.probing && d > s.limit {
		return fmt.Sprintf("a test write to storage has been under way for %v", d.Round(time.Millisecond))
	}
	return ""
}

// trouble is why the backend should be no candidate; "" if nothing.
func (s *health) trouble(now time.Duration) string {
	if what := s.stalled(now); what != "" {
		return what
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bad != nil && now < s.badUntil {
		return "storage: " + s.bad.Error()
	}
	return ""
}

// why says why a lease was lost.
func (s *health) why(now time.Duration) string {
	if what := s.stalled(now); what != "" {
		return what
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case errors.Is(s.away, ErrNoLease):
		return "the coordinator has ended it: it was not renewed in time, or this machine stood still"
	case s.away != nil:
		return "it could not be renewed: " + s.away.Error()
	}
	return "it was not renewed in time: this process or machine stood still"
}
