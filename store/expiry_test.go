package store

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"testing"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// TestDatesOfEntriesAreKept by the log, the fold, a backup and its restore.
func TestDatesOfEntriesAreKept(t *testing.T) {
	ctx := context.Background()
	dir, backup, restored := filepath.Join(t.TempDir(), "mail"), filepath.Join(t.TempDir(), "backup"), filepath.Join(t.TempDir(), "restored")
	want := []mailbox.Entry{
		{Identifier: "group=team", Rights: imap.RightLookup, Expires: 1_800_000_000},
		{Identifier: "user=eve", Negative: true, Rights: imap.RightRead},
		{Identifier: "user=bob", Rights: imap.AllRights, Expires: 253_402_300_799},
	}
	in := func(dir string, do func(a *Session) error) {
		t.Helper()
		s := New(testOptions(t))
		a := mustOpen(t, s, dir, owner)
		if err := errors.Join(do(a), a.Close(), s.Close()); err != nil {
			t.Fatal(err)
		}
		checkDir(t, dir)
	}
	kept := func(a *Session) error {
		t.Helper()
		at, err := a.Expiry(ctx)
		if err != nil || at != 1_800_000_000 {
			t.Errorf("the first date is %d, %v", at, err)
		}
		for _, name := range []string{"Work", "Work/Sub"} {
			if st, err := a.Standing(ctx, name); err != nil || !slices.Equal(st.Own, want) {
				t.Errorf("%s has %v, %v", name, st.Own, err)
			}
		}
		return err
	}
	in(dir, func(a *Session) error {
		return errors.Join(
			a.Create(ctx, "Work"),
			a.UpdateEntries(ctx, "Work", func(mailbox.Standing) ([]mailbox.Entry, error) { return want, nil }),
			a.Create(ctx, "Work/Sub"),
		)
	})
	in(dir, func(a *Session) error { return errors.Join(kept(a), a.fold(ctx)) })
	in(dir, kept)
	if _, err := Backup(ctx, dir, backup); err != nil {
		t.Fatal(err)
	}
	if err := Restore(ctx, testOptions(t), backup, "alice", restored, false); err != nil {
		t.Fatal(err)
	}
	in(restored, kept)
}

// TestEntriesWithoutDates are written as they were before there were dates, and those with
// dates so that a program which knows of none finds more than it understands.
func TestEntriesWithoutDates(t *testing.T) {
	r := &recEntries{box: 1, entries: []mailbox.Entry{{Identifier: "a", Rights: imap.RightRead}, {Identifier: "b", Negative: true}}}
	for _, dates := range []string{"", "\x02\x00\x0e"} {
		var e encoder
		r.encode(&e)
		if got, want := string(e.buf), "\x01\x02\x01a\x00\x01r\x01b\x01\x00"+dates; got != want {
			t.Errorf("%q, want %q", got, want)
		}
		r.entries[1].Expires = 7
	}
	list := (&box{entries: r.entries}).extras()
	if !slices.ContainsFunc(list, func(x extra) bool { return x.tag == extraDates && len(x.content.buf) > 0 }) {
		t.Error("the folded state has the dates in no extra")
	}
}
