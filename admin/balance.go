package admin

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

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
		if host, err = c.host(ctx, cl); err != nil {
			return nil, err
		}
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
		return awaitUsers(ctx, cl, res.Users, tell)
	})
}

// Rebalance is what would move, or has.
type Rebalance struct {
	Moves []Move   `json:"moves"`           // that are left
	Ended []string `json:"ended,omitempty"` // users whose pins are ended, or would be
	Kept  int      `json:"kept,omitempty"`  // users who stay where they were moved to
	Dry   bool     `json:"dryRun,omitempty"`
}

// Table is a row a pair of backends.
func (r *Rebalance) Table() Table {
	t := Table{}
	total := 0
	for _, m := range r.Moves {
		t.Rows = append(t.Rows, []string{cmp.Or(m.From, "(nobody)"), cmp.Or(m.To, "(nobody)"), strconv.Itoa(m.Units)})
		total += m.Units
	}
	pins := count(len(r.Ended), "pin") + " ended"
	switch {
	case total > 0:
		t.Head = []string{"from", "to", "slots"}
		t.Foot = []string{fmt.Sprintf("%s of %d would move", count(total, "slot"), cluster.Slots)}
	case r.Dry:
		t.Foot = []string{"nothing would move"}
	default:
		t.Foot = []string{"all slots are where they belong"}
	}
	if r.Dry {
		pins = count(len(r.Ended), "pin") + " would be ended"
	}
	if len(r.Ended) > 0 {
		t.Foot = append(t.Foot, pins)
	}
	if r.Kept > 0 {
		t.Foot = append(t.Foot, count(r.Kept, "pin")+" kept; --moved ends them too")
	}
	return t
}

func directorRebalance(ctx context.Context, c *call) (Result, error) {
	cl, err := c.coordinated()
	if err != nil {
		return nil, err
	}
	wishes, err := c.wishes(ctx, cl)
	if err != nil {
		return nil, err
	}
	res := &Rebalance{Dry: c.args.is("dry-run")}
	if res.Ended, res.Kept, err = c.needless(ctx, cl); err != nil {
		return nil, err
	}
	if !res.Dry {
		limit := c.args.Time("timeout")
		if limit == 0 || c.args.number("rate") == 0 {
			return nil, imap.BadCommand("director rebalance: timeout and rate are at least 1: it works as long as it is waited for; --dry-run only looks")
		}
		err := c.within(ctx, limit, func(ctx context.Context, tell func(Progress)) error { return c.rebalance(ctx, cl, res.Ended, tell) })
		if err != nil {
			return nil, err
		}
	}
	res.Moves, err = cl.Moves(ctx, wishes)
	return res, err
}

// wishes are what backends are thought to be wished, by name.
func (c *call) wishes(ctx context.Context, cl Cluster) (map[string]cluster.Wish, error) {
	host, weight, state := c.args.word("host"), c.args.word("weight"), cluster.State(c.args.word("state"))
	switch {
	case host == "" && weight == "" && state == "":
		return nil, nil
	case host == "" || !c.args.is("dry-run"):
		return nil, imap.BadCommand("director rebalance: --weight and --state are for --dry-run --host: director update, up, drain and down change what is wished")
	case state != "" && state != cluster.Up && state != cluster.Drain && state != cluster.Down:
		return nil, imap.BadCommand("director rebalance: state: up, drain or down")
	}
	b, err := findBackend(ctx, cl, host)
	if err != nil {
		return nil, err
	}
	w := cluster.Wish{State: cmp.Or(state, b.State), Weight: b.Weight}
	if weight != "" {
		w.Weight = c.args.number("weight")
	}
	return map[string]cluster.Wish{b.Host: w}, nil
}

// needless are the users whose pins make no difference, and with --moved all, in
// order; kept is how many others there are.
func (c *call) needless(ctx context.Context, cl Cluster) (users []string, kept int, err error) {
	list, err := cl.Backends(ctx)
	if err != nil {
		return nil, 0, err
	}
	pins, err := cl.Pins(ctx)
	if err != nil {
		return nil, 0, err
	}
	for user, pin := range pins {
		is, err := c.isNeedless(ctx, cl, list, user, pin)
		if err != nil {
			return nil, 0, err
		}
		if !is {
			kept++
			continue
		}
		users = append(users, user)
	}
	slices.Sort(users)
	return users, kept, nil
}

func (c *call) isNeedless(ctx context.Context, cl Cluster, list []Backend, user string, pin cluster.Pin) (bool, error) {
	i := slices.IndexFunc(list, func(b Backend) bool { return b.Host == pin.Backend })
	switch {
	case c.args.is("moved"):
		return true, nil
	case i < 0:
		return pin.Backend != "", nil // what can't be read may be of a newer node
	}
	p, err := cl.Place(ctx, user, list[i].Tag)
	return p.Hashed == pin.Backend, err
}

// rebalance ends the pins of users, so many a second, and waits until all is where it
// belongs.
func (c *call) rebalance(ctx context.Context, cl Coordinated, users []string, tell func(Progress)) error {
	pace := time.Second / time.Duration(c.args.number("rate"))
	for i, user := range users {
		if err := cl.Unpin(ctx, user); err != nil {
			return err
		}
		left := len(users) - i - 1
		tell(Progress{Doing: count(left, "moved user") + " not yet sent back", Units: left, Left: (time.Duration(left) * pace).Seconds()})
		select {
		case <-time.After(pace):
		case <-ctx.Done():
			return imap.Errorf(imap.CodeUnavailable, "director rebalance: %s not yet sent back: say it again to go on", count(left, "moved user"))
		}
	}
	if err := awaitUsers(ctx, cl, users, tell); err != nil {
		return err
	}
	return awaitSlots(ctx, cl, tell)
}

// awaitUsers waits until users are where they belong.
func awaitUsers(ctx context.Context, cl Cluster, users []string, tell func(Progress)) error {
	for i, user := range users {
		tell(Progress{Doing: count(len(users)-i, "user") + " not yet moved back", Units: len(users) - i})
		if err := cl.AwaitUser(ctx, user, func(Progress) {}); err != nil {
			return err
		}
	}
	return nil
}

// movesEvery is how often it is looked what is to move.
const movesEvery = time.Second

// awaitSlots waits until all slots are where they belong.
func awaitSlots(ctx context.Context, cl Coordinated, tell func(Progress)) error {
	return look(ctx, movesEvery, tell, func() (p Progress, done bool, err error) {
		moves, err := cl.Moves(ctx, nil)
		for _, m := range moves {
			p.Units += m.Units
		}
		p.Doing = count(p.Units, "slot") + " not yet where they belong"
		return p, len(moves) == 0, err
	})
}

// look looks again and again what is left, and tells, until nothing is.
func look(ctx context.Context, every time.Duration, tell func(Progress), left func() (p Progress, done bool, err error)) error {
	began, first := time.Now(), 0
	for {
		p, done, err := left()
		if err != nil || done {
			return err
		}
		if first = max(first, p.Units); first > p.Units {
			p.Left = time.Since(began).Seconds() * float64(p.Units) / float64(first-p.Units)
		}
		tell(p)
		select {
		case <-time.After(every):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
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
