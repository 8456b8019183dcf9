package moving_test

import (
	"context"
	"log/slog"
	"maps"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/roost-mail/roost/acl"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/mailbox/mailboxmem"
	"github.com/roost-mail/roost/mailbox/mailboxtest"
	"github.com/roost-mail/roost/moving"
)

const owner = "ann"

// guard is ann's mail as acting may use it.
func guard(mail *mailboxmem.Mail, acting string) *acl.Guard {
	home := mail.As(acting, true).(acl.Home)
	return acl.NewGuard(home, acl.Identity{Owner: owner, Acting: acting}, acl.Options{})
}

// account is ann's mail, which is here as here says, behind a veil that hides nothing.
func account(mail *mailboxmem.Mail, acting string, here func() bool) mailbox.Account {
	return moving.Veil(moving.New(moving.Config{
		Owner: owner, Log: slog.New(slog.DiscardHandler), Here: here,
		Open:      func(context.Context) (moving.Home, error) { return guard(mail, acting), nil },
		Elsewhere: func() moving.Home { return guard(mail, acting) },
		Arrived:   func(err error) error { return err },
	}), 0)
}

func fixture(mail *mailboxmem.Mail, account func(acting string) mailbox.Account) mailboxtest.Fixture {
	return mailboxtest.Fixture{
		Owner:  func() mailbox.Account { return account(owner) },
		Reader: account,
		Grant: func(t *testing.T, name, reader string) {
			a := account(owner)
			defer a.Close()
			if err := a.(mailbox.ACL).SetACL(t.Context(), name, reader, imap.ACLReplace, imap.AllRights); err != nil {
				t.Fatalf("grant %s to %s: %v", name, reader, err)
			}
		},
		SetQuota: mail.SetQuota,
		Skip: map[string]string{
			"Private/SubscriptionsAreOnesOwn": "a guard keeps subscriptions for the owner only",
		},
	}
}

// skips are tests of what a move does not keep.
var skips = map[string]string{
	"Store/Silent":                   "after a move a session hears of its own changes too",
	"Store/OwnChangesAreNotReported": "after a move a session hears of its own changes too",
	"Observe/MetadataOverflow":       "what is annotated while the mail moves is not heard of",
}

// places are where the mail may be while the suite runs.
var places = map[string]func(seed uint64) func() bool{
	"here":      func(uint64) func() bool { return func() bool { return true } },
	"elsewhere": func(uint64) func() bool { return func() bool { return false } },
	"moving": func(seed uint64) func() bool {
		var n atomic.Uint64
		return func() bool { return rand.New(rand.NewPCG(seed, n.Add(1))).IntN(2) == 0 }
	},
}

// What works in one place works in the other, and in between.
func TestConformance(t *testing.T) {
	for name, place := range places {
		t.Run(name, func(t *testing.T) {
			mailboxtest.Test(t, func(*testing.T) mailboxtest.Fixture {
				mail, here := mailboxmem.New(owner), place(1)
				f := fixture(mail, func(acting string) mailbox.Account { return account(mail, acting, here) })
				if name == "moving" {
					maps.Copy(f.Skip, skips)
				}
				return f
			})
		})
	}
}

func TestRandom(t *testing.T) {
	oracle := func(*testing.T) mailboxtest.Fixture {
		mail := mailboxmem.New(owner)
		return fixture(mail, func(acting string) mailbox.Account { return guard(mail, acting) })
	}
	for seed := range uint64(10) {
		open := func(*testing.T) mailboxtest.Fixture {
			mail, here := mailboxmem.New(owner), places["moving"](seed)
			return fixture(mail, func(acting string) mailbox.Account { return account(mail, acting, here) })
		}
		mailboxtest.Random(t, open, oracle, seed, 200)
	}
}
