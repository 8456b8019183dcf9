package acl

import (
	"slices"
	"strings"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// Role is a name for a set of rights. Nothing keeps roles: an entry has the role whose
// rights it grants.
type Role struct {
	Name   string
	Rights imap.Rights
}

// Roles are those that there are, the weakest first. The first two are what other servers
// call read-only and semi-full, with the right to write to the mailbox's address (p) for who
// works in it. full loses mail for good, and admin mailboxes: with x goes the team's own.
func Roles() []Role {
	read := imap.RightLookup | imap.RightRead | imap.RightSeen
	triage := read | imap.RightWrite | imap.RightInsert | imap.RightDeleted | imap.RightPost
	return []Role{
		{"read", read},
		{"triage", triage},
		{"full", triage | imap.RightExpunge | imap.RightCreate},
		{"admin", imap.AllRights},
	}
}

// RoleNames are the names of Roles.
func RoleNames() string {
	var names []string
	for _, r := range Roles() {
		names = append(names, r.Name)
	}
	return strings.Join(names, ", ")
}

// RoleNamed finds a role by its name.
func RoleNamed(name string) (Role, bool) {
	all := Roles()
	i := slices.IndexFunc(all, func(r Role) bool { return r.Name == name })
	if i < 0 {
		return Role{}, false
	}
	return all[i], true
}

// CustomRole is what rights are called that are none of a role.
const CustomRole = "custom"

// RoleOf is the name of the role that has exactly these rights.
func RoleOf(rights imap.Rights) string {
	for _, r := range Roles() {
		if r.Rights == rights {
			return r.Name
		}
	}
	return CustomRole
}

// Administered says whether an entry lets somebody other than the owner change entries, with
// no end.
func Administered(entries []mailbox.Entry) bool {
	return slices.ContainsFunc(entries, func(e mailbox.Entry) bool {
		return !e.Negative && e.Identifier != idOwner && e.Rights.Has(imap.RightAdmin) && e.Expires == 0
	})
}

// ParseMember reads whom an administrator means, in IMAP's form or in that of files, and
// gives it as files have it. What takes rights away, and the owner, is BAD.
func ParseMember(text string, normalize func(string) string) (identifier string, err error) {
	if err := imap.CheckIdentifier(text); err != nil {
		return "", err
	}
	if user, is := strings.CutPrefix(text, idUser); is && user != "" {
		return idUser + normalize(user), nil
	}
	if strings.HasPrefix(text, idUser) || strings.HasPrefix(text, idGroup) || strings.HasPrefix(text, idGroupOverride) {
		if _, _, ok := split(text); !ok {
			return "", imap.BadCommand("Invalid identifier: %s has no name", text)
		}
		return text, nil
	}
	id, negative, err := fromIMAP(text, normalize)
	if err == nil && (negative || id == idOwner) {
		err = imap.BadCommand("%s can't be a member: NAME is a user, $NAME a group", text)
	}
	return id, err
}

// IsUser and IsGroup give the name in an identifier as files have it.
func IsUser(identifier string) (name string, is bool) { return named(identifier, kindUser) }

// IsGroup is described at IsUser.
func IsGroup(identifier string) (name string, is bool) { return named(identifier, kindGroup) }

func named(identifier string, want kind) (string, bool) {
	k, name, ok := split(identifier)
	return name, ok && k == want
}

// MemberName is the inverse of ParseMember: IMAP's form, where that says the same.
func MemberName(identifier string) string {
	short := toIMAP(identifier, false, idOwner)
	back, err := ParseMember(short, func(name string) string { return name })
	if err != nil || back != identifier {
		return identifier
	}
	return short
}
