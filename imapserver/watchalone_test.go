package imapserver

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/mailbox/mailboxmem"
)

// watchedAlone has a test fail that fetches from a mailbox during a Watch.
type watchedAlone struct {
	*testAccount
	t *testing.T
}

type aloneBox struct {
	mailbox.Mailbox
	t        *testing.T
	watching atomic.Bool
}

func (a *watchedAlone) Open(ctx context.Context, name string, readOnly bool) (mailbox.Mailbox, error) {
	box, err := a.testAccount.Open(ctx, name, readOnly)
	return &aloneBox{Mailbox: box, t: a.t}, err
}

func (b *aloneBox) Watch(notify func()) (stop func()) {
	b.watching.Store(true)
	stopped := b.Mailbox.Watch(notify)
	return func() {
		stopped()
		b.watching.Store(false)
	}
}

func (b *aloneBox) Fetch(ctx context.Context, uids imap.UIDSet, items *imap.FetchItems, emit func(*mailbox.Message) error) error {
	if b.watching.Load() {
		b.t.Error("FETCH during a Watch")
	}
	return b.Mailbox.Fetch(ctx, uids, items, emit)
}

// Within IDLE new messages are shown as NOTIFY asks, and the Watch does not go on
// meanwhile.
func TestNotifyWithinIdleFetchesWithoutWatch(t *testing.T) {
	mail := mailboxmem.New("ann")
	account := &watchedAlone{newTestAccount(mail.As("ann", false), &testACLs{}, "ann"), t}
	c, r := pipe(t, Config{Authenticator: authFunc(func(context.Context, *Client, Credentials) (*Login, error) {
		return &Login{User: "ann", Account: account}, nil
	})})
	until := func(pattern string) {
		t.Helper()
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if line == pattern+"\r\n" {
				return
			}
		}
	}
	wantLine(t, r, "* OK …")
	sendLine(t, c, "a LOGIN ann secret")
	wantLine(t, r, "a OK …")
	sendLine(t, c, "b SELECT INBOX")
	until("b OK [READ-WRITE] Select completed.")
	sendLine(t, c, "c NOTIFY SET (SELECTED (MessageNew (UID) MessageExpunge))")
	until("c OK Notify completed.")
	sendLine(t, c, "d IDLE")
	until("+ idling")
	for _, line := range []string{"* 1 FETCH (UID 1)", "* 2 FETCH (UID 2)"} {
		appendTo(t, mail.As("ann", false), imap.Inbox)
		until(line)
	}
	sendLine(t, c, "DONE")
	until("d OK Idle completed.")
}
