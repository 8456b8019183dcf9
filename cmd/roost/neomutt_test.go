package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// terminal is a program in a terminal of tmux.
type terminal struct {
	t      *testing.T
	socket string
}

// inTerminal starts a program in a terminal of its own, which ends with the test.
func inTerminal(t *testing.T, home string, program ...string) *terminal {
	t.Helper()
	term := &terminal{t: t, socket: filepath.Join(home, "tmux")}
	t.Cleanup(func() { _ = term.tmux(context.Background(), "kill-server").Run() })
	cmd := term.tmux(t.Context(), append([]string{"new-session", "-d", "-x", "120", "-y", "40"}, program...)...)
	cmd.Env = append(os.Environ(), "HOME="+home, "TERM=xterm", "LC_ALL=C.UTF-8")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("tmux: %v\n%s", err, out)
	}
	return term
}

func (term *terminal) tmux(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "tmux", append([]string{"-f", "/dev/null", "-S", term.socket}, args...)...)
}

func (term *terminal) screen() string {
	out, _ := term.tmux(term.t.Context(), "capture-pane", "-p").Output()
	return string(out)
}

// press types keys, as tmux names them.
func (term *terminal) press(keys ...string) {
	term.t.Helper()
	if err := term.tmux(term.t.Context(), append([]string{"send-keys"}, keys...)...).Run(); err != nil {
		term.t.Fatalf("%q: %v\n%s", keys, err, term.screen())
	}
}

// await looks at the screen until it shows a text; with gone until it does not.
func (term *terminal) await(text string, gone bool) {
	term.t.Helper()
	for end := time.Now().Add(patience); ; {
		screen := term.screen()
		if strings.Contains(screen, text) != gone {
			return
		}
		if time.Now().After(end) {
			term.t.Fatalf("the screen does not show %q (gone: %v):\n%s", text, gone, screen)
		}
		time.Sleep(20 * time.Millisecond) // nothing tells when a screen changes
	}
}

// TestNeomutt has a reader use a mail program by hand, which asks by CONDSTORE
// and QRESYNC: reads, flags, deletes, sees what the owner appends, and finds it
// all again when it is started once more.
func TestNeomutt(t *testing.T) {
	w := newClientWorld(t, "tmux", "neomutt")
	conf := w.config(t, "muttrc")
	for _, dir := range []string{"cache", "bodies"} {
		if err := os.Mkdir(filepath.Join(w.dir, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	term := inTerminal(t, w.dir, "neomutt", "-F", conf)
	term.await("Work number 11", false)
	term.press("1", "Enter", "Enter") // to the first message, and open it
	term.await("A text.", false)
	term.press("q")
	term.await("Work number 11", false)
	term.press("2", "Enter", "F")
	term.press("3", "Enter", "d")
	term.press("$")
	term.await("Work number 2", true)
	w.append(t, w.owner, "Work", "Written by the owner")
	term.await("Written by the owner", false)
	term.press("q")
	w.awaitServed(t, "Work number 0 S", "Work number 1 F", "Written by the owner ")

	w.ok(t, w.owner, "SELECT Work")
	w.ok(t, w.owner, `STORE 3 +FLAGS (\Deleted)`)
	w.ok(t, w.owner, "EXPUNGE")
	again := inTerminal(t, t.TempDir(), "neomutt", "-F", conf)
	again.await("Written by the owner", false)
	again.await("Work number 3", true)
	again.press("q")
}

// awaitServed waits until the server has those messages in the shared mailbox.
func (w *clientWorld) awaitServed(t *testing.T, want ...string) {
	t.Helper()
	for end := time.Now().Add(patience); ; {
		have := w.served(t, clientShared)
		if !slices.ContainsFunc(want, func(s string) bool { return !slices.Contains(have, s) }) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the server has %q, not %q", have, want)
		}
		time.Sleep(20 * time.Millisecond) // the program says nothing when it has ended
	}
}
