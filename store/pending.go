package store

import (
	"container/list"
	"sync"
	"time"
)

// pending remembers what waits for the disk and since when. A nil one forgets it.
type pending struct {
	mu    sync.Mutex
	begun list.List // of time.Time, the oldest in front
}

// begin notes that something begins to wait, until end.
func (p *pending) begin() *list.Element {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.begun.PushBack(time.Now())
}

func (p *pending) end(e *list.Element) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begun.Remove(e)
}

// oldest is how long the first of those who wait has waited; 0 if nobody does.
func (p *pending) oldest() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.begun.Front(); e != nil {
		return time.Since(e.Value.(time.Time))
	}
	return 0
}

// Pending is how long the oldest write or sync of a log or manifest has been waiting
// for the disk, 0 if none is. Who watches the storage asks it; it never waits.
func (s *Store) Pending() time.Duration { return s.pending.oldest() }
