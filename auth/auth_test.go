package auth

import (
	"context"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/roost-mail/roost/imap"
)

var (
	office = netip.MustParseAddr("192.0.2.7")
	abroad = netip.MustParseAddr("198.51.100.1")
)

// backend is the settings of a backend: a shared secret opens every mailbox for
// an acting user, if the normal passdb knows the owner.
func backend() Config {
	return Config{
		Names: NameConfig{MasterSeparator: "*"},
		Passdbs: []PassdbConfig{
			{Driver: "static", Master: true, Args: "password=master-secret", ResultSuccess: "continue"},
			{Driver: "passwd-file", Args: "testdata/users"},
		},
		Userdbs: []UserdbConfig{{Driver: "passwd-file", Args: "testdata/users"}},
	}
}

func director() Config {
	return Config{
		Names: NameConfig{MasterSeparator: "*"},
		Passdbs: []PassdbConfig{
			{Driver: "static", Master: true, Args: "password=master-secret", ResultSuccess: "continue"},
			{Driver: "passwd-file", Args: "testdata/users.director"},
		},
	}
}

// allStatic answers for every name, as a backend without a list of users does.
func allStatic() Config {
	return Config{
		Names: NameConfig{MasterSeparator: "*"},
		Passdbs: []PassdbConfig{
			{Driver: "static", Master: true, Args: "password=master-secret userdb_namespace/shared/disabled=yes userdb_acl_user=%{auth_user}", ResultSuccess: "continue"},
			{Driver: "static", Args: "password=pass userdb_imapc_master_user=%{user}"},
		},
		Userdbs: []UserdbConfig{{Driver: "prefetch"}, {Driver: "static", Args: "uid=vmail gid=vmail home=/srv/mail/%u"}},
	}
}

func newAuth(t *testing.T, config Config) *Authenticator {
	t.Helper()
	a, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// say is a result in one line.
func say(r *Result, err error) string {
	if err != nil {
		return string(imap.CodeOf(err))
	}
	s := r.User
	if r.Master() {
		s += " as " + r.Acting
	}
	if len(r.Groups) > 0 {
		s += " in " + strings.Join(r.Groups, ",")
	}
	return s
}

func TestResultFields(t *testing.T) {
	r, err := newAuth(t, backend()).Authenticate(t.Context(), Request{AuthID: "SomeOne3", Password: "pass"})
	if err != nil {
		t.Fatal(err)
	}
	want := Fields{"uid": "5000", "gid": "5000", "home": "/srv/mail/home/someone3", "imapc_master_user": "someone3"}
	if !maps.Equal(r.UserFields, want) || len(r.Fields) != 0 || r.OriginalUser != "SomeOne3" {
		t.Errorf("got %+v, want %v", r, want)
	}
	r, err = newAuth(t, director()).Authenticate(t.Context(), Request{AuthzID: "someone1", AuthID: "someone2", Password: "master-secret"})
	if err != nil || !maps.Equal(r.Fields, Fields{"proxy": "y", "master": "someone2"}) {
		t.Errorf("a proxied master login: %+v, %v", r, err)
	}
}

// What a line of the passwd-file does to a login.
func TestFields(t *testing.T) {
	a := newAuth(t, Config{Passdbs: []PassdbConfig{{Driver: "passwd-file", Args: "scheme=plain testdata/users.odd"}}})
	rows := []struct {
		name, user, password string
		client               netip.Addr
		want                 string
	}{
		{"listed", "plain", "pass", office, "plain"},
		{"a second line does not count", "plain", "other", office, "AUTHENTICATIONFAILED"},
		{"name alone", "short", "", office, "AUTHENTICATIONFAILED"},
		{"name alone, any password", "short", "x", office, "AUTHENTICATIONFAILED"},
		{"nopassword", "open", "anything", office, "open"},
		{"nopassword, none given", "open", "", office, "open"},
		{"the word in another field", "closed", "", office, "AUTHENTICATIONFAILED"},
		{"the word in another field, any password", "closed", "x", office, "AUTHENTICATIONFAILED"},
		{"nopassword with a password", "both", "pass", office, "both"},
		{"nopassword with a password, another given", "both", "other", office, "AUTHENTICATIONFAILED"},
		{"nologin", "off", "pass", office, "AUTHORIZATIONFAILED"},
		{"nologin, wrong password", "off", "other", office, "AUTHENTICATIONFAILED"},
		{"unknown scheme", "odd", "pass", office, "UNAVAILABLE"},
		{"unknown scheme, its text", "odd", "cnff", office, "UNAVAILABLE"},
		{"allowed net", "net", "pass", office, "net"},
		{"allowed net, IPv4 in IPv6", "net", "pass", netip.MustParseAddr("::ffff:192.0.2.9"), "net"},
		{"allowed net, no address", "net", "pass", netip.Addr{}, "net"},
		{"other net", "net", "pass", abroad, "AUTHENTICATIONFAILED"},
		{"another name", "alias", "pass", office, "plain"},
		{"CRLF", "crlf", "pass", office, "crlf"},
		{"bad line", "bad-uid", "pass", office, "AUTHENTICATIONFAILED"},
		{"slash", "a/b", "pass", office, "AUTHENTICATIONFAILED"},
		{"comment", "# Lines that are read, and lines that are not.", "", office, "AUTHENTICATIONFAILED"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			got := say(a.Authenticate(t.Context(), Request{AuthID: row.user, Password: row.password, RemoteAddr: row.client}))
			if got != row.want {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
	r, err := a.Authenticate(t.Context(), Request{AuthID: "colons", Password: "pass"})
	if err != nil || !maps.Equal(r.Fields, Fields{"host": "2001:db8::1", "proxy": "y"}) || r.UserFields["quota_rule"] != "*:storage=1G" {
		t.Errorf("got %+v, %v", r, err)
	}
	_, err = a.Authenticate(t.Context(), Request{AuthID: "off", Password: "pass"})
	if e := imap.AsError(err); e.Text != "Gone" {
		t.Errorf("the reason of nologin: %v", e)
	}
}

// result_* decide what one database's answer means for the next ones. The first
// passdb knows only someone1, with the password "first"; the second knows
// someone1 and someone2, with "second".
func TestResultActions(t *testing.T) {
	rows := []struct {
		success, failure, internal string
		user, password             string
		want                       string
	}{
		{"", "", "", "someone1", "first", "someone1"},
		{"", "", "", "someone1", "second", "someone1"},
		{"", "", "", "someone2", "second", "someone2"},
		{"", "", "", "someone1", "third", "AUTHENTICATIONFAILED"},
		{"return", "", "", "someone1", "first", "AUTHENTICATIONFAILED"},
		{"return-fail", "", "", "someone1", "first", "AUTHENTICATIONFAILED"},
		{"return-fail", "", "", "someone1", "second", "someone1"},
		{"continue", "", "", "someone1", "first", "someone1"},
		{"continue-ok", "", "", "someone1", "first", "someone1"},
		{"continue-fail", "", "", "someone1", "first", "AUTHENTICATIONFAILED"},
		{"continue-fail", "", "", "someone1", "second", "someone1"},
		{"", "return", "", "someone2", "second", "AUTHENTICATIONFAILED"},
		{"", "return-fail", "", "someone2", "second", "AUTHENTICATIONFAILED"},
		{"", "return-ok", "", "someone2", "third", "someone2"},
		{"", "continue-ok", "", "someone2", "third", "someone2"},
		{"", "continue-fail", "", "someone2", "second", "someone2"},
		{"", "", "", "broken", "second", "broken"},
		{"", "", "", "broken", "third", "UNAVAILABLE"},
		{"", "", "return", "broken", "second", "UNAVAILABLE"},
		{"", "", "return-fail", "broken", "second", "UNAVAILABLE"},
		{"", "", "return-ok", "broken", "second", "broken"},
	}
	first := writeFile(t, "someone1:{PLAIN}first\nbroken:{ROT13}x\n")
	second := writeFile(t, "someone1:{PLAIN}second\nsomeone2:{PLAIN}second\nbroken:{PLAIN}second\n")
	for _, row := range rows {
		a := newAuth(t, Config{Passdbs: []PassdbConfig{
			{Driver: "passwd-file", Args: first, ResultSuccess: row.success, ResultFailure: row.failure, ResultInternalFail: row.internal},
			{Driver: "passwd-file", Args: second},
		}})
		if got := say(a.Authenticate(t.Context(), Request{AuthID: row.user, Password: row.password})); got != row.want {
			t.Errorf("%+v: got %q", row, got)
		}
	}
}

func TestDenyAndSkip(t *testing.T) {
	denied := writeFile(t, "someone2\n")
	extra := PassdbConfig{Driver: "static", Args: "nopassword=y note=seen", ResultSuccess: "continue"}
	config := backend()
	config.Passdbs = append([]PassdbConfig{{Driver: "passwd-file", Deny: true, Args: denied}}, config.Passdbs...)
	a := newAuth(t, config)
	for _, row := range []struct{ authzid, authid, password, want string }{
		{"", "someone1", "pass", "someone1"},
		{"", "someone2", "pass", "AUTHENTICATIONFAILED"},
		{"someone2", "someone1", "master-secret", "AUTHORIZATIONFAILED"},
		{"someone1", "someone2", "master-secret", "AUTHENTICATIONFAILED"},
	} {
		got := say(a.Authenticate(t.Context(), Request{AuthzID: row.authzid, AuthID: row.authid, Password: row.password}))
		if got != row.want {
			t.Errorf("%+v: got %q", row, got)
		}
	}
	if got := say(a.Lookup(t.Context(), "Someone2")); got != "someone2" {
		t.Errorf("mail for a user who may not log in: %q", got)
	}
	for _, row := range []struct{ skip, want string }{{"", "seen"}, {"authenticated", ""}, {"unauthenticated", "seen"}} {
		config := backend()
		extra.Skip = row.skip
		config.Passdbs[1].ResultSuccess = "continue-ok"
		config.Passdbs = append(config.Passdbs, extra)
		r, err := newAuth(t, config).Authenticate(t.Context(), Request{AuthID: "someone1", Password: "pass"})
		if err != nil || r.Fields["note"] != row.want {
			t.Errorf("skip = %s: %+v, %v", row.skip, r, err)
		}
	}
	// Nobody is let in by a passdb that is skipped until a password was right.
	config = backend()
	extra.Skip, extra.ResultSuccess = "unauthenticated", ""
	config.Passdbs = append(config.Passdbs, extra)
	if got := say(newAuth(t, config).Authenticate(t.Context(), Request{AuthID: "someone1", Password: "x"})); got != "AUTHENTICATIONFAILED" {
		t.Errorf("got %q", got)
	}
}

// Fields of a passdb that refused are dropped; default_fields give way to the
// entry's, override_fields do not.
func TestDefaultAndOverrideFields(t *testing.T) {
	config := director()
	config.Passdbs[1].DefaultFields = "proxy=n port=31143 who=%n"
	config.Passdbs[1].OverrideFields = "host=192.0.2.1 ssl"
	config.Passdbs = append(config.Passdbs, PassdbConfig{Driver: "static", Args: "password=other other=y"})
	a := newAuth(t, config)
	r, err := a.Authenticate(t.Context(), Request{AuthID: "someone1", Password: "pass"})
	want := Fields{"proxy": "y", "port": "31143", "who": "someone1", "host": "192.0.2.1", "ssl": "yes"}
	if err != nil || !maps.Equal(r.Fields, want) {
		t.Errorf("got %+v, %v", r, err)
	}
	r, err = a.Authenticate(t.Context(), Request{AuthID: "someone1", Password: "other"})
	if err != nil || !maps.Equal(r.Fields, Fields{"other": "y"}) {
		t.Errorf("got %+v, %v", r, err)
	}
}

func TestUserdbs(t *testing.T) {
	file := writeFile(t, "listed:{PLAIN}pass:1:2::/srv/listed::userdb_acl_groups=a\n")
	known := PassdbConfig{Driver: "passwd-file", Args: writeFile(t, "listed:{PLAIN}pass\nonly-passdb:{PLAIN}pass::::::userdb_home=/pre userdb_x=1\n")}
	static := UserdbConfig{Driver: "static", Args: "uid=vmail home=/srv/%Lu", DefaultFields: "quota=1G", OverrideFields: "gid=mail"}
	rows := []struct {
		name     string
		userdbs  []UserdbConfig
		user     string
		want     Fields // nil: refused
		lookedUp bool   // what Lookup says of the user
	}{
		{"none", nil, "listed", Fields{}, true},
		{"file", []UserdbConfig{{Driver: "passwd-file", Args: file}}, "listed", Fields{"uid": "1", "gid": "2", "home": "/srv/listed"}, true},
		{"file without the user", []UserdbConfig{{Driver: "passwd-file", Args: file}}, "only-passdb", nil, false},
		{"static", []UserdbConfig{static}, "listed", Fields{"uid": "vmail", "gid": "mail", "home": "/srv/listed", "quota": "1G"}, true},
		{"static after file", []UserdbConfig{{Driver: "passwd-file", Args: file}, static}, "only-passdb", Fields{"uid": "vmail", "gid": "mail", "home": "/srv/only-passdb", "quota": "1G", "x": "1"}, true},
		{"prefetch", []UserdbConfig{{Driver: "prefetch", DefaultFields: "y=2"}, {Driver: "passwd-file", Args: file}}, "only-passdb", Fields{"home": "/pre", "x": "1", "y": "2"}, true},
		{"prefetch has nothing", []UserdbConfig{{Driver: "prefetch"}, {Driver: "passwd-file", Args: file}}, "listed", Fields{"uid": "1", "gid": "2", "home": "/srv/listed"}, true},
		{"skip found", []UserdbConfig{{Driver: "passwd-file", Args: file, ResultSuccess: "continue-ok"}, {Driver: "static", Args: "home=/z", Skip: "found"}}, "listed", Fields{"uid": "1", "gid": "2", "home": "/srv/listed"}, true},
		{"both", []UserdbConfig{{Driver: "passwd-file", Args: file, ResultSuccess: "continue-ok"}, {Driver: "static", Args: "home=/z", Skip: "notfound"}}, "listed", Fields{"uid": "1", "gid": "2", "home": "/z"}, true},
		{"no file", []UserdbConfig{{Driver: "passwd-file", Args: "testdata/none"}}, "listed", nil, false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			a := newAuth(t, Config{Passdbs: []PassdbConfig{known}, Userdbs: row.userdbs})
			r, err := a.Authenticate(t.Context(), Request{AuthID: row.user, Password: "pass"})
			if row.want == nil && err == nil || row.want != nil && (err != nil || !maps.Equal(r.UserFields, row.want)) {
				t.Errorf("got %+v, %v", r, err)
			}
			if _, err := a.Lookup(t.Context(), row.user); (err == nil) != row.lookedUp {
				t.Errorf("Lookup: %v", err)
			}
		})
	}
}

func TestLookup(t *testing.T) {
	a := newAuth(t, backend())
	for user, want := range map[string]string{
		"someone1": "someone1", "SOMEONE4": "someone4 in team", "nobody": "NONEXISTENT", "": "NONEXISTENT",
		"../x": "NONEXISTENT", "someone1*someone2": "NONEXISTENT",
	} {
		if got := say(a.Lookup(t.Context(), user)); got != want {
			t.Errorf("%q: got %q, want %q", user, got, want)
		}
	}
	// A static userdb believes the passdbs, unless it is told otherwise.
	for args, want := range map[string]string{"home=/srv/%u": "NONEXISTENT", "home=/srv/%u allow_all_users=yes": "nobody"} {
		config := backend()
		config.Userdbs = []UserdbConfig{{Driver: "static", Args: args}}
		if got := say(newAuth(t, config).Lookup(t.Context(), "nobody")); got != want {
			t.Errorf("%s: %q", args, got)
		}
	}
	config := backend()
	config.Passdbs[1].Args = "testdata/none"
	config.Userdbs = nil
	if got := say(newAuth(t, config).Lookup(t.Context(), "someone1")); got != "UNAVAILABLE" {
		t.Errorf("without a file: %q", got)
	}
}

// A static userdb does not invent owners for those who know the shared secret.
func TestInventedOwner(t *testing.T) {
	config := backend()
	config.Passdbs[0].ResultSuccess = ""
	config.Userdbs = []UserdbConfig{{Driver: "static", Args: "home=/srv/%u"}}
	a := newAuth(t, config)
	for owner, want := range map[string]string{"someone1": "someone1 as someone3 in team", "someon1": "AUTHORIZATIONFAILED"} {
		got := say(a.Authenticate(t.Context(), Request{AuthzID: owner, AuthID: "someone3", Password: "master-secret"}))
		if got != want {
			t.Errorf("%s: got %q, want %q", owner, got, want)
		}
	}
}

// Errors say enough for the log, the same to every client, and no password.
func TestErrors(t *testing.T) {
	var log strings.Builder
	config := backend()
	config.Log = slog.New(slog.NewTextHandler(&log, nil))
	a := newAuth(t, config)
	_, unknown := a.Authenticate(t.Context(), Request{AuthID: "nobody", Password: "hunter2"})
	_, wrong := a.Authenticate(t.Context(), Request{AuthID: "someone1", Password: "hunter2"})
	if imap.AsError(unknown).Text != "Authentication failed." || imap.AsError(wrong).Text != "Authentication failed." {
		t.Errorf("texts %q, %q", imap.AsError(unknown).Text, imap.AsError(wrong).Text)
	}
	for err, words := range map[error][]string{
		unknown: {"nobody", "passwd-file", "unknown user"},
		wrong:   {"someone1", "passwd-file", "mismatch"},
	} {
		for _, word := range words {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%v does not say %q", err, word)
			}
		}
		if strings.Contains(err.Error()+log.String(), "hunter2") {
			t.Errorf("%v says the password", err)
		}
	}
}

func TestConfigErrors(t *testing.T) {
	rows := map[string]Config{
		"unknown driver":       {Passdbs: []PassdbConfig{{Driver: "pam"}}},
		"prefetch passdb":      {Passdbs: []PassdbConfig{{Driver: "prefetch"}}},
		"no file":              {Passdbs: []PassdbConfig{{Driver: "passwd-file", Args: "scheme=PLAIN"}}},
		"unknown scheme":       {Passdbs: []PassdbConfig{{Driver: "passwd-file", Args: "scheme=ROT13 /x"}}},
		"static scheme":        {Passdbs: []PassdbConfig{{Driver: "static", Args: "password={ROT13}x"}}},
		"unknown action":       {Passdbs: []PassdbConfig{{Driver: "static", ResultFailure: "stop"}}},
		"unknown skip":         {Passdbs: []PassdbConfig{{Driver: "static", Skip: "found"}}},
		"unknown variable":     {Passdbs: []PassdbConfig{{Driver: "static", Args: "home=%{nonsense}"}}},
		"unknown default":      {Passdbs: []PassdbConfig{{Driver: "static", DefaultFields: "home=%y"}}},
		"nameless field":       {Passdbs: []PassdbConfig{{Driver: "static", OverrideFields: "=x"}}},
		"master failure is ok": {Passdbs: []PassdbConfig{{Driver: "static", Master: true, ResultFailure: "continue-ok"}}},
		"userdb driver":        {Userdbs: []UserdbConfig{{Driver: "ldap"}}},
		"userdb skip":          {Userdbs: []UserdbConfig{{Driver: "prefetch", Skip: "authenticated"}}},
		"user name format":     {Names: NameConfig{Format: "%q"}},
		"master separator":     {Names: NameConfig{MasterSeparator: "**"}},
		"translation":          {Names: NameConfig{Translation: "abc"}},
	}
	for name, config := range rows {
		if _, err := New(config); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	_, err := New(Config{Passdbs: []PassdbConfig{{Driver: "static", Args: "password=s3cret%yz"}}})
	if err == nil || strings.Contains(err.Error(), "%yz") || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("an error about a password: %v", err)
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	config := backend()
	config.FailureDelay = 1 << 40
	if got := say(newAuth(t, config).Authenticate(ctx, Request{AuthID: "someone1", Password: "pass"})); got != "UNAVAILABLE" {
		t.Errorf("got %q", got)
	}
}

func TestGroups(t *testing.T) {
	got := groups(Fields{"acl_groups": " team, ,staff,"})
	if !slices.Equal(got, []string{"team", "staff"}) || groups(Fields{}) != nil {
		t.Errorf("got %q", got)
	}
}

// The % variables that settings of a passdb or userdb may have.
func TestVariables(t *testing.T) {
	a := newAuth(t, Config{
		Passdbs: []PassdbConfig{
			{Driver: "static", Master: true, Args: "password=master-secret from=master", Pass: true},
			{Driver: "static", Args: "password=pass"},
		},
		Userdbs: []UserdbConfig{{Driver: "static", Args: "who=%u,%n,%d,%{user},%{username},%{domain} " +
			"auth=%{auth_user},%{auth_username},%{auth_domain} login=%{login_user},%{login_username},%{login_domain} " +
			"master=%{master_user} net=%s,%r,%{rip},%l,%{lip},%{real_rip} sasl=%m,%{mechanism},%{session},%c,%{secured} " +
			"passdb=%{passdb:from},%{passdb:none},%{passdb:none:else} more=%{orig_user},%{original_username},%a,%b,%w"}},
	})
	req := Request{
		AuthzID: "Alice@a", AuthID: "bob@b", Password: "master-secret", Mechanism: "PLAIN", Service: "imap", SessionID: "s1",
		RemoteAddr: office, PeerAddr: abroad, LocalAddr: netip.MustParseAddr("::1"), Secured: true, LocalPort: 143, RemotePort: 5000,
	}
	r, err := a.Authenticate(t.Context(), req)
	want := Fields{
		"who": "alice@a,alice,a,alice@a,alice,a", "auth": "bob@b,bob,b", "login": "alice@a,alice,a", "master": "bob@b",
		"net": "imap,192.0.2.7,192.0.2.7,::1,::1,198.51.100.1", "sasl": "PLAIN,PLAIN,s1,secured,secured", "passdb": "master,,else",
		"more": "Alice@a,Alice,143,5000,master-secret",
	}
	if err != nil || !maps.Equal(r.UserFields, want) {
		t.Errorf("got %v, %v", r, err)
	}
	r, err = a.Authenticate(t.Context(), Request{AuthID: "Alice@a", Password: "pass"})
	want = Fields{
		"who": "alice@a,alice,a,alice@a,alice,a", "auth": "alice@a,alice,a", "login": ",,", "master": "",
		"net": ",,,,,", "sasl": ",,,,", "passdb": ",,else", "more": "Alice@a,Alice,,,pass",
	}
	if err != nil || !maps.Equal(r.UserFields, want) {
		t.Errorf("got %v, %v", r, err)
	}
	for _, name := range []string{"auth_u", "login_u", "auth_", "orig_u", "original_", "h", ""} {
		if _, ok := (&attempt{}).value(name); ok {
			t.Errorf("there is a variable %q", name)
		}
	}
}

// A user name is data: it is never read as a scheme, a field or a template.
func TestNamesAreData(t *testing.T) {
	a := newAuth(t, Config{
		Passdbs: []PassdbConfig{{Driver: "static", Args: "password=%u note=%u"}},
		Userdbs: []UserdbConfig{{Driver: "static", Args: "home=/srv/%u"}},
	})
	for _, row := range []struct{ user, password, want string }{
		{"{plain}x", "{plain}x", "{plain}x"},
		{"{plain}x", "x", "AUTHENTICATIONFAILED"},
		{"a nopassword=y", "x", "AUTHENTICATIONFAILED"},
		{"%d", "%d", "%d"},
	} {
		r, err := a.Authenticate(t.Context(), Request{AuthID: row.user, Password: row.password})
		if got := say(r, err); got != row.want || err == nil && (r.Fields["note"] != row.user || r.UserFields["home"] != "/srv/"+row.user) {
			t.Errorf("%v: %q, %+v", row, got, r)
		}
	}
}

func TestFlag(t *testing.T) {
	fields := Fields{"a": "y", "b": "yes", "c": "", "d": "no", "e": "N", "f": "0", "g": "false", "h": "1"}
	for name, want := range map[string]bool{"a": true, "b": true, "c": true, "d": false, "e": false, "f": false, "g": false, "h": true, "none": false} {
		if fields.Flag(name) != want {
			t.Errorf("%s=%s: %v", name, fields[name], !want)
		}
	}
}

// Many at once share one Authenticator.
func TestConcurrent(t *testing.T) {
	config := backend()
	config.MaxPenalty = 1
	a := newAuth(t, config)
	var group sync.WaitGroup
	for i := range 64 {
		group.Go(func() {
			req := Request{AuthzID: "someone1", AuthID: "someone3", Password: "master-secret"}
			want := "someone1 as someone3 in team"
			if i%2 == 1 {
				req, want = Request{AuthID: "someone4", Password: "wrong"}, "AUTHENTICATIONFAILED"
			}
			if got := say(a.Authenticate(t.Context(), req)); got != want && got != "UNAVAILABLE" {
				t.Errorf("got %q, want %q", got, want)
			}
			if got := say(a.Lookup(t.Context(), "someone5")); got != "someone5 in team,staff" {
				t.Errorf("got %q", got)
			}
		})
	}
	group.Wait()
}
