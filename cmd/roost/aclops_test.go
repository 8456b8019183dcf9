package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/roost-mail/roost/admin"
	"github.com/roost-mail/roost/config"
	"github.com/roost-mail/roost/imap"
)

// TestACLCommands runs testdata/acl/commands.txt: lines with $ are commands for a
// backend, `$ be1 acl get -u someone1 Work`, others are clients', `someone2: SELECT …`.
// What comes back stands below, indented; -update-commands rewrites it.
func TestACLCommands(t *testing.T) {
	r := startRig(t, "rig")
	for name, text := range map[string]string{
		"dovecot-acl": "# from an old server\nuser=Someone2 lrs\n\"user=ann b\" l\n-group=team w\nanonymous l\n",
		"broken":      "user=someone2 lr\nuser=eve lrz\n",
	} {
		if err := os.WriteFile(filepath.Join(r.root, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r.runACLScript(t, "testdata/acl/commands.txt")
}

// runACLScript runs a file as that of TestACLCommands. Lines with @ stop a node and have
// what is in its audit log.
func (r *rig) runACLScript(t *testing.T, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sessions := map[string]*imapConn{}
	var out strings.Builder
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "  ") {
			continue // what came back when it was written
		}
		out.WriteString(line)
		line = strings.TrimSpace(line)
		command, isCommand := strings.CutPrefix(line, "$ ")
		user, words, isClient := strings.Cut(line, ": ")
		answer := ""
		switch {
		case strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "@ "):
			answer = r.audited(t, line[2:])
		case isCommand:
			answer = r.roost(command)
		case isClient:
			c := sessions[user]
			if c == nil {
				c = dialIMAP(t, r.address())
				t.Cleanup(c.close)
				c.command("LOGIN " + user + " pass")
				sessions[user] = c
			}
			c.command(strings.ReplaceAll(words, `\r\n`, "\r\n"))
			answer = varies.ReplaceAllString(strings.Join(c.answer, "\n"), "*")
		}
		for line := range strings.Lines(answer) {
			line = strings.TrimRight(strings.ReplaceAll(line, r.root, "ROOT"), " \n")
			out.WriteString("  " + cmp.Or(line, "(an empty line)") + "\n")
		}
	}
	if *updateCommands {
		if err := os.WriteFile(path, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, got := strings.Split(string(text), "\n"), strings.Split(out.String(), "\n")
	for i := range min(len(want), len(got)) {
		if want[i] != got[i] {
			t.Fatalf("%s:%d:\nwant %s\n got %s", path, i+1, want[i], got[i])
		}
	}
	if len(want) != len(got) {
		t.Errorf("%d lines came back, want %d", len(got), len(want))
	}
}

// roost is what a command says that is run for a node: its output, or how it failed.
func (r *rig) roost(line string) string {
	words := strings.Fields(line)
	conf := []string{"-c", r.files[words[0]]}
	at := 1 // flags stand before the other words
	for at < len(words) && at < 3 && !strings.HasPrefix(words[at], "-") {
		at++
	}
	args := append(append(append([]string{}, words[1:at]...), conf...), words[at:]...)
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "ROOT", r.root)
	}
	out, err := run(args...)
	if err != nil {
		out += fmt.Sprintf("exit %d: %v\n", exitCode(err), err)
	}
	return out
}

// TestACLCommandsNeedMail: a node without mail, and a server that is not there, say so.
func TestACLCommandsNeedMail(t *testing.T) {
	r := startRig(t, "rig")
	if got := r.roost("director acl get -u someone1 Work"); !strings.Contains(got, "no mail is kept here") {
		t.Error(got)
	}
	r.stop(t, "be1")
	got := r.roost("be1 acl get -u someone1 Work")
	if !strings.Contains(got, "no server answers") || !strings.Contains(got, fmt.Sprintf("exit %d", admin.ExitTemporary)) {
		t.Error(got)
	}
}

// A disk that can't be read is no sign that a user was never here.
func TestMailThere(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]imap.Code{
		dir: imap.CodeNone, dir + "/never": imap.CodeNonExistent, dir + "/" + strings.Repeat("x", 300): imap.CodeUnavailable,
	} {
		if err := mailThere(&config.Settings{}, "ann", path); imap.CodeOf(err) != want {
			t.Errorf("%.80s: %v", path, err)
		}
	}
}
