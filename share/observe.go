package share

import (
	"context"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

var _ mailbox.Observer = (*Publishing)(nil)

// Observe passes on.
func (a *Publishing) Observe(ctx context.Context, below []string, notify func()) (stop func(), err error) {
	o, ok := a.Home.(mailbox.Observer)
	if !ok {
		return nil, imap.Errorf(imap.CodeCannot, "This mail can't be observed")
	}
	return o.Observe(ctx, below, notify)
}

// Overview passes on.
func (a *Publishing) Overview(ctx context.Context) ([]mailbox.Glance, error) {
	o, ok := a.Home.(mailbox.Observer)
	if !ok {
		return nil, nil
	}
	return o.Overview(ctx)
}

// MetadataChanges passes on.
func (a *Publishing) MetadataChanges(ctx context.Context) ([]mailbox.MetadataChange, error) {
	o, ok := a.Home.(mailbox.Observer)
	if !ok {
		return nil, nil
	}
	return o.MetadataChanges(ctx)
}
