package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestRigFilesAsProcesses runs the files of a Dovecot cluster as they are, but
// for mail_location, as three processes on their own addresses and port 143.
func TestRigFilesAsProcesses(t *testing.T) {
	runAsProcesses(t, "rig")
}

// TestDocumentBlocksAsProcesses does so with the blocks that the document prints.
func TestDocumentBlocksAsProcesses(t *testing.T) {
	runAsProcesses(t, "document")
}

// runAsProcesses runs each transcript in a network of its own, at the usual ports.
func runAsProcesses(t *testing.T, kind string) {
	if testing.Short() {
		t.Skip("takes its time; the same transcripts run without processes")
	}
	t.Parallel()
	for _, path := range transcripts(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			inNetworkNamespace(t, func(t *testing.T) {
				runTranscript(t, startProcessRig(t, kind, 0, ""), path)
			})
		})
	}
}

// namespaceMarker tells a test binary that it runs in a namespace of its own.
const namespaceMarker = "ROOST_TEST_IN_NETNS"

// inNetworkNamespace runs the test in a child process with a network of its
// own, where any port on 127/8 is free. Where that is not permitted the test is
// skipped, unless ROOST_TEST_PEERS=1 says that it must run.
func inNetworkNamespace(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	if os.Getenv(namespaceMarker) == "1" {
		if err := loopbackUp(); err != nil {
			t.Fatal(err)
		}
		f(t)
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	out, err := runInNamespace(ctx, t.Name())
	var refused *noNamespace
	switch {
	case errors.As(err, &refused) && os.Getenv("ROOST_TEST_PEERS") != "1":
		t.Skipf("%v", refused)
	case err != nil:
		t.Errorf("%v\n%s", err, out)
	case !bytes.Contains(out, []byte("--- PASS: "+t.Name()+" ")):
		t.Errorf("the test did not run:\n%s", out)
	default:
		t.Logf("%s", out)
	}
}

// noNamespace is the system's refusal to make one.
type noNamespace struct{ err error }

func (e *noNamespace) Error() string {
	return "network namespaces are not permitted here: " + e.err.Error()
}

// runInNamespace runs one test of this binary: as root in a network namespace,
// as anyone in one of a user namespace where the user is root.
func runInNamespace(ctx context.Context, test string) (out []byte, err error) {
	for _, withUser := range []bool{false, true} {
		var b bytes.Buffer
		args := []string{"-test.run=^" + strings.ReplaceAll(test, "/", "$/^") + "$", "-test.v"}
		flag.Visit(func(f *flag.Flag) {
			if strings.HasPrefix(f.Name, "scenario") {
				args = append(args, "-"+f.Name+"="+f.Value.String())
			}
		})
		cmd := exec.CommandContext(ctx, os.Args[0], args...)
		cmd.Env = append(os.Environ(), namespaceMarker+"=1")
		cmd.Stdout, cmd.Stderr = &b, &b
		cmd.SysProcAttr = namespaceAttr(withUser)
		if err = cmd.Start(); err != nil {
			err = &noNamespace{err}
			continue
		}
		err = cmd.Wait()
		return b.Bytes(), err
	}
	return nil, err
}

func namespaceAttr(withUser bool) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if withUser {
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	return attr
}

// loopbackUp switches on the interface lo, which is down in a new namespace.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, req); err != nil {
		return fmt.Errorf("flags of lo: %w", err)
	}
	req.SetUint16(req.Uint16() | unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req); err != nil {
		return fmt.Errorf("lo up: %w", err)
	}
	return nil
}

// TestProcessLogs: who did what is found in the logs of three processes, by one
// session id from the door to the owner's backend, and no password is.
func TestProcessLogs(t *testing.T) {
	const client = "127.0.9.9"
	r := startProcessRig(t, "rig", freePort(t), "log_format = json\n")
	speak(t, r, client, "someone1", "pass", "CREATE Work", "SETACL Work someone2 lr")
	speak(t, r, client, "someone2", "pass", "SELECT shared/someone1/Work")
	speak(t, r, client, "someone1*someone2", "master-secret", "NOOP")
	refusedLogins(t, r)
	for _, name := range []string{"director", "be1", "be2"} {
		r.stop(t, name)
	}
	director, be1, be2 := r.logLines(t, "director"), r.logLines(t, "be1"), r.logLines(t, "be2")

	owner := oneLogin(t, director, "someone1", "someone1")
	sameSession(t, owner, oneLogin(t, be1, "someone1", "someone1"), client)
	reader := oneLogin(t, director, "someone2", "someone2")
	sameSession(t, reader, oneLogin(t, be2, "someone2", "someone2"), client)
	if logins := withFields(be2, map[string]any{"msg": "login"}); len(logins) != 1 {
		t.Errorf("be2 has the mail of one who logged in, but the logins %v", logins)
	}

	// someone2's session at be2 opened another at be1, and someone2 came with the
	// master password as well. Only the first has a session outside.
	back := 0
	for _, at := range [][]map[string]any{director, be1} {
		lines := withFields(at, map[string]any{"msg": "login", "user": "someone1", "acting": "someone2"})
		if len(lines) < 2 {
			t.Errorf("someone2 came to someone1's mail by a back session and by password, but logins are %v", lines)
		}
		for _, line := range lines {
			if line["ext_session"] == reader["session"] {
				back++
				if line["session"] == reader["session"] {
					t.Errorf("a back session has its front session's id: %v", line)
				}
			} else if line["ext_session"] != nil {
				t.Errorf("unknown ext_session: %v", line)
			}
		}
	}
	if back < 2 {
		t.Errorf("the back session of %v is not in both logs", reader)
	}
	opened := withFields(be2, map[string]any{"msg": "back session", "session": reader["session"]})
	if len(opened) == 0 || opened[0]["owner"] != "someone1" || opened[0]["acting"] != "someone2" {
		t.Errorf("be2 says of the back sessions of %v: %v", reader, opened)
	}
	proxied := withFields(director, map[string]any{"msg": "proxying", "session": reader["session"]})
	if len(proxied) != 1 || !strings.HasPrefix(fmt.Sprint(proxied[0]["backend"]), rigAddrs["be2"]+":") {
		t.Errorf("where the director sent someone2: %v", proxied)
	}
	noPasswords(t, r)
}

// speak logs in from an address, gives commands that must succeed, and logs out.
func speak(t *testing.T, r *processRig, from, login, password string, commands ...string) {
	t.Helper()
	c, err := dialLines(t.Context(), from, r.address())
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	for _, command := range append([]string{fmt.Sprintf("LOGIN %q %q", login, password)}, append(commands, "LOGOUT")...) {
		if _, err := c.ok("%s", command); err != nil {
			t.Fatal(err)
		}
	}
}

// The passwords that refusedLogins tries: none may be in a log, whatever form
// it came in.
var wrongPasswords = []string{"wrong-secret-1", "wrong-secret-2", "wrong-secret-3", "wrong-secret-4"}

func refusedLogins(t *testing.T, r *processRig) {
	t.Helper()
	for _, command := range []string{
		"LOGIN someone1 " + wrongPasswords[0],
		"LOGIN someone1*someone2 " + wrongPasswords[1],
		"AUTHENTICATE PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00someone1\x00"+wrongPasswords[2])),
		"LOGIN someone1 " + wrongPasswords[3] + " one-too-many",
	} {
		c, err := dialLines(t.Context(), "", r.address())
		if err != nil {
			t.Fatal(err)
		}
		if _, tagged, err := c.command("%s", command); err != nil || strings.HasPrefix(tagged, "OK") {
			t.Errorf("%s: %q, %v", command, tagged, err)
		}
		c.close()
	}
}

// oneLogin is the one line about a login, which has what a search needs.
func oneLogin(t *testing.T, lines []map[string]any, user, acting string) map[string]any {
	t.Helper()
	found := withFields(lines, map[string]any{"msg": "login", "user": user, "acting": acting})
	if len(found) != 1 {
		t.Fatalf("logins of %s as %s: %v", acting, user, found)
	}
	for _, field := range []string{"time", "level", "session", "client", "user", "acting"} {
		if s, ok := found[0][field].(string); !ok || s == "" {
			t.Errorf("login without %s: %v", field, found[0])
		}
	}
	return found[0]
}

func sameSession(t *testing.T, director, backend map[string]any, client string) {
	t.Helper()
	for _, field := range []string{"session", "client", "user", "acting"} {
		if director[field] != backend[field] {
			t.Errorf("%s is %v at the director and %v at the backend", field, director[field], backend[field])
		}
	}
	addr, err := netip.ParseAddrPort(fmt.Sprint(backend["client"]))
	if err != nil || addr.Addr().String() != client {
		t.Errorf("client is %v at the backend, want %s (%v)", backend["client"], client, err)
	}
}

// noPasswords looks for them in all that the processes wrote.
func noPasswords(t *testing.T, r *processRig) {
	t.Helper()
	secrets := append([]string{"master-secret", `"pass"`, "=pass ", "pass\\u0000", "doveadm-secret"}, wrongPasswords...)
	for _, s := range append(wrongPasswords, "master-secret", "pass") {
		secrets = append(secrets, base64.StdEncoding.EncodeToString([]byte("\x00someone1\x00"+s)))
	}
	for name := range rigAddrs {
		for _, path := range []string{r.logFile(name), filepath.Join(r.root, name, "stderr")} {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range secrets {
				if i := bytes.Index(text, []byte(s)); i >= 0 {
					t.Errorf("%s has the password %q: %.200q", path, s, text[max(0, i-100):])
				}
			}
		}
	}
}
