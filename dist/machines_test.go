package dist

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The roles of this test's program: it runs again in namespaces of its own, it is
// the first process of each machine there, and it is systemctl on them.
const (
	roleEnv       = "ROOST_TEST_ROLE"
	roleWorld     = "world"
	roleMachine   = "machine"
	roleSystemctl = "systemctl"
)

func TestMain(m *testing.M) {
	switch os.Getenv(roleEnv) {
	case roleMachine:
		machineMain()
	case roleSystemctl:
		os.Exit(systemctlMain(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// inWorld runs the rest of a test where it is root of a world of its own: networks,
// mounts, processes and the host's name concern nobody else, and end with it.
func inWorld(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	if os.Getenv(roleEnv) == roleWorld {
		for _, args := range [][]string{{"mount", "--make-rprivate", "/"}, {"mount", "-t", "proc", "proc", "/proc"}} {
			run(t, args[0], args[1:]...)
		}
		f(t)
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), roleEnv+"="+roleWorld)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS,
		Pdeathsig:  syscall.SIGKILL,
	}
	out, err := cmd.CombinedOutput()
	switch {
	case errors.Is(err, syscall.EPERM) && os.Getenv("ROOST_TEST_PEERS") != "1":
		t.Skipf("namespaces are not permitted here: %v", err)
	case err != nil:
		t.Errorf("%v\n%s", err, out)
	case !strings.Contains(string(out), "--- PASS: "+t.Name()+" "):
		t.Errorf("the test did not run:\n%s", out)
	default:
		t.Logf("%s", out)
	}
}

// machines are hosts on one network. Each has a network, a name and files of its own:
// what it does not change are those of this host.
type machines struct {
	dir string // a filesystem in memory
	all map[string]*machine
}

type machine struct {
	name string
	init *exec.Cmd // its first process
	root string
}

// newMachines makes the network, and the files that all machines have: the package
// in /root, and what stands in for systemd and ssh.
func newMachines(t *testing.T, deb string) *machines {
	t.Helper()
	m := &machines{dir: t.TempDir(), all: map[string]*machine{}}
	run(t, "mount", "-t", "tmpfs", "machines", m.dir)
	t.Cleanup(func() { run(t, "umount", "-R", "-l", m.dir) })
	run(t, "ip", "link", "add", "br0", "type", "bridge")
	run(t, "ip", "link", "set", "br0", "up")
	for _, sub := range []string{"common/root", "common/usr/local/sbin", "volume"} {
		if err := os.MkdirAll(filepath.Join(m.dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	copyFile(t, os.Args[0], filepath.Join(m.dir, "common/usr/local/sbin/machine"))
	copyFile(t, deb, filepath.Join(m.dir, "common/root", filepath.Base(deb)))
	m.standIn(t, "systemctl", roleEnv+"="+roleSystemctl+" exec machine \"$@\"")
	m.standIn(t, "journalctl", "cat "+journal)
	// scp [-r] FILE... HOST:DIR
	m.standIn(t, "scp", `[ "$1" = -r ] && shift
while [ $# -gt 1 ]; do from="$from $1"; shift; done
cp -r $from /proc/$(cat /run/machines/${1%%:*})/root${1#*:}`)
	return m
}

func (m *machines) standIn(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(m.dir, "common/usr/local/sbin", name), []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close() //nolint:errcheck // it was only read
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(out, in)
	if err = errors.Join(err, out.Close()); err != nil {
		t.Fatal(err)
	}
}

// add switches a machine on. With volume it has the shared filesystem at /srv/mail.
func (m *machines) add(t *testing.T, name, addr string, volume bool) {
	t.Helper()
	n := &machine{name: name, root: filepath.Join(m.dir, name, "root")}
	m.all[name] = n
	for _, sub := range []string{"root", "upper", "work", "pids"} {
		if err := os.MkdirAll(filepath.Join(m.dir, name, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	at := func(sub string) string { return filepath.Join(m.dir, name, sub) }
	run(t, "mount", "-t", "overlay", "overlay", "-o", fmt.Sprintf("lowerdir=%s:/,upperdir=%s,workdir=%s", filepath.Join(m.dir, "common"), at("upper"), at("work")), n.root)
	run(t, "mount", "-t", "proc", "proc", n.root+"/proc")
	run(t, "mount", "--rbind", "/dev", n.root+"/dev")
	for _, dir := range []string{"/run", "/tmp", "/var/lib/roost"} {
		if err := os.MkdirAll(n.root+dir, 0o755); err != nil {
			t.Fatal(err)
		}
		run(t, "mount", "-t", "tmpfs", "tmpfs", n.root+dir)
	}
	for _, dir := range []string{"/run/systemd/system", "/run/machines", "/srv/mail"} {
		if err := os.MkdirAll(n.root+dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	run(t, "mount", "--bind", filepath.Join(m.dir, "common"), n.root+"/run/machines")
	if volume {
		run(t, "mount", "--bind", filepath.Join(m.dir, "volume"), n.root+"/srv/mail")
	}
	n.start(t)
	if err := os.WriteFile(filepath.Join(m.dir, "common", name), []byte(strconv.Itoa(n.init.Process.Pid)), 0o644); err != nil {
		t.Fatal(err)
	}
	pid := strconv.Itoa(n.init.Process.Pid)
	run(t, "ip", "link", "add", "c-"+name, "type", "veth", "peer", "name", "eth0", "netns", pid)
	run(t, "ip", "link", "set", "c-"+name, "master", "br0", "up")
	n.run(t, "ip link set lo up && ip addr add "+addr+"/24 dev eth0 && ip link set eth0 up")
}

func (n *machine) start(t *testing.T) {
	t.Helper()
	n.init = exec.Command("/usr/local/sbin/machine")
	n.init.Env = []string{roleEnv + "=" + roleMachine, "PATH=" + machinePath, "HOSTNAME=" + n.name, "HOME=/root"}
	n.init.Dir = "/root"
	n.init.Stderr = os.Stderr
	n.init.SysProcAttr = &syscall.SysProcAttr{
		Chroot: n.root, Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS, Pdeathsig: syscall.SIGKILL,
	}
	if err := n.init.Start(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(n.root + machineSocket); err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s does not start", n.name)
		}
	}
}

const machinePath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// try runs a line of a shell on the machine, as root.
func (n *machine) try(line string) (out string, err error) {
	cmd := exec.Command("nsenter", "-t", strconv.Itoa(n.init.Process.Pid), "-n", "-u", "-r", "-w", "sh", "-c", line)
	cmd.Env = []string{"PATH=" + machinePath, "HOME=/root", "DEBIAN_FRONTEND=noninteractive", "LANG=C"}
	b, err := cmd.CombinedOutput()
	return string(b), err
}

func (n *machine) run(t *testing.T, line string) string {
	t.Helper()
	out, err := n.try(line)
	if err != nil {
		t.Fatalf("%s# %s: %v\n%s", n.name, line, err, out)
	}
	return out
}

// machineMain is the first process of a machine. It answers systemctl.
func machineMain() {
	check := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, "machine:", err)
			os.Exit(1)
		}
	}
	check(syscall.Sethostname([]byte(os.Getenv("HOSTNAME"))))
	ln, err := net.Listen("unix", machineSocket)
	check(err)
	var s service
	for {
		conn, err := ln.Accept()
		check(err)
		go func() {
			defer conn.Close() //nolint:errcheck // the answer is sent
			var args []string
			if json.NewDecoder(conn).Decode(&args) == nil {
				_ = json.NewEncoder(conn).Encode(s.do(args))
			}
		}()
	}
}
