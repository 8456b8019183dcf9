package remote_test

import (
	"slices"
	"testing"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// SELECT asks for no flags. When they are asked for, they are those that the
// acting user has then, whatever happened in between; and what changes afterwards
// is told.
func TestFlagsLearntLater(t *testing.T) {
	all := imap.UIDRange(1, 300)
	for _, row := range []struct {
		name    string
		between func(b *backend, box, owned mailbox.Mailbox)
	}{
		{"nothing", func(*backend, mailbox.Mailbox, mailbox.Mailbox) {}},
		{"a few are asked for", func(_ *backend, box, _ mailbox.Mailbox) {
			flagsIn(t, box, imap.UIDRange(9, 12))
		}},
		{"the owner changes some", func(_ *backend, _, owned mailbox.Mailbox) {
			change(t, owned, imap.UIDRange(20, 40), mailbox.FlagsAdd, `\Answered`)
		}},
		{"the owner adds a keyword", func(_ *backend, _, owned mailbox.Mailbox) {
			change(t, owned, imap.UIDRange(30, 31), mailbox.FlagsAdd, "New")
		}},
		{"the reader changes some", func(_ *backend, box, _ mailbox.Mailbox) {
			change(t, box, imap.UIDRange(100, 110), mailbox.FlagsAdd, `\Seen`, `\Draft`)
		}},
		{"the reader replaces all of one", func(_ *backend, box, _ mailbox.Mailbox) {
			change(t, box, imap.UIDSetOf(7), mailbox.FlagsReplace, "Work")
		}},
		{"the connection is lost, and the owner changes some", func(b *backend, _, owned mailbox.Mailbox) {
			b.cut(false)
			change(t, owned, imap.UIDRange(50, 60), mailbox.FlagsRemove, `\Flagged`)
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBackend(t)
			deliver(t, b.local(), imap.Inbox, 300)
			owned, read := open(t, b.local(), imap.Inbox), open(t, b.mail.As("bob", true), imap.Inbox)
			for uid := imap.UID(1); uid <= 300; uid++ {
				for _, f := range []struct {
					every imap.UID
					box   mailbox.Mailbox
					flag  imap.Flag
				}{{2, read, `\Seen`}, {3, owned, `\Flagged`}, {5, owned, "Work"}, {7, owned, `\Seen`}} {
					if uid%f.every == 0 {
						change(t, f.box, imap.UIDSetOf(uid), mailbox.FlagsAdd, f.flag)
					}
				}
			}
			a := b.account("bob")
			t.Cleanup(func() { _ = a.Close() })
			box := open(t, a, imap.Inbox)
			row.between(b, box, owned)
			for uid, flags := range flagsIn(t, read, all) {
				if got := flagsIn(t, box, imap.UIDSetOf(uid))[uid]; uid%50 == 0 && !slices.Equal(got, flags) {
					t.Errorf("UID %d alone has %v, want %v", uid, got, flags)
				}
			}
			compareFlags(t, flagsIn(t, box, all), flagsIn(t, read, all))
			synced(t, box)
			change(t, owned, imap.UIDSetOf(200), mailbox.FlagsAdd, "Later")
			if c := synced(t, box); len(c.Flags) != 1 || c.Flags[0].UID != 200 {
				t.Errorf("after a change of UID 200, flags told are %v", c.Flags)
			}
		})
	}
}

// Flags that nobody has asked for are news when they change.
func TestUnknownFlagsChange(t *testing.T) {
	b := newBackend(t)
	deliver(t, b.local(), imap.Inbox, 300)
	a := b.account("bob")
	t.Cleanup(func() { _ = a.Close() })
	box, owned := open(t, a, imap.Inbox), open(t, b.local(), imap.Inbox)
	for i, lost := range []bool{false, true} {
		uid := imap.UID(10 + i)
		if lost {
			b.cut(false)
		}
		change(t, owned, imap.UIDSetOf(uid), mailbox.FlagsAdd, `\Flagged`)
		c := synced(t, box)
		if len(c.Flags) != 1 || c.Flags[0].UID != uid || !imap.HasFlag(c.Flags[0].Flags, `\Flagged`) {
			t.Errorf("lost %v: flags told are %v, want those of UID %d", lost, c.Flags, uid)
		}
	}
}

// SELECT and a FETCH of all flags take an answer of a few lines each.
func TestFlagsLearntBriefly(t *testing.T) {
	b := newBackend(t)
	deliver(t, b.local(), imap.Inbox, 2000)
	a := b.account("bob")
	t.Cleanup(func() { _ = a.Close() })
	if _, err := a.List(t.Context(), []string{"*"}); err != nil { // it is connected from now on
		t.Fatal(err)
	}
	sent, trips := b.sent.Load(), b.counters.RoundTrips.Load()
	box := open(t, a, imap.Inbox)
	flagsIn(t, box, imap.UIDRange(1, 2000))
	if n := b.sent.Load() - sent; n > 2500 {
		t.Errorf("the owner's backend sent %d bytes", n)
	}
	if n := b.counters.RoundTrips.Load() - trips; n > 8 {
		t.Errorf("%d round trips", n)
	}
}

func change(t *testing.T, box mailbox.Mailbox, uids imap.UIDSet, op mailbox.FlagOp, flags ...imap.Flag) {
	t.Helper()
	c := mailbox.FlagChange{Op: op, Flags: flags}
	if _, err := box.Store(t.Context(), uids, c, func(*mailbox.Message) error { return nil }); err != nil {
		t.Fatal(err)
	}
}

// flagsIn fetches flags, sorted and without \Recent.
func flagsIn(t *testing.T, box mailbox.Mailbox, uids imap.UIDSet) map[imap.UID][]imap.Flag {
	t.Helper()
	all := map[imap.UID][]imap.Flag{}
	err := box.Fetch(t.Context(), uids, &imap.FetchItems{Flags: true}, func(m *mailbox.Message) error {
		flags := slices.DeleteFunc(slices.Clone(m.Flags), func(f imap.Flag) bool { return f == imap.FlagRecent })
		slices.Sort(flags)
		all[m.UID] = flags
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func compareFlags(t *testing.T, got, want map[imap.UID][]imap.Flag) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d messages, want %d", len(got), len(want))
	}
	for uid, flags := range want {
		if !slices.Equal(got[uid], flags) {
			t.Errorf("UID %d has %v, want %v", uid, got[uid], flags)
		}
	}
}
