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
	r := startRigWith(t, "rig", func(r *rig) {
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
	r.runACLScript(t, "testdata/acl/audit.txt")
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
