package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/roost-mail/roost/acl"
	"github.com/roost-mail/roost/admin"
)

// TestAuditLog has two users share, read, write, rename, delete and be refused, and
// administrators change rights and mend the index: testdata/acl/audit.txt shows what the owner's backend has in its file.
func TestAuditLog(t *testing.T) {
	r := startAudited(t)
	r.runACLScript(t, "testdata/acl/audit.txt")
}

// startAudited is a rig whose backends have audit logs.
func startAudited(t *testing.T) *rig {
	t.Helper()
	return startRigWith(t, "rig", func(r *rig) { configureAudit(t, r) })
}

func configureAudit(t *testing.T, r *rig) {
	t.Helper()
	for _, name := range []string{"be1", "be2"} {
		text, err := os.ReadFile(r.files[name])
		if err != nil {
			t.Fatal(err)
		}
		set := "  acl_audit_log = " + filepath.Join(r.root, name+".audit") + "\n  acl_shared_dict ="
		changed := strings.Replace(string(text), "  acl_shared_dict =", set, 1)
		if changed == string(text) {
			t.Fatal("no acl_shared_dict to put acl_audit_log before")
		}
		if err := os.WriteFile(r.files[name], []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAuditLogIsDocumented: docs/sharing.md has a row for each kind of line.
func TestAuditLogIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/sharing.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rows, _ := strings.Cut(string(text), "| `what` | a line for |\n|---|---|\n")
	rows, _, _ = strings.Cut(rows, "\n\n")
	var documented []string
	for line := range strings.Lines(rows) {
		kinds, _, _ := strings.Cut(line[2:], " | ")
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(kinds, -1) {
			documented = append(documented, m[1])
		}
	}
	want := []string{whatMended}
	for _, what := range acl.Whats() {
		want = append(want, what.String())
	}
	slices.Sort(want)
	slices.Sort(documented)
	if !slices.Equal(documented, want) {
		t.Errorf("docs/sharing.md has %q, the code %q", documented, want)
	}
	for _, op := range admin.Operations() {
		if slices.Contains(want, op.Name) {
			t.Errorf("%s is a kind of its own and an operation", op.Name)
		}
	}
}

// TestAuditLogIsRotated: after a reload records go to a new file.
func TestAuditLogIsRotated(t *testing.T) {
	r := startAudited(t)
	path := filepath.Join(r.root, "be1.audit")
	c := dialIMAP(t, r.address())
	defer c.close()
	c.command("LOGIN someone1 pass")
	c.command("SETACL INBOX someone2 lr")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.nodes["be1"].reload(r.files["be1"]); err != nil {
		t.Fatal(err)
	}
	c.command("DELETEACL INBOX someone2")
	now := r.audited(t, "be1")
	old, err := os.ReadFile(path + ".1")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(now, `"what":"deleteacl"`) || !strings.Contains(string(old)+now, `"what":"setacl"`) || strings.Contains(string(old), "deleteacl") {
		t.Errorf("old file:\n%s\nnew file:\n%s", old, now)
	}
}

// ofOneRun is what two runs of an audit differ in.
var ofOneRun = regexp.MustCompile(`"(time|session|ext_session|operator)":"[^"]*"|"(client)":"socket[^"]*"`)

// audited stops a node, so that all is written, and gives its file.
func (r *rig) audited(t *testing.T, name string) string {
	t.Helper()
	r.stop(t, name)
	text, err := os.ReadFile(filepath.Join(r.root, name+".audit"))
	if err != nil {
		t.Fatal(err)
	}
	return ofOneRun.ReplaceAllString(string(text), `"$1$2":"*"`)
}
