package acl_test

import (
	"testing"

	"github.com/roost-mail/roost/acl"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/mailbox/mailboxmem"
)

// groups are a mailbox.Membership of one watcher.
type groups struct {
	now    []string
	notify func()
}

func (g *groups) Groups() []string { return g.now }

func (g *groups) Watch(notify func()) (stop func()) {
	g.notify = notify
	return func() { g.notify = nil }
}

// TestGroupsChange in a session with an open mailbox: rights go and come at once, who
// waits hears of it, also if they changed before the wait began.
func TestGroupsChange(t *testing.T) {
	ctx, mail, team := t.Context(), mailboxmem.New("alice"), &groups{now: []string{"team"}}
	closed := 0
	g := acl.NewGuard(mail.As("bob", true).(acl.Home), acl.Identity{Owner: "alice", Acting: "bob"}, acl.Options{
		Groups: team, Closed: func() { closed++ },
	})
	err := mail.As("alice", false).(acl.Home).UpdateEntries(ctx, imap.Inbox, func(mailbox.Standing) ([]mailbox.Entry, error) {
		return []mailbox.Entry{{Identifier: "group=team", Rights: imap.RightLookup | imap.RightRead}}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	m, err := g.Open(ctx, imap.Inbox, false)
	if err != nil {
		t.Fatal(err)
	}
	wait := func(what string, want bool, change func()) {
		t.Helper()
		heard := false
		stop := m.Watch(func() { heard = true })
		change()
		stop()
		if heard != want || team.notify != nil {
			t.Errorf("%s: heard %v; it is still watched: %v", what, heard, team.notify != nil)
		}
	}
	become := func(now ...string) func() {
		return func() {
			if team.now = now; team.notify != nil {
				team.notify()
			}
		}
	}
	wait("nothing happens", false, func() {})
	wait("bob leaves", true, become("other"))
	if _, err := m.Search(ctx, &imap.SearchKey{Op: imap.SearchAll}); imap.CodeOf(err) != imap.CodeNoPerm {
		t.Errorf("SEARCH: %v", err)
	}
	if c, err := m.Sync(ctx, true); err != nil || !c.Revoked {
		t.Errorf("Sync: %+v, %v", c, err)
	}
	if list, err := g.List(ctx, []string{"*"}); err != nil || len(list) > 0 {
		t.Errorf("LIST: %v, %v", list, err)
	}
	become("team")()
	wait("bob had come back", true, func() {})
	if c, err := m.Sync(ctx, true); err != nil || !c.FlagsChanged {
		t.Errorf("Sync: %+v, %v", c, err)
	}
	wait("that is known", false, func() {})
	stop, err := g.Observe(ctx, nil, func() {})
	if err != nil || team.notify == nil {
		t.Fatalf("an observer does not watch the groups, %v", err)
	}
	stop()
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if err := g.Close(); err != nil || closed != 1 || team.notify != nil {
		t.Errorf("closed %d times, %v", closed, err)
	}
}
