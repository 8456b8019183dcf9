package remote_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapclient"
	"github.com/roost-mail/roost/imapserver"
	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/mailbox/mailboxmem"
	"github.com/roost-mail/roost/mailbox/mailboxtest"
	"github.com/roost-mail/roost/remote"
)

// backend is an owner's backend: a server over mail in memory.
type backend struct {
	addr     string
	mail     *mailboxmem.Mail
	counters imapclient.Counters
	guarded  bool // by rights
}

const owner = "ann"

// Login takes every user, who acts on the owner's mail.
func (b *backend) Login(_ context.Context, _ *imapserver.Client, cred imapserver.Credentials) (*imapserver.Login, error) {
	if cred.Password != "secret" || cred.AuthzID != owner {
		return nil, imap.Errorf(imap.CodeAuthenticationFailed, "No")
	}
	account := b.mail.As(cred.AuthID, true)
	if b.guarded {
		account = guard(b.mail, cred.AuthID)
	}
	return &imapserver.Login{User: owner, Acting: cred.AuthID, Account: account}, nil
}

func newBackend(t testing.TB) *backend {
	t.Helper()
	b := &backend{mail: mailboxmem.New(owner)}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b.addr = ln.Addr().String()
	server := imapserver.New(imapserver.Config{Authenticator: b})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(context.Background(), ln)
	}()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			t.Errorf("shut the server down: %v", err)
		}
		<-done
	})
	return b
}

func (b *backend) dial(ctx context.Context) (*imapclient.Conn, error) {
	return imapclient.Dial(ctx, "tcp", b.addr, imapclient.Config{Counters: &b.counters, Timeout: 20 * time.Second})
}

func (b *backend) account(acting string) *remote.Account {
	return remote.New(remote.Config{Dial: b.dial, Owner: owner, Acting: acting, Password: "secret"})
}

func (b *backend) fixture() mailboxtest.Fixture {
	return mailboxtest.Fixture{
		Owner:    func() mailbox.Account { return b.account(owner) },
		Reader:   func(name string) mailbox.Account { return b.account(name) },
		NoModSeq: true,
		Skip: map[string]string{
			"Append/Empty": "IMAP servers refuse an APPEND of nothing",
		},
	}
}

func TestAgainstRoost(t *testing.T) {
	mailboxtest.Test(t, func(t *testing.T) mailboxtest.Fixture { return newBackend(t).fixture() })
}

func TestRandomAgainstRoost(t *testing.T) {
	oracle := func(*testing.T) mailboxtest.Fixture {
		mail := mailboxmem.New(owner)
		return mailboxtest.Fixture{
			Owner:  func() mailbox.Account { return mail.As(owner, false) },
			Reader: func(name string) mailbox.Account { return mail.As(name, true) },
		}
	}
	open := func(t *testing.T) mailboxtest.Fixture { return newBackend(t).fixture() }
	for seed := range uint64(5) {
		mailboxtest.Random(t, open, oracle, seed, 200)
	}
}
