package mailboxtest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

func syncTests() []test {
	return []test{
		{"NothingHappened", func(h *home) {
			_, b := h.withMail(2)
			b.wantQuiet()
			b.wantQuiet()
		}},
		{"New", func(h *home) {
			o, b := h.withMail(2)
			o.add("Work", []string{shortMessage, shortMessage})
			h.wantUIDs(b.Info().UIDs, "1:2", "told before")
			h.wantUIDs(b.sync().New, "3:4", "new")
			info := b.Info()
			h.wantUIDs(info.UIDs, "1:4", "told after")
			if info.UIDNext != 5 {
				h.Errorf("UIDNEXT is %d", info.UIDNext)
			}
			b.wantQuiet()
		}},
		{"NewAndVanished", func(h *home) {
			o, b := h.withMail(3, imap.FlagDeleted)
			o.add("Work", []string{shortMessage})
			other := h.owner().open("Work")
			other.expunge(uids(2), false)
			other.store(uids(1), mailbox.FlagsReplace, imap.FlagSeen)
			c := b.sync()
			h.wantUIDs(c.Vanished, "2", "vanished")
			h.wantUIDs(c.New, "4", "new")
			if len(c.Flags) != 1 || c.Flags[0].UID != 1 || !sameFlags(c.Flags[0].Flags, []imap.Flag{imap.FlagSeen}) {
				h.Errorf("flags: got %+v", c.Flags)
			}
			h.wantUIDs(b.Info().UIDs, "1,3:4", "told")
		}},
		{"CameAndWent", func(h *home) {
			o, b := h.withMail(1)
			o.add("Work", []string{shortMessage}, imap.FlagDeleted)
			h.owner().open("Work").expunge(nil, true)
			c := b.sync()
			if !c.New.Empty() || !c.Vanished.Empty() {
				h.Fatalf("got %+v", c)
			}
		}},
		{"Gone", func(h *home) {
			o, b := h.withMail(1)
			h.must(o.Delete(h.Context(), "Work"), "delete")
			if c := b.sync(); !c.Gone {
				h.Fatalf("got %+v", c)
			}
			err := b.Fetch(h.Context(), uids(1), &imap.FetchItems{Flags: true}, collect(new([]fetched)))
			h.wantCode(err, imap.CodeNonExistent, "fetch")
			_, err = b.Search(h.Context(), &imap.SearchKey{Op: imap.SearchAll})
			h.wantCode(err, imap.CodeNonExistent, "search")
			if c, err := b.Sync(h.Context(), true); err == nil && c.Gone {
				h.Error("told twice that it is gone")
			}
		}},
		{"GoneStaysGone", func(h *home) {
			o, b := h.withMail(1)
			h.must(o.Delete(h.Context(), "Work"), "delete")
			o.create("Work")
			o.add("Work", []string{shortMessage})
			if c := b.sync(); !c.Gone || !c.New.Empty() {
				h.Fatalf("got %+v", c)
			}
		}},
		{"TwoSessionsAtOnce", twoSessions},
	}
}

// twoSessions has several sessions work on one mailbox at the same time; in
// the end all see the same.
func twoSessions(h *home) {
	const sessions, rounds = 3, 15
	h.owner().create("Work")
	boxes := make([]*box, sessions)
	users := make([]*user, sessions)
	for i := range boxes {
		users[i] = h.owner()
		boxes[i] = users[i].open("Work")
	}
	var done sync.WaitGroup
	for i := range boxes {
		done.Go(func() {
			for r := range rounds {
				if err := users[i].work(boxes[i], r); err != nil {
					h.Errorf("session %d: %v", i, err)
					return
				}
			}
		})
	}
	done.Wait()
	var first string
	for i, b := range boxes {
		b.sync()
		got := b.fetch(b.Info().UIDs, &imap.FetchItems{Flags: true})
		if len(got) != b.Info().UIDs.Len() {
			h.Errorf("session %d knows of %s and finds %d", i, b.Info().UIDs, len(got))
		}
		if picture := flagPicture(got); i == 0 {
			first = picture
		} else if picture != first {
			h.Errorf("session %d sees%s\nthe first%s", i, picture, first)
		}
	}
}

// flagPicture is what messages and flags there are, as text to compare.
func flagPicture(messages []fetched) string {
	var b strings.Builder
	for _, m := range messages {
		flags := make([]string, len(m.Flags))
		for i, f := range m.Flags {
			flags[i] = strings.ToLower(string(f))
		}
		slices.Sort(flags)
		fmt.Fprintf(&b, " %d%q", m.UID, flags)
	}
	return b.String()
}

// work is a round of one of several sessions.
func (u *user) work(b *box, round int) error {
	data, err := u.Append(u.Context(), "Work", mailbox.One(newMessage(shortMessage)))
	if err != nil {
		return err
	}
	if _, err := b.Sync(u.Context(), true); err != nil {
		return err
	}
	flag := [...]imap.Flag{imap.FlagSeen, imap.FlagFlagged, imap.FlagDeleted}[round%3]
	change := mailbox.FlagChange{Op: mailbox.FlagsAdd, Flags: []imap.Flag{flag}, Silent: round%2 == 0}
	if _, err := b.Store(u.Context(), data.UIDs, change, func(*mailbox.Message) error { return nil }); err != nil {
		return err
	}
	if round%5 != 4 {
		return nil
	}
	return b.Expunge(u.Context(), nil, true)
}

func watchTests() []test {
	event := func(name string, change func(*home, *user)) test {
		return test{name, func(h *home) {
			_, b := h.withMail(2, imap.FlagDeleted)
			heard := b.watch()
			change(h, h.owner())
			b.awaitChange(heard)
		}}
	}
	return []test{
		event("New", func(_ *home, o *user) { o.add("Work", []string{shortMessage}) }),
		event("Flags", func(_ *home, o *user) { o.open("Work").store(uids(1), mailbox.FlagsAdd, imap.FlagSeen) }),
		event("Expunge", func(_ *home, o *user) { o.open("Work").expunge(nil, true) }),
		event("Gone", func(h *home, o *user) { h.must(o.Delete(h.Context(), "Work"), "delete") }),
		{"TellsOfWhatWasThereBefore", func(h *home) {
			o, b := h.withMail(1)
			o.add("Work", []string{shortMessage})
			b.awaitChange(b.watch())
		}},
		{"SeveralInARow", func(h *home) {
			o, b := h.withMail(1)
			heard := b.watch()
			for uid := imap.UID(2); uid < 7; uid++ {
				o.add("Work", []string{shortMessage})
				if c := b.awaitChange(heard); !c.New.Contains(uid) {
					h.Fatalf("got %+v, want message %d", c, uid)
				}
			}
		}},
		{"StopEndsIt", func(h *home) {
			o, b := h.withMail(1)
			var mu sync.Mutex
			stopped, late := false, false
			stop := b.Watch(func() {
				mu.Lock()
				defer mu.Unlock()
				late = late || stopped
			})
			stop()
			mu.Lock()
			stopped = true
			mu.Unlock()
			o.add("Work", []string{shortMessage})
			h.wantUIDs(b.sync().New, "2", "new")
			b.wantFlags(1)
			b.awaitNoMore(&mu, &late)
		}},
		{"CloseWhileWatched", func(h *home) {
			o := h.owner()
			m, err := o.Account.Open(h.Context(), imap.Inbox, false)
			h.must(err, "open")
			stop := m.Watch(func() {})
			h.must(m.Close(), "close")
			stop()
		}},
	}
}

// watch starts a Watch that lasts until the test ends.
func (b *box) watch() <-chan struct{} {
	heard := make(chan struct{}, 1)
	stop := b.Watch(func() {
		select {
		case heard <- struct{}{}:
		default:
		}
	})
	b.Cleanup(stop)
	return heard
}

// awaitChange waits until the watch tells of something that Sync knows of.
func (b *box) awaitChange(heard <-chan struct{}) mailbox.Changes {
	b.Helper()
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		b.await("a notification", heard)
		c, err := b.Sync(b.Context(), false)
		b.must(err, "sync")
		if !c.Empty() {
			return c
		}
	}
	b.Fatal("notified, but sync has nothing to tell")
	return mailbox.Changes{}
}

// awaitNoMore checks that a stopped watch was not heard of.
func (b *box) awaitNoMore(mu *sync.Mutex, late *bool) {
	b.Helper()
	mu.Lock()
	defer mu.Unlock()
	if *late {
		b.Error("notified after stop had returned")
	}
}
