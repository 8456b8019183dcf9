package imapserver

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/roost-mail/roost/imap"
)

// selectInbox is a client that has selected ann's INBOX, with one message.
func selectInbox(t *testing.T) *testConn {
	ts := newTestServer(t, nil)
	appendTo(t, ts.mail.As("ann", false), imap.Inbox)
	c := dial(t, ts)
	_, _ = c.line()
	c.cmd("LOGIN ann secret")
	c.cmd("SELECT INBOX")
	return c
}

// TestArguments: every command refuses arguments that are none, and a line
// that ends too early, and leaves the session as it was.
func TestArguments(t *testing.T) {
	noArguments := []string{"CAPABILITY", "NOOP", "LOGOUT", "UNAUTHENTICATE", "NAMESPACE", "IDLE", "CHECK", "CLOSE", "UNSELECT", "EXPUNGE"}
	for name, r := range commandRows() {
		if r.states&selected == 0 {
			continue
		}
		t.Run(name, func(t *testing.T) {
			c := selectInbox(t)
			bad := []string{name + " (", name + " ", name + ` ""`, name + " )", name + ` "x`}
			if !slices.Contains(noArguments, name) {
				bad = append(bad, name)
			}
			for _, command := range bad {
				got := c.cmd(command)
				if !strings.HasPrefix(got[0], "t BAD ") && !takesEmptyName(command) {
					t.Errorf("%s: %q", command, got)
				}
			}
			if !takesEmptyName(name + ` ""`) {
				wantLines(t, c.cmd("UID SEARCH ALL"), "* SEARCH 1", "t OK …")
			}
		})
	}
}

// takesEmptyName: an empty string is a name like others, of no mailbox.
func takesEmptyName(command string) bool {
	name, rest, _ := strings.Cut(command, " ")
	return rest == `""` && slices.Contains([]string{"SELECT", "EXAMINE", "CREATE", "DELETE", "SUBSCRIBE", "UNSUBSCRIBE", "GETACL", "MYRIGHTS", "GETQUOTA", "GETQUOTAROOT"}, name)
}

// TestLimits: what a client can make a session hold has an end, and the answer
// is BAD.
func TestLimits(t *testing.T) {
	c := selectInbox(t)
	for _, row := range []struct{ name, command, want string }{
		{"sections", "FETCH 1 (" + strings.Repeat("BODY.PEEK[1] ", imap.MaxSections) + "BODY.PEEK[])", "Too many sections"},
		{"section depth", "FETCH 1 BODY[1" + strings.Repeat(".1", imap.MaxSectionDepth) + "]", "Section is too deep"},
		{"header fields", "FETCH 1 BODY[HEADER.FIELDS (a" + strings.Repeat(" a", imap.MaxSectionFields) + ")]", "Too many header fields"},
		{"search keys", "SEARCH ALL" + strings.Repeat(" ALL", imap.MaxSearchKeys), "Too many search keys"},
		{"search depth", "SEARCH" + strings.Repeat(" NOT", imap.MaxSearchDepth) + " ALL", "Search keys are nested too deep"},
		{"sort keys", "SORT (SIZE) UTF-8 ALL" + strings.Repeat(" ALL", imap.MaxSearchKeys), "Too many search keys"},
		{"thread depth", "THREAD REFS UTF-8" + strings.Repeat(" NOT", imap.MaxSearchDepth) + " ALL", "Search keys are nested too deep"},
		{"searched bodies", "SEARCH" + strings.Repeat(" BODY x", imap.MaxBodyKeys) + " TEXT x", "Too many keys that search bodies"},
		{"search lists", "SEARCH " + strings.Repeat("(", imap.MaxSearchDepth) + "ALL", "Search keys are nested too deep"},
		{"search text", "SEARCH BODY {8193+}\r\n" + strings.Repeat("x", imap.MaxSearchText+1), "Search text is too long"},
		{"set", "FETCH 1" + strings.Repeat(",1", imap.MaxSetRanges) + " FLAGS", "Sequence set has too many parts"},
		{"flags", "STORE 1 +FLAGS (a" + strings.Repeat(" a", maxFlags) + ")", "Too many flags"},
		{"flag", "STORE 1 +FLAGS (" + strings.Repeat("a", imap.MaxFlagLen+1) + ")", "Flag is too long"},
		{"pattern", `LIST "" ` + strings.Repeat("*", maxPattern+1), "Mailbox pattern is too long"},
		{"identifier", "SETACL INBOX " + strings.Repeat("a", imap.MaxIdentifier+1) + " lr", "Invalid identifier"},
		{"line", "NOOP " + strings.Repeat("a", 70_000), "end of line"},
		{"argument", "CREATE {70000+}\r\n" + strings.Repeat("a", 70_000), "Literal is too big"},
		{"arguments", "SEARCH" + strings.Repeat(" BODY {60000+}\r\n"+strings.Repeat("a", 60_000), 3), "Search text is too long"},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := c.cmd(row.command)
			if last := got[len(got)-1]; !strings.HasPrefix(last, "t BAD ") || !strings.Contains(last, row.want) {
				t.Errorf("%q", got)
			}
			wantLines(t, c.cmd("UID SEARCH ALL"), "* SEARCH 1", "t OK …")
		})
	}
}

// TestLSUB: what LSUB shows of subscriptions, \Noselect levels in parentheses.
func TestLSUB(t *testing.T) {
	for _, row := range []struct{ names, pattern, want string }{
		{"a a/b c/d/e", "*", "a a/b c/d/e"},
		{"a a/b c/d/e", "%", "a (c)"},
		{"a a/b c/d/e", "%/%", "a/b (c/d)"},
		{"a a/b c/d/e", "c/%", "(c/d)"},
		{"a a/b c/d/e", "c", ""},
		{"a a/b c/d/e", "c*", "c/d/e"},
		{"c/d c/e", "%", "(c)"},
		{"c/d c/e", "c/%", "c/d c/e"},
	} {
		var got []string
		for _, e := range matchSubscriptions(strings.Fields(row.names), row.pattern) {
			if len(e.Attrs) > 0 {
				e.Name = "(" + e.Name + ")"
			}
			got = append(got, e.Name)
		}
		if s := strings.Join(got, " "); s != row.want {
			t.Errorf("%s of %s: %q, want %q", row.pattern, row.names, s, row.want)
		}
	}
}

// TestRightGroups: where the virtual rights of RFC 4314 section 2.1.1 stand.
func TestRightGroups(t *testing.T) {
	for _, row := range []struct {
		required imap.Rights
		optional []imap.Rights
		want     string
	}{
		{0, []imap.Rights{imap.RightLookup, imap.RightCreate, imap.RightExpunge}, `|l|k|e|c|d`},
		{imap.AllRights, nil, `lrwstipekxacd`},
		{imap.RightLookup | imap.RightAdmin, []imap.Rights{imap.RightRead}, `la|r`},
		{imap.RightCreate, []imap.Rights{imap.RightDeleteMailbox, imap.RightDeleted}, `kc|x|t|d`},
	} {
		got := strings.Join(rightGroups(imap.GrantableRights{Required: row.required, Optional: row.optional}), "|")
		if got != row.want {
			t.Errorf("%s %v: %s, want %s", row.required, row.optional, got, row.want)
		}
	}
}

// Who has not logged in can't make us hold much; who has logged out by
// UNAUTHENTICATE neither.
func TestLiteralsBeforeLogin(t *testing.T) {
	c := dial(t, newTestServer(t, nil))
	_, _ = c.line()
	long := func(n int) string { return fmt.Sprintf(`{%d+}\r\n%s`, n, strings.Repeat("x", n)) }
	for range 2 {
		wantLines(t, c.cmd("LOGIN ann "+long(5000)), "t BAD [TOOBIG] …Literal is too big")
		wantLines(t, c.cmd("ID ("+strings.Repeat(`"a" `+long(1000)+" ", 10)+`"a" "b")`), "t BAD [TOOBIG] …")
		wantLines(t, c.cmd(`LOGIN ann {6+}\r\nsecret`), "t OK …")
		wantLines(t, c.cmd("STATUS "+long(60_000)+" (MESSAGES)"), "t NO …")
		wantLines(t, c.cmd("UNAUTHENTICATE"), "t OK …")
	}
}

// An address has so many connections that have not logged in, and no more; logins,
// other addresses and proxies of ours are not in the way.
func TestMaxLogins(t *testing.T) {
	ts := newTestServer(t, func(c *Config) {
		c.MaxLogins = func() int { return 2 }
		c.Trusted = func(a netip.Addr) bool { return a == netip.MustParseAddr("127.0.0.3") }
	})
	from := func(ip string) (net.Conn, *bufio.Reader) {
		t.Helper()
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
		c, err := d.Dial("tcp", ts.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c, bufio.NewReader(c)
	}
	refused := func() {
		t.Helper()
		_, r := from("127.0.0.1")
		wantLine(t, r, "* BYE [LIMIT] Too many connections from your address that have not logged in")
	}
	first, r := from("127.0.0.1")
	wantLine(t, r, "* OK …")
	second, r2 := from("127.0.0.1")
	wantLine(t, r2, "* OK …")
	refused()
	for range 3 {
		_, other := from("127.0.0.3")
		wantLine(t, other, "* OK …")
	}
	_, other := from("127.0.0.2")
	wantLine(t, other, "* OK …")
	sendLine(t, first, "a LOGIN ann secret")
	wantLine(t, r, "a OK …")
	_, r3 := from("127.0.0.1")
	wantLine(t, r3, "* OK …")
	refused()
	sendLine(t, second, "a LOGOUT")
	wantLine(t, r2, "* BYE …")
	wantLine(t, r2, "a OK …")
	if _, err := r2.ReadByte(); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	awaitWaiting(t, ts, 1)
	_, r4 := from("127.0.0.1")
	wantLine(t, r4, "* OK …")
}

// awaitWaiting waits until so many connections of one address are counted.
func awaitWaiting(t *testing.T, ts *testServer, want int) {
	t.Helper()
	for end := time.Now().Add(testTimeout); ; time.Sleep(time.Millisecond) { // nothing tells
		ts.mu.Lock()
		n := ts.waiting[netip.MustParsePrefix("127.0.0.1/32")]
		ts.mu.Unlock()
		switch {
		case n == want:
			return
		case time.Now().After(end):
			t.Fatalf("%d connections wait for a login", n)
		}
	}
}
