package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// bubbleClock is the Clock of a synctest bubble.
type bubbleClock struct{}

func (bubbleClock) Now() time.Duration                     { return time.Duration(time.Now().UnixNano()) }
func (bubbleClock) After(d time.Duration) <-chan time.Time { return time.After(d) }

// script is a Coordinator of which a test says what it answers. It counts how
// often it is asked.
type script struct {
	Coordinator
	lists   chan listing // each Range of all takes one
	watches chan any     // a watch takes told or error

	now   atomic.Int64 // what it says when it is only asked for its revision; 0: nothing
	asked atomic.Int64
}

type listing struct {
	kvs []KV
	at  Revision
	err error
}

type told struct {
	events []Event
	at     Revision
}

func (s *script) Range(ctx context.Context, prefix string) ([]KV, Revision, error) {
	s.asked.Add(1)
	if prefix == keyParams {
		if now := s.now.Load(); now != 0 {
			return nil, Revision(now), nil
		}
		<-ctx.Done()
		return nil, 0, ctx.Err()
	}
	select {
	case l := <-s.lists:
		return l.kvs, l.at, l.err
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	}
}

func (s *script) Watch(ctx context.Context, prefix string, after Revision, deliver func([]Event, Revision)) error {
	s.asked.Add(1)
	for {
		select {
		case what := <-s.watches:
			switch what := what.(type) {
			case told:
				deliver(what.events, what.at)
			case error:
				return what
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// runScript runs a View in a bubble.
func runScript(t *testing.T, f func(t *testing.T, v *View, s *script, log *bytes.Buffer)) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		s := &script{lists: make(chan listing), watches: make(chan any)}
		v := NewView(ViewConfig{s, bubbleClock{}, slog.New(slog.NewTextHandler(&log, nil))})
		ctx, stop := context.WithCancel(t.Context())
		go v.Run(ctx)
		f(t, v, s, &log)
		stop()
		synctest.Wait()
	})
}

// kv is a key that was set at a revision.
func kv(key, value string, at Revision) KV { return KV{Key: key, Value: []byte(value), Changed: at} }

func put(key, value string, at Revision) Event { return Event{KV: kv(key, value, at)} }

func del(key string, at Revision) Event { return Event{KV: KV{Key: key, Changed: at}, Deleted: true} }

// describe is a short text of all that a Map knows.
func describe(m *Map) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(m.nodes)) {
		n := m.nodes[name]
		fmt.Fprintf(&b, "%s %q@%d %s/%d@%d alive=%d@%d; ", n.Name, n.Registration.Host, n.RegisteredAt, n.Wish.State, n.Wish.Weight, n.WishAt, n.Lease, n.AliveAt)
	}
	for u := range m.Units() {
		held, at := m.Held(u)
		fmt.Fprintf(&b, "%s by %q@%d; ", u, held.Backend, at)
	}
	for user, p := range m.Pins() {
		fmt.Fprintf(&b, "%s pinned to %q; ", user, p.Backend)
	}
	return strings.TrimSuffix(b.String(), "; ")
}

func wantMap(t *testing.T, v *View, at Revision, want string) {
	t.Helper()
	synctest.Wait()
	v.Read(func(m *Map) {
		if got := describe(m); got != want || m.Revision != at {
			t.Errorf("at %d: %s\nwant at %d: %s", m.Revision, got, at, want)
		}
	})
}

func TestViewFollows(t *testing.T) {
	runScript(t, func(t *testing.T, v *View, s *script, log *bytes.Buffer) {
		s.lists <- listing{kvs: []KV{
			kv("backends/b1", `{"host":"h1","port":143,"volumes":["v"]}`, 1),
			{"alive/b1", []byte(`{"incarnation":"i","candidate":true}`), 2, 7},
			kv("held//00005", `{"backend":"b1","incarnation":"i","lease":7}`, 3),
		}, at: 4}
		wantMap(t, v, 4, `b1 "h1"@1 up/100@0 alive=7@2; slot 5 by "b1"@3`)
		s.watches <- told{[]Event{put("wishes/b1", `{"state":"drain","weight":50}`, 5)}, 5}
		s.watches <- told{[]Event{del("held//00005", 6), put("heldu/ann", `{"backend":"b1","lease":7}`, 6), put("pins/ann", `{"backend":"b1"}`, 6)}, 6}
		wantMap(t, v, 6, `b1 "h1"@1 drain/50@5 alive=7@2; user ann by "b1"@6; ann pinned to "b1"`)
		s.watches <- told{nil, 9}
		s.watches <- told{[]Event{del("alive/b1", 10), del("wishes/b1", 10), del("backends/b1", 10), del("heldu/ann", 10), del("pins/ann", 10)}, 10}
		wantMap(t, v, 10, ``)
	})
}

// What this node has committed is known at once, and stays although the watch tells
// what was before; a list is no other.
func TestViewTrustsOwnTransactions(t *testing.T) {
	runScript(t, func(t *testing.T, v *View, s *script, log *bytes.Buffer) {
		s.lists <- listing{kvs: []KV{kv("held//00001", `{"backend":"a"}`, 1), kv("held//00002", `{"backend":"a"}`, 1)}, at: 1}
		synctest.Wait()
		v.Note(Txn{Then: []Op{{Key: "held//00001", Value: []byte(`{"backend":"me"}`)}, {Key: "held//00002", Delete: true}}}, 10)
		const mine = `slot 1 by "me"@10`
		wantMap(t, v, 1, mine)
		s.watches <- told{[]Event{put("held//00001", `{"backend":"b"}`, 5), put("held//00002", `{"backend":"b"}`, 6)}, 6}
		wantMap(t, v, 6, mine)
		s.watches <- errors.New("broken")
		s.lists <- listing{kvs: []KV{kv("held//00001", `{"backend":"b"}`, 5), kv("held//00002", `{"backend":"b"}`, 6)}, at: 7}
		wantMap(t, v, 7, mine)
		s.watches <- told{[]Event{put("held//00001", `{"backend":"me"}`, 10), del("held//00002", 10)}, 10}
		wantMap(t, v, 10, mine)
		v.Note(Txn{Then: []Op{{Key: "held//00001", Value: []byte(`{"backend":"old"}`)}}}, 9)
		wantMap(t, v, 10, mine)
		s.watches <- told{[]Event{put("held//00001", `{"backend":"c"}`, 11)}, 11}
		wantMap(t, v, 11, `slot 1 by "c"@11`)
		if len(v.ahead) != 0 {
			t.Errorf("still remembered: %v", v.ahead)
		}
	})
}

// While the coordinator is away the map stays, and the log says so once.
func TestViewLosesCoordinator(t *testing.T) {
	runScript(t, func(t *testing.T, v *View, s *script, log *bytes.Buffer) {
		s.lists <- listing{kvs: []KV{kv("pins/ann", `{"backend":"a"}`, 1)}, at: 3}
		s.watches <- errors.New("no route")
		down := time.Now()
		for time.Since(down) < time.Minute {
			s.lists <- listing{err: errors.New("no route")}
		}
		synctest.Wait()
		c := v.Contact()
		if c.Revision != 3 || c.Away == nil || c.Heard < time.Minute || c.Heard > time.Minute+retryMost {
			t.Errorf("%+v", c)
		}
		wantMap(t, v, 3, `ann pinned to "a"`)
		if n := strings.Count(log.String(), "no route"); n != 1 {
			t.Errorf("%d lines\n%s", n, log)
		}
		if n := s.asked.Load(); n > 40 {
			t.Errorf("asked %d times in a minute", n)
		}
		s.lists <- listing{at: 8}
		wantMap(t, v, 8, ``)
		if c := v.Contact(); c.Away != nil || c.Heard != 0 {
			t.Errorf("%+v", c)
		}
		s.watches <- ErrCompacted
		s.lists <- listing{at: 20}
		wantMap(t, v, 20, ``)
		if strings.Count(log.String(), "level=WARN") != 1 {
			t.Errorf("log:\n%s", log)
		}
	})
}

// A coordinator restored from an old copy is followed, and the log is loud.
func TestViewGoesBack(t *testing.T) {
	runScript(t, func(t *testing.T, v *View, s *script, log *bytes.Buffer) {
		s.lists <- listing{at: 30}
		synctest.Wait()
		v.Note(Txn{Then: []Op{{Key: "pins/ann", Value: []byte(`{"backend":"a"}`)}}}, 31)
		s.watches <- errors.New("gone")
		s.lists <- listing{kvs: []KV{kv("pins/bob", `{"backend":"a"}`, 1)}, at: 4}
		wantMap(t, v, 4, `bob pinned to "a"`)
		if !strings.Contains(log.String(), "new-generation") {
			t.Error(log)
		}
	})
}

// Records that can't be read do no harm, and none is taken for free that may not be.
func TestViewUnreadable(t *testing.T) {
	big := `{"backend":"` + strings.Repeat("x", maxRecord) + `"}`
	kvs := []KV{
		kv("backends/b1", `{"host":`, 1),
		kv("backends/b2", `{"host":"h","tag":"a/b"}`, 1),
		kv("backends/", `{"host":"h"}`, 1),
		kv("wishes/b3", `{"state":"up","weight":-1}`, 1),
		{"alive/b4", []byte(`[]`), 1, 7},
		kv("held//99999", `{"backend":"b4"}`, 1),
		kv("held//00001", big, 1),
		kv("heldu/ann", `nonsense`, 1),
		kv("pins/ann", `{"backend":7}`, 1),
		kv("params", `{"slots":"many"}`, 1),
		kv("params/x", `{}`, 1),
		kv("", `{}`, 1),
		kv("other/thing", `{}`, 1),
		kv("directors/d", `7`, 1),
	}
	runScript(t, func(t *testing.T, v *View, s *script, log *bytes.Buffer) {
		s.lists <- listing{kvs: kvs, at: 2}
		wantMap(t, v, 2, `b3 ""@0 up/100@1 alive=0@0; b4 ""@0 up/100@0 alive=7@1; slot 1 by ""@1; user ann by ""@1; ann pinned to ""`)
		lines := strings.Count(log.String(), "level=ERROR")
		s.watches <- ErrCompacted
		s.lists <- listing{kvs: kvs, at: 3}
		synctest.Wait()
		if again := strings.Count(log.String(), "level=ERROR"); lines != 11 || again != lines {
			t.Errorf("%d lines, then %d\n%s", lines, again, log)
		}
	})
}

// A cluster that is too large is not followed.
func TestViewTooLarge(t *testing.T) {
	for _, row := range []struct {
		name string
		key  func(i int) string
		most int
	}{
		{"backends", func(i int) string { return fmt.Sprintf("backends/%d", i) }, MaxMembers},
		{"directors", func(i int) string { return fmt.Sprintf("directors/%d", i) }, MaxDirectors},
		{"tags", func(i int) string { return fmt.Sprintf("held/%d/00000", i) }, MaxTags},
		{"pins", func(i int) string { return fmt.Sprintf("pins/%d", i) }, MaxPins},
		{"users", func(i int) string { return fmt.Sprintf("heldu/%d", i) }, MaxPins},
	} {
		t.Run(row.name, func(t *testing.T) {
			m := newMap(bubbleClock{})
			for i := range row.most {
				if err := m.apply(put(row.key(i), `{"host":"h"}`, 1)); err != nil {
					t.Fatal(i, err)
				}
			}
			before := len(describe(m))
			if err := m.apply(put(row.key(row.most), `{"host":"h"}`, 2)); !errors.Is(err, errTooMuch) {
				t.Error(err)
			}
			if err := m.apply(put(row.key(0), `{"host":"h"}`, 1)); err != nil || len(describe(m)) != before {
				t.Error("a change of what is there:", err)
			}
		})
	}
	runScript(t, func(t *testing.T, v *View, s *script, log *bytes.Buffer) {
		s.lists <- listing{at: 2}
		var events []Event
		for i := range MaxTags + 1 {
			events = append(events, put(fmt.Sprintf("held/%d/00000", i), `{}`, 3))
		}
		s.watches <- told{events, 3}
		synctest.Wait()
		if c := v.Contact(); !errors.Is(c.Away, errTooMuch) || c.Revision != 2 {
			t.Errorf("%+v", c)
		}
		s.lists <- listing{at: 4}
		wantMap(t, v, 4, "")
	})
}

// A watch that says nothing is not believed for long.
func TestViewSilence(t *testing.T) {
	runScript(t, func(t *testing.T, v *View, s *script, log *bytes.Buffer) {
		s.lists <- listing{at: 9}
		s.now.Store(9)
		time.Sleep(time.Hour)
		if c := v.Contact(); c.Away != nil || c.Heard > quietTime {
			t.Errorf("%+v", c)
		}
		began := time.Now()
		restarted := func(what string, least, most time.Duration) {
			t.Helper()
			s.lists <- listing{at: 9}
			if took := time.Since(began); took < least || took > most {
				t.Errorf("%s: after %v", what, took)
			}
			synctest.Wait()
			s.now.Store(9)
			began = time.Now()
		}
		s.now.Store(20)
		restarted("stuck", stuckAfter, stuckAfter+10*time.Second)
		s.now.Store(8)
		restarted("went back", quietTime, 2*quietTime)
		s.watches <- told{nil, 8}
		restarted("went back by itself", 0, time.Second)
		s.now.Store(0)
		restarted("no answer", quietTime+askLimit, 2*quietTime+askLimit)
	})
}

func TestViewAwait(t *testing.T) {
	runScript(t, func(t *testing.T, v *View, s *script, log *bytes.Buffer) {
		reached := make(chan error, 1)
		go func() { reached <- v.AwaitRevision(t.Context(), 5) }()
		s.lists <- listing{at: 4}
		synctest.Wait()
		select {
		case err := <-reached:
			t.Fatal("too early:", err)
		default:
		}
		s.watches <- told{nil, 6}
		if err := <-reached; err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := v.AwaitRevision(ctx, 7); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

func FuzzMap(f *testing.F) {
	f.Add("held//00001", []byte(`{"backend":"a","lease":3}`), false)
	f.Add("alive/a", []byte(`{"candidate":true}`), false)
	f.Add("pins/a", []byte(`{"since":"x"}`), true)
	f.Fuzz(func(t *testing.T, key string, value []byte, deleted bool) {
		m := newMap(bubbleClock{})
		for at, e := range []Event{{KV: KV{Key: key, Value: value}, Deleted: deleted}, {KV: KV{Key: key}, Deleted: true}} {
			e.Changed = Revision(at + 1)
			if err := m.apply(e); err != nil && !errors.Is(err, errUnreadable) {
				t.Fatal(err)
			}
		}
		if got := describe(m); got != "" {
			t.Errorf("%q leaves %s", key, got)
		}
	})
}

func BenchmarkViewList(b *testing.B) {
	var kvs []KV
	for i := range Slots {
		kvs = append(kvs, kv(Unit{Slot: Slot(i)}.key(), fmt.Sprintf(`{"backend":"b%d","incarnation":"0123456789abcdef","lease":%d}`, i%16, i%16+1), 1))
	}
	v := NewView(ViewConfig{nil, BootTime{}, slog.New(slog.DiscardHandler)})
	b.ReportAllocs()
	for b.Loop() {
		if err := v.list(kvs, 1); err != nil {
			b.Fatal(err)
		}
	}
}

// Since when a unit is free survives a list; what became free in between counts from
// then on.
func TestFreeSince(t *testing.T) {
	runScript(t, func(t *testing.T, v *View, s *script, log *bytes.Buffer) {
		check := func(u Unit, want time.Duration, wantFree bool) {
			t.Helper()
			synctest.Wait()
			v.Read(func(m *Map) {
				since, free := m.FreeSince(u)
				if got := v.cfg.Clock.Now() - since; free != wantFree || free && got != want {
					t.Errorf("%s: for %v, %v; want for %v, %v", u, got, free, want, wantFree)
				}
			})
		}
		s.now.Store(1)
		alive := KV{"alive/a", []byte(`{}`), 1, 7}
		held := func(slot int, lease int) KV {
			return kv(fmt.Sprintf("held//%05d", slot), fmt.Sprintf(`{"backend":"a","lease":%d}`, lease), 1)
		}
		pin := kv("pins/ann", `{"backend":"a"}`, 1)
		known := kv("backends/a", `{"host":"h"}`, 1)
		before := []KV{known, alive, held(1, 7), held(2, 7), held(3, 6), kv("held//00004", `?`, 1), pin, kv("heldu/ann", `{"backend":"a","lease":7}`, 1)}
		s.lists <- listing{kvs: before, at: 1}
		time.Sleep(time.Second)
		for _, slot := range []Slot{1, 2, 4} {
			check(Unit{Slot: slot}, 0, false)
		}
		check(Unit{Slot: 3}, time.Second, true)           // of an old lease
		check(Unit{Slot: 9}, time.Second, true)           // never held
		check(Unit{Tag: "x", Slot: 9}, time.Second, true) // of no tag
		check(Unit{User: "ann"}, 0, false)
		s.watches <- told{[]Event{del("held//00001", 2), del("heldu/ann", 2)}, 2}
		time.Sleep(time.Second)
		check(Unit{Slot: 1}, time.Second, true)
		check(Unit{User: "ann"}, time.Second, true)
		s.watches <- ErrCompacted
		time.Sleep(time.Second)
		s.lists <- listing{kvs: []KV{known, alive, held(3, 6), pin}, at: 3}
		check(Unit{Slot: 1}, 2*time.Second, true)
		check(Unit{Slot: 2}, 0, true)
		check(Unit{Slot: 3}, 3*time.Second, true)
		check(Unit{User: "ann"}, 2*time.Second, true)
		s.watches <- told{[]Event{del("alive/a", 4)}, 4}
		time.Sleep(time.Second)
		check(Unit{Slot: 3}, time.Second, true)
		s.watches <- ErrCompacted
		time.Sleep(time.Second)
		s.lists <- listing{at: 5}
		check(Unit{Slot: 3}, 0, true)
		check(Unit{Slot: 1}, 4*time.Second, true)
	})
}
