package director

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapserver"
)

// moving is a Locator whose answers are listed; the last one stays. It keeps what
// it was asked.
type moving struct {
	mu      sync.Mutex
	answers []cluster.Backend
	asked   []cluster.Query
}

func (m *moving) Locate(ctx context.Context, q cluster.Query) (cluster.Backend, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked = append(m.asked, q)
	if err := ctx.Err(); err != nil {
		return cluster.Backend{}, imap.Wrap(imap.CodeUnavailable, "No server for this user now", err)
	}
	b := m.answers[0]
	if len(m.answers) > 1 {
		m.answers = m.answers[1:]
	}
	return b, nil
}

func (m *moving) queries() []cluster.Query {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.asked)
}

// at is a backend as the map of a revision has it.
func at(name string, addr netip.AddrPort, revision cluster.Revision) cluster.Backend {
	return cluster.Backend{Name: name, IP: addr.Addr(), Port: addr.Port(), Revision: revision}
}

func someClient() *imapserver.Client {
	return &imapserver.Client{
		SessionID: "S1", ProxyTTL: 5,
		Remote:    netip.MustParseAddrPort("192.0.2.7:4000"),
		Connected: netip.MustParseAddrPort("192.0.2.1:143"),
	}
}

// through connects alice by a Director for which wait is all the time.
func through(t *testing.T, l cluster.Locator, wait time.Duration, reconnects int) (imapserver.Proxy, error) {
	t.Helper()
	d := New(Config{Locator: l, Log: slog.New(slog.DiscardHandler), Timeout: wait, Reconnects: reconnects})
	d.pause = time.Millisecond
	p, err := d.Connect(t.Context(), someClient(), Route{User: "alice", AuthID: "alice", Password: "secret"})
	if err == nil {
		t.Cleanup(func() { _ = p.Close() })
	}
	return p, err
}

// noBackend is an address where nobody listens.
func noBackend(t *testing.T) netip.AddrPort {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return netip.MustParseAddrPort(ln.Addr().String())
}

const (
	askedAt7 = greeting + "C: ID (\"name\" \"Roost\" \"x-connected-ip\" \"192.0.2.1\" \"x-connected-port\" \"143\" " +
		"\"x-originating-ip\" \"192.0.2.7\" \"x-originating-port\" \"4000\" \"x-proxy-ttl\" \"4\" \"x-roost-revision\" \"7\"*\nTAG OK\n" +
		"C: AUTHENTICATE PLAIN *\n"
	letsIn = greeting + "C: ID (*\nTAG OK\nC: AUTHENTICATE PLAIN *\nTAG OK [CAPABILITY IMAP4rev1] in\n"
)

// A user who has moved is found, though the map that the director looked at was
// old; so is one whose backend has died, or is stopped, at whatever moment.
func TestFollowsTheUser(t *testing.T) {
	for _, row := range []struct {
		name, script string
		after        cluster.Revision // that is asked for next
		times        int              // that b1 is asked
	}{
		{"moved", askedAt7 + "TAG NO [X-ROOST-MOVED 9 b2] elsewhere\n", 9, 1},
		{"moved, and nobody has the user yet", askedAt7 + "TAG NO [X-ROOST-MOVED 9 -] elsewhere\n", 9, 1},
		{"moved, by an older map than ours", askedAt7 + "TAG NO [X-ROOST-MOVED 3 b2] elsewhere\n", 7, 1},
		{"dead", "", 7, 1},
		{"stopped", "HANG\n", 7, 1},
		{"dies at the greeting", "CLOSE\n", 7, 1},
		{"ends", "* BYE [UNAVAILABLE] Server shutting down\n", 7, 1},
		{"dies before the login", greeting + "CLOSE\n", 7, 1},
		{"dies in the login", askedAt7 + "CLOSE\n", 7, 1},
		{"ends in the login", askedAt7 + "* BYE [UNAVAILABLE] Server shutting down\nCLOSE\n", 7, 1},
		{"loses its lease", askedAt7 + "TAG NO [UNAVAILABLE] not now\n", 7, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			wait := time.Minute
			if row.name == "stopped" {
				wait = 3 * time.Second // a third of which it is given
			}
			b1 := noBackend(t)
			if row.script != "" {
				b1 = backend(t, row.script)
			}
			l := &moving{answers: []cluster.Backend{at("b1", b1, 7), at("b2", backend(t, letsIn), 9)}}
			p, err := through(t, l, wait, 3)
			if err != nil {
				t.Fatal(err)
			}
			if b := p.Status().Backend; b != l.answers[0].Addr(0).String() {
				t.Errorf("logged in at %s", b)
			}
			want := []cluster.Query{{User: "alice"}, {User: "alice", After: row.after, Refused: "b1"}}
			if got := l.queries(); !slices.Equal(got, want) {
				t.Errorf("asked %+v", got)
			}
		})
	}
}

// What only looks like the word of a backend that knows better is a refusal like
// any other, and final.
func TestMovedIsReadStrictly(t *testing.T) {
	for _, answer := range []string{
		"NO [X-ROOST-MOVED] x", "NO [X-ROOST-MOVED 9] x", "NO [X-ROOST-MOVED b2 9] x", "NO [X-ROOST-MOVED -9 b2] x",
		"NO [X-ROOST-MOVED +9 b2] x", "NO [X-ROOST-MOVED 09 b2] x", "NO [X-ROOST-MOVED 0 b2] x", "NO [X-ROOST-MOVED 9 b2 b3] x",
		"NO [X-ROOST-MOVED 9223372036854775808 b2] x", "NO [X-ROOST-MOVED 9  b2] x", "NO [X-ROOST-MOVED 0x9 b2] x",
		"NO X-ROOST-MOVED 9 b2", "BAD [X-ROOST-MOVED 9 b2] x",
	} {
		l := &moving{answers: []cluster.Backend{at("b1", backend(t, askedAt7+"TAG "+answer+"\n"), 7)}}
		_, err := through(t, l, time.Minute, 3)
		if imap.CodeOf(err) != imap.CodeUnavailable || len(l.queries()) != 1 {
			t.Errorf("%s: asked %d times: %v", answer, len(l.queries()), err)
		}
	}
	// Without a coordinator nobody asks for it.
	l := &moving{answers: []cluster.Backend{at("b1", backend(t, greeting+"C: ID (*\nTAG OK\nC: AUTHENTICATE PLAIN *\nTAG NO [X-ROOST-MOVED 9 b2] x\n"), 0)}}
	if _, err := through(t, l, time.Minute, 3); imap.CodeOf(err) != imap.CodeUnavailable || len(l.queries()) != 1 {
		t.Errorf("static: asked %d times: %v", len(l.queries()), err)
	}
}

// crowd is a backend that plays a script with everyone who comes.
func crowd(t *testing.T, script string) netip.AddrPort {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var players sync.WaitGroup
	t.Cleanup(func() { ln.Close(); players.Wait() })
	players.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			players.Go(func() { playLoose(conn, script) })
		}
	})
	return netip.MustParseAddrPort(ln.Addr().String())
}

// playLoose says the lines of a script, and waits for a line where there is "C:";
// DRIP has the rest come byte by byte, REPEAT says the next line a million times.
func playLoose(conn net.Conn, script string) {
	defer conn.Close()
	r, tag, drip := bufio.NewReader(conn), "", false
	for line := range strings.Lines(script) {
		line = strings.TrimSpace(line)
		switch {
		case line == "":
			continue
		case line == "DRIP":
			drip = true
			continue
		case strings.HasPrefix(line, "C:"):
			got, err := r.ReadString('\n')
			if err != nil {
				return
			}
			tag, _, _ = strings.Cut(got, " ")
			continue
		}
		line = strings.ReplaceAll(line, "TAG", tag)
		line = strings.ReplaceAll(line, "MEGABYTE", strings.Repeat("x ", 500_000)) + "\r\n"
		for len(line) > 0 {
			n := len(line)
			if drip {
				n = 1
				time.Sleep(5 * time.Millisecond) // the peer's, not the test's
			}
			if _, err := io.WriteString(conn, line[:n]); err != nil {
				return
			}
			line = line[n:]
		}
	}
	_, _ = io.Copy(io.Discard, r)
}

// A backend can't hold a login longer than the deadline, or make the director hold
// much, whatever it does at whichever step, in a cluster and without.
func TestHostileBackends(t *testing.T) {
	login := greeting + "C: ID\n* ID NIL\nTAG OK\nC: AUTH\n"
	for name, script := range map[string]string{
		"silent":                          "",
		"silent after the greeting":       "* OK hello\nC: CAPABILITY\n",
		"silent after the capabilities":   greeting,
		"silent after ID":                 greeting + "C: ID\nTAG OK\n",
		"silent in the login":             login,
		"asks again and again":            login + "+ \nC:\n+ \nC:\n+ \nC:\n",
		"answers the login, never the ID": greeting + "C: ID\nC: AUTH\nTAG OK [CAPABILITY IMAP4rev1] in\n",
		"silent after the login":          login + "TAG OK in\nC: CAPABILITY\n",
		"drips":                           "DRIP\n* OK [CAPABILITY IMAP4rev1 ID AUTH=PLAIN] " + strings.Repeat("hello ", 1000) + "\n",
		"drips whole lines":               login + "DRIP\n" + strings.Repeat("* OK hello\n", 1000),
		"a greeting of a megabyte":        "* OK MEGABYTE\n",
		"capabilities of a megabyte":      "* OK [CAPABILITY IMAP4rev1 MEGABYTE] hello\n",
		"an answer of a megabyte":         login + "TAG OK [CAPABILITY MEGABYTE] in\n",
		"a literal of a gigabyte":         greeting + "C: ID\n* ID (\"x\" {1000000000}\nMEGABYTE\n",
		"other commands' answers":         login + "R77 OK in\n",
		"moved for ever":                  login + "TAG NO [X-ROOST-MOVED 9 b2] elsewhere\n",
		"moved into the future":           login + "TAG NO [X-ROOST-MOVED 9223372036854775807 b2] elsewhere\n",
		"logs us in before we ask":        "* PREAUTH [CAPABILITY IMAP4rev1 ID AUTH=PLAIN] hello\nC: ID\nTAG OK\nC: AUTH\nTAG BAD already\n",
	} {
		for _, revision := range []cluster.Revision{0, 7} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				l := &moving{answers: []cluster.Backend{at("b1", crowd(t, script), revision)}}
				_, err := through(t, l, 300*time.Millisecond, 0)
				e, ok := errors.AsType[*imap.Error](err)
				if !ok || e.Code != imap.CodeUnavailable || e.Text != "Account is temporarily unavailable." {
					t.Errorf("%v", err)
				}
				if n := len(l.queries()); n > 30 {
					t.Errorf("%d attempts", n)
				}
			})
		}
	}
}

// Without a coordinator a backend that restarts is tried again, as often as is set;
// one that says that the password is wrong is not.
func TestReconnects(t *testing.T) {
	for _, row := range []struct {
		name, script string
		want         int
	}{
		{"dead", "", 3},
		{"closes", "CLOSE\n", 3},
		{"unavailable", letsInWith("NO [UNAVAILABLE] x"), 3},
		{"wrong password", letsInWith("NO [AUTHENTICATIONFAILED] x"), 1},
		{"limit", letsInWith("NO [LIMIT] x"), 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			addr := noBackend(t)
			if row.script != "" {
				addr = crowd(t, row.script)
			}
			l := &moving{answers: []cluster.Backend{at("b1", addr, 0)}}
			if _, err := through(t, l, time.Minute, 2); err == nil || len(l.queries()) != row.want {
				t.Errorf("%d attempts, %v", len(l.queries()), err)
			}
		})
	}
}

func letsInWith(answer string) string {
	return greeting + "C: ID\nTAG OK\nC: AUTH\nTAG " + answer + "\n"
}

// The fields of a passdb that say how to talk to the backend.
func TestRouteFields(t *testing.T) {
	const in = "TAG OK [CAPABILITY IMAP4rev1] in\n"
	for _, row := range []struct {
		name, script string
		route        func(*Route)
	}{
		{"proxy_not_trusted", greeting + "C: AUTHENTICATE PLAIN *\n" + in, func(r *Route) { r.Silent = true }},
		{"proxy_nopipelining", greeting + "C: ID (*\n* ID NIL\nTAG OK\nC: AUTHENTICATE PLAIN *\n" + in, func(r *Route) { r.OneByOne = true }},
		{
			"forward_tenant", greeting + "C: ID (\"name\" \"Roost\" \"x-connected-ip\" \"192.0.2.1\" \"x-connected-port\" \"143\" \"x-forward-tenant\" \"t1\"*\nTAG OK\nC: AUTHENTICATE PLAIN *\n" + in,
			func(r *Route) { r.Forward = map[string]string{"tenant": "t1"} },
		},
		{"source_ip", letsIn, func(r *Route) { r.Source = netip.MustParseAddr("127.0.0.9") }},
		{"hostip", letsIn, func(r *Route) {
			r.Host, r.HostIP = "no-such-host.invalid", netip.MustParseAddr("127.0.0.1")
		}},
		{"proxy_mech, not offered", "* OK [CAPABILITY IMAP4rev1] hi\n", func(r *Route) { r.PlainOnly = true }},
	} {
		t.Run(row.name, func(t *testing.T) {
			addr := backend(t, row.script)
			r := Route{User: "alice", AuthID: "alice", Password: "secret", Port: addr.Port()}
			row.route(&r)
			d := New(Config{Locator: fixed{addr}, Log: slog.New(slog.DiscardHandler), Timeout: time.Minute})
			p, err := d.Connect(t.Context(), someClient(), r)
			if strings.Contains(row.name, "not offered") {
				if imap.CodeOf(err) != imap.CodeUnavailable {
					t.Errorf("%v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			conn, _ := p.(*proxied).conn.Detach()
			defer conn.Close()
			if from := conn.LocalAddr().String(); row.name == "source_ip" && !strings.HasPrefix(from, "127.0.0.9:") {
				t.Errorf("from %s", from)
			}
		})
	}
}

// delay_until holds a login until then, and no longer than the client is there.
func TestNotBefore(t *testing.T) {
	d := New(Config{Locator: fixed{backend(t, letsIn)}, Log: slog.New(slog.DiscardHandler), Timeout: time.Minute})
	r := Route{User: "alice", AuthID: "alice", Password: "secret", NotBefore: time.Now().Add(50 * time.Millisecond)}
	p, err := d.Connect(t.Context(), someClient(), r)
	if err != nil || time.Now().Before(r.NotBefore) {
		t.Fatal("too early", err)
	}
	_ = p.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r.NotBefore = time.Now().Add(time.Hour)
	if _, err := d.Connect(ctx, someClient(), r); imap.CodeOf(err) != imap.CodeUnavailable {
		t.Error(err)
	}
}

// proxyAll sends every login on.
type proxyAll struct{ d *Director }

func (p proxyAll) Login(ctx context.Context, c *imapserver.Client, cred imapserver.Credentials) (*imapserver.Login, error) {
	proxy, err := p.d.Connect(ctx, c, Route{User: cred.AuthID, AuthID: cred.AuthID, Password: cred.Password})
	if err != nil {
		return nil, err
	}
	return &imapserver.Login{User: cred.AuthID, Proxy: proxy}, nil
}

// What a client sends while its login waits reaches the backend it comes to, whole
// and in order, and no other.
func TestPipeliningDuringTheWait(t *testing.T) {
	const commands = 20_000
	b2 := greeting + "C: ID (*\nTAG OK\nC: AUTHENTICATE PLAIN *\nTAG OK [CAPABILITY IMAP4rev1] in\n" +
		"C: NOOP 0*\nC: NOOP 1*\nC: NOOP 2*\nTAG OK\n"
	l := &moving{answers: []cluster.Backend{
		at("b1", noBackend(t), 7), at("b1", noBackend(t), 7), at("b1", crowd(t, letsInWith("NO [X-ROOST-MOVED 8 b2] x")), 7), at("b2", backend(t, b2), 8),
	}}
	d := New(Config{Locator: l, Log: slog.New(slog.DiscardHandler), Timeout: time.Minute})
	srv := imapserver.New(imapserver.Config{Authenticator: proxyAll{d}})
	client, front := tcpPair(t)
	served := make(chan struct{})
	go func() { srv.ServeConn(context.Background(), front); close(served) }()
	var said strings.Builder
	said.WriteString("a LOGIN alice secret\r\n")
	for n := range commands {
		said.WriteString("c NOOP " + string(rune('0'+min(n, 3))) + strings.Repeat("x", 20) + "\r\n")
	}
	go func() { _, _ = io.WriteString(client, said.String()) }()
	r := bufio.NewReader(client)
	for _, want := range []string{"* OK ", "a OK ", "c OK"} {
		if line, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(line, want) {
			t.Fatalf("%q, %v; want %q", line, err, want)
		}
	}
	client.Close()
	<-served
}
