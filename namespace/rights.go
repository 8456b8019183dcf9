package namespace

import (
	"context"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// rightsOf finds the account that answers for a name's rights.
func (t *Tree) rightsOf(name string) (mailbox.ACL, string, error) {
	p, err := t.find(name)
	if err != nil {
		return nil, "", err
	}
	rights, ok := p.account.(mailbox.ACL)
	if !ok {
		return nil, "", imap.Errorf(imap.CodeCannot, "ACLs are not in use here")
	}
	return rights, p.name, nil
}

// MyRights passes on.
func (t *Tree) MyRights(ctx context.Context, name string) (imap.Rights, error) {
	rights, inner, err := t.rightsOf(name)
	if err != nil {
		return 0, err
	}
	return rights.MyRights(ctx, inner)
}

// GetACL passes on.
func (t *Tree) GetACL(ctx context.Context, name string) ([]imap.ACLEntry, error) {
	rights, inner, err := t.rightsOf(name)
	if err != nil {
		return nil, err
	}
	return rights.GetACL(ctx, inner)
}

// SetACL passes on.
func (t *Tree) SetACL(ctx context.Context, name, identifier string, change imap.ACLChange, r imap.Rights) error {
	rights, inner, err := t.rightsOf(name)
	if err != nil {
		return err
	}
	return rights.SetACL(ctx, inner, identifier, change, r)
}

// DeleteACL passes on.
func (t *Tree) DeleteACL(ctx context.Context, name, identifier string) error {
	rights, inner, err := t.rightsOf(name)
	if err != nil {
		return err
	}
	return rights.DeleteACL(ctx, inner, identifier)
}

// ListRights passes on.
func (t *Tree) ListRights(ctx context.Context, name, identifier string) (imap.GrantableRights, error) {
	rights, inner, err := t.rightsOf(name)
	if err != nil {
		return imap.GrantableRights{}, err
	}
	return rights.ListRights(ctx, inner, identifier)
}
