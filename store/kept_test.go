package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// keeping is alice's mail on a memFS that keeps expunged messages for three days
// of a clock that the test moves.
func keeping(t *testing.T) (*memFS, *Store, *Session) {
	t.Helper()
	fs := newMemFS()
	o := testOptions(t)
	o.FS, o.ExpungeKeep = fs, 72*time.Hour
	o.Now = func() time.Time {
		fs.mu.Lock()
		defer fs.mu.Unlock()
		return fs.clock
	}
	s := New(o)
	return fs, s, mustOpen(t, s, "/mail", owner)
}

// expungeIn expunges uids of a mailbox.
func expungeIn(t *testing.T, a *Session, name string, uids imap.UIDSet) {
	t.Helper()
	ctx := context.Background()
	m, err := a.Open(ctx, name, false)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close() //nolint:errcheck // never fails
	deleted := mailbox.FlagChange{Op: mailbox.FlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}, Silent: true}
	if _, err := m.Store(ctx, uids, deleted, nil); err != nil {
		t.Fatal(err)
	}
	if err := m.Expunge(ctx, uids, false); err != nil {
		t.Fatal(err)
	}
}

func keptList(t *testing.T, a *Session, f KeptFilter) string {
	t.Helper()
	all, err := a.Kept(f)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, k := range all {
		header, err := a.KeptHeader(&k, "Subject")
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%s %v %d %v %s\n", k.Mailbox, k.Deleted, k.UID, k.Flags, header)
	}
	return out.String()
}

// What was expunged, or went with its mailbox, comes back with flags and dates:
// after folds, rewrites and restarts too. What was moved is not kept.
func TestUndelete(t *testing.T) {
	ctx := context.Background()
	for _, disturb := range []bool{false, true} {
		t.Run(fmt.Sprint(disturb), func(t *testing.T) {
			fs, s, a := keeping(t)
			if err := a.Create(ctx, "Work/Old"); err != nil {
				t.Fatal(err)
			}
			date := time.Date(2020, 2, 3, 4, 5, 6, 0, time.FixedZone("", 3600))
			text := mail(1) + strings.Repeat("k", 70<<10)
			_, err := a.Append(ctx, "INBOX", mailbox.One(&mailbox.NewMessage{
				Flags: []imap.Flag{imap.FlagSeen, imap.FlagFlagged, "$Work"}, InternalDate: date, Size: int64(len(text)), Body: strings.NewReader(text),
			}))
			if err != nil {
				t.Fatal(err)
			}
			mustAppend(t, a, "INBOX", 2)
			mustAppend(t, a, "INBOX", 3)
			mustAppend(t, a, "Work/Old", 4, imap.FlagAnswered)
			m, err := a.Open(ctx, "INBOX", false)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := m.Move(ctx, imap.UIDRange(3, 3), "Work/Old"); err != nil {
				t.Fatal(err)
			}
			expungeIn(t, a, "INBOX", imap.UIDRange(1, 2))
			fs.pass(time.Hour)
			since := a.store.now()
			if err := a.Delete(ctx, "Work/Old"); err != nil {
				t.Fatal(err)
			}
			if disturb {
				for range 3 {
					if err := a.submit(ctx, &txn{alone: true, run: a.rollOver}); err != nil {
						t.Fatal(err)
					}
					fs.pass(sweepAge)
					if err := a.maintain(ctx); err != nil {
						t.Fatal(err)
					}
				}
				m.Close() //nolint:errcheck // never fails
				a.Close() //nolint:errcheck // never fails
				a = mustOpen(t, s, "/mail", owner)
			}
			want := `INBOX false 1 [\Flagged $Work \Seen] Subject: message 1
INBOX false 2 [] Subject: message 2
Work/Old true 1 [\Answered] Subject: message 4
Work/Old true 2 [] Subject: message 3
`
			if got := keptList(t, a, KeptFilter{}); got != want {
				t.Errorf("kept are\n%swant\n%s", got, want)
			}
			if got := keptList(t, a, KeptFilter{Mailbox: "Work/Old"}); got == "" || strings.Contains(got, "INBOX") {
				t.Errorf("kept of Work/Old are\n%s", got)
			}
			if n, err := a.Undelete(ctx, KeptFilter{Since: since}, ""); err != nil || n != 2 {
				t.Fatalf("undelete: %d, %v", n, err)
			}
			if got := contentsOf(t, a, "Work/Old"); !strings.Contains(got, `1 [\Answered]`) || !strings.Contains(got, "2 [] ") {
				t.Errorf("got\n%s", got)
			}
			if n, err := a.Undelete(ctx, KeptFilter{Mailbox: "INBOX"}, "Found/Again"); err != nil || n != 2 {
				t.Fatalf("undelete: %d, %v", n, err)
			}
			got := contentsOf(t, a, "Found/Again")
			if want := fmt.Sprintf(`1 [\Flagged $Work \Seen] %d %s %08x`, len(text), date.UTC(), checksum([]byte(text))); !strings.Contains(got, want) {
				t.Errorf("got\n%s", got)
			}
			if got := keptList(t, a, KeptFilter{}); got != "" {
				t.Errorf("left are\n%s", got)
			}
			if err := errors.Join(s.Close(), check(fs, "/mail", t.Output())); err != nil {
				t.Error(err)
			}
		})
	}
}

// What was kept long enough is forgotten, also if nobody writes any more, and its room given back.
func TestKeptExpires(t *testing.T) {
	ctx := context.Background()
	fs, s, a := keeping(t)
	text := mail(1) + strings.Repeat("k", 200<<10)
	if _, err := a.Append(ctx, "INBOX", mailbox.One(&mailbox.NewMessage{Size: int64(len(text)), Body: strings.NewReader(text)})); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, a, "INBOX", 2)
	expungeIn(t, a, "INBOX", imap.UIDRange(1, 1))
	open := func() {
		t.Helper()
		a.Close() //nolint:errcheck // never fails
		fs.pass(sweepAge)
		a = mustOpen(t, s, "/mail", owner)
		a.background.Wait()
	}
	fs.pass(71 * time.Hour)
	open()
	if keptList(t, a, KeptFilter{}) == "" || fs.logBytes() < 200<<10 {
		t.Error("it is gone too early")
	}
	fs.pass(3 * time.Hour)
	open()
	open()
	if got := keptList(t, a, KeptFilter{}); got != "" {
		t.Errorf("left are\n%s", got)
	}
	fs.pass(2 * sweepAge)
	if err := a.maintain(ctx); err != nil {
		t.Fatal(err)
	}
	if n := fs.logBytes(); n > 100<<10 {
		t.Errorf("the log has %d bytes", n)
	}
	if err := errors.Join(s.Close(), check(fs, "/mail", t.Output())); err != nil {
		t.Error(err)
	}
}

// With the model: undeleting all brings back what was there, whatever happened meanwhile.
func TestUndeleteTwice(t *testing.T) {
	ctx := context.Background()
	_, s, a := keeping(t)
	for n := range 20 {
		mustAppend(t, a, "INBOX", n)
	}
	want := strings.Count(contentsOf(t, a, "INBOX"), "\n")
	for range 3 {
		expungeIn(t, a, "INBOX", imap.UIDRange(1, 1<<32-1))
		if n, err := a.Undelete(ctx, KeptFilter{}, ""); err != nil || n != 20 {
			t.Fatalf("undelete: %d, %v", n, err)
		}
		if err := a.fold(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Count(contentsOf(t, a, "INBOX"), "\n"); got != want {
		t.Errorf("%d lines, want %d", got, want)
	}
	if n, err := a.Undelete(ctx, KeptFilter{}, ""); err != nil || n != 0 {
		t.Errorf("undelete of nothing: %d, %v", n, err)
	}
	if _, err := a.Undelete(ctx, KeptFilter{}, "a//b"); err == nil {
		t.Error("undeleted into a name that can't be")
	}
	_ = s
}

// The room of a large mailbox that is emptied is given back without new mail: at
// once, or after expunged messages were kept, when someone wants the account.
func TestEmptiedMailbox(t *testing.T) {
	ctx := context.Background()
	for _, keep := range []bool{false, true} {
		t.Run(fmt.Sprint(keep), func(t *testing.T) {
			fs, s, a := keeping(t)
			if !keep {
				s.options.ExpungeKeep = 0
			}
			text := mail(1) + strings.Repeat("k", 1<<20)
			for range 10 {
				if _, err := a.Append(ctx, "INBOX", mailbox.One(&mailbox.NewMessage{Size: int64(len(text)), Body: strings.NewReader(text)})); err != nil {
					t.Fatal(err)
				}
			}
			expungeIn(t, a, "INBOX", imap.UIDRange(1, 1<<32-1))
			a.background.Wait()
			if keep {
				fs.pass(71 * time.Hour)
				mustOpen(t, s, "/mail", owner)
				a.background.Wait()
				if n, err := a.Undelete(ctx, KeptFilter{}, ""); err != nil || n != 10 {
					t.Fatalf("undeleted %d, %v", n, err)
				}
				expungeIn(t, a, "INBOX", imap.UIDRange(1, 1<<32-1))
				fs.pass(74 * time.Hour)
				mustOpen(t, s, "/mail", owner) // beside a, which stayed open
				a.background.Wait()
			}
			fs.pass(2 * sweepAge)
			install(t, a) // the sweep's clock is that of the newest manifest
			a.sweep()
			if n := fs.logBytes(); n > 100<<10 {
				t.Errorf("the log has %d bytes", n)
			}
			if err := errors.Join(s.Close(), check(fs, "/mail", t.Output())); err != nil {
				t.Error(err)
			}
		})
	}
}

// Each reader's own \Seen comes back: after a fold and a restart, and when the
// mailbox was deleted.
func TestUndeleteSeen(t *testing.T) {
	ctx := context.Background()
	_, s, a := keeping(t)
	if err := a.Create(ctx, "Shared"); err != nil {
		t.Fatal(err)
	}
	bob := View{Acting: "bob", PrivateSeen: true}
	for n := range 4 {
		mustAppend(t, a, "Shared", n)
	}
	read := func(v View) string {
		t.Helper()
		m, err := mustOpen(t, s, "/mail", v).Open(ctx, "Shared", false)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close() //nolint:errcheck // never fails
		seen := ""
		err = m.Fetch(ctx, imap.UIDRange(1, 1<<32-1), &imap.FetchItems{Flags: true}, func(m *mailbox.Message) error {
			if imap.HasFlag(m.Flags, imap.FlagSeen) {
				seen += fmt.Sprint(m.UID, " ")
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return seen
	}
	m, err := mustOpen(t, s, "/mail", bob).Open(ctx, "Shared", false)
	if err != nil {
		t.Fatal(err)
	}
	seen := mailbox.FlagChange{Op: mailbox.FlagsAdd, Flags: []imap.Flag{imap.FlagSeen}, Silent: true}
	if _, err := m.Store(ctx, imap.UIDSetOf(2, 3), seen, nil); err != nil {
		t.Fatal(err)
	}
	m.Close() //nolint:errcheck // never fails
	expungeIn(t, a, "Shared", imap.UIDRange(1, 2))
	if err := a.Delete(ctx, "Shared"); err != nil {
		t.Fatal(err)
	}
	if err := a.fold(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = New(s.options)
	a = mustOpen(t, s, "/mail", owner)
	if n, err := a.Undelete(ctx, KeptFilter{}, ""); err != nil || n != 4 {
		t.Fatalf("undeleted %d, %v", n, err)
	}
	// 1 and 2 went first and came back as they were, 3 and 4 likewise.
	if got := read(bob); got != "2 3 " {
		t.Errorf("bob has seen %s", got)
	}
	if got := read(owner); got != "" {
		t.Errorf("alice has seen %s", got)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
