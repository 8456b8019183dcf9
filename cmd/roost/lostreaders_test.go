package main

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/roost-mail/roost/imap"
)

// Readers who have lost their right, or are no users any more, are forgotten; those
// who have it by a group are not.
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
	for _, who := range []string{"someone2", "$team", "someone6"} { // someone3 is in team
		owner.command("SETACL Work " + who + " lrs")
		owner.expect("OK")
	}
	owner.command(`APPEND Work <<"Subject: one\r\n\r\n1\r\n"`)
	readers := map[string]*imapConn{"someone2": nil, "someone3": nil, "someone6": nil}
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
	look(0)
	look(2)
	look(0)
	owner.command("SETACL Work someone2 lrs")
	owner.expect("OK")
	for user, found := range map[string]string{"someone2": "* SEARCH", "someone3": "* SEARCH 1"} {
		c := readers[user]
		c.command("SEARCH SEEN")
		c.expect(found)
		c.expect("OK")
	}
}
