package cluster_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/cluster/coordmem"
)

// bubbleTime is the clock of all machines of a bubble.
type bubbleTime struct{}

func (bubbleTime) Now() time.Duration                     { return time.Duration(time.Now().UnixNano()) }
func (bubbleTime) After(d time.Duration) <-chan time.Time { return time.After(d) }

// foreignWorld is a cluster of directors and backends that are no Roost, in a bubble.
// Each director has a client of each user, who wants in all the time.
type foreignWorld struct {
	t         *testing.T
	mem       *coordmem.Memory
	admin     cluster.Coordinator
	template  cluster.Template
	directors map[string]*foreignDirector

	mu       sync.Mutex
	trouble  map[string]string // of backends
	fences   func(backend string) error
	sessions map[string]map[string]int // by user: backends with sessions
	slow     time.Duration             // how long a session takes to end
}

type foreignDirector struct {
	w      *foreignWorld
	name   string
	client *coordmem.Client
	view   *cluster.View
	keeper *cluster.Keeper
	stop   context.CancelFunc
	tasks  sync.WaitGroup
}

const foreignUsers = 30

func inForeignWorld(t *testing.T, f func(w *foreignWorld)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		template, err := cluster.ParseTemplate("%Lu")
		if err != nil {
			t.Fatal(err)
		}
		w := &foreignWorld{
			t: t, mem: coordmem.New(bubbleTime{}), template: template, directors: map[string]*foreignDirector{},
			trouble: map[string]string{}, sessions: map[string]map[string]int{}, slow: 20 * time.Millisecond,
		}
		w.admin = w.mem.Client()
		for _, name := range []string{"dove1", "dove2"} {
			w.put("backends/"+name, cluster.Registration{Host: "192.0.2.1", Foreign: true})
		}
		for _, name := range []string{"a", "b", "c"} {
			w.start(name)
		}
		defer func() {
			for _, d := range w.directors {
				d.end()
			}
			w.mem.Close()
		}()
		f(w)
	})
}

func (w *foreignWorld) put(key string, record any) {
	w.t.Helper()
	value, err := json.Marshal(record)
	if err == nil {
		_, _, err = w.admin.Commit(w.t.Context(), cluster.Txn{Then: []cluster.Op{{Key: key, Value: value}}})
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *foreignWorld) start(name string) {
	w.t.Helper()
	log := slog.New(slog.DiscardHandler)
	if os.Getenv("ROOST_TEST_LOG") != "" {
		log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	d := &foreignDirector{w: w, name: name, client: w.mem.Client()}
	d.view = cluster.NewView(cluster.ViewConfig{Coordinator: d.client, Clock: bubbleTime{}, Log: log})
	var err error
	d.keeper, err = cluster.NewKeeper(cluster.KeeperConfig{
		Coordinator: d.client, View: d.view, Clock: bubbleTime{}, Log: log, Name: name,
		Record: cluster.DirectorRecord{Incarnation: fmt.Sprint(time.Now().UnixNano())}, Template: w.template,
		Health: w.health, Fence: w.fence,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	d.stop = stop
	d.tasks.Go(func() { d.view.Run(ctx) })
	keeping := make(chan struct{})
	d.tasks.Go(func() { defer close(keeping); d.keeper.Run(ctx) })
	for i := range foreignUsers {
		d.tasks.Go(func() { d.client1(ctx, fmt.Sprintf("user%d", i)) })
	}
	w.directors[name] = d
}

func (d *foreignDirector) end() {
	d.stop()
	d.tasks.Wait()
	delete(d.w.directors, d.name)
}

func (w *foreignWorld) health(backend string) (string, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.trouble[backend], true
}

func (w *foreignWorld) fence(_ context.Context, backend string) error {
	w.mu.Lock()
	f := w.fences
	w.mu.Unlock()
	if f == nil {
		return errors.New("no such switch")
	}
	return f(backend)
}

func (w *foreignWorld) is(backend, trouble string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trouble[backend] = trouble
}

// client1 has a session of a user whenever that is possible.
func (d *foreignDirector) client1(ctx context.Context, user string) {
	for ctx.Err() == nil {
		backend := d.w.holder(d.view, user)
		pass, err := d.keeper.Pass(user, backend)
		if err != nil {
			select {
			case <-time.After(300 * time.Millisecond):
			case <-ctx.Done():
			}
			continue
		}
		d.w.session(user, backend, 1)
		ending := make(chan struct{})
		pass.Notify(func(string) { close(ending) })
		select {
		case <-ending:
			time.Sleep(d.w.slow)
		case <-time.After(10 * time.Second): // it logs out
		}
		d.w.session(user, backend, -1)
		pass.Done()
	}
}

// session begins or ends one. No user ever has sessions at two backends.
func (w *foreignWorld) session(user, backend string, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := w.sessions[user]
	if at == nil {
		at = map[string]int{}
		w.sessions[user] = at
	}
	at[backend] += n
	if n > 0 && at["dove1"] > 0 && at["dove2"] > 0 {
		w.t.Errorf("%s has sessions at two backends: %v", user, at)
	}
}

func (w *foreignWorld) holder(v *cluster.View, user string) (backend string) {
	v.Read(func(m *cluster.Map) {
		held, _ := m.Held(cluster.Unit{Slot: cluster.SlotOf(w.template, user)})
		backend = held.Backend
	})
	return backend
}

// slots are how many each backend holds.
func (w *foreignWorld) slots() map[string]int {
	w.t.Helper()
	kvs, _, err := w.admin.Range(w.t.Context(), "held/")
	if err != nil {
		w.t.Fatal(err)
	}
	count := map[string]int{}
	for _, kv := range kvs {
		var held cluster.Held
		if err := json.Unmarshal(kv.Value, &held); err != nil {
			w.t.Fatal(err)
		}
		if !held.Leaving {
			count[held.Backend]++
		}
	}
	return count
}

func (w *foreignWorld) users(backend string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, at := range w.sessions {
		n += at[backend]
	}
	return n
}

func (w *foreignWorld) keepers() (names []string) {
	for name, d := range w.directors {
		if d.keeper.IsKeeper() {
			names = append(names, name)
		}
	}
	return names
}

const allSlots = cluster.Slots

func (w *foreignWorld) mustHold(dove1, dove2 func(int) bool) {
	w.t.Helper()
	if n := w.slots(); !dove1(n["dove1"]) || !dove2(n["dove2"]) {
		w.t.Fatalf("slots: %v", n)
	}
}

func none(n int) bool { return n == 0 }
func all(n int) bool  { return n == allSlots }
func half(n int) bool { return n > allSlots*45/100 && n < allSlots*55/100 }

func TestKeeperSettles(t *testing.T) {
	inForeignWorld(t, func(w *foreignWorld) {
		time.Sleep(5 * time.Second)
		w.mustHold(half, half)
		if names := w.keepers(); len(names) != 1 {
			t.Errorf("keepers: %v", names)
		}
		if n := w.users("dove1") + w.users("dove2"); n != 3*foreignUsers {
			t.Errorf("%d sessions", n)
		}
		w.put("wishes/dove1", cluster.Wish{State: cluster.Drain, Weight: 100})
		time.Sleep(time.Minute)
		w.mustHold(none, all)
		if n := w.users("dove2"); n != 3*foreignUsers {
			t.Errorf("%d sessions", n)
		}
		w.put("wishes/dove1", cluster.Wish{State: cluster.Up, Weight: 100})
		time.Sleep(time.Minute)
		w.mustHold(half, half)
	})
}

// A backend that can't be reached keeps its users until it is certain that it has
// stopped.
func TestKeeperFences(t *testing.T) {
	for _, row := range []struct {
		name string
		do   func(w *foreignWorld)
	}{
		{"by command", func(w *foreignWorld) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.fences = func(string) error { return nil }
		}},
		{"by the administrator's word", func(w *foreignWorld) {
			w.put("wishes/dove1", cluster.Wish{State: cluster.Up, Weight: 100, Stopped: true})
		}},
		{"it is removed", func(w *foreignWorld) {
			_, _, err := w.admin.Commit(w.t.Context(), cluster.Txn{Then: []cluster.Op{{Key: "backends/dove1", Delete: true}}})
			if err != nil {
				w.t.Fatal(err)
			}
		}},
	} {
		if testing.Short() && row.name != "by command" {
			continue
		}
		t.Run(row.name, func(t *testing.T) {
			inForeignWorld(t, func(w *foreignWorld) {
				time.Sleep(5 * time.Second)
				w.is("dove1", "connect: timeout")
				time.Sleep(5 * time.Minute)
				w.mustHold(half, half)
				row.do(w)
				time.Sleep(2 * time.Minute)
				w.mustHold(none, all)
				if n := w.users("dove2"); n != 3*foreignUsers {
					t.Errorf("%d sessions", n)
				}
			})
		})
	}
}

// The death of the keeper moves nothing, and another director keeps on.
func TestKeeperDies(t *testing.T) {
	inForeignWorld(t, func(w *foreignWorld) {
		time.Sleep(5 * time.Second)
		before, _, err := w.admin.Range(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		changed := map[string]cluster.Revision{}
		for _, kv := range before {
			changed[kv.Key] = kv.Changed
		}
		name := w.keepers()[0]
		w.directors[name].client.Cut(true)
		time.Sleep(time.Minute)
		if names := w.keepers(); len(names) != 1 || names[0] == name {
			t.Errorf("keepers: %v", names)
		}
		after, _, err := w.admin.Range(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		for _, kv := range after {
			if len(kv.Key) > 5 && (kv.Key[:5] == "held/" || kv.Key[:5] == "alive") && changed[kv.Key] != kv.Changed {
				t.Fatalf("%s has changed", kv.Key)
			}
		}
		if n := w.users("dove1") + w.users("dove2"); n != 2*foreignUsers {
			t.Errorf("%d sessions, a director without a lease has none", n)
		}
		w.directors[name].client.Cut(false)
		time.Sleep(20 * time.Second)
		if n := w.users("dove1") + w.users("dove2"); n != 3*foreignUsers {
			t.Errorf("%d sessions", n)
		}
	})
}

// A director that is cut off, or whose sessions end slowly, is waited for: until
// it has confirmed, or its lease has ended.
func TestKeeperWaitsForDirectors(t *testing.T) {
	inForeignWorld(t, func(w *foreignWorld) {
		time.Sleep(5 * time.Second)
		var other string
		for name, d := range w.directors {
			if !d.keeper.IsKeeper() {
				other = name
			}
		}
		w.mu.Lock()
		w.slow = 500 * time.Millisecond
		w.mu.Unlock()
		w.directors[other].client.Cut(true)
		w.put("wishes/dove1", cluster.Wish{State: cluster.Drain, Weight: 100})
		time.Sleep(3 * time.Second)
		w.mustHold(func(n int) bool { return n > allSlots*40/100 }, half) // those that are leaving wait for it
		time.Sleep(10 * time.Minute)
		w.mustHold(none, all)
		w.directors[other].client.Cut(false)
		time.Sleep(20 * time.Second)
		if n := w.users("dove2"); n != 3*foreignUsers {
			t.Errorf("%d sessions", n)
		}
	})
}

// Without the coordinator all sessions end at the directors' deadlines; when it is
// back, everybody is where they were.
func TestKeeperWithoutCoordinator(t *testing.T) {
	inForeignWorld(t, func(w *foreignWorld) {
		time.Sleep(5 * time.Second)
		before := w.slots()
		for _, d := range w.directors {
			d.client.Cut(true)
		}
		time.Sleep(10 * time.Second)
		if n := w.users("dove1") + w.users("dove2"); n != 0 {
			t.Errorf("%d sessions", n)
		}
		time.Sleep(time.Minute)
		for _, d := range w.directors {
			d.client.Cut(false)
		}
		time.Sleep(time.Minute)
		if after := w.slots(); after["dove1"] != before["dove1"] || after["dove2"] != before["dove2"] {
			t.Errorf("slots were %v and are %v", before, after)
		}
		if n := w.users("dove1") + w.users("dove2"); n != 3*foreignUsers {
			t.Errorf("%d sessions", n)
		}
	})
}

// A director that shuts down is not waited for.
func TestKeeperLeaves(t *testing.T) {
	inForeignWorld(t, func(w *foreignWorld) {
		time.Sleep(5 * time.Second)
		w.directors[w.keepers()[0]].end()
		kvs, _, err := w.admin.Range(t.Context(), "directors/")
		if err != nil || len(kvs) != 2 {
			t.Fatalf("%d directors, %v", len(kvs), err)
		}
		w.put("wishes/dove2", cluster.Wish{State: cluster.Down, Weight: 100})
		time.Sleep(time.Minute)
		w.mustHold(all, none)
	})
}
