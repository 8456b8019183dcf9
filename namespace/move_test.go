package namespace_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roost-mail/roost/acl"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/mailbox/mailboxmem"
	"github.com/roost-mail/roost/namespace"
)

// life is that of a process: it ends at a step, before it is done or behind it.
type life struct {
	steps  int // done
	last   int // the step at which it ends; 0: never
	behind bool
}

var errDead = imap.Wrap(imap.CodeUnavailable, "Away", fmt.Errorf("the process has ended"))

// step does one, if there is life.
func (l *life) step(do func() error) error {
	if l.steps++; l.last > 0 && (l.steps > l.last || l.steps == l.last && !l.behind) {
		return errDead
	}
	err := do()
	if l.steps == l.last {
		return errDead
	}
	return err
}

// mortal is an Account that a process has.
type mortal struct {
	mailbox.Complete
	life *life
}

func (a mortal) Status(ctx context.Context, name string, items imap.StatusItems) (s imap.Status, err error) {
	err = a.life.step(func() error { s, err = a.Complete.Status(ctx, name, items); return err })
	return s, err
}

func (a mortal) Append(ctx context.Context, name string, next mailbox.NextMessage) (data imap.AppendData, err error) {
	err = a.life.step(func() error { data, err = a.Complete.Append(ctx, name, next); return err })
	return data, err
}

func (a mortal) Open(ctx context.Context, name string, readOnly bool) (m mailbox.Mailbox, err error) {
	err = a.life.step(func() error { m, err = a.Complete.Open(ctx, name, readOnly); return err })
	return mortalBox{m, a.life}, err
}

func (a mortal) GetMetadata(ctx context.Context, name string, q *imap.MetadataQuery) (imap.MetadataFound, error) {
	return a.Complete.GetMetadata(ctx, name, q)
}

func (a mortal) SetMetadata(ctx context.Context, name string, entries []imap.MetadataEntry) error {
	return a.life.step(func() error { return a.Complete.SetMetadata(ctx, name, entries) })
}

type mortalBox struct {
	mailbox.Mailbox
	life *life
}

func (m mortalBox) Fetch(ctx context.Context, uids imap.UIDSet, items *imap.FetchItems, emit func(*mailbox.Message) error) error {
	return m.life.step(func() error { return m.Mailbox.Fetch(ctx, uids, items, emit) })
}

func (m mortalBox) Store(ctx context.Context, uids imap.UIDSet, change mailbox.FlagChange, emit func(*mailbox.Message) error) (mod imap.UIDSet, err error) {
	err = m.life.step(func() error { mod, err = m.Mailbox.Store(ctx, uids, change, emit); return err })
	return mod, err
}

func (m mortalBox) Expunge(ctx context.Context, uids imap.UIDSet, all bool) error {
	return m.life.step(func() error { return m.Mailbox.Expunge(ctx, uids, all) })
}

// moveWorld is the mail of three users.
type moveWorld map[string]*mailboxmem.Mail

func newMoveWorld(t *testing.T) moveWorld {
	t.Helper()
	w := moveWorld{}
	for _, owner := range []string{"ann", "bob", "carl"} {
		w[owner] = mailboxmem.New(owner)
		for i := range 3 {
			text := fmt.Sprintf("Subject: %s%d\r\n\r\n", owner, i)
			m := &mailbox.NewMessage{Size: int64(len(text)), Body: strings.NewReader(text), EmailID: imap.ObjectID(fmt.Sprintf("M%s%d", owner, i))}
			if _, err := w[owner].As(owner, false).Append(t.Context(), imap.Inbox, mailbox.One(m)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return w
}

// all is an owner's mail, with which bob may do all.
func (w moveWorld) all(owner string) mailbox.Complete {
	home := w[owner].As("bob", false).(acl.Home)
	return struct {
		acl.Home
		mailbox.ACL
	}{home, nil}
}

// process is bob's session in a new process.
func (w moveWorld) process(l *life) *namespace.Tree {
	return namespace.New(namespace.Config{
		User: "bob", Own: mortal{w.all("bob"), l}, Moves: namespace.NewMoves(), Log: slog.New(slog.DiscardHandler),
		Shared: []namespace.Shared{{
			Root: "shared/",
			Match: func(name string) (owner, rest string, ok bool) {
				owner, rest, _ = strings.Cut(strings.TrimPrefix(name, "shared/"), "/")
				return owner, rest, true
			},
			Prefix: func(owner string) string { return "shared/" + owner + "/" },
			Open:   func(owner string) mailbox.Complete { return mortal{w.all(owner), l} },
		}},
	})
}

// move has bob move messages in a process that may not live to its end.
func (w moveWorld) move(t *testing.T, l *life, from, to string) error {
	t.Helper()
	tree := w.process(l)
	m, err := tree.Open(t.Context(), from, false)
	if err != nil {
		return err
	}
	_, err = m.Move(t.Context(), imap.UIDSetOf(1, 3), to)
	return err
}

// subjects are those of all messages in both mailboxes, sorted.
func (w moveWorld) subjects(t *testing.T, boxes ...string) []string {
	t.Helper()
	var all []string
	for _, name := range boxes {
		m, err := w.process(&life{}).Open(t.Context(), name, false)
		if err != nil {
			t.Fatal(err)
		}
		err = m.Fetch(t.Context(), m.Info().UIDs, &imap.FetchItems{EmailID: true}, func(m *mailbox.Message) error {
			all = append(all, string(m.EmailID))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(all)
	return all
}

// Wherever a process ends within a MOVE between two homes, the next one finds
// each message in one of them, and after it was opened in no more than one.
func TestMoveIsFinished(t *testing.T) {
	for _, row := range [][2]string{{"INBOX", "shared/ann"}, {"shared/ann", "INBOX"}, {"shared/ann", "shared/carl"}} {
		from, to := row[0], row[1]
		t.Run(from+" to "+to, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				whole := &life{}
				w := newMoveWorld(t)
				want := w.subjects(t, from, to)
				if err := w.move(t, whole, from, to); err != nil {
					t.Fatal(err)
				}
				for last := 1; last <= whole.steps; last++ {
					for _, behind := range []bool{false, true} {
						w := newMoveWorld(t)
						err := w.move(t, &life{last: last, behind: behind}, from, to)
						if got := w.unfinished(t); len(slices.Compact(got)) != 9 {
							t.Fatalf("after step %d (behind: %t, %v) there are %q", last, behind, err, got)
						}
						// Either mailbox leads to it.
						if got := w.subjects(t, row[last%2], row[1-last%2]); !slices.Equal(got, want) {
							t.Errorf("after step %d (behind: %t, %v) and its end there are %q", last, behind, err, got)
						}
						time.Sleep(time.Hour)
						w.subjects(t, from, to)
						if left := w.intents(t); left != 0 {
							t.Errorf("after step %d (behind: %t, %v) %d intents stay", last, behind, err, left)
						}
					}
				}
			})
		})
	}
}

// unfinished are all messages there are, before anybody looks.
func (w moveWorld) unfinished(t *testing.T) []string {
	t.Helper()
	var all []string
	for owner, mail := range w {
		m, err := mail.As(owner, false).Open(t.Context(), imap.Inbox, true)
		if err != nil {
			t.Fatal(err)
		}
		_ = m.Fetch(t.Context(), m.Info().UIDs, &imap.FetchItems{EmailID: true}, func(m *mailbox.Message) error {
			all = append(all, string(m.EmailID))
			return nil
		})
	}
	slices.Sort(all)
	return all
}

func (w moveWorld) intents(t *testing.T) int {
	t.Helper()
	q := &imap.MetadataQuery{Names: []string{"/private/vendor"}, Depth: imap.MetadataDepthAll, MaxSize: -1}
	found, err := w["bob"].As("bob", false).(mailbox.Metadata).GetMetadata(t.Context(), "", q)
	if err != nil {
		t.Fatal(err)
	}
	return len(found.Entries)
}

// What was written down is nobody's to see or to change, and a move that runs is
// not finished by another session.
func TestMoveIsWrittenDown(t *testing.T) {
	w := newMoveWorld(t)
	l := &life{last: 6} // at the copy
	if err := w.move(t, l, "INBOX", "shared/ann"); err == nil {
		t.Fatal("it did not end")
	}
	if w.intents(t) != 1 {
		t.Fatal("nothing was written down")
	}
	tree := w.process(&life{})
	all := &imap.MetadataQuery{Names: []string{"/private"}, Depth: imap.MetadataDepthAll, MaxSize: -1}
	found, err := tree.GetMetadata(t.Context(), "", all)
	if err != nil || len(found.Entries) != 0 {
		t.Errorf("a client sees %v, %v", found, err)
	}
	err = tree.SetMetadata(t.Context(), "", []imap.MetadataEntry{{Name: "/private/vendor/roost/move/x", Value: []byte("{}")}})
	if imap.CodeOf(err) != imap.CodeNoPerm {
		t.Errorf("a client writes: %v", err)
	}
}
