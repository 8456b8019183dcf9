package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/roost-mail/roost/admin"
	"github.com/roost-mail/roost/admin/adminhttp"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapserver"
	"github.com/roost-mail/roost/porttest"
)

// TestTeamCommands has an administrator keep teams while members and others are at work:
// testdata/acl/team.txt. A line with $ is a command, others are clients'.
func TestTeamCommands(t *testing.T) {
	t.Parallel()
	startTeams(t, "").runACLScript(t, "testdata/acl/team.txt")
}

// TestTeams runs testdata/teams/members.txt with the team's mail at another backend and in
// the same process, and with mailboxes that copy the rights of those above and that follow
// them.
func TestTeams(t *testing.T) {
	for name, settings := range map[string]string{"copied": "", "live": "plugin {\n  acl_inherit = live\n}\n"} {
		t.Run(name+"/elsewhere", func(t *testing.T) {
			t.Parallel()
			runTranscript(t, startTeams(t, settings), "testdata/teams/members.txt")
		})
		t.Run(name+"/here", func(t *testing.T) {
			t.Parallel()
			r := startTogetherWith(t, nil, func(string) bool { return true }, func(r *rig) { configureTeams(t, r, settings) })
			runTranscript(t, together{r}, "testdata/teams/members.txt")
		})
	}
}

// together is a rig all of whose mail is on be1.
type together struct{ *rig }

func (r together) administer(command string) string { return r.roost("be1 " + command) }

// TestTeamsLookMissing: by every command, a team of which the reader is no member gives the
// same answer as one that does not exist.
func TestTeamsLookMissing(t *testing.T) {
	t.Parallel()
	r := startTeams(t, "")
	owner := &hiddenOwner{r.login(t, "someone1"), map[string]bool{}}
	owner.command("CREATE Open", "SETACL Open someone2 lrswitekxa", `APPEND Open`+strings.Repeat(` <<"Subject: x\r\n\r\nx\r\n"`, 5))
	r.say(t, "someone2", `APPEND INBOX <<"Subject: x\r\n\r\nx\r\n"`)
	for _, command := range []string{"create Ours someone2", "create Sales someone1 --below Done"} {
		if out := r.administer("team " + command); strings.Contains(out, "exit") {
			t.Fatal(out)
		}
	}
	for _, command := range imapserver.Commands() {
		for _, sample := range aboutMailbox[command] {
			_, text, _ := strings.Cut(sample, ": ")
			s := &sampled{text: text, owner: owner, reader: r.login(t, "someone2")}
			missing := s.ask("public/Missing")
			s.compare(t, "public/Sales", missing)
			s.compare(t, "public/Sales/Done", missing)
			s.reader.close()
		}
	}
}

// TestTeamAudit: changes of teams are in the audit log of the backend that has their mail.
func TestTeamAudit(t *testing.T) {
	t.Parallel()
	r := startRigWith(t, "rig", func(r *rig) {
		configureTeams(t, r, "")
		configureAudit(t, r)
	})
	r.runACLScript(t, "testdata/acl/team-audit.txt")
}

const teamSpace = `
namespace public {
  type = public
  prefix = public/
  list = children
  location = imapc:~/public:INDEXPVT=~/public-pvt
}
`

// startTeams is a rig with a public namespace.
func startTeams(t *testing.T, settings string) *rig {
	t.Helper()
	return startRigWith(t, "rig", func(r *rig) { configureTeams(t, r, settings) })
}

func configureTeams(t *testing.T, r *rig, settings string) {
	t.Helper()
	for _, name := range []string{"be1", "be2"} {
		appendTo(t, r.files[name], teamSpace+settings)
	}
	r.addPublic(t)
}

// addPublic makes the account of public mail.
func (r *rig) addPublic(t *testing.T) {
	t.Helper()
	appendTo(t, filepath.Join(r.root, "etc/users"), "public:{PLAIN}pass:5000:5000::"+r.root+"/shared-fs/home/public::\n")
	appendTo(t, filepath.Join(r.root, "etc/users.director"), "public:{PLAIN}pass::::::proxy=y port="+strconv.Itoa(r.port)+"\n")
}

// administer runs a command at the backend that has the account of public mail.
func (r *rig) administer(command string) string { return r.roost("be2 " + command) }

// TestTeamsAtOnce: administrators who change a team at the same time lose nothing of each
// other's, and don't leave it without one who administers it.
func TestTeamsAtOnce(t *testing.T) {
	t.Parallel()
	r := startTeams(t, "")
	r.must(t, "be2 team create Sales someone1 --below A/B,C", "admin")
	r.must(t, "be2 team add Sales someone2 admin", "admin")
	var all sync.WaitGroup
	for i := range 5 {
		member := "someone" + strconv.Itoa(3+i)
		all.Go(func() {
			for _, change := range []string{"add Sales " + member, "role Sales " + member + " full", "remove Sales " + member, "add Sales " + member + " triage"} {
				if out := r.teamCall(change); strings.HasPrefix(out, "exit") {
					t.Errorf("%s: %s", change, out)
				}
			}
		})
	}
	outs := make([]string, 2)
	for i := range outs {
		all.Go(func() { outs[i] = r.teamCall("remove Sales someone" + strconv.Itoa(1+i)) })
	}
	all.Wait()
	if refused := strings.HasPrefix(outs[0], "exit 1: that is the last member"); refused == strings.HasPrefix(outs[1], "exit 1: that is the last member") {
		t.Errorf("of two who administer were removed: %q", outs)
	}
	shown := r.teamCall("show Sales")
	if strings.Count(shown, "triage") != 5 || strings.Count(shown, "admin ") != 1 || strings.Contains(shown, "With other entries") {
		t.Error(shown)
	}
}

// teamCall is a command as its backend does it, for many at once.
func (r *rig) teamCall(line string) string {
	words := strings.Fields(line)
	op, _ := admin.Find("team " + words[0])
	given, err := op.Words(words[1:])
	if err != nil {
		return err.Error()
	}
	args, err := op.Parse(given)
	if err != nil {
		return err.Error()
	}
	res, err := r.nodes["be2"].administration.admin.Call(context.Background(), admin.Caller{Name: "test", Operate: true}, op, args, nil)
	if err != nil {
		return fmt.Sprintf("exit %d: %s", admin.ExitCode(err), imap.AsError(err).Text)
	}
	var out strings.Builder
	_, _ = res.Table().WriteTo(&out)
	return out.String()
}

// TestTeamsInACluster: with a coordinator any node takes the commands, wherever the mail of
// teams is, and members on all backends see what they do at once, also when it moves.
func TestTeamsInACluster(t *testing.T) {
	r := startTeamCluster(t)
	here, there := r.usersAt("be1"), r.usersAt("be2")
	if len(here) == 0 || len(there) == 0 {
		t.Fatalf("users are placed %q and %q", here, there)
	}
	member, session := there[0], r.login(t, there[0])
	boss := r.login(t, here[0])
	for _, node := range []string{"director", "be1"} {
		if out := r.roost(node + " who --all"); strings.Contains(out, "it has no admin_listen") {
			t.Errorf("%s: %s", node, out)
		}
	}
	for i, node := range []string{"director", "be1", "be2"} {
		team := "Sales" + strconv.Itoa(i)
		r.must(t, node+" team create "+team+" "+here[0], "admin")
		r.must(t, node+" team add "+team+" "+member+" triage", "triage")
		session.command(`LIST "" "public/*"`)
		session.expect("* LIST (...) \"/\" public/" + team)
		boss.command("APPEND public/" + team + ` <<"Subject: x\r\n\r\nx\r\n"`)
		boss.expect("OK")
	}
	for _, move := range []string{"be1", "be2"} {
		session.settled("SELECT public/Sales0")
		session.expect("* 1 EXISTS")
		r.must(t, "director director move -q public "+move, "User public is at "+move)
		for i, node := range []string{"director", "be1", "be2"} {
			r.must(t, node+" team role Sales0 "+member+" read", "read")
			session.settled(`STORE 1 +FLAGS (\Flagged)`)
			session.expect("NO [NOPERM]")
			r.must(t, node+" team role Sales0 "+member+" triage", "triage")
			session.settled(`STORE 1 +FLAGS (\Flagged)`)
			session.expect("OK")
			r.must(t, node+" team list", "Sales"+strconv.Itoa(i))
		}
	}
	for i, node := range []string{"director", "be1", "be2"} {
		team := "Sales" + strconv.Itoa(i)
		if out := r.roost(node + " team show Nothing"); out != "exit 68: team Nothing doesn't exist\n" {
			t.Errorf("%s: %s", node, out)
		}
		r.must(t, node+" team delete "+team+" --force", "is deleted: 1 mailbox, 1 message")
		session.command(`LIST "" "public/*"`)
		session.expectNot("* LIST (...) \"/\" public/" + team)
	}
}

// startTeamCluster is a cluster with a coordinator, whose nodes ask each other, with a public
// namespace.
func startTeamCluster(t *testing.T) *trustRig {
	t.Helper()
	port := strconv.Itoa(porttest.Free(t, rigAddrs["director"], rigAddrs["be1"], rigAddrs["be2"]))
	dir := t.TempDir()
	token, line := adminhttp.NewToken("node", true)
	for name, text := range map[string]string{"tokens": line, "token": token} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := startTrustRig(t, func(name, text string) string {
		text += "admin_peer_token_file = " + filepath.Join(dir, "token") + "\n" +
			"admin_listen = " + rigAddrs[name] + ":" + port + "\nadmin_tokens_file = " + filepath.Join(dir, "tokens") + "\n"
		if name == "director" {
			return text
		}
		return text + teamSpace
	})
	r.addPublic(t)
	return r
}

// settled sends a command, and again while the mail that it is about is being moved.
func (c *imapConn) settled(command string) {
	c.t.Helper()
	for until := time.Now().Add(patience); ; {
		c.command(command)
		if !strings.HasPrefix(c.answer[len(c.answer)-1], "NO [UNAVAILABLE]") || time.Now().After(until) {
			return
		}
	}
}

// must runs a command whose output has to have want in it, again as long as a node does not
// answer in time. Then it may be done already, and say otherwise.
func (r *rig) must(t *testing.T, command, want string) {
	t.Helper()
	var otherwise []string
	for until := time.Now().Add(patience); ; {
		out := r.roost(command)
		later := strings.Contains(out, "exit 75: ") || strings.Contains(out, "is moving")
		switch {
		case !strings.Contains(out, "exit ") && strings.Contains(out, want):
			return
		case later && time.Now().Before(until):
			otherwise = append(otherwise, "exists already", "doesn't exist")
		case !later && slices.ContainsFunc(otherwise, func(w string) bool { return strings.Contains(out, w) }):
			return
		default:
			t.Fatalf("%s: %s, want %s", command, out, want)
		}
	}
}
