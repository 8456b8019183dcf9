package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/roost-mail/roost/tlsconn/tlstest"
)

// roost runs the command and returns what it printed.
func roost(args ...string) (string, error) {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "ROOST_RUN_MAIN=1")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestReloadCommand reloads a real process by the command and by the signal, and
// finds out when there is none.
func TestReloadCommand(t *testing.T) {
	r := startProcessRig(t, "rig", freePort(t), "")
	pidFile, log := filepath.Join(r.root, "be1.pid"), r.logFile("be1")
	file := r.files["be1"]
	r.stop(t, "be1")
	appendTo(t, file, "admin_socket_path =\n") // testdata/commands has the socket
	r.start(t, "be1")
	if out, err := roost("reload", "-c", file); err == nil || !strings.Contains(out, "pid_file is not set") {
		t.Errorf("without pid_file: %v, %s", err, out)
	}
	r.stop(t, "be1")
	pair := tlstest.New(t).Valid(t, rigAddrs["be1"])
	for name, text := range map[string]string{"be1.pem": pair.Cert, "be1.key": pair.Key} {
		if err := os.WriteFile(filepath.Join(r.root, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	appendTo(t, file, fmt.Sprintf("pid_file = %s\nssl = yes\nssl_cert = <%s/be1.pem\nssl_key = <%s/be1.key\n", pidFile, r.root, r.root))
	if out, err := roost("reload", "-c", file); err == nil || !strings.Contains(out, "no server is running") {
		t.Errorf("without a server: %v, %s", err, out)
	}
	r.start(t, "be1")
	pid := r.running["be1"].cmd.Process.Pid
	if text, err := os.ReadFile(pidFile); err != nil || string(text) != fmt.Sprintln(pid) {
		t.Errorf("pid file %q, %v; want %d", text, err, pid)
	}
	session, err := dialLines(t.Context(), "", net.JoinHostPort(rigAddrs["be1"], fmt.Sprint(r.port)))
	if err != nil {
		t.Fatal(err)
	}
	defer session.close()

	if out, err := roost("reload", "-c", file); err != nil || !strings.Contains(out, fmt.Sprintf("process %d reads it again", pid)) {
		t.Errorf("reload: %v, %s", err, out)
	}
	waitFor(t, log, "configuration was read again")
	appendTo(t, file, "nonsense = yes\n")
	if out, err := roost("reload", "-c", file); err == nil || !strings.Contains(out, "nonsense: there is no such setting") {
		t.Errorf("with an error: %v, %s", err, out)
	}
	if err := r.running["be1"].cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	waitFor(t, log, "the old one stays")
	if _, err := session.ok("NOOP"); err != nil {
		t.Errorf("the session is lost: %v", err)
	}

	// A second server cannot take the file, and leaves it as it is.
	if out, err := roost("serve", "-c", file); err == nil {
		t.Errorf("a second server began: %s", out)
	}
	if other, err := pidOf(pidFile); other != pid {
		t.Errorf("the file's process is %d, %v; want %d", other, err, pid)
	}
	r.kill(t, "be1")
	if _, err := pidOf(pidFile); !errors.Is(err, errNotRunning) {
		t.Errorf("after a crash: %v", err)
	}
}

// waitFor waits until a file has a text.
func waitFor(t *testing.T, path, want string) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		text, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(text), want) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s never says %q", path, want)
		}
	}
}
