package config

import (
	"fmt"
	"strings"
	"testing"
)

func TestForUser(t *testing.T) {
	s := mustLoad(t, "testdata/rig/plain-be1.conf")
	for _, c := range []struct {
		key, value string
		got        func(u *Settings) any
		want       string
	}{
		{"acl_groups", "team,staff", func(u *Settings) any { return u.ACL.Groups }, "team,staff"},
		{"plugin/acl_groups", "team", func(u *Settings) any { return u.ACL.Groups + u.Plugin["acl_groups"] }, "teamteam"},
		{"acl_user", "bob", func(u *Settings) any { return u.ACL.User }, "bob"},
		{"master_user", "bob", func(u *Settings) any { return u.ACL.MasterUser }, "bob"},
		{"acl_anyone", "allow", func(u *Settings) any { return u.ACL.Anyone }, "true"},
		{"acl_ignore_namespace2", "x/*", func(u *Settings) any { return u.ACL.IgnoreNamespaces }, "[shared/* x/*]"},
		{"imapc_master_user", "bob", func(u *Settings) any { return u.Imapc.MasterUser + u.Namespaces[1].Imapc.MasterUser }, "bobbob"},
		{"imapc_password", "50%", func(u *Settings) any { return u.Imapc.Password }, "50%"},
		{"mail", "roost:/srv/bob", func(u *Settings) any { return u.Mail.Location }, "roost:/srv/bob"},
		{"mail_location", "roost:/srv/50%", func(u *Settings) any { return u.Mail.Location }, "roost:/srv/50%%"},
		{"home", "/home/bob", func(u *Settings) any { return u.Mail.Home }, "/home/bob"},
		{"mail_max_userip_connections", "3", func(u *Settings) any { return u.Mail.MaxUserIPConnections }, "3"},
		{"imap_idle_notify_interval", "1 min", func(u *Settings) any { return u.IMAP.IdleNotifyInterval }, "1m0s"},
		{"namespace/shared/disabled", "yes", func(u *Settings) any { return len(u.Namespaces) }, "1"},
		{"namespace/shared/list", "yes", func(u *Settings) any { return u.Namespaces[1].List }, "yes"},
		{"namespace/shared/prefix", "other/%u/", func(u *Settings) any { return u.Namespaces[1].Prefix }, "other/%%u/"},
		{"mail_plugins", "", func(u *Settings) any { return u.HasPlugin("acl") }, "false"},
		{"uid", "5000", func(u *Settings) any { return u.Mail.Home }, ""},
	} {
		before := fmt.Sprint(plain(s))
		u, warnings, err := s.ForUser(map[string]string{c.key: c.value})
		if err != nil || len(warnings) > 0 {
			t.Errorf("%s: %v, %v", c.key, err, warnings)
			continue
		}
		if got := fmt.Sprint(c.got(u)); got != c.want {
			t.Errorf("%s = %s gives %s, want %s", c.key, c.value, got, c.want)
		}
		if fmt.Sprint(plain(s)) != before {
			t.Fatalf("%s: ForUser changed the settings it was called on", c.key)
		}
	}
}

func TestForUserWarnings(t *testing.T) {
	s := mustLoad(t, "testdata/rig/plain-be1.conf")
	for _, c := range []struct{ key, value, want string }{
		{"acl_gruops", "team", "acl_gruops: read and not used: there is no such setting (did you mean acl_groups?)"},
		{"quota_warning", "storage=95%% x", "without warnings"},
		{"protocols", "imap", "it cannot be set for one user"},
		{"namespace/nobody/disabled", "yes", "there is no such namespace"},
		{"namespace/shared/perfix", "x", "(did you mean prefix?)"},
		{"namespace/shared", "x", "its form is namespace/NAME/KEY"},
		{"plugin/unheard", "x", "there is no such setting"},
		{"state_dir", "/run/x", "read and not used"},
	} {
		_, warnings, err := s.ForUser(map[string]string{c.key: c.value})
		if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0].String(), c.want) {
			t.Errorf("%s: %v, %v; want a warning with %q", c.key, warnings, err, c.want)
		}
	}
}

// TestForUserErrors: a user whose fields cannot be obeyed is not let in.
func TestForUserErrors(t *testing.T) {
	s := mustLoad(t, "testdata/rig/plain-be1.conf")
	for _, c := range []struct{ key, value, want string }{
		{"mail_max_userip_connections", "many", "is not a number"},
		{"imapc_ssl", "tls", "not one of"},
		{"imapc_max_idle_time", "0", "0 is not possible"},
		{"imapc_features", "serach", "did you mean search?"},
		{"acl", "vfile:/etc/global", "refused: all users have the same file of global rights"},
		{"mail_plugins", "acl mail_crypt", "refused"},
		{"mail_plugins", "alc", "there is no plugin alc"},
		{"namespace/shared/disabled", "perhaps", "neither yes nor no"},
		{"namespace/shared/prefix", "shared/", "no %%u"},
		{"namespace/shared/inbox", "yes", "only one namespace with inbox = yes"},
		{"namespace/inbox/disabled", "yes", "no namespace has inbox = yes"},
	} {
		u, _, err := s.ForUser(map[string]string{c.key: c.value})
		if err == nil || u != nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s = %s: %v; want an error with %q", c.key, c.value, err, c.want)
		}
	}
}

// TestForUserEnables: a namespace that the file disables can be there for one user.
func TestForUserEnables(t *testing.T) {
	s := mustParse(t, `
namespace inbox {
  inbox = yes
}
imapc_host = 10.0.0.1
imapc_password = secret
namespace archive {
  type = shared
  prefix = archive/%%u/
  location = imapc:~/archive/%%u
  disabled = yes
}
`)
	if len(s.Namespaces) != 1 {
		t.Fatalf("%d namespaces", len(s.Namespaces))
	}
	u, warnings, err := s.ForUser(map[string]string{"namespace/archive/disabled": "no"})
	if err != nil || len(warnings) > 0 || len(u.Namespaces) != 2 || u.Namespaces[1].Name != "archive" {
		t.Errorf("%+v, %v, %v", u, warnings, err)
	}
	if len(s.Namespaces) != 1 || len(s.disabled) != 1 {
		t.Error("ForUser changed the settings it was called on")
	}
}

func BenchmarkForUser(b *testing.B) {
	s := mustLoad(b, "testdata/rig/plain-be1.conf")
	fields := map[string]string{"uid": "5000", "gid": "5000", "home": "/home/bob", "acl_groups": "team", "imapc_master_user": "bob"}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := s.ForUser(fields); err != nil {
			b.Fatal(err)
		}
	}
}
