package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/roost-mail/roost/admin"
)

// run is a command line and what it prints.
func run(args ...string) (string, error) {
	cmd := command()
	var out strings.Builder
	cmd.SetOut(&out)
	cmd.SetArgs(args)
	err := cmd.Execute()
	return out.String(), err
}

// TestUndeleteCommand brings back what a client expunged, on a backend that is stopped.
func TestUndeleteCommand(t *testing.T) {
	r := startRig(t, "rig")
	conf := r.files["be1"]
	for _, cmd := range []string{
		"CREATE Work", "APPEND Work (\\Flagged) {25+}\r\nSubject: one\x2e\r\n\r\nbody\r\n\r\n", "APPEND Work {23+}\r\nSubject: two\r\n\r\nbody\r\n\r\n",
	} {
		if got := r.say(t, "someone1", cmd); !strings.Contains(got, "OK") {
			t.Fatalf("%s: %s", cmd, got)
		}
	}
	r.say(t, "someone1", "SELECT Work", `STORE 1:* +FLAGS.SILENT (\Deleted)`, "EXPUNGE")
	c := dialIMAP(t, r.address())
	c.command("LOGIN someone1 pass")
	c.expect("OK")
	backups := t.TempDir()
	if out, err := run("backup", "-c", conf, "someone1", backups); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, args := range [][]string{
		{"undelete", "-c", conf, "someone1"}, {"store", "repair", "-c", conf, "someone1"}, {"restore", "-c", conf, backups, "someone1"},
	} {
		if _, err := run(args...); err == nil || !strings.Contains(err.Error(), "try again half a minute later") {
			t.Errorf("%s while it is open: %v", args[0], err)
		}
	}
	c.close()
	r.stop(t, "be1")
	out, err := run("undelete", "-c", conf, "someone1", "--list")
	if err != nil || !strings.Contains(out, "one.") || !strings.Contains(out, "two") || !strings.Contains(out, `\Flagged`) {
		t.Errorf("list: %v\n%s", err, out)
	}
	if out, err := run("undelete", "-c", conf, "someone1", "--since", "2100-01-01"); err != nil || !strings.Contains(out, "0 messages") {
		t.Errorf("of the future: %v\n%s", err, out)
	}
	if out, err := run("undelete", "-c", conf, "someone1", "--mailbox", "Work", "--since", "2d", "--into", "Found"); err != nil || !strings.Contains(out, "2 messages are back") {
		t.Errorf("undelete: %v\n%s", err, out)
	}
	if _, err := run("undelete", "-c", conf, "nobody"); err == nil {
		t.Error("undeleted for nobody")
	}
	if _, err := run("store", "check", "-c", conf, "someone3"); exitCode(err) != admin.ExitNoUser || !strings.Contains(err.Error(), "has no mail here") {
		t.Errorf("who has no mail: %v", err)
	}
	r.start(t, "be1", nil)
	if got := r.say(t, "someone1", "STATUS Found (MESSAGES)", "SELECT Found", "FETCH 1 FLAGS"); !strings.Contains(got, `\Flagged`) {
		t.Error(got)
	}
}

func TestParseWhen(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.Local)
	for text, want := range map[string]time.Time{
		"2026-11-25":           time.Date(2026, 11, 25, 0, 0, 0, 0, time.Local),
		"2026-11-25 14:30":     time.Date(2026, 11, 25, 14, 30, 0, 0, time.Local),
		"2026-11-25T14:30":     time.Date(2026, 11, 25, 14, 30, 0, 0, time.Local),
		"2026-11-25T14:30:00Z": time.Date(2026, 11, 25, 14, 30, 0, 0, time.UTC),
		"90m":                  now.Add(-90 * time.Minute),
		"2d":                   now.AddDate(0, 0, -2),
		"":                     {}, "yesterday": {}, "-2d": {}, "-3h": {}, "2dx": {},
	} {
		got, err := parseWhen(text, now)
		if (err != nil) != want.IsZero() || !got.Equal(want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

// TestBackupCommands backs up a running backend, loses a user's mail, and brings it back.
func TestBackupCommands(t *testing.T) {
	r := startRig(t, "rig")
	home := filepath.Join(r.root, "shared-fs/home")
	r.say(t, "someone1", "NOOP")
	if _, err := run("store", "init", home); err != nil {
		t.Fatal(err)
	}
	r.edit(t, "be1", appended("mail_volume = "+home+"\nmail_ballast = 0\n"))
	conf, to := r.files["be1"], t.TempDir()
	for n := range 3 {
		r.say(t, "someone1", fmt.Sprintf("APPEND INBOX {10+}\r\nSubject: %d\r\n", n))
	}
	out, err := run("backup", "-c", conf, "--all", to, "--json")
	if err != nil || !strings.Contains(out, `"user":"someone1"`) || strings.Contains(out, `"copied":0`) {
		t.Fatalf("backup: %v\n%s", err, out)
	}
	if out, err := run("backup", "-c", conf, "someone1", to); err != nil || !strings.Contains(out, "someone1: ") {
		t.Errorf("backup of one: %v\n%s", err, out)
	}
	if _, err := run("restore", "-c", conf, to, "someone1"); err == nil {
		t.Error("restored over mail")
	}
	r.stop(t, "be1")
	if _, err := run("backup", "-c", conf, "someone1", to); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(home, "someone1/mail")); err != nil {
		t.Fatal(err)
	}
	if out, err := run("restore", "-c", conf, to, "someone1"); err != nil || !strings.Contains(out, "someone1: restored") || !strings.Contains(out, " 0 problems") {
		t.Fatalf("restore: %v\n%s", err, out)
	}
	if _, err := run("restore", "-c", conf, to, "someone1", "--from", "nobody"); err == nil {
		t.Error("restored nobody")
	}
	r.start(t, "be1", nil)
	if got := r.say(t, "someone1", "STATUS INBOX (MESSAGES UIDNEXT)"); !strings.Contains(got, "MESSAGES 3") || !strings.Contains(got, "UIDNEXT 104858") {
		t.Error(got)
	}
}

func TestBackupName(t *testing.T) {
	for user, want := range map[string]string{"alice": "alice", "a@example.org": "a@example.org", "../x": "%2E.%2Fx", ".": "%2E", "a/b": "a%2Fb"} {
		if got := backupName(user); got != want {
			t.Errorf("%q: %q", user, got)
		}
	}
}

// TestAutoexpunge: when a session of the owner ends, its mailbox blocks are
// looked at; those of a reader, or a shared mailbox of the same name, never.
func TestAutoexpunge(t *testing.T) {
	r := startRig(t, "rig")
	for _, be := range []string{"be1", "be2"} {
		r.edit(t, be, func(s string) string {
			return strings.Replace(s, "namespace inbox {\n", "namespace inbox {\n  mailbox Trash* {\n    autoexpunge_max_mails = 1\n  }\n", 1)
		})
	}
	r.say(t, "someone1", "CREATE Trash/Old", "CREATE Work")
	c := dialIMAP(t, r.address())
	c.command("LOGIN someone1 pass")
	c.expect("OK")
	for n := range 3 {
		c.command(fmt.Sprintf("APPEND Trash/Old {10+}\r\nSubject: %d\r\n", n))
		c.expect("OK")
		c.command(fmt.Sprintf("APPEND Work {10+}\r\nSubject: %d\r\n", n))
		c.expect("OK")
	}
	c.command("SETACL Trash/Old someone2 lrswi")
	c.expect("OK")
	r.say(t, "someone2", "SELECT shared/someone1/Trash/Old", "LOGOUT")
	c.command("STATUS Trash/Old (MESSAGES)")
	if got := strings.Join(c.answer, "\n"); !strings.Contains(got, "MESSAGES 3") {
		t.Errorf("a reader's logout expunged: %s", got)
	}
	c.command("LOGOUT")
	c.close()
	r.stop(t, "be1") // when all sessions have ended
	r.start(t, "be1", nil)
	if got := r.say(t, "someone1", "STATUS Work (MESSAGES)"); !strings.Contains(got, "MESSAGES 3") {
		t.Error(got)
	}
	if got := r.say(t, "someone1", "STATUS Trash/Old (MESSAGES)"); !strings.Contains(got, "MESSAGES 1") {
		t.Error(got)
	}
}

// TestRepairCommand repairs mail whose log lost its end.
func TestRepairCommand(t *testing.T) {
	r := startRig(t, "rig")
	conf := r.files["be1"]
	r.say(t, "someone1", "CREATE Work", "APPEND Work {10+}\r\nSubject: 1\r\n")
	if _, err := run("store", "repair", "-c", conf, "someone1"); err == nil || !strings.Contains(err.Error(), "open in another process") {
		t.Errorf("while it is open: %v", err)
	}
	r.stop(t, "be1")
	logs, err := filepath.Glob(filepath.Join(r.root, "shared-fs/home/someone1/mail/*.log"))
	if err != nil || len(logs) == 0 {
		t.Fatal(logs, err)
	}
	info, err := os.Stat(logs[len(logs)-1])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(logs[len(logs)-1], info.Size()-16); err != nil {
		t.Fatal(err)
	}
	out, err := run("store", "repair", "-c", conf, "someone1")
	if err != nil || !strings.Contains(out, "is kept in lost+found") || !strings.Contains(out, " 0 problems") {
		t.Errorf("repair: %v\n%s", err, out)
	}
	r.start(t, "be1", nil)
	if got := r.say(t, "someone1", "STATUS Work (MESSAGES)"); !strings.Contains(got, "STATUS Work") {
		t.Error(got)
	}
}
