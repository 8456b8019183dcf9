package store

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

var partnerWork = mailbox.MarkedBox{Account: "partner/ann", Name: "Work"}

func mustMark(t testing.TB, s *Session, box mailbox.MarkedBox, change mailbox.MarkChange) mailbox.Marks {
	t.Helper()
	m, err := s.Mark(context.Background(), box, &change)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func marked(f imap.Flag, uids ...imap.UID) []mailbox.Marked {
	return []mailbox.Marked{{Flag: f, UIDs: imap.UIDSetOf(uids...)}}
}

func wantMarks(t testing.TB, s *Session, box mailbox.MarkedBox, f imap.Flag, want string) mailbox.Marks {
	t.Helper()
	m, err := s.Marks(box)
	if err != nil {
		t.Fatal(err)
	}
	if got := m.With(f).String(); got != want {
		t.Errorf("%s in %+v: got %q, want %q", f, box, got, want)
	}
	return m
}

// Marks are there after a replay, a fold, and a restore of a backup.
func TestMarksAreKept(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "mail")
	for _, fold := range []bool{false, true} {
		s := New(testOptions(t))
		a := mustOpen(t, s, dir, owner)
		mustMark(t, a, partnerWork, mailbox.MarkChange{UIDValidity: 7, Set: append(marked(imap.FlagSeen, 1, 2, 9), marked("$Todo", 3)...)})
		mustMark(t, a, partnerWork, mailbox.MarkChange{UIDValidity: 7, Clear: marked("\\seen", 2), UIDs: imap.UIDSetOf(1, 2, 3), UIDNext: 9})
		if fold {
			if err := a.fold(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(a.Close(), s.Close()); err != nil {
			t.Fatal(err)
		}
		checkDir(t, dir)
	}
	var dump bytes.Buffer
	if err := Dump(dir, &dump); err != nil || !strings.Contains(dump.String(), `marks in {Account:partner/ann Name:Work ID:}`) {
		t.Errorf("dump: %v\n%s", err, dump.String())
	}
	s := New(testOptions(t))
	a := mustOpen(t, s, dir, owner)
	m := wantMarks(t, a, partnerWork, imap.FlagSeen, "1,9")
	wantMarks(t, a, partnerWork, "$TODO", "3")
	if m.UIDValidity != 7 || m.UIDNext != 9 || m.Messages != 3 {
		t.Errorf("got %+v", m)
	}
	saved, back := filepath.Join(root, "saved"), filepath.Join(root, "back")
	if _, err := Backup(context.Background(), dir, saved); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(a.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	if err := Restore(context.Background(), testOptions(t), saved, "alice", back, true); err != nil {
		t.Fatal(err)
	}
	s = New(testOptions(t))
	a = mustOpen(t, s, back, owner)
	wantMarks(t, a, partnerWork, imap.FlagSeen, "1,9")
	if err := errors.Join(a.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	checkDir(t, back)
}

// What is marked goes with the message, with the UIDVALIDITY and with the mailbox, and
// comes along with a rename.
func TestMarksFollow(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mail")
	s := New(testOptions(t))
	a := mustOpen(t, s, dir, owner)
	heard := 0
	stop := a.WatchMarks(func() { heard++ })
	below := mailbox.MarkedBox{Account: partnerWork.Account, Name: "Work/Old"}
	beside := mailbox.MarkedBox{Account: partnerWork.Account, Name: "Workshop"}
	other := mailbox.MarkedBox{Account: "partner/bob", Name: "Work"}
	for _, box := range []mailbox.MarkedBox{partnerWork, below, beside, other} {
		mustMark(t, a, box, mailbox.MarkChange{UIDValidity: 1, Set: marked(imap.FlagSeen, 1, 2, 3, 10)})
	}
	if heard != 4 {
		t.Errorf("watcher was called %d times for 4 changes", heard)
	}
	stop()
	mustMark(t, a, partnerWork, mailbox.MarkChange{UIDValidity: 1, UIDs: imap.UIDSetOf(2, 5), UIDNext: 10})
	if heard != 4 {
		t.Error("watcher was called after its end")
	}
	wantMarks(t, a, partnerWork, imap.FlagSeen, "2,10")
	if err := a.MoveMarks(context.Background(), partnerWork, "Play"); err != nil {
		t.Fatal(err)
	}
	play := mailbox.MarkedBox{Account: partnerWork.Account, Name: "Play"}
	wantMarks(t, a, play, imap.FlagSeen, "2,10")
	wantMarks(t, a, mailbox.MarkedBox{Account: partnerWork.Account, Name: "Play/Old"}, imap.FlagSeen, "1:3,10")
	wantMarks(t, a, partnerWork, imap.FlagSeen, "")
	wantMarks(t, a, below, imap.FlagSeen, "")
	wantMarks(t, a, beside, imap.FlagSeen, "1:3,10")
	if err := a.MoveMarks(context.Background(), play, ""); err != nil {
		t.Fatal(err)
	}
	wantMarks(t, a, play, imap.FlagSeen, "")
	wantMarks(t, a, other, imap.FlagSeen, "1:3,10")
	mustMark(t, a, other, mailbox.MarkChange{UIDValidity: 2, Set: marked(imap.FlagSeen, 4)})
	wantMarks(t, a, other, imap.FlagSeen, "4")
	mustMark(t, a, other, mailbox.MarkChange{UIDValidity: 3})
	wantMarks(t, a, other, imap.FlagSeen, "")
	if err := errors.Join(a.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	checkDir(t, dir)
}

// Mailboxes that were not opened for long are forgotten, and beyond the bounds those
// that were not for the longest time.
func TestMarksHaveBounds(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mail")
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	o := testOptions(t)
	o.Now = func() time.Time { return now }
	s := New(o)
	a := mustOpen(t, s, dir, owner)
	gaps := func(n int) []mailbox.Marked {
		set := make(imap.UIDSet, n)
		for i := range set {
			set[i] = imap.Range{Start: uint32(2*i + 1), Stop: uint32(2*i + 1)}
		}
		return []mailbox.Marked{{Flag: imap.FlagSeen, UIDs: set}}
	}
	box := func(name string) mailbox.MarkedBox { return mailbox.MarkedBox{Account: "partner/ann", Name: name} }
	mustMark(t, a, box("First"), mailbox.MarkChange{UIDValidity: 1, Set: marked(imap.FlagSeen, 1)})
	now = now.Add(300 * 24 * time.Hour)
	mustMark(t, a, box("Second"), mailbox.MarkChange{UIDValidity: 1, Set: gaps(10)})
	now = now.Add(50 * 24 * time.Hour)
	mustMark(t, a, box("First"), mailbox.MarkChange{UIDValidity: 1}) // it was opened
	now = now.Add(51 * 24 * time.Hour)
	mustMark(t, a, box("Third"), mailbox.MarkChange{UIDValidity: 1, Set: gaps(maxMarkRanges - 5)})
	wantMarks(t, a, box("First"), imap.FlagSeen, "1")
	wantMarks(t, a, box("Second"), imap.FlagSeen, "")
	_, err := a.Mark(context.Background(), box("Third"), &mailbox.MarkChange{UIDValidity: 1, Set: gaps(maxMarkRanges + 5)})
	if imap.CodeOf(err) != imap.CodeLimit {
		t.Errorf("got %v", err)
	}
	now = now.Add(350 * 24 * time.Hour)
	mustMark(t, a, box("Fourth"), mailbox.MarkChange{UIDValidity: 1, Set: marked(imap.FlagSeen, 4)})
	wantMarks(t, a, box("First"), imap.FlagSeen, "")
	if err := errors.Join(a.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	checkDir(t, dir)
}
