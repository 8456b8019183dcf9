package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/roost-mail/roost/imap"
)

// broken is alice's closed mail: a folded state, and a tail behind it.
func broken(t *testing.T) (fs *memFS, o Options, man *manifest) {
	t.Helper()
	fs = newMemFS()
	o = testOptions(t)
	o.FS, o.Log = fs, nil
	o.limits = limits{segment: 1 << 40, foldBytes: 1 << 40, foldRecords: 1 << 30}
	s := New(o)
	a := mustOpen(t, s, "/mail", owner)
	ctx := context.Background()
	if err := a.Create(ctx, "Work"); err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= 6; n++ {
		mustAppend(t, a, "INBOX", n, imap.FlagFlagged)
		mustAppend(t, a, "Work", 10+n)
	}
	if err := a.submit(ctx, &txn{alone: true, run: a.rollOver}); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, a, "INBOX", 7)
	for range 2 {
		if err := a.fold(ctx); err != nil {
			t.Fatal(err)
		}
		mustAppend(t, a, "Work", 17)
	}
	if err := a.submit(ctx, &txn{alone: true, run: a.rollOver}); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, a, "INBOX", 8)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	m, err := (&disk{fs: fs, dir: "/mail"}).newestManifest()
	if err != nil {
		t.Fatal(err)
	}
	return fs, o, m
}

// TestRepair damages one file after the other. Afterwards the account is sound, and has
// what the others have of it; the damaged file is kept.
func TestRepair(t *testing.T) {
	flip := func(n *memNode, at int) { n.data[at] ^= 1 }
	for _, c := range []struct {
		name   string
		damage func(fs *memFS, m *manifest) (file string)
		inbox  int // messages that are left, of 8
		work   int // of 8
	}{
		{"nothing", func(*memFS, *manifest) string { return "" }, 8, 8},
		{"the newest manifest", func(fs *memFS, m *manifest) string {
			flip(fs.names["/mail/"+manifestName(m.Number)], 200)
			return manifestName(m.Number)
		}, 8, 8},
		{"a segment that was folded is gone", func(fs *memFS, m *manifest) string {
			delete(fs.names, "/mail/"+m.Segments[0].Name)
			return ""
		}, 2, 2},
		{"the last segment is gone", func(fs *memFS, m *manifest) string {
			delete(fs.names, "/mail/"+m.Segments[len(m.Segments)-1].Name)
			return ""
		}, 7, 8},
		{"a header", func(fs *memFS, m *manifest) string {
			flip(fs.names["/mail/"+m.Segments[0].Name], 3)
			return m.Segments[0].Name
		}, 2, 2},
		{"the last segment is short", func(fs *memFS, m *manifest) string {
			s := m.Segments[len(m.Segments)-1]
			n := fs.names["/mail/"+s.Name]
			n.data = n.data[:len(n.data)-100]
			return s.Name
		}, 7, 8},
		{"one message", func(fs *memFS, m *manifest) string {
			n := fs.names["/mail/"+m.Segments[0].Name]
			flip(n, strings.Index(string(n.data), "This is number 3"))
			return m.Segments[0].Name
		}, 7, 8},
		{"the folded state", func(fs *memFS, m *manifest) string {
			name := m.Tables[len(m.Tables)-1]
			flip(fs.names["/mail/"+name], int(m.State.Off)+50)
			return name
		}, 8, 8},
		{"a table", func(fs *memFS, m *manifest) string {
			flip(fs.names["/mail/"+m.Tables[0]], headerLen+frameLen+4)
			return m.Tables[0]
		}, 8, 8},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx := context.Background()
			fs, o, m := broken(t)
			kept := c.damage(fs, m)
			var out strings.Builder
			if err := Repair(ctx, o, "alice", "/mail", &out); err != nil {
				t.Fatalf("repair: %v\n%s", err, out.String())
			}
			if kept != "" && fs.names[filepath.Join("/mail", lostAndFound, kept)] == nil {
				t.Errorf("%s is not kept\n%s", kept, out.String())
			}
			s := New(o)
			a := mustOpen(t, s, "/mail", owner)
			for name, want := range map[string]int{"INBOX": c.inbox, "Work": c.work} {
				if got := strings.Count(mailOf(t, a, name), "\n"); got != want {
					t.Errorf("%s has %d messages, want %d\n%s", name, got, want, out.String())
				}
			}
			mustAppend(t, a, "INBOX", 30)
			if err := errors.Join(s.Close(), check(fs, "/mail", t.Output())); err != nil {
				t.Error(err)
			}
		})
	}
}

// Mail in a segment that only the damaged manifest lists is not lost with it.
func TestRepairTakesInUnlisted(t *testing.T) {
	ctx := context.Background()
	fs, o, _ := broken(t)
	a := mustOpen(t, New(o), "/mail", owner)
	for n := range 3 {
		if err := a.submit(ctx, &txn{alone: true, run: a.rollOver}); err != nil {
			t.Fatal(err)
		}
		mustAppend(t, a, "INBOX", 50+n)
	}
	want := contentsOf(t, a, "INBOX")
	fs.crash(nil, false)
	fs.names["/mail/"+manifestName(a.man.Number)].data[200] ^= 1
	var out strings.Builder
	if err := Repair(ctx, o, "alice", "/mail", &out); err != nil {
		t.Fatalf("repair: %v\n%s", err, out.String())
	}
	if got := contentsOf(t, mustOpen(t, New(o), "/mail", owner), "INBOX"); got != want {
		t.Errorf("after the repair: %s\nbefore: %s\n%s", got, want, out.String())
	}
}

// What a lost table had and a rewrite has moved is found in a mailbox of its own.
func TestRepairFindsMoved(t *testing.T) {
	ctx := context.Background()
	fs, o, m := broken(t)
	s := New(o)
	a := mustOpen(t, s, "/mail", owner)
	name, err := parseFileName(m.Segments[0].Name)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.rewrite(ctx, victim{name: name}); err != nil {
		t.Fatal(err)
	}
	if err := a.fold(ctx); err != nil {
		t.Fatal(err)
	}
	table := a.st.names["INBOX"].table
	file := a.names[table.Seq].String()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	fs.names["/mail/"+file].data[table.Off+frameLen+4] ^= 1
	var out strings.Builder
	if err := Repair(ctx, o, "alice", "/mail", &out); err != nil {
		t.Fatalf("repair: %v\n%s", err, out.String())
	}
	a = mustOpen(t, New(o), "/mail", owner)
	inbox, found := strings.Count(mailOf(t, a, "INBOX"), "\n"), strings.Count(mailOf(t, a, foundName), "\n")
	if inbox+found != 8 || found < 6 {
		t.Errorf("%d in INBOX, %d in %q\n%s", inbox, found, foundName, out.String())
	}
}

// While the table of a mailbox can't be read, what came after it stays in the
// log, however often the account is opened: a repair finds it.
func TestDamagedTableKeepsTail(t *testing.T) {
	ctx := context.Background()
	fs, o, m := broken(t)
	fs.names["/mail/"+m.Tables[0]].data[headerLen+frameLen+4] ^= 1
	for range 3 {
		s := New(o)
		a := mustOpen(t, s, "/mail", owner)
		mustAppend(t, a, "Work", 40)
		if err := a.fold(ctx); !errors.Is(err, errTable) {
			t.Errorf("fold: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := Repair(ctx, o, "alice", "/mail", t.Output()); err != nil {
		t.Fatal(err)
	}
	a := mustOpen(t, New(o), "/mail", owner)
	if inbox, work := strings.Count(mailOf(t, a, "INBOX"), "\n"), strings.Count(mailOf(t, a, "Work"), "\n"); inbox != 8 || work != 11 {
		t.Errorf("%d in INBOX, %d in Work; want 8 and 11", inbox, work)
	}
}

// What is in use, or another backend's, or another's mail, is left alone.
func TestRepairRefuses(t *testing.T) {
	ctx := context.Background()
	fs, o, _ := broken(t)
	before := fmt.Sprint(slices.Sorted(slices.Values(fs.files(func(string) bool { return true }))))
	if err := Repair(ctx, o, "bob", "/mail", t.Output()); err == nil {
		t.Error("repaired for another user")
	}
	if after := fmt.Sprint(slices.Sorted(slices.Values(fs.files(func(string) bool { return true })))); after != before {
		t.Errorf("there are %s, were %s", after, before)
	}
	a := mustOpen(t, New(o), "/mail", owner)
	if err := Repair(ctx, o, "alice", "/mail", t.Output()); !errors.Is(err, ErrInUse) {
		t.Errorf("repaired while it is open: %v", err)
	}
	fs.breakLocks()
	other := o
	other.Holder = "b2"
	if err := Repair(ctx, other, "alice", "/mail", t.Output()); err == nil || !strings.Contains(err.Error(), "takeover") {
		t.Errorf("repaired what another backend left: %v", err)
	}
	_ = a
}
