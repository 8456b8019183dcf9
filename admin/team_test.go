package admin_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/roost-mail/roost/acl"
	"github.com/roost-mail/roost/admin"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// keptTeams is the mail of the account public, of one test.
type keptTeams struct {
	places  []admin.TeamPlace
	own     map[string][]mailbox.Entry // by mailbox
	mail    map[string]int
	follows bool // acl_inherit = live

	most      int    // changes that are made until the disk fails; negative: all
	meanwhile func() // what others do when a mailbox is deleted; nil: nothing
}

func newKeptTeams() *keptTeams {
	return &keptTeams{
		places: []admin.TeamPlace{{Namespace: "public", Prefix: "public/", Account: "public"}},
		own:    map[string][]mailbox.Entry{"INBOX": nil}, mail: map[string]int{}, most: -1,
	}
}

func (k *keptTeams) Places() []admin.TeamPlace { return k.places }

func (k *keptTeams) Who(_ context.Context, user, account string) (acl.Identity, error) {
	if user == "nobody" {
		return acl.Identity{}, imap.Errorf(imap.CodeNonExistent, "user nobody doesn't exist")
	}
	return acl.Identity{Owner: account, Acting: user, Groups: []string{"staff"}}, nil
}

func (k *keptTeams) GroupKnown(_ context.Context, group string) (bool, error) {
	if group == "far" {
		return false, imap.Errorf(imap.CodeCannot, "the userdb can't list users")
	}
	return group == "staff", nil
}

func (k *keptTeams) Open(context.Context, *admin.Author, string, bool) (admin.TeamHome, error) {
	return k, nil
}

func (k *keptTeams) Mailboxes(context.Context) ([]string, error) {
	return slices.Collect(maps.Keys(k.own)), nil
}

func (k *keptTeams) standing(name string) (mailbox.Standing, error) {
	own, is := k.own[name]
	if !is {
		return mailbox.Standing{}, imap.NoMailbox()
	}
	return mailbox.Standing{Name: name, Own: own, Above: k.above(name)}, nil
}

// above are the entries of the nearest level above that has some.
func (k *keptTeams) above(name string) []mailbox.Entry {
	for i := strings.LastIndexByte(name, '/'); i > 0; i = strings.LastIndexByte(name[:i], '/') {
		if entries := k.own[name[:i]]; len(entries) > 0 {
			return entries
		}
	}
	return nil
}

func (k *keptTeams) Entries(_ context.Context, name string) (*admin.Entries, error) {
	s, err := k.standing(name)
	rules := acl.Rules{Inherit: k.follows}
	return &admin.Entries{List: rules.Entries(s), Source: rules.Source(s)}, err
}

func (k *keptTeams) Change(_ context.Context, name string, change func([]mailbox.Entry) ([]mailbox.Entry, error)) error {
	s, err := k.standing(name)
	if err != nil {
		return err
	}
	rules := acl.Rules{Inherit: k.follows}
	own, err := rules.Changed(s, change)
	if err != nil {
		return err
	}
	if k.most == 0 {
		return imap.Errorf(imap.CodeUnavailable, "the disk has failed")
	}
	k.most--
	k.own[name] = own
	return nil
}

func (k *keptTeams) Create(_ context.Context, name string) error {
	if _, is := k.own[name]; is {
		return imap.Errorf(imap.CodeAlreadyExists, "Mailbox already exists")
	}
	k.own[name] = nil
	if !k.follows {
		k.own[name] = k.above(name)
	}
	return nil
}

func (k *keptTeams) Delete(_ context.Context, name string) error {
	if _, is := k.own[name]; !is {
		return imap.NoMailbox()
	}
	delete(k.own, name)
	if k.meanwhile != nil {
		k.meanwhile()
		k.meanwhile = nil
	}
	return nil
}

func (k *keptTeams) Messages(_ context.Context, name string) (int, error) { return k.mail[name], nil }

func (k *keptTeams) Follows() bool { return k.follows }

func (k *keptTeams) Close() {}

// node is a node that has all mail.
func (k *keptTeams) node() *admin.Admin {
	return &admin.Admin{Node: "b1", Log: slog.New(slog.DiscardHandler), Users: plainNames{}, ACLs: &keptACLs{holds: func(string) bool { return true }}, Teams: k}
}

// state is the entries of all mailboxes, a line each.
func (k *keptTeams) state() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(k.own)) {
		fmt.Fprintf(&b, "%s: %s\n", name, strings.ReplaceAll(acl.FormatFile(acl.Sorted(k.own[name])), "\n", " "))
	}
	return b.String()
}

// TestTeamsBelow: what is below a team's mailbox has the team's entries, whether it copies or
// follows them, and keeps what was changed for it alone.
func TestTeamsBelow(t *testing.T) {
	const first = "team create: team=Sales, below=Done, admin=alice"
	for _, row := range []struct {
		name    string
		follows bool
		lines   []string
		alone   map[string]string // what clients change: an identifier that gets l on the mailbox
		want    string
	}{
		{
			name: "copies", lines: []string{first, "team add: team=Sales, member=bob", "team role: team=Sales, member=bob, role=triage"},
			want: "INBOX: \nSales: user=alice akxeilprwts user=bob ilprwts \nSales/Done: user=alice akxeilprwts user=bob ilprwts \n",
		},
		{
			name: "followers", follows: true, lines: []string{first, "team add: team=Sales, member=bob"},
			want: "INBOX: \nSales: user=alice akxeilprwts user=bob lrs \nSales/Done: \n",
		},
		{
			name: "copies of nothing", lines: []string{"team create: team=Sales, below=Done", "team add: team=Sales, member=bob"},
			want: "INBOX: \nSales: user=bob lrs \nSales/Done: user=bob lrs \n",
		},
		{
			name: "followers of nothing", follows: true, lines: []string{"team create: team=Sales, below=Done", "team add: team=Sales, member=bob"},
			want: "INBOX: \nSales: user=bob lrs \nSales/Done: \n",
		},
		{
			name: "alone", lines: []string{first, "team create: team=Other, admin=alice"}, alone: map[string]string{"Sales/Done": "user=eve"},
			want: "INBOX: \nOther: user=alice akxeilprwts \nSales: user=alice akxeilprwts user=bob lrs \nSales/Done: user=alice akxeilprwts user=eve l \n",
		},
		{
			name: "followers alone", follows: true, lines: []string{first}, alone: map[string]string{"Sales/Done": "user=eve"},
			want: "INBOX: \nSales: user=alice akxeilprwts user=bob lrs \nSales/Done: user=alice akxeilprwts user=eve l \n",
		},
	} {
		k := newKeptTeams()
		k.follows = row.follows
		for _, line := range row.lines {
			if got := callACL(t, k.node(), line); strings.HasPrefix(got, "exit") {
				t.Fatalf("%s: %s: %s", row.name, line, got)
			}
		}
		for name, id := range row.alone {
			err := k.Change(t.Context(), name, func(entries []mailbox.Entry) ([]mailbox.Entry, error) {
				return append(slices.Clone(entries), mailbox.Entry{Identifier: id, Rights: imap.RightLookup}), nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if row.alone != nil {
			if got := callACL(t, k.node(), "team add: team=Sales, member=bob"); !strings.Contains(got, "With other entries than these: public/Sales/Done\n") {
				t.Errorf("%s: %s", row.name, got)
			}
		}
		if got := k.state(); got != row.want {
			t.Errorf("%s: %s, want %s", row.name, got, row.want)
		}
		callACL(t, k.node(), "team remove: team=Sales, member=eve")
		callACL(t, k.node(), "team remove: team=Sales, member=bob")
		if got := k.state(); strings.Contains(got, "bob") || strings.Contains(got, "eve") {
			t.Errorf("%s: who was removed is left: %s", row.name, got)
		}
	}
}

// TestTeamsDoneAgain: a change that did not come to its end comes to the same as one that
// did when it is done again.
func TestTeamsDoneAgain(t *testing.T) {
	prepared := func() *keptTeams {
		k := newKeptTeams()
		for _, line := range []string{"create: team=Sales, below=A/B,C, admin=alice", "add: team=Sales, member=bob", "add: team=Sales, member=$staff, role=full"} {
			if got := callACL(t, k.node(), "team "+line); strings.HasPrefix(got, "exit") {
				t.Fatal(got)
			}
		}
		return k
	}
	for _, line := range []string{
		"team add: team=Sales, member=carol, role=triage", "team role: team=Sales, member=bob, role=admin", "team remove: team=Sales, member=bob", "team remove: team=Sales, member=$staff",
	} {
		whole := prepared()
		callACL(t, whole.node(), line)
		failed := 0
		for most := range 6 {
			k := prepared()
			k.most = most
			if strings.HasPrefix(callACL(t, k.node(), line), "exit 75") {
				failed++
			}
			k.most = -1
			if got := callACL(t, k.node(), line); strings.HasPrefix(got, "exit") || strings.Contains(got, "With other") {
				t.Errorf("%s after %d changes: %s", line, most, got)
			}
			if got, want := k.state(), whole.state(); got != want {
				t.Errorf("%s after %d changes: %s, want %s", line, most, got, want)
			}
		}
		if failed != 3 {
			t.Errorf("%s: failed %d times of 3", line, failed)
		}
	}
}

// TestTeamDelete: mail that comes, and mailboxes that are made, while a team is deleted.
func TestTeamDelete(t *testing.T) {
	k := newKeptTeams()
	a := k.node()
	callACL(t, a, "team create: team=Sales, below=Done, admin=alice")
	callACL(t, a, "team create: team=Sales2, admin=alice")
	k.meanwhile = func() { k.mail["Sales/Done"], k.own["Sales/Done/New"] = 1, nil }
	for _, row := range []struct{ line, want string }{
		{"team delete: team=Sales", "exit 1: team Sales is not deleted to its end, public/Sales/Done is left: mail has just come"},
		{"team show: team=Sales", "exit 68: team Sales doesn't exist"},
		{"team delete: team=Sales", "exit 1: team Sales has 1 message in 2 mailboxes: --force deletes them"},
		{"team delete: team=Sales, force=true", "Team Sales is deleted: 2 mailboxes, 1 message\n"},
		{"team delete: team=Sales", "exit 68: team Sales doesn't exist"},
	} {
		if got := callACL(t, a, row.line); got != row.want {
			t.Errorf("%s: %s, want %s", row.line, got, row.want)
		}
	}
	callACL(t, a, "team create: team=Sales, admin=alice")
	k.meanwhile = func() { k.own["Sales/New"] = nil }
	if got := callACL(t, a, "team delete: team=Sales"); got != "Team Sales is deleted: 2 mailboxes, 0 messages\n" {
		t.Error(got)
	}
	if got := k.state(); got != "INBOX: \nSales2: user=alice akxeilprwts \n" {
		t.Errorf("left: %s", got)
	}
}

// TestTeamNames: what can't be a team's name, or a member's, makes nothing.
func TestTeamNames(t *testing.T) {
	k := newKeptTeams()
	a := k.node()
	create, _ := admin.Find("team create")
	long := strings.Repeat("é", 497) // fits without the namespace's prefix
	for _, name := range []string{
		"", "/", "/Sales", "Sales/", "Sales/Done", "public/Sales", ".", "..", "../Sales", "INBOX", "iNBoX", " Sales", "Sales ", "Sa*les", "Sa%les",
		"Sa\x00les", "Sa\nles", "Sa\rles", "Sa\x7fles", "Sa\u0085les", "Sa\u2028les", "Sa\u202eles", "Sa\xffles", long, strings.Repeat("x", 1001), strings.Repeat("x", 1<<20),
	} {
		args, err := create.Parse(map[string]string{"team": name})
		if err == nil {
			_, err = a.Call(t.Context(), admin.Caller{Name: "test", Operate: true}, create, args, nil)
		}
		if admin.ExitCode(err) != admin.ExitUsage || len(k.own) != 1 {
			t.Errorf("%.40q: exit code %d, %v; mailboxes %d", name, admin.ExitCode(err), err, len(k.own))
		}
	}
	for _, name := range []string{"Sales & Söhne", "売上", "INBOX2", "#1", "alice", "-x", "$x"} {
		if got := callACL(t, a, "team create: team="+name+", admin=alice"); strings.HasPrefix(got, "exit") {
			t.Errorf("%q: %s", name, got)
		}
	}
	before := k.state()
	for member, want := range map[string]string{
		"-bob": "64", "owner": "64", "$": "64", "!$": "64", "#bob": "64", "user=": "64", "public": "1", "PUBLIC": "1", "user=public": "1", "nobody": "67", "$nobody": "67", "group-override=": "64",
	} {
		if got := callACL(t, a, "team add: team=alice, member="+member); !strings.HasPrefix(got, "exit "+want+":") {
			t.Errorf("%q: %s, want exit code %s", member, got, want)
		}
	}
	if k.state() != before {
		t.Errorf("members have come: %s", k.state())
	}
	if got := callACL(t, a, "team add: team=alice, member=$far"); !strings.Contains(got, "Whether there is a group far is not known: the userdb can't list users") {
		t.Error(got)
	}
}

// TestTeamSpaces: with several namespaces it has to be said which, but for the list.
func TestTeamSpaces(t *testing.T) {
	k := newKeptTeams()
	a := k.node()
	callACL(t, a, "team create: team=Sales, admin=alice")
	k.places = append(k.places, admin.TeamPlace{Namespace: "board", Prefix: "board/", Account: "nobody"})
	for line, want := range map[string]string{
		"team show: team=Sales":                      "exit 64: team show: say which namespace by -n: public, board",
		"team show: team=Sales, namespace=elsewhere": `exit 64: team show: there is no public namespace "elsewhere": there are public, board`,
		"team show: team=Sales, namespace=board":     "exit 1: the account of the namespace: user nobody doesn't exist",
		"team list":                                  "Team   Mailbox       Members\nSales  public/Sales  alice:admin\nnamespace board: the account of the namespace: user nobody doesn't exist\n",
	} {
		if got := callACL(t, a, line); got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
	k.places = nil
	if got := callACL(t, a, "team show: team=Sales"); got != "exit 1: team show: there is no namespace with type = public, which teams need" {
		t.Error(got)
	}
}

// TestTeamsAreAskedOfTheHolder: any node takes the commands, and who holds the namespace's
// account does them.
func TestTeamsAreAskedOfTheHolder(t *testing.T) {
	director, p, c := aclCluster(t)
	place, err := c.Shared.Place(t.Context(), "public", "")
	if err != nil {
		t.Fatal(err)
	}
	teams := map[string]*keptTeams{"b1": newKeptTeams(), "b2": newKeptTeams()}
	for name, k := range teams {
		p[name+":8443"].Teams = k
	}
	director.Audit = func(d admin.Done) {
		if !d.Asked {
			t.Errorf("%s: a director seems to have done it", d.Op.Name)
		}
	}
	other := map[string]string{"b1": "b2", "b2": "b1"}[place.Current]
	for i, node := range []*admin.Admin{director, p["b1:8443"], p["b2:8443"]} {
		for _, line := range []string{"create: team=T%d, admin=alice", "add: team=T%d, member=bob", "show: team=T%d", "role: team=T%d, member=bob, role=full", "remove: team=T%d, member=bob"} {
			line = "team " + fmt.Sprintf(line, i)
			if got := callACL(t, node, line); !strings.Contains(got, "alice") {
				t.Errorf("%s: %s: %s", node.Node, line, got)
			}
		}
		if got := callACL(t, node, "team show: team=Nope"); got != "exit 68: team Nope doesn't exist" {
			t.Errorf("%s: %s", node.Node, got)
		}
		if got := callACL(t, node, "team list"); !strings.Contains(got, fmt.Sprintf("public/T%d", i)) {
			t.Errorf("%s: %s", node.Node, got)
		}
	}
	if n := len(teams[other].own); n != 1 {
		t.Errorf("%s, which does not hold the account, has %d mailboxes", other, n)
	}
	for _, node := range []*admin.Admin{p["b1:8443"], director} {
		if got := callACL(t, node, "team delete: team=T0"); !strings.HasPrefix(got, "Team T0 is deleted: 1 mailbox, 0 messages") {
			t.Errorf("%s: %s", node.Node, got)
		}
		if got := callACL(t, node, "team create: team=T0"); strings.HasPrefix(got, "exit") {
			t.Errorf("%s: %s", node.Node, got)
		}
	}

	delete(p, other+":8443")
	if got := callACL(t, director, "team list"); strings.HasPrefix(got, "exit") {
		t.Errorf("the other backend was not asked: %s", got)
	}
	delete(p, place.Current+":8443")
	if got := callACL(t, director, "team list"); !strings.HasPrefix(got, "exit 75: no backend answers") {
		t.Error(got)
	}
}

// brokenPeers fail before or after something was said to them.
type brokenPeers struct {
	err  error
	rest admin.Peers
	n    int
}

func (p *brokenPeers) Ask(ctx context.Context, address string, op *admin.Operation, args admin.Args, tell func(admin.Progress)) (admin.Result, error) {
	if p.n++; p.n == 1 {
		return nil, imap.Wrap(imap.CodeUnavailable, "no answer", p.err)
	}
	return p.rest.Ask(ctx, address, op, args, tell)
}

// TestTeamsAreChangedOnce: a director asks another backend to change something only if the
// first has heard nothing of it.
func TestTeamsAreChangedOnce(t *testing.T) {
	director, p, _ := aclCluster(t)
	k := newKeptTeams()
	for _, node := range p {
		node.Teams = k
	}
	for _, row := range []struct {
		err  error
		line string
		want string
	}{
		{&net.OpError{Op: "dial", Err: fmt.Errorf("connection refused")}, "team create: team=A, admin=alice", "Member"},
		{&net.OpError{Op: "read", Err: fmt.Errorf("connection reset")}, "team create: team=B, admin=alice", "exit 75: "},
		{&net.OpError{Op: "read", Err: fmt.Errorf("connection reset")}, "team show: team=A", "Member"},
	} {
		director.Peers = &brokenPeers{err: row.err, rest: p}
		if got := callACL(t, director, row.line); !strings.HasPrefix(got, row.want) {
			t.Errorf("%v, %s: %s, want %s", row.err, row.line, got, row.want)
		}
	}
}
