package namespace

import (
	"context"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// selected is an open mailbox of the tree.
type selected struct {
	mailbox.Mailbox
	tree     *Tree
	at       place
	readOnly bool
}

// Copy goes to whichever account dest is in. Between two accounts the messages
// are read from one and appended to the other, all or none.
func (m *selected) Copy(ctx context.Context, uids imap.UIDSet, dest string) (imap.CopyData, error) {
	to, err := m.tree.find(dest)
	if err != nil {
		return imap.CopyData{}, tryCreate(err)
	}
	if to.account == m.at.account {
		return m.Mailbox.Copy(ctx, uids, to.name)
	}
	return mailbox.Transfer(ctx, m.Mailbox, uids, to.account, to.name, imap.AllClasses)
}

// Move between two accounts copies first and removes when the copy is durable:
// whatever fails, the message is in one of them. The rights to remove are
// asked for before anything is copied.
func (m *selected) Move(ctx context.Context, uids imap.UIDSet, dest string) (imap.CopyData, error) {
	to, err := m.tree.find(dest)
	if err != nil {
		return imap.CopyData{}, tryCreate(err)
	}
	if to.account == m.at.account {
		return m.Mailbox.Move(ctx, uids, to.name)
	}
	if err := m.canRemove(ctx); err != nil {
		return imap.CopyData{}, err
	}
	data, err := mailbox.Transfer(ctx, m.Mailbox, uids, to.account, to.name, imap.AllClasses)
	if err != nil {
		return imap.CopyData{}, err
	}
	return data, mailbox.Remove(ctx, m.Mailbox, uids)
}

func (m *selected) canRemove(ctx context.Context) error {
	if m.readOnly {
		return imap.NoPermission()
	}
	rights, ok := m.at.account.(mailbox.ACL)
	if !ok {
		return nil
	}
	have, err := rights.MyRights(ctx, m.Mailbox.Info().Name)
	if err == nil && !have.Has(imap.RightRead|imap.RightDeleted|imap.RightExpunge) {
		err = imap.NoPermission()
	}
	return err
}

// Close frees the handle.
func (m *selected) Close() error {
	if m.tree.selected == m.at.account {
		m.tree.selected = nil
	}
	return m.Mailbox.Close()
}
