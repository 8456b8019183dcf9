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
	name     string // in the tree's terms
	readOnly bool
	watched  bool // there is a Watch
}

// Prefetch passes on to mail that is elsewhere.
func (m *selected) Prefetch(ctx context.Context, uids imap.UIDSet, items *imap.FetchItems) bool {
	p, ok := m.Mailbox.(mailbox.Prefetcher)
	return ok && p.Prefetch(ctx, uids, items)
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
	data, _, err := mailbox.Transfer(ctx, m.Mailbox, uids, to.account, to.name, imap.AllClasses)
	return data, err
}

// Move between two accounts copies first and removes when the copy is durable:
// whatever fails, the message is in one of them (move.go). The rights to remove are
// asked for before anything is copied.
func (m *selected) Move(ctx context.Context, uids imap.UIDSet, dest string) (imap.CopyData, error) {
	to, err := m.tree.find(dest)
	if err != nil {
		return imap.CopyData{}, tryCreate(err)
	}
	if to.account == m.at.account {
		return m.Mailbox.Move(ctx, uids, to.name)
	}
	return m.moveTo(ctx, uids, to, dest)
}

// Sync finishes what was interrupted, if news are asked for.
func (m *selected) Sync(ctx context.Context, fresh bool) (mailbox.Changes, error) {
	if fresh && !m.watched && m.tree.cfg.Moves.hasLeft(m.tree.cfg.User) {
		m.tree.finishMoves(ctx, m.name, m)
	}
	return m.Mailbox.Sync(ctx, fresh)
}

// Watch passes on.
func (m *selected) Watch(notify func()) (stop func()) {
	m.watched = true
	inner := m.Mailbox.Watch(notify)
	return func() {
		inner()
		m.watched = false
	}
}

func (m *selected) canRemove(ctx context.Context) error {
	if m.readOnly {
		return imap.NoPermission()
	}
	have, err := mailbox.RemovalRights(ctx, m.Mailbox)
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
