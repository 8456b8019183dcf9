package remote_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"sync/atomic"
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
	guarded  bool     // by rights
	plain    bool     // it knows no private flags
	hides    []string // capabilities that clients do not get to see
	sent     atomic.Int64

	mu    sync.Mutex // guards what follows
	down  bool       // nobody can connect
	conns []net.Conn // of clients
}

const owner = "ann"

// Login takes every user, who acts on the owner's mail.
func (b *backend) Login(_ context.Context, _ *imapserver.Client, cred imapserver.Credentials) (*imapserver.Login, error) {
	switch {
	case cred.Password != "secret":
		return nil, imap.Errorf(imap.CodeAuthenticationFailed, "No")
	case cred.AuthzID != owner:
		return nil, imap.Errorf(imap.CodeAuthorizationFailed, "No")
	}
	account := b.mail.As(cred.AuthID, !b.plain)
	if b.guarded {
		account = guard(b.mail, cred.AuthID)
	}
	return &imapserver.Login{User: owner, Acting: cred.AuthID, Account: account}, nil
}

func newBackend(t testing.TB) *backend {
	t.Helper()
	b := &backend{mail: mailboxmem.New(owner)}
	b.mail.SetPrivateFlags(mailboxtest.PrivateFlags()...)
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
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.down {
		return nil, errors.New("host is down")
	}
	nc, err := net.Dial("tcp", b.addr)
	if err != nil {
		return nil, err
	}
	b.conns = append(b.conns, nc)
	return imapclient.New(ctx, &veil{nc, b.hides, &b.sent}, imapclient.Config{Counters: &b.counters, Timeout: 20 * time.Second})
}

// cut ends all connections, and lets no more be made if down is set.
func (b *backend) cut(down bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, nc := range b.conns {
		_ = nc.Close()
	}
	b.conns, b.down = nil, down
}

// veil hides words in the capabilities that the server sends.
type veil struct {
	net.Conn
	words []string
	count *atomic.Int64 // bytes
}

func (v *veil) Read(p []byte) (int, error) {
	n, err := v.Conn.Read(p)
	v.count.Add(int64(n))
	if !bytes.Contains(p[:n], []byte("CAPABILITY")) {
		return n, err
	}
	for _, w := range v.words {
		copy(p[:n], bytes.ReplaceAll(p[:n], []byte(w), bytes.Repeat([]byte{'X'}, len(w))))
	}
	return n, err
}

func (b *backend) account(acting string) *remote.Account {
	return remote.New(remote.Config{
		Dial: b.dial, Owner: owner, Acting: acting, Password: "secret", PollInterval: 10 * time.Millisecond,
	})
}

func (b *backend) fixture() mailboxtest.Fixture {
	return mailboxtest.Fixture{
		Owner:    func() mailbox.Account { return b.account(owner) },
		Reader:   func(name string) mailbox.Account { return b.account(name) },
		SetQuota: b.mail.SetQuota,

		PrivateFlags: true,

		NoModSeq: slices.Contains(b.hides, "CONDSTORE"),
		Skip: map[string]string{
			"Append/Empty": "IMAP servers refuse an APPEND of nothing",
		},
	}
}

func TestAgainstRoost(t *testing.T) {
	mailboxtest.Test(t, func(t *testing.T) mailboxtest.Fixture { return newBackend(t).fixture() })
}

// What a peer does not offer is done in other ways.
func TestAgainstOldServer(t *testing.T) {
	mailboxtest.Test(t, func(t *testing.T) mailboxtest.Fixture {
		b := newBackend(t)
		b.hides = []string{"LITERAL+", "SASL-IR", "IDLE", "UIDPLUS", "ESEARCH", "MULTIAPPEND", "MOVE", "ACL", "BINARY", "OBJECTID", "SAVEDATE", "PREVIEW", "CONDSTORE", "QRESYNC", "SORT", "THREAD", "WITHIN"}
		f := b.fixture()
		f.Skip["Quota/StorageIsKept"] = "without MOVE there are a copy and its source for a while"
		for _, name := range []string{"Observe/Metadata", "Observe/MetadataOverflow", "PrivateObserve/PrivateMetadata"} {
			f.Skip[name] = "without NOTIFY nobody tells which annotations have changed"
		}
		f.Skip["Items/NULComesBack"] = "nothing but BINARY can send NUL"
		f.Skip["Items/EmailID"] = "there are no object IDs"
		f.Skip["Items/EmailIDOfACopy"] = "there are no object IDs"
		f.Skip["Items/MailboxID"] = "there are no object IDs"
		f.Skip["Items/SearchSaveDate"] = "internal dates stand in for save dates"
		f.Skip["Items/SaveDate"] = "there are no save dates"
		return f
	})
}

// A peer that has modification sequences and does not know what has vanished.
func TestAgainstServerWithoutQresync(t *testing.T) {
	mailboxtest.Test(t, func(t *testing.T) mailboxtest.Fixture {
		b := newBackend(t)
		b.hides = []string{"QRESYNC"}
		f := b.fixture()
		f.VanishedIsAll = true
		return f
	})
}

// inMemory is the home that is obviously right, to compare with.
func inMemory(*testing.T) mailboxtest.Fixture {
	mail := mailboxmem.New(owner)
	mail.SetPrivateFlags(mailboxtest.PrivateFlags()...)
	return mailboxtest.Fixture{
		Owner:  func() mailbox.Account { return mail.As(owner, false) },
		Reader: func(name string) mailbox.Account { return mail.As(name, true) },
	}
}

func TestRandomAgainstRoost(t *testing.T) {
	open := func(t *testing.T) mailboxtest.Fixture { return newBackend(t).fixture() }
	for seed := range uint64(5) {
		mailboxtest.Random(t, open, inMemory, seed, 200)
	}
}
