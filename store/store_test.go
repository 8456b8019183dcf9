package store

import (
	"context"
	"fmt"
	"log/slog"
	"testing"

	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/mailbox/mailboxmem"
	"github.com/roost-mail/roost/mailbox/mailboxtest"
)

// testOptions are options for a test: the log goes to the test's, nothing lingers.
func testOptions(t testing.TB) Options {
	return Options{
		Holder: "b1", Linger: -1,
		Log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
}

// fixture is fresh mail of alice on disk.
func fixture(t *testing.T, o Options) mailboxtest.Fixture {
	dir := t.TempDir()
	s := New(o)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close store: %v", err)
		}
		checkDir(t, dir)
	})
	var quota *mailbox.QuotaPolicy
	session := func(v View) mailbox.Account {
		v.Quota, v.PrivateFlags, v.PrivateSeen = quota, mailboxtest.PrivateFlags(), true
		a, err := s.Open(context.Background(), "alice", dir)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close() //nolint:errcheck // the session has its own reference
		return a.As(v)
	}
	return mailboxtest.Fixture{
		Owner:  func() mailbox.Account { return session(View{Acting: "alice"}) },
		Reader: func(name string) mailbox.Account { return session(View{Acting: name}) },

		PrivateFlags: true,

		SetQuota: func(p *mailbox.QuotaPolicy) { quota = p },
	}
}

func TestConformance(t *testing.T) {
	mailboxtest.Test(t, func(t *testing.T) mailboxtest.Fixture { return fixture(t, testOptions(t)) })
}

// memory is alice's mail in the model.
func memory(*testing.T) mailboxtest.Fixture {
	m := mailboxmem.New("alice")
	m.SetPrivateFlags(mailboxtest.PrivateFlags()...)
	return mailboxtest.Fixture{
		Owner:  func() mailbox.Account { return m.As("alice", true) },
		Reader: func(name string) mailbox.Account { return m.As(name, true) },
	}
}

func TestRandom(t *testing.T) {
	open := func(t *testing.T) mailboxtest.Fixture {
		o := testOptions(t)
		o.limits = limits{segment: 20 << 10, foldBytes: 10 << 10, foldRecords: 20}
		return fixture(t, o)
	}
	seeds := uint64(10)
	if testing.Short() {
		seeds = 3
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { mailboxtest.Random(t, open, memory, seed, 150) })
	}
}
