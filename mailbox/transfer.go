package mailbox

import (
	"context"
	"io"
	"iter"

	"github.com/roost-mail/roost/imap"
)

// Transfer copies the messages of uids to a mailbox of an Account in another
// home, or where only flags of some classes may be taken along. Bodies stream
// from one to the other. All or none arrive, as Append promises.
func Transfer(ctx context.Context, from Mailbox, uids imap.UIDSet, to Account, dest string, keep imap.FlagClass) (imap.CopyData, error) {
	var moved []imap.UID
	next, stop := iter.Pull2(messages(ctx, from, uids))
	defer stop()
	data, err := to.Append(ctx, dest, func() (*NewMessage, error) {
		m, err, ok := next()
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, io.EOF
		}
		moved = append(moved, m.UID)
		s := m.Sections[0]
		return &NewMessage{Flags: keep.Only(m.Flags), InternalDate: m.InternalDate, Size: s.Size, Body: s.Body}, nil
	})
	if err != nil || data.UIDValidity == 0 {
		return imap.CopyData{}, err
	}
	return imap.CopyData{UIDValidity: data.UIDValidity, Source: imap.UIDSetOf(moved...), Dest: data.UIDs}, nil
}

// messages yields each message whole; it lives until the next one is asked for.
func messages(ctx context.Context, from Mailbox, uids imap.UIDSet) iter.Seq2[*Message, error] {
	items := &imap.FetchItems{Flags: true, InternalDate: true, Sections: []imap.Section{{}}}
	return func(yield func(*Message, error) bool) {
		stopped := false
		err := from.Fetch(ctx, uids, items, func(m *Message) error {
			if !yield(m, nil) {
				stopped = true
				return context.Canceled
			}
			return nil
		})
		if err != nil && !stopped {
			yield(nil, err)
		}
	}
}

// Remove marks the messages of uids \Deleted and expunges just those: the end
// of a MOVE whose copy is durable.
func Remove(ctx context.Context, m Mailbox, uids imap.UIDSet) error {
	change := FlagChange{Op: FlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}, Silent: true}
	if err := m.Store(ctx, uids, change, nil); err != nil {
		return err
	}
	return m.Expunge(ctx, uids, false)
}
