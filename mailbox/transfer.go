package mailbox

import (
	"context"
	"errors"
	"io"
	"iter"

	"github.com/roost-mail/roost/imap"
)

// Transfer copies the messages of uids to a mailbox of an Account in another
// home, or where only flags of some classes may be taken along. Bodies stream
// from one to the other. All or none arrive, as Append promises. copied are the
// messages that were there to copy, whether or not the destination tells UIDs.
func Transfer(ctx context.Context, from Mailbox, uids imap.UIDSet, to Account, dest string, keep imap.FlagClass) (data imap.CopyData, copied imap.UIDSet, err error) {
	var moved []imap.UID
	next, stop := iter.Pull2(messages(ctx, from, uids))
	defer stop()
	appended, err := to.Append(ctx, dest, func() (*NewMessage, error) {
		m, err, ok := next()
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, io.EOF
		}
		if len(m.Sections) != 1 || m.Sections[0].Missing || m.Sections[0].Body == nil {
			return nil, imap.Wrap(imap.CodeUnavailable, "A message can't be read", errNoBody)
		}
		moved = append(moved, m.UID)
		s := m.Sections[0]
		return &NewMessage{Flags: keep.Only(m.Flags), InternalDate: m.InternalDate, Size: s.Size, Body: s.Body, EmailID: m.EmailID}, nil
	})
	if err != nil {
		return imap.CopyData{}, nil, err
	}
	copied = imap.UIDSetOf(moved...)
	if appended.UIDValidity != 0 {
		data = imap.CopyData{UIDValidity: appended.UIDValidity, Source: copied, Dest: appended.UIDs}
	}
	return data, copied, nil
}

var errNoBody = errors.New("message without a body")

// messages yields each message whole; it lives until the next one is asked for.
func messages(ctx context.Context, from Mailbox, uids imap.UIDSet) iter.Seq2[*Message, error] {
	items := &imap.FetchItems{Flags: true, InternalDate: true, EmailID: true, Sections: []imap.Section{{Binary: true}}}
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
	if _, err := m.Store(ctx, uids, change, nil); err != nil {
		return err
	}
	return m.Expunge(ctx, uids, false)
}

// RemovalRights are the acting user's rights on an open mailbox, as far as a removal
// needs them. It may have been renamed, so that it is asked itself: a mailbox that
// can't say refuses changes to a message that does not exist, or does not.
func RemovalRights(ctx context.Context, m Mailbox) (imap.Rights, error) {
	if self, ok := m.(interface {
		MyRights(context.Context) (imap.Rights, error)
	}); ok {
		return self.MyRights(ctx)
	}
	none := imap.UIDSetOf(1<<32 - 1)
	change := FlagChange{Op: FlagsRemove, Flags: []imap.Flag{imap.FlagDeleted}, Silent: true}
	if _, err := m.Store(ctx, none, change, nil); err != nil {
		return 0, err
	}
	return imap.AllRights, m.Expunge(ctx, none, false)
}
