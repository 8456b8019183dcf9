package remote

import (
	"context"
	"reflect"
	"slices"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapclient"
	"github.com/roost-mail/roost/imapwire"
	"github.com/roost-mail/roost/mailbox"
)

// What is sent ahead has to fit into the buffers of a connection that nobody
// reads from meanwhile.
const (
	maxBegun       = 64
	maxBegunRanges = 16
	maxBegunFields = 512 // bytes of the names of header fields
)

// begun is a FETCH that was sent before it is asked for.
type begun struct {
	conn  *imapclient.Conn
	cmd   *imapclient.Command
	uids  imap.UIDSet
	items imap.FetchItems
	fetch *fetching
}

// Prefetch sends a FETCH on whose answer Fetch will wait.
func (b *box) Prefetch(ctx context.Context, uids imap.UIDSet, items *imap.FetchItems) bool {
	c := b.link.conn
	if b.watch != nil || c == nil || c.Broken() != nil || b.usable() != nil ||
		uids.Empty() || len(uids) > maxBegunRanges || !brief(items) || len(b.ahead) >= maxBegun ||
		items.ChangedSince > 0 || items.MarkSeen && b.unknown(uids, false).Len() > maxBegun || needsExtensions(items) && substituteFor(items, c) != nil {
		return false
	}
	a := &begun{conn: c, uids: uids, items: *items}
	a.fetch = newFetching(b, &a.items, nil)
	a.fetch.want = wanted(items, c)
	var err error
	if items.MarkSeen {
		err = b.learnAhead(ctx, c, uids, false, nil)
	}
	if err != nil {
		return false
	}
	a.cmd, err = c.Send(ctx, a.fetch.handler(), func(e *imapwire.Encoder) { a.fetch.command(e, uids, b.modSeqs(c)) })
	if err != nil {
		return false
	}
	b.ahead = append(b.ahead, a)
	return true
}

// brief says that the command which asks for items is short.
func brief(items *imap.FetchItems) bool {
	bytes := 0
	for i := range items.Sections {
		for _, field := range items.Sections[i].Fields {
			bytes += len(field) + 1
		}
	}
	return bytes <= maxBegunFields && len(items.Sections) <= maxBegunRanges && len(items.BinarySizes) <= maxBegunRanges
}

// takeBegun is what was begun for a Fetch. If that is another than was said, none
// of what was begun is of use.
func (b *box) takeBegun(uids imap.UIDSet, items *imap.FetchItems) *begun {
	if len(b.ahead) == 0 {
		return nil
	}
	a := b.ahead[0]
	b.ahead = b.ahead[1:]
	if a.conn != b.link.conn || a.cmd.Answered() || !slices.Equal(a.uids, uids) || !reflect.DeepEqual(&a.items, items) {
		b.ahead = nil
		return nil
	}
	return a
}

// await gives the answer to emit. It is not done if the connection was lost
// before all was told.
func (b *box) await(ctx context.Context, a *begun, emit func(*mailbox.Message) error) (done bool, err error) {
	f := a.fetch
	f.emit, f.ctx, f.conn = emit, ctx, a.conn
	defer f.forget()
	_, err = a.conn.Wait(ctx, a.cmd)
	if a.conn.Broken() == nil {
		if b.usable() != nil {
			return true, imap.NoMailbox()
		}
		return true, refusal(err, imap.CodeCannot)
	}
	b.link.abandon(a.conn)
	b.ahead = nil
	if f.stopped != nil {
		return true, f.stopped
	}
	return false, nil
}
