package store

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// What is answered from the rows is what a search that looks at each message
// finds, for owner and reader.
func TestSearchFlags(t *testing.T) {
	ctx := context.Background()
	s, dir := New(testOptions(t)), filepath.Join(t.TempDir(), "mail")
	owner, reader := mustOpen(t, s, dir, owner), mustOpen(t, s, dir, View{Acting: "bob", PrivateSeen: true})
	defer func() {
		if err := errors.Join(owner.Close(), reader.Close(), s.Close()); err != nil {
			t.Error(err)
		}
		checkDir(t, dir)
	}()
	for i, flags := range [][]imap.Flag{
		nil, {imap.FlagSeen}, {imap.FlagFlagged, imap.FlagSeen}, {"$Later"}, {imap.FlagFlagged}, nil, {imap.FlagDeleted}, {"$later", imap.FlagSeen},
	} {
		mustAppend(t, owner, imap.Inbox, i, flags...)
	}
	for _, who := range []*Session{owner, reader} {
		box, err := who.Open(ctx, imap.Inbox, false)
		if err != nil {
			t.Fatal(err)
		}
		if who == reader {
			change := mailbox.FlagChange{Op: mailbox.FlagsAdd, Flags: []imap.Flag{imap.FlagSeen}, Silent: true}
			if _, err := box.Store(ctx, imap.UIDSetOf(1, 3, 4), change, nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := box.Expunge(ctx, nil, true); err != nil && who == owner {
			t.Fatal(err)
		}
		for _, key := range []imap.SearchKey{
			{Op: imap.SearchAll},
			{Op: imap.SearchFlag, Flag: imap.FlagSeen},
			{Op: imap.SearchFlag, Flag: imap.FlagFlagged},
			{Op: imap.SearchFlag, Flag: "$LATER"},
			{Op: imap.SearchFlag, Flag: "$Never"},
		} {
			for _, program := range []imap.SearchKey{key, key.Not()} {
				fast, err := box.Search(ctx, &program)
				if err != nil {
					t.Fatal(err)
				}
				slow, err := box.Search(ctx, &imap.SearchKey{Op: imap.SearchAnd, Keys: []imap.SearchKey{program}})
				if err != nil {
					t.Fatal(err)
				}
				if fast.UIDs.String() != slow.UIDs.String() {
					t.Errorf("%s %+v: %s, not %s", who.view.acting, program, fast.UIDs, slow.UIDs)
				}
			}
		}
		if err := box.Close(); err != nil {
			t.Error(err)
		}
	}
}
