package namespace

import (
	"context"

	"github.com/roost-mail/roost/imap"
)

// MyRights passes on.
func (t *Tree) MyRights(ctx context.Context, name string) (imap.Rights, error) {
	p, err := t.find(name)
	if err != nil {
		return 0, err
	}
	return p.account.MyRights(ctx, p.name)
}

// GetACL passes on.
func (t *Tree) GetACL(ctx context.Context, name string) ([]imap.ACLEntry, error) {
	p, err := t.find(name)
	if err != nil {
		return nil, err
	}
	return p.account.GetACL(ctx, p.name)
}

// SetACL passes on.
func (t *Tree) SetACL(ctx context.Context, name, identifier string, change imap.ACLChange, r imap.Rights) error {
	p, err := t.find(name)
	if err != nil {
		return err
	}
	return p.account.SetACL(ctx, p.name, identifier, change, r)
}

// DeleteACL passes on.
func (t *Tree) DeleteACL(ctx context.Context, name, identifier string) error {
	p, err := t.find(name)
	if err != nil {
		return err
	}
	return p.account.DeleteACL(ctx, p.name, identifier)
}

// ListRights passes on.
func (t *Tree) ListRights(ctx context.Context, name, identifier string) (imap.GrantableRights, error) {
	p, err := t.find(name)
	if err != nil {
		return imap.GrantableRights{}, err
	}
	return p.account.ListRights(ctx, p.name, identifier)
}
