package remote_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// What was said to be fetched is there after one round trip, and what happens in
// between changes nothing but how many there are.
func TestPrefetch(t *testing.T) {
	b := newBackend(t)
	a := b.account("bob")
	defer a.Close()
	for range 3 {
		m := &mailbox.NewMessage{Size: 15, Body: strings.NewReader("Subject: x\r\n\r\nt")}
		if _, err := a.Append(t.Context(), imap.Inbox, mailbox.One(m)); err != nil {
			t.Fatal(err)
		}
	}
	box, err := a.Open(t.Context(), imap.Inbox, false)
	if err != nil {
		t.Fatal(err)
	}
	defer box.Close()
	items := &imap.FetchItems{Flags: true, Sections: []imap.Section{{Kind: imap.SectionText}}}
	for _, c := range []struct {
		name    string
		between func()
		trips   int64
	}{
		{"nothing", func() {}, 1},
		{"sync", func() { _, _ = box.Sync(t.Context(), false) }, 1},
		{"a search", func() { _, _ = box.Search(t.Context(), &imap.SearchKey{Op: imap.SearchAll}) }, 4},
		{"another fetch", func() { fetchText(t, box, 3, items) }, 4},
		{"a lost connection", func() { b.cut(false) }, 20},
	} {
		trips := b.counters.RoundTrips.Load()
		for uid := imap.UID(1); uid <= 3; uid++ {
			if !box.(mailbox.Prefetcher).Prefetch(t.Context(), imap.UIDSetOf(uid), items) {
				t.Fatalf("%s: UID %d was not begun", c.name, uid)
			}
		}
		c.between()
		for uid := imap.UID(1); uid <= 3; uid++ {
			fetchText(t, box, uid, items)
		}
		if n := b.counters.RoundTrips.Load() - trips; n > c.trips {
			t.Errorf("%s in between: %d round trips", c.name, n)
		}
	}
}

// A command that is long is not begun: many of them do not fit into the buffers of
// a connection from which nobody reads meanwhile.
func TestPrefetchIsBrief(t *testing.T) {
	b := newBackend(t)
	deliver(t, b.local(), imap.Inbox, 1)
	box := open(t, b.account("bob"), imap.Inbox)
	for _, row := range []struct {
		fields int
		want   bool
	}{{10, true}, {1000, false}} {
		section := imap.Section{Kind: imap.SectionHeaderFields}
		for i := range row.fields {
			section.Fields = append(section.Fields, fmt.Sprintf("X-Field-%d", i))
		}
		items := &imap.FetchItems{Sections: []imap.Section{section}}
		if got := box.(mailbox.Prefetcher).Prefetch(t.Context(), imap.UIDSetOf(1), items); got != row.want {
			t.Errorf("with %d fields: begun is %v", row.fields, got)
		}
	}
}

func fetchText(t *testing.T, box mailbox.Mailbox, uid imap.UID, items *imap.FetchItems) {
	t.Helper()
	n := 0
	err := box.Fetch(t.Context(), imap.UIDSetOf(uid), items, func(m *mailbox.Message) error {
		if n++; m.UID != uid || len(m.Sections) != 1 || m.Sections[0].Size != 1 {
			t.Errorf("UID %d: got %+v", uid, m)
		}
		return nil
	})
	if err != nil || n != 1 {
		t.Errorf("UID %d: %d messages, %v", uid, n, err)
	}
}
