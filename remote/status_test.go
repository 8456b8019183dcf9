package remote_test

import (
	"fmt"
	"testing"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// The counters of all of an owner's mailboxes are one exchange on one
// connection, with a peer that has LIST-STATUS; elsewhere commands that do not
// wait for each other.
func TestStatusesAreOneRoundTrip(t *testing.T) {
	for _, row := range []struct {
		name  string
		hides []string
		names int
		trips int64
	}{
		{"LIST-STATUS", nil, 500, 1},
		{"STATUS", []string{"LIST-STATUS"}, 64, 1},
		{"more STATUS", []string{"LIST-STATUS"}, 500, 8},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBackend(t)
			b.hides = row.hides
			home := b.mail.As(owner, false)
			var names []string
			for i := range row.names {
				names = append(names, fmt.Sprintf("box%d", i))
				if err := home.Create(t.Context(), names[i]); err != nil {
					t.Fatal(err)
				}
			}
			a := b.account("bob")
			defer a.Close()
			if _, err := a.Status(t.Context(), imap.Inbox, imap.StatusMessages); err != nil {
				t.Fatal(err) // connected from here on
			}
			trips, answers := b.counters.RoundTrips.Load(), 0
			a.Statuses(t.Context(), names, imap.StatusMessages|imap.StatusUnseen|imap.StatusSize, func(name string, _ imap.Status, err error) {
				if answers++; err != nil {
					t.Errorf("%s: %v", name, err)
				}
			})
			if got := b.counters.RoundTrips.Load() - trips; answers != row.names || got > row.trips {
				t.Errorf("%d answers in %d round trips, want %d in %d", answers, got, row.names, row.trips)
			}
			if n := b.counters.Connections.Load(); n != 1 {
				t.Errorf("%d connections", n)
			}
		})
	}
}

// Names that LIST would take for patterns, or does not list, are asked for by STATUS.
func TestStatusesOfOddNames(t *testing.T) {
	b := newBackend(t)
	b.guarded = true
	home := b.mail.As(owner, false)
	for _, name := range []string{"Work", "Open", "Grüße & co"} {
		if err := home.Create(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	grant := func(name, rights string) {
		r, err := imap.ParseRights(rights)
		if err == nil {
			err = guard(b.mail, owner).(mailbox.ACL).SetACL(t.Context(), name, "bob", imap.ACLReplace, r)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	grant("Work", "l")
	grant("Open", "r")
	grant("Grüße & co", "lr")
	a := b.account("bob")
	defer a.Close()
	want := map[string]imap.Code{
		"Work": imap.CodeNoPerm, "Open": "", "Grüße & co": "", "INBOX": imap.CodeNonExistent, "W*": imap.CodeNonExistent, "Wor%": imap.CodeNonExistent, "Nope": imap.CodeNonExistent,
	}
	var names []string
	for name := range want {
		names = append(names, name)
	}
	a.Statuses(t.Context(), names, imap.StatusMessages, func(name string, _ imap.Status, err error) {
		if got := imap.CodeOf(err); got != want[name] {
			t.Errorf("%s: %v, want %q", name, err, want[name])
		}
		delete(want, name)
	})
	if len(want) > 0 {
		t.Errorf("no answer for %v", want)
	}
}
