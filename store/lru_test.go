package store

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// squeeze has everything given back that can be.
func squeeze(s *Store) {
	for _, l := range []*lru{s.memory, s.files} {
		for _, share := range l.oldest() {
			share.release(context.Background())
		}
	}
	s.closing.Wait()
}

// loadedBoxes counts the mailboxes in memory.
func (a *account) loadedBoxes() int {
	a.mu.RLock()
	defer a.mu.RUnlock()
	n := 0
	for _, b := range a.st.boxes {
		if b.loaded {
			n++
		}
	}
	return n
}

// Mailboxes that no session has open are dropped beyond the limit, once they are
// folded, and are as they were when they are opened again.
func TestCacheSize(t *testing.T) {
	ctx := context.Background()
	o := testOptions(t)
	o.CacheSize = 1
	s := New(o)
	defer s.Close() //nolint:errcheck // closed below
	dir := t.TempDir()
	a := mustOpen(t, s, dir, owner)
	bob := mustOpen(t, s, dir, View{Acting: "bob", PrivateSeen: true})
	want := map[string]string{}
	for i := range 4 {
		name := fmt.Sprint("box", i)
		if err := a.Create(ctx, name); err != nil {
			t.Fatal(err)
		}
		for n := range 5 {
			mustAppend(t, a, name, n, imap.FlagFlagged, "$Key")
		}
		if _, err := bob.Append(ctx, name, newMail(9, imap.FlagSeen)); err != nil {
			t.Fatal(err)
		}
		want[name] = contentsOf(t, a, name) + contentsOf(t, bob, name)
	}
	kept, err := a.Open(ctx, "box0", false)
	if err != nil {
		t.Fatal(err)
	}
	squeeze(s)
	if n := a.loadedBoxes(); n != 4 {
		t.Errorf("%d mailboxes are in memory; 4 are changed and small, INBOX was never used", n)
	}
	if err := a.fold(ctx); err != nil {
		t.Fatal(err)
	}
	squeeze(s)
	if n := a.loadedBoxes(); n != 1 {
		t.Errorf("%d mailboxes are in memory; one is open", n)
	}
	for name, was := range want {
		if got := contentsOf(t, a, name) + contentsOf(t, bob, name); got != was {
			t.Errorf("after it was dropped: %s\nbefore: %s", got, was)
		}
	}
	s.memory.work.Wait()
	kept.Close() //nolint:errcheck // never fails
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s.memory.used != 0 || s.files.used != 0 {
		t.Errorf("%d bytes and %d files are in use after all was closed", s.memory.used, s.files.used)
	}
	checkDir(t, dir)
}

// A large mailbox that changed is folded to be dropped.
func TestCacheFoldsWhatChanged(t *testing.T) {
	ctx := context.Background()
	s := New(testOptions(t))
	dir := t.TempDir()
	a := mustOpen(t, s, dir, owner)
	if err := a.Create(ctx, "Large"); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, a, "Large", 1)
	m, err := a.Open(ctx, "Large", false)
	if err != nil {
		t.Fatal(err)
	}
	for range 13 {
		if _, err := m.Copy(ctx, imap.UIDRange(1, 1<<32-1), "Large"); err != nil {
			t.Fatal(err)
		}
	}
	m.Close() //nolint:errcheck // never fails
	if m, err = a.Open(ctx, "INBOX", false); err != nil {
		t.Fatal(err)
	}
	squeeze(s)
	a.background.Wait()
	squeeze(s)
	if n := a.loadedBoxes(); n != 1 {
		t.Errorf("%d mailboxes are in memory; one is open", n)
	}
	m.Close() //nolint:errcheck // never fails
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	checkDir(t, dir)
}

// Accounts that only linger are closed when there are too many files, the one
// that was used last stays; accounts in use hold their lock only, until they write.
func TestMaxFiles(t *testing.T) {
	ctx := context.Background()
	o := testOptions(t)
	o.Linger = time.Hour
	s := New(o)
	defer s.Close() //nolint:errcheck // only a helper
	root := t.TempDir()
	for i := range 10 {
		a, err := s.Open(ctx, "alice", filepath.Join(root, fmt.Sprint(i)))
		if err != nil {
			t.Fatal(err)
		}
		a.Close() //nolint:errcheck // never fails
	}
	if s.files.used != 20 {
		t.Errorf("%d files are open, not a lock and a log for each of 10", s.files.used)
	}
	s.files.limit = 8
	a := mustOpen(t, s, filepath.Join(root, "a"), owner)
	s.files.work.Wait()
	s.closing.Wait()
	if s.files.used > 8 || s.files.used < 6 {
		t.Errorf("%d files are open, not 6 to 8: an eighth is to be free, and accounts have two", s.files.used)
	}
	mustAppend(t, a, "INBOX", 1)
	s.files.limit = 1
	squeeze(s)
	if s.files.used != 1 || a.writer.file != nil {
		t.Errorf("%d files are open, the lock of the account in use should be", s.files.used)
	}
	mustAppend(t, a, "INBOX", 2)
	if got := contentsOf(t, a, "INBOX"); len(got) == 0 || a.writer.name.seq != a.man.NextSeq-1 {
		t.Errorf("a new segment was begun:\n%s", got)
	}
}

// A fold that fails takes nothing from mailboxes that were dropped before it, though it
// would have put their tables into one file.
func TestFoldFailsWithDroppedMailboxes(t *testing.T) {
	ctx := context.Background()
	fs := newMemFS()
	o := testOptions(t)
	o.FS, o.Log = fs, nil
	s := New(o)
	a := mustOpen(t, s, "/mail", owner)
	if err := a.Create(ctx, "Dropped"); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, a, "Dropped", 1, imap.FlagFlagged)
	want := contentsOf(t, a, "Dropped")
	for i := range maxTables {
		mustAppend(t, a, "INBOX", i)
		if err := a.Create(ctx, fmt.Sprint("box", i)); err != nil {
			t.Fatal(err)
		}
		mustAppend(t, a, fmt.Sprint("box", i), i)
		if err := a.fold(ctx); err != nil {
			t.Fatal(err)
		}
	}
	squeeze(s)
	if n := a.loadedBoxes(); n != 0 || len(a.man.Tables) < maxTables {
		t.Fatalf("%d mailboxes are in memory, and there are %d tables", n, len(a.man.Tables))
	}
	fs.mu.Lock()
	fs.failOp = func(op, name string) (int, error) {
		if op == "write" && strings.HasSuffix(name, "."+kindTable) {
			return 0, syscall.EIO
		}
		return 0, nil
	}
	fs.mu.Unlock()
	if err := a.fold(ctx); err == nil {
		t.Fatal("the fold did not fail")
	}
	fs.mu.Lock()
	fs.failOp = nil
	fs.mu.Unlock()
	for range 2 {
		if err := a.fold(ctx); err != nil {
			t.Fatal(err)
		}
		squeeze(s)
	}
	if got := contentsOf(t, a, "Dropped"); got != want {
		t.Errorf("after the folds: %s\nbefore: %s", got, want)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := contentsOf(t, mustOpen(t, New(o), "/mail", owner), "Dropped"); got != want {
		t.Errorf("opened again: %s\nbefore: %s", got, want)
	}
}

// Who closes a mailbox after its account was closed leaves no trace.
func TestMailboxClosedLate(t *testing.T) {
	s := New(testOptions(t))
	a := mustOpen(t, s, t.TempDir(), owner)
	m, err := a.Open(context.Background(), "INBOX", false)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	m.Close() //nolint:errcheck // never fails
	if s.memory.used != 0 || s.memory.order.Len() != 0 {
		t.Errorf("%d bytes are in use", s.memory.used)
	}
}

// A mailbox that is dropped while it is being folded is read from where it was: no
// manifest lists the new table yet.
func TestDropDuringFold(t *testing.T) {
	ctx := context.Background()
	o := testOptions(t)
	var s *Store
	var a *Session
	var got string
	o.FailPoint = func(step string) error {
		if step == "fold.snapshot" {
			squeeze(s)
			got = contentsOf(t, a, "INBOX")
		}
		return nil
	}
	s = New(o)
	dir := t.TempDir()
	a = mustOpen(t, s, dir, owner)
	mustAppend(t, a, "INBOX", 1)
	if err := a.fold(ctx); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, a, "INBOX", 2)
	want := contentsOf(t, a, "INBOX")
	if err := a.fold(ctx); err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("while it was folded: %s\nbefore: %s", got, want)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	checkDir(t, dir)
}

// A log that is closed for a while is synced before: nobody would sync it later.
func TestParkedLogIsSynced(t *testing.T) {
	ctx := context.Background()
	fs := newMemFS()
	o := testOptions(t)
	o.FS, o.Log = fs, nil
	a := mustOpen(t, New(o), "/mail", owner)
	mustAppend(t, a, "INBOX", 1)
	m, err := a.Open(ctx, "INBOX", false)
	if err != nil {
		t.Fatal(err)
	}
	flag := mailbox.FlagChange{Op: mailbox.FlagsAdd, Flags: []imap.Flag{imap.FlagFlagged}, Silent: true}
	if _, err := m.Store(ctx, imap.UIDRange(1, 1), flag, nil); err != nil {
		t.Fatal(err)
	}
	want := contentsOf(t, a, "INBOX")
	a.park(ctx)
	fs.losePower()
	if got := contentsOf(t, mustOpen(t, New(o), "/mail", owner), "INBOX"); got != want {
		t.Errorf("after a power loss: %s\nbefore: %s", got, want)
	}
}
