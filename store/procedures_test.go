package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// procedures are what the store does to files beside commits. None of them
// changes what a client sees, so whatever happens on the way, the mail is the same.
var procedures = []procedure{
	{"open", func(p *proc) error {
		a, err := p.open("b1")
		if err == nil {
			p.a = a
		}
		return err
	}},
	{"install", func(p *proc) error { return p.lead(func() error { return p.a.begin(p.a.writer.synced) }) }},
	{"fold", func(p *proc) error { return p.a.fold(context.Background()) }},
	{"rewrite", func(p *proc) error { return p.a.maintain(context.Background()) }},
	{"unlink", func(p *proc) error {
		p.fs.pass(2 * sweepAge)
		return errors.Join(
			p.lead(func() error { return p.a.begin(p.a.writer.synced) }),
			p.a.disk.sweep(p.a.epoch, p.a.incarnation))
	}},
	{"rollover", func(p *proc) error { return p.lead(p.a.rollOver) }},
	{"close", func(p *proc) error { return p.store.Close() }},
}

type procedure struct {
	name string
	run  func(*proc) error
}

// proc is an account before such a procedure: with a folded state, a tail behind
// it, a segment to rewrite, and files to remove.
type proc struct {
	t     *testing.T
	fs    *memFS
	store *Store
	a     *Session
	want  string
	bobs  string // as bob sees it, at least

	claims *referee // nil without a coordinator
}

func (p *proc) lead(run func() error) error {
	return p.a.submit(context.Background(), &txn{alone: true, run: run})
}

// open opens alice's mail as the named backend, whoever has its lock.
func (p *proc) open(holder string) (*Session, error) {
	o := testOptions(p.t)
	o.FS, o.Log, o.Holder = p.fs, nil, holder
	if p.claims != nil {
		o.Ownership = p.claims.acquire(holder)
		o.Now = func() time.Time { return time.Unix(1.7e9, 0) }
	}
	o.limits = limits{segment: 1 << 40, foldBytes: 1 << 40, foldRecords: 1 << 30}
	p.store = New(o)
	account, err := p.store.Open(context.Background(), "alice", "/mail")
	if err != nil {
		return nil, err
	}
	return account.As(owner), nil
}

func newProc(t *testing.T, name string) *proc {
	t.Helper()
	return makeProc(t, name, nil)
}

func makeProc(t *testing.T, name string, claims *referee) *proc {
	t.Helper()
	ctx := context.Background()
	p := &proc{t: t, fs: newMemFS(), claims: claims}
	var err error
	must := func(e error) {
		t.Helper()
		if e != nil {
			t.Fatal(e)
		}
	}
	p.a, err = p.open("b1")
	must(err)
	for n := range 12 {
		text := mail(n) + strings.Repeat("z", 12<<10)
		_, err := p.a.Append(ctx, "INBOX", mailbox.One(&mailbox.NewMessage{Size: int64(len(text)), Body: strings.NewReader(text)}))
		must(err)
	}
	p.readersOwn()
	must(p.lead(p.a.rollOver))
	m, err := p.a.Open(ctx, "INBOX", false)
	must(err)
	expungeMost(t, m)
	must(p.a.fold(ctx))
	mustAppend(t, p.a, "INBOX", 20, imap.FlagFlagged)
	must(p.lead(p.a.syncNow))
	p.want, p.bobs = contentsOf(t, p.a, "INBOX"), p.bobSees()
	if name == "unlink" {
		must(p.a.maintain(ctx))
	}
	if name == "open" {
		p.fs.crash(nil, false)
	}
	return p
}

// reader is bob's session, who has flags for himself.
func (p *proc) reader() *Session {
	p.t.Helper()
	return mustOpen(p.t, p.store, "/mail", View{Acting: "bob", PrivateFlags: modelPrivate, PrivateSeen: true})
}

// readersOwn has bob's flags shared, set aside, and his own again.
func (p *proc) readersOwn() {
	p.t.Helper()
	bob := p.reader()
	mustStore(p.t, bob, imap.UIDRange(1, 8), mailbox.FlagsAdd, imap.FlagFlagged, "two")
	for _, mode := range []string{"shared", "private"} {
		mustStore(p.t, p.a, imap.UIDRange(6, 12), mailbox.FlagsAdd, imap.FlagSeen)
		entry := imap.MetadataEntry{Name: imap.MetadataPrivateFlags, Value: []byte(mode)}
		if err := p.a.SetMetadata(context.Background(), "INBOX", []imap.MetadataEntry{entry}); err != nil {
			p.t.Fatal(err)
		}
	}
	mustStore(p.t, p.a, imap.UIDRange(1, 12), mailbox.FlagsRemove, imap.FlagSeen)
	mustStore(p.t, bob, imap.UIDRange(1, 1), mailbox.FlagsRemove, imap.FlagFlagged)
	bob.Close() //nolint:errcheck // never fails
}

// bobSees is what bob sees of each message.
func (p *proc) bobSees() string {
	p.t.Helper()
	bob := p.reader()
	defer bob.Close() //nolint:errcheck // never fails
	_, messages, _ := strings.Cut(contentsOf(p.t, bob, "INBOX"), "\n")
	return messages
}

// verify opens the mail as a backend that took it over, and expects all to be there.
func (p *proc) verify() {
	p.t.Helper()
	p.fs.breakLocks()
	if _, err := takeover(p.fs, "alice", "/mail"); err != nil {
		p.t.Fatalf("takeover: %v", err)
	}
	a, err := p.open("b2")
	if err != nil {
		p.t.Fatalf("open: %v", err)
	}
	if got := contentsOf(p.t, a, "INBOX"); got != p.want {
		p.t.Fatalf("got\n%s\nwant\n%s", got, p.want)
	}
	if got := p.bobSees(); !strings.HasPrefix(got, p.bobs) {
		p.t.Fatalf("bob sees\n%s\nwant\n%s", got, p.bobs)
	}
	if err := p.store.Close(); err != nil {
		p.t.Fatalf("close: %v", err)
	}
	if err := check(p.fs, "/mail", p.t.Output()); err != nil {
		p.t.Fatal(err)
	}
}

// each counts the steps of a procedure and calls try with each of them.
func each(t *testing.T, count func(*memFS) int, try func(t *testing.T, p *proc, run func(*proc) error, step int)) {
	for _, proc := range procedures {
		t.Run(proc.name, func(t *testing.T) {
			p := newProc(t, proc.name)
			before := count(p.fs)
			if err := proc.run(p); err != nil {
				t.Fatal(err)
			}
			steps := count(p.fs) - before
			if steps < 3 {
				t.Fatalf("only %d steps", steps)
			}
			stride := 1
			if testing.Short() {
				stride = 2
			}
			for step := 1; step <= steps; step += stride {
				t.Run(fmt.Sprint(step), func(t *testing.T) {
					p := newProc(t, proc.name)
					try(t, p, proc.run, count(p.fs)+step)
				})
			}
		})
	}
}

// TestStopAtEachCall ends the process at each call that changes something, with
// and without power loss.
func TestStopAtEachCall(t *testing.T) {
	each(t, func(m *memFS) int { return m.ops }, func(t *testing.T, p *proc, run func(*proc) error, step int) {
		for _, power := range []bool{false, true} {
			p := &proc{t: t, fs: p.fs, store: p.store, a: p.a, want: p.want, bobs: p.bobs}
			if power {
				p = newProc(t, strings.Split(t.Name(), "/")[1])
			}
			p.fs.freezeAt = step
			_ = run(p) // it is dead
			p.fs.mu.Lock()
			p.fs.freezeAt = 1
			p.fs.mu.Unlock()
			_ = p.store.Close()
			p.fs.crash(rand.New(rand.NewPCG(uint64(step), 1)), power)
			p.verify()
		}
	})
}

// TestFailEachCall has each call of any kind fail, a read as well as a write,
// once and from then on.
func TestFailEachCall(t *testing.T) {
	failures := []error{syscall.EIO, syscall.ENOSPC, syscall.EDQUOT, io.ErrShortWrite}
	if testing.Short() {
		failures = failures[:2] // once, and for ever
	}
	each(t, func(m *memFS) int { return m.calls }, func(t *testing.T, first *proc, run func(*proc) error, step int) {
		for i, failure := range failures {
			p := first
			if i > 0 {
				p = newProc(t, strings.Split(t.Name(), "/")[1])
			}
			rnd := rand.New(rand.NewPCG(uint64(step), uint64(i)))
			forever := i%2 == 1
			p.fs.mu.Lock()
			p.fs.failCall = func(call int) error {
				if call == step || forever && call > step {
					return failure
				}
				return nil
			}
			p.fs.mu.Unlock()
			_ = run(p)
			p.fs.mu.Lock()
			p.fs.failCall = nil
			p.fs.mu.Unlock()
			_, _ = p.a.Append(context.Background(), "Nowhere", newMail(1)) // it may go on or not
			p.fs.mu.Lock()
			p.fs.freezeAt = 1
			p.fs.mu.Unlock()
			_ = p.store.Close()
			p.fs.crash(rnd, true)
			p.verify()
		}
	})
}

// TestTakeoverAtEachCall stops the process at each call, takes over twice, and
// lets it go on: at once, or after so long that nothing is left to stand in its
// way. What it does then harms nothing.
func TestTakeoverAtEachCall(t *testing.T) {
	each(t, func(m *memFS) int { return m.ops }, func(t *testing.T, first *proc, run func(*proc) error, step int) {
		for _, late := range []bool{false, true} {
			p := first
			if late {
				p = newProc(t, strings.Split(t.Name(), "/")[1])
			}
			takeOverMidway(t, p, run, step, late)
		}
	})
}

func takeOverMidway(t *testing.T, p *proc, run func(*proc) error, step int, late bool) {
	t.Helper()
	stopped, resume := make(chan struct{}), make(chan struct{})
	p.fs.mu.Lock()
	p.fs.stopAt, p.fs.stopped, p.fs.resume = step, stopped, resume
	p.fs.mu.Unlock()
	old := &proc{t: t, fs: p.fs, store: p.store, a: p.a}
	ended := make(chan error, 1)
	go func() { ended <- run(old) }()
	select {
	case <-stopped:
	case err := <-ended:
		t.Fatalf("ended before it stopped: %v", err)
	}
	p.verify() // closes cleanly
	a, err := p.open("b2")
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, a, "INBOX", 30)
	if late {
		for range 4 {
			p.fs.pass(keptTakeover)
			if err := a.maintain(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := contentsOf(t, a, "INBOX")
	close(resume)
	<-ended // it may well have failed, or not have noticed yet
	if err := old.lead(func() error { return old.a.begin(old.a.writer.synced) }); err == nil {
		t.Error("the old process installed a manifest")
	}
	_ = old.store.Close()
	if got := contentsOf(t, a, "INBOX"); got != want {
		t.Fatalf("got\n%s\nwant\n%s", got, want)
	}
	mustAppend(t, a, "INBOX", 31)
	if err := a.maintain(context.Background()); err != nil {
		t.Fatal(err)
	}
	p.want = contentsOf(t, a, "INBOX")
	p.fs.crash(rand.New(rand.NewPCG(uint64(step), 2)), true)
	p.verify()
}

// A snapshot of the file system, taken at any moment while clients work, opens.
func TestSnapshotOpens(t *testing.T) {
	ctx := context.Background()
	fs := newMemFS()
	o := testOptions(t)
	o.FS, o.Log = fs, nil
	o.limits = limits{segment: 16 << 10, foldBytes: 12 << 10, foldRecords: 30}
	s := New(o)
	a := mustOpen(t, s, "/mail", owner)
	told := make(chan imap.UID, 1)
	done := make(chan error, 1)
	stop := make(chan struct{})
	go func() {
		defer close(told)
		for n := 1; ; n++ {
			data, err := a.Append(ctx, "INBOX", newMail(n))
			if err != nil {
				done <- err
				return
			}
			select {
			case told <- data.UIDs.Min():
			case <-stop:
				done <- nil
				return
			}
		}
	}()
	rnd := rand.New(rand.NewPCG(4, 2))
	for round := range 40 {
		var last imap.UID
		for range 1 + rnd.IntN(12) {
			last = <-told
		}
		copied := fs.snapshot()
		if round%2 == 0 { // of a disk that lost power, at the same moment
			copied.crash(rnd, true)
		}
		oc := o
		oc.FS, oc.Now = copied, time.Now
		sc := New(oc)
		b := mustOpen(t, sc, "/mail", owner)
		status, err := b.Status(ctx, "INBOX", imap.StatusMessages)
		if err != nil || status.Messages < uint32(last) {
			t.Fatalf("round %d: %d messages, %d were acknowledged; %v", round, status.Messages, last, err)
		}
		if err := sc.Close(); err != nil {
			t.Fatal(err)
		}
		if err := check(copied, "/mail", t.Output()); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	for range told {
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
