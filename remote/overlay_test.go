package remote_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/mailbox/mailboxtest"
	"github.com/roost-mail/roost/overlay"
	"github.com/roost-mail/roost/remote"
	"github.com/roost-mail/roost/store"
)

// readers are the own mail of those who read ann's.
type readers struct {
	t     *testing.T
	store *store.Store
	dir   string
}

func newReaders(t *testing.T) *readers {
	r := &readers{t, store.New(store.Options{Linger: -1}), t.TempDir()}
	t.Cleanup(func() {
		if err := r.store.Close(); err != nil {
			t.Error(err)
		}
		for _, name := range []string{"bob", "carol", "dan"} {
			if found, _ := filepath.Glob(filepath.Join(r.dir, name, "*")); len(found) > 0 {
				if err := store.Check(filepath.Join(r.dir, name), t.Output()); err != nil {
					t.Error(err)
				}
			}
		}
	})
	return r
}

func (r *readers) keep(name string) func(context.Context) (overlay.Keeper, error) {
	return func(ctx context.Context) (overlay.Keeper, error) {
		a, err := r.store.Open(ctx, name, filepath.Join(r.dir, name))
		if err != nil {
			return nil, err
		}
		defer a.Close() //nolint:errcheck // the session has its own reference
		return a.As(store.View{Acting: name}), nil
	}
}

// laidOver is mail at a server without private flags, as a reader sees it.
func (r *readers) laidOver(cfg remote.Config) *overlay.Account {
	cfg.Password, cfg.PollInterval, cfg.Apart = "secret", 10*time.Millisecond, mailboxtest.PrivateFlags()
	return overlay.New(overlay.Config{
		Home: remote.New(cfg), Account: "partner/" + cfg.Owner, Flags: cfg.Apart, Keep: r.keep(cfg.Acting),
	})
}

func overlayFixture(t *testing.T, hides ...string) mailboxtest.Fixture {
	b := newBackend(t)
	b.plain, b.hides = true, hides
	r := newReaders(t)
	f := b.fixture()
	f.Reader = func(name string) mailbox.Account {
		return r.laidOver(remote.Config{Dial: b.dial, Owner: owner, Acting: name})
	}
	limitOverlay(&f)
	return f
}

// limitOverlay says what can't be the same on the reader's side.
func limitOverlay(f *mailboxtest.Fixture) {
	f.NoModSeq, f.KeptByReader = true, true
	for _, name := range []string{"Private/FollowsCopyAndMove", "PrivateFlags/AppendCopyAndMove"} {
		f.Skip[name] = "what others copy does not have the reader's own flags"
	}
}

// A reader whose flags lie over a server that keeps none sees what one sees whose server does.
func TestOverlay(t *testing.T) {
	mailboxtest.TestReaders(t, func(t *testing.T) mailboxtest.Fixture { return overlayFixture(t) })
}

// Without IDs the flags are kept by name.
func TestOverlayByName(t *testing.T) {
	mailboxtest.TestReaders(t, func(t *testing.T) mailboxtest.Fixture {
		f := overlayFixture(t, "OBJECTID")
		byNameOnly(&f)
		return f
	})
}

func byNameOnly(f *mailboxtest.Fixture) {
	for _, name := range []string{"Private/FollowsRename", "PrivateFlags/FollowsRename"} {
		f.Skip[name] = "only the reader's own RENAME is known"
	}
}

func TestRandomOverlay(t *testing.T) {
	open := func(t *testing.T) mailboxtest.Fixture { return overlayFixture(t) }
	for seed := range uint64(2) {
		mailboxtest.Random(t, open, inMemory, seed, 200)
	}
}

// TestOverlayOnDovecot: Dovecot's users have one \Seen, which is its owner's.
func TestOverlayOnDovecot(t *testing.T) {
	d := startDovecot(t)
	mailboxtest.TestReaders(t, func(t *testing.T) mailboxtest.Fixture {
		f := d.fixture(t)
		r, name := newReaders(t), fmt.Sprintf("owner%d", d.last.Load())
		f.Reader = func(reader string) mailbox.Account {
			return r.laidOver(remote.Config{Dial: d.dial, Owner: name, Acting: reader})
		}
		f.Grant = grantAll(func(string) mailbox.Account { return f.Owner() })
		f.PrivateFlags = true
		limitOverlay(&f)
		f.Skip["Private/RecentIsTheOwners"] = "recent is for who comes first"
		f.Skip["Private/SubscriptionsAreOnesOwn"] = "subscriptions are the owner's"
		f.Skip["PrivateObserve/PrivateMetadata"] = "NOTIFY does not tell of metadata"
		f.Skip["PrivateMetadata/PrivateIsOnesOwn"] = "private annotations are the owner's"
		f.Skip["PrivateMetadata/UsesAreTheOwners"] = "special uses are set by the configuration"
		byNameOnly(&f)
		return f
	})
}

// Searches that would name more UIDs than a command may are done in parts, with the same
// answers.
func TestOverlaySearches(t *testing.T) {
	b, r := newBackend(t), newReaders(t)
	b.plain = true
	ann := b.account(owner)
	defer ann.Close()
	const count = 9
	for range count {
		text := "Subject: soup\r\n\r\nsoup\r\n"
		m := &mailbox.NewMessage{Size: int64(len(text)), Body: strings.NewReader(text)}
		if _, err := ann.Append(t.Context(), imap.Inbox, mailbox.One(m)); err != nil {
			t.Fatal(err)
		}
	}
	cfg := remote.Config{Dial: b.dial, Owner: owner, Acting: "bob", Password: "secret", Apart: mailboxtest.PrivateFlags()}
	a := overlay.New(overlay.Config{Home: remote.New(cfg), Account: owner, Flags: cfg.Apart, Keep: r.keep("bob")})
	m, err := a.Open(t.Context(), imap.Inbox, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(m.Close(), a.Close()); err != nil {
			t.Error(err)
		}
	})
	change := mailbox.FlagChange{Op: mailbox.FlagsAdd, Flags: []imap.Flag{imap.FlagSeen}, Silent: true}
	if _, err := m.Store(t.Context(), imap.UIDSetOf(2, 4, 6, 8), change, nil); err != nil {
		t.Fatal(err)
	}
	seen := imap.SearchKey{Op: imap.SearchFlag, Flag: imap.FlagSeen}
	body := imap.SearchKey{Op: imap.SearchBody, Text: "soup"}
	some := imap.SearchKey{Op: imap.SearchUIDs, UIDs: imap.UIDSetOf(1, 2, 3, 20)}
	and := func(keys ...imap.SearchKey) imap.SearchKey { return imap.SearchKey{Op: imap.SearchAnd, Keys: keys} }
	or := func(keys ...imap.SearchKey) imap.SearchKey { return imap.SearchKey{Op: imap.SearchOr, Keys: keys} }
	for want, program := range map[string]imap.SearchKey{
		"2,4,6,8":   seen,
		"1,3,5,7,9": seen.Not(),
		"2":         and(seen, some, body),
		"1,3":       and(body, seen.Not(), some),
		"1:4,6,8":   or(seen, some),
		"2,4,6,8:9": or(and(seen, body), and(seen, body.Not()), imap.SearchKey{Op: imap.SearchUIDs, UIDs: imap.UIDSetOf(9)}),
		"5,7,9":     or(seen, some).Not(),
		"":          and(seen, seen.Not()),
		"1:9":       or(seen, seen.Not()),
		"1,3,5,7:9": or(and(body, seen.Not()), imap.SearchKey{Op: imap.SearchUIDs, UIDs: imap.UIDSetOf(8)}),
		"4,6,8":     and(and(seen), some.Not()),
		"1:3,5,7,9": or(some, seen.Not()),
	} {
		found, err := m.Search(t.Context(), &program)
		if err != nil || found.UIDs.String() != want {
			t.Errorf("got %s, %v, want %s", found.UIDs, err, want)
		}
		sorted, err := m.Sort(t.Context(), []imap.SortKey{{Field: imap.SortArrival, Reverse: true}}, &program)
		if err != nil || imap.UIDSetOf(sorted.UIDs...).String() != want {
			t.Errorf("sorted %v, %v, want %s", sorted.UIDs, err, want)
		}
		threads, err := m.Thread(t.Context(), imap.ThreadOrderedSubject, &program)
		var uids []imap.UID
		for _, member := range threads {
			if member.UID > 0 {
				uids = append(uids, member.UID)
			}
		}
		if err != nil || imap.UIDSetOf(uids...).String() != want {
			t.Errorf("threads %v, %v, want %s", threads, err, want)
		}
	}
}
