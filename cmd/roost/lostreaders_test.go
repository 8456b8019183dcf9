package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/roost-mail/roost/imap"
)

// Readers whose right was taken away or has ended, who have left the group that has it, or are no
// users any more, are forgotten, whatever the mailbox is called by then; those who have it by a group are not.
func TestReadersWithoutAccess(t *testing.T) {
	t.Parallel()
	r := startTogether(t, nil, func(string) bool { return true })
	login := func(user string) *imapConn {
		c := dialIMAP(t, r.address())
		t.Cleanup(c.close)
		c.command("LOGIN " + user + " pass")
		c.expect("OK")
		return c
	}
	owner := login("someone1")
	owner.command("CREATE Work")
	for _, who := range []string{"someone2", "$team", "someone6", "someone7"} { // someone3 and someone4 are in team
		owner.command("SETACL Work " + who + " lrs")
		owner.expect("OK")
	}
	owner.command(`APPEND Work <<"Subject: one\r\n\r\n1\r\n"`)
	readers := map[string]*imapConn{"someone2": nil, "someone3": nil, "someone4": nil, "someone6": nil, "someone7": nil}
	for user := range readers {
		c := login(user)
		c.command("SELECT shared/someone1/Work")
		c.expect("OK")
		c.command(`STORE 1 +FLAGS (\Seen)`)
		c.expect("OK")
		readers[user] = c
	}
	look := func(want int) {
		t.Helper()
		got, err := r.nodes["be1"].forgetLost(t.Context(), "someone1", 0)
		if got != want || err != nil {
			t.Fatalf("%d are forgotten, want %d; %v", got, want, err)
		}
	}
	look(0)
	look(0)
	owner.command("DELETEACL Work someone2")
	owner.expect("OK")
	path := filepath.Join(r.root, "etc/users")
	users, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	users = regexp.MustCompile(`(?m)^someone6:.*\n`).ReplaceAll(users, nil)
	users = regexp.MustCompile(`(?m)^(someone4:.*)userdb_acl_groups=team `).ReplaceAll(users, []byte("$1"))
	if err := os.WriteFile(path, users, 0o600); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) { // the file is read again when it is time
		_, err := r.nodes["be1"].auth.Lookup(t.Context(), "someone6")
		if imap.CodeOf(err) == imap.CodeNonExistent {
			break
		}
		if time.Now().After(end) {
			t.Fatal("someone6 is still known")
		}
	}
	r.roost("be1 acl set -u someone1 --expires 1s Work user=someone7 lookup read")
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		readers["someone7"].command("SEARCH ALL")
		if strings.HasPrefix(readers["someone7"].answer[len(readers["someone7"].answer)-1], "NO [NOPERM]") {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the right of someone7 has not ended")
		}
	}
	owner.command("RENAME Work Play")
	owner.expect("OK")
	forgotten := 0
	for end := time.Now().Add(patience); forgotten < 4 && time.Now().Before(end); { // what has ended is being removed meanwhile
		n, err := r.nodes["be1"].forgetLost(t.Context(), "someone1", 0)
		if err != nil {
			t.Fatal(err)
		}
		forgotten += n
	}
	if forgotten != 4 {
		t.Fatalf("%d are forgotten", forgotten)
	}
	look(0)
	for _, who := range []string{"someone2", "someone4", "someone7"} {
		owner.command("SETACL Play " + who + " lrs")
		owner.expect("OK")
	}
	for user, found := range map[string]string{"someone2": "* SEARCH$", "someone3": "* SEARCH 1$", "someone4": "* SEARCH$", "someone7": "* SEARCH$"} {
		c := readers[user]
		c.command("SEARCH SEEN")
		c.expect(found)
		c.expect("OK")
	}
}
