package main

import (
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// dovecotRig is a director of ours in front of two Dovecot backends.
type dovecotRig struct {
	*rig
	pids map[string]int
}

// TestDovecotBackends has users of two Dovecot backends share mailboxes through
// our director, and a backend die and come back.
func TestDovecotBackends(t *testing.T) {
	needTool(t, "dovecot")
	if os.Getuid() != 0 {
		t.Skip("needs root to start dovecot")
	}
	runTranscript(t, startDovecotRig(t), "testdata/dovecot/two-backends.txt")
}

func startDovecotRig(t *testing.T) *dovecotRig {
	t.Helper()
	listeners, port := openPorts(t)
	for _, name := range []string{"be1", "be2"} {
		_ = listeners[name].Close()
	}
	r := newDovecotRig(t, port)
	r.files = writeRig(t, "rig", r.root, port)
	field := ":{PLAIN}pass::::::proxy=y port=" + strconv.Itoa(port)
	appendTo(t, filepath.Join(r.root, "etc/users.director"), "pinned"+field+" host=127.0.1.12\nalias"+field+" host=127.0.1.11 destuser=someone1\n")
	appendTo(t, r.files["director"], "health_check_interval = 0\n") // they are for the usual port
	r.start(t, "director", listeners["director"])
	t.Cleanup(func() { r.stop(t, "director") })
	return r
}

// newDovecotRig starts the two backends, at a port that is free.
func newDovecotRig(t *testing.T, port int) *dovecotRig {
	t.Helper()
	root, err := os.MkdirTemp("", "doves")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(root) })
	r := &dovecotRig{rig: &rig{root: root, port: port, nodes: map[string]*node{}, files: map[string]string{}, log: slog.New(slog.DiscardHandler)}, pids: map[string]int{}}
	for path, mode := range map[string]os.FileMode{root: 0o755, "shared-fs": 0o777, "shared-fs/acl": 0o777, "shared-fs/home": 0o777} {
		if path != root {
			path = filepath.Join(root, path)
		}
		if err := os.MkdirAll(path, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"be1", "be2"} {
		r.startDovecot(t, name)
	}
	return r
}

func (r *dovecotRig) startDovecot(t *testing.T, name string) {
	t.Helper()
	dir := filepath.Join(r.root, name)
	for _, sub := range []string{"", "base", "state"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile("testdata/dovecot/backend.conf")
	if err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(dir, "dovecot.conf")
	fill := strings.NewReplacer("@DIR@", dir, "@NAME@", name, "@IP@", rigAddrs[name], "@PORT@", strconv.Itoa(r.port),
		"@HOMES@", filepath.Join(r.root, "shared-fs/home"), "@DICT@", r.sharedDict())
	if err := os.WriteFile(conf, []byte(fill.Replace(string(text))), 0o644); err != nil {
		t.Fatal(err)
	}
	r.pids[name] = runDovecot(t, conf, filepath.Join(dir, "log"))
	awaitServer(t, net.JoinHostPort(rigAddrs[name], strconv.Itoa(r.port)))
}

// do is `stop be1`, `start be1`, or `lives someone1 be1`.
func (r *dovecotRig) do(t *testing.T, words []string) {
	t.Helper()
	switch words[0] {
	case "stop":
		_ = syscall.Kill(r.pids[words[1]], syscall.SIGTERM) // its master process ends all others
		r.awaitGone(t, words[1])
	case "start":
		r.startDovecot(t, words[1])
	case "lives":
		r.lives(t, words[1], words[2])
	default:
		t.Fatalf("unknown line %q", words)
	}
}

// awaitGone waits until nobody listens any more.
func (r *dovecotRig) awaitGone(t *testing.T, name string) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp", net.JoinHostPort(rigAddrs[name], strconv.Itoa(r.port)))
		if err != nil {
			return
		}
		_ = c.Close()
		if time.Now().After(end) {
			t.Fatalf("%s does not end", name)
		}
	}
}

// lives checks that all logins of a user came to one backend, by what the
// backends have logged.
func (r *dovecotRig) lives(t *testing.T, user, backend string) {
	t.Helper()
	for range 3 {
		c := dialIMAP(t, r.address())
		c.command("LOGIN " + user + " pass")
		c.expect("OK")
		c.close()
	}
	// Dovecot writes the line of a login after its answer, so it may come later.
	for end := time.Now().Add(patience); r.logins(t, backend, user) < 3 && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond)
	}
	for name := range r.pids {
		if n := r.logins(t, name, user); (n >= 3) != (name == backend) || name != backend && n > 0 {
			t.Errorf("%s: %d logins of %s, who lives on %s", name, n, user, backend)
		}
	}
}

// logins is how many logins of a user a backend has logged.
func (r *dovecotRig) logins(t *testing.T, backend, user string) int {
	t.Helper()
	log, err := os.ReadFile(filepath.Join(r.root, backend, "log"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(log), "Login: user=<"+user+">")
}
