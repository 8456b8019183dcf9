package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/roost-mail/roost/config"
	"github.com/roost-mail/roost/porttest"
	"github.com/roost-mail/roost/tlsconn/tlstest"
)

var (
	idleSessions = flag.Int("idle.sessions", 0, "sessions of TestIdleMemory, whose memory is told; from 5000 on it is judged")
	idleProfile  = flag.String("idle.profile", "", "directory for heap profiles of TestIdleMemory")
)

const (
	idleUsers    = 90
	idleMessages = 1000
	idleFiles    = 20_000 // limit of open files
)

// TestIdleMemory has sessions on which nothing happens. None of them may hold a
// goroutine while it is quiet, all must answer when they are spoken to, after a
// reload too, and hear of the server's end. With -idle.sessions it is told what
// each costs the server. Server and clients are processes of their own; measured
// is how much larger the server is with the sessions than before, after two
// forced collections each. That takes two minutes and a quiet machine.
//
//	go test ./cmd/roost -run TestIdleMemory -v -idle.sessions 9000
func TestIdleMemory(t *testing.T) {
	for _, row := range []struct {
		name    string
		proxied bool // measured is the director, in front of a backend
		client  idleClient
		limit   int // bytes a session
	}{
		{"logged in", false, idleClient{}, 4 << 10},
		{"idle", false, idleClient{Idle: true}, 8 << 10},
		{"proxied", true, idleClient{}, 10 << 10},
		{"proxied with TLS", true, idleClient{TLS: true}, 25 << 10},
		{"logged in with TLS", false, idleClient{TLS: true}, 25 << 10},
	} {
		t.Run(row.name, func(t *testing.T) {
			if *idleSessions == 0 {
				t.Parallel()
				idleSessionsLive(t, startIdleServer(t, row.proxied), row.client.of(fewIdleSessions), func() {})
				return
			}
			measured := startIdleServer(t, row.proxied)
			if row.client.Idle {
				measured.clients(t, idleClient{Fill: true, count: idleUsers}).stop(t)
			}
			measured.clients(t, row.client.of(idleUsers)).stop(t) // what is made once is made
			measured.awaitQuiet(t)
			before := measured.memory(t)
			measure := func() {
				each := measured.memory(t).each(before, *idleSessions)
				t.Logf("%d sessions: VmRSS +%d bytes each, of which Go has in use %d (heap %d)", *idleSessions, each.rss, each.used, each.heap)
				if each.rss > row.limit && *idleSessions >= 5000 && !raceDetector {
					t.Errorf("more than %d bytes a session", row.limit)
				}
				measured.profile(t, row.name)
			}
			idleSessionsLive(t, measured, row.client.of(*idleSessions), measure)
		})
	}
}

// fewIdleSessions are many more than a server has goroutines of its own.
const fewIdleSessions = 50

// idleSessionsLive begins sessions, does measure while they are quiet, and then
// takes them to the end of the server.
func idleSessionsLive(t *testing.T, s *idleServer, c idleClient, measure func()) {
	clients := s.clients(t, c)
	s.awaitQuiet(t)
	measure()
	if answer := s.ask(t, "reload"); answer != "<nil>" {
		t.Errorf("reload: %s", answer)
	}
	for _, again := range []string{"first", "second"} {
		if answer := clients.ask(t, "talk"); answer != ready {
			t.Fatalf("%s word after a while: %s", again, answer)
		}
		s.awaitQuiet(t)
	}
	s.stop(t)
	if answer := clients.ask(t, "end"); answer != ready {
		t.Errorf("at the end: %s", answer)
	}
	clients.stop(t)
}

// idleServer is a process that serves, and tells of its memory when it is asked.
type idleServer struct {
	*child
	plain, secure string // addresses
}

// child is this test binary in another role, which obeys lines on its standard
// input and answers each with one line. It ends when that is closed.
type child struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func startChild(t *testing.T, env ...string) *child {
	t.Helper()
	c := &child{cmd: exec.Command(os.Args[0], "-test.run=^$")}
	c.cmd.Env = append(os.Environ(), env...)
	c.cmd.Stderr = os.Stderr
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := c.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.in, c.out = in, bufio.NewReader(out)
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.stop(t) })
	return c
}

// stop ends the process; it must do so without an error.
func (c *child) stop(t *testing.T) {
	t.Helper()
	if c.cmd.ProcessState != nil {
		return
	}
	_ = c.in.Close()
	if err := c.cmd.Wait(); err != nil {
		t.Errorf("child: %v", err)
	}
}

// ask sends a line and returns the answer.
func (c *child) ask(t *testing.T, line string) string {
	t.Helper()
	if _, err := io.WriteString(c.in, line+"\n"); err != nil {
		t.Fatal(err)
	}
	answer, err := c.out.ReadString('\n')
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return strings.TrimSpace(answer)
}

// memory is in bytes: resident, in use by Go, and of that the heap.
type memory struct{ rss, used, heap int }

func (m memory) each(before memory, n int) memory {
	return memory{(m.rss - before.rss) / n, (m.used - before.used) / n, (m.heap - before.heap) / n}
}

func (s *idleServer) memory(t *testing.T) (m memory) {
	t.Helper()
	answer := s.ask(t, "memory")
	if _, err := fmt.Sscan(answer, &m.rss, &m.used, &m.heap); err != nil {
		t.Fatalf("%q: %v", answer, err)
	}
	return m
}

// awaitQuiet waits until no session holds a goroutine.
func (s *idleServer) awaitQuiet(t *testing.T) {
	t.Helper()
	const own = fewIdleSessions / 3 // the server has fewer, for other work
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		n, err := strconv.Atoi(s.ask(t, "goroutines"))
		switch {
		case err != nil:
			t.Fatal(err)
		case n <= own:
			return
		case time.Now().After(end):
			t.Fatalf("%d goroutines while nothing happens", n)
		}
	}
}

func (s *idleServer) profile(t *testing.T, name string) {
	if *idleProfile != "" {
		s.ask(t, "profile "+filepath.Join(*idleProfile, strings.ReplaceAll(name, " ", "-")+".pprof"))
	}
}

// startIdleServer starts a backend and, if proxied, a director in front of it,
// which is what is returned.
func startIdleServer(t *testing.T, proxied bool) *idleServer {
	t.Helper()
	s := newIdleServer(t, "userdb {\n  driver = static\n  args = home=/nowhere\n}\n", "")
	if !proxied {
		return s
	}
	_, port, _ := net.SplitHostPort(s.plain)
	return newIdleServer(t, "", " proxy=y host=127.0.0.1 port="+port)
}

// newIdleServer starts a server with further settings, fields of the passdb and environment.
func newIdleServer(t *testing.T, settings, fields string, env ...string) *idleServer {
	t.Helper()
	dir := t.TempDir()
	pair := tlstest.New(t).Valid(t, "127.0.0.1")
	for name, text := range map[string]string{
		"cert.pem": pair.Cert, "key.pem": pair.Key,
		"roost.conf": fmt.Sprintf(`listen = 127.0.0.1
mail_location = roost:%s/mail/%%u
mail_max_userip_connections = 0
ssl_cert = <cert.pem
ssl_key = <key.pem
passdb {
  driver = static
  args = password=secret%s
}
service imap-login {
  inet_listener imap {
    port = %d
  }
  inet_listener imaps {
    port = %d
  }
}
%s`, dir, fields, porttest.Free(t, "127.0.0.1"), porttest.Free(t, "127.0.0.1"), settings),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := &idleServer{child: startChild(t, append(env, "ROOST_IDLE_SERVER="+filepath.Join(dir, "roost.conf"))...)}
	answer := s.ask(t, "addresses")
	if _, err := fmt.Sscan(answer, &s.plain, &s.secure); err != nil {
		t.Fatalf("%q: %v", answer, err)
	}
	return s
}

// idleClient is what clients do after they have logged in, and how.
type idleClient struct {
	TLS, Idle bool
	Fill      bool // each appends idleMessages messages
	count     int
}

func (c idleClient) of(count int) idleClient { c.count = count; return c }

// clients starts a process that opens the sessions, and returns when all are
// where they should be.
func (s *idleServer) clients(t *testing.T, c idleClient) *child {
	t.Helper()
	addr := s.plain
	if c.TLS {
		addr = s.secure
	}
	p := startChild(t, "ROOST_IDLE_CLIENTS="+addr)
	if answer := p.ask(t, fmt.Sprintf("%d %t %t %t", c.count, c.TLS, c.Idle, c.Fill)); answer != ready {
		t.Fatal(answer)
	}
	return p
}

// idleRole plays a child's part, if this process is one.
func idleRole() (played bool) {
	var err error
	switch conf, addr := os.Getenv("ROOST_IDLE_SERVER"), os.Getenv("ROOST_IDLE_CLIENTS"); {
	case conf != "":
		err = serveIdle(conf)
	case addr != "":
		err = playClients(addr)
	default:
		return false
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return true
}

func limitFiles() error {
	return syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: idleFiles, Max: idleFiles})
}

func serveIdle(conf string) error {
	set, _, err := config.Load(conf)
	if err == nil {
		err = limitFiles()
	}
	if err != nil {
		return err
	}
	spare := make([]byte, spareHeap) // as serve has it
	defer runtime.KeepAlive(spare)
	ctx := context.Background()
	n, err := newNode(ctx, set, slog.New(handler(io.Discard, set.General.LogFormat)))
	if err != nil {
		return err
	}
	if err := n.listen(ctx, nil); err != nil {
		return err
	}
	n.start(ctx)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		word, arg, _ := strings.Cut(lines.Text(), " ")
		switch word {
		case "addresses":
			var plain, secure string
			for i, l := range set.Listeners {
				if l.TLS {
					secure = n.listeners[i].Addr().String()
				} else {
					plain = n.listeners[i].Addr().String()
				}
			}
			fmt.Println(plain, secure)
		case "memory":
			fmt.Println(measure())
		case "goroutines":
			fmt.Println(runtime.NumGoroutine())
		case "reload":
			_, _, err := n.parts.reload(conf)
			fmt.Println(err)
		case "profile":
			fmt.Println(profileHeap(arg))
		}
	}
	stop, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return n.close(stop)
}

// measure is the resident size, what Go has in use, and of that the heap.
func measure() (rss, used, heap int) {
	debug.FreeOSMemory()
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			rss, _ = strconv.Atoi(strings.Fields(rest)[0])
		}
	}
	return rss << 10, int(m.HeapAlloc + m.StackInuse), int(m.HeapAlloc)
}

func profileHeap(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(pprof.Lookup("heap").WriteTo(f, 0), f.Close())
}

// ready is a child's answer when all went well.
const ready = "ready"

// playClients opens sessions as the first line says and does with all of them what
// further lines say, until standard input is closed.
func playClients(addr string) error {
	if err := limitFiles(); err != nil {
		return err
	}
	lines := bufio.NewScanner(os.Stdin)
	var c idleClient
	if lines.Scan(); lines.Err() != nil {
		return lines.Err()
	}
	if _, err := fmt.Sscan(lines.Text(), &c.count, &c.TLS, &c.Idle, &c.Fill); err != nil {
		return err
	}
	talks := make([]idleTalk, c.count)
	c.atOnce(func(i int) error { return talks[i].open(addr, "user"+strconv.Itoa(i%idleUsers), c) })
	for lines.Scan() {
		c.atOnce(func(i int) error {
			if lines.Text() == "end" {
				return talks[i].end()
			}
			return talks[i].again(c)
		})
	}
	for _, talk := range talks {
		_ = talk.conn.Close()
	}
	return lines.Err()
}

// atOnce does something for each session, some at a time, and prints how it went.
func (c idleClient) atOnce(do func(i int) error) {
	errs := make(chan error, c.count)
	turns := make(chan struct{}, 32)
	var wg sync.WaitGroup
	for i := range c.count {
		turns <- struct{}{}
		wg.Go(func() {
			if err := do(i); err != nil {
				errs <- err
			}
			<-turns
		})
	}
	wg.Wait()
	select {
	case err := <-errs:
		fmt.Printf("%q, and %d more\n", err, len(errs))
	default:
		fmt.Println(ready)
	}
}

// idleTalk is a client's end of a session.
type idleTalk struct {
	conn net.Conn
	r    *bufio.Reader
	err  error // the first
}

// say sends a line, unless it is empty, and reads until one that begins with want.
func (c *idleTalk) say(line, want string) {
	if c.err == nil && line != "" {
		_, c.err = io.WriteString(c.conn, line+"\r\n")
	}
	for answer := ""; c.err == nil && !strings.HasPrefix(answer, want); {
		answer, c.err = c.r.ReadString('\n')
		if c.err == nil && (strings.HasPrefix(answer, "a NO") || strings.HasPrefix(answer, "a BAD")) {
			c.err = errors.New(answer)
		}
	}
}

func (c *idleTalk) open(addr, user string, as idleClient) error {
	conn, err := net.DialTimeout("tcp", addr, 2*patience)
	if err != nil {
		return err
	}
	if as.TLS {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	}
	c.conn, c.r = conn, bufio.NewReaderSize(conn, 512)
	_ = conn.SetDeadline(time.Now().Add(5 * time.Minute))
	c.say("", "* OK")
	c.say("a LOGIN "+user+" secret", "a OK")
	if as.Fill {
		const message = "Subject: hello\r\n\r\nhello\r\n"
		c.say("a APPEND INBOX"+strings.Repeat(fmt.Sprintf(" {%d+}\r\n%s", len(message), message), idleMessages), "a OK")
	}
	if as.Idle {
		c.say("a SELECT INBOX", "a OK")
		c.say("a IDLE", "+")
	}
	return c.err
}

// again says something, and is as before.
func (c *idleTalk) again(as idleClient) error {
	if as.Idle {
		c.say("DONE", "a OK")
	}
	c.say("a NOOP", "a OK")
	if as.Idle {
		c.say("a IDLE", "+")
	}
	return c.err
}

// end reads to the end, which follows the server's good-bye where there is one.
func (c *idleTalk) end() error {
	_, err := io.Copy(io.Discard, c.r)
	return errors.Join(c.err, err)
}
