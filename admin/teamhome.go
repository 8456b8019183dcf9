package admin

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"

	"github.com/roost-mail/roost/acl"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// place is the namespace that the arguments name, or the only one there is.
func (c *call) place() (TeamPlace, error) {
	places := c.Teams.Places()
	want := c.args.word("namespace")
	var names []string
	for _, p := range places {
		if p.Namespace == want || p.Prefix == want || want == "" && len(places) == 1 {
			return p, nil
		}
		names = append(names, p.Namespace)
	}
	switch {
	case len(places) == 0:
		return TeamPlace{}, imap.Errorf(imap.CodeCannot, "%s: there is no namespace with type = public, which teams need", c.op.Name)
	case want == "":
		return TeamPlace{}, imap.BadCommand("%s: say which namespace by -n: %s", c.op.Name, strings.Join(names, ", "))
	}
	return TeamPlace{}, imap.BadCommand("%s: there is no public namespace %.40q: there are %s", c.op.Name, want, strings.Join(names, ", "))
}

// openTeam is a team that exists, or is to be made, in the mail of its account.
type openTeam struct {
	*call
	place TeamPlace
	name  string
	home  TeamHome
}

// full is the team's mailbox as members call it, or one below it.
func (t *openTeam) full(name string) string { return t.place.Prefix + name }

// atTeam does what do does at the node that has the team's mail.
func (c *call) atTeam(ctx context.Context, do func(t *openTeam) (Result, error)) (Result, error) {
	if c.Teams == nil {
		return c.anyBackend(ctx)
	}
	place, err := c.place()
	if err != nil {
		return nil, err
	}
	name := c.args.word("team")
	if err := checkTeam(place, name); err != nil {
		return nil, err
	}
	if !c.ACLs.Here(place.Account) && !c.args.is("here") {
		return c.askHolder(ctx, place.Account, c.op, c.here())
	}
	home, err := c.openTeams(ctx, place, c.op.Name == "team create")
	if imap.CodeOf(err) == imap.CodeNonExistent {
		return nil, noTeam(name)
	}
	if err != nil {
		return nil, err
	}
	defer home.Close()
	return do(&openTeam{call: c, place: place, name: name, home: home})
}

// openTeams opens the mail of a namespace's account. It is NONEXISTENT if there was none yet.
func (c *call) openTeams(ctx context.Context, place TeamPlace, create bool) (TeamHome, error) {
	if _, err := c.Teams.Who(ctx, place.Account, place.Account); err != nil {
		code := imap.CodeOf(err)
		if code == imap.CodeNonExistent {
			code = imap.CodeCannot // which is the configuration's fault, not the team's
		}
		return nil, imap.Wrap(code, "the account of the namespace: "+imap.AsError(err).Text, err)
	}
	var by *Author
	if c.op.Changes != "" {
		by = &Author{c.who, c.op.Name}
	}
	return c.Teams.Open(ctx, by, place.Account, create)
}

// anyBackend has a backend answer, where no mail is kept. Another one is asked if the first
// can't be reached; a change goes on only if nothing was said to it.
func (c *call) anyBackend(ctx context.Context) (Result, error) {
	if _, ok := c.Cluster.(Coordinated); !ok {
		return nil, c.alone("the backend that serves the namespace's account")
	}
	nodes, err := c.otherBackends(ctx)
	if err != nil {
		return nil, err
	}
	c.asked = true
	var silent []Silent
	for _, n := range nodes {
		res, err := c.askForAnother(ctx, n)
		if err == nil || !unreached(err, c.op.Changes != "") {
			return res, err
		}
		silent = append(silent, Silent{n.Name, reason(err)})
	}
	return nil, noneAnswers(silent)
}

// noneAnswers is the error if no backend could be asked, with the reason of each.
func noneAnswers(silent []Silent) error {
	whys := []string{"no backend answers: say it at one"}
	for _, s := range silent {
		whys = append(whys, s.Node+": "+s.Why)
	}
	return imap.Errorf(imap.CodeUnavailable, "%s", strings.Join(whys, "; "))
}

// askForAnother asks a node that may have to ask the holder.
func (c *call) askForAnother(ctx context.Context, n Node) (Result, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*peerTime)
	defer cancel()
	return c.ask(ctx, n, c.op, c.args)
}

// unreached says whether another node may be asked instead.
func unreached(err error, changes bool) bool {
	if _, is := errors.AsType[Unasked](err); is {
		return true
	}
	if changes {
		op, is := errors.AsType[*net.OpError](err)
		return is && op.Op == "dial"
	}
	code := imap.CodeOf(err)
	return code == imap.CodeUnavailable || code == imap.CodeServerBug
}

// tree are the team's own mailbox and those below it, each before those below. The
// team's own may be missing.
func (t *openTeam) tree(ctx context.Context) ([]string, error) {
	all, err := t.home.Mailboxes(ctx)
	if err != nil {
		return nil, err
	}
	below := t.name + string(imap.Delimiter)
	names := slices.DeleteFunc(slices.Clone(all), func(name string) bool { return name != t.name && !strings.HasPrefix(name, below) })
	slices.Sort(names)
	return names, nil
}

// teamRights are the entries of a team's mailboxes.
type teamRights struct {
	top   *Entries
	below []boxRights // each before those below it
}

// boxRights are the entries of a mailbox below the team's.
type boxRights struct {
	name    string
	entries []mailbox.Entry // but for the global ones
	own     bool            // they are the mailbox's own, and are changed for it alone
	same    bool            // they are the team's, and so are those of all levels between
}

// rights reads them. Mailboxes that are deleted meanwhile are left out.
func (t *openTeam) rights(ctx context.Context) (*teamRights, error) {
	names, err := t.tree(ctx)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(names, t.name) {
		return nil, noTeam(t.name)
	}
	r := &teamRights{}
	same := map[string]bool{t.name: true}
	for _, name := range names {
		e, err := t.home.Entries(ctx, name)
		switch {
		case imap.CodeOf(err) == imap.CodeNonExistent && name != t.name:
			continue
		case err != nil:
			return nil, t.known(err)
		case name == t.name:
			r.top = e
			continue
		}
		b := boxRights{name: name, entries: local(e.List)}
		b.own = e.Source == acl.FromMailbox || e.Source == acl.FromNowhere && !t.home.Follows()
		b.same = same[above(same, name)] && slices.Equal(acl.Sorted(b.entries), acl.Sorted(local(r.top.List)))
		same[name] = b.same
		r.below = append(r.below, b)
	}
	return r, nil
}

// above is the nearest level above a mailbox that is known.
func above(known map[string]bool, name string) string {
	for {
		name = name[:max(strings.LastIndexByte(name, imap.Delimiter), 0)]
		if _, is := known[name]; is || name == "" {
			return name
		}
	}
}

// local are entries without the global ones.
func local(entries []mailbox.Entry) []mailbox.Entry {
	return slices.DeleteFunc(slices.Clone(entries), func(e mailbox.Entry) bool { return e.Global })
}

// known gives an error about the team's mailbox the team's name.
func (t *openTeam) known(err error) error {
	if imap.CodeOf(err) == imap.CodeNonExistent {
		return noTeam(t.name)
	}
	return err
}
