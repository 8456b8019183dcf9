package imapserver

import (
	"context"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/roost-mail/roost/idle"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/mailbox/mailboxmem"
)

// testServer is a server for the mail of ann, in memory. Everybody's password
// is "secret"; whoever logs in acts on ann's mail. "nobody" is refused.
type testServer struct {
	rawIn, rawOut io.WriteCloser // of every login

	*Server
	addr string
	mail *mailboxmem.Mail
	acls *testACLs
}

// testTimeout ends a test that hangs; no test depends on its length.
const testTimeout = 30 * time.Second

func newTestServer(t testing.TB, adjust func(*Config)) *testServer {
	t.Helper()
	ts := &testServer{mail: mailboxmem.New("ann"), acls: &testACLs{entries: map[string][]imap.ACLEntry{}}}
	poller, err := idle.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = poller.Close() })
	cfg := Config{Authenticator: ts, QuietTime: time.Millisecond, Poller: poller} // so that sessions are parked all the time
	if adjust != nil {
		adjust(&cfg)
	}
	ts.Server = New(cfg)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ts.addr = ln.Addr().String()
	served := make(chan error, 1)
	go func() { served <- ts.Serve(context.Background(), ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
		defer cancel()
		if err := ts.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-served; err != ErrClosed {
			t.Errorf("serve: %v", err)
		}
	})
	return ts
}

func (ts *testServer) Login(_ context.Context, _ *Client, cred Credentials) (*Login, error) {
	if cred.Password != "secret" || cred.AuthID == "nobody" {
		return nil, imap.Errorf(imap.CodeAuthenticationFailed, "Authentication failed.")
	}
	login := &Login{User: cred.AuthzID, Acting: cred.AuthID, RawIn: ts.rawIn, RawOut: ts.rawOut}
	if login.User == "" {
		login.User = cred.AuthID
	}
	login.Account = newTestAccount(ts.mail.As(cred.AuthID, true), ts.acls, cred.AuthID)
	return login, nil
}

func newTestAccount(home mailbox.Account, acls *testACLs, acting string) *testAccount {
	metadata, _ := home.(mailbox.Metadata)
	observer, _ := home.(mailbox.Observer)
	quota, _ := home.(mailbox.Quota)
	return &testAccount{Account: home, Metadata: metadata, Observer: observer, Quota: quota, acls: acls, acting: acting}
}

// testAccount adds what a home in memory does not have: rights that can be
// asked for, and namespaces.
type testAccount struct {
	mailbox.Account
	mailbox.Metadata
	mailbox.Observer
	mailbox.Quota
	acls   *testACLs
	acting string
}

func (a *testAccount) Namespaces() mailbox.NamespaceList {
	return mailbox.NamespaceList{Personal: []string{""}, Others: []string{"shared/"}}
}

// testACLs are entries by mailbox; ann has all rights, others those of their entry.
type testACLs struct {
	mu      sync.Mutex
	entries map[string][]imap.ACLEntry
}

func (a *testAccount) MyRights(_ context.Context, name string) (imap.Rights, error) {
	a.acls.mu.Lock()
	defer a.acls.mu.Unlock()
	if a.acting == "ann" {
		return imap.AllRights, nil
	}
	for _, e := range a.acls.entries[name] {
		if e.Identifier == a.acting {
			return e.Rights, nil
		}
	}
	return 0, imap.NoMailbox()
}

func (a *testAccount) admin(ctx context.Context, name string) error {
	rights, err := a.MyRights(ctx, name)
	if err == nil && !rights.Has(imap.RightAdmin) {
		err = imap.NoPermission()
	}
	return err
}

func (a *testAccount) GetACL(ctx context.Context, name string) ([]imap.ACLEntry, error) {
	if err := a.admin(ctx, name); err != nil {
		return nil, err
	}
	a.acls.mu.Lock()
	defer a.acls.mu.Unlock()
	return slices.Clone(a.acls.entries[name]), nil
}

func (a *testAccount) SetACL(ctx context.Context, name, identifier string, change imap.ACLChange, rights imap.Rights) error {
	if err := a.admin(ctx, name); err != nil {
		return err
	}
	a.acls.mu.Lock()
	defer a.acls.mu.Unlock()
	entries := a.acls.entries[name]
	i := slices.IndexFunc(entries, func(e imap.ACLEntry) bool { return e.Identifier == identifier })
	if i < 0 {
		i = len(entries)
		entries = append(entries, imap.ACLEntry{Identifier: identifier})
	}
	switch change {
	case imap.ACLReplace:
		entries[i].Rights = rights
	case imap.ACLAdd:
		entries[i].Rights |= rights
	case imap.ACLRemove:
		entries[i].Rights &^= rights
	}
	a.acls.entries[name] = entries
	return nil
}

func (a *testAccount) DeleteACL(ctx context.Context, name, identifier string) error {
	if err := a.admin(ctx, name); err != nil {
		return err
	}
	a.acls.mu.Lock()
	defer a.acls.mu.Unlock()
	a.acls.entries[name] = slices.DeleteFunc(a.acls.entries[name], func(e imap.ACLEntry) bool { return e.Identifier == identifier })
	return nil
}

func (a *testAccount) ListRights(ctx context.Context, name, _ string) (imap.GrantableRights, error) {
	if err := a.admin(ctx, name); err != nil {
		return imap.GrantableRights{}, err
	}
	var rights imap.GrantableRights
	for r := imap.RightLookup; r <= imap.RightAdmin; r <<= 1 {
		rights.Optional = append(rights.Optional, r)
	}
	return rights, nil
}

// logTo sends a server's log to t.
func logTo(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The table has a function and a text for every command, and each is in the
// state that its name asks for.
func TestCommandRows(t *testing.T) {
	for name, r := range commandRows() {
		if r.run == nil || r.done == "" || r.states == 0 {
			t.Errorf("%s: row is not complete: %+v", name, r)
		}
		if strings.HasPrefix(name, "UID ") != r.is(byUID) {
			t.Errorf("%s: byUID is %v", name, r.is(byUID))
		}
	}
	for _, name := range []string{"FETCH", "STORE", "SEARCH"} {
		if !commandRows()[name].is(holdsExpunges) {
			t.Errorf("%s does not hold EXPUNGE responses back", name)
		}
	}
}
