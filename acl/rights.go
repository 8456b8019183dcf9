package acl

import (
	"slices"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// Identity is who asks: names in their one normalised form.
type Identity struct {
	Owner  string   // whose mail it is
	Acting string   // whose rights apply
	Groups []string // of the acting user
}

// isOwner: a master user acting under another name never is the owner.
func (id Identity) isOwner() bool { return id.Acting == id.Owner }

// applies reports whether an entry of kind k for name speaks of id.
func (id Identity) applies(k kind, name string) bool {
	switch k {
	case kindAnyone, kindAuthenticated:
		return true
	case kindOwner:
		return id.isOwner()
	case kindUser:
		return name == id.Acting
	default:
		return slices.Contains(id.Groups, name)
	}
}

// verdict collects the entries of one kind: several groups are united.
type verdict struct {
	positive, negative       imap.Rights
	hasPositive, hasNegative bool
}

func (v *verdict) add(e mailbox.Entry) {
	if e.Negative {
		v.negative |= e.Rights
		v.hasNegative = true
		return
	}
	v.positive |= e.Rights
	v.hasPositive = true
}

// Rights is what id may do with a mailbox that has these entries. Without
// entries the owner may do everything and nobody else anything. The owner
// always may administer.
func Rights(entries []mailbox.Entry, id Identity) imap.Rights {
	var verdicts [kinds]verdict
	for _, e := range entries {
		if k, name, ok := split(e.Identifier); ok && id.applies(k, name) {
			verdicts[k].add(e)
		}
	}
	var granted, denied imap.Rights
	first := kindAnyone
	if id.isOwner() {
		granted, first = imap.AllRights, kindOwner
	}
	for _, v := range verdicts[first:] {
		if v.hasPositive {
			granted = v.positive
		}
		if v.hasNegative {
			denied = v.negative
		}
	}
	granted &^= denied
	if id.isOwner() {
		granted |= imap.RightAdmin
	}
	return granted
}

// Show is the ACL response of a mailbox: its entries in IMAP's form, and the
// owner's rights even if no entry names the owner.
func Show(entries []mailbox.Entry, owner string) []imap.ACLEntry {
	ownerName := owner
	named := func(e mailbox.Entry) bool { return e.Identifier == idUser+owner }
	if slices.ContainsFunc(entries, named) {
		ownerName = idOwner // so that the two can be told apart
	}
	explicit := false
	out := make([]imap.ACLEntry, 0, len(entries)+1)
	for _, e := range entries {
		shown := imap.ACLEntry{Identifier: toIMAP(e.Identifier, e.Negative, ownerName), Rights: e.Rights}
		if !e.Negative && (e.Identifier == idOwner || named(e)) {
			explicit = true
			shown.Rights |= imap.RightAdmin
		}
		out = append(out, shown)
	}
	if !explicit {
		out = append(out, imap.ACLEntry{Identifier: owner, Rights: imap.AllRights})
	}
	return out
}

// Change is what SETACL does to the entries (RFC 4314 section 3.1). A positive
// entry keeps its place though nothing is left in it: it says "nothing", and
// outweighs weaker entries. self is the acting user's own entry, from
// which the right to administer is never taken.
func Change(entries []mailbox.Entry, identifier string, negative bool, change imap.ACLChange, rights imap.Rights, self Identity) []mailbox.Entry {
	out := slices.Clone(entries)
	i := slices.IndexFunc(out, func(e mailbox.Entry) bool {
		return e.Identifier == identifier && e.Negative == negative
	})
	own := !negative && isSelf(identifier, self)
	if i < 0 {
		e := mailbox.Entry{Identifier: identifier, Negative: negative}
		if own && self.isOwner() && change != imap.ACLReplace {
			e.Rights = imap.AllRights
		}
		out = append(out, e)
		i = len(out) - 1
	}
	switch change {
	case imap.ACLAdd:
		out[i].Rights |= rights
	case imap.ACLRemove:
		out[i].Rights &^= rights
	default:
		out[i].Rights = rights
	}
	if own {
		out[i].Rights |= imap.RightAdmin
	}
	if negative && out[i].Rights == imap.NoRights {
		return slices.Delete(out, i, i+1)
	}
	return out
}

// isSelf reports whether the identifier is the acting user's own.
func isSelf(identifier string, self Identity) bool {
	return identifier == idUser+self.Acting || self.isOwner() && identifier == idOwner
}

// Without removes an entry, as DELETEACL does; it need not exist.
func Without(entries []mailbox.Entry, identifier string, negative bool) []mailbox.Entry {
	return slices.DeleteFunc(slices.Clone(entries), func(e mailbox.Entry) bool {
		return e.Identifier == identifier && e.Negative == negative
	})
}

// MaxEntries bounds the entries of one mailbox. With identifiers as long as they
// may be they still fit into MaxFile.
const MaxEntries = 500
