// Package etcdtest runs the etcd of the system's packages for a test.
package etcdtest

import (
	"errors"
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

	"github.com/roost-mail/roost/porttest"
)

// Server is an etcd of one member, with a directory and ports of its own.
type Server struct {
	Addr string // where clients reach it

	args []string
	data string // a directory
	log  string
	cmd  *exec.Cmd
}

// startTime is how long it may take until it listens.
const startTime = 30 * time.Second

// Start starts a Server at an address of this host, which ends with the test. Without
// the program the test is skipped, unless ROOST_TEST_PEERS=1 says that it must run.
// With --cert-file among args clients reach it by TLS.
func Start(t testing.TB, host string, args ...string) *Server {
	t.Helper()
	program, err := exec.LookPath("etcd")
	if err != nil {
		if os.Getenv("ROOST_TEST_PEERS") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	scheme := "http://"
	if slices.Contains(args, "--cert-file") {
		scheme = "https://"
	}
	dir := t.TempDir()
	s := &Server{Addr: freeAddr(t, host), data: filepath.Join(dir, "data"), log: filepath.Join(dir, "log")}
	s.args = append([]string{
		program, "--data-dir", s.data, "--logger", "zap", "--log-level", "error",
		"--listen-client-urls", scheme + s.Addr, "--advertise-client-urls", scheme + s.Addr,
		"--listen-peer-urls", "http://" + freeAddr(t, host),
	}, args...)
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Kill() })
	return s
}

// StartMembers starts the members of one cluster.
func StartMembers(t testing.TB, host string, n int) []*Server {
	t.Helper()
	servers, initial := make([]*Server, n), make([]string, n)
	peers := make([]string, n)
	for i := range n {
		peers[i] = "http://" + freeAddr(t, host)
		initial[i] = fmt.Sprintf("m%d=%s", i, peers[i])
	}
	for i := range n {
		servers[i] = Start(
			t, host, "--name", fmt.Sprintf("m%d", i), "--listen-peer-urls", peers[i],
			"--initial-advertise-peer-urls", peers[i], "--initial-cluster", strings.Join(initial, ","),
		)
	}
	return servers
}

func freeAddr(t testing.TB, host string) string {
	t.Helper()
	return net.JoinHostPort(host, strconv.Itoa(porttest.Free(t, host)))
}

// Start starts it again, with what it knew, after Kill.
func (s *Server) Start() error {
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() //nolint:errcheck // the process has it
	s.cmd = exec.Command(s.args[0], s.args[1:]...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // nothing outlives a test that was killed
	if err := s.cmd.Start(); err != nil {
		return err
	}
	for deadline := time.Now().Add(startTime); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if conn, err := net.Dial("tcp", s.Addr); err == nil {
			return conn.Close()
		}
	}
	text, _ := os.ReadFile(s.log)
	return errors.New("etcd does not listen: " + string(text))
}

// Kill ends it at once.
func (s *Server) Kill() error {
	err := s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	return err
}

// Copy takes down what it knows; it is away meanwhile.
func (s *Server) Copy() error {
	if err := s.Kill(); err != nil {
		return err
	}
	if err := replace(s.copy(), s.data); err != nil {
		return err
	}
	return s.Start()
}

// Restore has it know no more than it did at Copy, after it was away.
func (s *Server) Restore() error {
	if err := s.Kill(); err != nil {
		return err
	}
	if err := replace(s.data, s.copy()); err != nil {
		return err
	}
	return s.Start()
}

// Wipe has it begin with nothing, after it was away.
func (s *Server) Wipe() error {
	if err := errors.Join(s.Kill(), os.RemoveAll(s.data)); err != nil {
		return err
	}
	return s.Start()
}

func (s *Server) copy() string { return s.data + "-copy" }

func replace(dir, with string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return os.CopyFS(dir, os.DirFS(with))
}

// Stop stops it with SIGSTOP; Continue has it go on.
func (s *Server) Stop() error { return s.cmd.Process.Signal(syscall.SIGSTOP) }

// Continue undoes Stop.
func (s *Server) Continue() error { return s.cmd.Process.Signal(syscall.SIGCONT) }
