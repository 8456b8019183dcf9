package auth

import "testing"

// TestDelegated: where another node of ours vouches for the acting user, all is as in
// a master login but for the password; and nothing makes others of the two names.
func TestDelegated(t *testing.T) {
	withoutMasters := backend()
	withoutMasters.Passdbs = withoutMasters.Passdbs[1:]
	for name, config := range map[string]Config{"backend": backend(), "without master passdbs": withoutMasters} {
		a := newAuth(t, config)
		for _, row := range []struct{ owner, acting, want string }{
			{"someone1", "someone2", "someone1 as someone2"},
			{"someone5", "someone3", "someone5 as someone3 in team"},
			{"someone1", "someone1", "AUTHENTICATIONFAILED"},
			{"SOMEONE1", "someone2", "AUTHENTICATIONFAILED"},
			{"someone1", "Someone2", "AUTHENTICATIONFAILED"},
			{"someone1", "someone2*someone3", "AUTHENTICATIONFAILED"},
			{"", "someone2", "AUTHENTICATIONFAILED"},
			{"someone1", "", "AUTHENTICATIONFAILED"},
			{"nobody", "someone2", "AUTHORIZATIONFAILED"},
			{"someone1", "nobody", "AUTHENTICATIONFAILED"},
		} {
			got := say(a.Authenticate(t.Context(), Request{AuthzID: row.owner, AuthID: row.acting, Delegated: true}))
			if got != row.want {
				t.Errorf("%s: %q", row, got)
			}
		}
		got := say(a.Authenticate(t.Context(), Request{AuthzID: "someone1", AuthID: "someone2"}))
		if got != "AUTHENTICATIONFAILED" {
			t.Errorf("%s: without that: %q", name, got)
		}
	}
}

// TestDelegatedAlias: a passdb that gives a user another name does not lend that one's mail.
func TestDelegatedAlias(t *testing.T) {
	config := backend()
	config.Passdbs[1].OverrideFields = "user=someone4"
	a := newAuth(t, config)
	for _, owner := range []string{"someone1", "someone4"} {
		if got := say(a.Authenticate(t.Context(), Request{AuthzID: owner, AuthID: "someone2", Delegated: true})); got != "AUTHENTICATIONFAILED" {
			t.Errorf("%s: %q", owner, got)
		}
	}
}

// TestPortWithoutMasters: on a port that is not for them master logins look like a wrong
// password, whatever form they have, and own logins are as they are.
func TestPortWithoutMasters(t *testing.T) {
	a := newAuth(t, backend())
	for _, row := range []struct{ authzid, authid, password, want string }{
		{"", "someone1", "pass", "someone1"},
		{"someone1", "someone1", "pass", "someone1"},
		{"someone1", "someone2", "master-secret", "AUTHENTICATIONFAILED"},
		{"", "someone1*someone2", "master-secret", "AUTHENTICATIONFAILED"},
	} {
		got := say(a.Authenticate(t.Context(), Request{AuthzID: row.authzid, AuthID: row.authid, Password: row.password, NoMaster: true}))
		if got != row.want {
			t.Errorf("%s: %q", row, got)
		}
	}
}
