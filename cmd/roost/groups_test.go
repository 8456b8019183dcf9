package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestGroupsAreTheActingUsers: whatever an owner's own entry says, it lends no
// group and no name to whoever opens the owner's mail.
func TestGroupsAreTheActingUsers(t *testing.T) {
	for _, row := range []struct{ name, ownersFields, config string }{
		{"plugin/acl_groups of the owner", "userdb_plugin/acl_groups=boss", ""},
		{"acl_groups of the owner", "userdb_acl_groups=boss", ""},
		{"a variable of the owner's entry", "userdb_dept=boss", "plugin {\n  acl_groups = %{userdb:dept}\n}\n"},
		{"acl_user of the owner", "userdb_acl_user=someone1", ""},
		{"master_user of the owner", "userdb_master_user=someone1", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := startRig(t, "rig")
			users := filepath.Join(r.root, "etc/users")
			text, err := os.ReadFile(users)
			if err != nil {
				t.Fatal(err)
			}
			s := strings.Replace(string(text), "userdb_imapc_master_user=someone1\n", "userdb_imapc_master_user=someone1 "+row.ownersFields+"\n", 1)
			if s == string(text) {
				t.Fatal("someone1's entry was not found")
			}
			if err := os.WriteFile(users, []byte(s), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, be := range []string{"be1", "be2"} {
				r.edit(t, be, appended(row.config))
			}
			r.say(t, "someone1", "CREATE Work", "SETACL Work $boss lr")
			if got := r.say(t, "someone2", "SELECT shared/someone1/Work"); !strings.Contains(got, "NONEXISTENT") {
				t.Errorf("someone2 got in: %s", got)
			}
			if got := r.say(t, "someone2", "SELECT shared/someone1/INBOX"); !strings.Contains(got, "NONEXISTENT") {
				t.Errorf("someone2 got into INBOX: %s", got)
			}
		})
	}
}
