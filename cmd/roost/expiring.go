package main

import (
	"context"

	"github.com/roost-mail/roost/acl"
	"github.com/roost-mail/roost/audit"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// newExpirer has rights removed when they expire, from the mail that this backend holds,
// or without a coordinator has opened.
func newExpirer(p *parts) *acl.Expirer {
	mine := func(owner string) bool { return p.holder == nil || p.holder.Keeps(owner) }
	return acl.NewExpirer(acl.ExpirerConfig{Log: p.log, Mine: mine, Remove: p.removeExpired})
}

// noteExpiry takes in when the first of an owner's rights expires.
func (p *parts) noteExpiry(ctx context.Context, owner string, home mailbox.EntryKeeper) {
	if at, err := home.Expiry(ctx); err == nil {
		p.expirer.Note(owner, at)
	}
}

// removeExpired removes what has expired, and returns when the next does. Without a
// coordinator another backend may serve the owner by now, which sees to it.
func (p *parts) removeExpired(ctx context.Context, owner string) (next int64, err error) {
	next, err = adminACLs{p}.removeExpired(ctx, owner)
	switch {
	case imap.CodeOf(err) == imap.CodeNonExistent:
		return 0, nil // and nothing to remove
	case err != nil && p.holds == nil:
		p.log.Info("expired rights are removed when the owner's mail is opened here next", "owner", owner, "error", err)
		return 0, nil
	}
	return next, err
}

func (a adminACLs) removeExpired(ctx context.Context, owner string) (next int64, err error) {
	k, err := a.open(ctx, owner, false)
	if err != nil {
		return 0, err
	}
	defer k.close()
	if k.rules.GlobalsOnly {
		return 0, nil
	}
	err = acl.RemoveExpired(ctx, k.home, k.rules, func(e acl.Event) {
		a.log.Info("rights have expired", "owner", owner, "mailbox", e.Mailbox, "before", *auditLines(e.Before), "after", *auditLines(e.After))
		if a.audit != nil {
			a.audit.Add(auditRecord(e, audit.Record{What: e.What.String(), Owner: owner, Node: nodeName(a.latest().set)}))
		}
	})
	if err != nil {
		return 0, err
	}
	return k.home.Expiry(ctx)
}
