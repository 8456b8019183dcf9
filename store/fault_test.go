package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// faulty is alice's mail on a memFS with one acknowledged message, and a failure
// of the named operation on log segments for the next times.
func faulty(t *testing.T, op string, times, wrote int) (*memFS, *Store, *Session) {
	t.Helper()
	fs := newMemFS()
	o := testOptions(t)
	o.FS, o.Log = fs, nil
	s := New(o)
	a := mustOpen(t, s, "/mail", owner)
	mustAppend(t, a, "INBOX", 1)
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.failOp = func(got, name string) (int, error) {
		if got == op && times > 0 && strings.HasSuffix(name, "."+kindLog) {
			times--
			return wrote, syscall.EIO
		}
		return 0, nil
	}
	return fs, s, a
}

// A failed write or sync ends the segment. Waiting commits end as unknown and
// are not there; what was acknowledged is; the account goes on.
func TestDeadSegment(t *testing.T) {
	for _, c := range []struct {
		op    string
		wrote int
	}{{"write", 0}, {"write", 100}, {"write", 1 << 20}, {"sync", 0}} {
		t.Run(fmt.Sprint(c.op, c.wrote), func(t *testing.T) {
			ctx := context.Background()
			fs, s, a := faulty(t, c.op, 0, 0)
			m, err := a.Open(ctx, "INBOX", false)
			if err != nil {
				t.Fatal(err)
			}
			flag := mailbox.FlagChange{Op: mailbox.FlagsAdd, Flags: []imap.Flag{imap.FlagFlagged}, Silent: true}
			if _, err := m.Store(ctx, imap.UIDRange(1, 1), flag, nil); err != nil {
				t.Fatal(err)
			}
			left := 1
			fs.mu.Lock()
			fs.failOp = func(got, name string) (int, error) {
				if got == c.op && left > 0 && strings.HasSuffix(name, "."+kindLog) {
					left--
					return c.wrote, syscall.EIO
				}
				return 0, nil
			}
			fs.mu.Unlock()
			_, err = a.Append(ctx, "INBOX", newMail(2))
			if !errors.Is(err, imap.ErrUnknownOutcome) || imap.CodeOf(err) != imap.CodeUnavailable {
				t.Fatalf("append on a failing disk: %v", err)
			}
			uid := mustAppend(t, a, "INBOX", 3)
			if uid <= 2 {
				t.Errorf("UID %d may have been used by the failed append", uid)
			}
			want := contentsOf(t, a, "INBOX")
			if !strings.Contains(want, `[\Flagged]`) {
				t.Errorf("the flag change got lost:\n%s", want)
			}
			// The process dies and the power fails: what the new segment took over is there.
			fs.crash(rand.New(rand.NewPCG(1, 1)), true)
			_ = s
			o := testOptions(t)
			o.FS, o.Log = fs, nil
			again := New(o)
			b := mustOpen(t, again, "/mail", owner)
			if got := contentsOf(t, b, "INBOX"); got != want {
				t.Errorf("after the crash\n%s\nwant\n%s", got, want)
			}
			b.Close() //nolint:errcheck // never fails
			if err := check(fs, "/mail", t.Output()); err != nil {
				t.Error(err)
			}
		})
	}
}

// A second failure makes the account unavailable, for watchers too. Its files
// are sound, and a later open serves them.
func TestUnavailable(t *testing.T) {
	ctx := context.Background()
	fs, s, a := faulty(t, "sync", 2, 0)
	m, err := a.Open(ctx, "INBOX", false)
	if err != nil {
		t.Fatal(err)
	}
	told := make(chan struct{}, 100)
	defer m.Watch(func() { told <- struct{}{} })()
	if _, err := a.Append(ctx, "INBOX", newMail(2)); !errors.Is(err, imap.ErrUnknownOutcome) {
		t.Fatalf("append on a failing disk: %v", err)
	}
	<-told
	if c, err := m.Sync(ctx, true); err != nil || !c.Unavailable {
		t.Errorf("sync: %+v, %v", c, err)
	}
	if _, err := a.Append(ctx, "INBOX", newMail(3)); imap.CodeOf(err) != imap.CodeUnavailable {
		t.Errorf("append after the second failure: %v", err)
	}
	if _, err := a.Status(ctx, "INBOX", imap.StatusMessages); imap.CodeOf(err) != imap.CodeUnavailable {
		t.Errorf("status after the second failure: %v", err)
	}
	a.Close() //nolint:errcheck // never fails
	b := mustOpen(t, s, "/mail", owner)
	if status, err := b.Status(ctx, "INBOX", imap.StatusMessages); err != nil || status.Messages < 1 {
		t.Errorf("status after the next open: %+v, %v", status, err)
	}
	b.Close() //nolint:errcheck // never fails
	if err := check(fs, "/mail", t.Output()); err != nil {
		t.Error(err)
	}
}

// TestRandomFaults has any operation fail at random. What was acknowledged must
// be there after the next open.
func TestRandomFaults(t *testing.T) {
	for seed := range 60 {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(uint64(seed), 2))
			w := &world{t: t, rnd: rnd, fs: newMemFS(), model: modelUsers(nil)}
			w.open()
			faults := rand.New(rand.NewPCG(uint64(seed), 6)) // under fs.mu
			w.fs.mu.Lock()
			w.fs.failOp = func(op, name string) (int, error) {
				if faults.IntN(25) == 0 {
					return faults.IntN(300), []error{syscall.EIO, syscall.ENOSPC, io.ErrShortWrite}[faults.IntN(3)]
				}
				return 0, nil
			}
			w.fs.mu.Unlock()
			var unknown *op
			for range 60 {
				if unknown = w.step(); unknown != nil {
					break
				}
			}
			w.end(true, unknown)
			w.end(false, nil)
		})
	}
}

// The log tells of refused messages once, not for each.
func TestDiskFullIsLogged(t *testing.T) {
	var log strings.Builder
	fs := newMemFS()
	o := testOptions(t)
	o.FS, o.Log = fs, slog.New(slog.NewTextHandler(&log, nil))
	o.Now = func() time.Time { return time.Unix(1.7e9, 0) }
	s := New(o)
	a := mustOpen(t, s, "/mail", owner)
	mustAppend(t, a, "INBOX", 1)
	fs.mu.Lock()
	fs.free = 1 << 20
	fs.mu.Unlock()
	for range 3 {
		if _, err := a.Append(t.Context(), "INBOX", newMail(2)); imap.CodeOf(err) != imap.CodeOverQuota {
			t.Errorf("append: %v", err)
		}
	}
	if err := errors.Join(s.Close(), check(fs, "/mail", t.Output())); err != nil {
		t.Error(err)
	}
	const want = `level=ERROR msg="the disk is nearly full: messages are refused" dir=/mail free=1048576 mail_min_free=67108864`
	if got := log.String(); strings.Count(got, want) != 1 {
		t.Errorf("got\n%s\nwant once\n%s", got, want)
	}
}

// A nearly full disk takes no messages, but lets clients make room.
func TestDiskFull(t *testing.T) {
	ctx := context.Background()
	fs, _, a := faulty(t, "", 0, 0)
	fs.mu.Lock()
	fs.free = 1 << 20
	fs.mu.Unlock()
	if _, err := a.Append(ctx, "INBOX", newMail(2)); imap.CodeOf(err) != imap.CodeOverQuota {
		t.Errorf("append: %v", err)
	}
	m, err := a.Open(ctx, "INBOX", false)
	if err != nil {
		t.Fatal(err)
	}
	deleted := mailbox.FlagChange{Op: mailbox.FlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}, Silent: true}
	if _, err := m.Store(ctx, imap.UIDRange(1, 1), deleted, nil); err != nil {
		t.Error(err)
	}
	if err := m.Expunge(ctx, nil, true); err != nil {
		t.Error(err)
	}
}
