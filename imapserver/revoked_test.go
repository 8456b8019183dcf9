package imapserver

import (
	"context"
	"sync"
	"testing"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/mailbox/mailboxmem"
)

// scripted is an Account whose open mailbox says what the test wants.
type scripted struct {
	mailbox.Account

	mu     sync.Mutex
	next   []mailbox.Changes // of the next Syncs
	info   func(*mailbox.Info)
	refuse error // of all commands
	notify func()
}

type scriptedBox struct {
	mailbox.Mailbox
	a *scripted
}

func (a *scripted) Open(ctx context.Context, name string, readOnly bool) (mailbox.Mailbox, error) {
	box, err := a.Account.Open(ctx, name, readOnly)
	return &scriptedBox{box, a}, err
}

// happen makes the next Sync report c, and wakes an IDLE.
func (a *scripted) happen(c mailbox.Changes, refuse error, info func(*mailbox.Info)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.next, a.refuse, a.info = append(a.next, c), refuse, info
	if a.notify != nil {
		a.notify()
	}
}

func (b *scriptedBox) Info() mailbox.Info {
	b.a.mu.Lock()
	defer b.a.mu.Unlock()
	info := b.Mailbox.Info()
	if b.a.info != nil {
		b.a.info(&info)
	}
	return info
}

func (b *scriptedBox) Sync(context.Context, bool) (mailbox.Changes, error) {
	b.a.mu.Lock()
	defer b.a.mu.Unlock()
	if len(b.a.next) == 0 {
		return mailbox.Changes{}, b.a.refuse
	}
	c := b.a.next[0]
	b.a.next = b.a.next[1:]
	return c, nil
}

func (b *scriptedBox) Watch(notify func()) (stop func()) {
	set := func(f func()) {
		b.a.mu.Lock()
		defer b.a.mu.Unlock()
		b.a.notify = f
	}
	set(notify)
	return func() { set(nil) }
}

func (b *scriptedBox) refusal() error {
	b.a.mu.Lock()
	defer b.a.mu.Unlock()
	return b.a.refuse
}

func (b *scriptedBox) Search(ctx context.Context, k *imap.SearchKey) (mailbox.Found, error) {
	if err := b.refusal(); err != nil {
		return mailbox.Found{}, err
	}
	return b.Mailbox.Search(ctx, k)
}

func (b *scriptedBox) Expunge(ctx context.Context, uids imap.UIDSet, all bool) error {
	if err := b.refusal(); err != nil {
		return err
	}
	return b.Mailbox.Expunge(ctx, uids, all)
}

func selectScripted(t *testing.T) (*scripted, *testConn) {
	a := &scripted{Account: mailboxmem.New("ann").As("ann", false)}
	ts := newTestServer(t, func(c *Config) {
		c.Log = logTo(t)
		c.Authenticator = authFunc(func(context.Context, *Client, Credentials) (*Login, error) {
			return &Login{User: "ann", Account: a}, nil
		})
	})
	c := dial(t, ts)
	_, _ = c.line()
	c.cmd("LOGIN ann secret")
	c.cmd("SELECT INBOX")
	return a, c
}

// wantLines compares lines with patterns.
func wantLines(t *testing.T, got []string, patterns ...string) {
	t.Helper()
	if len(got) != len(patterns) {
		t.Fatalf("got %q, want %q", got, patterns)
	}
	for i := range got {
		if !matches(patterns[i], got[i]) {
			t.Fatalf("got %q, want %q", got, patterns)
		}
	}
}

// Who loses the right to read hears of it once, also within IDLE; then the
// mailbox's refusals speak, and what needs no mailbox goes on.
func TestRevoked(t *testing.T) {
	a, c := selectScripted(t)
	c.send("a IDLE")
	_, _ = c.line()
	a.happen(mailbox.Changes{Revoked: true}, imap.NoPermission(), nil)
	line, _ := c.line()
	wantLines(t, []string{line}, "* NO [NOPERM] You may not read …")
	c.send("DONE")
	_, _ = c.line()
	wantLines(t, c.cmd("SEARCH ALL"), "t NO [NOPERM] Permission denied")
	wantLines(t, c.cmd("EXPUNGE"), "t NO [NOPERM] Permission denied")
	wantLines(t, c.cmd("NOOP"), "t OK …")
	wantLines(t, c.cmd("STATUS INBOX (MESSAGES)"), "* STATUS …", "t OK …")
	wantLines(t, c.cmd("CLOSE"), "t OK Close completed.")
}

// A backend that can't be reached: told once, CLOSE does not claim to have
// expunged, UNSELECT leaves.
func TestUnavailable(t *testing.T) {
	a, c := selectScripted(t)
	a.happen(mailbox.Changes{Unavailable: true}, imap.Errorf(imap.CodeUnavailable, "Mailbox can't be reached now"), nil)
	wantLines(t, c.cmd("NOOP"), "* NO [UNAVAILABLE] …", "t OK …")
	wantLines(t, c.cmd("NOOP"), "t OK …")
	wantLines(t, c.cmd("UID SEARCH ALL"), "t NO [UNAVAILABLE] Mailbox can't be reached now")
	wantLines(t, c.cmd("CLOSE"), "t NO [UNAVAILABLE] …")
	wantLines(t, c.cmd("UNSELECT"), "t OK …")
}

// Rights that change while r stays: the flags are told again (RFC 4314 section 5.1.1).
func TestRightsChange(t *testing.T) {
	a, c := selectScripted(t)
	readOnly := func(i *mailbox.Info) { i.ReadOnly, i.PermanentFlags = true, nil }
	seenOnly := func(i *mailbox.Info) { i.PermanentFlags = []imap.Flag{imap.FlagSeen} }
	a.happen(mailbox.Changes{FlagsChanged: true}, nil, readOnly)
	wantLines(t, c.cmd("NOOP"), "* FLAGS …", "* OK [PERMANENTFLAGS ()] …", "* OK [READ-ONLY] …", "t OK …")
	a.happen(mailbox.Changes{FlagsChanged: true}, nil, seenOnly)
	wantLines(t, c.cmd("NOOP"), "* FLAGS …", `* OK [PERMANENTFLAGS (\Seen)] …`, "* OK [READ-WRITE] …", "t OK …")
	a.happen(mailbox.Changes{FlagsChanged: true}, nil, nil)
	wantLines(t, c.cmd("NOOP"), "* FLAGS …", `* OK [PERMANENTFLAGS (\Answered …`, "t OK …")
}

// What an error carries for the log, and an error of an unknown kind, stay here.
func TestErrorsDoNotLeak(t *testing.T) {
	a, c := selectScripted(t)
	a.happen(mailbox.Changes{}, imap.Wrap(imap.CodeUnavailable, "Try again", context.DeadlineExceeded), nil)
	wantLines(t, c.cmd("SEARCH ALL"), "t NO [UNAVAILABLE] Try again")
	a.happen(mailbox.Changes{}, context.DeadlineExceeded, nil)
	wantLines(t, c.cmd("SEARCH ALL"), "t NO [SERVERBUG] Internal error, see the server's log")
	a.happen(mailbox.Changes{}, imap.Errorf(imap.CodeLimit, "two\r\nlines"), nil)
	wantLines(t, c.cmd("SEARCH ALL"), "t NO [LIMIT] two  lines")
}
