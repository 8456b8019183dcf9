package acl

import (
	"cmp"
	"slices"
	"strings"

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

// heard is an entry that speaks of an Identity.
type heard struct {
	mailbox.Entry
	kind kind
}

// compare orders entries as they are heard: local before global ones, weaker kinds
// before stronger ones, groups of one kind by their names.
func (h *heard) compare(o *heard) int {
	switch {
	case h.Global != o.Global && o.Global:
		return -1
	case h.Global != o.Global:
		return 1
	}
	return cmp.Or(cmp.Compare(h.kind, o.kind), strings.Compare(h.Identifier, o.Identifier), cmp.Compare(h.sign(), o.sign()))
}

func (h *heard) sign() int {
	if h.Negative {
		return 1
	}
	return 0
}

// hear are those of entries that speak of id, in their order, appended to list. To
// an owner no local entry matters that is weaker than the owner's.
func hear(list []heard, entries []mailbox.Entry, id Identity) []heard {
	for _, e := range entries {
		k, name, ok := split(e.Identifier)
		if ok && id.applies(k, name) && (e.Global || k >= kindOwner || !id.isOwner()) {
			list = append(list, heard{e, k})
		}
	}
	slices.SortStableFunc(list, func(a, b heard) int { return a.compare(&b) })
	return list
}

// judgement is what has been granted and denied so far.
type judgement struct {
	granted, denied imap.Rights
	last            heard  // what was heard before, if first is not empty
	first           string // of the kind that is heard now, the identifier heard first
}

// Rights is what id may do with a mailbox for which these entries hold. Without
// entries the owner may do everything and nobody else anything. Local entries
// never take from the owner the right to administer; global ones may.
//
// A kind replaces what weaker kinds grant, and what they deny. Of several groups of one kind the
// first, by name, replaces, and the others add to what there is then.
func Rights(entries []mailbox.Entry, id Identity) imap.Rights {
	var few [8]heard
	j := begin(id)
	for _, h := range hear(few[:0], entries, id) {
		j.hear(h, id)
	}
	return j.rights(id)
}

func begin(id Identity) judgement {
	if id.isOwner() {
		return judgement{granted: imap.AllRights}
	}
	return judgement{}
}

// hear takes in an entry, the next in order.
func (j *judgement) hear(h heard, id Identity) {
	if h.Global && !j.last.Global {
		j.endLocal(id)
		j.denied = imap.NoRights
	}
	if j.first == "" || j.last.kind != h.kind || j.last.Global != h.Global {
		j.first = h.Identifier
	}
	rights := &j.granted
	if h.Negative {
		rights = &j.denied
	}
	if h.Identifier == j.first && j.last.compare(&h) != 0 { // not another line of the same
		*rights = imap.NoRights
	}
	*rights |= h.Rights
	j.last = h
}

// endLocal leaves an owner the right to administer, whatever the local entries say.
func (j *judgement) endLocal(id Identity) {
	if id.isOwner() {
		j.granted |= imap.RightAdmin
		j.denied &^= imap.RightAdmin
	}
}

// rights are those when all has been heard.
func (j *judgement) rights(id Identity) imap.Rights {
	if !j.last.Global {
		j.endLocal(id)
	}
	return j.granted &^ j.denied
}

// show is the ACL response of a mailbox: its entries in IMAP's form, global ones
// with # before them, and the owner's rights even if no entry names the owner.
func show(entries []mailbox.Entry, owner string) []imap.ACLEntry {
	ownerName := owner
	named := func(e mailbox.Entry) bool { return e.Identifier == idUser+owner && !e.Global }
	if slices.ContainsFunc(entries, named) {
		ownerName = idOwner // so that the two can be told apart
	}
	explicit := false
	out := make([]imap.ACLEntry, 0, len(entries)+1)
	for _, e := range entries {
		shown := imap.ACLEntry{Identifier: toIMAP(e.Identifier, e.Negative, ownerName), Rights: e.Rights}
		switch {
		case e.Global:
			shown.Identifier = "#" + shown.Identifier
		case !e.Negative && (e.Identifier == idOwner || named(e)):
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
	if i < 0 && change == imap.ACLRemove && !own {
		return out // an entry that says "nothing" would take what weaker ones grant
	}
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

// maxEntries bounds the entries of one mailbox. With identifiers as long as they
// may be they still fit into maxFile.
const maxEntries = 500
