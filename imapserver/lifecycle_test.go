package imapserver

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/mailbox/mailboxmem"
)

// authFunc is an Authenticator.
type authFunc func(ctx context.Context, c *Client, cred Credentials) (*Login, error)

func (f authFunc) Login(ctx context.Context, c *Client, cred Credentials) (*Login, error) {
	return f(ctx, c, cred)
}

// annsMail logs everybody in to the same mail.
func annsMail() authFunc {
	mail := mailboxmem.New("ann")
	return func(context.Context, *Client, Credentials) (*Login, error) {
		return &Login{User: "ann", Account: mail.As("ann", false)}, nil
	}
}

// pipe serves one end of a pipe and gives the other. In a synctest bubble
// time passes only while both sides wait.
func pipe(t *testing.T, cfg Config) (client net.Conn, r *bufio.Reader) {
	client, server := net.Pipe()
	srv := New(cfg)
	done := make(chan struct{})
	go func() {
		defer close(done)
		srv.ServeConn(context.Background(), server)
	}()
	t.Cleanup(func() {
		_ = client.Close()
		<-done
	})
	return client, bufio.NewReader(client)
}

func wantLine(t *testing.T, r *bufio.Reader, pattern string) (line string) {
	t.Helper()
	line, err := r.ReadString('\n')
	if line = strings.TrimSuffix(line, "\r\n"); !matches(pattern, line) {
		t.Fatalf("got %q, %v; want %q", line, err, pattern)
	}
	return line
}

func sendLine(t *testing.T, w io.Writer, line string) {
	t.Helper()
	if _, err := io.WriteString(w, line+"\r\n"); err != nil {
		t.Fatal(err)
	}
}

// Each wait for a client has its end, and no client can draw it out.
func TestTimeouts(t *testing.T) {
	login := func(t *testing.T, c net.Conn, r *bufio.Reader) {
		wantLine(t, r, "* OK …")
		sendLine(t, c, "a LOGIN ann secret")
		wantLine(t, r, "a OK …")
	}
	for _, row := range []struct {
		name  string
		play  func(t *testing.T, c net.Conn, r *bufio.Reader)
		after time.Duration
		bye   string
	}{
		{"before the login", func(t *testing.T, c net.Conn, r *bufio.Reader) {
			wantLine(t, r, "* OK …")
		}, 3 * time.Minute, "* BYE Disconnected for inactivity."},
		{"before the login, busy", func(t *testing.T, c net.Conn, r *bufio.Reader) {
			wantLine(t, r, "* OK …")
			for range 5 {
				time.Sleep(30 * time.Second)
				sendLine(t, c, "a NOOP")
				wantLine(t, r, "a OK …")
			}
		}, 3 * time.Minute, "* BYE Disconnected for inactivity."},
		{"between commands", login, 30 * time.Minute, "* BYE Disconnected for inactivity."},
		{"within a command", func(t *testing.T, c net.Conn, r *bufio.Reader) {
			login(t, c, r)
			if _, err := io.WriteString(c, "a NO"); err != nil {
				t.Fatal(err)
			}
		}, 2 * time.Minute, "* BYE Disconnected for inactivity."},
		{"within a literal", func(t *testing.T, c net.Conn, r *bufio.Reader) {
			login(t, c, r)
			sendLine(t, c, "a APPEND INBOX {100}")
			wantLine(t, r, "+ OK")
			sendLine(t, c, "Subject: half a message")
		}, 2 * time.Minute, "* BYE Disconnected for inactivity."},
		{"idle", func(t *testing.T, c net.Conn, r *bufio.Reader) {
			login(t, c, r)
			sendLine(t, c, "a IDLE")
			wantLine(t, r, "+ idling")
			for range 14 {
				wantLine(t, r, "* OK Still here")
			}
		}, 30 * time.Minute, "* BYE Disconnected for inactivity."},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				c, r := pipe(t, Config{Authenticator: annsMail()})
				row.play(t, c, r)
				wantLine(t, r, row.bye)
				if took := time.Since(start); took != row.after {
					t.Errorf("ended after %v, want %v", took, row.after)
				}
			})
		})
	}
}

// A client that takes nothing is given up, after the time or up to a quarter later.
func TestWriteTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		server, client := net.Pipe()
		defer func() { _ = client.Close() }()
		New(Config{Authenticator: annsMail()}).ServeConn(context.Background(), server)
		if took := time.Since(start); took < 2*time.Minute || took > 150*time.Second {
			t.Errorf("ended after %v", took)
		}
	})
}

// An idle session hears of a change though nothing else happens: in a bubble,
// without a moment passing.
func TestIdleIsPrompt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mail := mailboxmem.New("ann")
		c, r := pipe(t, Config{Authenticator: authFunc(func(context.Context, *Client, Credentials) (*Login, error) {
			return &Login{User: "ann", Account: mail.As("ann", false)}, nil
		})})
		wantLine(t, r, "* OK …")
		sendLine(t, c, "a LOGIN ann secret")
		wantLine(t, r, "a OK …")
		sendLine(t, c, "b SELECT INBOX")
		for range 7 {
			wantLine(t, r, "* …")
		}
		wantLine(t, r, "b OK …")
		sendLine(t, c, "c IDLE")
		wantLine(t, r, "+ idling")
		start := time.Now()
		for n := range 100 {
			appendTo(t, mail.As("ann", false), imap.Inbox)
			wantLine(t, r, "* … EXISTS")
			wantLine(t, r, "* … RECENT")
			if n%10 == 0 {
				synctest.Wait()
			}
		}
		if time.Since(start) != 0 {
			t.Errorf("took %v", time.Since(start))
		}
		sendLine(t, c, "DONE")
		wantLine(t, r, "c OK …")
	})
}

// Shutdown says good-bye in every state and leaves no goroutine (TestMain).
func TestShutdown(t *testing.T) {
	ts := newTestServer(t, nil)
	greeted := dial(t, ts)
	_, _ = greeted.line()
	in := map[string]*testConn{"greeted": greeted}
	for _, state := range []string{"authenticated", "selected", "idle", "appending"} {
		c := dial(t, ts)
		_, _ = c.line()
		c.cmd("LOGIN ann secret")
		in[state] = c
	}
	in["selected"].cmd("SELECT INBOX")
	in["idle"].cmd("SELECT INBOX")
	in["idle"].send("a IDLE")
	_, _ = in["idle"].line()
	in["appending"].send("a APPEND INBOX {100}")
	_, _ = in["appending"].line()
	in["appending"].send("half")
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	defer cancel()
	if err := ts.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	for state, c := range in {
		if line, err := c.line(); line != "* BYE [UNAVAILABLE] Server shutting down" {
			t.Errorf("%s: %q, %v", state, line, err)
		}
		if line, err := c.line(); !errors.Is(err, io.EOF) {
			t.Errorf("%s: %q, %v", state, line, err)
		}
	}
	if err := ts.Shutdown(ctx); err != nil {
		t.Errorf("second time: %v", err)
	}
	late, server := net.Pipe()
	defer func() { _ = late.Close() }()
	go ts.ServeConn(context.Background(), server)
	wantLine(t, bufio.NewReader(late), "* BYE [UNAVAILABLE] Server shutting down")
}

// stuckAccount does not answer LIST until its context ends.
type stuckAccount struct {
	mailbox.Account
	entered chan struct{}
}

func (a stuckAccount) List(ctx context.Context, _ []string) ([]mailbox.ListEntry, error) {
	close(a.entered)
	<-ctx.Done()
	return nil, ctx.Err()
}

// What does not end by itself is cut off when Shutdown's patience is over.
func TestShutdownCutsOff(t *testing.T) {
	entered := make(chan struct{})
	ts := newTestServer(t, func(c *Config) {
		c.Authenticator = authFunc(func(context.Context, *Client, Credentials) (*Login, error) {
			return &Login{User: "ann", Account: stuckAccount{mailboxmem.New("ann").As("ann", false), entered}}, nil
		})
	})
	c := dial(t, ts)
	_, _ = c.line()
	c.cmd("LOGIN ann secret")
	c.send(`a LIST "" *`)
	<-entered
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := ts.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// echoProxy sends back what it gets.
type echoProxy struct{ ran chan struct{} }

func (echoProxy) OK() ([]string, string) {
	return []string{"IMAP4rev1", "X-BACKEND"}, "Proxied"
}

func (echoProxy) Close() error { return nil }

func (echoProxy) Status() ProxyStatus { return ProxyStatus{Backend: "192.0.2.9:143"} }

func (p echoProxy) Run(ctx context.Context, client net.Conn, buffered []byte, ended func(Result)) {
	go func() {
		defer close(p.ran)
		ended(echo(ctx, client, buffered))
	}()
}

func echo(ctx context.Context, client net.Conn, buffered []byte) Result {
	stop := context.AfterFunc(ctx, func() { _ = client.SetReadDeadline(longAgo) })
	defer stop()
	n, _ := client.Write(buffered)
	m, err := io.Copy(client, client)
	reason := "Client is gone"
	if err != nil {
		reason = "Told to stop"
	}
	return Result{BytesIn: m + int64(n), BytesOut: m + int64(n), Reason: reason}
}

// A login may hand the connection on, with whatever the client has sent.
func TestProxy(t *testing.T) {
	for _, end := range []string{"client", "shutdown"} {
		t.Run(end, func(t *testing.T) {
			proxy := echoProxy{make(chan struct{})}
			ts := newTestServer(t, func(c *Config) {
				c.Log = logTo(t)
				c.Authenticator = authFunc(func(context.Context, *Client, Credentials) (*Login, error) {
					return &Login{User: "ann", Proxy: proxy}, nil
				})
			})
			c := dial(t, ts)
			_, _ = c.line()
			pipelined := strings.Repeat("b NOOP\r\n", 50)
			c.send("a LOGIN ann secret\r\n" + pipelined + `c\`)
			if line, _ := c.line(); line != "a OK [CAPABILITY IMAP4rev1 X-BACKEND] Proxied" {
				t.Error(line)
			}
			c.send("1")
			for range 50 {
				if line, err := c.line(); line != "b NOOP" {
					t.Fatal(line, err)
				}
			}
			if line, _ := c.line(); line != "c1" {
				t.Error(line)
			}
			if end == "client" {
				_ = c.CloseWrite()
				<-proxy.ran
			}
		})
	}
}

// What a trusted peer forwards by ID reaches the Authenticator; of others only
// the session id for the log.
func TestForwardedByID(t *testing.T) {
	const id = `ID ("x-session-id" "abc" "x-originating-ip" "192.0.2.7" "x-originating-port" "1234"` +
		` "x-connected-ip" "2001:db8::1%evil" "x-connected-port" "99999" "x-proxy-ttl" "3"` +
		` "X-Forward-Nopassword" "y` + "\\t" + `" "x-session-ext-id" "e` + "\\xc3\\xa9" + ` x" "name" "x")`
	for _, trusted := range []bool{true, false} {
		var got Client
		ts := newTestServer(t, func(c *Config) {
			c.Trusted = func(netip.Addr) bool { return trusted }
			c.Authenticator = authFunc(func(_ context.Context, c *Client, _ Credentials) (*Login, error) {
				got = *c
				return nil, imap.Errorf(imap.CodeAuthenticationFailed, "no")
			})
		})
		c := dial(t, ts)
		_, _ = c.line()
		c.cmd(id)
		c.cmd(`ID ("x-originating-ip" "192.0.2.8" "x-session-ext-id" "late")`) // only the first counts
		c.cmd("LOGIN ann secret")
		if got.ExternalSessionID != "e??x" {
			t.Errorf("external session id is %q", got.ExternalSessionID)
		}
		if !trusted {
			if got.Remote != got.Peer || got.SessionID == "abc" || got.Forwarded != nil || got.ProxyTTL != 3 {
				t.Errorf("not trusted, but believed: %+v", got)
			}
			continue
		}
		if got.SessionID != "abc" || got.Remote.String() != "192.0.2.7:1234" || got.Connected.String() != "[2001:db8::1]:0" ||
			got.ProxyTTL != 3 || got.Forwarded["nopassword"] != "y\t" || len(got.Forwarded) != 1 {
			t.Errorf("%+v", got)
		}
	}
}

// panicAccount is our own bug.
type panicAccount struct{ mailbox.Account }

func (panicAccount) Create(context.Context, string, ...imap.Attr) error { panic("own bug") }

// A panic ends its connection and no other.
func TestPanic(t *testing.T) {
	ts := newTestServer(t, func(c *Config) {
		c.Authenticator = authFunc(func(context.Context, *Client, Credentials) (*Login, error) {
			return &Login{User: "ann", Account: panicAccount{mailboxmem.New("ann").As("ann", false)}}, nil
		})
	})
	c, other := dial(t, ts), dial(t, ts)
	_, _ = c.line()
	_, _ = other.line()
	c.cmd("LOGIN ann secret")
	c.send("a CREATE x")
	if line, _ := c.line(); line != "* BYE [SERVERBUG] Internal error" {
		t.Error(line)
	}
	other.cmd("NOOP")
}

// rawLog is one half of a raw log.
type rawLog struct {
	mu     sync.Mutex
	text   strings.Builder
	closed chan struct{}
}

func (l *rawLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *rawLog) Close() error {
	close(l.closed)
	return nil
}

// The raw log has what comes after the login, and no password.
func TestRawLog(t *testing.T) {
	in, out := &rawLog{closed: make(chan struct{})}, &rawLog{closed: make(chan struct{})}
	ts := newTestServer(t, nil)
	ts.rawIn, ts.rawOut = in, out
	c := dial(t, ts)
	_, _ = c.line()
	c.cmd("LOGIN ann secret")
	c.cmd("NOOP")
	c.cmd("LOGOUT")
	<-in.closed
	<-out.closed
	if got := in.text.String(); got != "t NOOP\r\nt LOGOUT\r\n" {
		t.Errorf("in: %q", got)
	}
	if got := out.text.String(); !strings.HasSuffix(got, "t OK NOOP completed.\r\n* BYE Logging out\r\nt OK Logout completed.\r\n") {
		t.Errorf("out: %q", got)
	}
}

// failingListener has no file descriptors left, some times.
type failingListener struct {
	net.Listener
	mu       sync.Mutex
	failures int
}

func (l *failingListener) Accept() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failures > 0 {
		l.failures--
		return nil, errors.New("too many open files")
	}
	return l.Listener.Accept()
}

// A failed Accept is tried again; the end of the context ends Serve.
func TestServeGoesOn(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := New(Config{Authenticator: annsMail(), MaxConnections: 1})
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ctx, &failingListener{Listener: ln, failures: 3}) }()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	wantLine(t, bufio.NewReader(c), "* OK …")
	second, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = second.Close() }()
	wantLine(t, bufio.NewReader(second), "* BYE [UNAVAILABLE] Too many connections")
	cancel()
	if err := <-served; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := srv.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
}
