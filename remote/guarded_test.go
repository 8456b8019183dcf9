package remote_test

import (
	"testing"

	"github.com/roost-mail/roost/acl"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/mailbox/mailboxmem"
	"github.com/roost-mail/roost/mailbox/mailboxtest"
)

// guard is ann's mail as acting may use it.
func guard(mail *mailboxmem.Mail, acting string) mailbox.Account {
	home := mail.As(acting, true).(acl.Home)
	return acl.NewGuard(home, acl.Identity{Owner: owner, Acting: acting}, acl.Options{})
}

// grantAll has the owner let a reader do everything.
func grantAll(account func(acting string) mailbox.Account) func(*testing.T, string, string) {
	return func(t *testing.T, name, reader string) {
		a := account(owner)
		defer a.Close()
		err := a.(mailbox.ACL).SetACL(t.Context(), name, reader, imap.ACLReplace, imap.AllRights)
		if err != nil {
			t.Fatalf("grant %s to %s: %v", name, reader, err)
		}
	}
}

func guardedFixture(account func(acting string) mailbox.Account) mailboxtest.Fixture {
	return mailboxtest.Fixture{
		Owner:  func() mailbox.Account { return account(owner) },
		Reader: account,
		Grant:  grantAll(account),
		Skip: map[string]string{
			"Append/Empty":                    "IMAP servers refuse an APPEND of nothing",
			"Private/SubscriptionsAreOnesOwn": "a guard keeps subscriptions for the owner only",
		},
	}
}

func newGuardedBackend(t *testing.T) mailboxtest.Fixture {
	b := newBackend(t)
	b.guarded = true
	f := guardedFixture(func(acting string) mailbox.Account { return b.account(acting) })
	f.SetQuota = b.mail.SetQuota
	return f
}

// Rights cross the connection: what a guard says here it says there.
func TestAgainstGuardedRoost(t *testing.T) {
	mailboxtest.Test(t, newGuardedBackend)
}

func TestRandomAgainstGuardedRoost(t *testing.T) {
	oracle := func(*testing.T) mailboxtest.Fixture {
		mail := mailboxmem.New(owner)
		mail.SetPrivateFlags(mailboxtest.PrivateFlags()...)
		return guardedFixture(func(acting string) mailbox.Account { return guard(mail, acting) })
	}
	for seed := range uint64(5) {
		mailboxtest.Random(t, newGuardedBackend, oracle, seed, 200)
	}
}
