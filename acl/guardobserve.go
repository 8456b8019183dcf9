package acl

import (
	"context"
	"slices"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// Observe passes on: that something changed somewhere tells nothing. Groups may change too.
func (g *Guard) Observe(ctx context.Context, below []string, notify func()) (stop func(), err error) {
	stopMail, err := g.home.Observe(ctx, below, notify)
	if err != nil {
		return nil, err
	}
	stopGroups := g.opts.Groups.Watch(notify)
	return func() {
		stopGroups()
		stopMail()
	}, nil
}

// Overview shows the mailboxes on which the acting user has l, and the counters
// of those with r as well (RFC 5465 section 5).
func (g *Guard) Overview(ctx context.Context) ([]mailbox.Glance, error) {
	all, err := g.home.Overview(ctx)
	if err != nil {
		return nil, err
	}
	visible := all[:0]
	for _, glance := range all {
		have, err := g.rights(ctx, glance.Name)
		switch {
		case imap.CodeOf(err) == imap.CodeNonExistent:
			continue // deleted meanwhile
		case err != nil:
			return nil, err
		case !have.Has(imap.RightLookup):
			continue
		case !have.Has(imap.RightRead):
			glance.Readable, glance.Status = false, imap.Status{}
		}
		visible = append(visible, glance)
	}
	return visible, nil
}

// MetadataChanges tells of what GetMetadata would show.
func (g *Guard) MetadataChanges(ctx context.Context) ([]mailbox.MetadataChange, error) {
	all, err := g.home.MetadataChanges(ctx)
	if err != nil {
		return nil, err
	}
	may := map[string]error{}
	return slices.DeleteFunc(all, func(c mailbox.MetadataChange) bool {
		if c.Mailbox == "" {
			return !g.isOwner()
		}
		if _, asked := may[c.Mailbox]; !asked {
			may[c.Mailbox] = g.needMetadata(ctx, c.Mailbox, imap.NoRights)
		}
		return may[c.Mailbox] != nil
	}), nil
}
