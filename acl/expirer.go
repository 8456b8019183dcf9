package acl

import (
	"container/heap"
	"context"
	"log/slog"
	"sync"
	"time"
)

// ExpirerConfig says what an Expirer does.
type ExpirerConfig struct {
	Log *slog.Logger

	// Mine says whether an owner's mail is this backend's.
	Mine func(owner string) bool

	// Remove removes an owner's entries that have expired, and returns when the next
	// does, 0 if none.
	Remove func(ctx context.Context, owner string) (next int64, err error)
}

// Expirer removes entries from owners' mail when they expire, one owner after another.
// Rights don't wait for it: Holding judges.
type Expirer struct {
	cfg  ExpirerConfig
	wake chan struct{}

	mu    sync.Mutex       // guards what follows
	dates map[string]int64 // by owner
	order dueHeap          // each of dates; others in it are outdated
}

// Bounds of an Expirer.
const (
	expireTime  = 30 * time.Second // for one owner
	expireAgain = time.Minute      // after a failure
	expireLook  = time.Minute      // so that a clock that is set is noticed
)

// NewExpirer makes an Expirer, which does nothing before Run.
func NewExpirer(cfg ExpirerConfig) *Expirer {
	return &Expirer{cfg: cfg, wake: make(chan struct{}, 1), dates: map[string]int64{}}
}

// Note takes in that an owner's mail is open here, and that its first entry expires at
// a time, in seconds of Unix time; 0 is never. It does not wait.
func (x *Expirer) Note(owner string, at int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch had, is := x.dates[owner]; {
	case at == 0:
		delete(x.dates, owner)
	case !is || had != at:
		x.dates[owner] = at
		heap.Push(&x.order, due{at, owner})
		select {
		case x.wake <- struct{}{}:
		default:
		}
	}
}

// Run removes what is due, and sleeps until more is. It returns when ctx ends.
func (x *Expirer) Run(ctx context.Context) {
	for ctx.Err() == nil {
		owner, wait := x.next(time.Now())
		if owner != "" {
			x.remove(ctx, owner)
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-x.wake:
		case <-time.After(wait):
		}
	}
}

// next is an owner of whom something is due, who is taken out, or else how long to wait.
func (x *Expirer) next(now time.Time) (owner string, wait time.Duration) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for len(x.order) > 0 {
		first := x.order[0]
		current := x.dates[first.owner] == first.at
		if left := time.Unix(first.at, 0).Sub(now); current && left > 0 {
			return "", min(left, expireLook)
		}
		heap.Pop(&x.order)
		if current {
			delete(x.dates, first.owner)
			return first.owner, 0
		}
	}
	return "", expireLook
}

// remove sees to one owner. Whoever has the mail now sees to those who have left.
func (x *Expirer) remove(ctx context.Context, owner string) {
	if !x.cfg.Mine(owner) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, expireTime)
	defer cancel()
	next, err := x.cfg.Remove(ctx, owner)
	if err != nil {
		next = time.Now().Add(expireAgain).Unix()
		x.cfg.Log.Warn("expired rights are not removed yet, though they don't count", "owner", owner, "error", err, "again_in", expireAgain)
	}
	x.Note(owner, next)
}

// due is when something of an owner's expires.
type due struct {
	at    int64
	owner string
}

// dueHeap is a heap.Interface, the earliest first.
type dueHeap []due

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].at < h[j].at }
func (h dueHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *dueHeap) Push(v any)        { *h = append(*h, v.(due)) }
func (h *dueHeap) Pop() any {
	last := len(*h) - 1
	v := (*h)[last]
	*h = (*h)[:last]
	return v
}
