package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// mustStore changes flags in INBOX.
func mustStore(t testing.TB, s *Session, uids imap.UIDSet, op mailbox.FlagOp, flags ...imap.Flag) {
	t.Helper()
	m, err := s.Open(context.Background(), imap.Inbox, false)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close() //nolint:errcheck // never fails
	if _, err := m.Store(context.Background(), uids, mailbox.FlagChange{Op: op, Flags: flags, Silent: true}, nil); err != nil {
		t.Fatal(err)
	}
}

// flagsIn are the flags of all messages of INBOX, and their modification sequences.
func flagsIn(t testing.TB, s *Session) (flags []string, modSeqs []imap.ModSeq) {
	t.Helper()
	m, err := s.Open(context.Background(), imap.Inbox, true)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close() //nolint:errcheck // never fails
	err = m.Fetch(context.Background(), imap.UIDRange(1, 1<<32-1), &imap.FetchItems{Flags: true, ModSeq: true}, func(m *mailbox.Message) error {
		flags, modSeqs = append(flags, sortedFlags(m.Flags)), append(modSeqs, m.ModSeq)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return flags, modSeqs
}

func wantFlagsIn(t testing.TB, s *Session, want ...string) {
	t.Helper()
	got, _ := flagsIn(t, s)
	if len(got) != len(want) {
		t.Fatalf("got %q, want %q", got, want)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Errorf("%s: message %d has %q, want %q", s.view.acting, i+1, got[i], want[i])
		}
	}
}

func highestOf(t testing.TB, s *Session) imap.ModSeq {
	t.Helper()
	st, err := s.Status(context.Background(), imap.Inbox, imap.StatusHighestModSeq)
	if err != nil {
		t.Fatal(err)
	}
	return st.HighestModSeq
}

// Mail of a version that knew no private flag but \Seen opens, its readers go on
// with what they have read, and flags that become private begin as they are.
func TestMailBeforePrivateFlags(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mail")
	if err := os.CopyFS(dir, os.DirFS("testdata/before-private-flags")); err != nil {
		t.Fatal(err)
	}
	checkDir(t, dir)
	o := testOptions(t)
	o.Now = func() time.Time { return time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC) } // while what was expunged is kept
	s := New(o)
	bob := View{Acting: "bob", PrivateFlags: []imap.Flag{imap.FlagSeen, imap.FlagFlagged}, PrivateSeen: true}
	a := mustOpen(t, s, dir, owner)
	wantFlagsIn(t, a, `\Seen`, `\Flagged $One`, `\Seen`, ``, `\Flagged $One`)
	b := mustOpen(t, s, dir, bob)
	wantFlagsIn(t, b, `\Seen`, `\Flagged $One`, ``, ``, `\Flagged \Seen $One`)
	mustStore(t, a, imap.UIDSetOf(3, 4), mailbox.FlagsReplace, imap.FlagFlagged)
	mustStore(t, b, imap.UIDSetOf(6), mailbox.FlagsRemove, imap.FlagFlagged)
	wantFlagsIn(t, b, `\Seen`, `\Flagged`, ``, ``, `\Seen $One`)
	kept, err := a.Kept(KeptFilter{})
	if err != nil || len(kept) != 1 {
		t.Fatalf("kept %v, %v", kept, err)
	}
	if _, err := a.Undelete(context.Background(), KeptFilter{}, ""); err != nil {
		t.Fatal(err)
	}
	wantFlagsIn(t, b, `\Seen`, `\Flagged`, ``, ``, `\Seen $One`, `\Seen`)
	if err := errors.Join(a.Close(), b.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	checkDir(t, dir)
}

// Settings that change take nothing away from readers, and no modification
// sequence falls; what had been set aside comes back.
func TestPrivateFlagsChange(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mail")
	var highest imap.ModSeq
	var modSeqs []imap.ModSeq
	open := func(on bool, flags ...imap.Flag) (a, b *Session, end func()) {
		s := New(testOptions(t))
		a = mustOpen(t, s, dir, owner)
		b = mustOpen(t, s, dir, View{Acting: "bob", PrivateFlags: flags, PrivateSeen: on})
		return a, b, func() {
			if now := highestOf(t, b); now < highest {
				t.Errorf("HIGHESTMODSEQ fell from %d to %d", highest, now)
			} else {
				highest = now
			}
			_, now := flagsIn(t, b)
			for i := range modSeqs {
				if now[i] < modSeqs[i] {
					t.Errorf("message %d: MODSEQ fell from %d to %d", i+1, modSeqs[i], now[i])
				}
			}
			modSeqs = now
			if err := errors.Join(a.fold(t.Context()), a.Close(), b.Close(), s.Close()); err != nil {
				t.Fatal(err)
			}
			checkDir(t, dir)
		}
	}
	a, b, end := open(true, imap.FlagSeen)
	mustAppend(t, a, imap.Inbox, 1, imap.FlagSeen, imap.FlagFlagged)
	mustAppend(t, a, imap.Inbox, 2, "two")
	mustStore(t, b, imap.UIDSetOf(2), mailbox.FlagsAdd, imap.FlagSeen)
	wantFlagsIn(t, b, `\Flagged`, `\Seen two`)
	end()
	a, b, end = open(true, imap.FlagFlagged, "two") // \Seen is everybody's
	wantFlagsIn(t, b, `\Flagged \Seen`, `two`)
	mustStore(t, a, imap.UIDSetOf(1, 2), mailbox.FlagsReplace)
	wantFlagsIn(t, b, `\Flagged`, `two`)
	mustStore(t, b, imap.UIDSetOf(1), mailbox.FlagsReplace, "two")
	wantFlagsIn(t, a, ``, ``)
	wantFlagsIn(t, b, `two`, `two`)
	end()
	_, b, end = open(false, imap.FlagFlagged, "two")
	wantFlagsIn(t, b, ``, ``)
	end()
	a, b, end = open(true, imap.FlagSeen, "two")
	wantFlagsIn(t, b, `two`, `\Seen two`)
	mustStore(t, a, imap.UIDSetOf(1), mailbox.FlagsAdd, imap.FlagSeen)
	end()
	_, b, end = open(true, "two")
	wantFlagsIn(t, b, `\Seen two`, `two`)
	end()
	_, b, end = open(true, imap.FlagSeen, "two") // nobody has changed anything meanwhile
	wantFlagsIn(t, b, `two`, `\Seen two`)
	end()
	a, b, end = open(true, "two")
	wantFlagsIn(t, b, `\Seen two`, `two`)
	mustStore(t, a, imap.UIDSetOf(1), mailbox.FlagsAdd, imap.FlagFlagged)
	end()
	_, b, end = open(true, imap.FlagSeen, "two") // and now somebody has
	wantFlagsIn(t, b, `\Flagged \Seen two`, `\Seen two`)
	end()
}

// Readers who have had no access for long enough are forgotten, and nobody else;
// one who comes back in time finds all as it was, and one who comes too late is told so.
func TestForgetLost(t *testing.T) {
	dir, now := filepath.Join(t.TempDir(), "mail"), time.Now()
	o := testOptions(t)
	o.Now = func() time.Time { return now }
	var s *Store
	var a, b, c *Session
	open := func() {
		s = New(o)
		view := View{PrivateFlags: []imap.Flag{imap.FlagSeen, imap.FlagFlagged}, PrivateSeen: true}
		for who, to := range map[string]**Session{"alice": &a, "bob": &b, "carol": &c} {
			view.Acting = who
			*to = mustOpen(t, s, dir, view)
		}
	}
	reopen := func() {
		if err := errors.Join(a.Close(), b.Close(), c.Close(), s.Close()); err != nil {
			t.Fatal(err)
		}
		checkDir(t, dir)
		open()
	}
	open()
	mustAppend(t, a, imap.Inbox, 1)
	mustAppend(t, a, imap.Inbox, 2)
	mustStore(t, b, imap.UIDSetOf(1), mailbox.FlagsAdd, imap.FlagSeen, imap.FlagFlagged)
	mustStore(t, c, imap.UIDSetOf(2), mailbox.FlagsAdd, imap.FlagSeen)
	lost, unknown := map[string]bool{"bob": true}, map[string]bool{}
	look := func(want int) {
		t.Helper()
		n, err := a.ForgetLost(t.Context(), 30*24*time.Hour, func(_ context.Context, at mailbox.Standing, reader string) (bool, error) {
			if at.Name != imap.Inbox || reader == "alice" {
				t.Errorf("asked for %s in %s", reader, at.Name)
			}
			if unknown[reader] {
				return false, errors.New("not known now")
			}
			return !lost[reader], nil
		})
		if n != want || err != nil {
			t.Fatalf("%d are forgotten, want %d; %v", n, want, err)
		}
	}
	day := func(n int) { now = now.Add(time.Duration(n) * 24 * time.Hour) }
	look(0)
	day(29)
	reopen()
	look(0)
	lost["bob"] = false // the right is back
	look(0)
	day(2)
	lost["bob"] = true
	look(0)
	day(31)
	unknown["bob"] = true
	look(0)
	wantFlagsIn(t, b, `\Flagged \Seen`, ``)
	unknown["bob"] = false
	reopen()
	highest, carols := highestOf(t, b), highestOf(t, c)
	look(1)
	for range 2 {
		wantFlagsIn(t, b, ``, ``)
		wantFlagsIn(t, c, ``, `\Seen`)
		if _, modSeqs := flagsIn(t, b); highestOf(t, b) <= highest || modSeqs[0] <= highest {
			t.Errorf("HIGHESTMODSEQ %d and MODSEQ %v after %d", highestOf(t, b), modSeqs, highest)
		}
		if now := highestOf(t, c); now != carols {
			t.Errorf("carol's HIGHESTMODSEQ was %d, is %d", carols, now)
		}
		if err := a.fold(t.Context()); err != nil {
			t.Fatal(err)
		}
		reopen()
	}
	before := highestOf(t, b)
	mustStore(t, b, imap.UIDSetOf(2), mailbox.FlagsAdd, imap.FlagSeen)
	wantFlagsIn(t, b, ``, `\Seen`)
	if _, modSeqs := flagsIn(t, b); highestOf(t, b) <= before || modSeqs[0] > before || modSeqs[0] <= highest {
		t.Errorf("after %d: %v, highest %d", before, modSeqs, highestOf(t, b))
	}
	reopen()
	if err := errors.Join(a.Close(), b.Close(), c.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	checkDir(t, dir)
}

// Who marks something has access, whatever was judged: readers from another installation, who are
// no users here, keep what is theirs as long as they use it.
func TestWhoMarksIsThere(t *testing.T) {
	dir, now := filepath.Join(t.TempDir(), "mail"), time.Now()
	o := testOptions(t)
	o.Now = func() time.Time { return now }
	s := New(o)
	a, b := mustOpen(t, s, dir, owner), mustOpen(t, s, dir, View{Acting: "bob", PrivateSeen: true})
	mustAppend(t, a, imap.Inbox, 1)
	mustAppend(t, a, imap.Inbox, 2)
	mustStore(t, b, imap.UIDSetOf(1), mailbox.FlagsAdd, imap.FlagSeen)
	for look, want := range []int{0, 0, 0, 0, 1} { // every 20 days
		n, err := a.ForgetLost(t.Context(), 30*24*time.Hour, func(context.Context, mailbox.Standing, string) (bool, error) { return false, nil })
		if n != want || err != nil {
			t.Fatalf("day %d: %d are forgotten, want %d; %v", 20*look, n, want, err)
		}
		if look == 1 {
			wantFlagsIn(t, b, `\Seen`, ``)
			mustStore(t, b, imap.UIDSetOf(2), mailbox.FlagsAdd, imap.FlagSeen)
		}
		now = now.Add(20 * 24 * time.Hour)
	}
	if err := errors.Join(a.Close(), b.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	checkDir(t, dir)
}

// What readers have for themselves, what they have set aside, and what a mailbox
// says of it come back from a backup, and with messages from an undelete; no modification sequence falls.
func TestPrivateFlagsComeBack(t *testing.T) {
	for _, newValidity := range []bool{false, true} {
		tmp, ctx := t.TempDir(), t.Context()
		dir, to, again := filepath.Join(tmp, "mail"), filepath.Join(tmp, "backup"), filepath.Join(tmp, "again")
		o := testOptions(t)
		o.ExpungeKeep = time.Hour
		view := View{Acting: "bob", PrivateFlags: []imap.Flag{imap.FlagSeen, imap.FlagFlagged, "two"}, PrivateSeen: true}
		mode := func(s *Session, mode string) {
			t.Helper()
			if err := s.SetMetadata(ctx, imap.Inbox, []imap.MetadataEntry{{Name: imap.MetadataPrivateFlags, Value: []byte(mode)}}); err != nil {
				t.Fatal(err)
			}
		}
		s := New(o)
		a, b := mustOpen(t, s, dir, owner), mustOpen(t, s, dir, view)
		for n := range 3 {
			mustAppend(t, a, imap.Inbox, n)
		}
		mustStore(t, b, imap.UIDSetOf(1), mailbox.FlagsAdd, imap.FlagFlagged, "two")
		mode(a, "shared")
		mustStore(t, a, imap.UIDSetOf(2), mailbox.FlagsAdd, imap.FlagSeen)
		mode(a, "private")
		mustStore(t, a, imap.UIDSetOf(1, 2), mailbox.FlagsReplace, imap.FlagDeleted)
		m, err := a.Open(ctx, imap.Inbox, false)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(m.Expunge(ctx, nil, true), m.Close(), a.fold(ctx)); err != nil {
			t.Fatal(err)
		}
		mode(a, "shared")
		highest := highestOf(t, b)
		if err := errors.Join(a.Close(), b.Close(), s.Close()); err != nil {
			t.Fatal(err)
		}
		if _, err := Backup(ctx, dir, to); err != nil {
			t.Fatal(err)
		}
		if err := Restore(ctx, testOptions(t), to, "alice", again, newValidity); err != nil {
			t.Fatal(err)
		}
		s = New(o)
		a, b = mustOpen(t, s, again, owner), mustOpen(t, s, again, view)
		if now := highestOf(t, b); now < highest {
			t.Errorf("HIGHESTMODSEQ fell from %d to %d", highest, now)
		}
		wantFlagsIn(t, b, ``)
		if n, err := a.Undelete(ctx, KeptFilter{}, ""); n != 2 || err != nil {
			t.Fatalf("%d came back, %v", n, err)
		}
		wantFlagsIn(t, b, ``, ``, ``)
		mode(a, "private")
		wantFlagsIn(t, b, ``, `\Flagged two`, `\Seen`)
		wantFlagsIn(t, a, ``, ``, ``)
		if err := errors.Join(a.Close(), b.Close(), s.Close()); err != nil {
			t.Fatal(err)
		}
		checkDir(t, again)
	}
}
