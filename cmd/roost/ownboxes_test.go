package main

import (
	"os"
	"strings"
	"testing"
)

// configure adds text to a node's configuration file and starts it anew.
func (r *rig) configure(t *testing.T, name, text string) {
	t.Helper()
	r.stop(t, name)
	was, err := os.ReadFile(r.files[name])
	if err == nil {
		err = os.WriteFile(r.files[name], append(was, text...), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	r.start(t, name, nil)
}

// answerTo logs user in, sends commands and returns the answer to the last.
func (r *rig) answerTo(t *testing.T, user string, commands ...string) string {
	t.Helper()
	c := dialIMAP(t, r.address())
	defer c.close()
	c.command("LOGIN " + user + " pass")
	c.expect("OK")
	for _, command := range commands {
		c.command(command)
	}
	return strings.Join(c.answer, "\n")
}

func TestMailboxBlocks(t *testing.T) {
	r := startRig(t, "rig")
	r.configure(t, "be1", `
mail_server_admin = mailto:root@example.org
namespace inbox {
  mailbox Sent {
    auto = subscribe
    special_use = \Sent
  }
  mailbox "Old mail/2020" {
    auto = create
    special_use = \Archive \All
  }
  mailbox Junk {
    special_use = \Junk
  }
}
`)
	const list = `* LIST (\HasNoChildren) "/" INBOX
* LIST (\HasChildren) "/" "Old mail"
* LIST (\Archive \All \HasNoChildren) "/" "Old mail/2020"
* LIST (\Sent \HasNoChildren) "/" Sent
OK List completed.`
	if got := r.answerTo(t, "someone1", `LIST "" *`); got != list {
		t.Errorf("a new user sees\n%s", got)
	}
	for _, row := range []struct{ command, want string }{
		{`LIST (SPECIAL-USE) "" "*" RETURN (SUBSCRIBED)`, `* LIST (\Archive \All \HasNoChildren) "/" "Old mail/2020"` + "\n" + `* LIST (\Sent \HasNoChildren \Subscribed) "/" Sent` + "\nOK List completed."},
		{"GETMETADATA Sent /private/specialuse", "* METADATA Sent (/private/specialuse \"\\\\Sent\")\nOK Getmetadata completed."},
		{`GETMETADATA (DEPTH infinity) Sent /private`, "* METADATA Sent (/private/specialuse \"\\\\Sent\")\nOK Getmetadata completed."},
		{`GETMETADATA "" (/shared/admin /shared/comment)`, "* METADATA \"\" (/shared/comment NIL /shared/admin \"mailto:root@example.org\")\nOK Getmetadata completed."},
		{`GETMETADATA "" (MAXSIZE 5) /shared/admin`, "OK [METADATA LONGENTRIES 23] Getmetadata completed."},
	} {
		if got := r.answerTo(t, "someone1", row.command); got != row.want {
			t.Errorf("%s: %s", row.command, got)
		}
	}
	// What the user gives counts more than the configuration; what they delete
	// and what is not to be made automatically stays as they left it.
	got := r.answerTo(t, "someone1", `SETMETADATA Sent (/private/specialuse "\\Drafts")`, `CREATE Junk`, `SETACL Junk someone2 lr`, `LIST "" (Sent Junk)`)
	if want := `* LIST (\Junk \HasNoChildren) "/" Junk` + "\n" + `* LIST (\Drafts \HasNoChildren) "/" Sent` + "\nOK List completed."; got != want {
		t.Errorf("got %s", got)
	}
	if got := r.answerTo(t, "someone2", `LIST "" shared/*`); !strings.Contains(got, `* LIST (\HasNoChildren) "/" shared/someone1/Junk`+"\n") {
		t.Errorf("a reader sees %s", got)
	}
	if got := r.answerTo(t, "someone2", `GETMETADATA shared/someone1/Junk /private/specialuse`); !strings.Contains(got, "specialuse NIL") {
		t.Errorf("a reader gets %s", got)
	}
}
