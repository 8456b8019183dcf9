package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestGlobalsAreFollowed changes the file of global rights under everybody's hands: who has
// a mailbox open hears that it is taken away, the list and a session that asks follow,
// and nobody has to say reload. A file with a mistake changes nothing.
func TestGlobalsAreFollowed(t *testing.T) {
	r := startRigWith(t, "rig", func(r *rig) {
		configureRights(t, r, "#global Work user=someone2 lr\n#global * user=someone9 lr\n"+
			"#be plugin {\n#be   acl = vfile:@ROOT@/globals\n#be   acl_audit_log = @ROOT@/be1.audit\n#be }\n")
	})
	owner, reader := dialIMAP(t, r.address()), dialIMAP(t, r.address())
	defer owner.close()
	defer reader.close()
	owner.command("LOGIN someone1 pass")
	owner.command("CREATE Work")
	reader.command("LOGIN someone2 pass")
	reader.command("SELECT shared/someone1/Work")
	reader.expect("OK [READ-ONLY]")

	r.setGlobals(t, "# no such identifier\nWork everybody lr\n")
	var f globalsFollower
	f.look(r.nodes["be1"].parts)
	f.look(r.nodes["be1"].parts)
	if !strings.Contains(f.complaint, "line 2") {
		t.Errorf("a mistake is complained of by %q", f.complaint)
	}
	reader.command("MYRIGHTS shared/someone1/Work")
	reader.expect("* MYRIGHTS shared/someone1/Work lr")

	reader.command("IDLE")
	r.setGlobals(t, "* user=someone9 lr\n")
	reader.expect("* NO [NOPERM]")
	reader.command("DONE")
	reader.until(`LIST "" "shared/*"`, func(answer string) bool { return !strings.Contains(answer, "Work") })
	reader.command("SELECT shared/someone1/Work")
	reader.expect("NO [NONEXISTENT]")

	r.setGlobals(t, "Work user=someone2 lrs\n* user=someone9 lr\n")
	reader.until(`LIST "" "shared/*"`, func(answer string) bool { return strings.Contains(answer, "Work") })
	reader.command("SELECT shared/someone1/Work")
	reader.expect("OK [READ-WRITE]")

	lines := r.audited(t, "be1")
	for _, want := range []string{
		`"what":"global acl","owner":"","mailbox":"","before":["Work user=someone2 lr"],"after":[],"result":"ok"`,
		`"what":"global acl","owner":"","mailbox":"","before":[],"after":["Work user=someone2 lrs"],"result":"ok"`,
	} {
		if !strings.Contains(lines, want) {
			t.Errorf("no line with %s in\n%s", want, lines)
		}
	}
}

// TestReloadedDefaults: what INBOX lends to the mailboxes without rights of their own is listed for
// others no longer than the configuration says so.
func TestReloadedDefaults(t *testing.T) {
	r := startRigWith(t, "rig", func(r *rig) {
		configureRights(t, r, "#be plugin {\n#be   acl_defaults_from_inbox = yes\n#be }\n")
	})
	owner, reader := dialIMAP(t, r.address()), dialIMAP(t, r.address())
	defer owner.close()
	defer reader.close()
	owner.command("LOGIN someone1 pass")
	owner.command("CREATE Work")
	owner.command("SETACL INBOX someone2 lr")
	owner.expect("OK")
	reader.command("LOGIN someone2 pass")
	reader.until(`LIST "" "shared/*"`, func(answer string) bool { return strings.Contains(answer, "Work") })
	appendTo(t, r.files["be1"], "plugin {\n  acl_defaults_from_inbox = no\n}\n")
	if _, _, err := r.nodes["be1"].reload(r.files["be1"]); err != nil {
		t.Fatal(err)
	}
	reader.until(`LIST "" "shared/*"`, func(answer string) bool { return !strings.Contains(answer, "Work") })
	reader.command("SELECT shared/someone1/Work")
	reader.expect("NO [NONEXISTENT]")
}

// setGlobals puts another file of global rights in the place of the old one.
func (r *rig) setGlobals(t *testing.T, text string) {
	t.Helper()
	path := filepath.Join(r.root, "globals")
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// until gives a command again and again until the answer is as it should be.
func (c *imapConn) until(command string, good func(answer string) bool) {
	c.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		c.command(command)
		answer := strings.Join(c.answer, "\n")
		if good(answer) {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("%s still answers\n%s", command, answer)
		}
	}
}
