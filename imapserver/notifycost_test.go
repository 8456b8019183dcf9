package imapserver

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/mailbox/mailboxmem"
)

// countingLists counts the LISTs of a session.
type countingLists struct {
	*testAccount
	lists int // belongs to the session
}

func (a *countingLists) List(ctx context.Context, patterns []string) ([]mailbox.ListEntry, error) {
	a.lists++
	return a.testAccount.List(ctx, patterns)
}

// However many names have come while the client was busy, the tree is gone
// through once.
func TestNotifyListsOnce(t *testing.T) {
	const names = 50
	mail := mailboxmem.New("ann")
	account := &countingLists{testAccount: newTestAccount(mail.As("ann", false), &testACLs{}, "ann")}
	c, r := pipe(t, Config{Authenticator: authFunc(func(context.Context, *Client, Credentials) (*Login, error) {
		return &Login{User: "ann", Account: account}, nil
	})})
	wantLine(t, r, "* OK …")
	sendLine(t, c, "a LOGIN ann secret")
	wantLine(t, r, "a OK …")
	sendLine(t, c, "b NOTIFY SET (PERSONAL (MailboxName))")
	wantLine(t, r, "b OK …")
	sendLine(t, c, "c STATUS {5}")
	wantLine(t, r, "+ OK")
	other := mail.As("ann", false)
	for i := range names {
		if err := other.Create(t.Context(), fmt.Sprintf("Box%02d", i)); err != nil {
			t.Fatal(err)
		}
	}
	sendLine(t, c, "INBOX (MESSAGES)")
	wantLine(t, r, "* STATUS INBOX (MESSAGES 0)")
	for i := range names {
		wantLine(t, r, fmt.Sprintf(`* LIST (\HasNoChildren) "/" Box%02d`, i))
	}
	wantLine(t, r, "c OK …")
	if account.lists != 1 {
		t.Errorf("the tree was gone through %d times", account.lists)
	}
}

// What a NOTIFY with many names costs for each mailbox does not grow with them.
func TestNotifyNamesAreLookedUp(t *testing.T) {
	const long = "A mailbox whose name is longer than most"
	g := &eventGroup{filter: filterSubtree, names: map[string]bool{}}
	for i := range maxEventNames {
		g.names[fmt.Sprintf("%s/Tree%d", long, i)] = true
	}
	s := &session{}
	for name, want := range map[string]bool{
		long + "/Tree7": true, long + "/Tree7" + strings.Repeat("/x", 10): true,
		long: false, long + "/Tree7x": false, imap.Inbox: false,
	} {
		if got := s.covers(nil, g, name); got != want {
			t.Errorf("%s: %v", name, got)
		}
		if n := testing.AllocsPerRun(10, func() { s.covers(nil, g, name) }); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
