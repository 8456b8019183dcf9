package acl_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roost-mail/roost/acl"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/mailbox/mailboxmem"
)

// expiring is alice's mail, of which bob may read Work until an hour has passed.
type expiring struct {
	*testing.T
	mail       *mailboxmem.Mail
	alice, bob *acl.Guard
	until      int64
}

func newExpiring(t *testing.T) *expiring {
	x := &expiring{T: t, mail: mailboxmem.New("alice"), until: time.Now().Add(time.Hour).Unix()}
	guard := func(acting string) *acl.Guard {
		g := acl.NewGuard(x.mail.As(acting, acting != "alice").(acl.Home), acl.Identity{Owner: "alice", Acting: acting}, acl.Options{})
		t.Cleanup(func() { g.Close() })
		return g
	}
	x.alice, x.bob = guard("alice"), guard("bob")
	x.must(x.alice.Create(t.Context(), "Work"))
	x.set("Work", mailbox.Entry{Identifier: "user=bob", Rights: imap.RightLookup | imap.RightRead, Expires: x.until})
	return x
}

func (x *expiring) must(err error) {
	x.Helper()
	if err != nil {
		x.Fatal(err)
	}
}

func (x *expiring) home() acl.Home { return x.mail.As("alice", false).(acl.Home) }

func (x *expiring) set(name string, entries ...mailbox.Entry) {
	x.Helper()
	x.must(x.home().UpdateEntries(x.Context(), name, func(mailbox.Standing) ([]mailbox.Entry, error) { return entries, nil }))
}

// shown is what GETACL says of others than alice.
func (x *expiring) shown() string {
	x.Helper()
	entries, err := x.alice.GetACL(x.Context(), "Work")
	x.must(err)
	var all []string
	for _, e := range entries {
		if e.Identifier != "alice" {
			all = append(all, e.Identifier+" "+e.Rights.Letters())
		}
	}
	return strings.Join(all, ", ")
}

// sleep waits until a second before the date, or just until the date.
func (x *expiring) sleep(before time.Duration) {
	time.Sleep(time.Until(time.Unix(x.until, 0)) - before)
}

// TestRightsEndOnTheirDate, also in a mailbox that is open, though nothing removes them.
func TestRightsEndOnTheirDate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, ctx := newExpiring(t), t.Context()
		m, err := x.bob.Open(ctx, "Work", false)
		x.must(err)
		defer m.Close()
		x.sleep(time.Second)
		_, err = m.Search(ctx, &imap.SearchKey{Op: imap.SearchAll})
		x.must(err)
		if got := x.shown(); got != "bob lr" {
			t.Errorf("GETACL shows %q", got)
		}
		x.sleep(0)
		if _, err := m.Search(ctx, &imap.SearchKey{Op: imap.SearchAll}); imap.CodeOf(err) != imap.CodeNoPerm {
			t.Errorf("SEARCH in the open mailbox: %v", err)
		}
		if c, err := m.Sync(ctx, false); err != nil || !c.Revoked {
			t.Errorf("the session hears %+v, %v", c, err)
		}
		if _, err := x.bob.Open(ctx, "Work", true); imap.CodeOf(err) != imap.CodeNonExistent {
			t.Errorf("EXAMINE: %v", err)
		}
		if list, err := x.bob.List(ctx, []string{"*"}); err != nil || len(list) > 0 {
			t.Errorf("LIST: %v, %v", list, err)
		}
		if got := x.shown(); got != "" {
			t.Errorf("GETACL shows %q", got)
		}
	})
}

// TestChangesKeepTheDate but for deleting the entry; what has expired is not added to.
func TestChangesKeepTheDate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, ctx := newExpiring(t), t.Context()
		date := func() int64 {
			at, err := x.home().Expiry(ctx)
			x.must(err)
			return at
		}
		for _, change := range []imap.ACLChange{imap.ACLReplace, imap.ACLAdd, imap.ACLRemove} {
			x.must(x.alice.SetACL(ctx, "Work", "bob", change, imap.RightWrite))
			if date() != x.until {
				t.Errorf("after change %v it is %d", change, date())
			}
		}
		x.must(x.alice.Create(ctx, "Work/Sub"))
		if s, err := x.home().Standing(ctx, "Work/Sub"); err != nil || s.Own[0].Expires != x.until {
			t.Errorf("a mailbox below has %v, %v", s.Own, err)
		}
		x.must(x.alice.Delete(ctx, "Work/Sub"))
		x.must(x.alice.DeleteACL(ctx, "Work", "bob"))
		x.must(x.alice.SetACL(ctx, "Work", "bob", imap.ACLReplace, imap.RightRead))
		if date() != 0 {
			t.Errorf("deleted and set anew it is %d", date())
		}
		x.set("Work", mailbox.Entry{Identifier: "user=bob", Rights: imap.AllRights, Expires: x.until})
		x.sleep(0)
		x.must(x.alice.SetACL(ctx, "Work", "bob", imap.ACLAdd, imap.RightRead))
		if got := x.shown(); got != "bob r" || date() != 0 {
			t.Errorf("added to what had expired: %s, %d", got, date())
		}
	})
}

// TestLastEntryExpires: a mailbox whose last entry ends does not begin to follow others.
func TestLastEntryExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, ctx := newExpiring(t), t.Context()
		x.set(imap.Inbox, mailbox.Entry{Identifier: "anyone", Rights: imap.AllRights})
		x.set("Work", mailbox.Entry{Identifier: "user=eve", Rights: imap.RightLookup, Expires: x.until})
		rules := acl.Rules{DefaultsFromInbox: true}
		bob := acl.Identity{Owner: "alice", Acting: "bob"}
		want := func(when string) {
			t.Helper()
			s, err := x.home().Standing(ctx, "Work")
			x.must(err)
			if r := acl.Rights(rules.Entries(s), bob); r != 0 {
				t.Errorf("%s: bob has %s", when, r)
			}
		}
		want("before")
		x.sleep(0)
		want("when it has expired")
		var told []string
		x.must(acl.RemoveExpired(ctx, x.home(), rules, func(e acl.Event) {
			told = append(told, e.What.String(), e.Mailbox, acl.FormatFile(e.Before), acl.FormatFile(e.After))
		}))
		want("when it is removed")
		if got := strings.Join(told, "|"); got != "expire|Work|#expires 2000-01-01T01:00:00Z user=eve l\n|owner akxeilprwts\n" {
			t.Errorf("told %q", got)
		}
		if at, err := x.home().Expiry(ctx); at != 0 || err != nil {
			t.Errorf("left is %d, %v", at, err)
		}
	})
}

// TestExpirer wakes whoever waits in an open mailbox, tries again after a failure, and
// leaves alone who is another backend's.
func TestExpirer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newExpiring(t)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		m, err := x.bob.Open(ctx, "Work", false)
		x.must(err)
		defer m.Close()
		heard := make(chan struct{}, 9)
		defer m.Watch(func() { heard <- struct{}{} })()
		failures, tries := 1, []string{}
		e := acl.NewExpirer(acl.ExpirerConfig{
			Log: slog.New(slog.DiscardHandler), Mine: func(owner string) bool { return owner != "carl" },
			Remove: func(ctx context.Context, owner string) (int64, error) {
				tries = append(tries, owner+" "+time.Now().UTC().Format("15:04:05"))
				if failures > 0 {
					failures--
					return 0, errors.New("disk fails")
				}
				if err := acl.RemoveExpired(ctx, x.home(), acl.Rules{}, func(acl.Event) {}); err != nil {
					return 0, err
				}
				return x.home().Expiry(ctx)
			},
		})
		go e.Run(ctx)
		e.Note("carl", x.until)
		e.Note("dora", x.until-60)
		e.Note("dora", 0)
		e.Note("alice", x.until+3600)
		e.Note("alice", x.until)
		<-heard
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		if want := []string{"alice 01:00:00", "alice 01:01:00"}; !slices.Equal(tries, want) {
			t.Errorf("tried %q", tries)
		}
	})
}

// TestDatesInFiles: an entry with a date is a line that Dovecot takes for a comment.
func TestDatesInFiles(t *testing.T) {
	const text = "anyone l\n#expires 2026-12-24T18:00:00Z user=bob lr\n#expires 2027-01-01T00:00:00Z \"group=two words\" lr\n"
	entries, problems := acl.ParseFile(strings.NewReader(text))
	if len(problems) > 0 || len(entries) != 3 || acl.FormatFile(entries) != text {
		t.Fatalf("%v, %v", entries, problems)
	}
	if shared, problems := acl.ParseShared(acl.FormatShared(entries)); len(problems) > 0 || !slices.Equal(shared, entries) {
		t.Errorf("in the index: %v, %v", shared, problems)
	}
	for _, row := range []struct{ line, problem, left string }{
		{"#expires at Christmas, user=bob lr", "", ""},
		{"#expires 2026-12-24", "", ""},
		{"#expires 2026-12-24T19:00:00+01:00 user=bob lr", "", "#expires 2026-12-24T18:00:00Z user=bob lr\n"},
		{"#expires 2026-12-24 user=bob lr", "", "#expires 2026-12-24T00:00:00Z user=bob lr\n"},
		{"#expires 2026-12-24 user=bob q", `unknown right "q"`, ""},
		{"#expires 2026-12-24 -user=bob lr\nanyone lr", "denied can't have a date", ""},
		{"user=bob r\n#expires 2026-12-24 user=bob lr", "another date", "user=bob r\n"},
	} {
		entries, problems := acl.ParseFile(strings.NewReader(row.line))
		if got := acl.FormatFile(entries); got != row.left || (row.problem == "") != (len(problems) == 0) {
			t.Errorf("%q left %q, %v", row.line, got, problems)
		}
		if len(problems) > 0 && !strings.Contains(problems[0].Error(), row.problem) {
			t.Errorf("%q: %v", row.line, problems)
		}
	}
}
