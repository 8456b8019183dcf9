package share

import (
	"context"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// Publishing is a Home whose changes of sharing are in the index when they are
// answered. It stands between a home of mail and the Guard.
type Publishing struct {
	Home
	publisher *Publisher
	owner     string
}

// NewPublishing wraps home; closing it closes home.
func NewPublishing(p *Publisher, owner string, home Home) *Publishing {
	return &Publishing{Home: home, publisher: p, owner: owner}
}

// done publishes if err is nil and something that matters has changed.
func (a *Publishing) done(ctx context.Context, err error) error {
	if err == nil {
		a.publisher.Published(ctx, a.owner, a.Home)
	}
	return err
}

// UpdateEntries changes the ACL, then the index.
func (a *Publishing) UpdateEntries(ctx context.Context, name string, change func(mailbox.Standing) ([]mailbox.Entry, error)) error {
	return a.done(ctx, a.Home.UpdateEntries(ctx, name, change))
}

// Create makes a mailbox, which may inherit an ACL.
func (a *Publishing) Create(ctx context.Context, name string, use ...imap.Attr) error {
	return a.done(ctx, a.Home.Create(ctx, name, use...))
}

// Delete removes a mailbox, and its entry.
func (a *Publishing) Delete(ctx context.Context, name string) error {
	return a.done(ctx, a.Home.Delete(ctx, name))
}

// Rename takes the entries along.
func (a *Publishing) Rename(ctx context.Context, from, to string) error {
	return a.done(ctx, a.Home.Rename(ctx, from, to))
}
