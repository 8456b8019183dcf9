package acl_test

import (
	"sync/atomic"
	"testing"

	"github.com/roost-mail/roost/acl"
	"github.com/roost-mail/roost/imap"
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
}
