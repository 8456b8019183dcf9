package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestGrantExpires: when the date of a grant comes, the reader at the other backend who
// waits in the mailbox hears of it, may no more there, and has it in no list; the index
// and the owner's mail have the entry no more, and the audit log has a line.
func TestGrantExpires(t *testing.T) {
	r := startAudited(t)
	r.lines(t, "someone1", "CREATE Work")
	if got := r.roost("be1 acl set -u someone1 --expires 30d Work user=someone2 lookup read"); !strings.Contains(got, "Expires") {
		t.Fatal(got)
	}
	reader := r.lines(t, "someone2", "SUBSCRIBE shared/someone1/Work", "SELECT shared/someone1/Work")
	if list, err := reader.ok(`LIST "" shared/someone1/*`); err != nil || len(list) != 1 {
		t.Fatalf("LIST before: %q, %v", list, err)
	}
	if _, err := fmt.Fprintf(reader.conn, "i IDLE\r\n"); err != nil {
		t.Fatal(err)
	}
	hears(t, reader, "+ ")
	r.roost("be1 acl set -u someone1 --expires 1s Work user=someone2 lookup read")
	hears(t, reader, "* NO [NOPERM]")
	if _, err := fmt.Fprintf(reader.conn, "DONE\r\n"); err != nil {
		t.Fatal(err)
	}
	hears(t, reader, "i OK")
	if _, tagged, err := reader.command("SEARCH ALL"); err != nil || !strings.HasPrefix(tagged, "NO [NOPERM]") {
		t.Errorf("SEARCH: %s, %v", tagged, err)
	}
	if list, err := reader.ok(`LIST "" shared/someone1/*`); err != nil || len(list) != 0 {
		t.Errorf("LIST: %q, %v", list, err)
	}
	if list, err := reader.ok(`LSUB "" *`); err != nil || len(list) != 1 {
		t.Errorf("LSUB: %q, %v", list, err)
	}
	awaitInFile(t, filepath.Join(r.root, "be1.audit"), `"what":"expire"`) // the index was written before
	for command, want := range map[string]string{
		"be1 acl get -u someone1 Work":   "ID  Global  Rights\n",
		"be1 share list --from someone1": "Owner  Mailbox  ID  Rights  May\n",
		"be1 share verify -u someone1":   "1 owner looked at, no key is wrong\n",
	} {
		if got := r.roost(command); got != want {
			t.Errorf("%s: %s", command, got)
		}
	}
	if got := r.audited(t, "be1"); strings.Count(got, `"what":"expire","owner":"someone1","mailbox":"Work","before":["#expires `) != 1 {
		t.Errorf("the audit log has\n%s", got)
	}
}

// lines is a session of a user through the director, after some commands.
func (r *rig) lines(t *testing.T, user string, commands ...string) *lineClient {
	t.Helper()
	c, err := dialLines(t.Context(), "", r.address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	for _, command := range append([]string{"LOGIN " + user + " " + r.password(user)}, commands...) {
		if _, err := c.ok("%s", command); err != nil {
			t.Fatalf("%s: %s: %v", user, command, err)
		}
	}
	return c
}

// hears waits for a line that has a text.
func hears(t *testing.T, c *lineClient, text string) {
	t.Helper()
	_ = c.conn.SetDeadline(time.Now().Add(patience))
	for {
		line, err := c.line()
		if err != nil {
			t.Fatalf("waiting for %q: %v", text, err)
		}
		if strings.Contains(line, text) {
			return
		}
	}
}

// awaitInFile waits until a file has a text.
func awaitInFile(t *testing.T, path, text string) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		have, err := os.ReadFile(path)
		if strings.Contains(string(have), text) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s never has %s: %v\n%s", path, text, err, have)
		}
	}
}

// TestGrantsAfterATakeover: dates and groups hold at the backend that takes the owner's mail
// over, too: who waits in a mailbox loses it when the date comes, or on leaving the group.
func TestGrantsAfterATakeover(t *testing.T) {
	r := startTeamCluster(t)
	reader, theirs, other := "someone3", "be1", "be2"
	if slices.Contains(r.usersAt(other), reader) {
		theirs, other = other, theirs
	}
	owner := r.usersAt(other)[0]
	r.lines(t, owner, "CREATE Dated", "CREATE Grouped", "SETACL Grouped $team lr")
	set := "be1 acl set -u " + owner + " --expires %s Dated user=" + reader + " lookup read"
	r.must(t, fmt.Sprintf(set, "30d"), "Expires")
	waiting := map[string]*lineClient{}
	for _, name := range []string{"Dated", "Grouped"} {
		c := r.lines(t, reader, "SELECT shared/"+owner+"/"+name)
		if _, err := fmt.Fprintf(c.conn, "i IDLE\r\n"); err != nil {
			t.Fatal(err)
		}
		hears(t, c, "+ ")
		waiting[name] = c
	}
	r.must(t, fmt.Sprintf(set, "2s"), "ID") // is over before the move is, or after it
	r.must(t, "director director move -q "+owner+" "+theirs, "is at "+theirs)
	hears(t, waiting["Dated"], "* NO [N") // NOPERM, or NONEXISTENT if the mail was away meanwhile
	r.must(t, "director director move -q "+owner+" "+other, "is at "+other)
	path := filepath.Join(r.root, "etc/users")
	text, err := os.ReadFile(path)
	left := strings.Replace(string(text), "/"+reader+"::userdb_acl_groups=team ", "/"+reader+":: ", 1)
	if err != nil || left == string(text) {
		t.Fatalf("%s does not leave the group: %v", reader, err)
	}
	if err := errors.Join(os.WriteFile(path+".new", []byte(left), 0o600), os.Rename(path+".new", path)); err != nil {
		t.Fatal(err)
	}
	hears(t, waiting["Grouped"], "* NO [N")
	r.must(t, "be1 share verify -A", "no key is wrong")
}
