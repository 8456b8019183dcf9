package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A transcript is a text file of what users of a cluster do and see:
//
//	# a comment, often the RFC section
//	bob: SELECT shared/alice/Work      bob, logged in at the director, sends this
//	bob| * 3 EXISTS                    a line of the answer, by its beginning
//	bob| OK [READ-ONLY]                the tagged line, without its tag
//	bob! * 1 FETCH                     no line of the answer begins so
//	roost: team show Sales             an administrator's command, whose output roost| is about
//	stop be1, start be1                a backend goes and comes (see world)
//
// Lines that are not asked for are ignored; those asked for come in this
// order. `...` in an expectation stands for anything. bob/2 is a second session
// of bob; alice*bob logs in by the master password. <<"text" is a literal. After
// IDLE the answer grows until DONE is sent, and an expectation waits for it.
// A session whose name begins with raw does not log in by itself; in its lines
// @plain:authzid,authid,password@ is the base64 of PLAIN.
type transcript struct {
	t        *testing.T
	w        world
	sessions map[string]*imapConn
	line     int
	file     string
}

// world is a cluster that a transcript runs in.
type world interface {
	address() string // of the director
	password(login string) string
	do(t *testing.T, words []string) // a line that is no session's
}

// worldWithAdmin has an administrator.
type worldWithAdmin interface {
	administer(command string) (output string)
}

// patience bounds every wait of a transcript; it is never reached when all is well.
const patience = time.Minute

// slow is how long a line may take without being told of.
const slow = 500 * time.Millisecond

func runTranscript(t *testing.T, w world, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	tr := &transcript{t: t, w: w, sessions: map[string]*imapConn{}, file: path}
	defer func() {
		for _, c := range tr.sessions {
			c.close()
		}
	}()
	for line := range strings.Lines(string(text)) {
		tr.line++
		begun := time.Now()
		tr.run(strings.TrimRight(line, "\r\n"))
		if took := time.Since(begun); took > slow {
			t.Logf("%s:%d took %v", path, tr.line, took.Round(time.Millisecond))
		}
	}
}

var sessionLine = regexp.MustCompile(`^([a-z0-9*/@.]+)([:|!]) (.*)$`)

func (tr *transcript) run(line string) {
	tr.t.Helper()
	if i := strings.Index(line, "  #"); i >= 0 {
		line = strings.TrimRight(line[:i], " ")
	}
	if line == "" || line[0] == '#' {
		return
	}
	m := sessionLine.FindStringSubmatch(line)
	if m == nil {
		tr.w.do(tr.t, strings.Fields(line))
		return
	}
	if a, is := tr.w.(worldWithAdmin); is && m[1] == "roost" && m[2] == ":" {
		c := &imapConn{t: tr.t, where: func() string { return fmt.Sprintf("%s:%d", tr.file, tr.line) }}
		c.answer = strings.Split(strings.TrimRight(a.administer(m[3]), "\n"), "\n")
		tr.sessions["roost"] = c
		return
	}
	c := tr.session(m[1])
	switch m[2] {
	case ":":
		c.command(plainResponse(m[3]))
	case "|":
		c.expect(m[3])
	case "!":
		c.expectNot(m[3])
	}
}

func (tr *transcript) session(name string) *imapConn {
	tr.t.Helper()
	c := tr.sessions[name]
	if c == nil {
		login, _, _ := strings.Cut(name, "/")
		c = dialIMAP(tr.t, tr.w.address())
		c.where = func() string { return fmt.Sprintf("%s:%d: %s", tr.file, tr.line, name) }
		tr.sessions[name] = c
		if strings.HasPrefix(name, "raw") {
			return c
		}
		c.command("LOGIN " + strconv.Quote(login) + " " + strconv.Quote(tr.w.password(login)))
		c.expect("OK")
	}
	return c
}

// imapConn is a client that knows nothing but lines, so that it sees exactly
// what a server sends.
type imapConn struct {
	t     *testing.T
	conn  net.Conn
	r     *bufio.Reader
	where func() string

	patience time.Duration // beside the usual
	tag      int
	idling   bool
	answer   []string // of the last command, the tagged line last and without its tag
	matched  int      // how many lines of answer expectations have gone past
}

func dialIMAP(t *testing.T, addr string) *imapConn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	return lineConn(t, conn, addr)
}

// lineConn waits for the greeting.
func lineConn(t *testing.T, conn net.Conn, addr string) *imapConn {
	t.Helper()
	c := &imapConn{t: t, conn: conn, r: bufio.NewReader(conn), where: func() string { return addr }}
	if greeting := c.readLine(); !strings.HasPrefix(greeting, "* OK") {
		t.Fatalf("greeting %q", greeting)
	}
	return c
}

func (c *imapConn) close() {
	if c.conn != nil {
		_ = c.conn.Close()
	}
}

var literal = regexp.MustCompile(`<<("(?:[^"\\]|\\.)*")`)

// command sends a command and reads its answer.
func (c *imapConn) command(text string) {
	c.t.Helper()
	if text == "DONE" {
		c.send("DONE\r\n")
		c.readAnswer()
		c.idling = false
		return
	}
	text = literal.ReplaceAllStringFunc(text, func(m string) string {
		s, err := strconv.Unquote(m[2:])
		if err != nil {
			c.t.Fatalf("%s: %v", c.where(), err)
		}
		return fmt.Sprintf("{%d+}\r\n%s", len(s), s)
	})
	c.tag++
	c.answer, c.matched = nil, 0
	c.send(fmt.Sprintf("t%d %s\r\n", c.tag, text))
	if strings.EqualFold(text, "IDLE") {
		c.idling = true
		if line := c.readLine(); !strings.HasPrefix(line, "+") {
			c.t.Fatalf("%s: IDLE answered %q", c.where(), line)
		}
		return
	}
	c.readAnswer()
}

func (c *imapConn) send(s string) {
	c.t.Helper()
	_ = c.conn.SetWriteDeadline(time.Now().Add(patience))
	if _, err := c.conn.Write([]byte(s)); err != nil {
		c.t.Fatalf("%s: %v", c.where(), err)
	}
}

func (c *imapConn) readAnswer() {
	c.t.Helper()
	tag := fmt.Sprintf("t%d ", c.tag)
	for {
		line := c.readLine()
		if rest, ok := strings.CutPrefix(line, tag); ok {
			c.answer = append(c.answer, rest)
			return
		}
		c.answer = append(c.answer, line)
	}
}

var literalEnd = regexp.MustCompile(`\{(\d+)\}$`)

// readLine reads a response with its literals, which stand as <<"text" in it.
func (c *imapConn) readLine() string {
	c.t.Helper()
	_ = c.conn.SetReadDeadline(time.Now().Add(patience + c.patience))
	var b strings.Builder
	for {
		part, err := c.r.ReadString('\n')
		if err != nil {
			c.t.Fatalf("%s: %v after %q and %q", c.where(), err, b.String()+part, c.answer)
		}
		part = strings.TrimRight(part, "\r\n")
		m := literalEnd.FindStringSubmatchIndex(part)
		if m == nil {
			return b.String() + part
		}
		n, _ := strconv.Atoi(part[m[2]:m[3]])
		body := make([]byte, n)
		if _, err := readFull(c.r, body); err != nil {
			c.t.Fatalf("%s: in a literal of %d: %v", c.where(), n, err)
		}
		b.WriteString(part[:m[0]] + "<<" + strconv.Quote(string(body)))
	}
}

func readFull(r *bufio.Reader, p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var m int
		m, err = r.Read(p[n:])
		n += m
	}
	return n, err
}

// expect finds the next line of the answer that begins as want says.
func (c *imapConn) expect(want string) {
	c.t.Helper()
	match := matcher(want)
	for {
		for c.matched < len(c.answer) {
			c.matched++
			if match(c.answer[c.matched-1]) {
				return
			}
		}
		if !c.idling {
			c.t.Fatalf("%s: no line %q in\n\t%s", c.where(), want, strings.Join(c.answer, "\n\t"))
		}
		c.answer = append(c.answer, c.readLine())
	}
}

func (c *imapConn) expectNot(want string) {
	c.t.Helper()
	match := matcher(want)
	for _, line := range c.answer {
		if match(line) {
			c.t.Fatalf("%s: unwanted line %q", c.where(), line)
		}
	}
}

// matcher compares beginnings; a $ at the end of want asks for the whole line.
func matcher(want string) func(string) bool {
	parts := strings.Split(want, "...")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	re := "^" + strings.Join(parts, ".*")
	if whole, ok := strings.CutSuffix(re, `\$`); ok {
		re = whole + "$"
	}
	return regexp.MustCompile(re).MatchString
}
