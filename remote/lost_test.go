package remote_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapclient"
	"github.com/roost-mail/roost/imapwire"
	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/remote"
)

const mail = "Subject: test\r\n\r\nHello\r\n"

// local is the owner's own session, at the backend itself.
func (b *backend) local() mailbox.Account { return b.mail.As(owner, false) }

func deliver(t *testing.T, a mailbox.Account, name string, n int) {
	t.Helper()
	for range n {
		m := &mailbox.NewMessage{Size: int64(len(mail)), Body: strings.NewReader(mail)}
		if _, err := a.Append(t.Context(), name, mailbox.One(m)); err != nil {
			t.Fatal(err)
		}
	}
}

func open(t *testing.T, a mailbox.Account, name string) mailbox.Mailbox {
	t.Helper()
	m, err := a.Open(t.Context(), name, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

func synced(t *testing.T, m mailbox.Mailbox) mailbox.Changes {
	t.Helper()
	c, err := m.Sync(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func wantCode(t *testing.T, err error, want imap.Code) {
	t.Helper()
	if err == nil || imap.CodeOf(err) != want {
		t.Fatalf("got %v, want %s", err, want)
	}
}

func TestNothingIsOpenedUnasked(t *testing.T) {
	b := newBackend(t)
	a := b.account("bob")
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if n := b.counters.Connections.Load(); n != 0 {
		t.Fatalf("%d connections", n)
	}
}

func TestRoundTrips(t *testing.T) {
	b := newBackend(t)
	deliver(t, b.local(), imap.Inbox, 3)
	a := b.account("bob")
	defer a.Close()
	count := func(what string, most int64, do func() error) {
		t.Helper()
		before := b.counters.RoundTrips.Load()
		if err := do(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if n := b.counters.RoundTrips.Load() - before; n > most {
			t.Errorf("%s: %d round trips, want %d", what, n, most)
		}
	}
	status := func() error {
		_, err := a.Status(t.Context(), imap.Inbox, imap.StatusMessages)
		return err
	}
	count("login and first command", 3, status)
	count("status", 1, status)
	var m mailbox.Mailbox
	count("open", 2, func() (err error) {
		m, err = a.Open(t.Context(), imap.Inbox, false)
		return err
	})
	defer m.Close()
	count("search", 1, func() error {
		_, err := m.Search(t.Context(), &imap.SearchKey{Op: imap.SearchAll})
		return err
	})
	count("store", 1, func() error {
		change := mailbox.FlagChange{Op: mailbox.FlagsAdd, Flags: []imap.Flag{imap.FlagSeen}, Silent: true}
		_, err := m.Store(t.Context(), imap.UIDRange(1, 3), change, nil)
		return err
	})
	count("quiet sync", 0, func() error {
		_, err := m.Sync(t.Context(), false)
		return err
	})
}

func TestLostConnectionIsMadeAgain(t *testing.T) {
	b := newBackend(t)
	home := b.local()
	deliver(t, home, imap.Inbox, 3)
	m := open(t, b.account(owner), imap.Inbox)
	b.cut(false)

	own := open(t, home, imap.Inbox)
	change := mailbox.FlagChange{Op: mailbox.FlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}, Silent: true}
	if _, err := own.Store(t.Context(), imap.UIDSetOf(1), change, nil); err != nil {
		t.Fatal(err)
	}
	if err := own.Expunge(t.Context(), nil, true); err != nil {
		t.Fatal(err)
	}
	change.Flags = []imap.Flag{imap.FlagFlagged}
	if _, err := own.Store(t.Context(), imap.UIDSetOf(3), change, nil); err != nil {
		t.Fatal(err)
	}
	deliver(t, home, imap.Inbox, 1)

	found, err := m.Search(t.Context(), &imap.SearchKey{Op: imap.SearchAll})
	if err != nil || found.UIDs.String() != "2:4" {
		t.Fatalf("search: got %s, %v", found.UIDs, err)
	}
	c := synced(t, m)
	if c.Vanished.String() != "1" || c.New.String() != "4" || len(c.Flags) != 1 || c.Flags[0].UID != 3 || c.Unavailable {
		t.Fatalf("got %+v", c)
	}
	if c := synced(t, m); !c.Empty() {
		t.Fatalf("told twice: %+v", c)
	}
}

// With QRESYNC the peer tells what has changed since the connection was lost, not
// all that there is.
func TestReselectAsksForWhatChanged(t *testing.T) {
	const all = 500 * len("* 100 FETCH (UID 100 FLAGS () MODSEQ (100))\r\n")
	for _, row := range []struct {
		name  string
		hides []string
		whole bool
	}{
		{"with QRESYNC", nil, false},
		{"without", []string{"QRESYNC"}, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBackend(t)
			b.hides = row.hides
			home := b.local()
			deliver(t, home, imap.Inbox, 500)
			m := open(t, b.account(owner), imap.Inbox)
			if c := synced(t, m); !c.Empty() {
				t.Fatalf("got %+v", c)
			}
			b.cut(false)
			own := open(t, home, imap.Inbox)
			change := mailbox.FlagChange{Op: mailbox.FlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}, Silent: true}
			if _, err := own.Store(t.Context(), imap.UIDSetOf(7, 400), change, nil); err != nil {
				t.Fatal(err)
			}
			if err := own.Expunge(t.Context(), imap.UIDSetOf(7), false); err != nil {
				t.Fatal(err)
			}
			deliver(t, home, imap.Inbox, 2)
			before := b.sent.Load()
			c := synced(t, m)
			if c.Vanished.String() != "7" || c.New.String() != "501:502" || len(c.Flags) != 1 || c.Flags[0].UID != 400 {
				t.Fatalf("got %+v", c)
			}
			if sent := b.sent.Load() - before; (sent > int64(all)/2) != row.whole {
				t.Errorf("%d bytes were sent", sent)
			}
			if uids := m.Info().UIDs.String(); uids != "1:6,8:502" {
				t.Errorf("left are %s", uids)
			}
		})
	}
}

func TestUnavailable(t *testing.T) {
	b := newBackend(t)
	deliver(t, b.local(), imap.Inbox, 1)
	a := b.account("bob")
	m := open(t, a, imap.Inbox)
	b.cut(true)

	if c := synced(t, m); !c.Unavailable {
		t.Fatalf("got %+v", c)
	}
	if c := synced(t, m); !c.Empty() {
		t.Fatalf("told twice: %+v", c)
	}
	_, err := m.Search(t.Context(), &imap.SearchKey{Op: imap.SearchAll})
	wantCode(t, err, imap.CodeUnavailable)
	_, err = a.Status(t.Context(), imap.Inbox, imap.StatusMessages)
	wantCode(t, err, imap.CodeUnavailable)
	if text := imap.AsError(err).Text; strings.Contains(text, "host") {
		t.Errorf("the client is told %q", text)
	}

	b.cut(false)
	deliver(t, b.local(), imap.Inbox, 1)
	for c := synced(t, m); c.New.String() != "2"; c = synced(t, m) {
		if !c.Empty() {
			t.Fatalf("got %+v", c)
		}
	}
}

func TestMadeAnewIsGone(t *testing.T) {
	b := newBackend(t)
	home := b.local()
	if err := home.Create(t.Context(), "Work"); err != nil {
		t.Fatal(err)
	}
	m := open(t, b.account("bob"), "Work")
	b.cut(false)
	if err := home.Delete(t.Context(), "Work"); err != nil {
		t.Fatal(err)
	}
	if err := home.Create(t.Context(), "Work"); err != nil {
		t.Fatal(err)
	}
	deliver(t, home, "Work", 1)
	if c := synced(t, m); !c.Gone || !c.New.Empty() {
		t.Fatalf("got %+v", c)
	}
	_, err := m.Search(t.Context(), &imap.SearchKey{Op: imap.SearchAll})
	wantCode(t, err, imap.CodeNonExistent)
}

// Whose rights are taken away while there is no connection hears that, and from a peer that does
// not tell the two apart that the mailbox is gone.
func TestRevokedWithoutConnection(t *testing.T) {
	for _, row := range []struct {
		name, hides string
		deleted     bool
		want        imap.Code
	}{
		{"revoked", "", false, imap.CodeNoPerm},
		{"deleted too", "", true, imap.CodeNonExistent},
		{"a peer that does not tell", imapwire.SelectKnown, false, imap.CodeNonExistent},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBackend(t)
			b.guarded, b.hides = true, []string{row.hides}
			home := guard(b.mail, owner)
			grant := func(r imap.Rights) {
				t.Helper()
				if err := home.(mailbox.ACL).SetACL(t.Context(), "Work", "bob", imap.ACLReplace, r); err != nil {
					t.Fatal(err)
				}
			}
			if err := home.Create(t.Context(), "Work"); err != nil {
				t.Fatal(err)
			}
			grant(imap.AllRights)
			m := open(t, b.account("bob"), "Work")
			b.cut(false)
			grant(0)
			if row.deleted {
				if err := home.Delete(t.Context(), "Work"); err != nil {
					t.Fatal(err)
				}
			}
			if c := synced(t, m); c.Revoked != (row.want == imap.CodeNoPerm) || c.Gone == c.Revoked {
				t.Errorf("%+v", c)
			}
			_, err := m.Search(t.Context(), &imap.SearchKey{Op: imap.SearchAll})
			wantCode(t, err, row.want)
		})
	}
}

// An APPEND whose answer was lost may have worked: it is not sent again.
func TestAppendIsNotRepeated(t *testing.T) {
	b := newBackend(t)
	a := b.account("bob")
	calls := 0
	_, err := a.Append(t.Context(), imap.Inbox, func() (*mailbox.NewMessage, error) {
		if calls++; calls > 1 {
			return nil, io.EOF
		}
		body := io.MultiReader(strings.NewReader(mail), cutReader{b})
		return &mailbox.NewMessage{Size: int64(len(mail)) + 1, Body: body}, nil
	})
	wantCode(t, err, imap.CodeUnavailable)
	s, err := b.local().Status(t.Context(), imap.Inbox, imap.StatusMessages)
	if err != nil || s.Messages != 0 {
		t.Fatalf("got %+v, %v", s, err)
	}
	deliver(t, a, imap.Inbox, 1)
}

// cutReader ends all connections when it is read from.
type cutReader struct{ b *backend }

func (r cutReader) Read(p []byte) (int, error) {
	r.b.cut(false)
	p[0] = '.'
	return 1, nil
}

func TestWatchOutlivesTheConnection(t *testing.T) {
	b := newBackend(t)
	m := open(t, b.account("bob"), imap.Inbox)
	heard := make(chan struct{}, 1)
	stop := m.Watch(func() {
		select {
		case heard <- struct{}{}:
		default:
		}
	})
	defer stop()
	await := func(news func(mailbox.Changes) bool) {
		t.Helper()
		for {
			select {
			case <-heard:
			case <-time.After(20 * time.Second):
				t.Fatal("nothing heard")
			}
			c, err := m.Sync(t.Context(), false)
			if err != nil {
				t.Fatal(err)
			}
			if news(c) {
				return
			}
		}
	}
	b.cut(true)
	await(func(c mailbox.Changes) bool { return c.Unavailable })
	deliver(t, b.local(), imap.Inbox, 1)
	b.cut(false)
	await(func(c mailbox.Changes) bool { return c.New.String() == "1" })
}

func TestRefusedLogin(t *testing.T) {
	b := newBackend(t)
	refused := func(password string) error {
		a := remote.New(remote.Config{Dial: b.dial, Owner: owner, Acting: "bob", Password: password})
		defer a.Close()
		_, err := a.Open(t.Context(), imap.Inbox, false)
		return err
	}
	wantCode(t, refused("wrong"), imap.CodeUnavailable) // mail must not seem to be gone

	slow := remote.New(remote.Config{
		Dial: func(ctx context.Context) (*imapclient.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		},
		Owner: owner, ConnectTimeout: time.Millisecond,
	})
	_, err := slow.List(t.Context(), []string{"*"})
	wantCode(t, err, imap.CodeUnavailable)
}

// A peer without AUTH=PLAIN would log the acting user in as the owner, if it
// were given LOGIN.
func TestActingUserIsNeverLeftOut(t *testing.T) {
	b := newBackend(t)
	b.hides = []string{"AUTH=PLAIN"}
	a := b.account("bob")
	_, err := a.List(t.Context(), []string{"*"})
	wantCode(t, err, imap.CodeUnavailable)
	if !errors.Is(err, imapclient.ErrNoPlain) {
		t.Fatalf("got %v", err)
	}
}

// A server without CONDSTORE: the mailbox has no modification sequences, and a
// condition is not taken for none.
func TestNoModSeq(t *testing.T) {
	b := newBackend(t)
	b.hides = []string{"CONDSTORE", "QRESYNC"}
	deliver(t, b.local(), imap.Inbox, 2)
	m := open(t, b.account(owner), imap.Inbox)
	if got := m.Info().HighestModSeq; got != 0 {
		t.Errorf("HIGHESTMODSEQ is %d", got)
	}
	since := imap.ModSeq(1 << 62)
	change := mailbox.FlagChange{Op: mailbox.FlagsAdd, Flags: []imap.Flag{imap.FlagSeen}, UnchangedSince: &since}
	_, err := m.Store(t.Context(), imap.UIDSetOf(1), change, func(*mailbox.Message) error { return nil })
	wantCode(t, err, imap.CodeCannot)
	if c := synced(t, m); !c.Empty() || c.HighestModSeq != 0 {
		t.Errorf("got %+v", c)
	}
}

// That there is no such owner is answered again and again without waiting, and the
// peer is not asked each time: a name that leads nowhere takes no longer than others.
func TestNoSuchOwner(t *testing.T) {
	b := newBackend(t)
	a := remote.New(remote.Config{Dial: b.dial, Owner: "nobody", Acting: "bob", Password: "secret"})
	defer a.Close()
	const times = 20
	for range times {
		_, err := a.Open(t.Context(), imap.Inbox, false)
		wantCode(t, err, imap.CodeNonExistent)
		_, err = a.List(t.Context(), []string{"*"})
		wantCode(t, err, imap.CodeNonExistent)
	}
	// Those that are opened have a connection each; the one for all else has one.
	if n := b.counters.Connections.Load(); n > times+times/2 {
		t.Errorf("%d connections for %d questions", n, 2*times)
	}
}

// cancelling is a log that cancels when a certain line comes.
type cancelling struct {
	slog.Handler
	at     string
	cancel context.CancelFunc
}

func (h cancelling) Enabled(context.Context, slog.Level) bool { return true }

func (h cancelling) Handle(_ context.Context, r slog.Record) error {
	if r.Message == h.at {
		h.cancel()
	}
	return nil
}

// Who gives up in the moment in which a connection is made leaves one that can be used.
func TestGivenUpWhenConnected(t *testing.T) {
	b := newBackend(t)
	ctx, cancel := context.WithCancel(t.Context())
	log := slog.New(cancelling{slog.DiscardHandler, "back session", cancel})
	a := remote.New(remote.Config{Dial: b.dial, Owner: owner, Acting: "bob", Password: "secret", Log: log})
	defer a.Close()
	_, _ = a.List(ctx, []string{"*"}) // either answer is true
	if ctx.Err() == nil {
		t.Fatal("the connection was not logged")
	}
	if _, err := a.List(t.Context(), []string{"*"}); err != nil {
		t.Error(err)
	}
}
