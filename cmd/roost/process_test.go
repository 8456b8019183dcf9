package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/roost-mail/roost/porttest"
)

// TestMain makes the test binary be roost itself for those who start it with
// ROOST_RUN_MAIN=1, so that a test can run real processes, and kill them.
func TestMain(m *testing.M) {
	if os.Getenv("ROOST_RUN_MAIN") == "1" {
		main()
		return
	}
	if idleRole() {
		return
	}
	os.Exit(m.Run())
}

// process is a `roost serve`.
type process struct {
	cmd    *exec.Cmd
	stderr string        // file
	done   chan struct{} // closed when the process has ended; err is set then
	err    error
}

// processRig is a cluster of three processes; it is a world for transcripts.
type processRig struct {
	root    string
	port    int
	files   map[string]string
	running map[string]*process
}

// startProcessRig starts a cluster; port 0 leaves it as the files say. When the
// test is over the processes are stopped, and every account's mail is checked.
func startProcessRig(t testing.TB, kind string, port int, settings string) *processRig {
	t.Helper()
	return startProcessRigWith(t, kind, port, func(_ *processRig, _, text string) string { return text + settings })
}

// startProcessRigWith is startProcessRig with files that change may change.
func startProcessRigWith(t testing.TB, kind string, port int, change func(r *processRig, name, text string) string) *processRig {
	t.Helper()
	r := &processRig{root: t.TempDir(), port: port, running: map[string]*process{}}
	r.files = writeRig(t, kind, r.root, port)
	if port == 0 {
		r.port = 143
	}
	for name, file := range r.files {
		text, err := os.ReadFile(file)
		if err == nil {
			err = os.WriteFile(file, []byte(change(r, name, string(text))), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for _, name := range []string{"director", "be1", "be2"} {
			r.stop(t, name)
		}
		checkMail(t, filepath.Join(r.root, "shared-fs/home"))
		for name := range rigAddrs {
			r.checkLog(t, name)
		}
	})
	for _, name := range []string{"be1", "be2", "director"} {
		r.start(t, name)
	}
	return r
}

// freePort is a port that is free on all three addresses.
func freePort(t testing.TB) int {
	t.Helper()
	return porttest.Free(t, rigAddrs["director"], rigAddrs["be1"], rigAddrs["be2"])
}

func appendTo(t testing.TB, file, text string) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// start starts a node's process and waits until it takes connections.
func (r *processRig) start(t testing.TB, name string) {
	t.Helper()
	p := &process{stderr: filepath.Join(r.root, name, "stderr"), done: make(chan struct{})}
	out, err := os.OpenFile(p.stderr, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	p.cmd = exec.Command(os.Args[0], "serve", "-c", r.files[name])
	p.cmd.Env = append(os.Environ(), "ROOST_RUN_MAIN=1")
	p.cmd.Stdout, p.cmd.Stderr = out, out
	// Nothing may outlive a test that was killed.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.running[name] = p
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	r.waitReady(t, name)
}

// waitReady tries to connect until the process answers with a greeting.
func (r *processRig) waitReady(t testing.TB, name string) {
	t.Helper()
	p, addr := r.running[name], net.JoinHostPort(rigAddrs[name], strconv.Itoa(r.port))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		c, err := dialLines(ctx, "", addr)
		if err == nil {
			c.close()
			return
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-p.done:
			t.Fatalf("%s ended while it started: %v\n%s", name, p.err, r.trouble(name))
		case <-ctx.Done():
			t.Fatalf("%s does not answer: %v\n%s", name, err, r.trouble(name))
		}
	}
}

// stop asks a process to end. It must do so in time, without an error.
func (r *processRig) stop(t testing.TB, name string) {
	t.Helper()
	p := r.running[name]
	if p == nil {
		return
	}
	delete(r.running, name)
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(patience):
		_ = p.cmd.Process.Signal(syscall.SIGQUIT) // shows what it hangs in
		select {
		case <-p.done:
		case <-time.After(patience):
			_ = p.cmd.Process.Kill()
			<-p.done
		}
		t.Errorf("%s did not end in time\n%s", name, r.trouble(name))
		return
	}
	if p.err != nil {
		t.Errorf("%s: %v\n%s", name, p.err, r.trouble(name))
	}
	if said, _ := os.ReadFile(p.stderr); len(said) > 0 {
		t.Errorf("%s wrote to stderr:\n%s", name, said)
	}
}

// kill ends a process as a crash does: nothing is said, flushed or closed.
func (r *processRig) kill(t testing.TB, name string) {
	t.Helper()
	p := r.running[name]
	delete(r.running, name)
	select {
	case <-p.done:
		t.Fatalf("%s has ended by itself: %v\n%s", name, p.err, r.trouble(name))
	default:
	}
	_ = p.cmd.Process.Kill()
	<-p.done
}

// hasOpen says whether one of the processes has a file open.
func (r *processRig) hasOpen(name string) bool {
	for _, p := range r.running {
		fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", p.cmd.Process.Pid))
		for _, fd := range fds {
			if to, err := os.Readlink(fd); err == nil && to == name {
				return true
			}
		}
	}
	return false
}

// trouble is the end of what a process said.
func (r *processRig) trouble(name string) string {
	said, _ := os.ReadFile(filepath.Join(r.root, name, "stderr"))
	logged, _ := os.ReadFile(r.logFile(name))
	return string(tail(said, 16<<10)) + string(tail(logged, 4<<10))
}

func tail(b []byte, n int) []byte { return b[max(0, len(b)-n):] }

// checkLog looks for bugs that sessions survived, and after a failure shows the end.
func (r *processRig) checkLog(t testing.TB, name string) {
	t.Helper()
	text, _ := os.ReadFile(r.logFile(name))
	for line := range bytes.Lines(text) {
		if bytes.Contains(line, []byte("msg=panic ")) || bytes.Contains(line, []byte(`"msg":"panic"`)) {
			t.Errorf("%s: %s", name, line)
		}
	}
	if t.Failed() {
		t.Logf("the end of what %s said:\n%s", name, r.trouble(name))
	}
}

// logFile is the log of a node; the two kinds of files call it differently.
func (r *processRig) logFile(name string) string {
	for _, base := range []string{"roost.log", "dovecot.log"} {
		path := filepath.Join(r.root, name, base)
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return ""
}

func (r *processRig) address() string {
	return net.JoinHostPort(rigAddrs["director"], strconv.Itoa(r.port))
}

func (r *processRig) password(login string) string { return (*rig)(nil).password(login) }

func (r *processRig) do(t *testing.T, words []string) {
	t.Helper()
	switch words[0] {
	case "stop":
		r.stop(t, words[1])
	case "start":
		r.start(t, words[1])
	case "index":
		indexDo(t, filepath.Join(r.root, "shared-fs/acl/shared-mailboxes"), words[1:])
	default:
		t.Fatalf("unknown line %q", words)
	}
}

// lineClient is a client as imapConn is one whose errors are returned: a broken
// connection is what its users wait for.
type lineClient struct {
	conn net.Conn
	r    *bufio.Reader
	tag  int
}

// dialLines connects from the address local, or from any if it is empty.
func dialLines(ctx context.Context, local, addr string) (*lineClient, error) {
	var d net.Dialer
	if local != "" {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(local), 0))
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &lineClient{conn: conn, r: bufio.NewReader(conn)}
	_ = conn.SetDeadline(time.Now().Add(patience))
	greeting, err := c.line()
	if err == nil && !strings.HasPrefix(greeting, "* OK") {
		err = fmt.Errorf("greeting %q", greeting)
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *lineClient) close() { _ = c.conn.Close() }

// command sends a command and returns the untagged lines and the tagged one,
// without its tag. A literal in text is written as a client with LITERAL+ does.
func (c *lineClient) command(format string, args ...any) (untagged []string, tagged string, err error) {
	c.tag++
	tag := fmt.Sprintf("k%d ", c.tag)
	_ = c.conn.SetDeadline(time.Now().Add(patience))
	if _, err := fmt.Fprintf(c.conn, tag+format+"\r\n", args...); err != nil {
		return nil, "", err
	}
	for {
		line, err := c.line()
		if err != nil {
			return untagged, "", err
		}
		if rest, ok := strings.CutPrefix(line, tag); ok {
			return untagged, rest, nil
		}
		untagged = append(untagged, line)
	}
}

// ok is command for what must be answered OK.
func (c *lineClient) ok(format string, args ...any) (untagged []string, err error) {
	untagged, tagged, err := c.command(format, args...)
	if err == nil && !strings.HasPrefix(tagged, "OK") {
		err = errors.New(tagged)
	}
	if err != nil {
		err = fmt.Errorf("%.60q: %w", fmt.Sprintf(format, args...), err)
	}
	return untagged, err
}

// maxTestLiteral bounds what a server can make the tests hold.
const maxTestLiteral = 64 << 20

// line reads a response; its literals stand in it as they are, after their
// lengths. Only whoever knows the fields may split it.
func (c *lineClient) line() (string, error) {
	var b strings.Builder
	for {
		part, err := c.r.ReadString('\n')
		if err != nil {
			return "", err
		}
		b.WriteString(strings.TrimRight(part, "\r\n"))
		m := literalEnd.FindStringSubmatch(strings.TrimRight(part, "\r\n"))
		if m == nil {
			return b.String(), nil
		}
		n, err := strconv.Atoi(m[1])
		if err != nil || n > maxTestLiteral {
			return "", fmt.Errorf("literal of %s", m[1])
		}
		body := make([]byte, n)
		if _, err := readFull(c.r, body); err != nil {
			return "", err
		}
		b.Write(body)
	}
}

// logLines are a node's log with log_format = json, each line a valid object.
func (r *processRig) logLines(t *testing.T, name string) []map[string]any {
	t.Helper()
	text, err := os.ReadFile(r.logFile(name))
	if err != nil {
		t.Fatal(err)
	}
	var lines []map[string]any
	for i, line := range bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n")) {
		fields := map[string]any{}
		if err := json.Unmarshal(line, &fields); err != nil {
			t.Errorf("%s: line %d of the log is not JSON: %v: %s", name, i+1, err, line)
			continue
		}
		lines = append(lines, fields)
	}
	return lines
}

// withFields returns the lines that have all the fields.
func withFields(lines []map[string]any, fields map[string]any) []map[string]any {
	var found []map[string]any
	for _, line := range lines {
		match := true
		for k, v := range fields {
			match = match && line[k] == v
		}
		if match {
			found = append(found, line)
		}
	}
	return found
}
