package remote

import (
	"context"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapclient"
	"github.com/roost-mail/roost/imapwire"
)

// Vanished asks a peer that knows (RFC 7162 section 3.2.6). Else it names all
// UIDs that messages had.
func (b *box) Vanished(ctx context.Context, uids imap.UIDSet, since imap.ModSeq) (imap.UIDSet, error) {
	var gone imap.UIDSet
	for part := range chunks(uids) {
		err := b.do(ctx, true, func(c *imapclient.Conn) error {
			if !c.Enabled("QRESYNC") || !b.modSeqs(c) {
				if _, err := c.Do(ctx, nil, command("NOOP")); err != nil {
					return err
				}
				err := b.complete(ctx, c)
				gone = gone.Union(b.missing(part))
				return err
			}
			found, err := b.vanished(ctx, c, part, since)
			gone = gone.Union(found)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return gone, nil
}

// vanished is the UID FETCH that tells: of what we were told was there, by a
// response that is not of what happened earlier.
func (b *box) vanished(ctx context.Context, c *imapclient.Conn, uids imap.UIDSet, since imap.ModSeq) (gone imap.UIDSet, err error) {
	own := b.handler()
	h := &imapclient.Handler{Vanished: func(told imap.UIDSet, earlier bool) {
		if !earlier {
			own.Vanished(told, false)
		}
		gone = gone.Union(told.Intersect(uids))
	}}
	_, err = c.Do(ctx, h, func(e *imapwire.Encoder) {
		e.RawString("UID FETCH ").AppendFunc(uids.AppendTo).RawString(" (UID) (CHANGEDSINCE ").Number64(uint64(max(since, 1))).RawString(" VANISHED)")
	})
	return gone, err
}

// missing are those of uids that messages had and that are not there.
func (b *box) missing(uids imap.UIDSet) imap.UIDSet {
	b.mu.Lock()
	defer b.mu.Unlock()
	known := make([]imap.UID, len(b.state.messages))
	for i := range b.state.messages {
		known[i] = b.state.messages[i].uid
	}
	had := imap.UIDRange(1, max(b.state.uidNext, 1)-1)
	return uids.Intersect(had).Minus(imap.UIDSetOf(known...))
}
