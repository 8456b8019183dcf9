package acl

import (
	"context"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// QuotaOf needs r.
func (g *Guard) QuotaOf(ctx context.Context, name string) (imap.Quota, bool, error) {
	if err := g.need(ctx, name, imap.RightRead); err != nil {
		return imap.Quota{}, false, err
	}
	return g.home.QuotaOf(ctx, name)
}

// QuotaRoot needs r on any mailbox of who is not the owner, and a name that only
// QuotaOf tells: who has lost all rights learns no more of what the owner does.
func (g *Guard) QuotaRoot(ctx context.Context, root string) (imap.Quota, error) {
	if !g.isOwner() {
		reads, err := g.readsAny(ctx)
		if err != nil {
			return imap.Quota{}, err
		}
		if !reads {
			return imap.Quota{}, mailbox.NoQuotaRoot()
		}
	}
	return g.home.QuotaRoot(ctx, root)
}

// readsAny reports whether there is a mailbox on which the acting user has r.
func (g *Guard) readsAny(ctx context.Context) (bool, error) {
	names, err := g.home.Mailboxes(ctx)
	if err != nil {
		return false, err
	}
	for _, name := range names {
		have, err := g.rights(ctx, name)
		if err != nil && imap.CodeOf(err) != imap.CodeNonExistent {
			return false, err
		}
		if have.Has(imap.RightRead) {
			return true, nil
		}
	}
	return false, nil
}
