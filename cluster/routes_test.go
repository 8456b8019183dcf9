package cluster_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/cluster/coordmem"
	"github.com/roost-mail/roost/imap"
)

// bubbleClock is the Clock of a synctest bubble.
type bubbleClock struct{}

func (bubbleClock) Now() time.Duration                     { return time.Duration(time.Now().UnixNano()) }
func (bubbleClock) After(d time.Duration) <-chan time.Time { return time.After(d) }

// resolver answers as it is told, and counts.
type resolver struct {
	ip    string
	err   error
	asked int
}

func (r *resolver) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	r.asked++
	if r.err != nil {
		return nil, r.err
	}
	return []netip.Addr{netip.MustParseAddr(r.ip)}, nil
}

// site is a cluster's keys, and a director's Routes by them.
type site struct {
	t        testing.TB
	memory   *coordmem.Memory
	admin    *coordmem.Client // writes keys
	director *coordmem.Client // is what the View asks
	view     *cluster.View
	routes   *cluster.Routes
	dns      *resolver
	leases   map[string]cluster.LeaseID
}

var lowerCase, _ = cluster.ParseTemplate("%Lu")

func newSite(t testing.TB, clock cluster.Clock) *site {
	memory := coordmem.New(clock)
	s := &site{
		t: t, memory: memory, admin: memory.Client(), director: memory.Client(),
		dns: &resolver{ip: "192.0.2.1"}, leases: map[string]cluster.LeaseID{},
	}
	s.view = cluster.NewView(cluster.ViewConfig{Coordinator: s.director, Clock: clock, Log: slog.New(slog.DiscardHandler)})
	s.routes = cluster.NewRoutes(cluster.RoutesConfig{View: s.view, Clock: clock, Template: lowerCase, Resolver: s.dns})
	return s
}

// inSite runs f in a bubble with a site whose View is up to date.
func inSite(t *testing.T, f func(t *testing.T, s *site)) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, bubbleClock{})
		defer s.memory.Close()
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go s.view.Run(ctx)
		synctest.Wait()
		f(t, s)
	})
}

func (s *site) commit(ops ...cluster.Op) cluster.Revision {
	s.t.Helper()
	r, ok, err := s.admin.Commit(s.t.Context(), cluster.Txn{Then: ops})
	if err != nil || !ok {
		s.t.Fatal(ok, err)
	}
	return r
}

func (s *site) put(key, value string) cluster.Revision {
	s.t.Helper()
	return s.commit(cluster.Op{Key: key, Value: []byte(value)})
}

func (s *site) remove(key string) cluster.Revision {
	s.t.Helper()
	return s.commit(cluster.Op{Key: key, Delete: true})
}

// start registers a backend, which is alive until it is killed.
func (s *site) start(name, registration string) {
	s.t.Helper()
	lease, _, err := s.admin.Grant(s.t.Context(), 10*time.Hour)
	if err != nil {
		s.t.Fatal(err)
	}
	s.leases[name] = lease
	s.put("backends/"+name, registration)
	s.commit(cluster.Op{Key: "alive/" + name, Value: []byte(`{"incarnation":"i1","candidate":true}`), Lease: lease})
}

// kill ends a backend's lease.
func (s *site) kill(name string) {
	s.t.Helper()
	if err := s.admin.Revoke(s.t.Context(), s.leases[name]); err != nil {
		s.t.Fatal(err)
	}
	synctest.Wait()
}

// hold has a backend hold a unit by the lease that it has.
func (s *site) hold(name, key string) cluster.Revision {
	s.t.Helper()
	return s.put(key, fmt.Sprintf(`{"backend":%q,"incarnation":"i1","lease":%d}`, name, s.leases[name]))
}

// slotOf is the key of a user's slot.
func slotOf(tag, user string) string {
	return fmt.Sprintf("held/%s/%05d", tag, cluster.SlotOf(lowerCase, user))
}

// answer is what a Locate came to, and when.
type answer struct {
	backend cluster.Backend
	err     error
	took    time.Duration
}

// locate asks with so much time.
func (s *site) locate(q cluster.Query, limit time.Duration) answer {
	began := time.Now()
	ctx, done := context.WithTimeout(s.t.Context(), limit)
	defer done()
	b, err := s.routes.Locate(ctx, q)
	return answer{b, err, time.Since(began)}
}

// later asks in a goroutine of its own, which waits when later returns.
func (s *site) later(q cluster.Query, limit time.Duration) <-chan answer {
	answers := make(chan answer, 1)
	go func() { answers <- s.locate(q, limit) }()
	synctest.Wait()
	return answers
}

func (a answer) check(t *testing.T, backend string, took time.Duration) {
	t.Helper()
	if a.err != nil || a.backend.Name != backend || a.took != took {
		t.Errorf("%+v after %v, %v; want %s after %v", a.backend, a.took, a.err, backend, took)
	}
}

// refused checks that there was no answer, and that the log says why, but not the client.
func (a answer) refused(t *testing.T, took time.Duration, words ...string) {
	t.Helper()
	if imap.CodeOf(a.err) != imap.CodeUnavailable || a.took != took {
		t.Fatalf("%+v after %v, %v; want UNAVAILABLE after %v", a.backend, a.took, a.err, took)
	}
	for _, word := range words {
		if !strings.Contains(a.err.Error(), word) {
			t.Errorf("%v\nlacks %q", a.err, word)
		}
	}
	if text := imap.AsError(a.err).Text; text != "No server for this user now" {
		t.Errorf("the client reads %q", text)
	}
}

const shared = `{"host":"192.0.2.7","port":1143,"volumes":["v"]}`

func TestRoutesLocate(t *testing.T) {
	inSite(t, func(t *testing.T, s *site) {
		s.start("b1", shared)
		s.start("b2", `{"host":"b2.example.com","port":143,"volumes":["v"]}`)
		s.start("t1", `{"host":"2001:db8::1","tag":"t"}`)
		s.hold("b1", slotOf("", "ann"))
		s.hold("t1", slotOf("t", "ann"))
		s.put("pins/bob", `{"backend":"b2"}`)
		s.hold("b1", slotOf("", "bob"))
		at := s.hold("b2", "heldu/bob")
		synctest.Wait()
		for _, row := range []struct {
			q    cluster.Query
			want cluster.Backend
		}{
			{cluster.Query{User: "ann"}, cluster.Backend{Name: "b1", IP: netip.MustParseAddr("192.0.2.7"), Port: 1143, Revision: at}},
			{cluster.Query{User: "ANN"}, cluster.Backend{Name: "b1", IP: netip.MustParseAddr("192.0.2.7"), Port: 1143, Revision: at}},
			{cluster.Query{User: "ann", Tag: "t"}, cluster.Backend{Name: "t1", IP: netip.MustParseAddr("2001:db8::1"), Revision: at}},
			{cluster.Query{User: "bob"}, cluster.Backend{Name: "b2", Host: "b2.example.com", IP: netip.MustParseAddr("192.0.2.1"), Port: 143, Revision: at}},
		} {
			a := s.locate(row.q, time.Second)
			if a.err != nil || a.backend != row.want || a.took != 0 {
				t.Errorf("%+v: %+v, %v", row.q, a.backend, a.err)
			}
		}
		// What is pinned no more is served where it is held until that is given up.
		s.remove("pins/bob")
		synctest.Wait()
		s.locate(cluster.Query{User: "bob"}, time.Second).check(t, "b2", 0)
		s.remove("heldu/bob")
		synctest.Wait()
		s.locate(cluster.Query{User: "bob"}, time.Second).check(t, "b1", 0)
	})
}

// A user whose slot is free waits, and goes on the moment that somebody holds it.
func TestRoutesWait(t *testing.T) {
	inSite(t, func(t *testing.T, s *site) {
		s.start("b1", shared)
		s.start("b2", shared)
		s.hold("b1", slotOf("", "ann"))
		s.put("pins/bob", `{"backend":"b2"}`)
		var waiting []<-chan answer
		s.kill("b1")
		for range 1000 {
			waiting = append(waiting, s.later(cluster.Query{User: "ann"}, 5*time.Second))
		}
		pinned := s.later(cluster.Query{User: "bob"}, 5*time.Second)
		never := s.later(cluster.Query{User: "carol"}, 5*time.Second)
		time.Sleep(2 * time.Second)
		s.hold("b2", slotOf("", "ann"))
		synctest.Wait()
		time.Sleep(time.Second)
		s.hold("b2", "heldu/bob")
		for _, w := range waiting {
			(<-w).check(t, "b2", 2*time.Second)
		}
		(<-pinned).check(t, "b2", 3*time.Second)
		(<-never).refused(t, 5*time.Second, "slot ", "nobody has held it for 5s", "b2 should take it", "waited 5s")
		s.kill("b2")
		s.locate(cluster.Query{User: "ann"}, 3*time.Second).refused(t, 3*time.Second, "b2 held it since revision", "lost its lease 3s ago", "no backend is a candidate")
		s.locate(cluster.Query{User: "bob"}, 3*time.Second).refused(t, 3*time.Second, "user bob: b2 held it", "pinned to b2")
	})
}

// A record without a lease is that of a user who was given up, even if it should be
// that the backend's own record has none.
func TestRoutesGivenUp(t *testing.T) {
	inSite(t, func(t *testing.T, s *site) {
		s.start("b1", shared)
		s.start("b2", shared)
		s.put("alive/b1", `{"candidate":true}`)
		s.put("pins/ann", `{"backend":"b2"}`)
		s.put("heldu/ann", `{"backend":"b1"}`)
		synctest.Wait()
		w := s.later(cluster.Query{User: "ann"}, 5*time.Second)
		s.locate(cluster.Query{User: "ann"}, time.Second).refused(t, time.Second, "b1 gave it up at revision", "b2 should take it")
		s.hold("b2", "heldu/ann")
		(<-w).check(t, "b2", time.Second)
	})
}

// A record of a lease that is over does not count, although the backend lives again.
func TestRoutesOldLease(t *testing.T) {
	inSite(t, func(t *testing.T, s *site) {
		s.start("b1", shared)
		s.hold("b1", slotOf("", "ann"))
		s.kill("b1")
		s.start("b1", shared)
		synctest.Wait()
		w := s.later(cluster.Query{User: "ann"}, 5*time.Second)
		time.Sleep(time.Second)
		s.hold("b1", slotOf("", "ann"))
		(<-w).check(t, "b1", time.Second)
	})
}

// The answer to one whom a backend has refused is not older than the refusal.
func TestRoutesAfter(t *testing.T) {
	inSite(t, func(t *testing.T, s *site) {
		s.start("b1", shared)
		s.start("b2", shared)
		at := s.hold("b1", slotOf("", "ann"))
		synctest.Wait()
		s.director.Hang(true)
		moved := s.hold("b2", slotOf("", "ann"))
		s.locate(cluster.Query{User: "ann", After: at}, time.Second).check(t, "b1", 0)
		w := s.later(cluster.Query{User: "ann", After: moved, Refused: "b1"}, 5*time.Second)
		time.Sleep(2 * time.Second)
		s.director.Hang(false)
		(<-w).check(t, "b2", 2*time.Second)
		s.locate(cluster.Query{User: "ann", After: moved + 5}, time.Second).refused(t, time.Second, "a backend has told of revision")
	})
}

// A backend that has refused is given a moment, unless its hold is newer.
func TestRoutesRefused(t *testing.T) {
	inSite(t, func(t *testing.T, s *site) {
		s.start("b1", shared)
		s.start("b2", shared)
		at := s.hold("b1", slotOf("", "ann"))
		synctest.Wait()
		q := cluster.Query{User: "ann", After: at, Refused: "b1"}
		s.locate(q, 5*time.Second).check(t, "b1", time.Second)
		s.locate(q, 500*time.Millisecond).refused(t, 500*time.Millisecond, fmt.Sprintf("b1 holds it since revision %d, but said at revision %d", at, at))
		q.Refused = "b2"
		s.locate(q, 5*time.Second).check(t, "b1", 0)
		q.Refused = "b1"
		w := s.later(q, 5*time.Second)
		time.Sleep(100 * time.Millisecond)
		s.hold("b1", slotOf("", "ann"))
		(<-w).check(t, "b1", 100*time.Millisecond)
	})
}

// Without the coordinator, known routes go on.
func TestRoutesCoordinatorAway(t *testing.T) {
	inSite(t, func(t *testing.T, s *site) {
		s.start("b1", shared)
		s.hold("b1", slotOf("", "ann"))
		synctest.Wait()
		s.director.Cut(true)
		time.Sleep(time.Hour)
		s.locate(cluster.Query{User: "ann"}, time.Second).check(t, "b1", 0)
		s.locate(cluster.Query{User: "bob"}, time.Second).refused(t, time.Second, "the coordinator is away, last heard 3601.0 s ago", "can't be reached")
		s.hold("b1", slotOf("", "bob"))
		w := s.later(cluster.Query{User: "bob"}, time.Minute)
		s.director.Cut(false)
		a := <-w
		if a.err != nil || a.took > 10*time.Second {
			t.Error(a)
		}
	})
}

func TestRoutesBeforeTheMapIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, bubbleClock{})
		s.locate(cluster.Query{User: "ann"}, time.Second).refused(t, time.Second, "nothing is known of the cluster yet")
	})
}

// It is no use to wait for a dead backend whose volumes nobody else sees, nor for a tag
// that no backend has.
func TestRoutesAtOnce(t *testing.T) {
	inSite(t, func(t *testing.T, s *site) {
		s.start("l1", `{"host":"192.0.2.1","local":true,"volumes":["v1"]}`)
		s.start("l2", `{"host":"192.0.2.2","local":true,"volumes":["v2"]}`)
		s.hold("l1", slotOf("", "ann"))
		s.put("pins/bob", `{"backend":"l1"}`)
		s.hold("l1", "heldu/bob")
		synctest.Wait()
		s.locate(cluster.Query{User: "ann"}, time.Second).check(t, "l1", 0)
		s.locate(cluster.Query{User: "bob"}, time.Second).check(t, "l1", 0)
		s.kill("l1")
		time.Sleep(time.Minute)
		s.locate(cluster.Query{User: "ann"}, time.Second).refused(t, 0, "l1 held it", "lost its lease 1m0s ago", "volumes that only l1 sees")
		s.locate(cluster.Query{User: "bob"}, time.Second).refused(t, 0, "user bob", "volumes that only l1 sees")
		s.locate(cluster.Query{User: "ann", Tag: "x"}, time.Second).refused(t, 0, "of tag x", `no backend with tag "x" has registered`)
		s.start("l1", `{"host":"192.0.2.1","local":true,"volumes":["v1"]}`)
		synctest.Wait()
		w := s.later(cluster.Query{User: "ann"}, 5*time.Second)
		time.Sleep(time.Second)
		s.hold("l1", slotOf("", "ann"))
		(<-w).check(t, "l1", time.Second)
	})
}

// Records that can't be read, or are not all there, keep users waiting.
func TestRoutesUnreadable(t *testing.T) {
	inSite(t, func(t *testing.T, s *site) {
		s.start("b1", shared)
		s.put(slotOf("", "ann"), `nonsense`)
		s.hold("b1", slotOf("", "bob"))
		s.put("pins/bob", `nonsense`)
		s.start("b2", shared)
		s.hold("b2", slotOf("", "carol"))
		s.remove("backends/b2")
		synctest.Wait()
		s.locate(cluster.Query{User: "ann"}, time.Second).refused(t, time.Second, "which says who holds it, can't be read")
		s.locate(cluster.Query{User: "bob"}, time.Second).refused(t, time.Second, "user bob", "the pin of revision", "can't be read")
		s.locate(cluster.Query{User: "carol"}, time.Second).refused(t, time.Second, "b2 holds it", "has not registered")
	})
}

// Host names are looked up once a minute, and what was found stays when that fails.
func TestRoutesHostNames(t *testing.T) {
	inSite(t, func(t *testing.T, s *site) {
		s.start("b1", `{"host":"b1.example.com"}`)
		s.hold("b1", slotOf("", "ann"))
		synctest.Wait()
		s.dns.err = errors.New("no answer")
		s.locate(cluster.Query{User: "ann"}, time.Second).refused(t, 0, "address of b1: no answer", "b1 holds it")
		s.dns.err = nil
		check := func(ip string, asked int) {
			t.Helper()
			a := s.locate(cluster.Query{User: "ann"}, time.Second)
			if a.err != nil || a.backend.IP.String() != ip || s.dns.asked != asked {
				t.Errorf("%v, %v, asked %d times", a.backend.IP, a.err, s.dns.asked)
			}
		}
		check("192.0.2.1", 2)
		s.dns.ip = "192.0.2.2"
		check("192.0.2.1", 2)
		time.Sleep(time.Minute)
		check("192.0.2.2", 3)
		s.dns.err = errors.New("no answer")
		time.Sleep(time.Hour)
		check("192.0.2.2", 4)
		check("192.0.2.2", 4)
	})
}

// Logins cost the coordinator nothing.
func TestRoutesAskNobody(t *testing.T) {
	inSite(t, func(t *testing.T, s *site) {
		s.start("b1", shared)
		s.hold("b1", slotOf("", "ann"))
		synctest.Wait()
		calls := s.director.Calls()
		for range 10_000 {
			s.locate(cluster.Query{User: "ann"}, time.Second).check(t, "b1", 0)
		}
		if n := s.director.Calls() - calls; n != 0 {
			t.Errorf("%d calls", n)
		}
	})
}

// Routes of a million users take no memory.
func TestRoutesMillionUsers(t *testing.T) {
	s := fullSite(t)
	users := 1_000_000
	if testing.Short() {
		users = 100_000
	}
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for i := range users {
		if _, err := s.routes.Locate(t.Context(), cluster.Query{User: fmt.Sprintf("user%d@example.com", i)}); err != nil {
			t.Fatal(err)
		}
	}
	if after := heap(); after > before+1<<20 {
		t.Errorf("%d users take %d bytes", users, after-before)
	}
	runtime.KeepAlive(s)
}

// fullSite has four backends, of which b0 holds all slots, in real time.
func fullSite(t testing.TB) *site {
	s := newSite(t, cluster.BootTime{})
	for i := range 4 {
		s.start(fmt.Sprintf("b%d", i), shared)
	}
	s.takeAll("b0")
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan struct{})
	go func() {
		s.view.Run(ctx)
		close(ran)
	}()
	t.Cleanup(func() {
		stop()
		<-ran
		s.memory.Close()
	})
	if err := s.view.AwaitRevision(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	return s
}

func BenchmarkRoutes(b *testing.B) {
	s := fullSite(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.routes.Locate(b.Context(), cluster.Query{User: "user@example.com"}); err != nil {
			b.Fatal(err)
		}
	}
}

// What operations show of a cluster in which a lot is wrong.
func TestExplain(t *testing.T) {
	inSite(t, func(t *testing.T, s *site) {
		s.put("params", `{"algorithm":1,"slots":16384,"userHash":"%Lu","nameFormat":"%Lu","generation":3}`)
		for _, name := range []string{"b1", "b2", "b3", "b4"} {
			s.start(name, shared)
		}
		s.start("t1", `{"host":"t1.example.com","port":143,"tag":"t","volumes":["w"],"version":"1.0"}`)
		s.put("wishes/b2", `{"state":"drain","weight":50,"by":"root","why":"new memory"}`)
		s.put("directors/d1", `{"incarnation":"i9","since":"2026-11-26T08:00:00Z","addr":"192.0.2.80:143"}`)
		s.hold("b1", slotOf("", "ann"))
		s.hold("b3", slotOf("", "bob"))
		s.hold("b2", slotOf("", "carol"))
		s.put("pins/dave", `{"backend":"b3","by":"root"}`)
		s.hold("b3", "heldu/dave")
		s.put("pins/eve", `{"backend":"b4"}`)
		s.hold("b4", "heldu/eve")
		s.kill("b3")
		time.Sleep(90 * time.Second)
		var all []any
		all = append(all, s.view.Status())
		for _, user := range []string{"ann", "bob", "dave", "eve", "frank"} {
			all = append(all, s.routes.Explain(user, ""))
		}
		all = append(all, s.routes.Explain("ann", "t"), s.routes.Explain("ann", "x"))
		golden(t, "testdata/explain.json", all)
	})
}

// golden compares with a file. The flag is that of the package's other tests.
func golden(t *testing.T, file string, all []any) {
	t.Helper()
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetIndent("", "  ")
	for _, one := range all {
		if err := encoder.Encode(one); err != nil {
			t.Fatal(err)
		}
	}
	if flag.Lookup("update").Value.String() == "true" {
		if err := os.WriteFile(file, []byte(b.String()), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		got, want := strings.Split(b.String(), "\n"), strings.Split(string(want), "\n")
		for i := range min(len(got), len(want)) {
			if got[i] != want[i] {
				t.Fatalf("%s:%d: %s\nnow %s", file, i+1, want[i], got[i])
			}
		}
		t.Errorf("%s has %d lines, now there are %d", file, len(want), len(got))
	}
}

// BenchmarkRoutesTakeover has 10,000 logins wait for the slots of a dead backend, which
// another takes over, 128 at once.
func BenchmarkRoutesTakeover(b *testing.B) {
	const logins = 10_000
	s := fullSite(b)
	for n := 0; b.Loop(); n++ {
		dead, next := fmt.Sprintf("b%d", n%2), fmt.Sprintf("b%d", 1-n%2)
		if err := s.admin.Revoke(b.Context(), s.leases[dead]); err != nil {
			b.Fatal(err)
		}
		at := s.put("other", "")
		if err := s.view.AwaitRevision(b.Context(), at); err != nil {
			b.Fatal(err)
		}
		answers := make(chan error, logins)
		for i := range logins {
			go func() {
				_, err := s.routes.Locate(b.Context(), cluster.Query{User: fmt.Sprintf("user%d", i)})
				answers <- err
			}()
		}
		s.takeAll(next)
		for range logins {
			if err := <-answers; err != nil {
				b.Fatal(err)
			}
		}
		s.start(dead, shared)
	}
}

// takeAll has a backend hold all slots.
func (s *site) takeAll(name string) {
	s.t.Helper()
	value := []byte(fmt.Sprintf(`{"backend":%q,"incarnation":"i1","lease":%d}`, name, s.leases[name]))
	var ops []cluster.Op
	for i := range cluster.Slots {
		ops = append(ops, cluster.Op{Key: fmt.Sprintf("held//%05d", i), Value: value})
		if len(ops) == cluster.MaxOps {
			s.commit(ops...)
			ops = nil
		}
	}
}
