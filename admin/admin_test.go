package admin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roost-mail/roost/admin"
	"github.com/roost-mail/roost/admin/admintest"
	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/imap"
)

// plainUsers has names in lower case, and lists none.
type plainUsers struct{}

func (plainUsers) Normalize(name string) (string, error) {
	if strings.Contains(name, "..") {
		return "", errors.New("not a name")
	}
	return strings.ToLower(name), nil
}

func (plainUsers) List(context.Context, string) ([]string, error) { return nil, errors.New("no list") }

var (
	operator = admin.Caller{Name: "root", From: "socket", Operate: true}
	reader   = admin.Caller{Name: "token monitor", From: "192.0.2.9:1"}
)

// world is a node of a cluster in memory.
type world struct {
	*admintest.Cluster
	admin    *admin.Admin
	sessions *admintest.Sessions
	log      bytes.Buffer
}

func newWorld(t *testing.T) *world {
	w := &world{Cluster: admintest.New(t), sessions: &admintest.Sessions{}}
	w.admin = &admin.Admin{
		Node: "d1", Log: slog.New(slog.NewTextHandler(&w.log, nil)), Cluster: w.Shared, Sessions: w.sessions, Users: plainUsers{},
	}
	return w
}

// call calls an operation by its command line.
func call(t *testing.T, a *admin.Admin, who admin.Caller, tell func(admin.Progress), name string, words ...string) (admin.Result, error) {
	t.Helper()
	op, ok := admin.Find(name)
	if !ok {
		t.Fatalf("no operation %s", name)
	}
	var plain []string
	flags := map[string]string{}
	for _, word := range words {
		if name, value, is := strings.Cut(word, "="); is {
			flags[name] = value
		} else {
			plain = append(plain, word)
		}
	}
	given, err := op.Words(plain)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range flags {
		given[name] = value
	}
	args, err := op.Parse(given)
	if err != nil {
		t.Fatal(err)
	}
	return a.Call(t.Context(), who, op, args, tell)
}

func text(res admin.Result) string {
	var b strings.Builder
	_, _ = res.Table().WriteTo(&b)
	return b.String()
}

// TestDrain: it returns when it is done, tells how far it is and how long it will take,
// and goes on when nobody waits for it.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Start("be1", cluster.Registration{Volumes: []string{"v"}})
		w.Start("be2", cluster.Registration{Volumes: []string{"v"}})
		w.Settle(1 << 20)

		var last admin.Progress
		_, err := call(t, w.admin, operator, func(p admin.Progress) { last = p }, "director drain", "be1", "why=new disk")
		if admin.ExitCode(err) != admin.ExitTemporary || !strings.Contains(err.Error(), "It goes on") {
			t.Fatalf("with nobody who takes over: %v", err)
		}
		if last.Units == 0 || last.Left != 0 || last.Elapsed < 29 {
			t.Errorf("progress %+v", last)
		}

		began := time.Now()
		var told []admin.Progress
		res, err := call(t, w.admin, operator, func(p admin.Progress) {
			told = append(told, p)
			w.Settle(1000)
		}, "director drain", "be1")
		if err != nil || text(res) != "be1: drained\n" {
			t.Fatalf("%v, %v", res, err)
		}
		if n := len(told); n < 8 || told[n-1].Units >= told[0].Units || told[n-1].Left == 0 {
			t.Errorf("progress %+v", told)
		}
		if middle := told[4]; middle.Left < 0.5 || middle.Left > 10 {
			t.Errorf("time left: %+v, in all %v", middle, time.Since(began))
		}
		list, err := w.Shared.Backends(t.Context())
		if err != nil || list[0].State != cluster.Drain || list[0].Why != "new disk" || list[0].By != "root" || list[0].Slots != 0 {
			t.Errorf("%+v, %v", list, err)
		}
		since := list[0].Since
		time.Sleep(time.Hour)
		if _, err := call(t, w.admin, operator, nil, "director drain", "be1"); err != nil {
			t.Errorf("drained again: %v", err)
		}
		if list, _ := w.Shared.Backends(t.Context()); list[0].Since != since || list[0].Why != "new disk" {
			t.Errorf("the same drain counts as another: %+v", list[0])
		}
	})
}

// TestLastBackend: nobody can take its users, and the operations say so.
func TestLastBackend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Start("be1", cluster.Registration{Volumes: []string{"v"}})
		w.Settle(1 << 20)
		_, err := call(t, w.admin, operator, nil, "director drain", "be1", "timeout=1s")
		if admin.ExitCode(err) != admin.ExitTemporary || !strings.Contains(err.Error(), "no other backend may take them: be1: ") {
			t.Error(err)
		}
		w.Kill("be1")
		st, err := w.Shared.Status(t.Context())
		if all := strings.Join(st.Problems, "\n"); err != nil || !strings.Contains(all, "16384 slots are served by nobody, and no backend may take them") {
			t.Errorf("%s, %v", all, err)
		}
		e, err := w.Shared.Explain(t.Context(), "alice", "")
		if steps := strings.Join(e.Steps, "\n"); err != nil || !strings.Contains(steps, "Nobody serves the user") || !strings.Contains(steps, "be1 can't take anybody") {
			t.Errorf("%s, %v", steps, err)
		}
	})
}

// TestCoordinatorAway: an administrator is told that nobody knows.
func TestCoordinatorAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Start("be1", cluster.Registration{})
		w.Settle(1 << 20)
		w.Coordinator.Cut(true)
		_, err := call(t, w.admin, operator, nil, "director update", "be1", "5")
		if admin.ExitCode(err) != admin.ExitTemporary || !strings.Contains(err.Error(), "may be changed or not") {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		for _, user := range []string{"", "alice"} {
			res, err := call(t, w.admin, reader, nil, "director status", user)
			if err != nil || !strings.Contains(text(res), "PROBLEM: the coordinator can't be followed, and this is how it was before: ") {
				t.Errorf("%v\n%s", err, text(res))
			}
		}
		res, err := call(t, w.admin, reader, nil, "cluster status")
		if err != nil || !strings.HasPrefix(text(res), "PROBLEM") || !strings.Contains(text(res), "can't follow the coordinator") {
			t.Errorf("%v\n%s", err, text(res))
		}
	})
}

// TestMove: a user moves, at once only if a backend takes the user, and back.
func TestMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for _, name := range []string{"be1", "be2", "be3"} {
			w.Start(name, cluster.Registration{Volumes: []string{"v"}})
		}
		w.Settle(1 << 20)
		home, err := w.Shared.Place(t.Context(), "alice", "")
		if err != nil || home.State != "served" {
			t.Fatal(home, err)
		}
		to := "be1"
		if home.Current == to {
			to = "be2"
		}
		settle := func(admin.Progress) { w.Settle(1 << 20) }
		res, err := call(t, w.admin, operator, settle, "director move", "ALICE", to)
		if err != nil || text(res) != "User alice is at "+to+"\n" {
			t.Fatal(res, err)
		}
		for range 2 {
			res, err = call(t, w.admin, operator, settle, "director flush", to)
			if err != nil {
				t.Fatal(err)
			}
		}
		if text(res) != "0 users flushed\n" {
			t.Error(text(res))
		}
		if p, _ := w.Shared.Place(t.Context(), "alice", ""); p.Current != home.Current || p.Pinned != "" {
			t.Errorf("%+v, want %+v", p, home)
		}
		for _, words := range [][]string{{"alice", "be9"}, {"a/../b", "be1"}} {
			if _, err := call(t, w.admin, operator, nil, "director move", words...); imap.CodeOf(err) != imap.CodeNonExistent {
				t.Errorf("%v: %v", words, err)
			}
		}
	})
}

// slow is a Coordinator before which another administrator is always faster.
type slow struct {
	cluster.Coordinator
	before func()
}

func (s slow) Commit(ctx context.Context, t cluster.Txn) (cluster.Revision, bool, error) {
	s.before()
	return s.Coordinator.Commit(ctx, t)
}

// TestTwoAdministrators: what another has changed meanwhile is kept, and who never gets
// a turn is told.
func TestTwoAdministrators(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Start("be1", cluster.Registration{})
		w.Settle(1 << 20)
		template, err := cluster.ParseTemplate("%Lu")
		if err != nil {
			t.Fatal(err)
		}
		weight := 10
		race := func(times int) cluster.Coordinator {
			return slow{w.Coordinator, func() {
				if times--; times >= 0 {
					weight++
					w.Put("wishes/be1", cluster.Wish{State: cluster.Up, Weight: weight}, 0)
				}
			}}
		}
		shared := admin.NewShared(w.View, race(2), template, admintest.Clock{})
		if err := shared.Wish(t.Context(), "be1", func(w *cluster.Wish) { w.State = cluster.Down }); err != nil {
			t.Fatal(err)
		}
		if list, _ := w.Shared.Backends(t.Context()); list[0].State != cluster.Down || list[0].Weight != 12 {
			t.Errorf("a change was lost: %+v", list[0])
		}
		shared = admin.NewShared(w.View, race(1000), template, admintest.Clock{})
		err = shared.Wish(t.Context(), "be1", func(w *cluster.Wish) { w.Weight = 1 })
		if imap.CodeOf(err) != imap.CodeInUse {
			t.Error(err)
		}
	})
}

// TestRights: who may only look changes nothing, and the log has who tried.
func TestRights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Start("be1", cluster.Registration{})
		w.Settle(1 << 20)
		for _, op := range admin.Operations() {
			if op.Changes == "" {
				continue
			}
			args := admin.Args{"user": "alice", "host": "be1", "weight": "0", "name": "x", "address": "y", "yes": "true"}
			if op.OnlyWith != "" {
				args[op.OnlyWith] = "true"
			}
			if _, err := w.admin.Call(t.Context(), reader, &op, args, nil); admin.ExitCode(err) != admin.ExitNoPerm {
				t.Errorf("%s: %v", op.Name, err)
			}
			if log := w.log.String(); !strings.Contains(log, `by="token monitor" from=192.0.2.9:1`) || !strings.Contains(log, op.Name) {
				t.Errorf("%s: the log has\n%s", op.Name, log)
			}
			w.log.Reset()
		}
		if _, err := call(t, w.admin, operator, nil, "director update", "be1", "7", "timeout=0"); err != nil {
			t.Fatal(err)
		}
		if log := w.log.String(); !strings.Contains(log, `level=INFO msg="administrator's change" operation="director update" args="host=be1 timeout=0s weight=7" by=root from=socket`) {
			t.Error(log)
		}
		if _, err := call(t, w.admin, reader, nil, "director status"); err != nil {
			t.Error(err)
		}
	})
}

func session(user, from, backend string) admin.Session {
	return admin.Session{ID: user + from, User: user, Proto: "imap", Remote: netip.MustParseAddrPort(from + ":1000"), Backend: backend}
}

// TestMasks: which sessions a name with wildcards means.
func TestMasks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.sessions.Add(session("alice", "192.0.2.1", "be1"), session("alice", "192.0.2.2", "be1"), session("al*", "192.0.2.1", "be1"),
			session("a/b", "192.0.2.1", ""), session("[x]", "192.0.2.1", "be2"), session("", "192.0.2.1", ""))
		for words, want := range map[string]int{
			"": 5, "alice": 2, "ALICE": 2, "al*": 3, "a*": 4, "*": 5, "a?b": 1, "a/b": 1, "[x]": 1, "[a-z]*": 0, "bob": 0,
			"alice 192.0.2.2": 1, "* 192.0.2.2": 1, "alice ::ffff:192.0.2.1": 1, `a\*`: 0,
		} {
			res, err := call(t, w.admin, reader, nil, "who", strings.Fields(words)...)
			if who, ok := res.(*admin.Who); err != nil || !ok || who.Count != want {
				t.Errorf("%s: %+v, %v; want %d", words, res, err, want)
			}
		}
		w.Start("be2", cluster.Registration{})
		if res, err := call(t, w.admin, operator, nil, "proxy kick", "*", "host=be2.example.org:143"); err != nil || text(res) != "1 connection kicked\n" {
			t.Error(res, err)
		}
		if res, err := call(t, w.admin, operator, nil, "kick", "alice", "192.0.2.2"); err != nil || text(res) != "1 connection kicked\n" {
			t.Error(res, err)
		}
	})
}

// peers answer as the test says.
type peers map[string]func(context.Context, *admin.Operation, admin.Args) (admin.Result, error)

func (p peers) Ask(ctx context.Context, address string, op *admin.Operation, args admin.Args, _ func(admin.Progress)) (admin.Result, error) {
	return p[address](ctx, op, args)
}

// TestAll: with --all every node is asked at once; one that hangs costs its own lines,
// and is named.
func TestAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := peers{}
		for n := range 20 {
			name := fmt.Sprintf("be%02d", n)
			w.Start(name, cluster.Registration{Admin: name + ":9443"})
			p[name+":9443"] = func(ctx context.Context, op *admin.Operation, args admin.Args) (admin.Result, error) {
				if args["all"] != "" {
					return nil, errors.New("asked to ask all others")
				}
				if n == 3 {
					<-ctx.Done()
					return nil, ctx.Err()
				}
				if op.Name == "kick" {
					return &admin.Kicked{Kicked: 1}, nil
				}
				return &admin.Who{Count: 1, Sessions: []admin.Session{session("alice", "192.0.2.1", "")}}, nil
			}
		}
		w.admin.Peers = p
		w.sessions.Add(session("alice", "192.0.2.1", "be00"))
		began := time.Now()
		res, err := call(t, w.admin, reader, nil, "who", "alice", "all=true")
		who, ok := res.(*admin.Who)
		if err != nil || !ok || who.Count != 20 || len(who.Silent) != 1 || who.Silent[0].Node != "be03" {
			t.Errorf("%+v, %v", res, err)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("it took %v", took)
		}
		res, err = call(t, w.admin, operator, nil, "director kick", "alice")
		if kicked, ok := res.(*admin.Kicked); err != nil || !ok || kicked.Kicked != 20 || len(kicked.Silent) != 1 {
			t.Errorf("%+v, %v", res, err)
		}
	})
}

// TestDrainCountsSessions: the backend itself says how many sessions are left.
func TestDrainCountsSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Start("be1", cluster.Registration{Admin: "be1:9443"})
		w.Start("be2", cluster.Registration{})
		w.Settle(1 << 20)
		asked, left := 0, 5000
		w.admin.Peers = peers{"be1:9443": func(context.Context, *admin.Operation, admin.Args) (admin.Result, error) {
			asked++
			left -= 1000
			return &admin.Who{Count: left}, nil
		}}
		var told []string
		_, err := call(t, w.admin, operator, func(p admin.Progress) { told = append(told, p.String()) }, "director drain", "be1", "timeout=5s")
		if err == nil || asked != 3 || !strings.Contains(told[0], "4000 sessions left") || !strings.Contains(told[len(told)-1], "2000 sessions left") {
			t.Errorf("%v, asked %d times: %q", err, asked, told)
		}
	})
}

// TestDrainOfDead: a backend that has lost its lease gets it back, and its users with it, as long
// as nobody else has taken them.
func TestDrainOfDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Start("be1", cluster.Registration{Volumes: []string{"v"}})
		w.Start("be2", cluster.Registration{Volumes: []string{"v"}})
		w.Settle(1 << 20)
		w.Kill("be1")
		told := 0
		res, err := call(t, w.admin, operator, func(admin.Progress) {
			told++
			w.Settle(4000)
		}, "director drain", "be1")
		if err != nil || text(res) != "be1: drained\n" || told < 2 {
			t.Errorf("%v, %v, told %d times", res, err, told)
		}
		if n := w.Settle(1); n != 0 {
			t.Error("it was said to be drained, and had users")
		}
	})
}

// TestDrainByOldMap: a node that does not know yet what the backend has taken does not say
// that it has nothing.
func TestDrainByOldMap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Start("be1", cluster.Registration{Volumes: []string{"v"}})
		w.Start("be2", cluster.Registration{Volumes: []string{"v"}})
		other := w.Memory.Client()
		w.admin.Cluster = admin.NewShared(w.View, other, cluster.Template{}, admintest.Clock{})
		kvs, _, err := other.Range(t.Context(), "alive/be1")
		if err != nil || len(kvs) != 1 {
			t.Fatal(kvs, err)
		}
		synctest.Wait()
		w.Coordinator.Hang(true)
		value, err := json.Marshal(cluster.Held{Backend: "be1", Incarnation: "be1-1", Lease: kvs[0].Lease})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := other.Commit(t.Context(), cluster.Txn{Then: []cluster.Op{{Key: "held//00001", Value: value}}}); err != nil {
			t.Fatal(err)
		}
		_, err = call(t, w.admin, operator, nil, "director drain", "be1", "timeout=2s")
		w.Coordinator.Hang(false)
		if admin.ExitCode(err) != admin.ExitTemporary {
			t.Errorf("by an old map: %v", err)
		}
		res, err := call(t, w.admin, operator, func(admin.Progress) { w.Settle(1 << 20) }, "director drain", "be1")
		if err != nil || text(res) != "be1: drained\n" {
			t.Errorf("%v, %v", res, err)
		}
	})
}
