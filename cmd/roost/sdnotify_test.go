package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// manager is a service manager's socket.
func manager(t *testing.T, name string) *net.UnixConn {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	return conn
}

// heard is the next message.
func heard(t *testing.T, conn *net.UnixConn) string {
	t.Helper()
	b := make([]byte, 4096)
	n, err := conn.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

func TestNotifySystemd(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	if err := notifySystemd("READY=1"); err != nil {
		t.Errorf("without a manager: %v", err)
	}
	path := filepath.Join(t.TempDir(), "notify")
	for name, socket := range map[string]string{path: path, "\x00roost-" + filepath.Base(t.TempDir()) + t.Name(): ""} {
		if socket == "" {
			socket = "@" + name[1:]
		}
		conn := manager(t, name)
		t.Setenv("NOTIFY_SOCKET", socket)
		if err := notifySystemd("READY=1", "STATUS=well"); err != nil {
			t.Fatal(err)
		}
		if got := heard(t, conn); got != "READY=1\nSTATUS=well" {
			t.Errorf("%q", got)
		}
	}
	t.Setenv("NOTIFY_SOCKET", path+"-gone")
	if err := notifySystemd("READY=1"); err == nil {
		t.Error("nobody listens, and that is no error")
	}
}

func TestWatchdogInterval(t *testing.T) {
	for _, row := range []struct {
		pid, usec string
		want      time.Duration
	}{
		{"", "", 0}, {"", "30000000", 30 * time.Second}, {"1", "30000000", 0}, {"", "-5", 0}, {"", "soon", 0},
	} {
		t.Setenv("WATCHDOG_PID", row.pid)
		t.Setenv("WATCHDOG_USEC", row.usec)
		if got := watchdogInterval(); got != row.want {
			t.Errorf("%+v: %v", row, got)
		}
	}
}

// TestServeTellsManager what it does: that it serves, lives, reloads and ends.
func TestServeTellsManager(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "roost.conf")
	if err := os.WriteFile(file, []byte("protocols = none\nmail_location = roost:"+dir+"/%u\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	conn := manager(t, filepath.Join(dir, "notify"))
	cmd := exec.Command(os.Args[0], "serve", "-c", file)
	cmd.Env = append(os.Environ(), "ROOST_RUN_MAIN=1", "NOTIFY_SOCKET="+filepath.Join(dir, "notify"), "WATCHDOG_USEC=400000")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	next := func(want string) { // leaves out watchdog messages
		t.Helper()
		for {
			got := heard(t, conn)
			if strings.HasPrefix(got, want) {
				return
			}
			if !strings.HasPrefix(got, "WATCHDOG=1\nSTATUS=") {
				t.Fatalf("%q, want %q", got, want)
			}
		}
	}
	next("READY=1")
	next("WATCHDOG=1\nSTATUS=0 sessions, 0 proxied, 0 before login")
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	next("RELOADING=1\nMONOTONIC_USEC=")
	next("READY=1")
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	next("STOPPING=1")
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
