package store

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// Evict syncs what was answered before its sync, and closes; whoever had the mail open
// is told, and the next backend finds it closed.
func TestEvict(t *testing.T) {
	fs, r := newMemFS(), newReferee()
	s := backend(t, fs, r.acquire("b1"), "b1")
	a := mustOpen(t, s, "/mail", owner)
	mustAppend(t, a, "INBOX", 1)
	m := mustSelect(t, a, "INBOX")
	told := make(chan struct{}, 10)
	defer m.Watch(func() { told <- struct{}{} })()
	if err := setFlag(t, m, 1); err != nil {
		t.Fatal(err)
	}
	want := contentsOf(t, a, "INBOX")
	if err := s.Evict(t.Context(), func(user string) bool { return user != "alice" }); err != nil {
		t.Fatal(err)
	}
	if got := contentsOf(t, a, "INBOX"); got != want {
		t.Error("another user's eviction is felt")
	}
	if err := s.Evict(t.Context(), func(user string) bool { return user == "alice" }); err != nil {
		t.Fatal(err)
	}
	<-told
	if c, err := m.Sync(t.Context(), true); err != nil || !c.Unavailable {
		t.Errorf("sync: %+v, %v", c, err)
	}
	if _, err := a.Append(t.Context(), "INBOX", newMail(2)); imap.CodeOf(err) != imap.CodeUnavailable {
		t.Errorf("append: %v", err)
	}
	checkKnowsNothing(t, a, m)
	if man, err := (&disk{fs: fs, dir: "/mail"}).newestManifest(); err != nil || !man.Clean || man.Holder != "" {
		t.Errorf("manifest %+v, %v", man, err)
	}
	fs.losePower()
	b := mustOpen(t, backend(t, fs, r.acquire("b2"), "b2"), "/mail", owner)
	if got := contentsOf(t, b, "INBOX"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// checkKnowsNothing sees that a session whose mail has left says neither what exists nor who
// may do what: another backend may have changed it.
func checkKnowsNothing(t *testing.T, a *Session, m mailbox.Mailbox) {
	t.Helper()
	ctx := t.Context()
	for what, ask := range map[string]func(name string) error{
		"standing": func(name string) error { _, err := a.Standing(ctx, name); return err },
		"status":   func(name string) error { _, err := a.Status(ctx, name, imap.StatusMessages); return err },
		"metadata": func(name string) error { _, err := a.GetMetadata(ctx, name, &imap.MetadataQuery{}); return err },
		"quota":    func(name string) error { _, _, err := a.QuotaOf(ctx, name); return err },
		"open":     func(name string) error { _, err := a.Open(ctx, name, true); return err },
		"append":   func(name string) error { _, err := a.Append(ctx, name, newMail(2)); return err },
		"entries":  func(string) error { _, err := m.(mailbox.EntryHolder).Standing(ctx); return err },
	} {
		for _, name := range []string{"INBOX", "Missing"} {
			if err := ask(name); imap.CodeOf(err) != imap.CodeUnavailable {
				t.Errorf("%s of %s: %v", what, name, err)
			}
		}
	}
}

// Without the right nothing on disk is touched.
func TestEvictLost(t *testing.T) {
	fs, r := newMemFS(), newReferee()
	s := backend(t, fs, r.acquire("b1"), "b1")
	a := mustOpen(t, s, "/mail", owner)
	mustAppend(t, a, "INBOX", 1)
	if err := setFlag(t, mustSelect(t, a, "INBOX"), 1); err != nil {
		t.Fatal(err)
	}
	r.acquire("b2")
	ops := fs.ops
	if err := s.Evict(t.Context(), func(string) bool { return true }); err != nil {
		t.Error(err)
	}
	if fs.ops != ops {
		t.Errorf("%d operations on disk", fs.ops-ops)
	}
	if _, err := a.Status(t.Context(), "INBOX", imap.StatusMessages); imap.CodeOf(err) != imap.CodeUnavailable {
		t.Errorf("status: %v", err)
	}
}

// A disk that hangs does not hold Evict up. What it ends later is not
// acknowledged, though the right has come back by then.
func TestEvictHangs(t *testing.T) {
	fs, r := newMemFS(), newReferee()
	s := backend(t, fs, r.acquire("b1"), "b1")
	a := mustOpen(t, s, "/mail", owner)
	mustAppend(t, a, "INBOX", 1)
	stopped, resume := make(chan struct{}), make(chan struct{})
	fs.mu.Lock()
	fs.stopAt, fs.stopped, fs.resume = fs.ops+2, stopped, resume // the sync
	fs.mu.Unlock()
	ended := make(chan error, 1)
	go func() {
		_, err := a.Append(context.Background(), "INBOX", newMail(2))
		ended <- err
	}()
	<-stopped
	if s.Pending() <= 0 {
		t.Error("nothing is pending")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := s.Evict(ctx, func(string) bool { return true }); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "alice") {
		t.Errorf("evict: %v", err)
	}
	if _, err := a.Status(t.Context(), "INBOX", imap.StatusMessages); imap.CodeOf(err) != imap.CodeUnavailable {
		t.Errorf("status: %v", err)
	}
	b := mustOpen(t, s, "/mail", owner)
	close(resume)
	if err := <-ended; !errors.Is(err, imap.ErrUnknownOutcome) {
		t.Errorf("append: %v", err)
	}
	mustAppend(t, b, "INBOX", 3)
	if err := errors.Join(a.Close(), b.Close(), s.Close(), check(fs, "/mail", t.Output())); err != nil {
		t.Error(err)
	}
	if s.Pending() != 0 {
		t.Error("something is pending")
	}
}

func TestEvictEndsOpens(t *testing.T) {
	o := slowOwnership{make(chan struct{})}
	s := backend(t, newMemFS(), o, "b1")
	ended := make(chan error, 1)
	go func() {
		_, err := s.Open(context.Background(), "alice", "/mail")
		ended <- err
	}()
	<-o.waits
	if err := s.Evict(t.Context(), func(string) bool { return true }); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, errEvicted) || imap.CodeOf(err) != imap.CodeUnavailable {
		t.Errorf("open: %v", err)
	}
}

// An account that somebody else closes, as who had it open last does, has not left before
// that is done.
func TestEvictWaitsForOthers(t *testing.T) {
	fs := newMemFS()
	s := backend(t, fs, newReferee().acquire("b1"), "b1")
	a := mustOpen(t, s, "/mail", owner)
	leaving := s.takeOut(func(string) bool { return true })
	if len(leaving) != 1 {
		t.Fatalf("%d leave", len(leaving))
	}
	p := leaving[0]
	if err := p.lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.clear(p.slot)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.evict(ctx, p); !errors.Is(err, context.Canceled) {
		t.Errorf("evict: %v", err)
	}
	p.unlock()
	_ = p.account.close(false) // it was abandoned
	if err := errors.Join(a.Close(), s.Close(), check(fs, "/mail", t.Output())); err != nil {
		t.Error(err)
	}
}

// An open waits until an account that is being evicted is closed, though the right is
// ours: until then that may acknowledge more.
func TestOpenDuringEvict(t *testing.T) {
	fs, r := newMemFS(), newReferee()
	s := backend(t, fs, r.acquire("b1"), "b1")
	a := mustOpen(t, s, "/mail", owner)
	mustAppend(t, a, "INBOX", 1)
	queued, release := standstill(t, a)
	delivered := make(chan error, 1)
	go func() {
		_, err := a.Append(context.Background(), "INBOX", newMail(2))
		delivered <- err
	}()
	queued(1)
	evicted := make(chan error, 1)
	go func() { evicted <- s.Evict(context.Background(), func(string) bool { return true }) }()
	queued(2)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Open(ctx, "alice", "/mail"); imap.CodeOf(err) != imap.CodeUnavailable {
		t.Errorf("open while it leaves: %v", err)
	}
	opened := make(chan error, 1)
	go func() {
		_, err := s.Open(context.Background(), "alice", "/mail")
		opened <- err
	}()
	release()
	if err := errors.Join(<-delivered, <-evicted, <-opened); err != nil {
		t.Fatal(err)
	}
	status, err := mustOpen(t, s, "/mail", owner).Status(t.Context(), "INBOX", imap.StatusMessages)
	if err != nil || status.Messages != 2 {
		t.Errorf("%d messages, %v", status.Messages, err)
	}
}
