package remote

import (
	"context"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapclient"
)

// Vanished names all UIDs that messages had.
func (b *box) Vanished(ctx context.Context, uids imap.UIDSet, _ imap.ModSeq) (imap.UIDSet, error) {
	err := b.do(ctx, true, func(c *imapclient.Conn) error { return b.complete(ctx, c) })
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	known := make([]imap.UID, len(b.state.messages))
	for i := range b.state.messages {
		known[i] = b.state.messages[i].uid
	}
	had := imap.UIDRange(1, max(b.state.uidNext, 1)-1)
	return uids.Intersect(had).Minus(imap.UIDSetOf(known...)), nil
}
