package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The tests of this file let mail clients that others wrote work on own and
// shared mailboxes, through the director. Where a client is not installed its
// test is skipped, unless ROOST_TEST_PEERS=1.

// clientWorld is a cluster in which someone1 shares Work with someone2, who
// uses the client and lives on the other backend.
type clientWorld struct {
	rig   *rig
	dir   string      // the client's
	owner *lineClient // someone1, outside of any client
}

const clientShared = "shared/someone1/Work"

func newClientWorld(t *testing.T, tools ...string) *clientWorld {
	t.Helper()
	for _, tool := range tools {
		needTool(t, tool)
	}
	w := &clientWorld{rig: startRig(t, "rig"), dir: t.TempDir()}
	w.owner = w.session(t, "someone1")
	w.ok(t, w.owner, "CREATE Work")
	w.ok(t, w.owner, "SETACL Work someone2 lrswite")
	w.fill(t, w.owner, "Work", 12)
	reader := w.session(t, "someone2")
	w.fill(t, reader, "INBOX", 5)
	return w
}

// needTool skips the test if a program is missing that is not asked for.
func needTool(t testing.TB, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		if os.Getenv("ROOST_TEST_PEERS") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}

func (w *clientWorld) session(t *testing.T, user string) *lineClient {
	t.Helper()
	c, err := dialLines(t.Context(), "", w.rig.address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	w.ok(t, c, "LOGIN %s pass", user)
	return c
}

func (w *clientWorld) ok(t *testing.T, c *lineClient, format string, args ...any) []string {
	t.Helper()
	lines, err := c.ok(format, args...)
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func (w *clientWorld) fill(t *testing.T, c *lineClient, box string, n int) {
	t.Helper()
	for i := range n {
		w.append(t, c, box, fmt.Sprintf("%s number %d", box, i))
	}
}

func (w *clientWorld) append(t *testing.T, c *lineClient, box, subject string) {
	t.Helper()
	text := clientMessage(subject)
	w.ok(t, c, "APPEND %s {%d+}\r\n%s", box, len(text), text)
}

func clientMessage(subject string) string {
	return "From: Ann <ann@example.org>\r\nTo: bob@example.org\r\nSubject: " + subject + "\r\nMessage-ID: <" +
		strings.ReplaceAll(subject, " ", ".") + "@example.org>\r\nDate: Tue, 24 Nov 2026 10:00:00 +0000\r\n\r\nA text.\r\n"
}

// config writes a file of testdata/clients with its placeholders filled in.
func (w *clientWorld) config(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata/clients", name))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(w.dir, name)
	fill := strings.NewReplacer("@HOST@", rigAddrs["director"], "@PORT@", strconv.Itoa(w.rig.port), "@USER@", "someone2", "@DIR@", w.dir, "@SHARED@", clientShared)
	if err := os.WriteFile(path, []byte(fill.Replace(string(text))), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(w.dir, "mail"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// run runs a client to its end. It must succeed.
func (w *clientWorld) run(t *testing.T, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "HOME="+w.dir, "XDG_CONFIG_HOME="+w.dir, "TERM=xterm", "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}

// served is what the server has: subject and flags of each message of a
// mailbox, as the client's user sees them.
func (w *clientWorld) served(t *testing.T, box string) []string {
	t.Helper()
	c := w.session(t, "someone2")
	defer c.close()
	w.ok(t, c, "EXAMINE %s", box)
	var out []string
	for _, line := range w.ok(t, c, "FETCH 1:* (FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])") {
		flags := fetchedFlags.FindStringSubmatch(line)
		_, subject, found := strings.Cut(line, "Subject: ")
		if flags == nil || !found {
			continue
		}
		subject, _, _ = strings.Cut(subject, "\r\n")
		out = append(out, subject+" "+letters(strings.Fields(flags[1])))
	}
	slices.Sort(out)
	return out
}

// letters writes flags as Maildir does.
func letters(flags []string) string {
	var out []string
	for _, f := range flags {
		if l, ok := map[string]string{`\Draft`: "D", `\Flagged`: "F", `\Answered`: "R", `\Seen`: "S", `\Deleted`: "T"}[f]; ok {
			out = append(out, l)
		}
	}
	slices.Sort(out)
	return strings.Join(out, "")
}

// kept is what the client has in a Maildir, in the form of served.
func (w *clientWorld) kept(t *testing.T, box string) []string {
	t.Helper()
	var out []string
	for path := range w.maildir(t, box) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		_, subject, _ := strings.Cut(string(text), "Subject: ")
		subject, _, _ = strings.Cut(subject, "\n")
		_, flags, _ := strings.Cut(filepath.Base(path), ":2,")
		out = append(out, strings.TrimRight(subject, "\r")+" "+flags)
	}
	slices.Sort(out)
	return out
}

// maildir yields the messages of a Maildir.
func (w *clientWorld) maildir(t *testing.T, box string) func(yield func(string) bool) {
	t.Helper()
	var paths []string
	for _, sub := range []string{"cur", "new"} {
		found, err := filepath.Glob(filepath.Join(w.dir, "mail", box, sub, "*"))
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, found...)
	}
	return slices.Values(paths)
}

// find is the file of a message in the Maildir.
func (w *clientWorld) find(t *testing.T, box, subject string) string {
	t.Helper()
	for path := range w.maildir(t, box) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(strings.ReplaceAll(string(text), "\r", ""), "Subject: "+subject+"\n") {
			return path
		}
	}
	t.Fatalf("%s has no message %q: %q", box, subject, w.kept(t, box))
	return ""
}

// flag gives a message of the Maildir flags.
func (w *clientWorld) flag(t *testing.T, box, subject, flags string) {
	t.Helper()
	path := w.find(t, box, subject)
	base, _, _ := strings.Cut(filepath.Base(path), ":2,")
	if err := os.Rename(path, filepath.Join(w.dir, "mail", box, "cur", base+":2,"+flags)); err != nil {
		t.Fatal(err)
	}
}

func (w *clientWorld) remove(t *testing.T, box, subject string) {
	t.Helper()
	if err := os.Remove(w.find(t, box, subject)); err != nil {
		t.Fatal(err)
	}
}

// deliver puts a message into the Maildir.
func (w *clientWorld) deliver(t *testing.T, box, subject string) {
	t.Helper()
	path := filepath.Join(w.dir, "mail", box, "cur", "1700000000.1.here:2,S")
	text := strings.ReplaceAll(clientMessage(subject), "\r\n", "\n")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// twoWay has a synchroniser carry changes of both sides over, again and again,
// until nothing changes, and then once more, which must not change anything.
func (w *clientWorld) twoWay(t *testing.T, sync func()) {
	t.Helper()
	boxes := []string{"INBOX", clientShared}
	sync()
	for _, box := range boxes {
		if have, want := w.kept(t, box), w.served(t, box); !slices.Equal(have, want) {
			t.Fatalf("%s: the client has\n%q, the server\n%q", box, have, want)
		}
	}
	w.flag(t, clientShared, "Work number 3", "FS")
	w.remove(t, clientShared, "Work number 4")
	w.flag(t, "INBOX", "INBOX number 1", "RS")
	w.deliver(t, clientShared, "Written here")
	w.append(t, w.owner, "Work", "Written by the owner")
	w.ok(t, w.owner, "SELECT Work")
	w.ok(t, w.owner, `STORE 1 +FLAGS (\Flagged \Seen)`)
	w.ok(t, w.owner, `STORE 2 +FLAGS (\Deleted)`)
	w.ok(t, w.owner, "EXPUNGE")
	before := []string{}
	for range 5 {
		sync()
		now := slices.Concat(w.served(t, boxes[0]), w.served(t, boxes[1]), w.kept(t, boxes[0]), w.kept(t, boxes[1]))
		if slices.Equal(now, before) {
			w.synced(t)
			return
		}
		before = now
	}
	t.Fatalf("something changes in each run: %q", before)
}

// synced checks the outcome of twoWay's changes.
func (w *clientWorld) synced(t *testing.T) {
	t.Helper()
	have := w.served(t, clientShared)
	if kept := w.kept(t, clientShared); !slices.Equal(kept, have) {
		t.Errorf("the client has\n%q, the server\n%q", kept, have)
	}
	for _, want := range []string{"Work number 0 F", "Work number 3 FS", "Written here S", "Written by the owner "} {
		if !slices.Contains(have, want) {
			t.Errorf("%q is missing in %q", want, have)
		}
	}
	for _, gone := range []string{"Work number 1 ", "Work number 4 "} {
		if slices.ContainsFunc(have, func(s string) bool { return strings.HasPrefix(s, gone) }) {
			t.Errorf("%q is left in %q", gone, have)
		}
	}
	if inbox := w.served(t, "INBOX"); !slices.Contains(inbox, "INBOX number 1 RS") {
		t.Errorf("INBOX is %q", inbox)
	}
}

func TestMbsync(t *testing.T) {
	w := newClientWorld(t, "mbsync")
	conf := w.config(t, "mbsyncrc")
	w.twoWay(t, func() { w.run(t, "mbsync", "-c", conf, "-a") })
}

func TestOfflineIMAP(t *testing.T) {
	w := newClientWorld(t, "offlineimap")
	conf := w.config(t, "offlineimaprc")
	w.twoWay(t, func() { w.run(t, "offlineimap", "-c", conf, "-o") })
}

func TestImaplib(t *testing.T) {
	w := newClientWorld(t, "python3")
	for _, box := range []string{"INBOX", clientShared} {
		w.run(t, "python3", "testdata/clients/imaplib_client.py", rigAddrs["director"], strconv.Itoa(w.rig.port), "someone2", box)
	}
}
