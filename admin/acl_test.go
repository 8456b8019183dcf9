package admin_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/roost-mail/roost/acl"
	"github.com/roost-mail/roost/admin"
	"github.com/roost-mail/roost/admin/admintest"
	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// keptACLs are those of a node of one test: every user has the mailbox Work.
type keptACLs struct {
	holds   func(owner string) bool
	entries map[string][]mailbox.Entry // by owner
}

func (k *keptACLs) Find(_ context.Context, user, name string) (*admin.Box, error) {
	b := &admin.Box{User: user, Name: name, Owner: user, Mailbox: name}
	if rest, is := strings.CutPrefix(name, "shared/"); is {
		b.Owner, b.Mailbox, _ = strings.Cut(rest, "/")
		b.Namespace = "shared/" + b.Owner + "/"
	}
	b.Who = acl.Identity{Owner: b.Owner, Acting: user}
	return b, nil
}

func (k *keptACLs) Here(owner string) bool { return k.holds(owner) }

func (k *keptACLs) Entries(_ context.Context, b *admin.Box) (*admin.Entries, error) {
	if !k.holds(b.Owner) {
		return nil, errors.New("asked for mail of others")
	}
	if b.Mailbox != "Work" {
		return nil, imap.NoMailbox()
	}
	return &admin.Entries{List: k.entries[b.Owner], Source: acl.FromMailbox}, nil
}

func (k *keptACLs) Change(ctx context.Context, _ admin.Author, b *admin.Box, change func([]mailbox.Entry) ([]mailbox.Entry, error)) error {
	if _, err := k.Entries(ctx, b); err != nil {
		return err
	}
	entries, err := change(k.entries[b.Owner])
	k.entries[b.Owner] = entries
	return err
}

func (k *keptACLs) Recalc(context.Context, string) error { return nil }

func (k *keptACLs) Indexed(context.Context, *admin.Box) (admin.Indexed, error) {
	return admin.Indexed{Shares: true, Exact: true, Rights: imap.RightLookup}, nil
}

func (k *keptACLs) Answer(context.Context, *admin.Box) (imap.Rights, error) {
	return imap.RightLookup | imap.RightRead, nil
}

// aclPeers are the other nodes, by their addresses; a missing one does not answer.
type aclPeers map[string]*admin.Admin

func (p aclPeers) Ask(ctx context.Context, address string, op *admin.Operation, args admin.Args, tell func(admin.Progress)) (admin.Result, error) {
	a := p[address]
	if a == nil {
		return nil, imap.Errorf(imap.CodeUnavailable, "connection refused")
	}
	res, err := a.Call(ctx, admin.Caller{Name: "peer", Operate: true}, op, args, tell)
	if err != nil {
		return nil, admin.FromPeer(string(imap.CodeOf(err)), imap.AsError(err).Text, admin.ExitCode(err))
	}
	return res, nil
}

// aclCluster is a director and two backends, which hold the users that end on their numbers.
func aclCluster(t *testing.T) (director *admin.Admin, p aclPeers, c *admintest.Cluster) {
	c = admintest.New(t)
	p = aclPeers{}
	for _, name := range []string{"b1", "b2"} {
		c.Start(name, cluster.Registration{Host: name + ".example.org", Port: 143, Version: "1.0", Volumes: []string{"v1"}, Admin: name + ":8443"})
	}
	c.Settle(1 << 20)
	for _, name := range []string{"b1", "b2"} {
		holds := func(owner string) bool {
			place, err := c.Shared.Place(context.Background(), owner, "")
			return err == nil && place.Current == name
		}
		p[name+":8443"] = &admin.Admin{
			Node: name, Log: slog.New(slog.DiscardHandler), Cluster: c.Shared, Users: plainNames{}, Peers: p,
			ACLs: &keptACLs{holds: holds, entries: map[string][]mailbox.Entry{}},
		}
	}
	return &admin.Admin{Node: "d1", Log: slog.New(slog.DiscardHandler), Cluster: c.Shared, Users: plainNames{}, Peers: p}, p, c
}

type plainNames struct{}

func (plainNames) Normalize(name string) (string, error) { return strings.ToLower(name), nil }

func (plainNames) List(context.Context, string) ([]string, error) { return nil, errors.New("no list") }

// callACL runs a command line at a node, and gives its output or error.
func callACL(t *testing.T, a *admin.Admin, line string) string {
	t.Helper()
	name, rest, _ := strings.Cut(line, ": ")
	op, ok := admin.Find(name)
	if !ok {
		t.Fatalf("no operation %q", name)
	}
	given := map[string]string{}
	for _, word := range strings.Split(rest, ", ") {
		if key, value, is := strings.Cut(word, "="); is {
			given[key] = value
		}
	}
	args, err := op.Parse(given)
	if err != nil {
		t.Fatal(err)
	}
	res, err := a.Call(t.Context(), admin.Caller{Name: "test", Operate: true}, op, args, nil)
	if err != nil {
		return fmt.Sprintf("exit %d: %s", admin.ExitCode(err), imap.AsError(err).Text)
	}
	var out strings.Builder
	if _, err := res.Table().WriteTo(&out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// oneOfEach is a user of each backend.
func oneOfEach(t *testing.T, c *admintest.Cluster) map[string]string {
	t.Helper()
	users := map[string]string{}
	for i := range 100 {
		user := fmt.Sprintf("u%d", i)
		place, err := c.Shared.Place(t.Context(), user, "")
		if err != nil {
			t.Fatal(err)
		}
		users[place.Current] = user
	}
	return users
}

// TestACLsAreAskedOfTheHolder: any node takes the operations, and who holds the owner
// does them; a backend that does not run is named.
func TestACLsAreAskedOfTheHolder(t *testing.T) {
	director, p, c := aclCluster(t)
	owners := oneOfEach(t, c)
	one, two := owners["b1"], owners["b2"]
	nodes := []*admin.Admin{director, p["b1:8443"], p["b2:8443"]}
	for i, node := range nodes {
		for _, owner := range owners {
			reader := map[string]string{one: two, two: one}[owner]
			id := fmt.Sprintf("user=reader%d", i)
			if got := callACL(t, node, "acl set: user="+owner+", mailbox=Work, id="+id+", rights=lookup read"); !strings.Contains(got, id) {
				t.Errorf("%s, set: %s", node.Node, got)
			}
			callACL(t, node, "acl set: user="+owner+", mailbox=Work, id=user="+reader+", expires=9990-12-24, rights=lookup read")
			if got := callACL(t, node, "acl rights: user="+reader+", mailbox=shared/"+owner+"/Work"); got != "Rights\nlookup read\n" {
				t.Errorf("%s, rights: %s", node.Node, got)
			}
			if got := callACL(t, node, "acl get: user="+owner+", mailbox=Nope"); got != "exit 68: mailbox Nope doesn't exist" {
				t.Errorf("%s, get: %s", node.Node, got)
			}
			got := callACL(t, node, "acl explain: user="+reader+", mailbox=shared/"+owner+"/Work")
			for _, want := range []string{
				"it is " + owner + "'s mailbox Work", "LIST shows it", "which b", "  user=" + reader + ": lookup read, until 9990-12-24T00:00:00Z. Adds lookup read.",
				"So " + reader + " may: lookup read.", "is answered: lr.",
			} {
				if !strings.Contains(got, want) {
					t.Errorf("%s, explain lacks %q: %s", node.Node, want, got)
				}
			}
		}
	}

	got := callACL(t, nodes[2], "acl explain: user="+one+", mailbox=shared/"+two+"/Work, here=true")
	if want := "What a session of " + one + " is answered is not known here"; !strings.Contains(got, want) || !strings.Contains(got, "So "+one+" may: lookup read.") {
		t.Errorf("%s, want %s", got, want)
	}
	delete(p, "b2:8443")
	got = callACL(t, director, "acl get: user="+two+", mailbox=Work")
	if want := "exit 75: backend b2, which serves " + two + ", does not answer"; !strings.HasPrefix(got, want) {
		t.Errorf("%s, want %s", got, want)
	}
	got = callACL(t, nodes[1], "acl explain: user="+one+", mailbox=shared/"+two+"/Work")
	if !strings.Contains(got, "The entries can't be asked for: backend b2") {
		t.Error(got)
	}
	c.Kill("b2")
	got = callACL(t, nodes[1], "acl get: user="+two+", mailbox=Work")
	if !strings.HasPrefix(got, "exit 75: "+two+" is served by nobody now") {
		t.Error(got)
	}
	if got := callACL(t, nodes[1], "acl get: user="+one+", mailbox=Work"); strings.HasPrefix(got, "exit") {
		t.Errorf("the other backend's: %s", got)
	}
}

// TestNodesThatCannotBeAsked: where nodes don't ask each other, the one that has the mail is
// named, and what can be explained without it is.
func TestNodesThatCannotBeAsked(t *testing.T) {
	director, p, c := aclCluster(t)
	for _, node := range p {
		node.Peers = nil
	}
	director.Peers = nil
	users := oneOfEach(t, c)
	one, two := users["b1"], users["b2"]
	why := "can't be asked from here, as admin_peer_token_file is not set here: say it there"
	for _, call := range []struct {
		node       *admin.Admin
		line, want string
	}{
		{director, "acl rights: user=" + two + ", mailbox=Work", "exit 1: backend b2 serves " + two + ", and " + why},
		{p["b1:8443"], "acl get: user=" + two + ", mailbox=Work", "exit 1: backend b2 serves " + two + ", and " + why},
		{director, "share list: from=" + two, "exit 75: no backend answers: say it at one; b1: admin_peer_token_file"},
		{director, "team create: team=Sales", "exit 75: no backend answers: say it at one; b1: admin_peer_token_file"},
		{p["b1:8443"], "acl explain: user=" + two + ", mailbox=shared/" + one + "/Work", "What a session of " + two + " is answered is not known here: backend b2 serves " + two + ", and " + why},
	} {
		if got := callACL(t, call.node, call.line); !strings.Contains(got, call.want) {
			t.Errorf("%s, %s: %s, want %s", call.node.Node, call.line, got, call.want)
		}
	}
}
