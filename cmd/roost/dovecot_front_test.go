package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// startDovecotFront starts a Dovecot 2.3 backend with the document's shared
// namespace, whose imapc_host is our director, and returns its address.
func startDovecotFront(t *testing.T, r *rig) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "front")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	for _, sub := range []string{"base", "state", "home"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// Dovecot's mail processes are nobody's, and read the sharing index too.
	for path, mode := range map[string]os.FileMode{
		dir: 0o755, filepath.Join(dir, "home"): 0o777,
		filepath.Dir(r.root): 0o755, r.root: 0o755, filepath.Join(r.root, "shared-fs"): 0o755,
		filepath.Join(r.root, "shared-fs/acl"): 0o755, r.sharedDict(): 0o644,
	} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile("testdata/dovecot/front.conf")
	if err != nil {
		t.Fatal(err)
	}
	port := strconv.Itoa(freePort(t))
	conf := filepath.Join(dir, "dovecot.conf")
	fill := strings.NewReplacer("@DIR@", dir, "@PORT@", port, "@HOST@", rigAddrs["director"], "@HOSTPORT@", strconv.Itoa(r.port), "@DICT@", r.sharedDict())
	if err := os.WriteFile(conf, []byte(fill.Replace(string(text))), 0o644); err != nil {
		t.Fatal(err)
	}
	runDovecot(t, conf, filepath.Join(dir, "log"))
	return awaitServer(t, net.JoinHostPort("127.0.0.1", port))
}

// runDovecot runs Dovecot until the test is over, and returns its process.
func runDovecot(t *testing.T, conf, log string) (pid int) {
	t.Helper()
	cmd := exec.Command("dovecot", "-F", "-c", conf)
	cmd.Env = append(os.Environ(), "DOVECOT_HOSTNAME=peer", "DOVECOT_HOSTDOMAIN=peer.test")
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if text, err := os.ReadFile(log); err == nil && t.Failed() {
			t.Logf("the end of %s:\n%s", log, tail(text, 4<<10))
		}
	})
	return cmd.Process.Pid
}

// awaitServer waits until a server greets, and returns its address.
func awaitServer(t *testing.T, addr string) string {
	t.Helper()
	for end := time.Now().Add(patience); ; {
		c, err := dialLines(t.Context(), "", addr)
		if err == nil {
			c.close()
			return addr
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond) // nothing tells when it listens
	}
}

// TestDovecotFront has a user of a Dovecot backend work on a mailbox whose owner
// is ours: Dovecot's imapc comes through our director as that user.
func TestDovecotFront(t *testing.T) {
	needTool(t, "dovecot")
	w := newClientWorld(t)
	addr := startDovecotFront(t, w.rig)
	c, err := dialLines(t.Context(), "", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	w.ok(t, c, "LOGIN someone2 pass")
	mustTell(t, w.ok(t, c, `LIST "" *`), clientShared)
	mustTell(t, w.ok(t, c, "STATUS %s (MESSAGES UIDNEXT)", clientShared), "MESSAGES 12 UIDNEXT 13")
	mustTell(t, w.ok(t, c, "SELECT %s", clientShared), "* 12 EXISTS")
	reader := w.session(t, "someone2")
	w.ok(t, reader, "SELECT %s", clientShared)
	for _, items := range []string{"(UID RFC822.SIZE)", "(INTERNALDATE)", "(ENVELOPE)", "(BODYSTRUCTURE)", "(BODY.PEEK[])"} {
		theirs, ours := w.ok(t, c, "FETCH 1:* %s", items), w.ok(t, reader, "FETCH 1:* %s", items)
		if !slices.Equal(theirs, ours) {
			t.Errorf("%s\nthrough Dovecot: %.500q\nthrough Roost: %.500q", items, theirs, ours)
		}
	}
	mustTell(t, w.ok(t, c, `SEARCH SUBJECT "number 3"`), "* SEARCH 4")
	w.ok(t, c, `STORE 2 +FLAGS (\Flagged)`)
	w.ok(t, w.owner, "SELECT Work")
	mustTell(t, w.ok(t, w.owner, "FETCH 2 FLAGS"), `\Flagged`)
	w.append(t, c, clientShared, "Through Dovecot")
	mustTell(t, w.ok(t, w.owner, "NOOP"), "* 13 EXISTS")
	w.ok(t, c, "COPY 1 INBOX")
	w.ok(t, c, `STORE 1 +FLAGS (\Deleted)`)
	w.ok(t, c, "EXPUNGE")
	mustTell(t, w.ok(t, w.owner, "NOOP"), "* 1 EXPUNGE")
	mustTell(t, w.ok(t, c, "MYRIGHTS %s", clientShared), "lrwstied")
	dovecotHears(t, w, c)
}

// dovecotHears: what the owner does reaches a session of Dovecot that idles.
func dovecotHears(t *testing.T, w *clientWorld, c *lineClient) {
	t.Helper()
	c.tag++
	if _, err := fmt.Fprintf(c.conn, "k%d IDLE\r\n", c.tag); err != nil {
		t.Fatal(err)
	}
	mustHear(t, c, "+")
	w.append(t, w.owner, "Work", "While Dovecot idles")
	mustHear(t, c, "* 13 EXISTS")
	if _, err := fmt.Fprint(c.conn, "DONE\r\n"); err != nil {
		t.Fatal(err)
	}
	mustHear(t, c, fmt.Sprintf("k%d OK", c.tag))
}

// mustHear reads lines until one begins as wanted.
func mustHear(t *testing.T, c *lineClient, want string) {
	t.Helper()
	_ = c.conn.SetDeadline(time.Now().Add(patience))
	for {
		line, err := c.line()
		if err != nil {
			t.Fatalf("waiting for %q: %v", want, err)
		}
		if strings.HasPrefix(line, want) {
			return
		}
	}
}

func mustTell(t *testing.T, lines []string, want string) {
	t.Helper()
	if !slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, want) }) {
		t.Errorf("%q is not in %q", want, lines)
	}
}
