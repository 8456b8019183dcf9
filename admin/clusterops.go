package admin

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/imap"
)

func clusterOperations() []Operation {
	return []Operation{
		{
			Name: "cluster status", Help: "Show how the cluster is, and what is wrong",
			Long: "Shows this node's view of the coordinator, the slots of each tag, backends and directors, and in a line each what needs an administrator.",
			New:  newResult[ClusterStatus],
			run: func(ctx context.Context, c *call) (Result, error) {
				cl, err := c.coordinated()
				if err != nil {
					return nil, err
				}
				st, err := cl.Status(ctx)
				if err != nil {
					return nil, err
				}
				st.Node = c.Node
				return st, nil
			},
		},
		{
			Name: "cluster explain", Args: []Arg{userArg, tagArg},
			Help: "Explain, step by step, where a user is and why",
			New:  newResult[Explanation],
			run: func(ctx context.Context, c *call) (Result, error) {
				cl, err := c.coordinated()
				if err != nil {
					return nil, err
				}
				user, err := c.user("user")
				if err != nil {
					return nil, err
				}
				return cl.Explain(ctx, user, c.args.word("tag"))
			},
		},
		{
			Name: "cluster new-generation", Args: []Arg{
				{Name: "above", Type: Number, Help: "a generation that a backend's log names: the new one is higher"},
				{Name: "yes", Type: Bool, Flag: true, Help: "the coordinator was made anew, or restored from a copy, and no backend of before is running"},
			},
			Help:    "Begin a new generation, after the coordinator was wiped or restored",
			Long:    "Mail carries the generation and revision at which it was last opened, and no backend opens mail that is ahead of the coordinator. When the coordinator has lost its past, a new generation is ahead of all of it. Stop the backends first and start them after; say --yes.",
			Changes: "the cluster's generation", New: newResult[Generation], run: newGeneration,
		},
	}
}

// Table is all of it as lines: what is wrong comes first.
func (s *ClusterStatus) Table() Table {
	t := Table{}
	for _, p := range s.Problems {
		t.Rows = append(t.Rows, []string{"PROBLEM", p})
	}
	contact := fmt.Sprintf("revision %d, last heard of %v ago", s.Revision, seconds(s.Heard))
	if s.Away != "" {
		contact = "can't be followed: " + s.Away + "; " + contact
	}
	t.Rows = append(t.Rows,
		[]string{"node", s.Node},
		[]string{"coordinator", contact},
		[]string{"generation", strconv.FormatUint(s.Params.Generation, 10)},
		[]string{"moved users", strconv.Itoa(s.Pins)},
		[]string{"slots to move", strconv.Itoa(s.Moving)})
	for _, tag := range s.Tags {
		t.Rows = append(t.Rows, []string{"slots" + ofTag(tag.Tag), fmt.Sprintf("%d served, %d served by nobody", tag.Held, tag.Free)})
	}
	for _, of := range s.Backends {
		b := shown(of)
		text := fmt.Sprintf("%s, vhosts %d, alive %s, %s of %d wanted, %s", b.State, b.Weight, b.Alive, count(b.Slots, "slot"), b.Wanted, count(b.Pinned, "moved user"))
		if r := b.remarks(); r != "" {
			text += "; " + r
		}
		t.Rows = append(t.Rows, []string{"backend " + b.Host, text})
	}
	for _, d := range directors(s.Status) {
		t.Rows = append(t.Rows, []string{"director " + d.Name, "since " + when(d.Since)})
	}
	return t
}

func seconds(s float64) time.Duration {
	return time.Duration(s * float64(time.Second)).Round(time.Millisecond)
}

// Explanation is why a user is where they are.
type Explanation struct {
	cluster.Explanation
	Steps []string `json:"steps"` // all of it in words
}

// Table is a step a line.
func (e *Explanation) Table() Table {
	t := Table{}
	for i, step := range e.Steps {
		t.Foot = append(t.Foot, fmt.Sprintf("%d. %s", i+1, step))
	}
	return t
}

// Generation is the cluster's.
type Generation struct {
	Generation uint64 `json:"generation"`
}

// Table is one line.
func (g *Generation) Table() Table {
	return Table{Foot: []string{fmt.Sprintf("generation %d; start the backends now", g.Generation)}}
}

func newGeneration(ctx context.Context, c *call) (Result, error) {
	cl, err := c.coordinated()
	if err != nil {
		return nil, err
	}
	if !c.args.is("yes") {
		return nil, imap.BadCommand("cluster new-generation: stop all backends first, and say --yes: one that still runs could write mail that another has opened since")
	}
	g, err := cl.NewGeneration(ctx, uint64(c.args.number("above")))
	return &Generation{g}, err
}

func ringOperations() []Operation {
	address := Arg{Name: "address", Type: Host, Required: true, Help: "HOST or HOST:PORT of the director, or the witness"}
	return []Operation{
		{
			Name: "director ring status", Help: "Show the directors, and the coordinator's members if they are that themselves",
			New: newResult[RingStatus], run: ringStatus,
		},
		{
			Name: "director ring add", Args: []Arg{address},
			Help:    "Let a director become a member of the coordinator",
			Changes: "the coordinator's members", New: newResult[RingStatus],
			run: ringChange(Ring.Add, "address"),
		},
		{
			Name: "director ring remove", Args: []Arg{{Name: "name", Type: Text, Required: true, Help: "the member's name, as ring status has it"}},
			Help:    "Remove a member of the coordinator that is gone for good",
			Changes: "the coordinator's members", New: newResult[RingStatus],
			run: ringChange(Ring.Remove, "name"),
		},
	}
}

// RingStatus is the directors and the coordinator's members.
type RingStatus struct {
	Directors []DirectorStatus `json:"directors"`
	Members   []RingMember     `json:"members,omitempty"`
}

// Table has a row a director, then one a member.
func (r *RingStatus) Table() Table {
	t := Table{Head: []string{"name", "address", "type", "status"}}
	for _, d := range r.Directors {
		t.Rows = append(t.Rows, []string{d.Name, dash(d.Address), "director", "since " + when(d.Since)})
	}
	for _, m := range r.Members {
		kind, status := "member", "healthy"
		if m.Leader {
			kind = "leader"
		}
		if !m.Healthy {
			status = dash(m.Trouble)
		}
		t.Rows = append(t.Rows, []string{m.Name, dash(m.Address), kind, status})
	}
	return t
}

func ringStatus(ctx context.Context, c *call) (Result, error) {
	cl, err := c.coordinated()
	if err != nil {
		return nil, err
	}
	st, err := cl.Status(ctx)
	if err != nil {
		return nil, err
	}
	res := &RingStatus{Directors: directors(st.Status)}
	if c.Ring != nil {
		res.Members, err = c.Ring.Members(ctx)
	}
	return res, err
}

func ringChange(change func(Ring, context.Context, string) error, arg string) func(context.Context, *call) (Result, error) {
	return func(ctx context.Context, c *call) (Result, error) {
		if _, err := c.coordinated(); err != nil {
			return nil, err
		}
		if c.Ring == nil {
			return nil, imap.Errorf(imap.CodeCannot, "%s: this node is no member of the coordinator: cluster = embedded, at a director", c.op.Name)
		}
		if err := change(c.Ring, ctx, c.args.word(arg)); err != nil {
			return nil, err
		}
		return ringStatus(ctx, c)
	}
}

func nodeOperations() []Operation {
	return []Operation{{
		Name: "reload", Help: "Read the configuration and its certificates again",
		Long:    "What it says holds for connections and logins from then on; no session is ended. With errors nothing changes.",
		Changes: "the node's configuration", New: newResult[Reloaded],
		run: func(ctx context.Context, c *call) (Result, error) {
			if c.Reload == nil {
				return nil, imap.Errorf(imap.CodeCannot, "reload: this process has no configuration file")
			}
			return c.Reload(ctx)
		},
	}}
}

// Reloaded is how a reload went.
type Reloaded struct {
	Warnings []string `json:"warnings,omitempty"` // of the file
	Kept     []string `json:"kept,omitempty"`     // settings that change with a restart only
}

// Table is what the log has, but for the file's warnings.
func (r *Reloaded) Table() Table {
	return Table{Foot: append(append([]string{}, r.Kept...), "the configuration was read again")}
}
