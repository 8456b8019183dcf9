package acl

import (
	"context"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// grantable are the rights that LISTRIGHTS offers, each on its own, with the
// virtual c and d tied to nothing (RFC 4314 sections 2.1.1 and 3.7).
func grantable() []imap.Rights {
	var out []imap.Rights
	for r := imap.RightLookup; r <= imap.RightAdmin; r <<= 1 {
		out = append(out, r)
	}
	return out
}

// knowing are the rights of which any answers MYRIGHTS (RFC 4314 section 4).
const knowing = imap.RightLookup | imap.RightRead | imap.RightInsert |
	imap.RightCreate | imap.RightDeleteMailbox | imap.RightAdmin

// MyRights needs any right but p and those to change messages.
func (g *Guard) MyRights(ctx context.Context, name string) (imap.Rights, error) {
	have, err := g.rights(ctx, name)
	if err == nil && !have.HasAny(knowing) {
		err = g.refusal(have, imap.RightLookup)
	}
	if err != nil {
		return 0, err
	}
	return have, nil
}

// needAdmin is need for a, in the words that clients know.
func (g *Guard) needAdmin(ctx context.Context, name string) error {
	have, err := g.rights(ctx, name)
	if err != nil {
		return err
	}
	return g.refusalOfAdmin(have)
}

func (g *Guard) refusalOfAdmin(have imap.Rights) error {
	err := g.refusal(have, imap.RightAdmin)
	if imap.CodeOf(err) == imap.CodeNoPerm {
		return imap.Errorf(imap.CodeNoPerm, "You lack administrator privileges on this mailbox")
	}
	return err
}

// GetACL needs a.
func (g *Guard) GetACL(ctx context.Context, name string) ([]imap.ACLEntry, error) {
	if err := g.needAdmin(ctx, name); err != nil {
		return nil, err
	}
	standing, err := g.home.Standing(ctx, name)
	if err != nil {
		return nil, err
	}
	return show(g.opts.Rules.Entries(standing), g.owner), nil
}

// ListRights needs a.
func (g *Guard) ListRights(ctx context.Context, name, identifier string) (imap.GrantableRights, error) {
	if err := g.needAdmin(ctx, name); err != nil {
		return imap.GrantableRights{}, err
	}
	id, negative, err := fromIMAP(identifier, g.opts.Normalize)
	if err != nil {
		return imap.GrantableRights{}, err
	}
	out := imap.GrantableRights{Optional: grantable()}
	if !negative && (id == idOwner || id == idUser+g.owner) {
		out.Required = imap.RightAdmin
		out.Optional = out.Optional[:len(out.Optional)-1]
	}
	return out, nil
}

// SetACL needs a.
func (g *Guard) SetACL(ctx context.Context, name, identifier string, change imap.ACLChange, rights imap.Rights) error {
	return g.audited(Event{What: SetACL, Mailbox: name}, func(e *Event) error {
		return g.setACL(ctx, e, identifier, change, rights)
	})
}

func (g *Guard) setACL(ctx context.Context, e *Event, identifier string, change imap.ACLChange, rights imap.Rights) error {
	if err := g.needAdmin(ctx, e.Mailbox); err != nil {
		return err
	}
	id, negative, err := fromIMAP(identifier, g.opts.Normalize)
	if err != nil {
		return err
	}
	if (id == idAnyone || id == idAuthenticated) && !g.opts.AllowAnyone {
		return imap.BadCommand("'%s' identifier is disallowed", id)
	}
	return g.update(ctx, e, func(entries []mailbox.Entry) ([]mailbox.Entry, error) {
		return Change(entries, id, negative, change, rights, g.who()), nil
	})
}

// DeleteACL needs a.
func (g *Guard) DeleteACL(ctx context.Context, name, identifier string) error {
	return g.audited(Event{What: DeleteACL, Mailbox: name}, func(e *Event) error {
		if err := g.needAdmin(ctx, name); err != nil {
			return err
		}
		id, negative, err := fromIMAP(identifier, g.opts.Normalize)
		if err != nil {
			return err
		}
		return g.update(ctx, e, func(entries []mailbox.Entry) ([]mailbox.Entry, error) {
			return Without(entries, id, negative), nil
		})
	})
}

// audited has a change of entries made, and tells of it if they changed or it failed.
func (g *Guard) audited(e Event, change func(*Event) error) error {
	err := change(&e)
	if err != nil || e.Changed {
		g.tell(e, err)
	}
	return err
}

// update changes entries if the acting user still may, as the transaction sees
// it: the right may just have gone.
func (g *Guard) update(ctx context.Context, e *Event, change func([]mailbox.Entry) ([]mailbox.Entry, error)) error {
	audited := g.opts.Rules.AuditedChange(e, change)
	return g.home.UpdateEntries(ctx, e.Mailbox, func(s mailbox.Standing) ([]mailbox.Entry, error) {
		if err := g.refusalOfAdmin(g.judge(s)); err != nil {
			return nil, err
		}
		return audited(s)
	})
}
