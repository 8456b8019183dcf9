package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// An account that a backend left unclean is opened by no other, until an
// administrator says so. The backend itself may.
func TestHolder(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	left := func(holder string) {
		s := New(Options{Holder: holder})
		a, err := s.Open(ctx, "alice", dir)
		if err != nil {
			t.Fatalf("%s: %v", holder, err)
		}
		mustAppend(t, a.As(owner), "INBOX", 1)
		if _, err := New(Options{Holder: holder}).Open(ctx, "alice", dir); imap.CodeOf(err) != imap.CodeUnavailable {
			t.Errorf("a second process of %s: %v", holder, err)
		}
		a.lock.Close() //nolint:errcheck // the process is dead
	}
	left("b1")
	if _, err := New(Options{Holder: "b2"}).Open(ctx, "alice", dir); imap.CodeOf(err) != imap.CodeUnavailable {
		t.Errorf("another backend: %v", err)
	}
	left("b1")
	if _, err := Takeover("bob", dir); err == nil {
		t.Error("taken over for another user")
	}
	if from, err := Takeover("alice", dir); err != nil || from != "b1" {
		t.Errorf("takeover from %q: %v", from, err)
	}
	s := New(Options{Holder: "b2", Linger: -1})
	a := mustOpen(t, s, dir, owner)
	if status, err := a.Status(ctx, "INBOX", imap.StatusMessages); err != nil || status.Messages != 2 {
		t.Errorf("got %+v, %v", status, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	checkDir(t, dir)
	mustOpen(t, New(Options{Holder: "b3", Linger: -1}), dir, owner) // the close was clean
}

func TestOneName(t *testing.T) {
	dir := t.TempDir()
	s := New(Options{Linger: -1})
	a := mustOpen(t, s, dir, owner)
	for range 2 {
		if _, err := s.Open(context.Background(), "ALICE", dir); imap.CodeOf(err) != imap.CodeUnavailable {
			t.Errorf("opened under another name: %v", err)
		}
		a.Close() //nolint:errcheck // never fails
	}
}

func TestVolumes(t *testing.T) {
	root := t.TempDir()
	s := New(Options{Volumes: []string{root}, Linger: -1})
	open := func(dir string) error {
		a, err := s.Open(context.Background(), "alice", dir)
		if err == nil {
			a.Close() //nolint:errcheck // never fails
		}
		return err
	}
	home := filepath.Join(root, "alice")
	if err := open(home); imap.CodeOf(err) != imap.CodeUnavailable {
		t.Errorf("without a marker: %v", err)
	}
	if _, err := os.Stat(home); err == nil {
		t.Error("an account was begun without a marker")
	}
	id, err := InitVolume(root)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := InitVolume(root); err != nil || again != id {
		t.Errorf("second init: %s, %v; want %s", again, err, id)
	}
	if err := open(home); err != nil {
		t.Error(err)
	}
	if err := open(t.TempDir()); imap.CodeOf(err) != imap.CodeUnavailable {
		t.Errorf("outside of the volume: %v", err)
	}
}

// Modification sequences that a lost flag change may have had are not used again.
func TestModSeqAfterPowerLoss(t *testing.T) {
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
	if _, err := m.Sync(ctx, true); err != nil {
		t.Fatal(err)
	}
	shown := m.Info().HighestModSeq
	fs.losePower()
	b := mustOpen(t, New(o), "/mail", owner)
	status, err := b.Status(ctx, "INBOX", imap.StatusHighestModSeq)
	if err != nil || status.HighestModSeq <= shown {
		t.Errorf("HIGHESTMODSEQ is %d, %d was shown; %v", status.HighestModSeq, shown, err)
	}
}

// A fold covers no more of the log than is durable, or the account would miss it
// after a power loss.
func TestFoldOfUnsynced(t *testing.T) {
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
	if err := a.fold(ctx); err != nil {
		t.Fatal(err)
	}
	want := contentsOf(t, a, "INBOX")
	fs.losePower()
	if got := contentsOf(t, mustOpen(t, New(o), "/mail", owner), "INBOX"); got != want {
		t.Errorf("after a power loss: %s\nbefore: %s", got, want)
	}
}

// Modification sequences are reserved by what is durable only: a refused or failed
// transaction reserves nothing for those after it.
func TestModSeqReservedInVain(t *testing.T) {
	for _, failed := range []bool{false, true} {
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
		a.next.modseq = a.st.modseqLimit - 1 // the next one is not reserved
		if failed {
			fs.mu.Lock()
			left := 1
			fs.failOp = func(op, name string) (int, error) {
				if op == "sync" && left > 0 && strings.HasSuffix(name, "."+kindLog) {
					left--
					return 0, syscall.EIO
				}
				return 0, nil
			}
			fs.mu.Unlock()
			if err := a.Create(ctx, "Work"); !errors.Is(err, imap.ErrUnknownOutcome) {
				t.Fatalf("with a failing disk: %v", err)
			}
		} else {
			inbox := a.st.names["INBOX"]
			inbox.nextUID = 1<<32 - 1
			if _, err := m.Copy(ctx, imap.UIDRange(1, 1), "INBOX"); imap.CodeOf(err) != imap.CodeLimit {
				t.Fatalf("without UIDs: %v", err)
			}
		}
		flag := mailbox.FlagChange{Op: mailbox.FlagsAdd, Flags: []imap.Flag{imap.FlagFlagged}, Silent: true}
		if _, err := m.Store(ctx, imap.UIDRange(1, 1), flag, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := m.Sync(ctx, true); err != nil {
			t.Fatal(err)
		}
		shown := m.Info().HighestModSeq
		fs.losePower()
		status, err := mustOpen(t, New(o), "/mail", owner).Status(ctx, "INBOX", imap.StatusHighestModSeq)
		if err != nil || status.HighestModSeq <= shown {
			t.Errorf("failed %t: HIGHESTMODSEQ is %d, %d was shown; %v", failed, status.HighestModSeq, shown, err)
		}
	}
}

// TestCutAnywhere cuts the log at every byte. Each time the account opens, with
// the transactions that were whole, or is refused, if the manifest knows of more.
func TestCutAnywhere(t *testing.T) {
	fs := newMemFS()
	o := testOptions(t)
	o.FS, o.Log = fs, nil
	a := mustOpen(t, New(o), "/mail", owner)
	var whole []int64 // where the transaction of each message ends
	for n := range 4 {
		mustAppend(t, a, "INBOX", n)
		whole = append(whole, a.writer.end)
	}
	name := "/mail/" + a.writer.name.String()
	begun := a.man.Segments[0].Begun
	fs.mu.Lock()
	log := bytes.Clone(fs.names[name].data)
	fs.mu.Unlock()
	for cut := range log {
		copied := newMemFS()
		for n, node := range fs.names {
			copied.names[n] = &memNode{data: bytes.Clone(node.data)}
		}
		copied.names[name].data = log[:cut:cut]
		want := uint32(0)
		for _, end := range whole {
			if int64(cut) >= end {
				want++
			}
		}
		o.FS = copied
		s := New(o)
		if int64(cut) < begun {
			if _, err := s.Open(context.Background(), "alice", "/mail"); imap.CodeOf(err) != imap.CodeUnavailable {
				t.Fatalf("cut at %d, where %d bytes were synced: %v", cut, begun, err)
			}
			continue
		}
		b := mustOpen(t, s, "/mail", owner)
		status, err := b.Status(context.Background(), "INBOX", imap.StatusMessages)
		if err != nil || status.Messages != want {
			t.Fatalf("cut at %d of %d: %d messages, want %d; %v", cut, len(log), status.Messages, want, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := check(copied, "/mail", t.Output()); err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
	}
}

// TestRotten flips each byte of the second of four messages' transactions, after
// which valid ones stand: that is no tear. The others are served, the file stays
// as it is.
func TestRotten(t *testing.T) {
	fs := newMemFS()
	o := testOptions(t)
	o.FS, o.Log = fs, nil
	a := mustOpen(t, New(o), "/mail", owner)
	var ends []int64
	for n := range 4 {
		mustAppend(t, a, "INBOX", n)
		ends = append(ends, a.writer.end)
	}
	name := "/mail/" + a.writer.name.String()
	for at := ends[0]; at < ends[1]; at++ {
		copied := newMemFS()
		for n, node := range fs.names {
			copied.names[n] = &memNode{data: bytes.Clone(node.data)}
		}
		copied.names[name].data[at] ^= 0x40
		o.FS = copied
		b := mustOpen(t, New(o), "/mail", owner)
		status, err := b.Status(context.Background(), "INBOX", imap.StatusMessages)
		if err != nil || status.Messages < 3 {
			t.Fatalf("byte %d: %d messages, %v", at, status.Messages, err)
		}
		for _, uid := range []imap.UID{1, 3, 4} {
			if err := fetchBody(b, uid); err != nil {
				t.Fatalf("byte %d: UID %d: %v", at, uid, err)
			}
		}
		if len(copied.names[name].data) != len(fs.names[name].data) {
			t.Fatal("the segment was cut")
		}
	}
}

func fetchBody(a *Session, uid imap.UID) error {
	m, err := a.Open(context.Background(), "INBOX", true)
	if err != nil {
		return err
	}
	defer m.Close() //nolint:errcheck // never fails
	found := false
	err = m.Fetch(context.Background(), imap.UIDRange(uid, uid), &imap.FetchItems{Sections: []imap.Section{{}}}, func(m *mailbox.Message) error {
		var b bytes.Buffer
		_, err := b.ReadFrom(m.Sections[0].Body)
		found = strings.Contains(b.String(), "This is number")
		return err
	})
	if err == nil && !found {
		err = fmt.Errorf("not found")
	}
	return err
}

// Flags are synced within the promised second without a client asking.
func TestFlagsAreSynced(t *testing.T) {
	fs := newMemFS()
	o := testOptions(t)
	o.FS = fs
	a := mustOpen(t, New(o), "/mail", owner)
	mustAppend(t, a, "INBOX", 1)
	m, err := a.Open(context.Background(), "INBOX", false)
	if err != nil {
		t.Fatal(err)
	}
	synced := make(chan struct{}, 1)
	fs.mu.Lock()
	fs.failOp = func(op, _ string) (int, error) {
		if op == "sync" {
			select {
			case synced <- struct{}{}:
			default:
			}
		}
		return 0, nil
	}
	fs.mu.Unlock()
	change := mailbox.FlagChange{Op: mailbox.FlagsAdd, Flags: []imap.Flag{imap.FlagFlagged}, Silent: true}
	if _, err := m.Store(context.Background(), imap.UIDRange(1, 1), change, nil); err != nil {
		t.Fatal(err)
	}
	select {
	case <-synced:
	case <-time.After(10 * time.Second):
		t.Error("no sync")
	}
}

func TestDumpAndCat(t *testing.T) {
	dir := t.TempDir()
	s := New(testOptions(t))
	a := mustOpen(t, s, dir, owner)
	mustAppend(t, a, "INBOX", 7, imap.FlagSeen)
	var out bytes.Buffer
	if err := Dump(dir, &out); err != nil || !strings.Contains(out.String(), "recMessage") || !strings.Contains(out.String(), `mailbox 1 "INBOX"`) {
		t.Errorf("dump: %v\n%s", err, out.String())
	}
	out.Reset()
	if err := Cat(dir, "INBOX", 1, &out); err != nil || out.String() != mail(7) {
		t.Errorf("cat: %v\n%s", err, out.String())
	}
	if err := Cat(dir, "INBOX", 2, &out); err == nil {
		t.Error("cat of a message that does not exist")
	}
	checkDir(t, dir) // while it is open
}

// A mailbox that is deleted while a fold is being written is still in the state
// that was folded, so its table has to stay.
func TestDeleteDuringFold(t *testing.T) {
	ctx := context.Background()
	fs := newMemFS()
	o := testOptions(t)
	o.FS = fs
	s := New(o)
	a := mustOpen(t, s, "/mail", owner)
	if err := a.Create(ctx, "Old"); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, a, "Old", 1)
	if err := a.fold(ctx); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, a, "INBOX", 2)
	a.disk.failPoint = func(step string) error {
		if step == "fold.snapshot" {
			return a.Delete(ctx, "Old")
		}
		return nil
	}
	if err := a.fold(ctx); err != nil {
		t.Fatal(err)
	}
	a.disk.failPoint = nil
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := check(fs, "/mail", t.Output()); err != nil {
		t.Error(err)
	}
}

// What a predecessor wrote and never synced may vanish after we read it: nothing
// of it may be counted on, its header included.
func TestPredecessorVanishes(t *testing.T) {
	ctx := context.Background()
	fs := newMemFS()
	o := testOptions(t)
	o.FS, o.Log = fs, nil
	s := New(o)
	mustAppend(t, mustOpen(t, s, "/mail", owner), "INBOX", 1)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(1, 1))
	a := mustOpen(t, New(o), "/mail", owner)
	m, err := a.Open(ctx, "INBOX", false)
	if err != nil {
		t.Fatal(err)
	}
	flag := mailbox.FlagChange{Op: mailbox.FlagsAdd, Flags: []imap.Flag{imap.FlagFlagged}, Silent: true}
	if _, err := m.Store(ctx, imap.UIDRange(1, 1), flag, nil); err != nil {
		t.Fatal(err)
	}
	fs.crash(rnd, false)
	want := contentsOf(t, mustOpen(t, New(o), "/mail", owner), "INBOX")
	fs.mu.Lock()
	for _, node := range fs.names {
		node.data = node.data[:len(node.synced)]
	}
	fs.mu.Unlock()
	fs.crash(rnd, true)
	if err := check(fs, "/mail", t.Output()); err != nil {
		t.Error(err)
	}
	if got := contentsOf(t, mustOpen(t, New(o), "/mail", owner), "INBOX"); got != want || !strings.Contains(got, "Flagged") {
		t.Errorf("got %s, want %s", got, want)
	}
}

// repeatedLink is a network filesystem that asks twice for each link, and hears of the second.
type repeatedLink struct{ *memFS }

func (f repeatedLink) Link(from, to string) error {
	return errors.Join(f.memFS.Link(from, to), f.memFS.Link(from, to))
}

// A link that was made, and is reported as being in the way of itself, is no other's manifest.
func TestLinkIsRepeated(t *testing.T) {
	o := testOptions(t)
	o.FS = repeatedLink{newMemFS()}
	s := New(o)
	a := mustOpen(t, s, "/mail", owner)
	mustAppend(t, a, "INBOX", 1)
	if err := a.fold(context.Background()); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
