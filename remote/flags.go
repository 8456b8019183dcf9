package remote

import (
	"context"
	"slices"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapclient"
	"github.com/roost-mail/roost/mailbox"
)

// flagsAlone reports whether a FETCH asks for nothing that is not kept here.
func flagsAlone(items *imap.FetchItems) bool {
	return items.Flags && !items.MarkSeen && !items.ModSeq && items.ChangedSince == 0 && !items.InternalDate && !items.Size &&
		!items.Envelope && !items.Body && !items.BodyStructure && len(items.Sections) == 0 &&
		!items.EmailID && !items.ThreadID && !items.SaveDate && !items.Preview && len(items.BinarySizes) == 0
}

// fetchFlags answers from what the peer has told of flags, which is kept. What is
// not known yet is asked for; else the FETCH of one message makes sure that it
// is the latest, and that the acting user still may read.
func (b *box) fetchFlags(ctx context.Context, uids imap.UIDSet, emit func(*mailbox.Message) error) error {
	probe := imap.UIDSetOf(uids.Max()).String()
	err := b.do(ctx, true, func(c *imapclient.Conn) error {
		if b.unknown(uids, false).Empty() {
			if _, err := c.Do(ctx, nil, command("UID FETCH "+probe+" (UID FLAGS)")); err != nil {
				return err
			}
		}
		if err := b.learn(ctx, c, uids); err != nil {
			return err
		}
		return b.complete(ctx, c)
	})
	if err != nil {
		return err
	}
	var (
		batch []message
		out   mailbox.Message
	)
	for next := imap.UID(1); ; next = batch[len(batch)-1].uid + 1 {
		if batch = b.known(batch[:0], next, uids); len(batch) == 0 {
			return nil
		}
		for i := range batch {
			out = mailbox.Message{UID: batch[i].uid, Flags: batch[i].flags()}
			if err := emit(&out); err != nil {
				return err
			}
		}
		if batch[len(batch)-1].uid == uids.Max() {
			return nil
		}
	}
}

// batchSize is how many messages are copied while the state is locked.
const batchSize = 256

// known appends copies of the first messages of uids from next on.
func (b *box) known(batch []message, next imap.UID, uids imap.UIDSet) []message {
	b.mu.Lock()
	defer b.mu.Unlock()
	i, _ := slices.BinarySearchFunc(b.state.messages, next, compareUID)
	for ; i < len(b.state.messages) && len(batch) < batchSize; i++ {
		if m := &b.state.messages[i]; m.set != nil && uids.Contains(m.uid) {
			batch = append(batch, *m)
		}
	}
	return batch
}
