package scenario

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
)

// Runner has a scenario happen in a World.
type Runner struct {
	World World
	Seed  uint64
	Logf  func(format string, args ...any) // told of every step; nil is nobody

	clients []*client
	stop    context.CancelFunc // of the load; nil while it is off
	working sync.WaitGroup

	mu     sync.Mutex      // guards what follows
	served map[string]bool // whose command was answered with OK since the last reset
	worst  map[string]time.Duration
	bad    map[string]time.Duration // since when a user has had no OK
}

// Run has all steps happen, and checks at the end in any case.
func (r *Runner) Run(ctx context.Context, s *Scenario) error {
	r.served, r.bad, r.worst = map[string]bool{}, map[string]time.Duration{}, map[string]time.Duration{}
	for i, user := range s.UserNames() {
		r.clients = append(r.clients, &client{
			world: r.World, ledger: newLedger(user), rand: rand.New(rand.NewPCG(r.Seed, uint64(i))),
			served: func(ok bool) { r.note(user, ok) },
		})
	}
	defer r.loadOff()
	begun := r.World.Now()
	for _, step := range s.Steps {
		r.logf("%6.1fs %s", (r.World.Now() - begun).Seconds(), step.Text)
		if err := r.step(ctx, step); err != nil {
			return fmt.Errorf("%s:%d: %s: %w", s.Name, step.Line, step.Text, err)
		}
	}
	return r.check(ctx)
}

func (r *Runner) logf(format string, args ...any) {
	if r.Logf != nil {
		r.Logf(format, args...)
	}
}

func (r *Runner) step(ctx context.Context, s Step) error {
	switch s.Verb {
	case "for":
		r.World.Sleep(ctx, s.Within)
	case "load":
		if s.Args[0] == "on" {
			r.loadOn(ctx)
		} else {
			r.loadOff()
		}
	case "served":
		return r.awaitServed(ctx, s.Within)
	case "check":
		return r.check(ctx)
	default:
		return r.World.Do(ctx, s)
	}
	return ctx.Err()
}

func (r *Runner) loadOn(ctx context.Context) {
	if r.stop != nil {
		return
	}
	ctx, r.stop = context.WithCancel(ctx)
	for _, c := range r.clients {
		r.working.Go(func() { c.run(ctx) })
	}
}

// loadOff returns when every client has its last answer.
func (r *Runner) loadOff() {
	if r.stop == nil {
		return
	}
	r.stop()
	r.working.Wait()
	r.stop = nil
}

// note takes down whether a user was served just now.
func (r *Runner) note(user string, ok bool) {
	now := r.World.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	since, failing := r.bad[user]
	switch {
	case ok && failing:
		r.worst[user] = max(r.worst[user], now-since)
		delete(r.bad, user)
	case !ok && !failing:
		r.bad[user] = now
	}
	if ok {
		r.served[user] = true
	}
}

// awaitServed waits until each user has had an OK since now.
func (r *Runner) awaitServed(ctx context.Context, within time.Duration) error {
	if r.stop == nil {
		return errors.New("the load is off")
	}
	r.mu.Lock()
	clear(r.served)
	r.mu.Unlock()
	deadline := r.World.Now() + within
	for {
		missing := r.unserved()
		switch {
		case len(missing) == 0:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case r.World.Now() > deadline:
			return fmt.Errorf("%d users have had no OK: %.200s", len(missing), strings.Join(missing, " "))
		}
		r.World.Sleep(ctx, 20*time.Millisecond)
	}
}

func (r *Runner) unserved() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var missing []string
	for _, c := range r.clients {
		if !r.served[c.ledger.user] {
			missing = append(missing, c.ledger.user)
		}
	}
	return missing
}

// checkTime bounds how long reading all mail may take.
const checkTime = time.Minute

// check ends the load, reads everything, and tells what can't be; then the load goes
// on if it was on.
func (r *Runner) check(ctx context.Context) error {
	loaded := r.stop != nil
	r.loadOff()
	brief, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	var checking sync.WaitGroup
	for _, c := range r.clients {
		checking.Go(func() {
			c.check(brief)
			c.leave()
		})
	}
	checking.Wait()
	if err := r.verdict(); err != nil {
		return err
	}
	if loaded {
		r.loadOn(ctx)
	}
	return ctx.Err()
}

func (r *Runner) verdict() error {
	var problems []string
	var yes, no, unknown int
	for _, c := range r.clients {
		problems = append(problems, c.ledger.problems...)
		yes, no, unknown = yes+c.ledger.acknowledged, no+c.ledger.refused, unknown+c.ledger.unknown
	}
	r.logf("%d changes acknowledged, %d refused, %d unknown; the longest without an OK: %s", yes, no, unknown, r.Worst().Round(time.Millisecond))
	if len(problems) > 0 {
		return fmt.Errorf("%d things can't be:\n%s", len(problems), strings.Join(problems, "\n"))
	}
	return nil
}

// Acknowledged is how many changes were answered with OK. It is called after Run.
func (r *Runner) Acknowledged() int {
	n := 0
	for _, c := range r.clients {
		n += c.ledger.acknowledged
	}
	return n
}

// Worst is the longest that any user was without an OK.
func (r *Runner) Worst() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	var d time.Duration
	for _, w := range r.worst {
		d = max(d, w)
	}
	return d
}
