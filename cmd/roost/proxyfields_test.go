package main

import (
	"bytes"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/roost-mail/roost/auth"
	"github.com/roost-mail/roost/config"
	"github.com/roost-mail/roost/director"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapclient"
	"github.com/roost-mail/roost/imapserver"
)

// lockedLog is a log that is read while it is written.
type lockedLog struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lockedLog) count(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), what)
}

// TestProxyFields: what each field of a passdb makes of a login.
func TestProxyFields(t *testing.T) {
	until := strconv.FormatInt(time.Now().Add(time.Minute).Unix(), 10)
	for _, row := range []struct {
		fields string // "bad" as the first word: the login is UNAVAILABLE
		check  func(r director.Route) bool
	}{
		{"proxy=y", func(r director.Route) bool {
			return r.User == "alice" && r.AuthID == "alice" && r.Password == "secret" && r.Host == "" && r.Security == imapclient.Plain
		}},
		{"host=be1.example port=1143", func(r director.Route) bool { return r.Host == "be1.example" && r.Port == 1143 }},
		{"host=be1.example hostip=192.0.2.9", func(r director.Route) bool { return r.Host == "be1.example" && r.HostIP.String() == "192.0.2.9" }},
		{"hostip=192.0.2.9", func(r director.Route) bool { return r.Host == "192.0.2.9" }},
		{"pass=other", func(r director.Route) bool { return r.Password == "other" }},
		{"master=root pass=other", func(r director.Route) bool { return r.User == "alice" && r.AuthID == "root" && r.Password == "other" }},
		{"destuser=alice2", func(r director.Route) bool { return r.User == "alice2" && r.AuthID == "alice2" }},
		{"starttls=y", nil},
		{"starttls=yes", func(r director.Route) bool { return r.Security == imapclient.StartTLS && !r.AnyCert }},
		{"ssl=any-cert", func(r director.Route) bool { return r.Security == imapclient.ImplicitTLS && r.AnyCert }},
		{"director_tag=east", func(r director.Route) bool { return r.Tag == "east" }},
		{"proxy_timeout=12", func(r director.Route) bool { return r.Timeout == 12*time.Second }},
		{"source_ip=192.0.2.3", func(r director.Route) bool { return r.Source.String() == "192.0.2.3" }},
		{"proxy_not_trusted=y", func(r director.Route) bool { return r.Silent }},
		{"proxy_not_trusted=no", func(r director.Route) bool { return !r.Silent }},
		{"proxy_nopipelining=y", func(r director.Route) bool { return r.OneByOne }},
		{"proxy_mech=plain", func(r director.Route) bool { return r.PlainOnly }},
		{"forward_tenant=t1", func(r director.Route) bool { return r.Forward["tenant"] == "t1" }},
		{"delay_until=" + until, func(r director.Route) bool { return strconv.FormatInt(r.NotBefore.Unix(), 10) == until }},
		{"delay_until=" + until + "+30", func(r director.Route) bool { return time.Until(r.NotBefore) < 91*time.Second }},
		{"delay_until=1", func(r director.Route) bool { return r.NotBefore.Unix() == 1 }},
		{"delay_until=" + strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10), nil},
		{"delay_until=" + until + "+3000", nil},
		{"delay_until=" + until + "+-1", nil},
		{"delay_until=soon", nil},
		{"port=143x", nil},
		{"hostip=be1", nil},
		{"source_ip=be1", nil},
		{"proxy_timeout=0", nil},
		{"proxy_timeout=1000", nil},
		{"proxy_timeout=5s", nil},
		{"proxy_mech=GSSAPI", nil},
		{"proxy_noauth=y proxy_refresh=1", func(director.Route) bool { return true }},
	} {
		t.Run(row.fields, func(t *testing.T) {
			log := &lockedLog{}
			n := &node{parts: &parts{log: slog.New(slog.NewTextHandler(log, nil))}, set: &config.Settings{TLS: config.TLS{VerifyServers: true}}}
			res := &auth.Result{User: "alice", Acting: "alice", Fields: auth.Fields{}}
			for word := range strings.FieldsSeq(row.fields) {
				name, value, _ := strings.Cut(word, "=")
				res.Fields[name] = value
			}
			r, err := n.route(imapserver.Credentials{Password: "secret"}, res)
			if (err != nil) != (row.check == nil) {
				t.Fatalf("%+v, %v", r, err)
			}
			if err == nil && !row.check(r) {
				t.Errorf("%+v", r)
			}
			if log.count("unknown field") > 0 {
				t.Error("warned")
			}
		})
	}
}

// A field that nobody knows is told of once.
func TestUnknownProxyField(t *testing.T) {
	log := &lockedLog{}
	n := &node{parts: &parts{log: slog.New(slog.NewTextHandler(log, nil))}, set: &config.Settings{}}
	for _, user := range []string{"alice", "bob", "alice"} {
		res := &auth.Result{User: user, Acting: user, Fields: auth.Fields{"proxy": "y", "proxy_tmeout": "5"}}
		if _, err := n.route(imapserver.Credentials{}, res); err != nil {
			t.Fatal(err)
		}
	}
	if log.count("proxy_tmeout") != 1 {
		t.Errorf("told %d times", log.count("proxy_tmeout"))
	}
}

// TestProxyFieldsInACluster: logins as passdb entries have them, to real backends.
func TestProxyFieldsInACluster(t *testing.T) {
	r := startRigWith(t, "rig", func(r *rig) {
		port := strconv.Itoa(r.port)
		appendTo(t, filepath.Join(r.root, "etc/users.director"), strings.ReplaceAll(`
alias:{PLAIN}pass::::::proxy=y host=127.0.1.11 port=PORT destuser=someone1
lent:{PLAIN}mine::::::proxy=y port=PORT destuser=someone2 pass=pass
boss:{PLAIN}pass::::::proxy=y port=PORT destuser=someone1 master=someone3 pass=master-secret
away:{PLAIN}pass::::::proxy=y nologin=y reason=Moved.
quiet:{PLAIN}pass::::::proxy=y port=PORT destuser=someone2 proxy_not_trusted=y proxy_nopipelining=y proxy_mech=PLAIN source_ip=127.0.1.9
later:{PLAIN}pass::::::proxy=y port=PORT destuser=someone1 delay_until=1+1
here:{PLAIN}pass::::::proxy_maybe=y host=127.0.1.1 port=PORT
there:{PLAIN}pass::::::proxy_maybe=y host=127.0.1.11 port=PORT destuser=someone1
broken:{PLAIN}pass::::::proxy=y port=PORT destuser=someone1 proxy_timeout=soon
`, "PORT", port))
	})
	for _, row := range []struct{ user, password, node, there, want string }{
		{"alias", "pass", "be1", "someone1", "OK"},
		{"lent", "mine", "be2", "someone2", "OK"},
		{"boss", "pass", "be1", "someone1", "OK"},
		{"away", "pass", "", "", "NO [AUTHORIZATIONFAILED] Moved."},
		{"quiet", "pass", "be2", "someone2", "OK"},
		{"later", "pass", "be1", "someone1", "OK"},
		{"here", "pass", "", "", "NO [AUTHORIZATIONFAILED]"}, // this director has no mail of that user
		{"there", "pass", "be1", "someone1", "OK"},
		{"broken", "pass", "", "", "NO [UNAVAILABLE]"},
	} {
		c := dialIMAP(t, r.address())
		c.command("LOGIN " + row.user + " " + row.password)
		c.expect(row.want)
		if row.node != "" {
			checkProxied(t, r, c, row.user, row.node, row.there)
		}
		c.close()
	}
}

// checkProxied looks for a session at the director and at the backend.
func checkProxied(t *testing.T, r *rig, c *imapConn, user, node, there string) {
	t.Helper()
	local := c.conn.LocalAddr().(*net.TCPAddr).AddrPort()
	want := net.JoinHostPort(rigAddrs[node], strconv.Itoa(r.port))
	awaitSession(t, r.nodes["director"], func(i *imapserver.SessionInfo) bool {
		return i.Remote == local && i.User == user && i.State == "proxied" && i.Backend == want
	})
	awaitSession(t, r.nodes[node], func(i *imapserver.SessionInfo) bool {
		silent := user == "quiet" && i.Remote == i.Peer && i.Peer.Addr().String() == "127.0.1.9"
		return i.User == there && (i.Remote == local || silent)
	})
}

// awaitSession waits for a session of a node: clients have their answer before its
// state is shown.
func awaitSession(t *testing.T, n *node, like func(*imapserver.SessionInfo) bool) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		for i := range n.imap.Sessions() {
			if like(&i) {
				return
			}
		}
	}
	t.Errorf("no such session: %+v", slices.Collect(n.imap.Sessions()))
}

// Two directors that send a user to each other find out, and no login hangs.
func TestDirectorsThatLoop(t *testing.T) {
	r := startRigWith(t, "rig", func(r *rig) {
		for name, to := range map[string]string{"director": "be1", "be1": "director"} {
			r.files[name] = filepath.Join(r.root, name, "loop.conf")
			writeFile(t, r.files[name], strings.Replace(rigFile(t, "testdata/rig/director.conf", r.root, name, r.port),
				"director_mail_servers = 127.0.1.11 127.0.1.12", "director_mail_servers = "+rigAddrs[to], 1))
			change(t, r.files[name], "listen = 127.0.1.1\n", "listen = "+rigAddrs[name]+"\n")
		}
	})
	for _, login := range []string{"someone1 pass", "someone1*someone2 master-secret"} {
		c := dialIMAP(t, r.address())
		c.command("LOGIN " + login)
		c.expect("NO [CONTACTADMIN] Login is not possible now.")
		c.close()
	}
}

// mail_max_userip_connections counts clients and users: at a backend over all
// directors, at a director that sets it over all backends, and back sessions nowhere.
func TestLimitsOverTwoDirectors(t *testing.T) {
	second, err := net.Listen("tcp", "127.0.1.2:0")
	if err != nil {
		t.Fatal(err)
	}
	at := map[string]string{"director2": second.Addr().String()}
	r := startRigWith(t, "rig", func(r *rig) {
		for _, be := range []string{"be1", "be2"} {
			change(t, r.files[be], "mail_max_userip_connections = 100", "mail_max_userip_connections = 2")
			change(t, r.files[be], "login_trusted_networks = 127.0.1.1\n", "login_trusted_networks = 127.0.1.1 127.0.1.2 127.0.1.11 127.0.1.12\n")
		}
		r.files["director2"] = filepath.Join(r.root, "director2.conf")
		text := rigFile(t, "testdata/rig/director.conf", r.root, "director2", r.port)
		text = strings.Replace(text, "port = "+strconv.Itoa(r.port), "port = "+strconv.Itoa(second.Addr().(*net.TCPAddr).Port), 1)
		text = strings.NewReplacer("listen = 127.0.1.1\n", "listen = 127.0.1.2\n", "login_source_ips = 127.0.1.1\n", "login_source_ips = 127.0.1.2\n").Replace(text)
		writeFile(t, r.files["director2"], text+"mail_max_userip_connections = 1\n")
	})
	at["director"] = r.address()
	r.start(t, "director2", second)
	defer r.stop(t, "director2")
	r.say(t, "someone1", "CREATE Work", "SETACL Work anyone lr")
	r.say(t, "someone2", "CREATE Work", "SETACL Work anyone lr")

	login := func(director, from, user, want string) *imapConn {
		t.Helper()
		c := dialFrom(t, from, at[director])
		c.command("LOGIN " + user + " " + r.password(user))
		c.expect(want)
		return c
	}
	a := login("director", "127.0.0.5", "someone1", "OK")
	b := login("director2", "127.0.0.5", "someone1", "OK")
	login("director", "127.0.0.5", "someone1", "NO [LIMIT]")
	login("director2", "127.0.0.5", "someone1", "NO [LIMIT]") // by its own count, too
	login("director2", "127.0.0.6", "someone1", "OK")
	login("director2", "127.0.0.5", "someone2", "OK")
	// Readers of each other's mail, whose back sessions are their owners' for nobody.
	for _, c := range []*imapConn{a, b} {
		c.command("SELECT shared/someone2/Work")
		c.expect("OK")
	}
	login("director", "127.0.0.5", "someone2", "OK")
	// An administrator is not limited.
	for range 3 {
		login("director2", "127.0.0.5", "someone1*someone3", "OK")
	}
	b.command("LOGOUT")
	b.expect("OK")
	if _, err := b.r.ReadByte(); err == nil {
		t.Error("open after LOGOUT")
	}
	awaitSessions(t, r.nodes["director2"], "someone1", 4)
	awaitSessions(t, r.nodes["be1"], "someone1", 5)
	login("director2", "127.0.0.5", "someone1", "OK")
}

func TestDelayUntil(t *testing.T) {
	now := time.Unix(1_000_000_000, 0)
	for text, ok := range map[string]bool{
		"1000000010": true, "1000000010+5": true, "0": true, "1000000300": true,
		"1000000301": false, "1000000299+2": false, "99999999999+1": false, "99999999999": false, "9223372036854775807+65535": false,
		"x": false, "1+x": false, "1+65536": false, "1+-1": false,
	} {
		until, err := delayUntil(text, now)
		if (err == nil) != ok || ok && until.Sub(now) > maxDelay {
			t.Errorf("%s: %v, %v", text, until, err)
		}
	}
}

func dialFrom(t *testing.T, from, addr string) *imapConn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: patience}
	conn, err := d.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return lineConn(t, conn, addr)
}

// awaitSessions waits until a node has so many sessions of a user.
func awaitSessions(t *testing.T, n *node, user string, want int) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) { // nothing tells
		have := 0
		for i := range n.imap.Sessions() {
			if i.User == user {
				have++
			}
		}
		switch {
		case have == want:
			return
		case time.Now().After(end):
			t.Fatalf("%d sessions of %s, not %d", have, user, want)
		}
	}
}

// A user who is kicked loses every session at that director, proxied as they are,
// and the backend's with them; others notice nothing.
func TestKickAtTheDirector(t *testing.T) {
	r := startRig(t, "rig")
	var kicked []*imapConn
	for range 3 {
		c := dialIMAP(t, r.address())
		defer c.close()
		c.command("LOGIN someone1 pass")
		c.expect("OK")
		kicked = append(kicked, c)
	}
	other := dialIMAP(t, r.address())
	defer other.close()
	other.command("LOGIN someone5 pass") // at the same backend
	other.expect("OK")
	n := r.nodes["director"].imap.End(func(i imapserver.SessionInfo) bool { return i.User == "someone1" },
		imap.Errorf(imap.CodeUnavailable, "Kicked"))
	if n != 3 {
		t.Errorf("%d kicked", n)
	}
	for _, c := range kicked {
		if line, err := c.r.ReadString('\n'); err == nil {
			t.Errorf("got %q", line)
		}
	}
	awaitSessions(t, r.nodes["be1"], "someone1", 0)
	other.command("NOOP")
	other.expect("OK")
}
