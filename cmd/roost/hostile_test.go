package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestHostile attacks a cluster in one way after another, mostly through the
// director and sometimes a backend itself. After each attack everybody else is
// still served, the owner's mail is what it was, and no command reached the
// owner's backend that nobody gave. In the end no goroutine is left.
func TestHostile(t *testing.T) {
	ignore := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, ignore) })
	s := newSiege(t)
	for _, a := range []struct {
		name string
		run  func(*testing.T, *siege)
	}{
		{"Garbage", garbage},
		{"HalfCommands", halfCommands},
		{"SlowReaders", slowReaders},
		{"Literals", hugeLiterals},
		{"Depth", deepLists},
		{"Pipelines", pipelines},
		{"Idle", idleMisuse},
		{"Notify", notifyStorms},
		{"Authenticate", authenticateAbuse},
		{"States", statesAbuse},
		{"Modifiers", modifiers},
		{"Revoked", revokedInPipelines},
		{"ID", idFloods},
		{"Injection", injections},
		{"Names", oddPlaces},
		{"Patterns", patterns},
		{"Metadata", metadataAbuse},
		{"Sets", manySets},
		{"SearchPrograms", searchPrograms},
		{"Append", appendLimits},
		{"CopyOntoItself", copyOntoItself},
	} {
		t.Run(a.name, func(t *testing.T) {
			before := s.memory()
			mail := s.mail(t)
			a.run(t, s)
			s.serves(t)
			if now := s.mail(t); now != mail {
				t.Errorf("the owner's mail was\n%s\nand is\n%s", mail, now)
			}
			if now := s.memory(); now > before+64<<20 {
				t.Errorf("%d MiB of memory are used, %d before", now>>20, before>>20)
			}
		})
	}
	s.stop(t, "be2")
	s.backSessions(t)
}

// siege is a cluster under attack. someone1 on be1 shares Work with someone2 on
// be2, who does what is hostile, and Public with someone3, who must not notice.
type siege struct {
	*rig
	raw       string // directory of be2's back sessions' raw logs
	bystander *imapConn
}

func newSiege(t *testing.T) *siege {
	t.Helper()
	s := &siege{rig: startRig(t, "rig")}
	s.raw = filepath.Join(s.root, "raw")
	if err := os.Mkdir(s.raw, 0o700); err != nil {
		t.Fatal(err)
	}
	s.edit(t, "be2", appended("imapc_rawlog_dir = "+s.raw+"\n"))
	owner := s.login(t, "someone1")
	for _, text := range []string{
		"CREATE Work", "CREATE Public", "CREATE Hidden", "CREATE Playground",
		"SETACL Work someone2 lrswiteka", "SETACL Public someone3 lrs", "SETACL Playground someone2 lrswite",
		`APPEND Work <<"Subject: one\r\n\r\nbody one\r\n"`,
		`APPEND Work (\Flagged) <<"Subject: two\r\n\r\nbody two\r\n"`,
		`APPEND Public <<"Subject: public\r\n\r\nbody\r\n"`,
		`APPEND Hidden <<"Subject: hidden\r\n\r\nbody\r\n"`,
		`APPEND Playground <<"Subject: play\r\n\r\nbody\r\n"`,
	} {
		owner.command(text)
		owner.matched = len(owner.answer) - 1
		owner.expect("OK")
	}
	s.bystander = s.login(t, "someone3")
	s.bystander.command("SELECT shared/someone1/Public")
	s.bystander.expect("OK")
	return s
}

// select2 is a session of someone2 that has a mailbox of someone1 open.
func (s *siege) select2(t *testing.T, name string) *imapConn {
	t.Helper()
	c := s.login(t, "someone2")
	c.command("SELECT shared/someone1/" + name)
	c.expect("OK")
	return c
}

// front are the addresses that can be attacked before a login.
func (s *siege) front() []string {
	return []string{s.address(), net.JoinHostPort(rigAddrs["be1"], strconv.Itoa(s.port))}
}

// talk sends bytes to a fresh connection, after a login if user is not empty,
// and returns what comes back until the server closes: after a LOGOUT behind
// them, if it has read that far.
func (s *siege) talk(t *testing.T, addr, user, data string) string {
	t.Helper()
	return s.send(t, addr, user, data+"\r\nend LOGOUT\r\n", false)
}

// cut is talk with a client that leaves behind data.
func (s *siege) cut(t *testing.T, addr, user, data string) string {
	t.Helper()
	return s.send(t, addr, user, data, true)
}

func (s *siege) send(t *testing.T, addr, user, data string, leave bool) string {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if user != "" {
		data = "in LOGIN " + user + " pass\r\n" + data
	}
	go func() {
		_, err := io.WriteString(conn, data)
		if half, ok := conn.(*net.TCPConn); ok && leave && err == nil {
			_ = half.CloseWrite()
		}
	}()
	out, err := io.ReadAll(io.LimitReader(conn, 64<<20))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("no end of the connection after %.100q; the last answer is %q", data, tail(out, 300))
	}
	return string(out)
}

// serves checks that others notice nothing.
func (s *siege) serves(t *testing.T) {
	t.Helper()
	for _, c := range []*imapConn{s.bystander, s.select2(t, "Work")} {
		for _, text := range []string{"NOOP", "FETCH 1 (FLAGS BODY.PEEK[])", `LIST "" "*"`, "STATUS INBOX (MESSAGES)"} {
			c.command(text)
			c.matched = len(c.answer) - 1
			c.expect("OK")
		}
	}
}

// memory is what is in use.
func (s *siege) memory() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// mail is what the owner's backend says of the owner's mail, but for the
// Playground.
func (s *siege) mail(t *testing.T) string {
	t.Helper()
	c := s.login(t, "someone1")
	var out []string
	run := func(text string) {
		c.command(text)
		out = append(out, c.answer...)
	}
	for _, name := range []string{"INBOX", "Work", "Public", "Hidden"} {
		run("GETACL " + name)
		run("STATUS " + name + " (MESSAGES UIDNEXT)")
		run("EXAMINE " + name)
		run("UID FETCH 1:* (FLAGS RFC822.SIZE)")
	}
	run(`LIST "" "*"`)
	run(`LSUB "" "*"`)
	return strings.Join(out, "\n")
}

var (
	rawLogTime    = regexp.MustCompile(`(?m)^\d{10}\.\d{6} `)
	rawLogLiteral = regexp.MustCompile(`\{(\d+)\+?\}$`)
	backCommand   = regexp.MustCompile(`^R(\d+) (UID [A-Z]+|[A-Z]+)( |$)`)
	backSessionOK = []string{"CAPABILITY", "ID", "AUTHENTICATE", "LIST", "SELECT", "EXAMINE", "STATUS", "NOOP", "IDLE", "MYRIGHTS", "APPEND", "CREATE", "DELETE", "RENAME", "GETACL", "SETACL", "DELETEACL", "LISTRIGHTS", "GETMETADATA", "SETMETADATA", "GETQUOTA", "GETQUOTAROOT", "ENABLE", "NOTIFY", "UID FETCH", "UID STORE", "UID SEARCH", "UID SORT", "UID THREAD", "UID COPY", "UID MOVE", "UID EXPUNGE", "EXPUNGE", "LOGOUT"}
)

// backSessions reads what be2 sent in back sessions: commands with tags in
// order and nothing between them. What attackers put into arguments is there
// only within arguments.
func (s *siege) backSessions(t *testing.T) {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(s.raw, "*.out"))
	if err != nil || len(logs) == 0 {
		t.Fatalf("no raw logs: %v", err)
	}
	for _, log := range logs {
		text, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		checkBackSession(t, string(rawLogTime.ReplaceAll(text, nil)))
	}
}

func checkBackSession(t *testing.T, text string) {
	t.Helper()
	last := 0
	for text != "" {
		line, rest := cutCommand(text)
		text = rest
		m := backCommand.FindStringSubmatch(line)
		if line == "DONE" || rest == "" {
			continue // rest is empty behind what the end of the connection cut off
		}
		if m == nil || !slices.Contains(backSessionOK, m[2]) {
			t.Errorf("a back session sent %.200q", line)
			return
		}
		n, _ := strconv.Atoi(m[1])
		if last != 0 && n != last+1 {
			t.Errorf("a back session sent R%d behind R%d", n, last)
		}
		last = n
	}
}

// cutCommand takes the first line with its literals, which are left out.
func cutCommand(text string) (line, rest string) {
	for {
		part, after, _ := strings.Cut(text, "\r\n")
		line += part
		m := rawLogLiteral.FindStringSubmatch(part)
		if m == nil {
			return line, after
		}
		n, _ := strconv.Atoi(m[1])
		text = after[min(n, len(after)):]
	}
}

// garbage is what port scanners and other protocols send.
func garbage(t *testing.T, s *siege) {
	for _, addr := range s.front() {
		for name, data := range map[string]string{
			"tls":         "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("\xab", 500),
			"http":        "GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: y\r\nAccept: */*\r\n\r\n",
			"nul":         strings.Repeat("\x00", 100_000),
			"newlines":    strings.Repeat("\r\n", 100_000),
			"bare":        strings.Repeat("\n", 1000) + strings.Repeat("\r", 1000),
			"high":        strings.Repeat("\xff\xfe", 100_000),
			"long line":   strings.Repeat("a", 8<<20),
			"long tag":    strings.Repeat("a", 100_000) + " NOOP\r\n",
			"empty tags":  strings.Repeat(" NOOP\r\n", 1000),
			"no command":  strings.Repeat("a \r\n", 1000),
			"plus":        strings.Repeat("+ x\r\n", 1000),
			"quotes":      `a LOGIN "` + strings.Repeat(`\"`, 100_000),
			"not allowed": strings.Repeat("a SELECT INBOX\r\n", 1000),
		} {
			if out := s.cut(t, addr, "", data); !strings.HasPrefix(out, "* OK") || strings.Contains(out, " OK Logged in") {
				t.Errorf("%s: %.200q", name, out)
			}
		}
	}
}

// halfCommands leaves many connections in the middle of something.
func halfCommands(t *testing.T, s *siege) {
	halves := []string{"", "a", "a LOGIN", "a LOGIN {5}\r\n", "a LOGIN {5}\r\nabc", "a AUTHENTICATE PLAIN\r\n", `a LOGIN "some`, "a ID (\"x\" \"y\"", "a NOOP\r"}
	for i := range 100 {
		conn, err := net.DialTimeout("tcp", s.front()[i%2], patience)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		for _, b := range []byte(halves[i%len(halves)]) {
			if _, err := conn.Write([]byte{b}); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.serves(t)
}

// slowReaders ask for much and take nothing of it.
func slowReaders(t *testing.T, s *siege) {
	for range 10 {
		c := s.select2(t, "Work")
		c.send(strings.Repeat("x FETCH 1:* (ENVELOPE BODY.PEEK[] BODY.PEEK[HEADER])\r\n", 2000))
	}
	s.serves(t)
}

func hugeLiterals(t *testing.T, s *siege) {
	for _, addr := range s.front() {
		for _, data := range []string{
			"a LOGIN {4294967295+}\r\nabc",
			"a LOGIN {99999999999999999999999}\r\n",
			"a LOGIN {18446744073709551616+}\r\nabc",
			"a LOGIN {-1}\r\n", "a LOGIN {1e9}\r\n", "a LOGIN {}\r\n", "a LOGIN {0x10}\r\n",
			"a LOGIN {70000+}\r\n" + strings.Repeat("x", 70_000) + " pass\r\n",
			"a LOGIN ~{4}\r\nabcd {4}\r\n",
			"a LOGIN " + strings.Repeat("{60000+}\r\n"+strings.Repeat("y", 60_000)+" ", 5) + "\r\n",
		} {
			if out := s.cut(t, addr, "", data); strings.Contains(out, "a OK") {
				t.Errorf("%.60q: %q", data, out)
			}
		}
	}
	for _, data := range []string{
		"a APPEND shared/someone1/Work {99999999999}\r\n",
		"a APPEND shared/someone1/Work {99999999999+}\r\nSubject: cut off\r\n\r\n",
		"a APPEND shared/someone1/Work {1000+}\r\nSubject: cut off\r\n\r\n",
		"a APPEND shared/someone1/Work (\\Seen) {20+}\r\nSubject: x\r\n\r\nbody\r\n {9999999+}\r\nSubject: cut off\r\n",
		"a SELECT {80000+}\r\n" + strings.Repeat("x", 80_000) + "\r\n",
		"a STATUS {999999999999}\r\n",
		"b SELECT shared/someone1/Work\r\na SEARCH BODY {90000+}\r\n" + strings.Repeat("x", 90_000) + "\r\n",
		"b SELECT shared/someone1/Work\r\na SEARCH " + strings.Repeat("BODY {8000+}\r\n"+strings.Repeat("x", 8000)+" ", 100) + "ALL\r\n",
	} {
		if out := s.cut(t, s.address(), "someone2", data); strings.Contains(out, "a OK") {
			t.Errorf("%.60q: %q", data, tail([]byte(out), 300))
		}
	}
}

func deepLists(t *testing.T, s *siege) {
	deep := strings.Repeat("(", 20_000)
	for _, command := range []string{
		"SEARCH " + deep, "SEARCH " + strings.Repeat("NOT ", 10_000) + "ALL", "SEARCH " + strings.Repeat("OR ", 10_000),
		"FETCH 1 " + deep, "FETCH 1 (BODY[" + strings.Repeat("1.", 10_000) + "TEXT])", "STORE 1 FLAGS " + deep,
		"ID " + deep, "STATUS shared/someone1/Work " + deep, `LIST "" ` + deep, "APPEND shared/someone1/Work " + deep,
		"SEARCH RETURN " + deep, "FETCH 1 BODY[HEADER.FIELDS " + deep,
	} {
		out := s.talk(t, s.address(), "someone2", "b SELECT shared/someone1/Work\r\na "+command+"\r\nz NOOP\r\n")
		if !strings.Contains(out, "a BAD") && !strings.Contains(out, "* BYE") || strings.Contains(out, "a OK") {
			t.Errorf("%.60q: %q", command, tail([]byte(out), 300))
		}
	}
}

// pipelines send thousands of commands without reading an answer.
func pipelines(t *testing.T, s *siege) {
	var b strings.Builder
	b.WriteString("b SELECT shared/someone1/Work\r\n")
	for i := range 2000 {
		fmt.Fprintf(&b, "c%d NOOP\r\nd%d FETCH 1 FLAGS\r\n", i, i)
	}
	b.WriteString("z LOGOUT\r\n")
	out := s.talk(t, s.address(), "someone2", b.String())
	if n := strings.Count(out, " OK Fetch completed"); n != 2000 || !strings.Contains(out, "z OK") {
		t.Errorf("%d of 2000 answers, the last %q", n, tail([]byte(out), 200))
	}
}

func idleMisuse(t *testing.T, s *siege) {
	for _, c := range []struct{ user, data, want string }{
		{"", "a IDLE\r\nDONE\r\n", "a BAD"},
		{"someone2", "a IDLE\r\nz NOOP\r\ny NOOP\r\nDONE\r\n", "a BAD"},
		{"someone2", "a IDLE\r\nDONE\r\nDONE\r\nz NOOP\r\n", "z OK"},
		{"someone2", "a IDLE x\r\nz NOOP\r\n", "z OK"},
		{"someone2", "b SELECT shared/someone1/Work\r\na IDLE\r\n" + strings.Repeat("x", 1<<20) + "\r\nz NOOP\r\n", ""},
		{"someone2", "b SELECT shared/someone1/Work\r\n" + strings.Repeat("a IDLE\r\nDONE\r\n", 300) + "z NOOP\r\n", "z OK"},
	} {
		if out := s.talk(t, s.address(), c.user, c.data); !strings.Contains(out, c.want) {
			t.Errorf("%.80q: want %q: %q", c.data, c.want, tail([]byte(out), 300))
		}
	}
	for _, data := range []string{"", "{99999+}\r\n", "DON", strings.Repeat("x", 1000)} {
		s.cut(t, s.address(), "someone2", "b SELECT shared/someone1/Work\r\na IDLE\r\n"+data)
	}
}

// notifyStorms asks for notifications again and again, and goes amid them.
func notifyStorms(t *testing.T, s *siege) {
	const all = "n NOTIFY SET STATUS (subtree shared (MessageNew MessageExpunge FlagChange MailboxName MailboxMetadataChange)) (personal (ServerMetadataChange))\r\n"
	for _, c := range []struct{ data, want string }{
		{strings.Repeat(all, 300) + "z NOOP\r\n", "z OK"},
		{strings.Repeat("n NOTIFY SET (personal (MailboxMetadataChange))\r\n", 1000) + "z NOOP\r\n", "z OK"},
		{strings.Repeat(all+"m NOTIFY NONE\r\n", 100) + "z NOOP\r\n", "z OK"},
		{all + strings.Repeat("m SETMETADATA shared/someone1/Work (/private/comment {1+}\r\nx)\r\n", 1000) + "z NOOP\r\n", "z OK"},
		{"n NOTIFY SET (selected (MailboxMetadataChange))\r\nz NOOP\r\n", "n BAD"},
		{"n NOTIFY SET (mailboxes (" + strings.Repeat("x ", 2000) + "y) (ServerMetadataChange))\r\nz NOOP\r\n", "n BAD"},
	} {
		if out := s.talk(t, s.address(), "someone2", c.data); !strings.Contains(out, c.want) || strings.Contains(out, "* METADATA") {
			t.Errorf("%.80q: want %q: %q", c.data, c.want, tail([]byte(out), 300))
		}
		s.cut(t, s.address(), "someone2", c.data)
	}
}

func authenticateAbuse(t *testing.T, s *siege) {
	plain := func(authzid, user, password string) string {
		return base64.StdEncoding.EncodeToString([]byte(authzid + "\x00" + user + "\x00" + password))
	}
	for _, addr := range s.front() {
		for _, data := range []string{
			"a AUTHENTICATE PLAIN " + strings.Repeat("QUJD", 16<<10) + "\r\n",
			"a AUTHENTICATE PLAIN\r\n" + strings.Repeat("QUJD", 16<<10) + "\r\n",
			"a AUTHENTICATE PLAIN\r\n" + strings.Repeat("QUJD", 1<<20) + "\r\n",
			"a AUTHENTICATE PLAIN\r\n*\r\n", "a AUTHENTICATE LOGIN\r\n*\r\n", "a AUTHENTICATE PLAIN =\r\n",
			"a AUTHENTICATE PLAIN !!!!\r\n", "a AUTHENTICATE PLAIN\r\n\r\n", "a AUTHENTICATE NOSUCH x\r\n",
			"a AUTHENTICATE LOGIN\r\nc29tZW9uZTE=\r\n*\r\n",
			"a AUTHENTICATE PLAIN " + plain("someone10", "someone2", "pass") + "\r\n",
			"a AUTHENTICATE PLAIN " + plain("someone1\r\n", "someone2", "master-secret") + "\r\n",
			"a AUTHENTICATE PLAIN " + plain("someone1", "evil\x00someone2", "master-secret") + "\r\n",
			"a AUTHENTICATE PLAIN " + plain("../someone1", "someone2", "master-secret") + "\r\n",
			"a AUTHENTICATE PLAIN " + plain("someone1", "nobody", "master-secret") + "\r\n",
			"a AUTHENTICATE PLAIN " + plain("someone1/x", "someone2", "master-secret") + "\r\n",
			"a AUTHENTICATE PLAIN " + plain("", "someone11*nobody", "master-secret") + "\r\n",
			"a AUTHENTICATE PLAIN " + plain("", "someone1*someone2*someone3", "master-secret") + "\r\n",
			strings.Repeat("a AUTHENTICATE PLAIN\r\n*\r\n", 100),
			"a AUTHENTICATE PLAIN " + plain("", "someone12", "wrong") + "\r\n",
		} {
			if out := s.cut(t, addr, "", data); strings.Contains(out, "a OK") || !strings.Contains(out, "a NO") && !strings.Contains(out, "a BAD") && !strings.Contains(out, "* BYE") {
				t.Errorf("%.80q: %q", data, tail([]byte(out), 300))
			}
		}
	}
}

func idFloods(t *testing.T, s *siege) {
	field := `"x-proxy-ttl" "250" "x-originating-ip" "10.0.0.1" "x-session-id" "evil" `
	for _, c := range []struct{ data, want string }{
		{strings.Repeat("i ID ("+strings.TrimSpace(field)+")\r\n", 1000) + "a LOGIN someone6 pass\r\n", "a OK"},
		{"a ID (" + strings.Repeat(`"k" "v" `, 31) + ")\r\n", "a BAD"},
		{`a ID ("k" "` + strings.Repeat("v", 1025) + "\")\r\n", "a BAD"},
		{`a ID ("` + strings.Repeat("k", 31) + "\" \"v\")\r\n", "a BAD"},
		{"a ID (\"k\" {30+}\r\n\"v\")\r\nevil LOGOUT\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00)\r\n", ""},
		{"a ID ({14+}\r\nk\r\nevil LOGOU \"v\" \"x-forward-evil\" \"\")\r\na LOGIN someone6 pass\r\nb SELECT shared/someone1/Work\r\n", ""},
	} {
		for _, addr := range s.front() {
			if out := s.talk(t, addr, "", c.data); !strings.Contains(out, c.want) || strings.Contains(out, "evil OK") {
				t.Errorf("%.80q: want %q: %q", c.data, c.want, tail([]byte(out), 300))
			}
		}
	}
}
