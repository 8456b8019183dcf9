package acl

import (
	"context"
	"slices"

	"github.com/roost-mail/roost/imap"
)

// annotating are the rights of which any, with l, lets a user use the
// annotations of a mailbox (RFC 5464 section 3.3).
const annotating = imap.RightRead | imap.RightSeen | imap.RightWrite | imap.RightInsert | imap.RightPost

// needMetadata asks for the rights on a mailbox's annotations, and for more where
// they are changed.
func (g *Guard) needMetadata(ctx context.Context, name string, more imap.Rights) error {
	have, err := g.rights(ctx, name)
	switch {
	case err != nil:
		return err
	case have.Has(imap.RightLookup) && !have.HasAny(annotating):
		return g.noPermission()
	}
	return g.refusal(have, imap.RightLookup|more)
}

// GetMetadata needs l and one of r s w i p. The account itself has annotations
// for its owner only.
func (g *Guard) GetMetadata(ctx context.Context, name string, q *imap.MetadataQuery) (imap.MetadataFound, error) {
	if name == "" && !g.isOwner() {
		return q.Select(nil), nil
	}
	if name != "" {
		if err := g.needMetadata(ctx, name, imap.NoRights); err != nil {
			return imap.MetadataFound{}, err
		}
	}
	return g.home.GetMetadata(ctx, name, q)
}

// SetMetadata needs w as well to change what others see, and a to say whether
// readers have flags of their own: that changes what all of them see. Special uses are the
// owner's to give.
func (g *Guard) SetMetadata(ctx context.Context, name string, entries []imap.MetadataEntry) error {
	shared := slices.ContainsFunc(entries, func(e imap.MetadataEntry) bool { return !imap.MetadataIsPrivate(e.Name) })
	if name == "" {
		// What all users of the server see is not one user's to say.
		if shared || !g.isOwner() {
			return g.noPermission()
		}
		return g.home.SetMetadata(ctx, name, entries)
	}
	err := g.setMetadata(ctx, name, shared, entries)
	if shared {
		g.tell(Event{What: SetMetadata, Mailbox: name, Entries: sharedNames(entries), Shared: g.others(g.local(ctx, name))}, err)
	}
	return err
}

// sharedNames are the names of the entries that others see too.
func sharedNames(entries []imap.MetadataEntry) (names []string) {
	for _, e := range entries {
		switch {
		case imap.MetadataIsPrivate(e.Name):
		case e.Name == imap.MetadataPrivateFlags && len(e.Value) <= len("private"):
			names = append(names, e.Name+"="+string(e.Value))
		default:
			names = append(names, e.Name)
		}
	}
	return names
}

// setMetadata sets annotations of a mailbox.
func (g *Guard) setMetadata(ctx context.Context, name string, shared bool, entries []imap.MetadataEntry) error {
	more := imap.NoRights
	if shared {
		more = imap.RightWrite
	}
	if slices.ContainsFunc(entries, func(e imap.MetadataEntry) bool { return e.Name == imap.MetadataPrivateFlags }) {
		more |= imap.RightAdmin
	}
	if err := g.needMetadata(ctx, name, more); err != nil {
		return err
	}
	isUse := func(e imap.MetadataEntry) bool { return e.Name == imap.MetadataSpecialUse }
	if !g.isOwner() && slices.ContainsFunc(entries, isUse) {
		return errNotOwners()
	}
	return g.home.SetMetadata(ctx, name, entries)
}

func errNotOwners() error {
	return imap.Errorf(imap.CodeUseAttr, "Only the owner gives a mailbox a special use")
}
