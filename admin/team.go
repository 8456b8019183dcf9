package admin

import (
	"context"
	"slices"
	"strings"

	"github.com/roost-mail/roost/acl"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// Teams is the mail of public namespaces, whose mailboxes on the first level are those of
// teams: nobody owns them, and entries say who has which role.
type Teams interface {
	// Places are the public namespaces, in the configuration's order.
	Places() []TeamPlace

	// Who is as whom a user is judged in the mail of an account. NONEXISTENT: there is no
	// such user.
	Who(ctx context.Context, user, account string) (acl.Identity, error)

	// GroupKnown says whether a user is in the group. An error: nobody can tell.
	GroupKnown(ctx context.Context, group string) (bool, error)

	// Open opens the mail of an account that is here. Where there is none yet it is made
	// if create says so, and else NONEXISTENT. Changes are by's, and other authors wait
	// until Close; by is nil for who only looks.
	Open(ctx context.Context, by *Author, account string, create bool) (TeamHome, error)
}

// TeamPlace is a public namespace.
type TeamPlace struct {
	Namespace string
	Prefix    string
	Account   string
}

// TeamHome is the mail of an account that was opened. What does not exist is NONEXISTENT.
type TeamHome interface {
	Mailboxes(ctx context.Context) ([]string, error)
	Entries(ctx context.Context, name string) (*Entries, error)
	Change(ctx context.Context, name string, change func([]mailbox.Entry) ([]mailbox.Entry, error)) error
	Create(ctx context.Context, name string) error
	Delete(ctx context.Context, name string) error
	Messages(ctx context.Context, name string) (int, error)

	// Follows says that mailboxes without entries have those of the level above, as they
	// are now. If not, mailboxes are made with a copy of them.
	Follows() bool

	Close()
}

var (
	teamArg       = Arg{Name: "team", Type: Mailbox, Required: true, Help: "the team: the name of its mailbox, without the namespace"}
	teamMemberArg = Arg{Name: "member", Type: Identifier, Required: true, Help: "NAME is a user, $NAME a group; also as in dovecot-acl files: user=NAME, group=NAME, anyone"}
	teamSpaceArg  = Arg{Name: "namespace", Type: Text, Flag: true, Short: "n", Help: "the public namespace that the team is in, if there are several"}
)

const teamLong = "It is done by the backend that has the mail of the namespace's account; with a coordinator any node asks that one."

func teamOperations() []Operation {
	force := func(help string) Arg { return Arg{Name: "force", Type: Bool, Flag: true, Help: help} }
	role := Arg{Name: "role", Type: Text, Default: "read", Help: acl.RoleNames()}
	mustRole := role
	mustRole.Required, mustRole.Default = true, ""
	all := Arg{Name: "all", Type: Bool, Flag: true, Help: "also on mailboxes below that have other entries than the team's"}
	const apart = " Mailboxes below the team's that have other entries than it has are left alone, and named."
	change := func(name, help, long string, run func(context.Context, *call) (Result, error), args ...Arg) Operation {
		return Operation{
			Name: "team " + name, Args: append(append([]Arg{teamArg}, args...), teamSpaceArg, tagFlag, aclHereArg), Help: help, Long: strings.TrimSpace(long + " " + teamLong),
			Changes: ChangesRights, New: newResult[Team], run: run,
		}
	}
	return []Operation{
		{
			Name: "team list", Args: []Arg{teamSpaceArg, tagFlag, aclHereArg}, Help: "Show the teams and their members",
			Long: "Teams are the mailboxes on the first level of public namespaces, but for INBOX.", New: newResult[TeamList], run: teamList,
		},
		{
			Name: "team show", Args: []Arg{teamArg, teamSpaceArg, tagFlag, aclHereArg}, Help: "Show a team's members, their roles and what these allow",
			Long: "A role is a name for a set of rights; other rights are shown as custom. " + teamLong, New: newResult[Team], run: teamShow,
		},
		change(
			"create", "Make a mailbox for a team", "", teamCreate,
			Arg{Name: "admin", Type: Identifier, Help: "a member with the role admin: NAME is a user, $NAME a group"},
			Arg{Name: "below", Type: Text, Flag: true, Help: "mailboxes to make below it, with commas between them"},
			force("also if nobody knows the admin"),
		),
		{
			Name: "team delete", Args: []Arg{teamArg, force("also if there is mail in them"), teamSpaceArg, tagFlag, aclHereArg}, Help: "Delete a team's mailbox and those below it",
			Long: teamLong, Changes: ChangesRights, New: newResult[TeamDeleted], run: teamDelete,
		},
		change("add", "Make somebody a member of a team", "Who is a member in that role already stays it; other roles are changed by team role."+apart, teamAdd, teamMemberArg, role, all, force("also whom nobody knows")),
		change("remove", "Take a member's rights on all mailboxes of a team", "It is no error if there is no such member.", teamRemove, teamMemberArg, force("also the last one who has the role admin")),
		change("role", "Give a member of a team another role", strings.TrimSpace(apart), teamRole, teamMemberArg, mustRole, all, force("also if that is the last one who has the role admin")),
	}
}

// Team is a mailbox that is nobody's, and who may do what with it.
type Team struct {
	Team      string       `json:"team"`
	Mailbox   string       `json:"mailbox"` // as members call it
	Namespace string       `json:"namespace"`
	Account   string       `json:"account"` // as which the mail is kept
	Members   []TeamMember `json:"members"`
	Apart     []string     `json:"apart,omitempty"` // mailboxes below it that have entries of their own, and other ones
	Notes     []string     `json:"notes,omitempty"` // what the caller should know of what was done
	Off       bool         `json:"off,omitempty"`   // rights are not checked
}

// TeamMember is an entry of a team's mailbox.
type TeamMember struct {
	Member string   `json:"member"` // as IMAP has it
	ID     string   `json:"id"`     // as files have it
	Role   string   `json:"role"`   // of acl.Roles, or custom
	Rights []string `json:"rights"` // what is granted
	Denied []string `json:"denied,omitempty"`
	Global bool     `json:"global,omitempty"` // it is of the file of global entries

	Expires string `json:"expires,omitempty"` // when what is granted ends; absent: never
}

// Table has a row for each member.
func (r *Team) Table() Table {
	t := Table{Head: []string{"Member", "Role", "Rights"}}
	for _, m := range r.Members {
		words := slices.Clone(m.Rights)
		for _, denied := range m.Denied {
			words = append(words, "-"+denied)
		}
		role := m.Role
		if m.Global {
			role += " (global)"
		}
		if m.Expires != "" {
			role += " until " + m.Expires
		}
		t.Rows = append(t.Rows, []string{m.Member, role, strings.Join(words, " ")})
	}
	if len(r.Apart) > 0 {
		t.Foot = append(t.Foot, "With other entries than these: "+strings.Join(r.Apart, ", "))
	}
	t.Foot = append(t.Foot, r.Notes...)
	if r.Off {
		t.Foot = append(t.Foot, aclOff)
	}
	return t
}

// TeamList is all teams.
type TeamList struct {
	Teams  []Team   `json:"teams"`
	Failed []Silent `json:"failed,omitempty"` // namespaces, with the reason
}

// Missing implements Partial.
func (r *TeamList) Missing() []Silent { return r.Failed }

// Table has a row for each team.
func (r *TeamList) Table() Table {
	t := Table{Head: []string{"Team", "Mailbox", "Members"}}
	for _, team := range r.Teams {
		var members []string
		for _, m := range team.Members {
			members = append(members, m.Member+":"+m.Role)
		}
		t.Rows = append(t.Rows, []string{team.Team, team.Mailbox, strings.Join(members, " ")})
	}
	for _, f := range r.Failed {
		t.Foot = append(t.Foot, "namespace "+f.Node+": "+f.Why)
	}
	return t
}

// TeamDeleted is what went with a team.
type TeamDeleted struct {
	Team      string `json:"team"`
	Mailboxes int    `json:"mailboxes"`
	Messages  int    `json:"messages"`
}

// Table is one line.
func (r *TeamDeleted) Table() Table {
	return Table{Foot: []string{"Team " + r.Team + " is deleted: " + mailboxes(r.Mailboxes) + ", " + count(r.Messages, "message")}}
}

func mailboxes(n int) string {
	if n == 1 {
		return "1 mailbox"
	}
	return strings.TrimSuffix(count(n, "mailbox"), "s") + "es"
}

// noTeam is the error for a team that does not exist.
func noTeam(name string) error {
	return imap.Wrap(imap.CodeNonExistent, "team "+name+" doesn't exist", errNoBox)
}

// checkTeam refuses what can't be the name of a team that is made anew.
func checkTeam(place TeamPlace, name string) error {
	err := imap.CheckName(place.Prefix + name)
	switch {
	case strings.ContainsRune(name, imap.Delimiter):
		return imap.BadCommand("team %.40q: a name has no %c: what is below a team's mailbox belongs to the team", name, imap.Delimiter)
	case imap.CanonicalName(name) == imap.Inbox:
		return imap.BadCommand("team %s: that is the account's own mailbox", name)
	case strings.TrimSpace(name) != name:
		return imap.BadCommand("team %.40q: a name does not begin or end with a space", name)
	case err != nil:
		return imap.BadCommand("team %.40q: %s", name, imap.AsError(err).Text)
	}
	return nil
}

// members are the entries of a mailbox, but for the account's own.
func members(list []mailbox.Entry) []TeamMember {
	out := []TeamMember{}
	for _, e := range newACL(&Box{}, &Entries{}, list).Entries {
		if e.ID == "owner" {
			continue
		}
		m := TeamMember{
			Member: acl.MemberName(e.ID), ID: e.ID, Role: acl.RoleOf(rightsOf(e.Rights)), Global: e.Global,
			Rights: e.Rights, Denied: e.Denied, Expires: e.Expires,
		}
		if len(e.Denied) > 0 {
			m.Role = acl.CustomRole
		}
		out = append(out, m)
	}
	return out
}
