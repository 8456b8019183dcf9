package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestAuditLog has two users share, read, write and be refused, and administrators change
// rights: testdata/acl/audit.txt shows what the owner's backend has in its file.
func TestAuditLog(t *testing.T) {
	r := startAudited(t)
	r.runACLScript(t, "testdata/acl/audit.txt")
}

// startAudited is a rig whose backends have audit logs.
func startAudited(t *testing.T) *rig {
	t.Helper()
	return startRigWith(t, "rig", func(r *rig) {
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
	})
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
