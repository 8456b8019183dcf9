package scenario

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
)

// Runner has a scenario happen in a World.
type Runner struct {
	World World
	Seed  uint64
	Logf  func(format string, args ...any) // told of every step; nil is nobody

	scenario *Scenario
	begun    time.Duration
	clients  []*client
	stop     context.CancelFunc // of the load; nil while it is off
	working  sync.WaitGroup
	waits    *waits

	generation uint64 // the last that was begun: a copy may be from before it
}

// Run has all steps happen, and checks at the end in any case.
func (r *Runner) Run(ctx context.Context, s *Scenario) error {
	for _, verb := range s.Verbs() {
		if !r.World.Can(verb) {
			return fmt.Errorf("%s: this world can't %s", s.Name, verb)
		}
	}
	r.scenario, r.waits, r.begun = s, newWaits(), r.World.Now()
	users := s.UserNames()
	for i, user := range users {
		r.clients = append(r.clients, &client{
			world: r.World, ledger: newLedger(user), others: othersOf(users, i), rand: rand.New(rand.NewPCG(r.Seed, uint64(i))),
			asks:     func() { r.waits.asks(user, r.now()) },
			answered: func(ok bool) { r.answered(user, ok) },
			gives:    func() { r.waits.gives(user, r.now()) },
		})
	}
	defer r.loadOff()
	for _, step := range s.Steps {
		r.logf("%6.1fs %s", r.now().Seconds(), step.Text)
		if err := r.step(ctx, step); err != nil {
			return fmt.Errorf("%s:%d: %s: %w", s.Name, step.Line, step.Text, err)
		}
	}
	return r.check(ctx)
}

// maxReaders is with how many others each user shares mailboxes.
const maxReaders = 5

// othersOf are those after user i, and then the first.
func othersOf(users []string, i int) []string {
	others := slices.Concat(users[i+1:], users[:i])
	return others[:min(len(others), maxReaders)]
}

// now is the time since the scenario began.
func (r *Runner) now() time.Duration { return r.World.Now() - r.begun }

// longWait is one that is worth a line: longer than a lease and what comes after it.
const longWait = 8 * time.Second

func (r *Runner) answered(user string, ok bool) {
	if w := r.waits.answered(user, r.now(), ok); w.took > longWait {
		r.logf("%6.1fs   without an OK for %s", r.now().Seconds(), w)
	}
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
	case "settled":
		return r.settled(ctx, s.Within)
	case "random":
		return r.random(ctx, s)
	case "measure":
		users, err := r.heldBy(s.Args[0])
		r.waits.measure(users)
		return err
	case "waited":
		return r.waited(s.Within)
	case "unnoticed":
		return r.unnoticed(s.Within)
	case "drain", "up", "down", "move", "unmove", "new-generation":
		return r.administer(ctx, s)
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

// waited says who of those measured has waited for too long.
func (r *Runner) waited(within time.Duration) error {
	w, _ := r.waits.result(true, r.now())
	r.logf("        the longest wait was %s", w)
	switch {
	case w.took == 0:
		return errors.New("nobody was measured")
	case w.took > within:
		return fmt.Errorf("without an OK for %s", w)
	}
	return nil
}

// unnoticed says who of all others has noticed anything.
func (r *Runner) unnoticed(within time.Duration) error {
	w, failed := r.waits.result(false, r.now())
	r.logf("        the longest wait of others was %s", w)
	switch {
	case w.took == 0:
		return errors.New("there are no others")
	case len(failed) > 0:
		return fmt.Errorf("commands of others without an OK: %.200s", strings.Join(failed, ", "))
	case w.took > within:
		return fmt.Errorf("others were without an OK for %s", w)
	}
	return nil
}

// awaitServed waits until each user has had an OK since now.
func (r *Runner) awaitServed(ctx context.Context, within time.Duration) error {
	if r.stop == nil {
		return errors.New("the load is off")
	}
	r.waits.forget()
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
	var missing []string
	for _, c := range r.clients {
		if !r.waits.isServed(c.ledger.user) {
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
	if err := errors.Join(r.verdict(), r.drift(ctx)); err != nil {
		return err
	}
	if loaded {
		r.loadOn(ctx)
	}
	return ctx.Err()
}

// enter has every user log in: what an owner's last backend could not publish, the one that
// has the owner now publishes then.
func (r *Runner) enter(ctx context.Context) {
	for _, c := range r.clients {
		if s, err := r.World.Open(ctx, c.ledger.user); err == nil {
			_ = s.Close()
		}
	}
}

// driftTime bounds how long the index may take, and afterDrift is between two looks at it.
const (
	driftTime  = 2 * time.Minute
	afterDrift = time.Second
)

// drift waits until the sharing index says what the mailboxes say.
func (r *Runner) drift(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, driftTime)
	defer cancel()
	var last string
	for {
		what, err := r.World.Drift(ctx)
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("the sharing index is wrong: %s", last)
		case err == nil && what == "":
			return nil
		case err != nil:
			what = err.Error()
		}
		last = what
		r.World.Sleep(ctx, afterDrift)
		r.enter(ctx)
	}
}

func (r *Runner) verdict() error {
	var problems []string
	var yes, no, unknown, logins int
	for _, c := range r.clients {
		problems = append(problems, c.ledger.problems...)
		yes, no, unknown = yes+c.ledger.acknowledged, no+c.ledger.refused, unknown+c.ledger.unknown
		logins += c.failed
	}
	r.logf("%d changes acknowledged, %d refused, %d unknown; %d logins failed; the longest without an OK: %s", yes, no, unknown, logins, r.waits.worst(r.now()))
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

// Worst is the longest that any user has waited for an OK.
func (r *Runner) Worst() time.Duration { return r.waits.worst(r.now()).took }
