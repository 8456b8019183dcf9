package acl_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/roost-mail/roost/acl"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/mailbox/mailboxmem"
)

// TestRefusalsAreCounted, of those who lack a right only.
func TestRefusalsAreCounted(t *testing.T) {
	ctx := t.Context()
	mail := mailboxmem.New("alice")
	var refused atomic.Int64
	guard := func(acting string) *acl.Guard {
		who := acl.Identity{Owner: "alice", Acting: acting}
		g := acl.NewGuard(mail.As(acting, acting != "alice").(acl.Home), who, acl.Options{Refused: &refused})
		t.Cleanup(func() { g.Close() })
		return g
	}
	alice, bob := guard("alice"), guard("bob")
	_, _ = alice.Open(ctx, "Nowhere", false)
	m, err := alice.Open(ctx, imap.Inbox, false)
	if err != nil || refused.Load() != 0 {
		t.Fatalf("%v; %d refusals of the owner", err, refused.Load())
	}
	_ = m.Close()
	if _, err := bob.Open(ctx, imap.Inbox, false); imap.CodeOf(err) != imap.CodeNonExistent || refused.Load() != 1 {
		t.Errorf("SELECT of a mailbox that he may not know: %v, %d refusals", err, refused.Load())
	}
	if err := alice.SetACL(ctx, imap.Inbox, "bob", imap.ACLReplace, imap.RightLookup|imap.RightRead); err != nil {
		t.Fatal(err)
	}
	m, err = bob.Open(ctx, imap.Inbox, false)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := m.Expunge(ctx, nil, true); imap.CodeOf(err) != imap.CodeNoPerm || refused.Load() != 2 {
		t.Errorf("EXPUNGE of a reader: %v, %d refusals", err, refused.Load())
	}
	carl := guard("carl")
	for _, row := range []struct {
		what string
		do   func() error
		code imap.Code
	}{
		{"STORE", func() error {
			_, err := m.Store(ctx, imap.UIDSetOf(1), mailbox.FlagChange{Flags: []imap.Flag{imap.FlagSeen}}, nil)
			return err
		}, imap.CodeNoPerm},
		{"CREATE", func() error { return bob.Create(ctx, "INBOX/New") }, imap.CodeNoPerm},
		{"CREATE at the top", func() error { return bob.Create(ctx, "New") }, imap.CodeNoPerm},
		{"SETMETADATA", func() error {
			return bob.SetMetadata(ctx, imap.Inbox, []imap.MetadataEntry{{Name: "/shared/comment", Value: []byte("x")}})
		}, imap.CodeNoPerm},
		{"SETMETADATA of the server", func() error {
			return bob.SetMetadata(ctx, "", []imap.MetadataEntry{{Name: "/private/comment", Value: []byte("x")}})
		}, imap.CodeNoPerm},
		{"SETMETADATA of a stranger", func() error {
			return carl.SetMetadata(ctx, imap.Inbox, []imap.MetadataEntry{{Name: "/shared/comment", Value: []byte("x")}})
		}, imap.CodeNonExistent},
		{"MYRIGHTS", func() error { _, err := carl.MyRights(ctx, imap.Inbox); return err }, imap.CodeNonExistent},
	} {
		before := refused.Load()
		if err := row.do(); imap.CodeOf(err) != row.code || refused.Load() != before+1 {
			t.Errorf("%s: %v, %d refusals", row.what, err, refused.Load()-before)
		}
	}
}

// late is a home in which something happens between a guard's question and its change.
type late struct {
	acl.Home
	before func()
}

func (h late) UpdateEntries(ctx context.Context, name string, change func(mailbox.Standing) ([]mailbox.Entry, error)) error {
	h.before()
	return h.Home.UpdateEntries(ctx, name, change)
}

// TestAdministratorNoMore: who has just lost the right to change rights, and may know of the mailbox,
// hears that.
func TestAdministratorNoMore(t *testing.T) {
	ctx := t.Context()
	mail := mailboxmem.New("alice")
	alice := acl.NewGuard(mail.As("alice", false).(acl.Home), acl.Identity{Owner: "alice", Acting: "alice"}, acl.Options{})
	give := func(rights imap.Rights) {
		if err := alice.SetACL(ctx, imap.Inbox, "bob", imap.ACLReplace, rights); err != nil {
			t.Fatal(err)
		}
	}
	for left, want := range map[imap.Rights]imap.Code{imap.RightLookup: imap.CodeNoPerm, imap.RightRead: imap.CodeNonExistent} {
		give(left | imap.RightAdmin | imap.RightLookup)
		home := late{mail.As("bob", true).(acl.Home), func() { give(left) }}
		bob := acl.NewGuard(home, acl.Identity{Owner: "alice", Acting: "bob"}, acl.Options{})
		if err := bob.SetACL(ctx, imap.Inbox, "carl", imap.ACLReplace, imap.RightRead); imap.CodeOf(err) != want {
			t.Errorf("with %v left: %v; want %s", left, err, want)
		}
	}
}
