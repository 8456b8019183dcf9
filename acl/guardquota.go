package acl

import (
	"context"

	"github.com/roost-mail/roost/imap"
)

// QuotaOf needs r.
func (g *Guard) QuotaOf(ctx context.Context, name string) (imap.Quota, bool, error) {
	if err := g.need(ctx, name, imap.RightRead); err != nil {
		return imap.Quota{}, false, err
	}
	return g.home.QuotaOf(ctx, name)
}

// QuotaRoot needs no right: who is not the owner has to know a name that only
// QuotaOf tells.
func (g *Guard) QuotaRoot(ctx context.Context, root string) (imap.Quota, error) {
	return g.home.QuotaRoot(ctx, root)
}
