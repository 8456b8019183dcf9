package acl

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

const dovecotConf = `
base_dir = %[1]s/base
state_dir = %[1]s/state
log_path = %[1]s/log
protocols =
ssl = no
first_valid_uid = 1
mail_plugins = acl
mail_location = maildir:%[1]s/mail
plugin {
  acl = vfile:%[1]s/global
}
`

// TestAsDovecot asks a real doveadm what bob and alice, whose mailbox it is, may do
// with random ACL files and global ACL files.
func TestAsDovecot(t *testing.T) {
	d := newDoveadm(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	for range 40 {
		local, global := randomLines(rnd, "", 5), ""
		if rnd.IntN(2) == 0 {
			global = randomLines(rnd, [...]string{"* ", "Wo?k "}[rnd.IntN(2)], 3)
		}
		d.write(t, "mail/.Work/dovecot-acl", local)
		d.write(t, "global", global)
		rules := Rules{Globals: globals(t, global)}
		entries := rules.Entries(mailbox.Standing{Name: "Work", Own: parsed(t, local)})
		if got, want := Rights(entries, Identity{Owner: "alice", Acting: "bob", Groups: []string{"a", "b"}}), d.rights(t, "bob"); got != want {
			t.Errorf("bob has %s, at Dovecot %s\n%s--\n%s", showRights(got), showRights(want), local, global)
		}
		// An owner's right to administer is Roost's own.
		got, want := Rights(entries, Identity{Owner: "alice", Acting: "alice"}), d.rights(t, "")
		if got&^imap.RightAdmin != want&^imap.RightAdmin {
			t.Errorf("alice has %s, at Dovecot %s\n%s--\n%s", showRights(got), showRights(want), local, global)
		}
	}
}

// randomLines are lines of different identifiers: Dovecot unites equal ones wrongly.
func randomLines(rnd *rand.Rand, before string, most int) string {
	ids := []string{"anyone", "authenticated", "group=a", "group=b", "group=c", "owner", "user=bob", "user=alice", "group-override=a", "group-override=c"}
	var b strings.Builder
	for _, i := range rnd.Perm(len(ids))[:rnd.IntN(most+1)] {
		kinds := 1 + rnd.IntN(3) // positive, negative, both
		for k, sign := range []string{"", "-"} {
			if kinds&(1<<k) != 0 {
				fmt.Fprintf(&b, "%s%s%s %s\n", before, sign, ids[i], imap.Rights(rnd.UintN(uint(imap.AllRights)+1)).Letters())
			}
		}
	}
	return b.String()
}

// doveadm is an alice whose ACLs a real doveadm reads.
type doveadm struct {
	dir, conf string
	cred      *syscall.Credential // nil: it runs as the test does
	uid, gid  int
}

func newDoveadm(t *testing.T) *doveadm {
	t.Helper()
	if _, err := exec.LookPath("doveadm"); err != nil {
		if os.Getenv("ROOST_TEST_PEERS") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	d := &doveadm{dir: t.TempDir(), uid: os.Getuid(), gid: os.Getgid()}
	if d.uid == 0 {
		nobody, err := user.Lookup("nobody")
		if err != nil {
			t.Fatal(err)
		}
		d.uid, _ = strconv.Atoi(nobody.Uid)
		d.gid, _ = strconv.Atoi(nobody.Gid)
		d.cred = &syscall.Credential{Uid: uint32(d.uid), Gid: uint32(d.gid)}
		for dir := d.dir; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
			if err := os.Chmod(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	d.conf = filepath.Join(d.dir, "dovecot.conf")
	if err := os.WriteFile(d.conf, fmt.Appendf(nil, dovecotConf, d.dir), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, sub := range []string{"mail", "mail/cur", "mail/new", "mail/tmp", "mail/.Work", "mail/.Work/cur", "mail/.Work/new", "mail/.Work/tmp"} {
		path := filepath.Join(d.dir, sub)
		if err := os.Mkdir(path, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(path, d.uid, d.gid); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func (d *doveadm) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(d.dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// rights asks what acting has on alice's Work; who is in the groups a and b. Alice is "".
func (d *doveadm) rights(t *testing.T, acting string) imap.Rights {
	t.Helper()
	args := []string{"-c", d.conf, "-f", "flow"}
	if acting != "" {
		args = append(args, "-o", "plugin/acl_user="+acting, "-o", "plugin/acl_groups=a,b")
	}
	cmd := exec.Command("doveadm", append(args, "acl", "rights", "Work")...)
	cmd.Env = []string{"USER=alice", "HOME=" + d.dir, "PATH=" + os.Getenv("PATH")}
	cmd.Dir = d.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: d.cred}
	out, err := cmd.CombinedOutput()
	list, ok := strings.CutPrefix(strings.TrimSpace(string(out)), "Rights=")
	if err != nil || !ok {
		t.Fatalf("doveadm: %v: %s", err, out)
	}
	rights := imap.NoRights
	for _, word := range strings.Fields(list) {
		r, ok := RightNamed(word)
		if !ok {
			t.Fatalf("doveadm says %q", out)
		}
		rights |= r
	}
	return rights
}
