package store

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// follower keeps what a session knows of a mailbox, and checks that what Sync
// tells fits it.
type follower struct {
	t      *testing.T
	m      mailbox.Mailbox
	told   imap.UIDSet
	modseq imap.ModSeq
}

func (f *follower) sync() {
	c, err := f.m.Sync(context.Background(), true)
	if err != nil {
		f.t.Error(err)
		return
	}
	if got := f.told.Intersect(c.Vanished); got.Len() != c.Vanished.Len() {
		f.t.Errorf("vanished %s, but only %s were told", c.Vanished, got)
	}
	if !c.New.Empty() && c.New.Min() <= f.told.Max() {
		f.t.Errorf("new %s after %s", c.New, f.told)
	}
	if c.HighestModSeq < f.modseq {
		f.t.Errorf("HIGHESTMODSEQ fell from %d to %d", f.modseq, c.HighestModSeq)
	}
	for _, m := range c.Flags {
		if !f.told.Contains(m.UID) || m.ModSeq > c.HighestModSeq {
			f.t.Errorf("flags of %d with modseq %d of %d; told are %s", m.UID, m.ModSeq, c.HighestModSeq, f.told)
		}
	}
	f.told, f.modseq = f.told.Minus(c.Vanished).Union(c.New), c.HighestModSeq
}

// TestConcurrent has sessions of the owner and of readers change two mailboxes
// at once, with the log being folded and rolled over meanwhile.
func TestConcurrent(t *testing.T) {
	dir := t.TempDir()
	o := testOptions(t)
	o.limits = limits{segment: 64 << 10, foldBytes: 32 << 10, foldRecords: 40}
	s := New(o)
	first := mustOpen(t, s, dir, owner)
	if err := first.Create(context.Background(), "Other"); err != nil {
		t.Fatal(err)
	}
	rounds := 150
	if testing.Short() {
		rounds = 40
	}
	var wg sync.WaitGroup
	for worker := range 8 {
		v := View{Acting: []string{"alice", "bob", "carol"}[worker%3], PrivateSeen: true}
		a := mustOpen(t, s, dir, v)
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(worker), 4))
			name, other := "INBOX", "Other"
			if worker%2 == 1 {
				name, other = other, name
			}
			work(t, a, rnd, name, other, rounds)
		})
	}
	wg.Wait()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	checkDir(t, dir)
}

func work(t *testing.T, a *Session, rnd *rand.Rand, name, other string, rounds int) {
	ctx := context.Background()
	m, err := a.Open(ctx, name, false)
	if err != nil {
		t.Error(err)
		return
	}
	defer m.Close() //nolint:errcheck // never fails
	f := &follower{t: t, m: m, told: m.Info().UIDs, modseq: m.Info().HighestModSeq}
	woken := make(chan struct{}, 1)
	stop := m.Watch(func() {
		select {
		case woken <- struct{}{}:
		default:
		}
	})
	defer stop()
	for i := range rounds {
		select {
		case <-woken:
			f.sync()
		default:
		}
		uid := f.told.Max() - min(f.told.Max(), imap.UID(rnd.IntN(8)))
		if err := workStep(ctx, a, m, rnd, i, name, other, imap.UIDRange(uid, uid+2)); err != nil {
			t.Error(err)
		}
	}
	f.sync()
}

func workStep(ctx context.Context, a *Session, m mailbox.Mailbox, rnd *rand.Rand, n int, name, other string, uids imap.UIDSet) error {
	flags := []imap.Flag{imap.FlagSeen, imap.FlagDeleted, imap.FlagFlagged, imap.Flag(fmt.Sprint("key", n%5))}
	switch rnd.IntN(7) {
	case 0, 1:
		_, err := a.Append(ctx, name, newMail(n))
		return err
	case 2:
		change := mailbox.FlagChange{Op: mailbox.FlagOp(rnd.IntN(3)), Flags: flags[rnd.IntN(4):][:1]}
		_, err := m.Store(ctx, uids, change, func(*mailbox.Message) error { return nil })
		return err
	case 3:
		return m.Expunge(ctx, uids, rnd.IntN(2) == 0)
	case 4:
		_, err := m.Copy(ctx, uids, other)
		return err
	case 5:
		_, err := m.Move(ctx, uids, other)
		return err
	}
	items := &imap.FetchItems{Envelope: true, MarkSeen: true, Sections: []imap.Section{{}}}
	return m.Fetch(ctx, uids, items, func(*mailbox.Message) error { return nil })
}

// Of conditional stores that come at once one wins: each sees what those before it did.
func TestConditionalStoresAtOnce(t *testing.T) {
	ctx := context.Background()
	s := New(testOptions(t))
	a := mustOpen(t, s, t.TempDir(), owner)
	mustAppend(t, a, "INBOX", 1)
	m, err := a.Open(ctx, "INBOX", false)
	if err != nil {
		t.Fatal(err)
	}
	const writers = 8
	since := m.Info().HighestModSeq
	lost := make(chan int, writers)
	queued, release := standstill(t, a)
	for n := range writers {
		go func() {
			change := mailbox.FlagChange{Op: mailbox.FlagsAdd, Flags: []imap.Flag{imap.Flag(fmt.Sprint("k", n))}, Silent: true, UnchangedSince: &since}
			modified, err := m.Store(ctx, imap.UIDRange(1, 1), change, nil)
			if err != nil {
				t.Error(err)
			}
			lost <- len(modified)
		}()
	}
	queued(writers)
	release()
	total := 0
	for range writers {
		total += <-lost
	}
	if total != writers-1 {
		t.Errorf("%d of %d stores were refused", total, writers)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
