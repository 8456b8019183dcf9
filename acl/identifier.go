package acl

import (
	"strings"

	"github.com/roost-mail/roost/imap"
)

// kind is what an identifier names; a later kind outweighs an earlier one.
type kind int

const (
	kindAnyone kind = iota
	kindAuthenticated
	kindGroup
	kindOwner
	kindUser
	kindGroupOverride
	kinds
)

// The identifiers of ACL files. The ones that end with = are followed by a name.
const (
	idAnyone        = "anyone"
	idAnonymous     = "anonymous" // another spelling of anyone
	idAuthenticated = "authenticated"
	idOwner         = "owner"
	idGroup         = "group="
	idUser          = "user="
	idGroupOverride = "group-override="
)

// split takes an identifier in file form apart. ok is false if it is none.
func split(id string) (k kind, name string, ok bool) {
	switch id {
	case idAnyone, idAnonymous:
		return kindAnyone, "", true
	case idAuthenticated:
		return kindAuthenticated, "", true
	case idOwner:
		return kindOwner, "", true
	}
	for _, p := range [...]struct {
		prefix string
		kind   kind
	}{{idUser, kindUser}, {idGroup, kindGroup}, {idGroupOverride, kindGroupOverride}} {
		if name, ok := strings.CutPrefix(id, p.prefix); ok && name != "" {
			return p.kind, name, true
		}
	}
	return 0, "", false
}

// fromIMAP turns an identifier as SETACL names it into file form: `bob` is
// user=bob, `$team` group=team, `!$team` group-override=team, and a leading
// `-` makes it negative (RFC 4314 section 3). normalize brings a user's name
// into its one form. An identifier that can't be is BAD.
func fromIMAP(id string, normalize func(string) string) (identifier string, negative bool, err error) {
	if err := imap.CheckIdentifier(id); err != nil {
		return "", false, err
	}
	id, negative = strings.CutPrefix(id, "-")
	switch {
	case id[0] == '#':
		return "", false, imap.BadCommand("Global ACLs can't be modified: %s", id)
	case id == idAnyone || id == idAnonymous:
		return idAnyone, negative, nil
	case id == idAuthenticated || id == idOwner:
		return id, negative, nil
	case strings.HasPrefix(id, "!$"):
		id = idGroupOverride + id[2:]
	case id[0] == '$':
		id = idGroup + id[1:]
	default:
		name := normalize(id)
		switch name {
		case idAnyone, idAnonymous, idAuthenticated, idOwner: // it would look like the special word
			return "", false, imap.BadCommand("Invalid identifier: %q is a special word", name)
		}
		id = idUser + name
	}
	if _, _, ok := split(id); !ok {
		return "", false, imap.BadCommand("Invalid identifier: it has no name")
	}
	return id, negative, nil
}

// toIMAP is the inverse of fromIMAP; ownerName stands for the owner entry.
func toIMAP(id string, negative bool, ownerName string) string {
	k, name, ok := split(id)
	switch {
	case !ok:
		name = id
	case k == kindAnyone:
		name = idAnyone
	case k == kindAuthenticated:
		name = idAuthenticated
	case k == kindOwner:
		name = ownerName
	case k == kindGroup:
		name = "$" + name
	case k == kindGroupOverride:
		name = "!$" + name
	}
	if negative {
		return "-" + name
	}
	return name
}
