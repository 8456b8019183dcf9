package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/imap"
)

// Arguments that several operations have.
var (
	hostArg    = Arg{Name: "host", Type: Host, Required: true, Help: "the backend, by its name or address"}
	userArg    = Arg{Name: "user", Type: User, Required: true, Help: "the user"}
	tagArg     = Arg{Name: "tag", Type: Tag, Help: "the user's director_tag"}
	weightArg  = Arg{Name: "weight", Type: Weight, Required: true, Help: "share of the users, as vhosts; 100 is usual, 0 is none"}
	whyArg     = Arg{Name: "why", Type: Text, Flag: true, Help: "the reason, which status shows"}
	timeoutArg = Arg{Name: "timeout", Type: Time, Flag: true, Default: "30s", Help: "how long to wait until it is done; 0 does not wait"}
	workArg    = Arg{Name: "timeout", Type: Time, Flag: true, Default: "30s", Help: "how much longer than a minute the command waits for the end; what is left then is not done"}
)

func backendOperations() []Operation {
	state := func(name string, s cluster.State, help, long string, more ...Arg) Operation {
		return Operation{
			Name: "director " + name, Args: append([]Arg{hostArg, whyArg, timeoutArg}, more...), Help: help, Long: long,
			Changes: "what is wished of a backend", Slow: true, New: newResult[BackendChanged],
			run: func(ctx context.Context, c *call) (Result, error) {
				return c.wish(ctx, func(w *cluster.Wish) {
					w.State = s
					w.Stopped = c.args.is("stopped") || w.Stopped && s != cluster.Up
				})
			},
		}
	}
	stopped := Arg{Name: "stopped", Type: Bool, Flag: true, Help: "it is no Roost, can't be reached, and you are sure that it writes nothing any more"}
	return []Operation{
		{
			Name: "director status", Args: []Arg{{Name: "user", Type: User, Help: "show where this user is"}, tagArg},
			Help: "Show the backends, or where one user is",
			Long: "Without USER: every backend, what is wished of it, whether it is alive, and how many users have sessions through this node. With USER: where the user is served (Current), where the user would be without having been moved (Hashed), and where the configuration alone would put the user (Initial config). Nothing is assigned by looking.",
			New:  newResult[DirectorStatusResult], run: directorStatus,
		},
		{
			Name: "director add", Args: []Arg{
				hostArg,
				{Name: "weight", Type: Weight, Default: "100", Help: weightArg.Help},
				{Name: "tag", Type: Tag, Flag: true, Short: "t", Help: "the backend's tag; with --foreign only, for a Roost says its own"},
				{Name: "foreign", Type: Bool, Flag: true, Help: "it is no Roost, and does not register itself"},
				timeoutArg,
			},
			Help:    "Admit a backend",
			Long:    "A Roost backend registers itself when it starts; add says that it may have users, before or after that. One that is no Roost is registered by --foreign, as HOST[:PORT].",
			Changes: "the list of backends", Slow: true, New: newResult[BackendChanged], run: directorAdd,
		},
		{
			Name: "director remove", Args: []Arg{hostArg},
			Help:    "Forget a backend that is stopped for good",
			Long:    "A backend that is alive can't be removed: drain it and stop it first; one that is no Roost has to be drained. What users it still had go to the others.",
			Changes: "the list of backends", New: newResult[BackendChanged], run: directorRemove,
		},
		{
			Name: "director update", Args: []Arg{hostArg, weightArg, timeoutArg},
			Help:    "Change a backend's share of the users",
			Changes: "what is wished of a backend", Slow: true, New: newResult[BackendChanged],
			run: func(ctx context.Context, c *call) (Result, error) {
				return c.wish(ctx, func(w *cluster.Wish) { w.Weight = c.args.number("weight") })
			},
		},
		state("up", cluster.Up, "Let a backend have users again", "It gets its share when it is alive; users come back at a bounded rate."),
		state("down", cluster.Down, "Take all users from a backend at once", "Its sessions end with BYE [UNAVAILABLE], and others take its users over as fast as they can. Say drain if there is time. A backend that is no Roost and can't be reached keeps its users, as it may still be writing, unless it could be fenced or --stopped gives your word; up ends that.", stopped),
		state("drain", cluster.Drain, "Take a backend's users from it, a few at a time", "Its sessions end at a bounded rate with BYE [UNAVAILABLE], so that clients come back spread over time, and others take over. Said again, it shows how far the same drain has come. When it is done the backend can be stopped; director up ends it."),
		{
			Name: "director flush", Args: []Arg{{Name: "host", Type: Host, Required: true, Help: "a backend, or all"}, timeoutArg},
			Help:    "Send users that were moved to a backend back to where they belong",
			Long:    "Ends every pin to the backend (director move), or with all every pin there is. Their sessions end as those of a move do.",
			Changes: "where users are", Slow: true, New: newResult[Flushed], run: directorFlush,
		},
		{
			Name: "director rebalance", Args: []Arg{
				{Name: "dry-run", Type: Bool, Flag: true, Help: "only say what would move"},
				{Name: "host", Type: Host, Flag: true, Help: "with --dry-run: as if this backend were different"},
				{Name: "weight", Type: Weight, Flag: true, Help: "… with this weight"},
				{Name: "state", Type: Text, Flag: true, Help: "… up, drain or down"},
				{Name: "moved", Type: Bool, Flag: true, Help: "send users who were moved (director move) back too"},
				{Name: "rate", Type: Number, Flag: true, Default: "10", Help: "how many of them a second"},
				timeoutArg,
			},
			Help:    "Bring users where they belong, or show what would move",
			Long:    "Slots move by themselves, at a bounded rate, when wishes change or backends come and go: rebalance waits until all are where they belong, and tells how many are not. What does not move by itself are users who were moved: rebalance ends those pins that make no difference, as the backend is gone or the user belongs there anyway, and with --moved all others, a few a second, as their sessions end. Said again it goes on where it was. --dry-run changes nothing and shows what is still to move; with --host it is what would move if that backend had another weight or state.",
			Changes: "where users are", DryRun: "dry-run", Slow: true, New: newResult[Rebalance], run: directorRebalance,
		},
		{
			Name: "director dump", Help: "Print the commands that make the wishes as they are now",
			New: newResult[Dump], run: directorDump,
		},
	}
}

// newResult is for Operation.New.
func newResult[T any, P interface {
	*T
	Result
}]() Result {
	return P(new(T))
}

// DirectorStatusResult is the backends, or one user's place.
type DirectorStatusResult struct {
	Backends    []Backend `json:"backends,omitempty"`
	Coordinated bool      `json:"coordinated"`
	User        *Place    `json:"user,omitempty"`
	Away        string    `json:"away,omitempty"` // why the coordinator can't be followed: this is how it was
}

func directorStatus(ctx context.Context, c *call) (Result, error) {
	cl, err := c.cluster()
	if err != nil {
		return nil, err
	}
	res := &DirectorStatusResult{}
	if coordinated, is := cl.(Coordinated); is {
		st, err := coordinated.Status(ctx)
		if err != nil {
			return nil, err
		}
		res.Coordinated, res.Away = true, st.Away
	}
	if c.args.word("user") == "" {
		res.Backends, err = c.backends(ctx, cl)
		return res, err
	}
	user, err := c.user("user")
	if err != nil {
		return nil, err
	}
	place, err := cl.Place(ctx, user, c.args.word("tag"))
	res.User = &place
	return res, err
}

// backends are the Cluster's with this node's sessions counted.
func (c *call) backends(ctx context.Context, cl Cluster) ([]Backend, error) {
	list, err := cl.Backends(ctx)
	if c.Health != nil {
		for i := range list {
			list[i].Health = c.Health(list[i].Host)
		}
	}
	if err != nil || c.Sessions == nil {
		return list, err
	}
	sessions, users := map[string]int{}, map[string]map[string]bool{}
	for s := range c.Sessions.List() {
		if s.User == "" {
			continue
		}
		host := cmp.Or(s.Backend, c.Node)
		if sessions[host]++; users[host] == nil {
			users[host] = map[string]bool{}
		}
		users[host][s.User] = true
	}
	for i := range list {
		list[i].Sessions, list[i].Users = sessions[list[i].Host], len(users[list[i].Host])
	}
	return list, nil
}

// Table has doveadm's columns, and with a coordinator some more.
func (r *DirectorStatusResult) Table() Table {
	t := r.table()
	if r.Away != "" {
		t.Foot = append(t.Foot, "PROBLEM: the coordinator can't be followed, and this is how it was before: "+r.Away)
	}
	return t
}

func (r *DirectorStatusResult) table() Table {
	if r.User != nil {
		return r.User.table()
	}
	t := Table{Head: []string{"mail server ip", "tag", "vhosts", "state", "state changed", "users"}}
	if r.Coordinated {
		t.Head = append(t.Head, "alive", "slots", "wanted", "pinned", "remarks")
	}
	checked := slices.ContainsFunc(r.Backends, func(b Backend) bool { return b.Health != "" })
	if checked {
		t.Head = append(t.Head, "health")
	}
	for _, b := range r.Backends {
		row := []string{b.Host, dash(b.Tag), strconv.Itoa(b.Weight), string(b.State), dash(when(b.Since)), strconv.Itoa(b.Users)}
		if r.Coordinated {
			row = append(row, b.Alive, strconv.Itoa(b.Slots), strconv.Itoa(b.Wanted), strconv.Itoa(b.Pinned), b.remarks())
		}
		if checked {
			row = append(row, dash(b.Health))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

func (b *Backend) remarks() string {
	var words []string
	if b.Why != "" {
		words = append(words, b.Why)
	}
	if b.Trouble != "" {
		words = append(words, b.Trouble)
	}
	if b.Local {
		words = append(words, "own disk")
	}
	if b.Foreign {
		words = append(words, "no Roost")
	}
	if b.Stopped {
		words = append(words, "said to have stopped")
	}
	return strings.Join(words, "; ")
}

func (p *Place) table() Table {
	current := cmp.Or(p.Current, "n/a")
	switch {
	case p.Pinned != "" && p.Pinned == p.Current:
		current += " (moved there by an administrator)"
	case p.Pinned != "":
		current += " (moving to " + p.Pinned + ")"
	case p.State == "moving":
		current += " (moving to " + p.Hashed + ")"
	}
	t := Table{Foot: []string{"Current: " + current}}
	t.Foot = append(t.Foot, "Hashed: "+cmp.Or(p.Hashed, "n/a"))
	if p.Initial != "" {
		t.Foot = append(t.Foot, "Initial config: "+p.Initial)
	}
	return t
}

// BackendChanged is a backend after a change.
type BackendChanged struct {
	Backend Backend `json:"backend"`
	Done    bool    `json:"done"` // false: it goes on, and was not waited for
	Removed bool    `json:"removed,omitempty"`
}

// Table is the line that doveadm prints with -v.
func (r *BackendChanged) Table() Table {
	b := r.Backend
	switch {
	case r.Removed:
		return Table{Foot: []string{b.Host + ": removed"}}
	case !r.Done:
		return Table{Foot: []string{fmt.Sprintf("%s: %s, vhosts %d; it goes on, director status shows how far it is", b.Host, b.State, b.Weight)}}
	case b.State == cluster.Drain:
		return Table{Foot: []string{b.Host + ": drained"}}
	}
	return Table{Foot: []string{fmt.Sprintf("%s: %s, vhosts %d", b.Host, b.State, b.Weight)}}
}

// wish changes what is wished of the backend, and waits until it is so.
func (c *call) wish(ctx context.Context, change func(*cluster.Wish)) (Result, error) {
	cl, err := c.cluster()
	if err != nil {
		return nil, err
	}
	b, err := findBackend(ctx, cl, c.args.word("host"))
	if err != nil {
		return nil, err
	}
	if c.args.is("stopped") && !b.Foreign {
		return nil, imap.BadCommand("%s: --stopped is for backends that are no Roost: %s loses its lease by itself", c.op.Name, b.Host)
	}
	if err := cl.Wish(ctx, b.Host, c.signed(change)); err != nil {
		return nil, err
	}
	return c.await(ctx, cl, b.Host)
}

// signed has a changed wish say who changed it, and why.
func (c *call) signed(change func(*cluster.Wish)) func(*cluster.Wish) {
	return func(w *cluster.Wish) {
		before := *w
		change(w)
		if why := c.args.word("why"); why != "" || w.State != before.State {
			w.Why = why
		}
		if *w != before {
			w.By, w.Since = c.who.Name, time.Now().UTC().Truncate(time.Second)
		}
	}
}

// await waits until what is wished of a backend is so, and shows the backend.
func (c *call) await(ctx context.Context, cl Cluster, host string) (Result, error) {
	res := &BackendChanged{}
	if limit := c.args.Time("timeout"); limit > 0 {
		res.Done = true
		left := c.sessionsLeft(cl, host)
		err := c.within(ctx, limit, func(ctx context.Context, tell func(Progress)) error {
			return cl.Await(ctx, host, func(p Progress) {
				if p.Sessions == nil {
					p.Sessions = left(ctx)
				}
				tell(p)
			})
		})
		if err != nil {
			return nil, err
		}
	}
	b, err := findBackend(ctx, cl, host)
	res.Backend = b
	return res, err
}

// How a backend is asked how many sessions it has.
const (
	countEvery = 2 * time.Second
	countTime  = time.Second
)

// sessionsLeft is a function that asks a backend how many sessions it has, not too
// often; nil if it does not say.
func (c *call) sessionsLeft(cl Cluster, host string) func(context.Context) *int {
	op, _ := Find("who")
	at, known := "", false
	if coordinated, ok := cl.(Coordinated); ok {
		nodes, _ := coordinated.Nodes(context.Background()) // from memory
		for _, n := range nodes {
			if n.Name == host {
				at, known = n.Admin, true
			}
		}
	}
	var last *int
	var asked time.Time
	return func(ctx context.Context) *int {
		if !known || time.Since(asked) < countEvery {
			return last
		}
		last = nil
		ctx, cancel := context.WithTimeout(ctx, countTime)
		defer cancel()
		ask := func() (Result, error) { return c.ask(ctx, Node{host, at}, op, Args{"count": "true"}) }
		if host == c.Node {
			ask = func() (Result, error) { return op.run(ctx, &call{Admin: c.Admin, op: op, args: Args{"count": "true"}}) }
		}
		if res, err := ask(); err == nil {
			if who, ok := res.(*Who); ok {
				last = &who.Count
			}
		}
		asked = time.Now()
		return last
	}
}

// within waits for something that goes on by itself. When the time is over the error
// tells how far it has come.
func (c *call) within(ctx context.Context, limit time.Duration, wait func(context.Context, func(Progress)) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	began := time.Now()
	var last Progress
	err := wait(ctx, func(p Progress) {
		p.Elapsed = time.Since(began).Seconds()
		last = p
		c.tell(p)
	})
	if err == nil || ctx.Err() == nil || !errors.Is(err, ctx.Err()) {
		return err
	}
	return imap.Wrap(imap.CodeUnavailable, fmt.Sprintf("%s: not done within %v: %s. It goes on; call it again to see how far it is", c.op.Name, limit, last), err)
}

// String is the progress for people.
func (p Progress) String() string {
	parts := []string{p.Doing}
	if p.Sessions != nil {
		parts = append(parts, count(*p.Sessions, "session")+" left")
	}
	if p.Left > 0 {
		parts = append(parts, "about "+time.Duration(p.Left*float64(time.Second)).Round(time.Second).String()+" to go")
	}
	if p.Trouble != "" {
		parts = append(parts, p.Trouble)
	}
	return strings.Join(parts, ", ")
}

// host is the name of the backend that the arguments name, if they name one.
func (c *call) host(ctx context.Context, cl Cluster) (string, error) {
	if c.args.word("host") == "" {
		return "", nil
	}
	b, err := findBackend(ctx, cl, c.args.word("host"))
	return b.Host, err
}

func findBackend(ctx context.Context, cl Cluster, host string) (Backend, error) {
	list, err := cl.Backends(ctx)
	if err != nil {
		return Backend{}, err
	}
	i, err := resolve(host, list)
	if err != nil {
		return Backend{}, err
	}
	return list[i], nil
}

// resolve finds a backend by its name, else by its address, with or without the
// port, if that is only one backend's.
func resolve(host string, list []Backend) (int, error) {
	found := -1
	for i, b := range list {
		if b.Host == host {
			return i, nil
		}
		if b.Address != host && withoutPort(b.Address) != host {
			continue
		}
		if found >= 0 {
			return 0, imap.BadCommand("%s is the address of %s and %s: say which", host, list[found].Host, b.Host)
		}
		found = i
	}
	if found < 0 {
		return 0, noHost(host)
	}
	return found, nil
}

func withoutPort(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return address
}

func directorAdd(ctx context.Context, c *call) (Result, error) {
	cl, err := c.coordinated()
	if err != nil {
		return nil, err
	}
	host := c.args.word("host")
	var foreign *cluster.Registration
	switch {
	case c.args.is("foreign"):
		if foreign, err = registration(host, c.args.word("tag")); err != nil {
			return nil, err
		}
	case c.args.word("tag") != "":
		return nil, imap.BadCommand("director add: a Roost backend says its tag itself: cluster_tag in its configuration")
	}
	wish := cluster.Wish{State: cluster.Up, Weight: c.args.number("weight"), By: c.who.Name, Since: time.Now().UTC().Truncate(time.Second)}
	if err := cl.Add(ctx, host, wish, foreign); err != nil {
		return nil, err
	}
	if _, err := findBackend(ctx, cl, host); err != nil {
		return &BackendChanged{Backend: Backend{Host: host, State: wish.State, Weight: wish.Weight, Alive: "no"}}, nil
	}
	return c.await(ctx, cl, host)
}

// registration is that of a backend which does not register itself.
func registration(host, tag string) (*cluster.Registration, error) {
	r := &cluster.Registration{Host: host, Port: 143, Tag: tag, Foreign: true}
	if name, port, ok := strings.Cut(host, ":"); ok {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 || name == "" {
			return nil, imap.BadCommand("%q is not HOST or HOST:PORT", host)
		}
		r.Host, r.Port = name, uint16(n)
	}
	return r, nil
}

func directorRemove(ctx context.Context, c *call) (Result, error) {
	cl, err := c.coordinated()
	if err != nil {
		return nil, err
	}
	b, err := findBackend(ctx, cl, c.args.word("host"))
	if errors.Is(err, errNoHost) { // it may have been admitted, and never have registered
		b, err = Backend{Host: c.args.word("host")}, nil
	}
	if err != nil {
		return nil, err
	}
	return &BackendChanged{Backend: b, Done: true, Removed: true}, cl.Remove(ctx, b.Host)
}
