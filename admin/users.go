package admin

import (
	"cmp"
	"context"
	"slices"
	"strconv"

	"github.com/roost-mail/roost/imap"
)

func userOperations() []Operation {
	return []Operation{
		{
			Name: "director map", Args: []Arg{
				{Name: "host", Type: Host, Help: "only users of this backend"},
				{Name: "user", Type: User, Flag: true, Short: "u", Help: "this user"},
				{Name: "users", Type: Users, Flag: true, Short: "f", Help: "the users of this file, a name a line"},
				{Name: "hash", Type: Number, Flag: true, Short: "h", Help: "only users with this slot, or without a coordinator with this hash"},
				tagFlag,
			},
			Help: "Show which users belong to which backend",
			Long: "Without -u and -f the users are those that the userdb lists, and if it lists none, those that have sessions here. A user who was moved has the slot of the name still, and -h finds the user by it.",
			New:  newResult[UserMap], run: directorMap,
		},
		{
			Name: "director move", Args: []Arg{userArg, hostArg, timeoutArg},
			Help:    "Move one user to a backend, and keep the user there",
			Long:    "The user's sessions end, and clients that come back are served by the other backend. It is a pin: it stays until director unmove, or director flush.",
			Changes: "where users are", Slow: true, New: newResult[Moved], run: directorMove,
		},
		{
			Name: "director unmove", Aliases: []string{"unpin"}, Args: []Arg{userArg, timeoutArg},
			Help:    "Send a user that was moved back to where the user belongs",
			Changes: "where users are", Slow: true, New: newResult[Moved], run: directorUnmove,
		},
	}
}

var tagFlag = Arg{Name: "tag", Type: Tag, Flag: true, Short: "t", Help: "the users' director_tag"}

// UserMap is users and their backends.
type UserMap struct {
	Users []Place `json:"users"`
}

// Table has doveadm's columns, but for the time when an assignment expires: none does.
func (r *UserMap) Table() Table {
	t := Table{Head: []string{"user", "hash", "mail server ip", "remarks"}}
	for _, p := range r.Users {
		remarks := ""
		switch {
		case p.Pinned != "":
			remarks = "moved there by an administrator"
			if p.Pinned != p.Current {
				remarks = "moving to " + p.Pinned
			}
		case p.State != "served":
			remarks = p.State
		}
		t.Rows = append(t.Rows, []string{p.User, p.Unit, cmp.Or(p.Current, "n/a"), remarks})
	}
	return t
}

func directorMap(ctx context.Context, c *call) (Result, error) {
	cl, err := c.cluster()
	if err != nil {
		return nil, err
	}
	host, err := c.host(ctx, cl)
	if err != nil {
		return nil, err
	}
	users, err := c.mapped(ctx)
	if err != nil {
		return nil, err
	}
	res := &UserMap{Users: []Place{}}
	for _, user := range users {
		p, err := cl.Place(ctx, user, c.args.word("tag"))
		if err != nil {
			return nil, err
		}
		if (host == "" || p.Current == host) && (c.args.word("hash") == "" || int(p.Hash) == c.args.number("hash")) {
			res.Users = append(res.Users, p)
		}
	}
	return res, nil
}

// mapped are the users that director map is about, each once.
func (c *call) mapped(ctx context.Context) ([]string, error) {
	if c.args.word("user") != "" {
		user, err := c.user("user")
		return []string{user}, err
	}
	var users []string
	if given := c.args.users("users"); given != nil {
		for _, name := range given {
			user, err := c.Users.Normalize(name)
			if err != nil {
				return nil, imap.Wrap(imap.CodeNonExistent, strconv.Quote(name)+" can't be a user's name", err)
			}
			users = append(users, user)
		}
		return users, nil
	}
	users, err := c.Users.List(ctx, "*")
	if err != nil && c.Sessions != nil { // the userdb does not list, or can't now
		for s := range c.Sessions.List() {
			if s.User != "" {
				users = append(users, s.User)
			}
		}
	}
	slices.Sort(users)
	users = slices.Compact(users)
	if len(users) > MaxUsers {
		return nil, imap.Errorf(imap.CodeLimit, "there are more than %d users: name some by -u or -f", MaxUsers)
	}
	return users, nil
}

// Moved is a user after a move.
type Moved struct {
	User Place `json:"user"`
	Done bool  `json:"done"`
}

// Table is one line.
func (r *Moved) Table() Table {
	p := r.User
	switch {
	case !r.Done:
		return Table{Foot: []string{"User " + p.User + " is moving; director status " + p.User + " shows how far it is"}}
	case p.Current == "":
		return Table{Foot: []string{"User " + p.User + " is served by nobody now"}}
	}
	return Table{Foot: []string{"User " + p.User + " is at " + p.Current}}
}

// clusterAndUser are what a move is about.
func (c *call) clusterAndUser() (cl Cluster, user string, err error) {
	if cl, err = c.cluster(); err == nil {
		user, err = c.user("user")
	}
	return cl, user, err
}

func directorMove(ctx context.Context, c *call) (Result, error) {
	cl, user, err := c.clusterAndUser()
	if err != nil {
		return nil, err
	}
	b, err := findBackend(ctx, cl, c.args.word("host"))
	if err != nil {
		return nil, err
	}
	if err := cl.Pin(ctx, user, b.Host, c.who.Name); err != nil {
		return nil, err
	}
	return c.awaitUser(ctx, cl, user)
}

func directorUnmove(ctx context.Context, c *call) (Result, error) {
	cl, user, err := c.clusterAndUser()
	if err != nil {
		return nil, err
	}
	if err := cl.Unpin(ctx, user); err != nil {
		return nil, err
	}
	return c.awaitUser(ctx, cl, user)
}

func (c *call) awaitUser(ctx context.Context, cl Cluster, user string) (Result, error) {
	res := &Moved{}
	if limit := c.args.Time("timeout"); limit > 0 {
		res.Done = true
		err := c.within(ctx, limit, func(ctx context.Context, tell func(Progress)) error { return cl.AwaitUser(ctx, user, tell) })
		if err != nil {
			return nil, err
		}
	}
	var err error
	res.User, err = cl.Place(ctx, user, "")
	return res, err
}
