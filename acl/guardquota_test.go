package acl_test

import (
	"testing"

	"github.com/roost-mail/roost/acl"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/mailbox/mailboxmem"
)

// A reader who has lost all rights asks in vain for a root that was told before.
func TestQuotaRootGoesWithRights(t *testing.T) {
	ctx := t.Context()
	mail := mailboxmem.New("alice")
	mail.SetQuota(&mailbox.QuotaPolicy{Root: "User quota", Messages: 10})
	guard := func(acting string) *acl.Guard {
		g := acl.NewGuard(mail.As(acting, acting != "alice").(acl.Home), acl.Identity{Owner: "alice", Acting: acting}, acl.Options{})
		t.Cleanup(func() { g.Close() })
		return g
	}
	alice, bob := guard("alice"), guard("bob")
	if err := alice.SetACL(ctx, imap.Inbox, "bob", imap.ACLReplace, imap.RightLookup|imap.RightRead); err != nil {
		t.Fatal(err)
	}
	quota, ok, err := bob.QuotaOf(ctx, imap.Inbox)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	if _, err := bob.QuotaRoot(ctx, quota.Root); err != nil {
		t.Fatal(err)
	}
	if err := alice.SetACL(ctx, imap.Inbox, "bob", imap.ACLReplace, imap.RightLookup); err != nil {
		t.Fatal(err)
	}
	if quota, err := bob.QuotaRoot(ctx, quota.Root); imap.CodeOf(err) != imap.CodeNonExistent {
		t.Errorf("without r: %+v, %v", quota, err)
	}
	if _, err := alice.QuotaRoot(ctx, "User quota"); err != nil {
		t.Errorf("the owner: %v", err)
	}
}
