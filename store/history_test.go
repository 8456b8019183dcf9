package store

import (
	"context"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// Whatever is asked, a history names all that was expunged since, or says that it
// does not know; it never grows beyond its bound, and reads back as it was written.
func TestHistory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var h history
		when := map[imap.UID]uint64{}
		modseq, last, lastRanges := uint64(1), uint64(1), 0
		width := rapid.IntRange(1, 3*maxHistory/2).Draw(t, "ranges of an expunge")
		for range rapid.IntRange(1, 60).Draw(t, "expunges") {
			modseq += rapid.Uint64Range(1, 3).Draw(t, "step")
			var uids []imap.UID
			first := imap.UID(rapid.IntRange(1, 10_000).Draw(t, "first"))
			for i := range imap.UID(rapid.IntRange(1, width).Draw(t, "count")) {
				if uid := first + 3*i; when[uid] == 0 {
					uids = append(uids, uid)
					when[uid] = modseq
				}
			}
			if len(uids) == 0 {
				continue
			}
			set := imap.UIDSetOf(uids...)
			last, lastRanges = modseq, len(set)
			h.add(modseq, set)
			ranges := 0
			for _, e := range h.list {
				ranges += len(e.uids)
			}
			if ranges != h.ranges || ranges > maxHistory {
				t.Fatalf("%d ranges, counted %d", ranges, h.ranges)
			}
		}
		var e encoder
		h.encode(&e)
		var read history
		d := decoder{buf: e.buf}
		read.decode(&d)
		if err := d.end(); err != nil {
			t.Fatal(err)
		}
		for _, h := range []history{h, read} {
			for since := uint64(0); since <= modseq+1; since++ {
				got, known := h.since(since)
				for uid, at := range when {
					if known && at > since && !got.Contains(uid) {
						t.Fatalf("since %d: %d is missing, expunged at %d", since, uid, at)
					}
				}
				for uid := range got.All() {
					if when[uid] == 0 {
						t.Fatalf("%d was never expunged", uid)
					}
				}
			}
			if _, known := h.since(last - 1); !known && lastRanges <= maxHistory {
				t.Fatal("the last expunge is not known")
			}
		}
	})
}

// What vanished and what changed is known after folds and after the account was
// closed, to the owner and to a reader with a \Seen of their own.
func TestHistorySurvivesFold(t *testing.T) {
	fs := newMemFS()
	o := Options{FS: fs, Linger: -1, limits: limits{segment: 1 << 20, foldBytes: 1 << 20, foldRecords: 3}}
	bob := View{Acting: "bob", PrivateSeen: true}
	ctx := context.Background()
	deleted := mailbox.FlagChange{Op: mailbox.FlagsAdd, Flags: []imap.Flag{imap.FlagDeleted, imap.FlagSeen}, Silent: true}
	marks := map[imap.UID]imap.ModSeq{} // before each expunge, as bob sees it
	s := New(o)
	for n := range 12 {
		a, err := s.Open(ctx, "alice", "/mail")
		if err != nil {
			t.Fatal(err)
		}
		session := a.As(bob)
		mustAppend(t, session, "INBOX", n)
		mustAppend(t, session, "INBOX", n)
		m, err := session.Open(ctx, "INBOX", false)
		if err != nil {
			t.Fatal(err)
		}
		last := m.Info().UIDs.Max()
		marks[last] = m.Info().HighestModSeq
		if _, err := m.Store(ctx, imap.UIDSetOf(last), deleted, nil); err != nil {
			t.Fatal(err)
		}
		if err := m.Expunge(ctx, imap.UIDSetOf(last), false); err != nil {
			t.Fatal(err)
		}
		uids := imap.UIDRange(1, 1<<32-1)
		for uid, mark := range marks {
			got, err := m.Vanished(ctx, uids, mark)
			var want []imap.UID
			for other := range marks {
				if other >= uid {
					want = append(want, other)
				}
			}
			slices.Sort(want)
			if err != nil || got.String() != imap.UIDSetOf(want...).String() {
				t.Fatalf("since the expunge of %d: %s, %v, want %v", uid, got, err, want)
			}
		}
		if n%3 == 0 {
			if err := a.fold(ctx); err != nil {
				t.Fatal(err)
			}
		}
		_ = m.Close()
		_ = session.Close()
		_ = a.Close()
	}
	if len(fs.files(func(n string) bool { p, err := parseFileName(n); return err == nil && p.kind == kindTable })) == 0 {
		t.Error("nothing was folded")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
