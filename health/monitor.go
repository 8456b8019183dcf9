package health

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
)

// Monitor checks backends, each in a goroutine of its own. Its methods may be
// called by any number of goroutines.
type Monitor struct {
	cfg   Config
	probe func(context.Context, Target, Settings) error // check, but in tests
	turns chan struct{}                                 // one for each check under way

	mu       sync.Mutex // guards what follows
	backends map[Target]*backend
}

// backend is one Target and what was observed of it, under Monitor.mu.
type backend struct {
	State
	since  time.Duration // by the Clock
	streak int           // checks in a row that contradict Up
	silent int           // checks in a row without a greeting
	stop   context.CancelFunc
}

// maxChecks is how many backends are checked at once.
const maxChecks = 64

// idleRound is how often a Monitor that checks nothing asks whether it should.
const idleRound = 5 * time.Second

// NewMonitor makes a Monitor. It checks nothing before Run.
func NewMonitor(cfg Config) *Monitor {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	m := &Monitor{cfg: cfg, turns: make(chan struct{}, maxChecks), backends: map[Target]*backend{}}
	m.probe = m.check
	return m
}

// Run checks until ctx ends, and returns when no check is under way.
func (m *Monitor) Run(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	for ctx.Err() == nil {
		set := m.cfg.Settings()
		var targets []Target
		if set.Interval > 0 {
			targets = m.cfg.Targets()
		}
		m.follow(ctx, targets, &running)
		pause := idleRound
		if set.Interval > 0 {
			pause = min(pause, set.Interval)
		}
		m.sleep(ctx, pause)
	}
}

// follow begins to check what is new among targets and ends the rest.
func (m *Monitor) follow(ctx context.Context, targets []Target, running *sync.WaitGroup) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for t, b := range m.backends {
		if !slices.Contains(targets, t) {
			b.stop()
			delete(m.backends, t)
		}
	}
	for _, t := range targets {
		if m.backends[t] != nil {
			continue
		}
		ctx, stop := context.WithCancel(ctx)
		b := &backend{State: State{Target: t, Up: true, Since: time.Now()}, since: m.cfg.Clock.Now(), stop: stop}
		m.backends[t] = b
		running.Go(func() { m.watch(ctx, b) })
	}
}

// watch checks one backend again and again. The first check comes after some part
// of the interval, so that many are spread over it.
func (m *Monitor) watch(ctx context.Context, b *backend) {
	m.sleep(ctx, rand.N(max(m.cfg.Settings().Interval, 1)))
	for ctx.Err() == nil {
		set := m.cfg.Settings()
		select {
		case m.turns <- struct{}{}:
		case <-ctx.Done():
			return
		}
		began := m.cfg.Clock.Now()
		err := m.probe(ctx, b.Target, set)
		took := m.cfg.Clock.Now() - began
		<-m.turns
		if ctx.Err() != nil {
			return // what it found may be of our own end
		}
		doubtful := m.note(b, set, took, err)
		m.sleep(ctx, pause(set.Interval, doubtful))
	}
}

// pause is the time between two checks: somewhat more or less than the interval, and
// a quarter of it where the next one may change what is known.
func pause(interval time.Duration, doubtful bool) time.Duration {
	if interval <= 0 {
		return idleRound
	}
	if doubtful {
		interval = max(interval/4, 100*time.Millisecond)
	}
	return interval*9/10 + rand.N(interval/5+1)
}

func (m *Monitor) sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-m.cfg.Clock.After(d):
	}
}

// note takes down how a check ended. It reports whether the next one may change
// what is known.
func (m *Monitor) note(b *backend, set Settings, took time.Duration, err error) (doubtful bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b.Checked, b.Took = true, took
	b.Checks++
	b.Reason, b.silent = "", b.silence(err)
	if err != nil {
		b.Failures++
		b.Reason = err.Error()
	}
	if b.Up == (err == nil) {
		b.streak = 0
		return b.silent > 0
	}
	need := set.Rise
	if b.Up {
		need = set.Fall
	}
	if b.streak++; b.streak < need {
		return true
	}
	m.turn(b)
	return b.silent > 0
}

// silence is how many checks in a row have come to no greeting.
func (b *backend) silence(err error) int {
	if f, ok := errors.AsType[*Failure](err); ok && (f.Step == Connect || f.Step == Greeting) {
		return b.silent + 1
	}
	return 0
}

// turn makes up down and down up, and says so. The caller holds m.mu.
func (m *Monitor) turn(b *backend) {
	now := m.cfg.Clock.Now()
	lasted := (now - b.since).Round(time.Millisecond)
	b.Up, b.streak, b.since, b.Since = !b.Up, 0, now, time.Now()
	log := m.cfg.Log.With("backend", b.Name, "addr", b.Addr)
	if b.Up {
		log.Info("backend is up again", "down_for", lasted)
		return
	}
	log.Warn("backend is down", "reason", b.Reason, "up_for", lasted)
}

// States are the backends that are checked, by their names.
func (m *Monitor) States() []State {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.cfg.Clock.Now()
	states := make([]State, 0, len(m.backends))
	for _, b := range m.backends {
		s := b.State
		s.Lasts = now - b.since
		states = append(states, s)
	}
	slices.SortFunc(states, func(a, b State) int {
		return strings.Compare(a.Name+" "+a.Addr, b.Name+" "+b.Addr)
	})
	return states
}

// Words is what is known of the backend with a name, for people: "ok", or since when and
// why not. It is empty if that is not checked.
func (m *Monitor) Words(name string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, b := range m.backends {
		if b.Name == name {
			return b.words(m.cfg.Clock.Now())
		}
	}
	return ""
}

func (b *backend) words(now time.Duration) string {
	switch {
	case !b.Checked:
		return "not checked yet"
	case b.Up && b.Reason == "":
		return "ok"
	case b.Up:
		return "failing: " + b.Reason
	case b.Reason == "":
		return "coming back"
	}
	return fmt.Sprintf("down for %v: %s", (now - b.since).Round(time.Second), b.Reason)
}

// Refuses says that a login at an address would be in vain, and why: the last
// checks, as many as make a backend down, came to no greeting. One that does ends it.
func (m *Monitor) Refuses(addr string) (reason string, yes bool) {
	fall := m.cfg.Settings().Fall
	m.mu.Lock()
	defer m.mu.Unlock()
	for t, b := range m.backends {
		if t.Addr == addr && b.silent >= max(fall, 1) {
			return b.Reason, true
		}
	}
	return "", false
}
