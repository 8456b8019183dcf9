package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/roost-mail/roost/imap"
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

// TestGroupsAreLookedUpAgain: sessions of one user have the same groups, whoever watches
// hears of a change, an error changes nothing, and who is no user any more is in no group.
func TestGroupsAreLookedUpAgain(t *testing.T) {
	var found []string
	var failure error
	asked := 0
	g := &memberships{log: slog.New(slog.DiscardHandler), users: map[string]*membership{}, lookup: func(context.Context, string) ([]string, error) {
		asked++
		return found, failure
	}}
	first, second := g.join("bob", []string{"team", "staff"}), g.join("bob", []string{"staff", "team"})
	if first != second || len(g.users) != 1 {
		t.Fatalf("two sessions of one user have %d memberships", len(g.users))
	}
	heard := 0
	stop := second.Watch(func() { heard++ })
	step := func(what string, groups []string, err error, want []string, hears int) {
		t.Helper()
		found, failure, asked, heard = groups, err, 0, 0
		g.refresh(t.Context())
		if got := first.Groups(); !slices.Equal(got, want) || heard != hears || asked != 1 {
			t.Errorf("%s: groups %q, want %q; heard %d, asked %d", what, got, want, heard, asked)
		}
	}
	step("another order", []string{"team", "staff"}, nil, []string{"team", "staff"}, 0)
	step("one left", []string{"staff"}, nil, []string{"staff"}, 1)
	step("an error", nil, errors.New("no answer"), []string{"staff"}, 0)
	step("no user any more", nil, imap.Errorf(imap.CodeNonExistent, "no user"), nil, 1)
	stop()
	step("nobody watches", []string{"team"}, nil, []string{"team"}, 0)
	first.leave()
	if len(g.users) != 1 {
		t.Error("a session that ended took the other's membership along")
	}
	if g.join("bob", []string{"new"}); !slices.Equal(second.Groups(), []string{"new"}) {
		t.Error("a login that knows better changed nothing")
	}
	second.leave()
	second.leave()
	if len(g.users) != 0 {
		t.Error("memberships are kept when all sessions have ended")
	}
}

// TestLeavingAGroupBites: when the passwd-file says so, a reader at the other backend who
// waits in a mailbox loses it, and it is in the list no more; another who comes into the
// group has it there, in a session that had begun before.
func TestLeavingAGroupBites(t *testing.T) {
	const entry = "userdb_imapc_master_user="
	r := startRig(t, "rig")
	path := filepath.Join(r.root, "etc/users")
	original, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	original = []byte(strings.ReplaceAll(string(original), "userdb_acl_groups=team ", ""))
	inTeam := func(user string) {
		t.Helper()
		text := strings.Replace(string(original), entry+user+"\n", entry+user+" userdb_acl_groups=team\n", 1)
		if text == string(original) {
			t.Fatalf("no entry of %s", user)
		}
		if err := errors.Join(os.WriteFile(path+".new", []byte(text), 0o600), os.Rename(path+".new", path)); err != nil {
			t.Fatal(err)
		}
	}
	inTeam("someone2")
	r.say(t, "someone1", "CREATE Work", "SETACL Work $team lr")
	leaves, comes := r.lines(t, "someone2"), r.lines(t, "someone3")
	awaitShared(t, leaves, true)
	awaitShared(t, comes, false)
	if _, err := leaves.ok("SELECT shared/someone1/Work"); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(leaves.conn, "i IDLE\r\n"); err != nil {
		t.Fatal(err)
	}
	hears(t, leaves, "+ ")
	inTeam("someone3")
	hears(t, leaves, "* NO [NOPERM]")
	if _, err := fmt.Fprintf(leaves.conn, "DONE\r\n"); err != nil {
		t.Fatal(err)
	}
	hears(t, leaves, "i OK")
	if _, tagged, err := leaves.command("SEARCH ALL"); err != nil || !strings.HasPrefix(tagged, "NO [NOPERM]") {
		t.Errorf("SEARCH: %s, %v", tagged, err)
	}
	awaitShared(t, leaves, false) // its own backend looks at the file for itself
	awaitShared(t, comes, true)
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) { // and so does the owner's
		_, tagged, err := comes.command("SELECT shared/someone1/Work")
		if strings.HasPrefix(tagged, "OK") {
			return
		}
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("SELECT of who has come into the group: %s, %v", tagged, err)
		}
	}
}

// awaitShared waits until someone1's mailbox is listed, or is not.
func awaitShared(t *testing.T, c *lineClient, want bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		list, err := c.ok(`LIST "" shared/someone1/*`)
		if err == nil && (len(list) > 0) == want {
			return
		}
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("listed: %v is never so: %q, %v", want, list, err)
		}
	}
}
