package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/roost-mail/roost/imap"
)

// Sessions are the connections of this node.
type Sessions interface {
	// List gives those that are there; one may have ended when it is looked at.
	List() iter.Seq[Session]

	// End has those that match told BYE with why, and closed within a bound, and
	// says how many they are. It does not wait for them.
	End(match func(*Session) bool, why *imap.Error) int
}

// Session is one connection.
type Session struct {
	ID     string `json:"id"`
	Node   string `json:"node"`
	User   string `json:"user"`             // whose mail it is
	Acting string `json:"acting,omitempty"` // whose rights apply, if others'

	// Names are the user's other names: FIELD of the passdb's user_FIELD. They are
	// not changed.
	Names map[string]string `json:"names,omitempty"`

	Proto       string         `json:"proto"`
	Remote      netip.AddrPort `json:"remote"` // the client
	Peer        netip.AddrPort `json:"peer"`   // who is connected: the client, or a proxy or backend of ours
	TLS         bool           `json:"tls"`
	Since       time.Time      `json:"since"`
	State       string         `json:"state"`
	Command     string         `json:"command,omitempty"` // that runs, or ran last
	Busy        bool           `json:"busy,omitempty"`
	At          time.Time      `json:"at"`                    // since when Command runs, or nothing has run
	Backend     string         `json:"backend,omitempty"`     // the name of where a proxied session's mail is
	BackendUser string         `json:"backendUser,omitempty"` // whose mail it is there
	BytesIn     int64          `json:"bytesIn,omitempty"`
	BytesOut    int64          `json:"bytesOut,omitempty"`
}

// Peers are the other nodes of the cluster.
type Peers interface {
	// Ask calls an operation at a node's API. tell hears of its progress, as that of Call.
	Ask(ctx context.Context, address string, op *Operation, args Args, tell func(Progress)) (Result, error)
}

// Silent is a node that did not answer.
type Silent struct {
	Node string `json:"node"`
	Why  string `json:"why"`
}

// Partial is a Result that may lack what some nodes would have said.
type Partial interface {
	Missing() []Silent
}

// How the other nodes are asked.
const (
	peerTime  = 5 * time.Second // for the answers of all of them
	peerCalls = 16              // at a time
)

var (
	maskArg  = Arg{Name: "user", Type: User, Help: "only this user; * and ? stand for any characters"}
	fieldArg = Arg{Name: "field", Type: Text, Flag: true, Short: "f", Help: "USER is not the login name, but the field user_FIELD of the passdb"}
	allArg   = Arg{Name: "all", Type: Bool, Flag: true, Help: "at all nodes of the cluster, not only at this one"}
	fromArg  = Arg{Name: "ip", Type: Address, Help: "only sessions from this address"}
)

func sessionOperations() []Operation {
	mask := maskArg
	mask.Required = true
	return []Operation{
		{
			Name: "who", Args: []Arg{
				maskArg, fromArg, fieldArg, allArg,
				{Name: "each", Type: Bool, Flag: true, Short: "1", Help: "a line for each session"},
				{Name: "count", Type: Bool, Flag: true, Help: "only how many sessions there are"},
			},
			Help: "Show who is logged in",
			Long: "Shows the sessions of this node; with --all those of every node of the cluster that answers, a proxied one at its director and at its backend.",
			New:  newResult[Who], run: who,
		},
		{
			Name: "kick", Args: []Arg{mask, fromArg, fieldArg, allArg},
			Help:    "End a user's sessions",
			Long:    "They are told BYE and closed; the client may come back at once. Mail that is being read there by other users is not concerned. With -f FIELD, USER is what the passdb of the node that has the session gave as field user_FIELD, in upper and lower case as it is there; so one call ends the sessions of all who have that in common, as user_uid=1000 or user_site=north.",
			Changes: "sessions", New: newResult[Kicked], run: kick,
		},
		{
			Name: "proxy list", Args: []Arg{maskArg, fieldArg, allArg},
			Help: "Show connections that this director has handed on to backends",
			New:  newResult[ProxyList], run: proxyList,
		},
		{
			Name: "proxy kick", Args: []Arg{mask, fieldArg, {Name: "host", Type: Host, Flag: true, Help: "only those to this backend"}, allArg},
			Help:    "End connections that this director has handed on",
			Changes: "sessions", New: newResult[Kicked], run: proxyKick,
		},
		{
			Name: "director kick", Args: []Arg{mask, fieldArg},
			Help:    "End a user's sessions at every node",
			Long:    "The user stays with the backend.",
			Changes: "sessions", New: newResult[Kicked],
			run: func(ctx context.Context, c *call) (Result, error) {
				_, c.everywhere = c.Cluster.(Coordinated)
				return kick(ctx, c)
			},
		},
	}
}

// sessions is Sessions, if this node has any.
func (c *call) sessions() (Sessions, error) {
	if c.Sessions == nil {
		return nil, imap.Errorf(imap.CodeCannot, "%s: this node has no sessions", c.op.Name)
	}
	return c.Sessions, nil
}

// filter says which sessions the arguments mean: of the user, whose name may have
// wildcards, and from the address.
func (c *call) filter() (func(*Session) bool, error) {
	mask, field := c.args.word("user"), strings.TrimPrefix(c.args.word("field"), "user_")
	if mask != "" && field == "" && !strings.ContainsAny(mask, "*?") {
		var err error
		if mask, err = c.user("user"); err != nil {
			return nil, err
		}
	}
	if _, err := path.Match(wildcards(mask), ""); err != nil {
		return nil, imap.BadCommand("user: %q is no name", mask)
	}
	from, _ := netip.ParseAddr(c.args.word("ip")) // Args are checked; the zero address is any
	return func(s *Session) bool {
		name := s.User
		if field != "" {
			name = s.Names[field]
		}
		matches, _ := path.Match(wildcards(mask), strings.ReplaceAll(name, "/", "\x00"))
		return s.User != "" && name != "" && (mask == "" || matches) &&
			(!from.IsValid() || s.Remote.Addr() == from || s.Peer.Addr() == from)
	}, nil
}

// wildcards is a mask for path.Match, in which only * and ? are special. No user's
// name has a NUL, which stands for the slash that path.Match keeps apart.
func wildcards(mask string) string {
	return strings.NewReplacer("/", "\x00", `\`, `\\`, "[", `\[`).Replace(mask)
}

// Who is who is logged in.
type Who struct {
	Count    int       `json:"count"`
	Sessions []Session `json:"sessions,omitempty"` // not with --count
	Silent   []Silent  `json:"silent,omitempty"`
	Form     string    `json:"-"` // each or count: the table's
}

// Missing implements Partial.
func (r *Who) Missing() []Silent { return r.Silent }

func who(ctx context.Context, c *call) (Result, error) {
	sessions, err := c.sessions()
	if err != nil {
		return nil, err
	}
	match, err := c.filter()
	if err != nil {
		return nil, err
	}
	res := &Who{Form: c.args.form()}
	for s := range sessions.List() {
		if !match(&s) {
			continue
		}
		res.Count++
		if !c.args.is("count") {
			s.Node = c.Node
			res.Sessions = append(res.Sessions, s)
		}
	}
	res.Silent, err = c.others(ctx, func(r Result) {
		if r, ok := r.(*Who); ok {
			res.Count += r.Count
			res.Sessions = append(res.Sessions, r.Sessions...)
		}
	})
	slices.SortFunc(res.Sessions, func(a, b Session) int {
		return cmp.Or(strings.Compare(a.User, b.User), a.Since.Compare(b.Since), strings.Compare(a.ID, b.ID))
	})
	return res, err
}

// form is how the sessions are to be shown, which Formed is told.
func (a Args) form() string {
	switch {
	case a.is("count"):
		return "count"
	case a.is("each"):
		return "each"
	}
	return ""
}

// Formed is a Result whose table depends on the arguments.
type Formed interface{ SetForm(args Args) }

// SetForm implements Formed.
func (r *Who) SetForm(args Args) { r.Form = args.form() }

// Table has a row a user, as doveadm who.
func (r *Who) Table() Table {
	t := Table{Foot: silentLines(r.Silent, "its sessions are not shown")}
	if r.Form == "count" {
		t.Rows = [][]string{{count(r.Count, "session")}}
		return t
	}
	if r.Form == "each" {
		t.Head = []string{"username", "proto", "session", "ip", "node", "since", "state", "dest"}
		for _, s := range r.Sessions {
			user := s.User
			if s.Acting != "" && s.Acting != s.User {
				user += " (by " + s.Acting + ")"
			}
			t.Rows = append(t.Rows, []string{user, s.Proto, s.ID, s.Remote.Addr().String(), s.Node, when(s.Since), s.state(), s.Backend})
		}
		return t
	}
	t.Head = []string{"username", "#", "proto", "(ips)"}
	for i := 0; i < len(r.Sessions); {
		user, n := r.Sessions[i].User, 0
		var protos, ips []string
		for ; i < len(r.Sessions) && r.Sessions[i].User == user; i++ {
			n++
			protos = append(protos, r.Sessions[i].Proto)
			ips = append(ips, r.Sessions[i].Remote.Addr().String())
		}
		t.Rows = append(t.Rows, []string{user, strconv.Itoa(n), words(protos), "(" + words(ips) + ")"})
	}
	return t
}

func (s *Session) state() string {
	switch {
	case s.Command == "":
		return s.State
	case s.Busy:
		return s.State + ", in " + s.Command
	}
	return s.State + ", last " + s.Command
}

// words are the different ones, in order.
func words(list []string) string {
	slices.Sort(list)
	return strings.Join(slices.Compact(list), " ")
}

func silentLines(silent []Silent, lost string) []string {
	var lines []string
	for _, s := range silent {
		lines = append(lines, fmt.Sprintf("%s did not answer, %s: %s", s.Node, lost, s.Why))
	}
	return lines
}

// others calls the operation at all other nodes if --all asks for it, and take with
// each answer. Nodes that don't answer in time cost only what they would have said.
func (c *call) others(ctx context.Context, take func(Result)) ([]Silent, error) {
	if !c.args.is("all") && !c.everywhere {
		return nil, nil
	}
	cl, err := c.coordinated()
	if err != nil {
		return nil, err
	}
	nodes, err := cl.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	nodes = slices.DeleteFunc(nodes, func(n Node) bool { return n.Name == c.Node })
	op := c.op
	if op.Name == "director kick" {
		op, _ = Find("kick")
	}
	args := Args{}
	for name, text := range c.args {
		if name != "all" { // the others answer for themselves alone
			args[name] = text
		}
	}
	ctx, cancel := context.WithTimeout(ctx, peerTime)
	defer cancel()
	var mu sync.Mutex // guards silent, and take's callers
	var silent []Silent
	var running sync.WaitGroup
	slots := make(chan struct{}, peerCalls)
	for _, n := range nodes {
		running.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			res, err := c.ask(ctx, n, op, args)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				silent = append(silent, Silent{n.Name, reason(err)})
				return
			}
			take(res)
		})
	}
	running.Wait()
	slices.SortFunc(silent, func(a, b Silent) int { return strings.Compare(a.Node, b.Node) })
	return silent, nil
}

// ask calls an operation at another node. Those that are Slow, and tell their progress, are
// asked of one after another.
func (c *call) ask(ctx context.Context, n Node, op *Operation, args Args) (Result, error) {
	switch {
	case n.Admin == "":
		return nil, Unasked("it has no admin_listen")
	case c.Peers == nil:
		return nil, Unasked("admin_peer_token_file is not set here")
	}
	return c.Peers.Ask(ctx, n.Admin, op, args, func(p Progress) {
		p.Doing = n.Name + ": " + p.Doing
		c.tell(p)
	})
}

// reason is an error of ask for people: its text has the cause in it.
func reason(err error) string {
	if e, is := errors.AsType[*imap.Error](err); is {
		return e.Text
	}
	return err.Error()
}

// Unasked is why nothing can be said to another node, as the configuration is.
type Unasked string

func (why Unasked) Error() string { return string(why) }

// Kicked is how many sessions were ended.
type Kicked struct {
	Kicked int      `json:"kicked"`
	Silent []Silent `json:"silent,omitempty"`
}

// Missing implements Partial.
func (r *Kicked) Missing() []Silent { return r.Silent }

// Table is one line, and one for each node that may still have sessions.
func (r *Kicked) Table() Table {
	return Table{Foot: append([]string{count(r.Kicked, "connection") + " kicked"}, silentLines(r.Silent, "its sessions go on")...)}
}

// byeKicked is what a client hears. It may come back at once.
var byeKicked = imap.Errorf(imap.CodeUnavailable, "Kicked by admin")

func kick(ctx context.Context, c *call) (Result, error) {
	match, err := c.filter()
	if err != nil {
		return nil, err
	}
	return c.end(ctx, match)
}

// end ends the sessions of this node that match, and with --all those of others.
func (c *call) end(ctx context.Context, match func(*Session) bool) (Result, error) {
	sessions, err := c.sessions()
	if err != nil {
		return nil, err
	}
	res := &Kicked{Kicked: sessions.End(match, byeKicked)}
	res.Silent, err = c.others(ctx, func(r Result) {
		if r, ok := r.(*Kicked); ok {
			res.Kicked += r.Kicked
		}
	})
	if err != nil {
		return nil, err
	}
	return res, nil
}

// ProxyList is the connections of directors to backends.
type ProxyList struct {
	Sessions []Session `json:"sessions"`
	Silent   []Silent  `json:"silent,omitempty"`
}

// Missing implements Partial.
func (r *ProxyList) Missing() []Silent { return r.Silent }

// Table has doveadm's columns, with the other names of users if they have some.
func (r *ProxyList) Table() Table {
	fields := map[string]bool{}
	for _, s := range r.Sessions {
		for field := range s.Names {
			fields[field] = true
		}
	}
	others := slices.Sorted(maps.Keys(fields))
	t := Table{Foot: silentLines(r.Silent, "its connections are not shown")}
	t.Head = slices.Concat([]string{"username"}, others, []string{"proto", "src ip", "dest", "since", "node"})
	for _, s := range r.Sessions {
		row := []string{s.User}
		for _, field := range others {
			row = append(row, dash(s.Names[field]))
		}
		t.Rows = append(t.Rows, append(row, s.Proto, s.Remote.Addr().String(), s.Backend, when(s.Since), s.Node))
	}
	return t
}

func proxyList(ctx context.Context, c *call) (Result, error) {
	res, err := who(ctx, c)
	if err != nil {
		return nil, err
	}
	all := res.(*Who)
	list := &ProxyList{Sessions: []Session{}, Silent: all.Silent}
	for _, s := range all.Sessions {
		if s.Backend != "" {
			list.Sessions = append(list.Sessions, s)
		}
	}
	return list, nil
}

func proxyKick(ctx context.Context, c *call) (Result, error) {
	match, err := c.filter()
	if err != nil {
		return nil, err
	}
	host := c.args.word("host")
	if c.Cluster != nil {
		if host, err = c.host(ctx, c.Cluster); err != nil {
			return nil, err
		}
	}
	return c.end(ctx, func(s *Session) bool { return s.Backend != "" && match(s) && (host == "" || s.Backend == host) })
}
