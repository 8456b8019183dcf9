package acl

import (
	"slices"
	"strings"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// Edit is a change of an administrator's: what it names it makes, also to the
// owner's own entry.
type Edit struct {
	Identifier string // as in files, without -
	Change     imap.ACLChange
	Grant      imap.Rights // of the positive entry
	Deny       imap.Rights // of the negative one
	Expires    *int64      // when the positive one ends, in seconds of Unix time, 0: never; nil: as before
}

// ParseEdit reads an identifier as in files, and rights by their long names: "all" is
// all of them, one with - before it is denied. Without a word nothing is granted. What
// can't be read is BAD.
func ParseEdit(identifier string, change imap.ACLChange, words []string) (Edit, error) {
	e := Edit{Identifier: identifier, Change: change}
	if e.Identifier == idAnonymous {
		e.Identifier = idAnyone
	}
	if err := imap.CheckIdentifier(identifier); err != nil {
		return e, err
	}
	if _, _, ok := split(e.Identifier); !ok {
		return e, imap.BadCommand("Invalid ID: %s: there are anyone, authenticated, owner, user=NAME, group=NAME and group-override=NAME", identifier)
	}
	for _, word := range words {
		name, negative := strings.CutPrefix(word, "-")
		r, ok := RightNamed(name)
		if name == "all" {
			r, ok = imap.AllRights, true
		}
		switch {
		case !ok:
			return e, imap.BadCommand("Invalid right '%.40s': there are all and %s", word, NamesOf(imap.AllRights))
		case negative:
			e.Deny |= r
		default:
			e.Grant |= r
		}
	}
	return e, nil
}

// Apply is entries as e changes them. Replacing leaves of the identifier's two
// entries those that rights were named for. A positive entry from which the last right is
// taken stays, as it outweighs weaker ones. An entry keeps its date unless another is named.
func (e Edit) Apply(entries []mailbox.Entry) []mailbox.Entry {
	out := slices.Clone(entries)
	expires := int64(0)
	if i := e.positive(entries); i >= 0 {
		expires = entries[i].Expires
	}
	if e.Expires != nil {
		expires = *e.Expires
	}
	if e.Change == imap.ACLReplace {
		out = Without(Without(out, e.Identifier, false), e.Identifier, true)
	}
	if e.Grant != 0 || e.Change == imap.ACLReplace && e.Deny == 0 {
		out = e.one(out, false, e.Grant)
	}
	if e.Deny != 0 {
		out = e.one(out, true, e.Deny)
	}
	if i := e.positive(out); i >= 0 {
		out[i].Expires = expires
	}
	return out
}

// positive is the place of the identifier's positive entry, or -1.
func (e Edit) positive(entries []mailbox.Entry) int {
	return slices.IndexFunc(entries, func(o mailbox.Entry) bool { return o.Identifier == e.Identifier && !o.Negative })
}

// one changes one of the two entries; taking from one that is not there makes none.
func (e Edit) one(entries []mailbox.Entry, negative bool, rights imap.Rights) []mailbox.Entry {
	there := slices.ContainsFunc(entries, func(o mailbox.Entry) bool {
		return o.Identifier == e.Identifier && o.Negative == negative
	})
	if e.Change == imap.ACLRemove && !there {
		return entries
	}
	administrator := Identity{Owner: "-"} // nobody's own entry
	return Change(entries, e.Identifier, negative, e.Change, rights, administrator)
}
