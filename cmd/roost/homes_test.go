package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/roost-mail/roost/acl"
	"github.com/roost-mail/roost/dict/dictfile"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapclient"
	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/mailbox/mailboxtest"
	"github.com/roost-mail/roost/remote"
	"github.com/roost-mail/roost/share"
	"github.com/roost-mail/roost/store"
)

// TestGuardedStore runs the tests for every home on mail as a backend opens it:
// the store, the index that hears of changes, the guard. Readers may do what
// the ACL grants them.
func TestGuardedStore(t *testing.T) {
	mailboxtest.Test(t, func(t *testing.T) mailboxtest.Fixture {
		g := newGuardedHome(t)
		return mailboxtest.Fixture{
			Owner:  func() mailbox.Account { return g.open(t, g.owner) },
			Reader: func(name string) mailbox.Account { return g.open(t, name) },
			Grant:  func(t *testing.T, name, reader string) { grantAll(t, g.open(t, g.owner), name, reader) },

			SetQuota: func(p *mailbox.QuotaPolicy) { g.quota = p },

			PrivateFlags: true,
			Skip: map[string]string{
				"Private/SubscriptionsAreOnesOwn": "a guard keeps no subscriptions of readers: their own tree does",
			},
		}
	})
}

// guardedHome is an owner's mail with everything in front of it.
type guardedHome struct {
	owner     string
	account   *store.Account
	publisher *share.Publisher
	quota     *mailbox.QuotaPolicy
}

func newGuardedHome(t *testing.T) *guardedHome {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	d, err := dictfile.Open(filepath.Join(t.TempDir(), "shares"), dictfile.Options{Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	s := store.New(store.Options{Holder: "here", Log: log})
	g := &guardedHome{owner: "ann"}
	if g.account, err = s.Open(t.Context(), g.owner, filepath.Join(home, g.owner, "mail")); err != nil {
		t.Fatal(err)
	}
	g.publisher = share.NewPublisher(share.PublisherConfig{
		Dict: d, Log: log,
		Open: func(context.Context, string) (share.Home, error) {
			return g.account.As(store.View{Acting: g.owner}), nil
		},
	})
	t.Cleanup(func() {
		g.publisher.Close()
		for _, c := range []interface{ Close() error }{g.account, s, d} {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
		checkMail(t, home)
	})
	return g
}

func (g *guardedHome) open(t *testing.T, acting string) *acl.Guard {
	t.Helper()
	home := share.NewPublishing(g.publisher, g.owner, g.account.As(store.View{
		Acting: acting, PrivateFlags: mailboxtest.PrivateFlags(), PrivateSeen: true, Quota: g.quota,
	}))
	return acl.NewGuard(home, acl.Identity{Owner: g.owner, Acting: acting}, acl.Options{})
}

// grantAll lets a reader do everything with a mailbox, in a session of the owner's.
func grantAll(t *testing.T, owner mailbox.Account, name, reader string) {
	t.Helper()
	defer owner.Close()
	rights, ok := owner.(mailbox.ACL)
	if !ok {
		t.Fatalf("%T has no rights", owner)
	}
	if err := rights.SetACL(t.Context(), name, reader, imap.ACLReplace, imap.AllRights); err != nil {
		t.Fatalf("grant %s to %s: %v", name, reader, err)
	}
}

// TestRemoteThroughCluster runs the tests for every home on mail at a backend
// that is reached through a director. The owner logs in with the owner's own
// password; readers come as back sessions do.
func TestRemoteThroughCluster(t *testing.T) {
	c := newHomesCluster(t)
	mailboxtest.Test(t, func(t *testing.T) mailboxtest.Fixture {
		owner := c.freshOwner(t)
		return mailboxtest.Fixture{
			Owner:  func() mailbox.Account { return c.open(owner, "") },
			Reader: func(name string) mailbox.Account { return c.open(owner, readers[name]) },
			Grant:  func(t *testing.T, name, reader string) { grantAll(t, c.open(owner, ""), name, readers[reader]) },
			Skip: map[string]string{
				"Subscriptions/NeedNoMailbox":     "SUBSCRIBE asks for a mailbox that can be seen",
				"Append/Empty":                    "APPEND of nothing is refused (RFC 3502 section 6.3.11)",
				"Private/SubscriptionsAreOnesOwn": "a guard keeps no subscriptions of readers: their own tree does",
				"Append/CountsInStatus":           noModSeq,
				"Fetch/Items":                     noModSeq,
				"Store/ModSeqGrows":               noModSeq,
				"Expunge/ModSeqGrows":             noModSeq,
				"Private/ModSeqIsOnesOwn":         noModSeq,
			},
		}
	})
}

const noModSeq = "modification sequences cross no hop: CONDSTORE is not served"

// readers are users of the cluster by the names that the tests have for them;
// they live on different backends.
var readers = map[string]string{"bob": "someone2", "carol": "someone5"}

// homesCluster is a cluster with as many owners as there are tests.
type homesCluster struct {
	*rig
	owners atomic.Int32
}

// homesOwners is how many owners there are.
const homesOwners = 400

func newHomesCluster(t *testing.T) *homesCluster {
	t.Helper()
	c := &homesCluster{rig: startRig(t, "rig")}
	for file, line := range map[string]string{
		"users":          "owner%[1]d:{PLAIN}pass:5000:5000::" + c.root + "/shared-fs/home/owner%[1]d::\n",
		"users.director": "owner%d:{PLAIN}pass::::::proxy=y port=" + strconv.Itoa(c.port) + "\n",
	} {
		var more []byte
		for i := range homesOwners {
			more = fmt.Appendf(more, line, i+1)
		}
		appendTo(t, filepath.Join(c.root, "etc", file), string(more))
	}
	return c
}

func (c *homesCluster) freshOwner(t *testing.T) string {
	t.Helper()
	n := c.owners.Add(1)
	if n > homesOwners {
		t.Fatal("more tests than owners")
	}
	return fmt.Sprintf("owner%d", n)
}

// open is a session at the owner's backend, of the owner if acting is empty.
func (c *homesCluster) open(owner, acting string) mailbox.Account {
	password := "pass"
	if acting != "" {
		password = "master-secret"
	}
	return remote.New(remote.Config{
		Owner: owner, Acting: acting, Password: password, Log: c.log,
		Dial: func(ctx context.Context) (*imapclient.Conn, error) {
			return imapclient.Dial(ctx, "tcp", net.JoinHostPort(rigAddrs["director"], strconv.Itoa(c.port)), imapclient.Config{Timeout: patience})
		},
	})
}
