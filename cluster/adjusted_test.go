package cluster

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roost-mail/roost/imap"
)

func newAdjusted(t *testing.T) (*Adjusted, []Member) {
	t.Helper()
	members, err := ParseMembers(t.Context(), "127.0.0.11 127.0.0.12 127.0.0.13@other", nil)
	if err != nil {
		t.Fatal(err)
	}
	template, err := ParseTemplate("%Lu")
	if err != nil {
		t.Fatal(err)
	}
	a, err := NewAdjusted(template, members)
	if err != nil {
		t.Fatal(err)
	}
	return a, members
}

// TestTurn: while users change their backend their logins wait, and nobody else's.
func TestTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, members := newAdjusted(t)
		ctx := t.Context()
		users := map[string]Backend{}
		for _, user := range []string{"alice", "bob", "carol", "dave", "erin", "frank", "grace"} {
			users[user], _ = a.Locate(ctx, Query{User: user})
		}
		members[1].Down = true
		turn, err := a.Begin(members, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.Begin(members, nil); !errors.Is(err, ErrTurn) {
			t.Errorf("a second change: %v", err)
		}
		waiting := 0
		for user, was := range users {
			leaves := was == members[1].Backend
			if turn.Leaves(user, Member{Backend: was}) != leaves {
				t.Errorf("%s at %v: leaves is not %v", user, was, leaves)
			}
			short, cancel := context.WithTimeout(ctx, time.Second)
			b, err := a.Locate(short, Query{User: user})
			cancel()
			switch {
			case leaves && imap.CodeOf(err) != imap.CodeUnavailable:
				t.Errorf("%s did not wait: %v, %v", user, b, err)
			case !leaves && (err != nil || b != was):
				t.Errorf("%s: %v, %v", user, b, err)
			}
			if leaves {
				waiting++
			}
		}
		if waiting == 0 || waiting == len(users) {
			t.Fatalf("%d of %d users were at the backend", waiting, len(users))
		}
		time.AfterFunc(time.Minute, turn.End)
		for user := range users {
			if b, err := a.Locate(ctx, Query{User: user}); err != nil || b != members[0].Backend {
				t.Errorf("%s after it: %v, %v", user, b, err)
			}
		}
		turn.End()
		if a.Turn() != nil {
			t.Error("it goes on")
		}
	})
}

func TestAdjustedName(t *testing.T) {
	members, err := ParseMembers(t.Context(), "127.0.0.1:1143 127.0.0.1:2143 127.0.0.2", nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := NewAdjusted(Template{}, members)
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]string{
		"127.0.0.1:1143": "127.0.0.1:1143", "127.0.0.1:143": "", "127.0.0.2:143": "127.0.0.2", "127.0.0.2:993": "127.0.0.2", "127.0.0.3:143": "",
	} {
		if got := a.Name(netip.MustParseAddrPort(addr)); got != want {
			t.Errorf("%s is %q, want %q", addr, got, want)
		}
	}
}

// TestAdjustedMoves: a user who is moved is there whatever weights say.
func TestAdjustedMoves(t *testing.T) {
	a, members := newAdjusted(t)
	turn, err := a.Begin(members, map[string]Backend{"alice": members[2].Backend})
	if err != nil {
		t.Fatal(err)
	}
	if !a.Spot(Query{User: "alice"}).Changing || a.Spot(Query{User: "bob"}).Changing {
		t.Error("alice alone changes")
	}
	turn.End()
	s := a.Spot(Query{User: "alice"})
	if !s.Moved || s.Now != members[2].Backend || s.Hashed != s.Initial || s.Hashed == s.Now {
		t.Errorf("%+v", s)
	}
}
