package health

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// testClock is the time of a synctest bubble.
type testClock struct{}

func (testClock) Now() time.Duration                     { return time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)) }
func (testClock) After(d time.Duration) <-chan time.Time { return time.After(d) }

// world is what a Monitor of a test sees.
type world struct {
	mu      sync.Mutex
	set     Settings
	targets []Target
	answers map[string]error // of checks, by the backend's name
	checks  map[string]int
	log     bytes.Buffer
	monitor *Monitor
}

func newWorld(names ...string) *world {
	w := &world{
		set:     Settings{Interval: 10 * time.Second, Timeout: 2 * time.Second, Rise: 2, Fall: 3},
		answers: map[string]error{}, checks: map[string]int{},
	}
	for _, name := range names {
		w.targets = append(w.targets, Target{Name: name, Addr: name + ":143"})
	}
	w.monitor = NewMonitor(Config{
		Clock: testClock{},
		Log: slog.New(slog.NewTextHandler(&w.log, &slog.HandlerOptions{
			ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == slog.TimeKey || strings.HasSuffix(a.Key, "_for") {
					return slog.Attr{}
				}
				return a
			},
		})),
		Targets:  func() []Target { w.mu.Lock(); defer w.mu.Unlock(); return w.targets },
		Settings: func() Settings { w.mu.Lock(); defer w.mu.Unlock(); return w.set },
	})
	w.monitor.probe = func(_ context.Context, t Target, _ Settings) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.checks[t.Name]++
		return w.answers[t.Name]
	}
	return w
}

// run has the Monitor run while do acts.
func (w *world) run(t *testing.T, do func()) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); w.monitor.Run(ctx) }()
		do()
		cancel()
		<-done
	})
}

func (w *world) answer(name string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answers[name] = err
}

// next waits for the next check of a backend, and says for how long.
func (w *world) next(name string) time.Duration {
	count := func() int { w.mu.Lock(); defer w.mu.Unlock(); return w.checks[name] }
	began, before := time.Now(), count()
	for count() == before {
		time.Sleep(10 * time.Millisecond)
	}
	return time.Since(began)
}

// show is what is known of the backends, a word each.
func (w *world) show() string {
	var words []string
	for _, s := range w.monitor.States() {
		word := s.Name + "=up"
		if !s.Up {
			word = s.Name + "=down"
		}
		if _, yes := w.monitor.Refuses(s.Addr); yes {
			word += "!"
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

func (w *world) expect(t *testing.T, want string) {
	t.Helper()
	synctest.Wait()
	if got := w.show(); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// words is what people are told of a backend.
func (w *world) words(t *testing.T, name, want string) {
	t.Helper()
	synctest.Wait()
	if got := w.monitor.Words(name); got != want {
		t.Errorf("%s: %q, want %q", name, got, want)
	}
}

var (
	noAnswer    = &Failure{Connect, errors.New("timed out after 2s")}
	badPassword = &Failure{Login, errors.New("refused")}
)

func TestHysteresis(t *testing.T) {
	w := newWorld("b1", "b2")
	w.run(t, func() {
		time.Sleep(30 * time.Second)
		w.expect(t, "b1=up b2=up")
		w.answer("b1", noAnswer)
		w.next("b1")
		w.expect(t, "b1=up b2=up")
		w.words(t, "b1", "failing: connect: timed out after 2s")
		w.next("b1")
		if took := w.next("b1"); took > 3*time.Second {
			t.Errorf("the check after one that failed comes after %v", took)
		}
		w.expect(t, "b1=down! b2=up")
		w.words(t, "b1", "down for 0s: connect: timed out after 2s")
		w.words(t, "b2", "ok")
		w.words(t, "b3", "")
		w.answer("b1", nil)
		w.next("b1")
		w.words(t, "b1", "coming back")
		w.expect(t, "b1=down b2=up") // one success lets logins through again, but makes no backend up
		w.next("b1")
		w.expect(t, "b1=up b2=up")
	})
	want := `level=WARN msg="backend is down" backend=b1 addr=b1:143 reason="connect: timed out after 2s"
level=INFO msg="backend is up again" backend=b1 addr=b1:143
`
	if got := w.log.String(); got != want {
		t.Errorf("log:\n%swant:\n%s", got, want)
	}
}

// TestSingleFailures never make a backend down.
func TestSingleFailures(t *testing.T) {
	w := newWorld("b1")
	w.monitor.probe = func(context.Context, Target, Settings) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.checks["b1"]++; w.checks["b1"]%3 != 0 {
			return noAnswer
		}
		return nil
	}
	w.run(t, func() {
		for range 20 {
			time.Sleep(10 * time.Second)
			w.expect(t, "b1=up")
		}
	})
	if w.log.Len() > 0 {
		t.Errorf("log: %s", w.log.String())
	}
}

// TestLoginFailureRefusesNobody: a wrong password of the probe must not lock users out.
func TestLoginFailureRefusesNobody(t *testing.T) {
	w := newWorld("b1")
	w.answer("b1", badPassword)
	w.run(t, func() {
		time.Sleep(time.Minute)
		w.expect(t, "b1=down")
		s := w.monitor.States()[0]
		if s.Reason != "login: refused" || s.Failures != s.Checks || s.Lasts < 20*time.Second {
			t.Errorf("state: %+v", s)
		}
	})
}

// TestTargetsFollow: what is no longer a target is forgotten, and an interval of 0
// ends all checks.
func TestTargetsFollow(t *testing.T) {
	w := newWorld("b1", "b2")
	w.run(t, func() {
		time.Sleep(30 * time.Second)
		w.mu.Lock()
		w.targets = w.targets[1:]
		w.mu.Unlock()
		time.Sleep(10 * time.Second)
		w.expect(t, "b2=up")
		w.mu.Lock()
		w.set.Interval = 0
		w.mu.Unlock()
		time.Sleep(10 * time.Second)
		w.expect(t, "")
		w.mu.Lock()
		checks := fmt.Sprint(w.checks)
		w.mu.Unlock()
		time.Sleep(time.Hour)
		if got := fmt.Sprint(w.checks); got != checks {
			t.Errorf("checks went on: %s, then %s", checks, got)
		}
	})
}

// TestSlowBackendHoldsNobodyUp: the checks of 200 backends go on beside one that takes
// its time, and they are spread over the interval.
func TestSlowBackendHoldsNobodyUp(t *testing.T) {
	var names []string
	for i := range 200 {
		names = append(names, fmt.Sprintf("b%03d", i))
	}
	w := newWorld(names...)
	seconds := map[int]int{}
	w.monitor.probe = func(ctx context.Context, target Target, _ Settings) error {
		w.mu.Lock()
		w.checks[target.Name]++
		seconds[time.Now().Second()]++
		w.mu.Unlock()
		if target.Name == "b000" {
			<-ctx.Done()
		}
		return nil
	}
	w.run(t, func() {
		time.Sleep(60*time.Second - 1)
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, name := range names[1:] {
			if n := w.checks[name]; n < 5 || n > 7 {
				t.Errorf("%s was checked %d times in a minute", name, n)
			}
		}
		for s, n := range seconds {
			if n > 100 {
				t.Errorf("second %d: %d checks at once", s, n)
			}
		}
	})
}
