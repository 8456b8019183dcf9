package imapserver

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox/mailboxmem"
)

func isUser(name string) func(SessionInfo) bool {
	return func(i SessionInfo) bool { return i.User == name }
}

func everySession(SessionInfo) bool { return true }

var errMoved = imap.Wrap(imap.CodeUnavailable, "Your mail moves", errors.New("slot 7 is released"))

// namedUsers logs everybody in as who they say, each to empty mail; "bob*ann" is
// ann with her own rights on bob's mail.
func namedUsers() authFunc {
	return func(_ context.Context, _ *Client, cred Credentials) (*Login, error) {
		user, acting, _ := strings.Cut(cred.AuthID, "*")
		if user == "proxied" {
			return &Login{User: user, Proxy: echoProxy{make(chan struct{})}}, nil
		}
		return &Login{User: user, Acting: acting, Account: mailboxmem.New(user).As(user, false)}, nil
	}
}

// Sessions tells what each connection does.
func TestSessions(t *testing.T) {
	ts := newTestServer(t, func(c *Config) { c.Authenticator = namedUsers() })
	open := func(login string, commands ...string) {
		t.Helper()
		c := dial(t, ts)
		_, _ = c.line()
		if login != "" {
			c.cmd("LOGIN " + login + " secret")
		}
		for _, command := range commands {
			switch command {
			case "IDLE":
				c.send("t IDLE")
				wantLine(t, c.r, "+ …")
			case "echo": // who answers it has taken over
				c.send(command)
				wantLine(t, c.r, command)
			default:
				c.cmd(command)
			}
		}
	}
	open("")
	open("", `ID ("name" "x")`)
	open("carl")
	open("dora", "SELECT INBOX")
	open("emil", "SELECT INBOX", "CLOSE")
	open("fred", "SELECT INBOX", "IDLE")
	open("bob*ann", "NOOP")
	open("proxied", "echo")
	want := []string{
		" login  ",
		" login ID ",
		"bob/ann authenticated NOOP ",
		"carl/carl authenticated LOGIN ",
		"dora/dora selected SELECT ",
		"emil/emil authenticated CLOSE ",
		"fred/fred idle IDLE ",
		"proxied/proxied proxied LOGIN 192.0.2.9:143",
	}
	var got []string
	for i := range ts.Sessions() {
		user := i.User
		if user != "" {
			user += "/" + i.Acting
		}
		got = append(got, strings.Join([]string{user, string(i.State), i.Command, i.Backend}, " "))
		if i.ID == "" || i.Remote != i.Peer || !i.Peer.IsValid() || i.Since.IsZero() || i.At.Before(i.Since) {
			t.Errorf("%+v", i)
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// Those that End asks for are told why, in whatever state they are, and parked
// or not; the others notice nothing.
func TestEnd(t *testing.T) {
	for _, quiet := range []time.Duration{time.Millisecond, time.Hour} {
		ts := newTestServer(t, func(c *Config) {
			c.Authenticator, c.QuietTime, c.EndTime = namedUsers(), quiet, time.Minute
		})
		clients := map[string]*testConn{}
		for _, name := range []string{"greeted", "bob", "bob selected", "bob idle", "bob appending", "carl", "proxied"} {
			c := dial(t, ts)
			_, _ = c.line()
			clients[name] = c
			user, doing, _ := strings.Cut(name, " ")
			if name != "greeted" {
				c.cmd("LOGIN " + user + " secret")
			}
			if doing != "" {
				c.cmd("SELECT INBOX")
			}
			switch doing {
			case "idle":
				c.send("i IDLE")
				_, _ = c.line()
			case "appending":
				c.send("a APPEND INBOX {10}")
				_, _ = c.line()
			}
		}
		if n := ts.End(isUser("bob"), errMoved); n != 4 {
			t.Errorf("%d ended", n)
		}
		for name, c := range clients {
			switch {
			case strings.HasPrefix(name, "bob"):
				wantLine(t, c.r, "* BYE [UNAVAILABLE] Your mail moves")
				if line, err := c.line(); !errors.Is(err, io.EOF) {
					t.Errorf("%s: %q, %v", name, line, err)
				}
			case name == "proxied":
				c.send("x NOOP")
				wantLine(t, c.r, "x NOOP")
			default:
				wantLines(t, c.cmd("NOOP"), "t OK …")
			}
		}
		if n := ts.End(isUser("proxied"), errMoved); n != 1 {
			t.Errorf("%d proxied ended", n)
		}
		if line, err := clients["proxied"].line(); !errors.Is(err, io.EOF) {
			t.Errorf("proxied: %q, %v", line, err)
		}
		ts.End(everySession, imap.Errorf(imap.CodeNone, "[ALERT]\r\n* OK smuggled"))
		wantLine(t, clients["carl"].r, "* BYE  [ALERT]  * OK smuggled")
	}
}

// A session whose command does not end, and one whose client takes nothing, are
// cut off; to end them once more is nothing new.
func TestEndCutsOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		entered := make(chan struct{})
		srv := New(Config{Authenticator: authFunc(func(context.Context, *Client, Credentials) (*Login, error) {
			return &Login{User: "bob", Account: stuckAccount{mailboxmem.New("bob").As("bob", false), entered}}, nil
		})})
		start, ended := time.Now(), make(chan time.Duration, 2)
		serve := func() (net.Conn, *bufio.Reader) {
			client, server := net.Pipe()
			go func() {
				srv.ServeConn(context.Background(), server)
				ended <- time.Since(start)
			}()
			return client, bufio.NewReader(client)
		}
		stuck, r := serve()
		wantLine(t, r, "* OK …")
		sendLine(t, stuck, "a LOGIN bob secret")
		wantLine(t, r, "a OK …")
		sendLine(t, stuck, `b LIST "" *`)
		<-entered
		_, _ = serve() // whose greeting nobody takes
		synctest.Wait()
		var busy []string
		for i := range srv.Sessions() {
			if i.Busy {
				busy = append(busy, i.Command)
			}
		}
		if !slices.Equal(busy, []string{"LIST"}) {
			t.Errorf("busy: %q", busy)
		}
		if n := srv.End(everySession, errMoved); n != 2 {
			t.Errorf("%d ended", n)
		}
		if n := srv.End(everySession, errMoved); n != 0 {
			t.Errorf("%d ended twice", n)
		}
		for range 2 {
			if took := <-ended; took != 5*time.Second {
				t.Errorf("ended after %v", took)
			}
		}
	})
}

// EndOver ends sessions at an even rate, and stops when it is told to.
func TestEndOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := New(Config{Authenticator: namedUsers()})
		start := time.Now()
		ends := make(chan time.Duration, 20)
		for range cap(ends) {
			client, server := net.Pipe()
			r := bufio.NewReader(client)
			go srv.ServeConn(context.Background(), server)
			go func() {
				wantLine(t, r, "* OK …")
				wantLine(t, r, "* BYE [UNAVAILABLE] Your mail moves")
				ends <- time.Since(start)
				_ = client.Close()
			}()
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second+1)
		defer cancel()
		if n := srv.EndOver(ctx, time.Minute, everySession, errMoved); n != 10 {
			t.Errorf("%d of 20 ended in half the time", n)
		}
		for i := range 10 {
			from, to := time.Duration(i)*3*time.Second, time.Duration(i+1)*3*time.Second
			if at := <-ends; at < from || at > to {
				t.Errorf("the %dth ended after %v", i+1, at)
			}
		}
		srv.End(everySession, errMoved)
		for range 10 {
			<-ends
		}
		if n := srv.EndOver(context.Background(), time.Minute, everySession, errMoved); n != 0 {
			t.Errorf("%d ended of none", n)
		}
	})
}
