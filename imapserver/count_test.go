package imapserver

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestCounts: sessions, logins and commands are counted as what they are.
func TestCounts(t *testing.T) {
	ts := newTestServer(t, nil)
	ann, other := dial(t, ts), dial(t, ts)
	awaitCounts(t, ts, "login=2")
	for _, line := range []string{"NOOP", "NONSENSE", "LOGIN ann wrong", "LOGIN ann secret"} {
		ann.cmd(line)
	}
	awaitCounts(t, ts, "authenticated=1 login=1")
	ann.cmd("SELECT INBOX")
	awaitCounts(t, ts, "login=1 selected=1")
	ann.cmd("SELECT Nowhere")
	awaitCounts(t, ts, "authenticated=1 login=1")
	ann.cmd("SELECT INBOX")
	ann.send("i IDLE")
	awaitCounts(t, ts, "idle=1 login=1")
	ann.send("DONE")
	awaitCounts(t, ts, "login=1 selected=1")
	ann.cmd("LOGOUT")
	_ = other.Close()
	awaitCounts(t, ts, "")

	c := ts.Counts()
	var commands []string
	for r, took := range c.Commands {
		commands = append(commands, fmt.Sprintf("%s %s=%d", r.Command, r.Result, took.Count))
	}
	slices.Sort(commands)
	if got, want := strings.Join(commands, ", "),
		"(unknown) bad=1, IDLE ok=1, LOGIN no=1, LOGIN ok=1, LOGOUT ok=1, NOOP ok=1, SELECT no=1, SELECT ok=2"; got != want {
		t.Errorf("commands: %s\nwant %s", got, want)
	}
	if c.Logins["ok"].Count != 1 || c.Logins["refused"].Count != 1 || c.Logins["unavailable"].Count != 0 {
		t.Errorf("logins: %+v", c.Logins)
	}
	if c.BytesIn < 100 || c.BytesOut < 500 || c.Parked != 0 {
		t.Errorf("bytes in %d, out %d, parked %d", c.BytesIn, c.BytesOut, c.Parked)
	}
}

// awaitCounts waits until sessions are counted as wanted.
func awaitCounts(t *testing.T, ts *testServer, want string) {
	t.Helper()
	for end := time.Now().Add(testTimeout); ; time.Sleep(time.Millisecond) {
		var words []string
		for name, n := range ts.Counts().Sessions {
			if n != 0 {
				words = append(words, fmt.Sprintf("%s=%d", name, n))
			}
		}
		slices.Sort(words)
		got := strings.Join(words, " ")
		if got == want {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("sessions: %s, want %s", got, want)
		}
	}
}
