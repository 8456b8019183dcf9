package cluster

import (
	"context"
	"sync"
	"time"
)

// confirms shares reads of our own Alive among all who wait for one.
type confirms struct {
	mu      sync.Mutex // guards what follows
	next    *confirmation
	running bool // a goroutine reads
}

// confirmation is one read, which begins after all who wait for it came.
type confirmation struct {
	done    chan struct{} // closed when what follows is set
	waiters int           // confirms.mu guards it
	lease   LeaseID       // that our Alive had; 0: it is gone
	err     error
}

// confirm says which lease our Alive has at some moment between call and return.
func (h *Holder) confirm(ctx context.Context) (LeaseID, error) {
	s := &h.confirms
	s.mu.Lock()
	if s.next == nil {
		s.next = &confirmation{done: make(chan struct{})}
	}
	mine := s.next
	mine.waiters++
	begin := !s.running
	s.running = true
	s.mu.Unlock()
	if begin {
		go h.runConfirms()
	}
	select {
	case <-mine.done:
		return mine.lease, mine.err
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

// runConfirms reads until nobody waits.
func (h *Holder) runConfirms() {
	s := &h.confirms
	for {
		s.mu.Lock()
		c := s.next
		s.next = nil
		if c == nil {
			s.running = false
			s.mu.Unlock()
			return
		}
		waiters := c.waiters
		s.mu.Unlock()
		began := h.cfg.Clock.Now()
		c.lease, c.err = h.readLease(began)
		close(c.done)
		if h.cfg.Confirmed != nil {
			h.cfg.Confirmed(h.cfg.Clock.Now()-began, waiters)
		}
	}
}

// readLease reads our Alive, and again if that fails, until the deadline.
func (h *Holder) readLease(now time.Duration) (LeaseID, error) {
	t := h.term.Load()
	ctx, done := context.WithTimeout(context.Background(), max(t.left(now), 0))
	defer done()
	for {
		kv, err := h.get(ctx, keyAlive+h.cfg.Name)
		if err == nil {
			return kv.Lease, nil
		}
		if t.hasEnded() {
			return 0, errLeaseLost
		}
		select {
		case <-h.cfg.Clock.After(retryFirst):
		case <-ctx.Done():
			return 0, err
		}
	}
}
