package remote

import (
	"context"
	"slices"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapclient"
	"github.com/roost-mail/roost/imapwire"
)

// Flags of more than searchFrom messages are searched for, if there are no more
// than maxSearched different ones.
const (
	searchFrom  = 200
	maxSearched = 24
)

// learn asks for those flags of uids that are not known yet.
func (b *box) learn(ctx context.Context, c *imapclient.Conn, uids imap.UIDSet) error {
	unknown := b.unknown(uids, false)
	if unknown.Len() > searchFrom {
		if done, err := b.searchFlags(ctx, c); done || err != nil {
			return err
		}
	}
	return b.fetchUnknown(ctx, c, unknown, nil)
}

func (b *box) fetchUnknown(ctx context.Context, c *imapclient.Conn, unknown imap.UIDSet, h *imapclient.Handler) error {
	for part := range chunks(unknown) {
		if _, err := c.Do(ctx, h, b.flagsCommand(c, part)); err != nil {
			return err
		}
	}
	return nil
}

// searchFlags asks for the flags of all messages by a search for each flag, whose
// answers are much shorter than a line for each message. The modification
// sequences stay unknown. What changes meanwhile the peer tells by FETCH
// responses, and that is what counts then.
func (b *box) searchFlags(ctx context.Context, c *imapclient.Conn) (done bool, err error) {
	b.mu.Lock()
	flags := withoutRecent(b.state.flags)
	able := searches(c) && !b.state.noModSeq && !b.state.incomplete() && len(flags) <= maxSearched
	b.mu.Unlock()
	if !able {
		return false, nil
	}
	found := make([]imap.UIDSet, len(flags))
	sent := make([]*imapclient.Command, len(flags))
	for i, f := range flags {
		h := &imapclient.Handler{Search: func(uids imap.UIDSet, _ imap.ModSeq) { found[i] = uids }}
		sent[i], err = c.Send(ctx, h, func(e *imapwire.Encoder) {
			e.RawString("UID SEARCH RETURN (ALL) ")
			writeFlagKey(e, f)
		})
		if err != nil {
			return false, err
		}
	}
	for _, cmd := range sent {
		if _, refused := c.Wait(ctx, cmd); refused != nil {
			err = refused
		}
	}
	if err != nil {
		return false, err
	}
	b.event(func(st *state) {
		if slices.Equal(withoutRecent(st.flags), flags) { // else there is a new keyword
			st.fill(flags, found)
			done = true
		}
	})
	return done, nil
}

// askFlags asks for the flags of uids, also of those that are known: others may have changed them.
func (b *box) askFlags(ctx context.Context, uids imap.UIDSet) error {
	return b.do(ctx, true, func(c *imapclient.Conn) error { return b.fetchUnknown(ctx, c, uids, nil) })
}

// learnAhead has known, when the next command on the connection is answered, the
// flags of uids, and if exact is set their modification sequences: if the answer
// is short enough for nobody to read it meanwhile, it comes along with that. h
// may be nil.
func (b *box) learnAhead(ctx context.Context, c *imapclient.Conn, uids imap.UIDSet, exact bool, h *imapclient.Handler) error {
	unknown := b.unknown(uids, exact)
	if unknown.Empty() {
		return nil
	}
	if unknown.Len() > maxRanges {
		return b.fetchUnknown(ctx, c, unknown, h)
	}
	_, err := c.Send(ctx, h, b.flagsCommand(c, unknown))
	return err
}

// unknown is state.unknown.
func (b *box) unknown(uids imap.UIDSet, exact bool) imap.UIDSet {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state.unknown(uids, exact)
}

// flagsCommand asks for what is kept of messages.
func (b *box) flagsCommand(c *imapclient.Conn, uids imap.UIDSet) func(*imapwire.Encoder) {
	return func(e *imapwire.Encoder) {
		e.RawString("UID FETCH ").AppendFunc(uids.AppendTo).SP().RawString(b.flagItems(c))
	}
}
