package admin_test

import (
	"bytes"
	"context"
	"iter"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roost-mail/roost/admin"
	"github.com/roost-mail/roost/admin/admintest"
	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/imap"
)

// stuck are sessions that do not end.
type stuck struct{ admintest.Sessions }

func (s *stuck) List() iter.Seq[admin.Session] { return s.Sessions.List() }

func (s *stuck) End(func(*admin.Session) bool, *imap.Error) int { return 0 }

func newFixed(t *testing.T, sessions admin.Sessions) (*admin.Admin, *admin.Fixed, *cluster.Adjusted, *bytes.Buffer) {
	t.Helper()
	members, err := cluster.ParseMembers(t.Context(), "127.0.0.11 127.0.0.12", nil)
	if err != nil {
		t.Fatal(err)
	}
	template, err := cluster.ParseTemplate("%Lu")
	if err != nil {
		t.Fatal(err)
	}
	where, err := cluster.NewAdjusted(template, members)
	if err != nil {
		t.Fatal(err)
	}
	log := &bytes.Buffer{}
	logger := slog.New(slog.NewTextHandler(log, nil))
	fixed := admin.NewFixed(where, sessions, logger, 5*time.Second)
	t.Cleanup(fixed.Close)
	return &admin.Admin{Node: "d", Log: logger, Cluster: fixed, Sessions: sessions, Users: plainUsers{}}, fixed, where, log
}

// TestFixedDown: users of a backend that is down lose their sessions, those that come
// in while it is changed as well, and are let in elsewhere when no login to the
// old backend can be under way.
func TestFixedDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sessions := &admintest.Sessions{}
		a, fixed, where, _ := newFixed(t, sessions)
		defer fixed.Close()
		sessions.Add(session("alice", "192.0.2.1", "127.0.0.12"), session("dave", "192.0.2.1", "127.0.0.11"))
		time.AfterFunc(4*time.Second, func() { sessions.Add(session("alice", "192.0.2.2", "127.0.0.12")) })
		began := time.Now()
		var located time.Duration
		time.AfterFunc(time.Second, func() {
			b, err := where.Locate(context.Background(), cluster.Query{User: "alice"})
			if err != nil || b.Name != "127.0.0.11" {
				t.Errorf("alice: %v, %v", b, err)
			}
			located = time.Since(began)
		})
		if _, err := call(t, a, operator, nil, "director down", "127.0.0.12"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if took := time.Since(began); took < 5*time.Second || located < 5*time.Second {
			t.Errorf("it took %v, and the login %v", took, located)
		}
		for s := range sessions.List() {
			if s.User != "dave" {
				t.Errorf("%s is still at %s", s.User, s.Backend)
			}
		}
	})
}

// TestFixedStuck: a session that does not end holds the others up for a while only,
// and the log says so.
func TestFixedStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sessions := &stuck{}
		a, fixed, where, log := newFixed(t, sessions)
		defer fixed.Close()
		sessions.Add(session("alice", "192.0.2.1", "127.0.0.12"))
		_, err := call(t, a, operator, nil, "director move", "alice", "127.0.0.11", "timeout=10s")
		if admin.ExitCode(err) != admin.ExitTemporary || !strings.Contains(err.Error(), "1 session left") {
			t.Errorf("while it hangs: %v", err)
		}
		if _, err := call(t, a, operator, nil, "director up", "127.0.0.11", "why=again"); admin.ExitCode(err) != admin.ExitTemporary && err != nil {
			t.Errorf("meanwhile: %v", err)
		}
		if _, err := call(t, a, operator, nil, "director update", "127.0.0.11", "7"); imap.CodeOf(err) != imap.CodeInUse {
			t.Errorf("another change meanwhile: %v", err)
		}
		if _, err := call(t, a, operator, nil, "director move", "alice", "127.0.0.11"); err != nil {
			t.Errorf("the same once more: %v", err)
		}
		if b, err := where.Locate(t.Context(), cluster.Query{User: "alice"}); err != nil || b.Name != "127.0.0.11" {
			t.Errorf("%v, %v", b, err)
		}
		if !strings.Contains(log.String(), "state may now be inconsistent") {
			t.Error(log.String())
		}
	})
}

// TestFixedFlush: all who were moved go back in one change.
func TestFixedFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, fixed, where, _ := newFixed(t, &admintest.Sessions{})
		defer fixed.Close()
		for _, user := range []string{"alice", "bob", "erin"} {
			if _, err := call(t, a, operator, nil, "director move", user, "127.0.0.11"); err != nil {
				t.Fatal(err)
			}
		}
		began := time.Now()
		res, err := call(t, a, operator, nil, "director flush", "127.0.0.11")
		if err != nil || text(res) != "3 users flushed\n" || time.Since(began) > 6*time.Second {
			t.Errorf("%v, %v, %v", res, err, time.Since(began))
		}
		if s := where.Spot(cluster.Query{User: "alice"}); s.Moved || s.Now != s.Initial {
			t.Errorf("%+v", s)
		}
	})
}
