package moving_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/mailbox/mailboxmem"
	"github.com/roost-mail/roost/moving"
)

// place is one of the places; while it is away, whatever is asked of it fails.
type place struct {
	moving.Home
	away *atomic.Bool
	used *atomic.Int32 // commands that it was asked
}

var errAway = imap.Errorf(imap.CodeUnavailable, "Not here")

func (p place) ask() error {
	p.used.Add(1)
	if p.away.Load() {
		return errAway
	}
	return nil
}

func (p place) Status(ctx context.Context, name string, items imap.StatusItems) (imap.Status, error) {
	if err := p.ask(); err != nil {
		return imap.Status{}, err
	}
	return p.Home.Status(ctx, name, items)
}

func (p place) Open(ctx context.Context, name string, readOnly bool) (mailbox.Mailbox, error) {
	if err := p.ask(); err != nil {
		return nil, err
	}
	m, err := p.Home.Open(ctx, name, readOnly)
	if err != nil {
		return nil, err
	}
	return placed{m, p}, nil
}

// placed is a mailbox there.
type placed struct {
	mailbox.Mailbox
	at place
}

func (m placed) Search(ctx context.Context, program *imap.SearchKey) (mailbox.Found, error) {
	if err := m.at.ask(); err != nil {
		return mailbox.Found{}, err
	}
	return m.Mailbox.Search(ctx, program)
}

func (m placed) Sync(ctx context.Context, fresh bool) (mailbox.Changes, error) {
	if m.at.ask() != nil {
		return mailbox.Changes{Unavailable: true}, nil
	}
	return m.Mailbox.Sync(ctx, fresh)
}

// leaving is ann's mail, which leaves.
type leaving struct {
	mail                *mailboxmem.Mail
	held                atomic.Bool // as far as this backend knows
	here, there         atomic.Bool // away from
	usedHere, usedThere atomic.Int32
}

func newLeaving() *leaving {
	l := &leaving{mail: mailboxmem.New(owner)}
	l.held.Store(true)
	return l
}

func (l *leaving) account() *moving.Account {
	return moving.New(moving.Config{
		Owner: owner, Log: slog.New(slog.DiscardHandler), Here: l.held.Load,
		Open: func(context.Context) (moving.Home, error) {
			return place{guard(l.mail, owner), &l.here, &l.usedHere}, nil
		},
		Elsewhere: func() moving.Home { return place{guard(l.mail, owner), &l.there, &l.usedThere} },
		Arrived:   func(err error) error { return err },
	})
}

func (l *leaving) deliver(t *testing.T) {
	t.Helper()
	const text = "Subject: test\r\n\r\n"
	m := &mailbox.NewMessage{Size: int64(len(text)), Body: strings.NewReader(text)}
	if _, err := l.mail.As(owner, false).Append(t.Context(), imap.Inbox, mailbox.One(m)); err != nil {
		t.Fatal(err)
	}
}

// A command that finds the mail gone fails, once; the next is done where it is now.
func TestLeavesDuringCommands(t *testing.T) {
	l := newLeaving()
	a := l.account()
	defer a.Close()
	m, err := a.Open(t.Context(), imap.Inbox, false)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	l.here.Store(true)
	all := &imap.SearchKey{Op: imap.SearchAll}
	if _, err := m.Search(t.Context(), all); imap.CodeOf(err) != imap.CodeUnavailable {
		t.Errorf("search: %v", err)
	}
	if _, err := a.Status(t.Context(), imap.Inbox, imap.StatusMessages); imap.CodeOf(err) != imap.CodeUnavailable {
		t.Errorf("status: %v", err)
	}
	l.held.Store(false)
	before := l.usedHere.Load()
	if _, err := m.Search(t.Context(), all); err != nil {
		t.Errorf("search: %v", err)
	}
	if _, err := a.Status(t.Context(), imap.Inbox, imap.StatusMessages); err != nil {
		t.Errorf("status: %v", err)
	}
	if l.usedHere.Load() != before || l.usedThere.Load() == 0 {
		t.Error("what has left was asked")
	}
	l.here.Store(false)
	l.held.Store(true)
	before = l.usedThere.Load()
	if _, err := a.Status(t.Context(), imap.Inbox, imap.StatusMessages); err != nil || l.usedThere.Load() != before {
		t.Errorf("status did not come back: %v", err)
	}
}

// During a Watch the mailbox goes along: while nobody has the mail that is told once,
// and when somebody has it, what happened meanwhile.
func TestLeavesDuringWatch(t *testing.T) {
	l := newLeaving()
	a := l.account()
	defer a.Close()
	m, err := a.Open(t.Context(), imap.Inbox, false)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	woken := make(chan struct{}, 1)
	stop := m.Watch(func() {
		select {
		case woken <- struct{}{}:
		default:
		}
	})
	defer stop()
	l.held.Store(false)
	l.there.Store(true)
	l.deliver(t)
	<-woken // by the mailbox that has left
	for round, want := range []bool{true, false} {
		if c, err := m.Sync(t.Context(), false); err != nil || c.Unavailable != want || !c.New.Empty() {
			t.Errorf("round %d: %+v, %v", round, c, err)
		}
	}
	l.there.Store(false)
	<-woken // to try again
	c, err := m.Sync(t.Context(), false)
	if err != nil || c.New.String() != "1" || c.Unavailable {
		t.Errorf("after the move: %+v, %v", c, err)
	}
	for len(woken) > 0 {
		<-woken
	}
	l.deliver(t)
	<-woken // by the mailbox where it is now
	if c, err := m.Sync(t.Context(), false); err != nil || c.New.String() != "2" {
		t.Errorf("later: %+v, %v", c, err)
	}
}

// A mailbox that another has taken the name of is gone.
func TestAnotherHasItsName(t *testing.T) {
	l := newLeaving()
	a := l.account()
	defer a.Close()
	plain := l.mail.As(owner, false)
	if err := plain.Create(t.Context(), "Work"); err != nil {
		t.Fatal(err)
	}
	m, err := a.Open(t.Context(), "Work", false)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	l.held.Store(false)
	if err := plain.Delete(t.Context(), "Work"); err != nil {
		t.Fatal(err)
	}
	if err := plain.Create(t.Context(), "Work"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []bool{true, false} {
		if c, err := m.Sync(t.Context(), true); err != nil || c.Gone != want {
			t.Errorf("sync: %+v, %v", c, err)
		}
	}
	if err := m.Expunge(t.Context(), nil, true); imap.CodeOf(err) != imap.CodeNonExistent {
		t.Errorf("expunge: %v", err)
	}
}

// Whose right is taken away while the mail leaves hears that, and not that the mailbox is gone: in
// a Watch, too. If the right is given back, all goes on; and what is gone is.
func TestTakenAwayWhileItLeaves(t *testing.T) {
	mail := mailboxmem.New(owner)
	home := guard(mail, owner)
	var here atomic.Bool
	here.Store(true)
	a := account(mail, "bob", here.Load)
	defer a.Close()
	rights := func(r imap.Rights) {
		t.Helper()
		if err := home.SetACL(t.Context(), "Work", "bob", imap.ACLReplace, r); err != nil {
			t.Fatal(err)
		}
	}
	if err := home.Create(t.Context(), "Work"); err != nil {
		t.Fatal(err)
	}
	rights(imap.AllRights)
	m, err := a.Open(t.Context(), "Work", false)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	search := func(want imap.Code) {
		t.Helper()
		if _, err := m.Search(t.Context(), &imap.SearchKey{}); err != nil && want == "" || imap.CodeOf(err) != want {
			t.Errorf("search: %v, want %q", err, want)
		}
	}
	woken := make(chan struct{}, 100)
	stop := m.Watch(func() { woken <- struct{}{} })
	here.Store(false)
	rights(0)
	<-woken
	for _, want := range []bool{true, false} {
		if c, err := m.Sync(t.Context(), false); err != nil || c.Revoked != want || c.Gone {
			t.Errorf("sync: %+v, %v", c, err)
		}
	}
	stop()
	search(imap.CodeNoPerm)
	if _, err := a.Open(t.Context(), "Work", false); imap.CodeOf(err) != imap.CodeNonExistent {
		t.Errorf("open: %v", err)
	}
	for range 2 {
		here.Store(true)
		rights(imap.AllRights)
		search("")
		here.Store(false)
		rights(0)
		if c, err := m.Sync(t.Context(), false); err != nil || !c.Revoked {
			t.Errorf("sync after it was given back: %+v, %v", c, err)
		}
	}
	rights(imap.AllRights)
	search("")
	here.Store(true)
	if err := home.Delete(t.Context(), "Work"); err != nil {
		t.Fatal(err)
	}
	search(imap.CodeNonExistent)
}

// Who observes goes along too.
func TestLeavesWhileObserved(t *testing.T) {
	l := newLeaving()
	a := l.account()
	defer a.Close()
	woken := make(chan struct{}, 100)
	stop, err := a.Observe(t.Context(), nil, func() { woken <- struct{}{} })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	count := func() uint32 {
		t.Helper()
		all, err := a.Overview(t.Context())
		if err != nil || len(all) != 1 {
			t.Fatalf("overview %+v, %v", all, err)
		}
		return all[0].Status.Messages
	}
	if n := count(); n != 0 {
		t.Errorf("%d messages", n)
	}
	l.held.Store(false)
	count()
	l.deliver(t)
	<-woken
	if n := count(); n != 1 {
		t.Errorf("%d messages after the move", n)
	}
}

// observing notes whether an Observe may take its time.
type observing struct {
	moving.Home
	waits *bool
}

func (o observing) Observe(ctx context.Context, below []string, notify func()) (func(), error) {
	*o.waits = ctx.Err() == nil
	return o.Home.Observe(ctx, below, notify)
}

// What is told first is that of where the mail is then, since later news are compared with it; a
// move after that waits for nothing.
func TestLeavesBeforeAnythingIsTold(t *testing.T) {
	for _, told := range []bool{false, true} {
		mail, here, waits := mailboxmem.New(owner), true, false
		a := moving.New(moving.Config{
			Owner: owner, Log: slog.New(slog.DiscardHandler), Here: func() bool { return here },
			Open:      func(context.Context) (moving.Home, error) { return guard(mail, owner), nil },
			Elsewhere: func() moving.Home { return observing{guard(mail, owner), &waits} },
			Arrived:   func(err error) error { return err },
		})
		stop, err := a.Observe(t.Context(), nil, func() {})
		if err != nil {
			t.Fatal(err)
		}
		if told {
			_, err = a.Overview(t.Context())
		}
		here = false
		all, overviewErr := a.Overview(t.Context())
		if err = errors.Join(err, overviewErr); err != nil || len(all) != 1 || waits == told {
			t.Errorf("told before: %v: %+v, waits: %v, %v", told, all, waits, err)
		}
		stop()
		_ = a.Close()
	}
}
