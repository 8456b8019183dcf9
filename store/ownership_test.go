package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// referee is a coordinator that has one unit: whoever acquired it last holds it.
type referee struct {
	mu       sync.Mutex
	epoch    uint64
	holder   string
	blind    map[string]bool // they believe that they hold it still, as a paused machine does
	lapsed   map[string]bool // they can't renew
	confirms int
}

func newReferee() *referee {
	return &referee{epoch: 1 << 48, blind: map[string]bool{}, lapsed: map[string]bool{}}
}

// acquire gives the unit to a backend.
func (r *referee) acquire(holder string) ownership {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.epoch++
	r.holder = holder
	return ownership{r, holder}
}

func (r *referee) set(m map[string]bool, holder string, on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m[holder] = on
}

// ownership is what one backend knows.
type ownership struct {
	*referee
	name string
}

var errNotHeld = errors.New("another backend holds the user")

func (o ownership) Claim(context.Context, string) (Claim, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.holder != o.name || o.lapsed[o.name] {
		return nil, unavailable(errNotHeld)
	}
	return &testClaim{o, o.epoch}, nil
}

type testClaim struct {
	ownership
	epoch uint64
}

func (c *testClaim) Epoch() uint64 { return c.epoch }

func (c *testClaim) valid() bool {
	return c.holder == c.name && c.referee.epoch == c.epoch && !c.lapsed[c.name]
}

func (c *testClaim) Check() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.valid() || c.blind[c.name] {
		return nil
	}
	return errNotHeld
}

func (c *testClaim) Confirm(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.confirms++
	if c.valid() {
		return nil
	}
	return errNotHeld
}

func (c *testClaim) Behind(string, uint64) bool { return false }

func (c *testClaim) Alive(holder string, epoch uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.holder == holder && c.referee.epoch == epoch
}

// backend is a Store on fs that asks o.
func backend(t *testing.T, fs FS, o Ownership, name string) *Store {
	opts := testOptions(t)
	opts.FS, opts.Log, opts.Holder, opts.Ownership = fs, nil, name, o
	s := New(opts)
	t.Cleanup(func() { s.Close() }) //nolint:errcheck // it may have lost its right
	return s
}

func setFlag(t *testing.T, m mailbox.Mailbox, uid imap.UID) error {
	t.Helper()
	change := mailbox.FlagChange{Op: mailbox.FlagsAdd, Flags: []imap.Flag{imap.FlagFlagged}, Silent: true}
	_, err := m.Store(t.Context(), imap.UIDRange(uid, uid), change, nil)
	return err
}

func mustSelect(t *testing.T, a *Session, name string) mailbox.Mailbox {
	t.Helper()
	m, err := a.Open(t.Context(), name, false)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Nothing is touched without a claim, not even a directory made.
func TestOpenAsksFirst(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "alice")
	r := newReferee()
	r.acquire("b1")
	s := backend(t, nil, ownership{r, "b2"}, "b2")
	if _, err := s.Open(t.Context(), "alice", dir); imap.CodeOf(err) != imap.CodeUnavailable || !errors.Is(err, errNotHeld) {
		t.Errorf("open: %v", err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("the directory was made")
	}
}

// The epoch of a claim is that of manifests and files, for every open.
func TestEpochOfClaim(t *testing.T) {
	fs, r := newMemFS(), newReferee()
	s := backend(t, fs, r.acquire("b1"), "b1")
	for n := range 3 {
		a := mustOpen(t, s, "/mail", owner)
		mustAppend(t, a, "INBOX", n)
		if a.man.Epoch != r.epoch || a.writer.name.epoch != r.epoch {
			t.Errorf("epoch %d, file %s; the claim has %d", a.man.Epoch, a.writer.name, r.epoch)
		}
		if err := s.Evict(t.Context(), func(user string) bool { return user == "alice" }); err != nil {
			t.Fatal(err)
		}
	}
	if err := check(fs, "/mail", t.Output()); err != nil {
		t.Error(err)
	}
}

// TestAdmit is who may open what another backend left, and what the log says else.
func TestAdmit(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*referee, *manifest) // of what b1 left unclean, in the epoch before ours
		want   string                    // what the log says; empty: it opens
	}{
		{"b1 lost it", func(*referee, *manifest) {}, ""},
		{"the same process", func(r *referee, m *manifest) { m.Holder, m.Epoch, m.Claimed = "b2", r.epoch, r.epoch }, ""},
		{"our epoch, another holder", func(r *referee, m *manifest) { m.Epoch, m.Claimed = r.epoch, r.epoch }, `is open at backend \"b1\" in epoch`},
		{"an epoch above ours", func(r *referee, m *manifest) { m.Claimed = r.epoch + 1 }, "roost cluster new-generation"},
		{"above ours, and closed", func(r *referee, m *manifest) { m.Claimed, m.Holder, m.Clean = r.epoch+1, "", true }, "roost cluster new-generation"},
	} {
		t.Run(c.name, func(t *testing.T) {
			fs, r := newMemFS(), newReferee()
			s := backend(t, fs, r.acquire("b1"), "b1")
			mustAppend(t, mustOpen(t, s, "/mail", owner), "INBOX", 1)
			o := r.acquire("b2")
			d := disk{fs: fs, dir: "/mail"}
			m, err := d.newestManifest()
			if err != nil {
				t.Fatal(err)
			}
			c.change(r, m)
			if err := d.installManifest(m); err != nil {
				t.Fatal(err)
			}
			var log strings.Builder
			opts := testOptions(t)
			opts.FS, opts.Holder, opts.Ownership, opts.Log = fs, "b2", o, slog.New(slog.NewTextHandler(&log, nil))
			b := New(opts)
			a, err := b.Open(t.Context(), "alice", "/mail")
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				mustAppend(t, a.As(owner), "INBOX", 2)
				if err := b.Close(); err != nil {
					t.Error(err)
				}
				return
			}
			if imap.CodeOf(err) != imap.CodeUnavailable || !strings.Contains(log.String(), c.want) {
				t.Errorf("got %v, log %q", err, log.String())
			}
		})
	}
}

// Who still has the right that the manifest names is left alone, whatever our own right.
func TestOpenAtAnother(t *testing.T) {
	fs, r := newMemFS(), newReferee()
	mustOpen(t, backend(t, fs, r.acquire("b1"), "b1"), "/mail", owner)
	s := backend(t, fs, bothHold{ownership{r, "b2"}}, "b2")
	if _, err := s.Open(t.Context(), "alice", "/mail"); imap.CodeOf(err) != imap.CodeUnavailable {
		t.Errorf("open: %v", err)
	}
}

// bothHold is a coordinator's mistake.
type bothHold struct{ ownership }

func (o bothHold) Claim(context.Context, string) (Claim, error) {
	return &testClaim{o.ownership, o.epoch + 1}, nil
}

// A cluster begins with mail of static mode, goes back to it, and on again. A process
// without a coordinator that has the mail open is not passed over.
func TestStaticAndBack(t *testing.T) {
	fs, r := newMemFS(), newReferee()
	static := backend(t, fs, nil, "b1")
	mustAppend(t, mustOpen(t, static, "/mail", owner), "INBOX", 1)
	b2 := backend(t, fs, r.acquire("b2"), "b2")
	if _, err := b2.Open(t.Context(), "alice", "/mail"); !errors.Is(err, ErrInUse) {
		t.Errorf("open in a process without a coordinator: %v", err)
	}
	fs.crash(nil, false)
	last := uint64(0)
	for n, coordinated := range []bool{true, false, false, true, true, false, true} {
		s := backend(t, fs, nil, "b3")
		if coordinated {
			s = backend(t, fs, ownership{r, "b2"}, "b2")
		}
		a := mustOpen(t, s, "/mail", owner)
		mustAppend(t, a, "INBOX", n)
		if want := last + 1; !coordinated && a.epoch != want || coordinated && a.epoch != r.epoch {
			t.Errorf("round %d: epoch %d after %d, the claim has %d", n, a.epoch, last, r.epoch)
		}
		last = a.epoch
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := check(fs, "/mail", t.Output()); err != nil {
		t.Error(err)
	}
}

// While the right has lapsed mail can be read and not changed; when it comes back
// all goes on, without a new open.
func TestReadOnlyWhileLapsed(t *testing.T) {
	ctx := t.Context()
	fs, r := newMemFS(), newReferee()
	s := backend(t, fs, r.acquire("b1"), "b1")
	a := mustOpen(t, s, "/mail", owner)
	mustAppend(t, a, "INBOX", 1)
	m := mustSelect(t, a, "INBOX")
	r.set(r.lapsed, "b1", true)
	before := len(fs.files(func(string) bool { return true }))
	for what, err := range map[string]error{
		"append": func() error { _, err := a.Append(ctx, "INBOX", newMail(2)); return err }(),
		"store":  setFlag(t, m, 1),
		"create": a.Create(ctx, "Work"),
		"fold":   a.fold(ctx),
		"open":   func() error { _, err := s.Open(ctx, "alice", "/mail"); return err }(),
	} {
		if imap.CodeOf(err) != imap.CodeUnavailable || errors.Is(err, imap.ErrUnknownOutcome) {
			t.Errorf("%s: %v", what, err)
		}
	}
	var seen []imap.Flag
	items := &imap.FetchItems{Flags: true, MarkSeen: true, Sections: []imap.Section{{}}}
	if err := m.Fetch(ctx, imap.UIDRange(1, 1), items, func(m *mailbox.Message) error { seen = m.Flags; return nil }); err != nil || len(seen) > 0 {
		t.Errorf("fetch: %v, flags %v", err, seen)
	}
	if after := len(fs.files(func(string) bool { return true })); after != before {
		t.Errorf("%d files, there were %d", after, before)
	}
	r.set(r.lapsed, "b1", false)
	mustAppend(t, a, "INBOX", 2)
	if err := errors.Join(setFlag(t, m, 1), a.fold(ctx)); err != nil {
		t.Error(err)
	}
}

// A commit of which it can't be known whether it stands is answered neither way, is
// told to nobody, and ends the account: the next open begins anew.
func TestUnconfirmed(t *testing.T) {
	ctx := t.Context()
	fs, r := newMemFS(), newReferee()
	s := backend(t, fs, r.acquire("b1"), "b1")
	a := mustOpen(t, s, "/mail", owner)
	mustAppend(t, a, "INBOX", 1)
	m := mustSelect(t, a, "INBOX")
	r.set(r.blind, "b1", true)
	r.set(r.lapsed, "b1", true)
	if _, err := a.Append(ctx, "INBOX", newMail(2)); !errors.Is(err, imap.ErrUnknownOutcome) || imap.CodeOf(err) != imap.CodeUnavailable {
		t.Fatalf("append: %v", err)
	}
	if c, err := m.Sync(ctx, true); err != nil || !c.Unavailable || !c.New.Empty() {
		t.Errorf("sync: %+v, %v", c, err)
	}
	ops := fs.ops
	if err := setFlag(t, m, 1); imap.CodeOf(err) != imap.CodeUnavailable {
		t.Errorf("store: %v", err)
	}
	if fs.ops != ops {
		t.Error("the account that was given up touches the disk")
	}
	r.set(r.lapsed, "b1", false)
	b := mustOpen(t, s, "/mail", owner) // beside those who have the old one
	if status, err := b.Status(ctx, "INBOX", imap.StatusMessages); err != nil || status.Messages < 1 {
		t.Errorf("after the next open: %+v, %v", status, err)
	}
	mustAppend(t, b, "INBOX", 3)
	if err := errors.Join(m.Close(), a.Close(), b.Close(), s.Close(), check(fs, "/mail", t.Output())); err != nil {
		t.Error(err)
	}
}

// Flags that were answered before their sync are confirmed with it, and one confirmation
// serves all who share a sync.
func TestConfirmIsShared(t *testing.T) {
	fs, r := newMemFS(), newReferee()
	s := backend(t, fs, r.acquire("b1"), "b1")
	a := mustOpen(t, s, "/mail", owner)
	mustAppend(t, a, "INBOX", 1)
	before := r.confirms
	queued, release := standstill(t, a)
	var all sync.WaitGroup
	for n := range 20 {
		all.Go(func() { mustAppend(t, a, "INBOX", n) })
	}
	queued(20)
	release()
	all.Wait()
	if n := r.confirms - before; n != 1 {
		t.Errorf("%d confirmations for one sync", n)
	}
}

// slowOwnership lets a claim wait until it is told.
type slowOwnership struct{ waits chan struct{} }

func (o slowOwnership) Claim(ctx context.Context, _ string) (Claim, error) {
	close(o.waits)
	<-ctx.Done()
	return nil, unavailable(context.Cause(ctx))
}

// Two names that lead to one home are two users, held perhaps by two backends: only
// one of them has the mail.
func TestTwoNamesOneHome(t *testing.T) {
	fs, r := newMemFS(), newReferee()
	a := mustOpen(t, backend(t, fs, r.acquire("b1"), "b1"), "/mail", owner)
	mustAppend(t, a, "INBOX", 1)
	other := backend(t, fs, newReferee().acquire("b2"), "b2")
	for range 2 {
		if _, err := other.Open(t.Context(), "ALICE", "/mail"); imap.CodeOf(err) != imap.CodeUnavailable {
			t.Errorf("opened under another name: %v", err)
		}
	}
	mustAppend(t, a, "INBOX", 2)
}

// An open that took so long that the mail was opened under a later right leaves that alone.
func TestOverdueOpen(t *testing.T) {
	fs, r := newMemFS(), newReferee()
	o := r.acquire("b1")
	old, err := o.Claim(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	r.acquire("b1")
	s := backend(t, fs, o, "b1")
	a := mustOpen(t, s, "/mail", owner)
	late := &opening{user: "alice", fence: fence{claim: old}}
	if _, err := a.slot.open(t.Context(), s, late); !errors.Is(err, errOverdue) {
		t.Errorf("open: %v", err)
	}
	mustAppend(t, a, "INBOX", 1)
	r.acquire("b1")
	b := mustOpen(t, s, "/mail", owner)
	mustAppend(t, b, "INBOX", 2)
	if _, err := a.Append(t.Context(), "INBOX", newMail(3)); imap.CodeOf(err) != imap.CodeUnavailable {
		t.Errorf("append under an earlier right: %v", err)
	}
}

// A disk that fails while the right moves on: whatever was acknowledged is at the
// successor's.
func TestFailureAndTakeover(t *testing.T) {
	for i, failure := range []error{syscall.EIO, syscall.ENOSPC} {
		for _, op := range []string{"write", "sync", "create", "link", "syncdir"} {
			t.Run(fmt.Sprint(op, i), func(t *testing.T) {
				fs, r := newMemFS(), newReferee()
				s := backend(t, fs, r.acquire("b1"), "b1")
				a := mustOpen(t, s, "/mail", owner)
				mustAppend(t, a, "INBOX", 1)
				r.set(r.blind, "b1", true)
				o := r.acquire("b2")
				fs.mu.Lock()
				left := 2
				fs.failOp = func(got, _ string) (int, error) {
					if got == op && left > 0 {
						left--
						return 7, failure
					}
					return 0, nil
				}
				fs.mu.Unlock()
				_, err := a.Append(t.Context(), "INBOX", newMail(2))
				if err == nil {
					t.Error("it was acknowledged")
				}
				b2 := backend(t, fs, o, "b2")
				fs.mu.Lock()
				fs.failOp = nil
				fs.mu.Unlock()
				b := mustOpen(t, b2, "/mail", owner)
				want := contentsOf(t, b, "INBOX")
				if !strings.Contains(want, "\n1 ") {
					t.Errorf("lost: %s", want)
				}
				if _, err := a.Append(t.Context(), "INBOX", newMail(3)); err == nil {
					t.Error("it was acknowledged")
				}
				_ = s.Close()
				if got := contentsOf(t, b, "INBOX"); got != want {
					t.Errorf("got\n%s\nwant\n%s", got, want)
				}
				if err := errors.Join(b2.Close(), check(fs, "/mail", t.Output())); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// An unmounted volume is no empty one, for who has the right as well, and the probe says so.
func TestProbe(t *testing.T) {
	root := t.TempDir()
	o := testOptions(t)
	o.Volumes, o.Holder, o.Ownership = []string{root}, "b1", newReferee().acquire("b1")
	s := New(o)
	if err := s.ProbeVolumes(t.Context()); err == nil {
		t.Error("probe of a volume without a marker")
	}
	if _, err := s.VolumeIDs(); err == nil {
		t.Error("id of a volume without a marker")
	}
	if _, err := s.Open(t.Context(), "alice", filepath.Join(root, "alice")); imap.CodeOf(err) != imap.CodeUnavailable {
		t.Errorf("open: %v", err)
	}
	if entries, err := os.ReadDir(root); err != nil || len(entries) > 0 {
		t.Errorf("something was made: %v, %v", entries, err)
	}
	id, err := InitVolume(root)
	if err != nil {
		t.Fatal(err)
	}
	if ids, err := s.VolumeIDs(); err != nil || len(ids) != 1 || ids[0] != id {
		t.Errorf("ids %v, %v; want %s", ids, err, id)
	}
	for range 2 {
		if err := s.ProbeVolumes(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if entries, err := os.ReadDir(root); err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// A probe that hangs is told of, and not begun once more.
func TestProbeHangs(t *testing.T) {
	const root = "/volume"
	fs := newMemFS()
	fs.markVolume(root)
	fs.stopAt, fs.stopped, fs.resume = 1, make(chan struct{}), make(chan struct{})
	o := testOptions(t)
	o.FS, o.Volumes, o.Log = fs, []string{root}, nil
	s := New(o)
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() { first <- s.ProbeVolumes(ctx) }()
	<-fs.stopped
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("first: %v", err)
	}
	if err := s.ProbeVolumes(t.Context()); !errors.Is(err, errProbing) {
		t.Errorf("second: %v", err)
	}
	close(fs.resume)
}
