package imapserver

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/roost-mail/roost/mailbox"
)

// TestTranscripts plays the files of testdata. A line is one of:
//
//	C: text     the client sends text and CRLF
//	S: text     the server's next line is text; "…" stands for anything
//	S! closed   the server closes the connection
//	@ login u   connect, pass over the greeting, log in as u
//	@ connect   connect; the greeting is the next line
//	@ close     check that the server has no more to say, and close
//	! option    of the server, at the top of the file: see options
//	# text      a comment
//
// With a digit, as in "C2:" and "@2", it is about another connection. In text,
// \r, \n, \t, \0 and \xHH are those bytes; "C: text\" ends without CRLF. At the
// end of the file every connection is checked as by "@ close".
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no transcripts", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			playTranscript(t, file)
		})
	}
}

// options are what a transcript can ask of its server.
var options = map[string]func(*Config){
	"plaintext-disabled": func(c *Config) { c.PlaintextAllowed = func(*Client) bool { return false } },
	"trusted":            func(c *Config) { c.Trusted = func(netip.Addr) bool { return true } },
	"small-messages":     func(c *Config) { c.MaxMessage = 100 },
	"short-lines":        func(c *Config) { c.MaxLine = 200 },
	"no-id":              func(c *Config) { c.IDFields = map[string]string{} },
}

// quotas are what a transcript can ask of its server's mail.
var quotas = map[string]*mailbox.QuotaPolicy{
	"quota": {Root: "User quota", Storage: 4096, Messages: 3, MaxMessage: 1000},
}

type transcript struct {
	t     *testing.T
	where string
	ts    *testServer
	conns map[string]*testConn
}

func playTranscript(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	p := &transcript{t: t, conns: map[string]*testConn{}}
	var adjust []func(*Config)
	var quota *mailbox.QuotaPolicy
	for i, line := range strings.Split(string(text), "\n") {
		p.where = fmt.Sprintf("%s:%d", file, i+1)
		if name, ok := strings.CutPrefix(line, "! "); ok {
			if p := quotas[name]; p != nil {
				quota = p
				continue
			}
			if options[name] == nil {
				t.Fatalf("%s: unknown option %q", p.where, name)
			}
			adjust = append(adjust, options[name])
			continue
		}
		if line == "" || line[0] == '#' {
			continue
		}
		if p.ts == nil {
			p.ts = newTestServer(t, func(c *Config) {
				c.Log = logTo(t)
				for _, f := range adjust {
					f(c)
				}
			})
			p.ts.mail.SetQuota(quota)
		}
		p.play(line)
	}
	for id := range p.conns {
		p.where = file + ": end"
		p.close(id)
	}
}

func (p *transcript) play(line string) {
	p.t.Helper()
	what, text, ok := strings.Cut(line, " ")
	if !ok {
		p.t.Fatalf("%s: %q is no line of a transcript", p.where, line)
	}
	kind, id := what[:1], strings.Trim(what[1:], ":!")
	switch {
	case kind == "@":
		p.manage(id, text)
	case kind == "C":
		p.conn(id).send(text)
	case kind == "S" && strings.HasSuffix(what, "!"):
		p.wantClosed(id)
	case kind == "S":
		p.want(id, text)
	default:
		p.t.Fatalf("%s: %q is no line of a transcript", p.where, line)
	}
}

func (p *transcript) manage(id, text string) {
	p.t.Helper()
	verb, user, _ := strings.Cut(text, " ")
	switch verb {
	case "connect":
		p.conns[id] = dial(p.t, p.ts)
	case "login":
		p.conns[id] = dial(p.t, p.ts)
		p.want(id, "* OK …")
		p.conns[id].send("@ LOGIN " + user + " secret")
		p.want(id, "@ OK …")
	case "close":
		p.close(id)
	default:
		p.t.Fatalf("%s: unknown %q", p.where, text)
	}
}

func (p *transcript) conn(id string) *testConn {
	c := p.conns[id]
	if c == nil {
		p.t.Fatalf("%s: connection %q is not open", p.where, id)
	}
	return c
}

func (p *transcript) want(id, pattern string) {
	p.t.Helper()
	line, err := p.conn(id).line()
	if err != nil {
		p.t.Fatalf("%s: want %q, got error %v", p.where, pattern, err)
	}
	if !matches(unescape(pattern), line) {
		p.t.Fatalf("%s:\nwant %s\n got %q", p.where, pattern, line)
	}
}

func (p *transcript) wantClosed(id string) {
	p.t.Helper()
	if line, err := p.conn(id).line(); !errors.Is(err, io.EOF) && !strings.Contains(fmt.Sprint(err), "reset") {
		p.t.Fatalf("%s: want end of connection, got %q, %v", p.where, line, err)
	}
}

func (p *transcript) close(id string) {
	p.t.Helper()
	c := p.conn(id)
	delete(p.conns, id)
	_ = c.CloseWrite()
	rest, err := io.ReadAll(c.r)
	if err != nil && !strings.Contains(err.Error(), "reset") {
		p.t.Errorf("%s: %v", p.where, err)
	}
	if len(rest) > 0 {
		p.t.Errorf("%s: server said more: %q", p.where, rest)
	}
	_ = c.Close()
}

// matches compares a line with a pattern in which "…" stands for anything.
func matches(pattern, line string) bool {
	parts := strings.Split(pattern, "…")
	if len(parts) == 1 {
		return pattern == line
	}
	rest, ok := strings.CutPrefix(line, parts[0])
	if !ok {
		return false
	}
	last := len(parts) - 1
	for _, part := range parts[1:last] {
		_, after, found := strings.Cut(rest, part)
		if !found {
			return false
		}
		rest = after
	}
	return strings.HasSuffix(rest, parts[last])
}

func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		switch s[i+1] {
		case 'r':
			b.WriteByte('\r')
		case 'n':
			b.WriteByte('\n')
		case 't':
			b.WriteByte('\t')
		case '0':
			b.WriteByte(0)
		case 'x':
			var v byte
			if n, _ := fmt.Sscanf(s[i+2:], "%2x", &v); n == 1 {
				b.WriteByte(v)
				i += 3
				continue
			}
			fallthrough
		default:
			b.WriteByte('\\')
			continue
		}
		i++
	}
	return b.String()
}

// testConn is a client that sends and reads lines.
type testConn struct {
	*net.TCPConn
	t testing.TB
	r *bufio.Reader
}

func dial(t testing.TB, ts *testServer) *testConn {
	t.Helper()
	conn, err := net.Dial("tcp", ts.addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(testTimeout))
	t.Cleanup(func() { _ = conn.Close() })
	return &testConn{TCPConn: conn.(*net.TCPConn), t: t, r: bufio.NewReader(conn)}
}

func (c *testConn) send(text string) {
	c.t.Helper()
	text, open := strings.CutSuffix(text, `\`)
	text = unescape(text)
	if !open {
		text += "\r\n"
	}
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatal(err)
	}
}

func (c *testConn) line() (string, error) {
	line, err := c.r.ReadString('\n')
	return strings.TrimSuffix(line, "\r\n"), err
}

// cmd sends a command with the tag "t" and returns the lines up to its answer.
func (c *testConn) cmd(text string) []string {
	c.t.Helper()
	c.send("t " + text)
	var lines []string
	for {
		line, err := c.line()
		if err != nil {
			c.t.Fatalf("%s: %v", text, err)
		}
		lines = append(lines, line)
		if strings.HasPrefix(line, "t ") {
			return lines
		}
	}
}
