package main

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// bubbleClock is the time of a synctest bubble.
type bubbleClock struct{ began time.Time }

func (c bubbleClock) Now() time.Duration                   { return time.Since(c.began) }
func (bubbleClock) After(d time.Duration) <-chan time.Time { return time.After(d) }

// TestPulse: what hangs is told after a while, is not tried again meanwhile, and what
// is not vital is told apart.
func TestPulse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPulse(bubbleClock{time.Now()})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		stuck := make(chan struct{})
		var tries atomic.Int64
		p.add("loop", true, func(context.Context) {})
		p.add("store", true, func(ctx context.Context) {
			if tries.Add(1) > 3 {
				select {
				case <-stuck:
				case <-ctx.Done():
				}
			}
		})
		p.add("mail_volume", false, func(ctx context.Context) { <-ctx.Done() })
		go p.run(ctx)
		time.Sleep(pulseLimit)
		if late := p.late(); late != "" {
			t.Errorf("too early: %s", late)
		}
		time.Sleep(pulseLimit)
		if late, want := p.late(), "store: no answer for 34 s"; late != want {
			t.Errorf("late: %q, want %q", late, want)
		}
		if hangs, want := p.hangs("mail_volume"), "no answer for 40 s"; hangs != want {
			t.Errorf("mail_volume: %q, want %q", hangs, want)
		}
		if n := tries.Load(); n != 4 {
			t.Errorf("what hangs was tried %d times", n)
		}
		close(stuck)
		time.Sleep(2 * pulseInterval)
		if late := p.late(); late != "" {
			t.Errorf("it goes on again: %s", late)
		}
		cancel()
		synctest.Wait()
	})
}

// TestTryPoller: a poller that runs answers at once.
func TestTryPoller(t *testing.T) {
	s := startSingle(t, "")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tryPoller(ctx, s.node.poller)
	if ctx.Err() != nil {
		t.Error("it does not answer")
	}
}
