package admin

import (
	"context"
	"fmt"
	"slices"

	"github.com/roost-mail/roost/imap"
)

// ACLRecalc is whose shares were looked at.
type ACLRecalc struct {
	Owners int      `json:"owners"`
	Failed []Silent `json:"failed,omitempty"` // owners, and nodes, with the reason
}

// Missing implements Partial.
func (r *ACLRecalc) Missing() []Silent { return r.Failed }

// Table is a line, and one for each that failed.
func (r *ACLRecalc) Table() Table {
	t := Table{Foot: []string{"The shares of " + count(r.Owners, "owner") + " are in the index"}}
	for _, f := range r.Failed {
		t.Foot = append(t.Foot, f.Node+": "+f.Why)
	}
	return t
}

func aclRecalc(ctx context.Context, c *call) (Result, error) {
	if c.args.is("all-users") == (c.args.word("user") != "") {
		return nil, imap.BadCommand("acl recalc: say -u USER, or -A")
	}
	res := &ACLRecalc{}
	if user := c.args.word("user"); user != "" {
		user, err := c.user("user")
		if err != nil {
			return nil, err
		}
		if c.ACLs == nil || !c.ACLs.Here(user) && !c.args.is("here") {
			return c.askHolder(ctx, user, c.op, c.here())
		}
		if err := c.ACLs.Recalc(ctx, user); err != nil {
			return nil, err
		}
		res.Owners = 1
		return res, nil
	}
	if c.ACLs != nil {
		if err := c.recalcHere(ctx, res); err != nil {
			return nil, err
		}
	}
	if _, ok := c.Cluster.(Coordinated); ok && !c.args.is("here") {
		return res, c.recalcElsewhere(ctx, res)
	}
	if c.ACLs == nil {
		return nil, c.alone("the backends")
	}
	return res, nil
}

// recalcHere sees to the owners whose mail is here; who fails costs only themselves.
func (c *call) recalcHere(ctx context.Context, res *ACLRecalc) error {
	users, err := c.Users.List(ctx, "*")
	if err != nil {
		return imap.Wrap(imap.CodeCannot, "acl recalc: the userdb can't list all users: say -u USER for each", err)
	}
	for i, user := range users {
		if !c.ACLs.Here(user) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		err := c.ACLs.Recalc(ctx, user)
		if imap.CodeOf(err) == imap.CodeNonExistent {
			continue // who was never here shares nothing
		}
		if err != nil {
			res.Failed = append(res.Failed, Silent{user, imap.AsError(err).Text})
			continue
		}
		res.Owners++
		if (i+1)%100 == 0 {
			c.tell(Progress{Doing: fmt.Sprintf("%d of %d users", i+1, len(users))})
		}
	}
	return nil
}

func (c *call) recalcElsewhere(ctx context.Context, res *ACLRecalc) error {
	silent, err := c.eachBackend(ctx, c.here(), func(r Result) (more bool) {
		if r, ok := r.(*ACLRecalc); ok {
			res.Owners += r.Owners
			res.Failed = append(res.Failed, r.Failed...)
		}
		return true
	})
	res.Failed = append(res.Failed, silent...)
	return err
}

// eachBackend has the other backends do the operation, one after another while hear wants
// more. It returns those that did not.
func (c *call) eachBackend(ctx context.Context, args Args, hear func(Result) (more bool)) (silent []Silent, err error) {
	nodes, err := c.otherBackends(ctx)
	if err != nil {
		return nil, err
	}
	for _, n := range nodes {
		c.tell(Progress{Doing: n.Name + " is asked"})
		r, err := c.ask(ctx, n, c.op, args)
		if err != nil {
			silent = append(silent, Silent{n.Name, reason(err)})
			continue
		}
		if !hear(r) {
			break
		}
	}
	return silent, nil
}

// otherBackends are those of a cluster with a coordinator that run.
func (c *call) otherBackends(ctx context.Context) ([]Node, error) {
	cl := c.Cluster.(Coordinated)
	known, err := cl.Backends(ctx)
	if err != nil {
		return nil, err
	}
	all, err := cl.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	var nodes []Node
	for _, b := range known {
		i := slices.IndexFunc(all, func(n Node) bool { return n.Name == b.Host })
		if b.Host != c.Node && i >= 0 {
			nodes = append(nodes, all[i])
		}
	}
	return nodes, nil
}
