package mailboxmem_test

import (
	"testing"

	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/mailbox/mailboxmem"
	"github.com/roost-mail/roost/mailbox/mailboxtest"
)

func TestMail(t *testing.T) { mailboxtest.Test(t, open) }

func open(*testing.T) mailboxtest.Fixture {
	mail := mailboxmem.New("ann")
	mail.SetPrivateFlags(mailboxtest.PrivateFlags()...)
	return mailboxtest.Fixture{
		PrivateFlags: true,

		Owner:  func() mailbox.Account { return mail.As("ann", false) },
		Reader: func(name string) mailbox.Account { return mail.As(name, true) },

		SetQuota: mail.SetQuota,
	}
}

// The model against itself: what is random in it must not show.
func TestRandom(t *testing.T) {
	for seed := range uint64(20) {
		mailboxtest.Random(t, open, open, seed, 300)
	}
}
