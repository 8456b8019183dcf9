package auth

import (
	"errors"
	"maps"
	"net/netip"
	"strings"
	"testing"

	"github.com/roost-mail/roost/imap"
)

// Who may log in as whom. The names are those of a client; "*" is the master
// separator.
func TestMasterLogins(t *testing.T) {
	rows := []struct {
		name                      string
		authzid, authid, password string
		want                      string
	}{
		{"own login", "", "someone1", "pass", "someone1"},
		{"own login, upper case", "", "SomeOne1", "pass", "someone1"},
		{"own login, groups", "", "someone5", "pass", "someone5 in team,staff"},
		{"wrong password", "", "someone1", "secret", "AUTHENTICATIONFAILED"},
		{"no password", "", "someone1", "", "AUTHENTICATIONFAILED"},
		{"shared secret is nobody's password", "", "someone1", "master-secret", "AUTHENTICATIONFAILED"},
		{"unknown user", "", "nobody", "pass", "AUTHENTICATIONFAILED"},
		{"acting user", "someone1", "someone2", "master-secret", "someone1 as someone2"},
		{"groups are the acting user's", "someone5", "someone3", "master-secret", "someone5 as someone3 in team"},
		{"the owner's groups are not lent", "someone5", "someone1", "master-secret", "someone5 as someone1"},
		{"separator", "", "someone1*someone2", "master-secret", "someone1 as someone2"},
		{"equal names, shared secret", "someone1", "someone1", "master-secret", "AUTHENTICATIONFAILED"},
		{"equal names, own password", "someone1", "someone1", "pass", "someone1"},
		{"equal names but for case, shared secret", "SOMEONE1", "someone1", "master-secret", "AUTHENTICATIONFAILED"},
		{"equal names but for case, own password", "SOMEONE1", "someone1", "pass", "someone1"},
		{"acting user in upper case", "someone1", "SOMEONE2", "master-secret", "someone1 as someone2"},
		{"oneself by separator, shared secret", "", "someone1*someone1", "master-secret", "AUTHENTICATIONFAILED"},
		{"oneself by separator and case, shared secret", "", "SOMEONE1*someone1", "master-secret", "AUTHENTICATIONFAILED"},
		{"oneself by separator, own password", "", "someone1*someone1", "pass", "someone1"},
		{"empty owner", "", "*someone2", "master-secret", "AUTHENTICATIONFAILED"},
		{"empty master", "", "someone1*", "master-secret", "AUTHENTICATIONFAILED"},
		{"two separators", "", "someone1*someone2*someone3", "master-secret", "AUTHENTICATIONFAILED"},
		{"separator and authzid", "someone1", "someone2*someone3", "master-secret", "AUTHENTICATIONFAILED"},
		{"separator in authzid", "someone1*someone2", "someone3", "master-secret", "AUTHENTICATIONFAILED"},
		{"wrong secret", "someone1", "someone2", "pass", "AUTHENTICATIONFAILED"},
		{"no secret", "someone1", "someone2", "", "AUTHENTICATIONFAILED"},
		{"unknown acting user", "someone1", "nobody", "master-secret", "AUTHENTICATIONFAILED"},
		{"unknown owner", "nobody", "someone2", "master-secret", "AUTHORIZATIONFAILED"},
		{"unknown owner, wrong secret", "nobody", "someone2", "pass", "AUTHENTICATIONFAILED"},
		{"both unknown", "nobody", "somebody", "master-secret", "AUTHORIZATIONFAILED"},
		{"path as owner", "../someone1", "someone2", "master-secret", "AUTHENTICATIONFAILED"},
		{"no names", "", "", "pass", "AUTHENTICATIONFAILED"},
	}
	for name, config := range map[string]Config{"backend": backend(), "director": director()} {
		a := newAuth(t, config)
		for _, row := range rows {
			t.Run(name+"/"+row.name, func(t *testing.T) {
				if name == "director" {
					row.want, _, _ = strings.Cut(row.want, " in ") // its file has no groups
				}
				got := say(a.Authenticate(t.Context(), Request{AuthzID: row.authzid, AuthID: row.authid, Password: row.password}))
				if got != row.want {
					t.Errorf("got %q, want %q", got, row.want)
				}
			})
		}
	}
}

// Where every name is answered for, every name exists.
func TestMasterLoginsOfAnyone(t *testing.T) {
	a := newAuth(t, allStatic())
	for _, row := range []struct{ authzid, authid, password, want string }{
		{"", "alice", "pass", "alice"},
		{"alice", "bob", "master-secret", "alice as bob"},
		{"ALICE", "alice", "master-secret", "AUTHENTICATIONFAILED"},
		{"alice", "alice", "pass", "alice"},
		{"alice", "bob", "pass", "AUTHENTICATIONFAILED"},
	} {
		got := say(a.Authenticate(t.Context(), Request{AuthzID: row.authzid, AuthID: row.authid, Password: row.password}))
		if got != row.want {
			t.Errorf("%v: %q", row, got)
		}
	}
	r, err := a.Authenticate(t.Context(), Request{AuthzID: "alice", AuthID: "bob", Password: "master-secret"})
	if err != nil {
		t.Fatal(err)
	}
	want := Fields{
		"uid": "vmail", "gid": "vmail", "home": "/srv/mail/alice", "imapc_master_user": "alice",
		"acl_user": "bob", "namespace/shared/disabled": "yes",
	}
	if !maps.Equal(r.UserFields, want) {
		t.Errorf("fields %v, want %v", r.UserFields, want)
	}
}

// A master passdb may override what the owner's userdb says, and what the acting
// user may do.
func TestMasterFieldsOverride(t *testing.T) {
	config := backend()
	config.Passdbs[0].Args += " userdb_home=/srv/other userdb_acl_groups=guests, userdb_acl_user=%u"
	config.Passdbs[0].OverrideFields = "userdb_by=%{master_user}/%{login_user}/%{auth_username}/%{master_user}"
	a := newAuth(t, config)
	r, err := a.Authenticate(t.Context(), Request{AuthzID: "someone5", AuthID: "someone3", Password: "master-secret"})
	if err != nil {
		t.Fatal(err)
	}
	if say(r, nil) != "someone5 as someone3 in guests" || r.UserFields["home"] != "/srv/other" ||
		r.UserFields["acl_user"] != "someone5" || r.UserFields["by"] != "someone3/someone5/someone3/someone3" {
		t.Errorf("got %+v", r)
	}
	r, err = a.Authenticate(t.Context(), Request{AuthID: "someone5", Password: "pass"})
	if err != nil || say(r, nil) != "someone5 in team,staff" || r.UserFields["acl_user"] != "" {
		t.Errorf("an own login is not concerned: %+v, %v", r, err)
	}
}

// A master whom a passwd-file lists need not be a mail user.
func TestListedMaster(t *testing.T) {
	config := backend()
	config.Passdbs[0] = PassdbConfig{Driver: "passwd-file", Master: true, Args: "testdata/users.odd"}
	a := newAuth(t, config)
	for _, row := range []struct{ authzid, authid, password, want string }{
		{"someone1", "plain", "pass", "someone1 as plain"},
		{"someone1", "plain", "other", "AUTHENTICATIONFAILED"},
		{"someone1", "someone2", "pass", "AUTHENTICATIONFAILED"},
		{"nobody", "plain", "pass", "AUTHORIZATIONFAILED"},
		{"someone1", "closed", "", "AUTHENTICATIONFAILED"},
		{"someone1", "odd", "pass", "UNAVAILABLE"},
	} {
		got := say(a.Authenticate(t.Context(), Request{AuthzID: row.authzid, AuthID: row.authid, Password: row.password}))
		if got != row.want {
			t.Errorf("%v: %q", row, got)
		}
	}
}

// An alias must not make an acting user the owner.
func TestAliasOfMaster(t *testing.T) {
	a := newAuth(t, Config{Passdbs: []PassdbConfig{
		{Driver: "static", Master: true, Args: "password=master-secret", ResultSuccess: "continue"},
		{Driver: "passwd-file", Args: "scheme=PLAIN testdata/users.odd"},
	}})
	for _, row := range []struct{ authzid, authid, want string }{
		{"plain", "alias", "AUTHENTICATIONFAILED"},
		{"alias", "plain", "AUTHENTICATIONFAILED"},
		{"colons", "alias", "colons as plain"},
		{"off", "plain", "AUTHORIZATIONFAILED"},
		{"plain", "off", "AUTHORIZATIONFAILED"},
	} {
		got := say(a.Authenticate(t.Context(), Request{AuthzID: row.authzid, AuthID: row.authid, Password: "master-secret", RemoteAddr: office}))
		if got != row.want {
			t.Errorf("%v: %q", row, got)
		}
	}
}

// The same for a master passdb: what must the normal passdb say of the owner?
func TestMasterResultActions(t *testing.T) {
	for _, row := range []struct{ success, owner, password, want string }{
		{"", "someone1", "master-secret", "someone1 as someone2"},
		{"", "nobody", "master-secret", "AUTHORIZATIONFAILED"}, // the userdb does not know him
		{"return", "someone1", "master-secret", "AUTHORIZATIONFAILED"},
		{"return-fail", "someone1", "master-secret", "AUTHORIZATIONFAILED"},
		{"continue", "someone1", "master-secret", "someone1 as someone2"},
		{"continue", "nobody", "master-secret", "AUTHORIZATIONFAILED"},
		{"continue-ok", "someone1", "master-secret", "someone1 as someone2"},
		{"continue-ok", "nobody", "master-secret", "AUTHORIZATIONFAILED"},
		{"continue-fail", "someone1", "master-secret", "AUTHENTICATIONFAILED"},
		{"continue", "someone1", "wrong", "AUTHENTICATIONFAILED"},
		{"continue-ok", "someone1", "pass", "AUTHENTICATIONFAILED"},
	} {
		config := backend()
		config.Passdbs[0].ResultSuccess = row.success
		a := newAuth(t, config)
		got := say(a.Authenticate(t.Context(), Request{AuthzID: row.owner, AuthID: "someone2", Password: row.password}))
		if got != row.want {
			t.Errorf("%+v: got %q", row, got)
		}
	}
}

// The shared secret is limited to the cluster's own addresses.
func TestMasterNets(t *testing.T) {
	config := backend()
	config.Passdbs[0].DefaultFields = "allow_nets=192.0.2.0/24"
	a := newAuth(t, config)
	for client, want := range map[netip.Addr]string{office: "someone1 as someone2", abroad: "AUTHENTICATIONFAILED", {}: "AUTHENTICATIONFAILED"} {
		got := say(a.Authenticate(t.Context(), Request{AuthzID: "someone1", AuthID: "someone2", Password: "master-secret", RemoteAddr: client}))
		if got != want {
			t.Errorf("%s: %q", client, got)
		}
	}
}

func TestNoMasterPassdb(t *testing.T) {
	config := backend()
	config.Passdbs = config.Passdbs[1:]
	_, err := newAuth(t, config).Authenticate(t.Context(), Request{AuthzID: "someone1", AuthID: "someone2", Password: "pass"})
	if !errors.Is(err, errNoMaster) || imap.CodeOf(err) != imap.CodeAuthenticationFailed {
		t.Errorf("got %v", err)
	}
}
