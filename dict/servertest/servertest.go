// Package servertest runs the database servers of the system's packages for a
// test: each a process of the test's own, with its own directory and port, as an
// unprivileged user where the test runs as root.
package servertest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/roost-mail/roost/porttest"
)

// Server is a running server.
type Server struct {
	Addr     string // HOST:PORT on the loopback
	Host     string
	Port     int
	Dir      string // its directory
	User     string // who may do everything there
	Password string

	args []string
	cmd  *exec.Cmd
	done chan struct{} // closed when cmd has ended
	pong func() error  // nil once it answers
}

const startTime = 60 * time.Second

// find looks for a program, where the packages put it. Without it the test is
// skipped, unless ROOST_TEST_PEERS=1 says that it must run.
func find(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	found = append(found, filepath.Join("/usr/sbin", name))
	slices.Reverse(found)
	for _, path := range found {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	if os.Getenv("ROOST_TEST_PEERS") == "1" {
		t.Fatal(err)
	}
	t.Skip(err)
	return ""
}

// newServer makes a directory that the server's user owns, and takes a port.
func newServer(t testing.TB) *Server {
	t.Helper()
	dir, err := os.MkdirTemp("", "roost-server-") // not of the test: its parent may be private to root
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if c := credential(t); c != nil {
		if err := os.Chown(dir, int(c.Uid), int(c.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	s := &Server{Host: "127.0.0.1", Port: porttest.Free(t, "127.0.0.1"), Dir: dir, User: "roost", Password: "open sesame"}
	s.Addr = net.JoinHostPort(s.Host, strconv.Itoa(s.Port))
	return s
}

// credential is whom servers run as; nil for whoever runs the test.
func credential(t testing.TB) *syscall.Credential {
	if os.Geteuid() != 0 {
		return nil
	}
	u, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// prepare runs a program that makes the server's files.
func (s *Server) prepare(t testing.TB, args ...string) {
	t.Helper()
	cmd := s.command(t, args)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", args[0], err, out)
	}
}

func (s *Server) command(t testing.TB, args []string) *exec.Cmd {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = s.Dir
	cmd.Env = []string{"PATH=/usr/bin:/bin:/usr/sbin:/sbin", "HOME=" + s.Dir, "LC_ALL=C", "TZ=UTC"}
	// Nothing outlives a test that was killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Credential: credential(t), Setpgid: true}
	return cmd
}

// run starts the server, which ends with the test.
func (s *Server) run(t testing.TB, pong func() error, args ...string) {
	t.Helper()
	s.args, s.pong = args, pong
	s.Start(t)
	t.Cleanup(func() { s.Kill(t) })
}

// Start starts it again after Kill, with what it knew, and waits until it answers.
// One that ends is started once more: children of the one before may be there still.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	s.launch(t)
	for deadline := time.Now().Add(startTime); ; time.Sleep(20 * time.Millisecond) {
		err := s.pong()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			text, _ := os.ReadFile(filepath.Join(s.Dir, "log"))
			t.Fatalf("%s does not answer: %v\n%s", s.args[0], err, text)
		}
		select {
		case <-s.done:
			s.launch(t)
		default:
		}
	}
}

func (s *Server) launch(t testing.TB) {
	t.Helper()
	log, err := os.OpenFile(filepath.Join(s.Dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close() //nolint:errcheck // the process has it
	s.cmd = s.command(t, s.args)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	cmd, done := s.cmd, make(chan struct{})
	s.done = done
	go func() { _ = cmd.Wait(); close(done) }()
}

// Kill ends it and its children at once, those too that left its process group, as
// PostgreSQL's do: they would go on answering for a moment.
func (s *Server) Kill(t testing.TB) {
	pid := s.cmd.Process.Pid
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	s.signal(t, syscall.SIGKILL)
	for _, child := range strings.Fields(string(children)) {
		if n, err := strconv.Atoi(child); err == nil {
			_ = syscall.Kill(n, syscall.SIGKILL) // it may have ended by itself
		}
	}
	<-s.done
}

// Pause stops it with SIGSTOP; Continue has it go on.
func (s *Server) Pause(t testing.TB) { s.signal(t, syscall.SIGSTOP) }

// Continue undoes Pause.
func (s *Server) Continue(t testing.TB) { s.signal(t, syscall.SIGCONT) }

func (s *Server) signal(t testing.TB, sig syscall.Signal) {
	if err := syscall.Kill(-s.cmd.Process.Pid, sig); err != nil && err != syscall.ESRCH {
		t.Error(err)
	}
}

// Postgres runs PostgreSQL, with an empty database "roost".
func Postgres(t testing.TB) *Server {
	t.Helper()
	initdb, server, psql := find(t, "initdb"), find(t, "postgres"), find(t, "psql")
	s := newServer(t)
	data, secret := filepath.Join(s.Dir, "data"), filepath.Join(s.Dir, "secret")
	if err := os.WriteFile(secret, []byte(s.Password), 0o644); err != nil {
		t.Fatal(err)
	}
	s.prepare(t, initdb, "-D", data, "-U", s.User, "--pwfile", secret, "-A", "scram-sha-256", "--no-sync", "-E", "UTF8", "--no-locale")
	s.run(t, func() error { return s.SQL(t, "select 1") }, server, "-D", data, "-h", s.Host, "-p", strconv.Itoa(s.Port), "-k", s.Dir,
		"-c", "fsync=off", "-c", "max_connections=40", "-c", "shared_buffers=16MB")
	s.prepare(t, "env", "PGPASSWORD="+s.Password, psql, "-q", "-h", s.Host, "-p", strconv.Itoa(s.Port), "-U", s.User, "-d", "postgres", "-c", "create database roost")
	return s
}

// MariaDB runs MariaDB, with an empty database "roost".
func MariaDB(t testing.TB) *Server {
	t.Helper()
	install, server := find(t, "mariadb-install-db"), find(t, "mariadbd")
	s := newServer(t)
	data, init := filepath.Join(s.Dir, "data"), filepath.Join(s.Dir, "init.sql")
	text := fmt.Sprintf("create database if not exists roost;\ncreate user if not exists '%[1]s'@'%%' identified by '%[2]s';\ngrant all on *.* to '%[1]s'@'%%';\n", s.User, s.Password)
	if err := os.WriteFile(init, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	small := []string{
		"--no-defaults", "--datadir=" + data, "--innodb-log-file-size=8M", "--innodb-buffer-pool-size=16M",
		"--innodb-flush-log-at-trx-commit=2", "--aria-log-file-size=8M", "--innodb-flush-method=nosync",
	}
	s.prepare(t, append(append([]string{install}, small...), "--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve")...)
	args := append([]string{server}, small...)
	args = append(args, "--bind-address="+s.Host, "--port="+strconv.Itoa(s.Port), "--socket="+filepath.Join(s.Dir, "socket"),
		"--pid-file="+filepath.Join(s.Dir, "pid"), "--init-file="+init, "--skip-name-resolve", "--innodb-lock-wait-timeout=5")
	s.run(t, func() error { return s.SQL(t, "select 1") }, args...)
	return s
}

// SQL runs statements by the server's own client, in the database "roost" if there is one.
func (s *Server) SQL(t testing.TB, text string) error {
	t.Helper()
	args := []string{"mariadb", "-h", s.Host, "-P", strconv.Itoa(s.Port), "-u", s.User, "-p" + s.Password, "roost"}
	if strings.HasSuffix(s.args[0], "postgres") {
		args = []string{
			"env", "PGPASSWORD=" + s.Password, find(t, "psql"), "-q", "-v", "ON_ERROR_STOP=1", "-h", s.Host, "-p", strconv.Itoa(s.Port), "-U", s.User, "-d",
			"roost",
		}
		if text == "select 1" {
			args[len(args)-1] = "postgres"
		}
	}
	cmd := s.command(t, args)
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// Redis runs Redis, which asks for the password and keeps what it was told.
func Redis(t testing.TB) *Server {
	t.Helper()
	s := newServer(t)
	s.User, s.Password = "default", "sesame"
	s.runRedis(t, "--requirepass", s.Password)
	return s
}

// RedisOpen runs Redis for whoever comes.
func RedisOpen(t testing.TB) *Server {
	t.Helper()
	s := newServer(t)
	s.User, s.Password = "", ""
	s.runRedis(t)
	return s
}

func (s *Server) runRedis(t testing.TB, args ...string) {
	t.Helper()
	pong := func() error {
		conn, err := net.Dial("tcp", s.Addr)
		if err != nil {
			return err
		}
		return conn.Close()
	}
	s.run(t, pong, append([]string{
		find(t, "redis-server"), "--bind", s.Host, "--port", strconv.Itoa(s.Port), "--dir", s.Dir,
		"--appendonly", "yes", "--appendfsync", "always", "--save", "",
	}, args...)...)
}
