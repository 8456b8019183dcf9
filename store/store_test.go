package store

import (
	"context"
	"log/slog"
	"testing"

	"github.com/roost-mail/roost/mailbox"
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
	session := func(v View) mailbox.Account {
		a, err := s.Open(context.Background(), "alice", dir)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close() //nolint:errcheck // the session has its own reference
		return a.As(v)
	}
	return mailboxtest.Fixture{
		Owner:  func() mailbox.Account { return session(View{Acting: "alice"}) },
		Reader: func(name string) mailbox.Account { return session(View{Acting: name, PrivateSeen: true}) },
	}
}

func TestConformance(t *testing.T) {
	mailboxtest.Test(t, func(t *testing.T) mailboxtest.Fixture { return fixture(t, testOptions(t)) })
}
