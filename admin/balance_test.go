package admin_test

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roost-mail/roost/admin"
	"github.com/roost-mail/roost/admin/admintest"
	"github.com/roost-mail/roost/cluster"
)

// pinned is a world with three backends and users who were moved: home to where she
// belongs anyway, lost to a backend that is gone, away to another one.
func pinned(t *testing.T) *world {
	w := newWorld(t)
	for _, name := range []string{"be1", "be2", "be3"} {
		w.Start(name, cluster.Registration{Volumes: []string{"v"}})
	}
	w.Settle(1 << 20)
	for user, where := range map[string]func(belongs string) string{
		"home": func(belongs string) string { return belongs },
		"lost": func(string) string { return "be9" },
		"away": func(belongs string) string {
			return map[string]string{"be1": "be2", "be2": "be3", "be3": "be1"}[belongs]
		},
	} {
		p, err := w.Shared.Place(t.Context(), user, "")
		if err != nil {
			t.Fatal(err)
		}
		w.Put("pins/"+user, cluster.Pin{Backend: where(p.Hashed)}, 0)
	}
	w.Settle(1 << 20)
	return w
}

func (w *world) pins(t *testing.T) string {
	pins, err := w.Shared.Pins(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, user := range []string{"away", "home", "lost"} {
		if _, is := pins[user]; is {
			names = append(names, user)
		}
	}
	return strings.Join(names, " ")
}

// TestRebalance: pins that make no difference go, others only if they are asked for; who
// may only look may say --dry-run.
func TestRebalance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := pinned(t)
		settle := func(admin.Progress) { w.Settle(1 << 20) }
		res, err := call(t, w.admin, reader, nil, "director rebalance", "dry-run=true")
		if err != nil || text(res) != "nothing would move\n2 pins would be ended\n1 pin kept; --moved ends them too\n" {
			t.Errorf("%v\n%v", err, res)
		}
		if got := w.pins(t); got != "away home lost" {
			t.Errorf("a dry run has changed pins: %s", got)
		}
		res, err = call(t, w.admin, operator, settle, "director rebalance")
		if err != nil || text(res) != "all slots are where they belong\n2 pins ended\n1 pin kept; --moved ends them too\n" {
			t.Errorf("%v\n%v", err, res)
		}
		if got := w.pins(t); got != "away" {
			t.Errorf("pins left: %s", got)
		}
		if _, err := call(t, w.admin, operator, settle, "director rebalance", "moved=true"); err != nil {
			t.Error(err)
		}
		for range 2 { // the second time there is nothing to do
			res, err = call(t, w.admin, operator, settle, "director rebalance", "moved=true")
		}
		if err != nil || text(res) != "all slots are where they belong\n" || w.pins(t) != "" {
			t.Errorf("%v\n%v, pins left: %s", err, res, w.pins(t))
		}
	})
}

// TestRebalanceGoesOn: so many a second; a call that ends before it is done leaves the
// rest to the next one, and slots that move by themselves are waited for.
func TestRebalanceGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := pinned(t)
		began := time.Now()
		_, err := call(t, w.admin, operator, nil, "director rebalance", "moved=true", "rate=1", "timeout=1500ms")
		if admin.ExitCode(err) != admin.ExitTemporary || !strings.Contains(err.Error(), "1 moved user not yet sent back: say it again to go on") {
			t.Error(err)
		}
		if took := time.Since(began); took != 1500*time.Millisecond || w.pins(t) != "lost" {
			t.Errorf("after %v: %s", took, w.pins(t))
		}
		w.Start("be4", cluster.Registration{Volumes: []string{"v"}})
		var told []string
		res, err := call(t, w.admin, operator, func(p admin.Progress) {
			told = append(told, p.String())
			w.Settle(1000)
		}, "director rebalance", "moved=true")
		if err != nil || text(res) != "all slots are where they belong\n1 pin ended\n" {
			t.Errorf("%v\n%v", err, res)
		}
		if all := strings.Join(told, "\n"); !strings.Contains(all, "slots not yet where they belong, about ") {
			t.Error(all)
		}
		for _, words := range []string{"host=be1", "weight=3", "timeout=0", "rate=0", "dry-run=true state=up"} {
			if _, err := call(t, w.admin, operator, nil, "director rebalance", strings.Fields(words)...); admin.ExitCode(err) != admin.ExitUsage {
				t.Errorf("%s: %v", words, err)
			}
		}
	})
}

// TestMapByHash: -h finds users by their slot, those who were moved too.
func TestMapByHash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := pinned(t)
		all, err := call(t, w.admin, reader, nil, "director map", "users=home\nlost\naway")
		if err != nil {
			t.Fatal(err)
		}
		template, err := cluster.ParseTemplate("%Lu")
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range all.(*admin.UserMap).Users {
			slot := cluster.SlotOf(template, p.User)
			res, err := call(t, w.admin, reader, nil, "director map", "users=home\nlost\naway", "hash="+strconv.Itoa(int(slot)))
			if found := res.(*admin.UserMap).Users; err != nil || len(found) != 1 || found[0].User != p.User || found[0].Hash != uint32(slot) {
				t.Errorf("%s, slot %d: %+v, %v", p.User, slot, found, err)
			}
		}
	})
}

// TestKickByField: the passdb's fields user_NAME are other names of a user.
func TestKickByField(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		named := func(user string, names map[string]string) admin.Session {
			s := session(user, "192.0.2.1", "be1")
			s.Names = names
			return s
		}
		w.sessions.Add(named("alice", map[string]string{"uid": "1000", "site": "North"}), named("bob", map[string]string{"uid": "1001", "site": "North"}),
			named("1000", nil))
		for words, want := range map[string]int{
			"1000 field=uid": 1, "1000 field=user_uid": 1, "1000": 1, "100* field=uid": 2, "* field=uid": 2, "alice field=uid": 0,
			"North field=site": 2, "north field=site": 0, "x field=nothing": 0, "field=site": 2,
		} {
			res, err := call(t, w.admin, reader, nil, "who", strings.Fields(words)...)
			if who, ok := res.(*admin.Who); err != nil || !ok || who.Count != want {
				t.Errorf("%s: %+v, %v; want %d", words, res, err, want)
			}
		}
		res, err := call(t, w.admin, reader, nil, "proxy list")
		if err != nil || !strings.HasPrefix(text(res), "username  site   uid   proto  src ip") || !strings.Contains(text(res), "\n1000      -      -     imap") {
			t.Errorf("%v\n%s", err, text(res))
		}
		asked := admin.Args{}
		w.Start("be1", cluster.Registration{Admin: "be1:9443"})
		w.admin.Peers = peers{"be1:9443": func(_ context.Context, _ *admin.Operation, args admin.Args) (admin.Result, error) {
			asked = args
			return &admin.Kicked{Kicked: 1}, nil
		}}
		res, err = call(t, w.admin, operator, nil, "director kick", "1000", "field=uid")
		if kicked, ok := res.(*admin.Kicked); err != nil || !ok || kicked.Kicked != 2 || asked["field"] != "uid" {
			t.Errorf("%+v, %v, the other node was asked %v", res, err, asked)
		}
		if res, err := call(t, w.admin, reader, nil, "who", "count=true"); err != nil || text(res) != "2 sessions\n" {
			t.Errorf("who is left: %v, %v", res, err)
		}
	})
}

// overtaken is a coordinator at which somebody else is faster, once.
type overtaken struct {
	cluster.Coordinator
	before func()
}

func (c *overtaken) Commit(ctx context.Context, t cluster.Txn) (cluster.Revision, bool, error) {
	if before := c.before; before != nil {
		c.before = nil
		before()
	}
	return c.Coordinator.Commit(ctx, t)
}

// TestAddOvertaken: who says director add once more, and meanwhile somebody has changed the
// backend's weight, is who has wished what there is then.
func TestAddOvertaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Start("be1", cluster.Registration{Volumes: []string{"v"}})
		put := func(by string, weight int) {
			w.Put("wishes/be1", cluster.Wish{State: cluster.Up, Weight: weight, By: by}, 0)
		}
		put("first", 100)
		coordinator := &overtaken{w.Coordinator, func() { put("second", 50) }}
		template, err := cluster.ParseTemplate("%Lu")
		if err != nil {
			t.Fatal(err)
		}
		shared := admin.NewShared(w.View, coordinator, template, admintest.Clock{})
		if err := shared.Add(t.Context(), "be1", cluster.Wish{State: cluster.Up, Weight: 100, By: "third"}, nil); err != nil {
			t.Fatal(err)
		}
		var now cluster.Node
		w.View.Read(func(m *cluster.Map) { now, _ = m.Node("be1") })
		if now.Wish.Weight != 100 || now.Wish.By != "third" {
			t.Errorf("%+v", now.Wish)
		}
	})
}
