package store

import (
	"testing"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// What a mailbox follows that has no ACL entries of its own is as it is now, and who has
// the mailbox open hears of a change of it.
func TestStanding(t *testing.T) {
	s, dir := New(Options{Holder: "b1", FollowACL: true}), t.TempDir()+"/mail"
	defer checkDir(t, dir)
	defer s.Close() //nolint:errcheck // checked below
	a := mustOpen(t, s, dir, owner)
	ctx := t.Context()
	set := func(name, id string) {
		t.Helper()
		err := a.UpdateEntries(ctx, name, func(mailbox.Standing) ([]mailbox.Entry, error) {
			if id == "" {
				return nil, nil
			}
			return []mailbox.Entry{{Identifier: id, Rights: imap.RightRead}}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(a.Create(ctx, "a"))
	set("a", "user=first")
	must(a.Create(ctx, "a/b/c"))
	must(a.Create(ctx, "ab"))
	m := mustSelect(t, a, "a/b/c")
	other := mustSelect(t, a, "ab")
	told, othersTold := make(chan struct{}, 100), make(chan struct{}, 100)
	defer m.Watch(func() { told <- struct{}{} })()
	defer other.Watch(func() { othersTold <- struct{}{} })()
	shown := func(what string, above, inbox string, heard bool) {
		t.Helper()
		st, err := m.(mailbox.EntryHolder).Standing(ctx)
		must(err)
		for _, e := range []struct {
			name string
			have []mailbox.Entry
			want string
		}{{"own", st.Own, ""}, {"above", st.Above, above}, {"INBOX", st.Inbox, inbox}} {
			if got := len(e.have) > 0; got != (e.want != "") || got && e.have[0].Identifier != e.want {
				t.Errorf("%s: %s has %v, want %s", what, e.name, e.have, e.want)
			}
		}
		select {
		case <-told:
			if !heard {
				t.Errorf("%s: it was told", what)
			}
			if _, err := m.Sync(ctx, true); err != nil {
				t.Fatal(err)
			}
		default:
			if heard {
				t.Errorf("%s: it was not told", what)
			}
		}
	}
	shown("at first", "user=first", "", false)
	set("a", "user=second")
	shown("after a change two levels above", "user=second", "", true)
	set("a/b", "user=nearer")
	shown("with entries nearer", "user=nearer", "", true)
	set("ab", "user=else")
	shown("of another mailbox", "user=nearer", "", false)
	must(a.Delete(ctx, "a/b"))
	shown("when the level above is deleted", "user=second", "", true)
	must(a.Rename(ctx, "a/b/c", "ab/c"))
	shown("after a rename", "user=else", "", true)
	for len(othersTold) > 0 {
		<-othersTold
	}
	if _, err := other.Sync(ctx, true); err != nil {
		t.Fatal(err)
	}
	set("INBOX", "user=inbox")
	shown("of INBOX", "user=else", "user=inbox", true)
	if len(othersTold) > 0 {
		t.Error("a mailbox with entries of its own was told of INBOX's")
	}
}
