package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// mailOf is the messages of a mailbox with flags, dates and contents, whatever
// their numbers are.
func mailOf(t *testing.T, a mailbox.Account, name string) string {
	t.Helper()
	_, rows, _ := strings.Cut(contentsOf(t, a, name), "\n")
	return rows
}

// TestBackupWhileInUse makes one backup after the other while a client works and
// the account is folded, rewritten and swept. Each is sound and has what was
// synced before, and after the first only what is new is sent.
func TestBackupWhileInUse(t *testing.T) {
	ctx := context.Background()
	dir, to := t.TempDir(), filepath.Join(t.TempDir(), "alice")
	o := testOptions(t)
	o.limits = limits{segment: 64 << 10, foldBytes: 48 << 10, foldRecords: 100, digests: 10}
	s := New(o)
	a := mustOpen(t, s, dir, owner)
	work := func(from, count int) {
		for n := from; n < from+count; n++ {
			mustAppend(t, a, "INBOX", n)
			if n%3 == 0 {
				expungeIn(t, a, "INBOX", imap.UIDRange(imap.UID(n), imap.UID(n)))
			}
		}
	}
	work(1, 50)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 100; ; n += 10 {
			select {
			case <-stop:
				return
			default:
				work(n, 10)
			}
		}
	})
	var full int64
	for i := range 8 {
		status, err := a.Status(ctx, "INBOX", imap.StatusUIDNext)
		if err != nil {
			t.Fatal(err)
		}
		mustAppend(t, a, "INBOX", 1) // whose commit mark tells that the one before is durable
		report, err := Backup(ctx, dir, to)
		if err != nil {
			t.Fatal(err)
		}
		checkDir(t, to)
		var out bytes.Buffer
		if err := Dump(to, &out); err != nil {
			t.Fatal(err)
		}
		m := regexp.MustCompile(`"INBOX" uidvalidity=\d+ uidnext=(\d+)`).FindStringSubmatch(out.String())
		var next imap.UID
		if len(m) > 1 {
			fmt.Sscan(m[1], &next) //nolint:errcheck // digits
		}
		if next < status.UIDNext-1 {
			t.Errorf("backup %d has UIDs below %d, there were %d", i, next, status.UIDNext)
		}
		if i == 0 {
			full = report.Sent
		}
	}
	close(stop)
	wg.Wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		report, err := Backup(ctx, dir, to)
		if err != nil {
			t.Fatal(err)
		}
		if i == 1 && (report.Copied != 0 || report.Sent != 0 || report.Files == 0) {
			t.Errorf("nothing is new: %+v (the first sent %d)", report, full)
		}
	}
	if left, err := filepath.Glob(filepath.Join(dir, backupPrefix+"*")); err != nil || len(left) > 0 {
		t.Errorf("registrations are left: %v, %v", left, err)
	}
	names, err := os.ReadDir(to)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range names {
		if strings.HasPrefix(e.Name(), tempPrefix) {
			t.Errorf("left is %s", e.Name())
		}
	}
}

// A restored account has what the backup has, another id, and numbers that were
// never given out. Nothing is overwritten.
func TestRestore(t *testing.T) {
	ctx := context.Background()
	for _, newValidity := range []bool{false, true} {
		t.Run(fmt.Sprint(newValidity), func(t *testing.T) {
			root := t.TempDir()
			dir, to, again := filepath.Join(root, "alice"), filepath.Join(root, "backup"), filepath.Join(root, "again")
			s := New(testOptions(t))
			a := mustOpen(t, s, dir, owner)
			if err := errors.Join(a.Create(ctx, "Work"), a.SetSubscribed(ctx, "Work", true)); err != nil {
				t.Fatal(err)
			}
			for n := range 200 { // enough for a digest file
				mustAppend(t, a, "INBOX", n, imap.FlagSeen)
			}
			mustAppend(t, a, "Work", 500, "$One")
			if err := a.fold(ctx); err != nil {
				t.Fatal(err)
			}
			expungeIn(t, a, "INBOX", imap.UIDRange(3, 5))
			mustAppend(t, a, "INBOX", 501)
			want, work := mailOf(t, a, "INBOX"), mailOf(t, a, "Work")
			mustAppend(t, a, "INBOX", 502) // not known to be durable by the log
			before, err := a.Status(ctx, "INBOX", imap.StatusUIDValidity|imap.StatusHighestModSeq)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Backup(ctx, dir, to); err != nil {
				t.Fatal(err)
			}
			mustAppend(t, a, "INBOX", 503) // and is lost
			lost, err := a.Status(ctx, "INBOX", imap.StatusUIDNext|imap.StatusHighestModSeq)
			if err != nil {
				t.Fatal(err)
			}
			if err := Restore(ctx, testOptions(t), to, "alice", dir, newValidity); !errors.Is(err, ErrInUse) {
				t.Fatalf("restored over mail in use: %v", err)
			}
			if err := Restore(ctx, testOptions(t), to, "alice", again, newValidity); err != nil {
				t.Fatal(err)
			}
			if err := Restore(ctx, testOptions(t), to, "alice", again, newValidity); err == nil || !strings.Contains(err.Error(), "not overwritten") {
				t.Fatalf("restored over mail: %v", err)
			}
			checkDir(t, again)
			b := mustOpen(t, s, again, owner)
			if got := mailOf(t, b, "INBOX"); got != want {
				t.Errorf("INBOX has\n%s\nwant\n%s", got, want)
			}
			if got := mailOf(t, b, "Work"); got != work {
				t.Errorf("Work has\n%s\nwant\n%s", got, work)
			}
			if subs, err := b.Subscriptions(ctx); err != nil || !slices.Contains(subs, "Work") {
				t.Errorf("subscribed to %v, %v", subs, err)
			}
			if a.id == b.id {
				t.Error("the account has the same id")
			}
			after, err := b.Status(ctx, "INBOX", imap.StatusUIDValidity|imap.StatusUIDNext|imap.StatusHighestModSeq)
			if err != nil {
				t.Fatal(err)
			}
			if (after.UIDValidity != before.UIDValidity) != newValidity || !newValidity && after.UIDNext <= lost.UIDNext+1000 {
				t.Errorf("restored as %+v; was %+v, then %+v", after, before, lost)
			}
			if after.HighestModSeq <= lost.HighestModSeq {
				t.Errorf("HIGHESTMODSEQ is %d, was %d", after.HighestModSeq, lost.HighestModSeq)
			}
			if a.st.names["INBOX"].objectID == b.st.names["INBOX"].objectID == newValidity {
				t.Errorf("MAILBOXID is the same")
			}
			// A client that knows the lost state learns of all that is there, and that the rest is gone.
			m, err := b.Open(ctx, "INBOX", true)
			if err != nil {
				t.Fatal(err)
			}
			changed := 0
			err = m.Fetch(ctx, imap.UIDRange(1, 1<<32-1), &imap.FetchItems{Flags: true, ChangedSince: lost.HighestModSeq}, func(*mailbox.Message) error { changed++; return nil })
			if err != nil || changed != 198 {
				t.Errorf("changed since then are %d, %v", changed, err)
			}
			gone, err := m.Vanished(ctx, imap.UIDRange(1, lost.UIDNext-1), lost.HighestModSeq)
			if newValidity {
				gone = imap.UIDRange(4, 4).Union(imap.UIDRange(lost.UIDNext-1, lost.UIDNext-1)) // nobody asks
			}
			if err != nil || !gone.Contains(lost.UIDNext-1) || !gone.Contains(4) || gone.Contains(6) {
				t.Errorf("gone are %s, %v", gone, err)
			}
			if uid := mustAppend(t, b, "INBOX", 600); uid < after.UIDNext {
				t.Errorf("UID %d was given out before", uid)
			}
		})
	}
}

// Another user's mail is restored for whom it is said; it is that user's then.
func TestRestoreForAnother(t *testing.T) {
	ctx := context.Background()
	root := t.TempDir()
	dir, to, bobs := filepath.Join(root, "alice"), filepath.Join(root, "backup"), filepath.Join(root, "bob")
	s := New(testOptions(t))
	a := mustOpen(t, s, dir, owner)
	if err := a.SetSubscribed(ctx, "INBOX", true); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, a, "INBOX", 1)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Backup(ctx, dir, to); err != nil {
		t.Fatal(err)
	}
	if err := Restore(ctx, testOptions(t), to, "bob", bobs, false); err != nil {
		t.Fatal(err)
	}
	s = New(testOptions(t))
	account, err := s.Open(ctx, "bob", bobs)
	if err != nil {
		t.Fatal(err)
	}
	b := account.As(View{Acting: "bob"})
	if subs, err := b.Subscriptions(ctx); err != nil || len(subs) != 1 || strings.Count(mailOf(t, b, "INBOX"), "\n") != 1 {
		t.Errorf("subscribed to %v, %v", subs, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	checkDir(t, bobs)
}

// A backup is not replaced by that of another account, nor by an older one.
func TestBackupRefuses(t *testing.T) {
	ctx := context.Background()
	root := t.TempDir()
	dir, to := filepath.Join(root, "alice"), filepath.Join(root, "backup")
	s := New(testOptions(t))
	a := mustOpen(t, s, dir, owner)
	mustAppend(t, a, "INBOX", 1)
	old := filepath.Join(root, "old")
	if _, err := Backup(ctx, dir, old); err != nil {
		t.Fatal(err)
	}
	install(t, a)
	if _, err := Backup(ctx, dir, to); err != nil {
		t.Fatal(err)
	}
	if _, err := Backup(ctx, old, to); err == nil || !strings.Contains(err.Error(), "later backup") {
		t.Errorf("an older one: %v", err)
	}
	mustOpen(t, s, filepath.Join(root, "other"), owner)
	if _, err := Backup(ctx, filepath.Join(root, "other"), to); err == nil || !strings.Contains(err.Error(), "another account") {
		t.Errorf("another account: %v", err)
	}
	if _, err := Backup(ctx, filepath.Join(root, "nothing"), to); err == nil {
		t.Error("backed up nothing")
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := Backup(cancelled, dir, filepath.Join(root, "half")); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := Backup(ctx, dir, filepath.Join(root, "half")); err != nil {
		t.Errorf("after one that was broken off: %v", err)
	}
	checkDir(t, filepath.Join(root, "half"))
	checkDir(t, to)
}

// A restore that fails, at whatever call, leaves nothing that a backend would open.
func TestRestoreFails(t *testing.T) {
	ctx := context.Background()
	fs := newMemFS()
	o := testOptions(t)
	o.FS, o.Log = fs, nil
	s := New(o)
	a := mustOpen(t, s, "/mail", owner)
	mustAppend(t, a, "INBOX", 1)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	want := ""
	for step := 1; ; step++ {
		c := fs.snapshot()
		c.freezeAt = c.ops + step
		oc := o
		oc.FS = c
		err := Restore(ctx, oc, "/mail", "alice", "/again", false)
		done := c.ops < c.freezeAt
		if done && err != nil {
			t.Fatal(err)
		}
		c.crash(nil, false)
		b1 := New(oc)
		account, err := b1.Open(ctx, "alice", "/again")
		if err == nil {
			n, err := account.As(owner).Status(ctx, "INBOX", imap.StatusMessages|imap.StatusUIDNext)
			if err != nil || n.Messages == 1 && n.UIDNext < restoreUIDs {
				t.Errorf("step %d: opened with %+v, %v", step, n, err)
			}
			if n.Messages == 1 {
				want = "restored"
			}
		}
		_ = b1.Close()
		if done {
			break
		}
	}
	if want == "" {
		t.Error("it was never restored")
	}
}

// So does one that can't write its last step, or is called off.
func TestRestoreEndsEarly(t *testing.T) {
	fs := newMemFS()
	o := testOptions(t)
	o.FS, o.Log = fs, nil
	s := New(o)
	mustAppend(t, mustOpen(t, s, "/mail", owner), "INBOX", 1)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	copied := false
	fs.failOp = func(op, name string) (int, error) {
		copied = copied || op == "link"
		if op == "sync" && copied && strings.HasSuffix(name, "."+kindLog) {
			return 0, syscall.ENOSPC
		}
		return 0, nil
	}
	err := Restore(context.Background(), o, "/mail", "alice", "/again", false)
	if err == nil {
		t.Fatal("it was restored to a full disk")
	}
	fs.failOp = nil
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := Restore(ctx, o, "/mail", "alice", "/never", false); !errors.Is(err, context.Canceled) {
		t.Errorf("called off: %v", err)
	}
	for _, dir := range []string{"/again", "/never"} {
		account, err := New(o).Open(context.Background(), "alice", dir)
		if err != nil {
			continue
		}
		n, err := account.As(owner).Status(context.Background(), "INBOX", imap.StatusMessages|imap.StatusUIDNext)
		if n.Messages == 1 && n.UIDNext < restoreUIDs {
			t.Errorf("%s: opened with %+v, %v", dir, n, err)
		}
	}
}

// A backup's registration keeps a sweep away from what is being copied.
func TestBackupRegisters(t *testing.T) {
	fs, _, a := swept(t)
	fs.pass(time.Hour)
	b := &backup{ctx: context.Background(), from: a.disk}
	end, err := b.register()
	if err != nil {
		t.Fatal(err)
	}
	left := len(fs.files(func(string) bool { return true }))
	for range 5 {
		install(t, a)
	}
	fs.pass(backupAge - time.Second)
	install(t, a)
	mustSweep(t, a)
	if n := len(fs.files(func(string) bool { return true })); n != left+6 {
		t.Errorf("%d files, want %d", n, left+6)
	}
	if err := end(); err != nil {
		t.Fatal(err)
	}
	mustSweep(t, a)
	if n := len(fs.files(func(string) bool { return true })); n >= left+6 {
		t.Errorf("%d files after the end", n)
	}
}
