package remote

import (
	"context"
	"slices"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapclient"
	"github.com/roost-mail/roost/imapwire"
	"github.com/roost-mail/roost/mailbox"
)

// quotaCommand runs a command of RFC 9208, if the peer knows them.
func (a *Account) quotaCommand(ctx context.Context, h *imapclient.Handler, meant imap.Code, build func(*imapwire.Encoder)) error {
	return refusal(a.control.do(ctx, true, func(c *imapclient.Conn) error {
		if !c.Has("QUOTA") {
			return imap.Errorf(imap.CodeCannot, "Quotas are not available for this mailbox")
		}
		_, err := c.Do(ctx, h, build)
		return err
	}), meant)
}

// QuotaOf is the first root that the peer tells of.
func (a *Account) QuotaOf(ctx context.Context, name string) (imap.Quota, bool, error) {
	var roots []string
	var quotas []imap.Quota
	h := &imapclient.Handler{
		QuotaRoot: func(list []string) { roots = list },
		Quota:     func(q *imap.Quota) { quotas = append(quotas, *q) },
	}
	err := a.quotaCommand(ctx, h, imap.CodeNonExistent, func(e *imapwire.Encoder) {
		peer, _ := a.control.toPeer(name) // what can't be spelled there is no mailbox there
		e.RawString("GETQUOTAROOT ").Mailbox(peer)
	})
	if err != nil || len(roots) == 0 {
		return imap.Quota{}, false, err
	}
	i := slices.IndexFunc(quotas, func(q imap.Quota) bool { return q.Root == roots[0] })
	if i < 0 {
		return imap.Quota{Root: roots[0]}, true, nil // a root without resources
	}
	return quotas[i], true, nil
}

// QuotaRoot is what the peer says.
func (a *Account) QuotaRoot(ctx context.Context, root string) (imap.Quota, error) {
	quota := imap.Quota{Root: root}
	h := &imapclient.Handler{Quota: func(q *imap.Quota) { quota = *q }}
	err := a.quotaCommand(ctx, h, imap.CodeNonExistent, func(e *imapwire.Encoder) {
		e.RawString("GETQUOTA ").AString(root)
	})
	if imap.CodeOf(err) == imap.CodeNonExistent {
		err = mailbox.NoQuotaRoot()
	}
	return quota, err
}
