package main

import (
	"encoding/json"
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

// A quota is the owner's, whoever brings the mail and from wherever.
func TestQuotaThroughTheCluster(t *testing.T) {
	r := startRig(t, "rig")
	r.configure(t, "be1", `
mail_plugins = $mail_plugins quota
plugin {
  quota = count:User quota
  quota_rule = *:storage=10k:messages=3
  quota_rule2 = Trash:messages=+1
  quota_grace = 0
  quota_max_mail_size = 8k
}
`)
	long := `<<"` + strings.Repeat("x", 6000) + `"`
	for _, row := range []struct{ user, command, want string }{
		{"someone2", "STATUS INBOX (APPENDLIMIT)", "* STATUS INBOX (APPENDLIMIT 104857600)"},
		{"someone1", "STATUS INBOX (APPENDLIMIT)", "* STATUS INBOX (APPENDLIMIT 8192)"},
		{"someone1", "UNAUTHENTICATE", "BAD"},
		{"someone1", "CREATE Work", ""},
		{"someone1", "CREATE Trash", ""},
		{"someone1", "SETACL Work someone2 lrswite", ""},
		{"someone1", "SETACL Trash someone2 li", ""},
		{"someone2", "APPEND INBOX " + long, ""},
		{"someone2", "APPEND shared/someone1/Work " + long, "OK [APPENDUID"},
		{"someone2", "APPEND shared/someone1/Work " + long, "NO [OVERQUOTA]"},
		{"someone2", "APPEND shared/someone1/Trash " + long, "NO [OVERQUOTA]"},
		{"someone1", "APPEND INBOX " + long, "NO [OVERQUOTA] Quota exceeded (mailbox for user is full)"},
		{"someone1", `APPEND INBOX <<"` + strings.Repeat("x", 9000) + `"`, "NO [TOOBIG]"},
		{"someone2", "SELECT INBOX|COPY 1 shared/someone1/Work", "NO [OVERQUOTA]"},
		{"someone2", "SELECT INBOX|MOVE 1 shared/someone1/Work", "NO [OVERQUOTA]"},
		{"someone2", "SELECT shared/someone1/Work|COPY 1 shared/someone1/Work", "NO [OVERQUOTA]"},
		{"someone2", "STATUS INBOX (MESSAGES)", "* STATUS INBOX (MESSAGES 1)"},
		{"someone1", "GETQUOTAROOT Work", "* QUOTAROOT Work \"User quota\"\n* QUOTA \"User quota\" (STORAGE 6 10 MESSAGE 1 3)\n"},
		{"someone1", `GETQUOTA "User quota"`, "* QUOTA \"User quota\" (STORAGE 6 10 MESSAGE 1 3)\n"},
		{"someone2", `GETQUOTA "User quota"`, "NO [NONEXISTENT]"},
		{"someone2", "GETQUOTAROOT INBOX", "* QUOTAROOT INBOX\nOK"},
		{"someone2", "GETQUOTAROOT shared/someone1/Trash", "NO [NOPERM]"},
		{"someone2", "GETQUOTAROOT shared/someone1/INBOX", "NO [NONEXISTENT]"},
		{"someone2", "SETQUOTA x (STORAGE 5)", "NO [NOPERM]"},
		{"someone2", `LIST "" shared/someone1/Work RETURN (STATUS (APPENDLIMIT))`, "* LIST (\\HasNoChildren) \"/\" shared/someone1/Work\n* STATUS shared/someone1/Work (APPENDLIMIT 8192)"},
		{"someone2", `STATUS shared/someone1/Work (DELETED DELETED-STORAGE)`, "* STATUS shared/someone1/Work (DELETED 0 DELETED-STORAGE 0)"},
	} {
		if got := r.answerTo(t, row.user, strings.Split(row.command, "|")...); !strings.HasPrefix(got, row.want) {
			t.Errorf("%s: %.60s: %s\nwant %s", row.user, row.command, got, row.want)
		}
	}
	// The root's name leads back to the owner in the session that was told it.
	got := r.answerTo(t, "someone2", "GETQUOTAROOT shared/someone1/Work")
	fields := strings.Fields(got)
	if len(fields) < 4 || len(fields[3]) != 32 || !strings.Contains(got, "(STORAGE 6 10 MESSAGE 1 3)") {
		t.Fatalf("a reader is told %s", got)
	}
	if again := r.answerTo(t, "someone2", "GETQUOTA "+fields[3]); !strings.HasPrefix(again, "NO [NONEXISTENT]") {
		t.Errorf("a session that was told nothing: %s", again)
	}
	if again := r.answerTo(t, "someone2", "GETQUOTAROOT shared/someone1/Work", "GETQUOTA "+fields[3]); !strings.HasPrefix(again, "* QUOTA "+fields[3]+" (STORAGE 6 10") {
		t.Errorf("GETQUOTA of it: %s", again)
	}
}

func TestQuotaCommand(t *testing.T) {
	r := startRig(t, "rig")
	r.configure(t, "be1", "\nplugin {\n  quota = count:Mail\n  quota_rule = *:storage=10k\n}\n")
	r.answerTo(t, "someone1", `APPEND INBOX <<"`+strings.Repeat("x", 5000)+`"`)
	var out strings.Builder
	cmd := command()
	cmd.SetOut(&out)
	cmd.SetArgs([]string{"quota", "get", "-c", r.files["be1"], "-u", "someone1"})
	if err := cmd.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	const want = "Quota name  Type     Value  Limit  %\nMail        STORAGE  5      10     50\nMail        MESSAGE  1      -      0\n"
	if out.String() != want {
		t.Errorf("got\n%s", out.String())
	}
	asJSON, code := runCommand(t, "", "quota", "get", "--json", "-c", r.files["be1"], "-u", "someone1")
	var lines []quotaLine
	if err := json.Unmarshal([]byte(asJSON), &lines); err != nil || code != 0 || len(lines) != 2 || lines[0] != (quotaLine{"Mail", "STORAGE", 5, 10}) {
		t.Errorf("got %v %+v of %s", err, lines, asJSON)
	}
}
