package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// full is alice's mail with n messages of 8 kB on a memFS volume with a ballast,
// and then no room at all beside it.
func full(t *testing.T, n int) (*memFS, *Store, *Session) {
	t.Helper()
	const root = "/volume"
	fs := newMemFS()
	fs.markVolume(root)
	fs.capacity = 4 << 20
	o := testOptions(t)
	o.FS, o.Log, o.Volumes, o.Ballast, o.MinFree = fs, nil, []string{root}, 1<<20, 64<<10
	o.limits = limits{segment: 100 << 10, foldBytes: 1 << 40, foldRecords: 1 << 30}
	s := New(o)
	a := mustOpen(t, s, filepath.Join(root, "mail"), owner)
	for i := range n {
		text := mail(i) + strings.Repeat("y", 8<<10)
		_, err := a.Append(context.Background(), "INBOX", mailbox.One(&mailbox.NewMessage{Size: int64(len(text)), Body: strings.NewReader(text)}))
		if err != nil {
			t.Fatal(err)
		}
	}
	if !s.ballasts[root].there {
		t.Fatal("there is no ballast")
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.capacity -= fs.left()
	return fs, s, a
}

// On a full disk messages are refused, and flags, expunges, folds and rewrites
// work, without an error for anyone. When there is room again the ballast comes back.
func TestFullDisk(t *testing.T) {
	ctx := context.Background()
	fs, s, a := full(t, 100)
	dir := a.disk.dir
	b := a.disk.ballast
	if _, err := a.Append(ctx, "INBOX", newMail(1)); imap.CodeOf(err) != imap.CodeOverQuota {
		t.Errorf("append: %v", err)
	}
	m, err := a.Open(ctx, "INBOX", false)
	if err != nil {
		t.Fatal(err)
	}
	expungeMost(t, m)
	if b.there {
		t.Error("the ballast is still there")
	}
	a.background.Wait() // one maintenance at a time
	want := contentsOf(t, a, "INBOX")
	for range 3 {
		fs.pass(2 * sweepAge)
		if err := a.maintain(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if got := contentsOf(t, a, "INBOX"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	mustAppend(t, a, "INBOX", 2) // the rewrite made room
	b.wait()
	fs.mu.Lock()
	fs.capacity += 4 << 20
	fs.mu.Unlock()
	mustAppend(t, a, "INBOX", 3)
	b.wait()
	b.mu.Lock()
	there := b.there
	b.mu.Unlock()
	if !there {
		t.Error("the ballast did not come back")
	}
	want = contentsOf(t, a, "INBOX")
	fs.mu.Lock()
	fs.freezeAt = 1
	fs.mu.Unlock()
	_ = s.Close() // the process is dead
	fs.crash(rand.New(rand.NewPCG(1, 1)), true)
	o := testOptions(t)
	o.FS = fs
	again := New(o)
	if got := contentsOf(t, mustOpen(t, again, dir, owner), "INBOX"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if err := errors.Join(again.Close(), check(fs, dir, t.Output())); err != nil {
		t.Error(err)
	}
}

// A message that finds the disk full in the middle is refused, and nothing of it
// is there afterwards. The account goes on.
func TestFullDuringAppend(t *testing.T) {
	for _, errno := range []error{unix.ENOSPC, unix.EDQUOT} {
		t.Run(fmt.Sprint(errno), func(t *testing.T) {
			ctx := context.Background()
			fs, _, a := faulty(t, "", 0, 0)
			fs.mu.Lock()
			left := 1
			fs.failOp = func(op, name string) (int, error) {
				if op == "write" && left > 0 && strings.HasSuffix(name, "."+kindLog) {
					left--
					return 100, errno
				}
				return 0, nil
			}
			fs.mu.Unlock()
			_, err := a.Append(ctx, "INBOX", newMail(2))
			if imap.CodeOf(err) != imap.CodeOverQuota || errors.Is(err, imap.ErrUnknownOutcome) {
				t.Fatalf("append: %v", err)
			}
			mustAppend(t, a, "INBOX", 3)
			want := contentsOf(t, a, "INBOX")
			fs.crash(rand.New(rand.NewPCG(1, 1)), true)
			o := testOptions(t)
			o.FS = fs
			s := New(o)
			if got := contentsOf(t, mustOpen(t, s, "/mail", owner), "INBOX"); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			if err := errors.Join(s.Close(), check(fs, "/mail", t.Output())); err != nil {
				t.Error(err)
			}
		})
	}
}

// A rewrite for which there is no room is not begun.
func TestNoRoomToRewrite(t *testing.T) {
	ctx := context.Background()
	fs, s, a := bulk(t, 60)
	m, err := a.Open(ctx, "INBOX", false)
	if err != nil {
		t.Fatal(err)
	}
	expungeMost(t, m)
	a.background.Wait()
	fs.mu.Lock()
	fs.free = a.store.options.MinFree / 2
	fs.mu.Unlock()
	before := fs.logBytes()
	if err := a.maintain(ctx); err != nil {
		t.Fatal(err)
	}
	if n := fs.logBytes(); n > before+4<<10 {
		t.Errorf("the log has %d bytes, had %d", n, before)
	}
	if err := errors.Join(s.Close(), check(fs, "/mail", t.Output())); err != nil {
		t.Error(err)
	}
}

// An open that fails in the middle can be tried again by the same process.
func TestOpenAgain(t *testing.T) {
	p := newProc(t, "open")
	calls := 0
	for failing := true; failing; {
		calls++
		p.fs.mu.Lock()
		start := p.fs.ops
		n := calls
		p.fs.failOp = func(string, string) (int, error) {
			if p.fs.ops == start+n {
				return 0, unix.EIO
			}
			return 0, nil
		}
		p.fs.mu.Unlock()
		o := testOptions(t)
		o.FS, o.Log = p.fs, nil
		s := New(o)
		account, err := s.Open(context.Background(), "alice", "/mail")
		failing = err != nil
		p.fs.mu.Lock()
		p.fs.failOp = nil
		p.fs.mu.Unlock()
		if err != nil {
			account, err = s.Open(context.Background(), "alice", "/mail")
		}
		if err != nil {
			t.Fatalf("call %d failed, and then: %v", calls, err)
		}
		if got := contentsOf(t, account.As(owner), "INBOX"); got != p.want {
			t.Fatalf("call %d failed, and then\n%s\nwant\n%s", calls, got, p.want)
		}
		p.fs.crash(nil, false)
	}
	if calls < 4 {
		t.Errorf("only %d calls", calls)
	}
}

// TestFullFilesystem is TestFullDisk on a real one, if the test may mount it.
func TestFullFilesystem(t *testing.T) {
	ctx := context.Background()
	root := t.TempDir()
	if err := unix.Mount("tmpfs", root, "tmpfs", 0, "size=8m"); err != nil {
		t.Skipf("mount: %v", err)
	}
	defer unix.Unmount(root, unix.MNT_DETACH) //nolint:errcheck // the test's own
	if _, err := InitVolume(root); err != nil {
		t.Fatal(err)
	}
	o := testOptions(t)
	o.Log, o.Volumes, o.Ballast, o.MinFree = nil, []string{root}, 1<<20, 64<<10
	o.limits = limits{segment: 256 << 10, foldBytes: 1 << 40, foldRecords: 1 << 30}
	s := New(o)
	a := mustOpen(t, s, filepath.Join(root, "mail"), owner)
	text := mail(1) + strings.Repeat("y", 32<<10)
	add := func() error {
		_, err := a.Append(ctx, "INBOX", mailbox.One(&mailbox.NewMessage{Size: int64(len(text)), Body: strings.NewReader(text)}))
		return err
	}
	for range 120 {
		if err := add(); err != nil {
			t.Fatal(err)
		}
	}
	a.background.Wait() // or it releases the ballast while there is someone to take its room
	other, err := os.Create(filepath.Join(root, "other"))
	if err != nil {
		t.Fatal(err)
	}
	for block := make([]byte, 4096); err == nil; { // something else fills it up
		_, err = other.Write(block)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if err := add(); imap.CodeOf(err) != imap.CodeOverQuota {
		t.Errorf("a message on a full disk: %v", err)
	}
	m, err := a.Open(ctx, "INBOX", false)
	if err != nil {
		t.Fatal(err)
	}
	expungeMost(t, m)
	a.background.Wait()
	want := contentsOf(t, a, "INBOX")
	if err := a.maintain(ctx); err != nil {
		t.Fatal(err)
	}
	if got := contentsOf(t, a, "INBOX"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	checkDir(t, filepath.Join(root, "mail"))
}
