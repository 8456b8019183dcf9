package admin

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/roost-mail/roost/acl"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

func teamList(ctx context.Context, c *call) (Result, error) {
	if c.Teams == nil {
		return c.anyBackend(ctx)
	}
	places := c.Teams.Places()
	if c.args.word("namespace") != "" {
		place, err := c.place()
		if err != nil {
			return nil, err
		}
		places = []TeamPlace{place}
	}
	res := &TeamList{Teams: []Team{}}
	for _, place := range places {
		teams, err := c.teamsOf(ctx, place)
		if err != nil {
			res.Failed = append(res.Failed, Silent{place.Namespace, imap.AsError(err).Text})
		}
		res.Teams = append(res.Teams, teams...)
	}
	return res, nil
}

// teamsOf are the teams of a namespace, whose account may be elsewhere.
func (c *call) teamsOf(ctx context.Context, place TeamPlace) ([]Team, error) {
	if !c.ACLs.Here(place.Account) && !c.args.is("here") {
		args := c.here()
		args["namespace"] = place.Namespace
		res, err := c.askHolder(ctx, place.Account, c.op, args)
		list, ok := res.(*TeamList)
		if err != nil || !ok {
			return nil, err
		}
		if len(list.Failed) > 0 {
			err = imap.Errorf(imap.CodeUnavailable, "%s", list.Failed[0].Why)
		}
		return list.Teams, err
	}
	home, err := c.openTeams(ctx, place, false)
	if imap.CodeOf(err) == imap.CodeNonExistent {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer home.Close()
	names, err := home.Mailboxes(ctx)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	var teams []Team
	for _, name := range names {
		if checkTeam(place, name) != nil {
			continue
		}
		e, err := home.Entries(ctx, name)
		if imap.CodeOf(err) == imap.CodeNonExistent {
			continue // it has just gone
		}
		if err != nil {
			return nil, err
		}
		teams = append(teams, *newTeam(place, name, e))
	}
	return teams, nil
}

func newTeam(place TeamPlace, name string, e *Entries) *Team {
	return &Team{Team: name, Mailbox: place.Prefix + name, Namespace: place.Namespace, Account: place.Account, Members: members(e.List), Off: e.Off}
}

func teamShow(ctx context.Context, c *call) (Result, error) {
	return c.atTeam(ctx, func(t *openTeam) (Result, error) { return t.show(ctx) })
}

// show is the team as it is now.
func (t *openTeam) show(ctx context.Context, notes ...string) (Result, error) {
	r, err := t.rights(ctx)
	if err != nil {
		return nil, err
	}
	team := newTeam(t.place, t.name, r.top)
	team.Notes = notes
	for _, b := range r.below {
		if b.own && !b.same {
			team.Apart = append(team.Apart, t.full(b.name))
		}
	}
	return team, nil
}

func teamCreate(ctx context.Context, c *call) (Result, error) {
	return c.atTeam(ctx, func(t *openTeam) (Result, error) {
		names, err := t.below()
		if err != nil {
			return nil, err
		}
		var note string
		admin := c.args.word("admin")
		if admin != "" {
			if admin, note, err = t.member(ctx, admin); err != nil {
				return nil, err
			}
		}
		if err := t.create(ctx, admin, names); err != nil {
			return nil, err
		}
		return t.show(ctx, some(note)...)
	})
}

// below are the mailboxes that are to be made below the team's.
func (t *openTeam) below() ([]string, error) {
	var names []string
	for name := range strings.SplitSeq(t.args.word("below"), ",") {
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		name = t.name + string(imap.Delimiter) + name
		if err := imap.CheckName(t.full(name)); err != nil {
			return nil, imap.BadCommand("%s: --below: %.40q: %s", t.op.Name, name, imap.AsError(err).Text)
		}
		names = append(names, name)
	}
	return names, nil
}

// create makes the mailboxes, whose rights are those of the first. If they can't be given,
// there is none.
func (t *openTeam) create(ctx context.Context, admin string, below []string) error {
	err := t.home.Create(ctx, t.name)
	if imap.CodeOf(err) == imap.CodeAlreadyExists {
		return imap.Wrap(imap.CodeAlreadyExists, "team "+t.name+" exists already", err)
	}
	if err != nil {
		return err
	}
	if admin != "" {
		role, _ := acl.RoleNamed("admin")
		if err := t.home.Change(ctx, t.name, grant(admin, role.Rights)); err != nil {
			if undone := t.home.Delete(context.WithoutCancel(ctx), t.name); undone != nil {
				return imap.Wrap(imap.CodeOf(err), fmt.Sprintf("team %s has been made and nobody let in: %s", t.name, imap.AsError(err).Text), err)
			}
			return err
		}
	}
	for _, name := range below {
		if err := t.home.Create(ctx, name); err != nil && imap.CodeOf(err) != imap.CodeAlreadyExists {
			return imap.Wrap(imap.CodeOf(err), fmt.Sprintf("team %s has been made, but not %s: %s", t.name, name, imap.AsError(err).Text), err)
		}
	}
	return nil
}

// grant gives an identifier these rights and no others.
func grant(id string, rights imap.Rights) func([]mailbox.Entry) ([]mailbox.Entry, error) {
	edit := acl.Edit{Identifier: id, Change: imap.ACLReplace, Grant: rights}
	return func(entries []mailbox.Entry) ([]mailbox.Entry, error) {
		if has(entries, id, rights) {
			return entries, nil
		}
		return edit.Apply(entries), nil
	}
}

// has says whether an identifier has these rights and no other entry.
func has(entries []mailbox.Entry, id string, rights imap.Rights) bool {
	about := slices.DeleteFunc(slices.Clone(entries), func(e mailbox.Entry) bool { return e.Identifier != id })
	return len(about) == 1 && about[0] == mailbox.Entry{Identifier: id, Rights: rights}
}

// member is a member that the arguments name, who has to exist unless --force is given.
// note says that nobody could tell.
func (t *openTeam) member(ctx context.Context, text string) (id, note string, err error) {
	if id, err = t.parseMember(text); err != nil || t.args.is("force") {
		return id, "", err
	}
	if user, is := acl.IsUser(id); is {
		if user == t.place.Account {
			return "", "", imap.Errorf(imap.CodeCannot, "%s is the account that the mail of team %s belongs to: it can't be a member", user, t.name)
		}
		_, err = t.Teams.Who(ctx, user, t.place.Account)
		return id, "", err
	}
	group, is := acl.IsGroup(id)
	if !is {
		return id, "", nil
	}
	known, err := t.Teams.GroupKnown(ctx, group)
	switch {
	case ctx.Err() != nil:
		return "", "", ctx.Err()
	case err != nil:
		note = fmt.Sprintf("Whether there is a group %s is not known: %s", group, imap.AsError(err).Text)
	case !known:
		return "", "", imap.Errorf(imap.CodeNonExistent, "group %s: no user is in it (--force adds it nevertheless)", group)
	}
	return id, note, nil
}

// parseMember is a member in its one form.
func (t *openTeam) parseMember(text string) (string, error) {
	return acl.ParseMember(text, func(name string) string {
		if normal, err := t.Users.Normalize(name); err == nil {
			return normal
		}
		return name
	})
}

func some(note string) []string {
	if note == "" {
		return nil
	}
	return []string{note}
}

// role is the role that the arguments name.
func (c *call) role() (acl.Role, error) {
	role, ok := acl.RoleNamed(c.args.word("role"))
	if !ok {
		return role, imap.BadCommand("%s: there is no role %.40q: there are %s", c.op.Name, c.args.word("role"), acl.RoleNames())
	}
	return role, nil
}

func teamAdd(ctx context.Context, c *call) (Result, error) {
	role, err := c.role()
	if err != nil {
		return nil, err
	}
	return c.atTeam(ctx, func(t *openTeam) (Result, error) {
		id, note, err := t.member(ctx, c.args.word("member"))
		if err != nil {
			return nil, err
		}
		return t.set(ctx, id, role, note, func(entries []mailbox.Entry) error {
			for _, m := range members(local(entries)) {
				if m.ID == id && m.Role != role.Name {
					return imap.Errorf(imap.CodeAlreadyExists, "%s is in team %s already, as %s: roost team role changes that", m.Member, t.name, m.Role)
				}
			}
			return nil
		})
	})
}

func teamRole(ctx context.Context, c *call) (Result, error) {
	role, err := c.role()
	if err != nil {
		return nil, err
	}
	return c.atTeam(ctx, func(t *openTeam) (Result, error) {
		id, err := t.parseMember(c.args.word("member"))
		if err != nil {
			return nil, err
		}
		return t.set(ctx, id, role, "", func(entries []mailbox.Entry) error {
			if !slices.ContainsFunc(entries, func(e mailbox.Entry) bool { return e.Identifier == id && !e.Global }) {
				return imap.Wrap(imap.CodeNonExistent, fmt.Sprintf("%s is no member of team %s", acl.MemberName(id), t.name), errNoBox)
			}
			return nil
		})
	})
}

// set gives a member a role on all mailboxes of the team that have the team's entries, or
// with --all on all that have entries, the team's own last: what was not done to its end is taken up when it is done again.
// allowed is asked before anything is changed, and again about what is changed.
func (t *openTeam) set(ctx context.Context, id string, role acl.Role, note string, allowed func([]mailbox.Entry) error) (Result, error) {
	r, err := t.rights(ctx)
	if err != nil {
		return nil, err
	}
	if r.top.Off {
		return nil, imap.Errorf(imap.CodeCannot, "%s: %s", t.op.Name, aclOff)
	}
	change := func(entries []mailbox.Entry) ([]mailbox.Entry, error) {
		if err := allowed(entries); err != nil {
			return nil, err
		}
		changed, err := grant(id, role.Rights)(entries)
		if err != nil {
			return nil, err
		}
		return changed, t.keepsAdmin(entries, changed)
	}
	if _, err := change(local(r.top.List)); err != nil {
		return nil, err
	}
	for _, b := range slices.Backward(r.below) {
		if !b.own || !b.same && !t.args.is("all") {
			continue
		}
		err := t.home.Change(ctx, b.name, func(now []mailbox.Entry) ([]mailbox.Entry, error) {
			if !slices.Equal(now, b.entries) {
				return now, nil // it has just got others
			}
			return grant(id, role.Rights)(now)
		})
		if err != nil && imap.CodeOf(err) != imap.CodeNonExistent {
			return nil, err
		}
	}
	if err := t.home.Change(ctx, t.name, change); err != nil {
		return nil, t.known(err)
	}
	return t.show(ctx, some(note)...)
}

// keepsAdmin refuses to take the right to change rights from the last member who has it.
func (t *openTeam) keepsAdmin(before, after []mailbox.Entry) error {
	if acl.Administered(before) && !acl.Administered(after) && !t.args.is("force") {
		return imap.Errorf(imap.CodeCannot, "that is the last member of team %s with the role admin: --force does it nevertheless", t.name)
	}
	return nil
}

func teamRemove(ctx context.Context, c *call) (Result, error) {
	return c.atTeam(ctx, func(t *openTeam) (Result, error) {
		id, err := t.parseMember(c.args.word("member"))
		if err != nil {
			return nil, err
		}
		r, err := t.rights(ctx)
		if err != nil {
			return nil, err
		}
		err = t.home.Change(ctx, t.name, func(entries []mailbox.Entry) ([]mailbox.Entry, error) {
			after := acl.Without(acl.Without(entries, id, false), id, true)
			return after, t.keepsAdmin(entries, after)
		})
		if err != nil {
			return nil, t.known(err)
		}
		for _, b := range r.below {
			if !b.own {
				continue
			}
			err := t.home.Change(ctx, b.name, func(entries []mailbox.Entry) ([]mailbox.Entry, error) {
				if b.same {
					entries = acl.Without(entries, id, true)
				}
				return acl.Without(entries, id, false), nil // what is denied there stays so
			})
			if err != nil && imap.CodeOf(err) != imap.CodeNonExistent {
				return nil, imap.Wrap(imap.CodeOf(err), fmt.Sprintf("%s may still have rights on %s: %s", acl.MemberName(id), t.full(b.name), imap.AsError(err).Text), err)
			}
		}
		return t.show(ctx, t.still(ctx, id)...)
	})
}

// still says what a user who was removed may do nevertheless, by other entries.
func (t *openTeam) still(ctx context.Context, id string) []string {
	user, is := acl.IsUser(id)
	if !is {
		return nil
	}
	who, err := t.Teams.Who(ctx, user, t.place.Account)
	if err != nil {
		return nil // who is gone may do nothing
	}
	e, err := t.home.Entries(ctx, t.name)
	if err != nil || e.Off {
		return nil
	}
	if have := acl.Rights(e.List, who); have != 0 {
		return []string{fmt.Sprintf("%s may still %s, by other entries: roost acl explain %s %s", user, acl.NamesOf(have), user, t.full(t.name))}
	}
	return nil
}

func teamDelete(ctx context.Context, c *call) (Result, error) {
	return c.atTeam(ctx, func(t *openTeam) (Result, error) {
		names, err := t.tree(ctx)
		if err != nil {
			return nil, err
		}
		if len(names) == 0 {
			return nil, noTeam(t.name)
		}
		messages := 0
		for _, name := range names {
			n, err := t.home.Messages(ctx, name)
			if err != nil && imap.CodeOf(err) != imap.CodeNonExistent {
				return nil, err
			}
			messages += n
		}
		if messages > 0 && !c.args.is("force") {
			return nil, imap.Errorf(imap.CodeCannot, "team %s has %s in %s: --force deletes them", t.name, count(messages, "message"), mailboxes(len(names)))
		}
		res := &TeamDeleted{Team: t.name}
		for len(names) > 0 {
			for _, name := range names {
				if err := t.delete(ctx, name, res); err != nil {
					return nil, imap.Wrap(imap.CodeOf(err), fmt.Sprintf("team %s is not deleted to its end, %s is left: %s", t.name, t.full(name), imap.AsError(err).Text), err)
				}
			}
			if names, err = t.tree(ctx); err != nil { // what was made meanwhile
				return nil, err
			}
		}
		return res, nil
	})
}

// delete deletes a mailbox; what is above it has gone, so that nobody makes others there.
func (t *openTeam) delete(ctx context.Context, name string, res *TeamDeleted) error {
	n, err := t.home.Messages(ctx, name)
	if err == nil && n > 0 && !t.args.is("force") {
		err = imap.Errorf(imap.CodeCannot, "mail has just come")
	}
	if err == nil {
		err = t.home.Delete(ctx, name)
	}
	if imap.CodeOf(err) == imap.CodeNonExistent {
		return nil
	}
	if err == nil {
		res.Mailboxes++
		res.Messages += n
	}
	return err
}
