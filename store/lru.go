package store

import (
	"container/list"
	"context"
	"sync"
	"time"
)

// lru shares out a limited resource of the process among what uses it. What was
// not used for longest gives its share back first, if it can.
type lru struct {
	limit int64

	mu     sync.Mutex
	used   int64
	order  list.List // of *share, the one used last in front
	busy   bool      // shrink runs
	again  time.Time // not before
	ended  bool
	ctx    context.Context // of shrink; cancel ends it
	cancel context.CancelFunc
	work   sync.WaitGroup
}

// share is what one user of the resource has of it.
type share struct {
	cost int64
	elem *list.Element // nil: nothing is held
	// release gives it back, which ends in free or a smaller use. It returns at
	// once if that is not possible now; later says that it is under way or may be soon.
	release func(ctx context.Context) (later bool)
}

const (
	// lruPause is how long a limit that can't be kept is left alone, and how
	// often what asked for a little time is asked again.
	lruPause  = time.Second
	lruPasses = 5
)

func newLRU(limit int64) *lru {
	l := &lru{limit: limit}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l
}

// use notes that s is in use and what it costs.
func (l *lru) use(s *share, cost int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.elem == nil {
		s.elem = l.order.PushFront(s)
	} else {
		l.order.MoveToFront(s.elem)
	}
	l.used += cost - s.cost
	s.cost = cost
	if l.used > l.limit && !l.busy && !l.ended && time.Now().After(l.again) {
		l.busy = true
		l.work.Go(l.shrink)
	}
}

// free notes that s is given back.
func (l *lru) free(s *share) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.elem != nil {
		l.order.Remove(s.elem)
		l.used -= s.cost
		s.elem, s.cost = nil, 0
	}
}

// shrink has shares given back until an eighth of the limit is free.
func (l *lru) shrink() {
	for range lruPasses {
		var leaving int64
		later := false
		for _, s := range l.oldest() {
			if l.enough(leaving) {
				break
			}
			cost := l.costOf(s)
			if s.release(l.ctx) {
				later = true
				leaving += cost
			}
		}
		if !later || l.enough(0) || pause(l.ctx, lruPause) != nil {
			break
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy = false
	if l.used > l.limit {
		l.again = time.Now().Add(lruPause)
	}
}

// enough says whether no more has to be given back once leaving is.
func (l *lru) enough(leaving int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ended || l.used-leaving <= l.limit-l.limit/8
}

func (l *lru) costOf(s *share) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return s.cost
}

// oldest are all shares, the one that was not used for longest first.
func (l *lru) oldest() []*share {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]*share, 0, l.order.Len())
	for e := l.order.Back(); e != nil; e = e.Prev() {
		all = append(all, e.Value.(*share))
	}
	return all
}

// close ends the sharing; nothing is asked to give back any more.
func (l *lru) close() {
	l.mu.Lock()
	l.ended = true
	l.mu.Unlock()
	l.cancel()
	l.work.Wait()
}
