package scenario

import (
	"fmt"
	"sync"
	"time"
)

// waits are how long users waited for an OK: from when a client asked for the first
// time since the last OK until it got one, with all attempts between.
type waits struct {
	mu       sync.Mutex // guards what follows
	served   map[string]bool
	since    map[string]time.Duration // who waits now
	longest  wait
	measured map[string]bool // whom a backend held when the measurement began
	inside   wait            // the longest of those since then
	outside  wait            // and of all others
	failures map[string]int  // commands without an OK since then
}

// wait is one that has ended, or has lasted so long by now.
type wait struct {
	user string
	from time.Duration
	took time.Duration
}

func (w wait) String() string {
	return fmt.Sprintf("%s (%s, from %.1fs)", w.took.Round(time.Millisecond), w.user, w.from.Seconds())
}

func longer(a, b wait) wait {
	if b.took > a.took {
		return b
	}
	return a
}

func newWaits() *waits {
	return &waits{served: map[string]bool{}, since: map[string]time.Duration{}, failures: map[string]int{}}
}

// asks is called before each command of a user.
func (w *waits) asks(user string, now time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, waits := w.since[user]; !waits {
		w.since[user] = now
	}
}

// answered is called after it. The wait has ended then, unless it is ok false.
func (w *waits) answered(user string, now time.Duration, ok bool) (ended wait) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !ok {
		w.failures[user]++
		return wait{}
	}
	w.served[user] = true
	return w.end(user, now)
}

// gives is called when a user asks no more, served or not.
func (w *waits) gives(user string, now time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.end(user, now)
}

func (w *waits) end(user string, now time.Duration) wait {
	since, waits := w.since[user]
	if !waits {
		return wait{}
	}
	delete(w.since, user)
	ended := wait{user, since, now - since}
	w.longest = longer(w.longest, ended)
	if w.measured[user] {
		w.inside = longer(w.inside, ended)
	} else {
		w.outside = longer(w.outside, ended)
	}
	return ended
}

// measure begins a measurement of some users apart from all others.
func (w *waits) measure(users map[string]bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.measured, w.inside, w.outside = users, wait{}, wait{}
	clear(w.failures)
}

// since the measurement began: the longest wait of those measured, or of the others, of
// whom failed got something else than OK.
func (w *waits) result(measured bool, now time.Duration) (longest wait, failed []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	longest = w.outside
	if measured {
		longest = w.inside
	}
	for user, since := range w.since {
		if w.measured[user] == measured {
			longest = longer(longest, wait{user, since, now - since})
		}
	}
	for user, n := range w.failures {
		if w.measured[user] == measured {
			failed = append(failed, fmt.Sprintf("%s: %d", user, n))
		}
	}
	return longest, failed
}

// forget has nobody be served since now.
func (w *waits) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.served)
}

func (w *waits) isServed(user string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.served[user]
}

// worst is the longest wait of all, over or not.
func (w *waits) worst(now time.Duration) wait {
	w.mu.Lock()
	defer w.mu.Unlock()
	longest := w.longest
	for user, since := range w.since {
		longest = longer(longest, wait{user, since, now - since})
	}
	return longest
}
