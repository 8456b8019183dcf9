package admin

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/imap"
)

// Flushed is the users whose pins were ended.
type Flushed struct {
	Users []string `json:"users"`
	Done  bool     `json:"done"`
}

// Table is one line.
func (r *Flushed) Table() Table {
	return Table{Foot: []string{count(len(r.Users), "user") + " flushed"}}
}

func directorFlush(ctx context.Context, c *call) (Result, error) {
	cl, err := c.cluster()
	if err != nil {
		return nil, err
	}
	host := c.args.word("host")
	if host != "all" {
		b, err := findBackend(ctx, cl, host)
		if err != nil {
			return nil, err
		}
		host = b.Host
	}
	pins, err := cl.Pins(ctx)
	if err != nil {
		return nil, err
	}
	res := &Flushed{Users: []string{}}
	for user, pin := range pins {
		if host == "all" || pin.Backend == host {
			res.Users = append(res.Users, user)
		}
	}
	slices.Sort(res.Users)
	if err := cl.Unpin(ctx, res.Users...); err != nil {
		return nil, err
	}
	limit := c.args.Time("timeout")
	if limit == 0 {
		return res, nil
	}
	res.Done = true
	return res, c.within(ctx, limit, func(ctx context.Context, tell func(Progress)) error {
		for i, user := range res.Users {
			tell(Progress{Doing: count(len(res.Users)-i, "user") + " not yet moved back", Units: len(res.Users) - i})
			if err := cl.AwaitUser(ctx, user, func(Progress) {}); err != nil {
				return err
			}
		}
		return nil
	})
}

// Rebalance is what would move.
type Rebalance struct {
	Moves []Move `json:"moves"`
}

// Table is a row a pair of backends.
func (r *Rebalance) Table() Table {
	t := Table{Head: []string{"from", "to", "slots"}}
	total := 0
	for _, m := range r.Moves {
		t.Rows = append(t.Rows, []string{orNobody(m.From), orNobody(m.To), strconv.Itoa(m.Units)})
		total += m.Units
	}
	if total == 0 {
		return Table{Foot: []string{"nothing would move"}}
	}
	t.Foot = []string{fmt.Sprintf("%s of %d would move", count(total, "slot"), cluster.Slots)}
	return t
}

func orNobody(host string) string {
	if host == "" {
		return "(nobody)"
	}
	return host
}

func directorRebalance(ctx context.Context, c *call) (Result, error) {
	cl, err := c.coordinated()
	if err != nil {
		return nil, err
	}
	if !c.args.is("dry-run") {
		return nil, imap.BadCommand("director rebalance: slots move by themselves; --dry-run shows which")
	}
	wishes := map[string]cluster.Wish{}
	if host := c.args.word("host"); host != "" {
		b, err := findBackend(ctx, cl, host)
		if err != nil {
			return nil, err
		}
		w := cluster.Wish{State: b.State, Weight: b.Weight}
		if text := c.args.word("weight"); text != "" {
			w.Weight = c.args.number("weight")
		}
		if s := cluster.State(c.args.word("state")); s != "" {
			if s != cluster.Up && s != cluster.Drain && s != cluster.Down {
				return nil, imap.BadCommand("director rebalance: state: up, drain or down")
			}
			w.State = s
		}
		wishes[b.Host] = w
	}
	moves, err := cl.Moves(ctx, wishes)
	return &Rebalance{Moves: moves}, err
}

// Dump is commands.
type Dump struct {
	Commands []string `json:"commands"`
}

// Table is a command a line.
func (r *Dump) Table() Table { return Table{Foot: r.Commands} }

func directorDump(ctx context.Context, c *call) (Result, error) {
	cl, err := c.cluster()
	if err != nil {
		return nil, err
	}
	list, err := cl.Backends(ctx)
	if err != nil {
		return nil, err
	}
	pins, err := cl.Pins(ctx)
	if err != nil {
		return nil, err
	}
	res := &Dump{Commands: []string{}}
	for _, b := range list {
		add := "add"
		if _, coordinated := cl.(Coordinated); !coordinated {
			add = "update"
		}
		line := fmt.Sprintf("roost director %s %s %d", add, b.Host, b.Weight)
		if b.Foreign {
			line = fmt.Sprintf("roost director add --foreign %s %d", b.Address, b.Weight)
			if b.Tag != "" {
				line += " -t " + b.Tag
			}
		}
		res.Commands = append(res.Commands, line)
		if b.State != cluster.Up {
			res.Commands = append(res.Commands, fmt.Sprintf("roost director %s %s", b.State, b.Host))
		}
	}
	var users []string
	for user := range pins {
		users = append(users, user)
	}
	slices.Sort(users)
	for _, user := range users {
		res.Commands = append(res.Commands, fmt.Sprintf("roost director move %s %s", quoted(user), pins[user].Backend))
	}
	return res, nil
}

// quoted is a word for a shell.
func quoted(word string) string {
	if strings.ContainsFunc(word, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@%+=:,./-_", r)
	}) {
		return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
	}
	return word
}
