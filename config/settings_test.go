package config

import (
	"bytes"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// plain is s without places, which differ when a configuration is written anew.
// Other nodes connect to the first listener that expects no PROXY header.
func TestDirectListener(t *testing.T) {
	s := &Settings{Listeners: []Listener{{Port: 1, HAProxy: true}, {Port: 2}, {Port: 3}}}
	if l, ok := s.DirectListener(); !ok || l.Port != 2 {
		t.Errorf("%+v", l)
	}
	s.Listeners = s.Listeners[:1]
	if l, ok := s.DirectListener(); ok {
		t.Errorf("%+v", l)
	}
}

func plain(s *Settings) Settings {
	c := *s
	c.path, c.root, c.base = "", nil, nil
	c.Listeners = append([]Listener(nil), c.Listeners...)
	for i := range c.Listeners {
		c.Listeners[i].Pos = Pos{}
	}
	c.Auth.Passdbs = append([]Passdb(nil), c.Auth.Passdbs...)
	for i := range c.Auth.Passdbs {
		c.Auth.Passdbs[i].Pos = Pos{}
	}
	c.Auth.Userdbs = append([]Userdb(nil), c.Auth.Userdbs...)
	for i := range c.Auth.Userdbs {
		c.Auth.Userdbs[i].Pos = Pos{}
	}
	c.Namespaces = withoutPos(c.Namespaces)
	c.disabled = withoutPos(c.disabled)
	return c
}

func withoutPos(list []Namespace) []Namespace {
	list = append([]Namespace(nil), list...)
	for i := range list {
		list[i].Pos = Pos{}
	}
	return list
}

// TestRigBackend reads a backend of the document's cluster, whole.
func TestRigBackend(t *testing.T) {
	s := mustLoad(t, "testdata/rig/knobs-be1.conf")
	want := Imapc{
		Host: "127.0.1.1", Port: 143, MasterUser: "%u", Password: "master-secret", SSL: "no", SSLVerify: true,
		Features:   strings.Fields("search acl rfc822.size fetch-headers fetch-bodystructure modseq delay-login"),
		CmdTimeout: 5 * time.Minute, MaxIdleTime: 29 * time.Minute, RetryCount: 1, RetryInterval: time.Second,
		RawlogDir: "/srv/rig/rawlog",
	}
	if !reflect.DeepEqual(s.Imapc, want) {
		t.Errorf("Imapc = %+v\nwant %+v", s.Imapc, want)
	}
	if len(s.Namespaces) != 2 || !s.Namespaces[0].Inbox || s.Namespaces[0].Name != "inbox" {
		t.Fatalf("Namespaces = %+v", s.Namespaces)
	}
	shared := s.Namespaces[1]
	if shared.Type != "shared" || shared.Prefix != "shared/%%u/" || shared.List != "children" || shared.Subscriptions ||
		shared.Location != "imapc:%h/shared/%%u:INDEXPVT=%h/shared-pvt/%%u" || !reflect.DeepEqual(shared.Imapc, want) {
		t.Errorf("shared = %+v", shared)
	}
	acl := ACL{
		Enabled: true, Anyone: true, IgnoreNamespaces: []string{"shared/*"}, Inherit: "copy", SweepInterval: time.Hour, GroupsInterval: time.Minute,
		SharedDict: Dict{Driver: "file", Path: "/srv/rig/shared-fs/acl/shared-mailboxes", URI: "file:/srv/rig/shared-fs/acl/shared-mailboxes"},
	}
	if !reflect.DeepEqual(s.ACL, acl) {
		t.Errorf("ACL = %+v\nwant %+v", s.ACL, acl)
	}
	a := s.Auth
	if a.DisablePlaintext || a.MasterUserSeparator != "*" || a.FailureDelay != 0 || a.UsernameFormat != "%Lu" || fmt.Sprint(a.Mechanisms) != "[plain login]" {
		t.Errorf("Auth = %+v", a)
	}
	if len(a.Passdbs) != 2 || len(a.Userdbs) != 1 {
		t.Fatalf("%d passdbs, %d userdbs", len(a.Passdbs), len(a.Userdbs))
	}
	master := a.Passdbs[0]
	fields := []Field{{"password", "master-secret"}, {"userdb_namespace/shared/disabled", "yes"}}
	if !master.Master || master.Driver != "static" || !reflect.DeepEqual(master.Fields, fields) ||
		master.ResultSuccess != "continue" || master.ResultFailure != "continue" {
		t.Errorf("master passdb = %+v", master)
	}
	if db := a.Passdbs[1]; db.Path != "/srv/rig/etc/users" || db.ResultSuccess != "return-ok" || db.Skip != "never" {
		t.Errorf("passdb = %+v", db)
	}
	if len(s.Listeners) != 1 || s.Listeners[0].Address != "127.0.1.11" || s.Listeners[0].Port != 143 {
		t.Errorf("Listeners = %+v", s.Listeners)
	}
	if fmt.Sprint(s.Login.TrustedNetworks) != "[127.0.1.1/32]" || s.Mail.MaxUserIPConnections != 100 || s.Director.Enabled {
		t.Errorf("%v %v %v", s.Login.TrustedNetworks, s.Mail.MaxUserIPConnections, s.Director.Enabled)
	}
}

func TestRigDirector(t *testing.T) {
	s := mustLoad(t, "testdata/rig/plain-director.conf")
	d := s.Director
	if !d.Enabled || len(d.MailServers) != 2 || d.MailServers[1].IP != netip.MustParseAddr("127.0.1.12") ||
		d.UsernameHash != "%Lu" || d.UserExpire != 15*time.Minute {
		t.Errorf("Director = %+v", d)
	}
	if s.Mail.Location != "maildir:/nonexistent" || s.Where("mail_location").Line == 0 {
		t.Errorf("mail_location = %q at %v", s.Mail.Location, s.Where("mail_location"))
	}
	if fmt.Sprint(s.Login.SourceIPs) != "[127.0.1.1]" {
		t.Errorf("SourceIPs = %v", s.Login.SourceIPs)
	}
	if len(s.Namespaces) != 1 || !s.Namespaces[0].Inbox || s.Namespaces[0].Separator != "/" {
		t.Errorf("Namespaces = %+v", s.Namespaces)
	}
	if len(s.Auth.Passdbs) != 2 {
		t.Errorf("the passdb of protocol lmtp counts: %d passdbs", len(s.Auth.Passdbs))
	}
}

// TestDocument: the document's three blocks alone make a whole configuration.
func TestDocument(t *testing.T) {
	s := mustLoad(t, "testdata/document.conf")
	if len(s.Namespaces) != 2 || !s.Namespaces[0].Inbox || s.Namespaces[0].Type != "private" || s.Namespaces[0].Prefix != "" {
		t.Errorf("there is no private namespace: %+v", s.Namespaces)
	}
	if s.Imapc.MasterUser != "%u" || s.Imapc.User != "" || !s.ACL.Enabled || s.ACL.SharedDict.Path != "/srv/shared/shared-mailboxes" {
		t.Errorf("Imapc = %+v, ACL = %+v", s.Imapc, s.ACL)
	}
}

func TestSyntaxValues(t *testing.T) {
	s := mustLoad(t, "testdata/syntax.conf")
	for _, c := range []struct{ name, got, want string }{
		{"login_greeting", s.Login.Greeting, `a "quoted" # text`},
		{"instance_name", s.General.InstanceName, "it is continued"},
		{"log_path", s.General.LogPath, "/var/log/roost"},
		{"mail_home", s.Mail.Home, `/srv/"x"`},
		{"imap_id_send", s.IMAP.IDSend, `"name" *`},
		{"imap_id_log", s.IMAP.IDLog, `"`},
		{"mail_plugins", fmt.Sprint(s.Mail.Plugins), "[acl imap_acl]"},
		{"acl_user", s.ACL.User, "vfile"},
		{"protocols", fmt.Sprint(s.General.Protocols), "[imap]"},
	} {
		if c.got != c.want {
			t.Errorf("%s = %q, want %q", c.name, c.got, c.want)
		}
	}
	var ls []string
	for _, l := range s.Listeners {
		ls = append(ls, fmt.Sprintf("%s %s %d", l.Name, l.Address, l.Port))
	}
	want := "imap 127.0.0.1 1143, imap ::1 1143, second 0.0.0.0 1144, second :: 1144"
	if got := strings.Join(ls, ", "); got != want {
		t.Errorf("listeners: %s; want %s", got, want)
	}
}

// TestProtocolBlocks: what an IMAP session sees is the block protocol imap, and
// those for all but another protocol, over the rest; wherever they stand.
func TestProtocolBlocks(t *testing.T) {
	path := writeConf(t, `
mail_plugins = acl
protocol imap {
  mail_plugins = $mail_plugins imap_acl
  plugin {
    acl_user = second
  }
  namespace inbox {
    list = children
  }
}
protocol !lmtp {
  imapc_port = 1143
}
protocol !imap {
  imapc_port = 1
}
protocol lmtp {
  imapc_port = 2
}
mail_plugins = quota
plugin {
  acl = vfile
  acl_user = first
}
namespace inbox {
  inbox = yes
  list = yes
}
`)
	s, warnings, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(s.Mail.Plugins) != "[acl imap_acl]" || s.ACL.User != "second" || s.Imapc.Port != 1143 || s.Namespaces[0].List != "children" {
		t.Errorf("%v %v %v %v", s.Mail.Plugins, s.ACL.User, s.Imapc.Port, s.Namespaces[0].List)
	}
	want := Warning{Pos{path, 21}, "mail_plugins: the value in protocol imap, at " + path + ":4, stays as it is"}
	if !slices.Contains(warnings, want) {
		t.Errorf("no warning %q in %q", want, warnings)
	}
}

// TestNamespaceImapc: imapc settings in a namespace hold for it alone.
func TestNamespaceImapc(t *testing.T) {
	s := mustParse(t, `
imapc_host = one
imapc_password = secret
namespace a {
  type = shared
  prefix = a/%%u/
  location = imapc:~/a/%%u
}
namespace b {
  type = shared
  prefix = b/%%u/
  location = imapc:~/b/%%u
  imapc_host = two
  imapc_port = 1143
}
`)
	a, b := s.Namespaces[1].Imapc, s.Namespaces[2].Imapc
	if a.Host != "one" || a.Port != 143 || b.Host != "two" || b.Port != 1143 || b.Password != "secret" {
		t.Errorf("a = %+v, b = %+v", a, b)
	}
	u, warnings, err := s.ForUser(map[string]string{"imapc_host": "three", "imapc_master_user": "bob", "namespace/a/imapc_port": "99"})
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	a, b = u.Namespaces[1].Imapc, u.Namespaces[2].Imapc
	if a.Host != "three" || b.Host != "two" || a.MasterUser != "bob" || b.MasterUser != "bob" || a.Port != 99 {
		t.Errorf("for a user: a = %+v, b = %+v", a, b)
	}
	if s.Namespaces[1].Imapc.Host != "one" || s.Namespaces[1].Imapc.MasterUser != "" {
		t.Error("ForUser changed the settings it was called on")
	}
}

func TestWhere(t *testing.T) {
	s := mustLoad(t, "testdata/document.conf")
	for _, c := range []struct {
		name string
		line int
	}{
		{"imapc_host", 13},
		{"plugin/acl", 22},
		{"imapc_port", 0},
		{"plugin/nothing", 0},
		{"namespace/type", 4},
	} {
		if got := s.Where(c.name); got.Line != c.line {
			t.Errorf("Where(%q) = %v, want line %d", c.name, got, c.line)
		}
	}
}

// TestShowRoundTrip: what Show writes with secrets loads to equal settings.
func TestShowRoundTrip(t *testing.T) {
	for _, path := range confs(t) {
		s, _, err := Load(path)
		if err != nil {
			continue
		}
		for _, nonDefault := range []bool{true, false} {
			t.Run(fmt.Sprint(path, nonDefault), func(t *testing.T) {
				var b bytes.Buffer
				if err := Show(&b, s, ShowOptions{NonDefault: nonDefault, Secrets: true}); err != nil {
					t.Fatal(err)
				}
				again := mustParse(t, b.String())
				if got, want := plain(again), plain(s); !reflect.DeepEqual(got, want) {
					t.Errorf("got  %+v\nwant %+v\nin\n%s", got, want, b.String())
				}
			})
		}
	}
}

func TestShowHidesSecrets(t *testing.T) {
	s := mustParse(t, `
imapc_password = tell-nobody
doveadm_password = tell-nobody
passdb {
  driver = static
  args = password=tell-nobody allow_nets=127.0.0.1
  override_fields = pass=tell-nobody
}
userdb {
  driver = static
  args = home=/home/%u
}
`)
	for _, nonDefault := range []bool{true, false} {
		var b bytes.Buffer
		if err := Show(&b, s, ShowOptions{NonDefault: nonDefault}); err != nil {
			t.Fatal(err)
		}
		text := b.String()
		if strings.Contains(text, "tell-nobody") || strings.Count(text, hidden) != 4 {
			t.Errorf("secrets are not hidden:\n%s", text)
		}
		if !strings.Contains(text, "args = home=/home/%u") {
			t.Errorf("too much is hidden:\n%s", text)
		}
	}
}

// TestShowNonDefault shows what doveconf -n would.
func TestShowNonDefault(t *testing.T) {
	s := mustLoad(t, "testdata/document.conf")
	var b bytes.Buffer
	if err := Show(&b, s, ShowOptions{NonDefault: true}); err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/document.show", b.String())
}

func TestCheck(t *testing.T) {
	var b bytes.Buffer
	if !Check(&b, "testdata/overridden.conf", noMore) || !strings.HasSuffix(b.String(), "testdata/overridden.conf: ok\n") {
		t.Errorf("Check of a good file:\n%s", b.String())
	}
	b.Reset()
	if Check(&b, "testdata/names.conf", noMore) || !strings.Contains(b.String(), "testdata/names.conf:2: imapc_hots: there is no such setting (did you mean imapc_host?)\n") {
		t.Errorf("Check of a bad file:\n%s", b.String())
	}
	b.Reset()
	if Check(&b, "testdata/missing.conf", noMore) || !strings.Contains(b.String(), "cannot read testdata/missing.conf") {
		t.Errorf("Check of no file:\n%s", b.String())
	}
}

func noMore(*Settings) ([]Warning, error) { return nil, nil }
