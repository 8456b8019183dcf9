package remote

import (
	"context"
	"errors"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapclient"
	"github.com/roost-mail/roost/imapwire"
)

// rightsCommand runs a command of RFC 4314, if the peer knows them.
func (a *Account) rightsCommand(ctx context.Context, h *imapclient.Handler, verb, name string, args func(*imapwire.Encoder)) error {
	err := a.control.do(ctx, true, func(c *imapclient.Conn) error {
		if !c.Has("ACL") {
			return imap.Errorf(imap.CodeCannot, "Rights are not available for this mailbox")
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = a.named(ctx, h, verb, name, imap.CodeCannot, args)
	if status, ok := errors.AsType[*imapclient.Status](err); ok && status.Kind == imapclient.Bad {
		return badIdentifier(err)
	}
	return err
}

// badIdentifier is what a BAD from the owner's side means: the grammar is right, so it is
// the identifier that it does not take.
func badIdentifier(cause error) error {
	return &imap.Error{Text: "Invalid identifier", Bad: true, Err: cause}
}

// MyRights are the acting user's, as the peer says.
func (a *Account) MyRights(ctx context.Context, name string) (imap.Rights, error) {
	var rights imap.Rights
	h := &imapclient.Handler{MyRights: func(r imap.Rights) { rights = r }}
	err := a.rightsCommand(ctx, h, "MYRIGHTS", name, nil)
	return rights, err
}

// GetACL returns the entries as the peer shows them.
func (a *Account) GetACL(ctx context.Context, name string) ([]imap.ACLEntry, error) {
	var entries []imap.ACLEntry
	h := &imapclient.Handler{ACL: func(list []imap.ACLEntry) { entries = list }}
	err := a.rightsCommand(ctx, h, "GETACL", name, nil)
	return entries, err
}

// SetACL changes an entry at the peer.
func (a *Account) SetACL(ctx context.Context, name, identifier string, change imap.ACLChange, rights imap.Rights) error {
	return a.rightsCommand(ctx, nil, "SETACL", name, func(e *imapwire.Encoder) {
		letters := rights.Letters()
		if change != imap.ACLReplace {
			letters = string(change) + letters
		}
		e.SP().AString(identifier).SP().AString(letters)
	})
}

// DeleteACL removes an entry at the peer.
func (a *Account) DeleteACL(ctx context.Context, name, identifier string) error {
	return a.rightsCommand(ctx, nil, "DELETEACL", name, func(e *imapwire.Encoder) { e.SP().AString(identifier) })
}

// ListRights is what the peer says.
func (a *Account) ListRights(ctx context.Context, name, identifier string) (imap.GrantableRights, error) {
	var rights imap.GrantableRights
	h := &imapclient.Handler{ListRights: func(r imap.GrantableRights) { rights = r }}
	err := a.rightsCommand(ctx, h, "LISTRIGHTS", name, func(e *imapwire.Encoder) { e.SP().AString(identifier) })
	return rights, err
}
