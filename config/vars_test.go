package config

import (
	"strings"
	"testing"
)

// TestExpand: the results without an error are those of Dovecot 2.3.19 for the
// same templates.
func TestExpand(t *testing.T) {
	vars := &Vars{
		User: "alice@example.com", Home: "/home/example.com/alice", UID: "5001", Service: "imap", PID: "17",
		LocalIP: "10.0.0.1", RemoteIP: "10.0.0.2", LocalPort: "143", RemotePort: "5000",
		MasterUser: "bob@x", AuthUser: "bob@x", LoginUser: "alice@example.com", OriginalUser: "Alice@Example.com",
		Session: "abc", Hostname: "host", Userdb: map[string]string{"home": "/h", "empty": ""},
		Env: func(name string) string { return strings.ToLower(name) },
	}
	for _, c := range []struct{ template, want string }{
		{"", ""},
		{"plain", "plain"},
		{"%u", "alice@example.com"},
		{"%n", "alice"},
		{"%d", "example.com"},
		{"%h", "/home/example.com/alice"},
		{"%s %p %l %r %a %b", "imap 17 10.0.0.1 10.0.0.2 143 5000"},
		{"<%n><%d>", "<alice><example.com>"},
		{"%{user} %{username} %{domain}", "alice@example.com alice example.com"},
		{"%%u", "%u"},
		{"shared/%%u/%n", "shared/%u/alice"},
		{"100%%", "100%"},

		{"%2u", "al"},
		{"%2.1u", "i"},
		{"%-2.2u", "om"},
		{"%-2u", "al"},
		{"%02u", "alice@example.com"},
		{"%010u", "alice@example.com"},
		{"%08n", "000alice"},
		{"%0u", "alice@example.com"},
		{"%2.u", "ice@example.com"},
		{"%.2u", "al"},
		{"%-1u", "a"},
		{"%-3.2u", "co"},
		{"%1.100u", "lice@example.com"},
		{"%100.1u", ""},
		{"%0.-4u", "alice@example"},
		{"%2{user}", "al"},

		{"%Uu", "ALICE@EXAMPLE.COM"},
		{"%L{orig_user}", "alice@example.com"},
		{"%U{username}", "ALICE"},
		{"%Xu", "0"},
		{"%Xp", "11"},
		{"%05Xp", "00011"},
		{"%Ru", "moc.elpmaxe@ecila"},
		{"%Tu", "alice@example.com"},
		{"%Dd", "example,dc=com"},
		{"%Mu", "c160f8cc69a4f0bf2b0362752353d060"},
		{"%UMu", "bb4a3a241d023b031e53d235fc679a1b"},
		{"%2Mu", "c1"},
		{"%Nu", "69a4f0bf"},
		{"%2.256Nu", "bf"},
		{"%.256Nu", "bf"},
		{"%4.16Nu", "000f"},
		{"%5.5Nu", "00001"},
		{"%Hu", "2481bd"},
		{"%2.256Hu", "bd"},
		{"%-2.2i %02i", "01 5001"},
		{"%08Nu", "7"},
		{"%8.8Nu", "00000007"},

		{"%{md5:user}", "c160f8cc69a4f0bf2b0362752353d060"},
		{"%{sha256:user}", "ff8d9819fc0e12bf0d24892e45987e249a28dce836a85cad60e28eaaa8c6d976"},
		{"%{sha1;truncate=32:user}", "fc2398a7"},
		{"%{md5;truncate=30:user}", "30583e33"},
		{"%{sha1;rounds=2:user}", "b5bdbb923700259d6edcd5529bfbf2cfe68f1c8d"},
		{"%{sha1;salt=x:user}", "a9b911237b91095a14d17be13a378042530518db"},
		{"%{sha1;format=base64:user}", "/COYpz3VTWI3xP21j9fXU0fPWvM="},

		{`%{if;%u;eq;alice@example.com;yes;no}`, `yes`},
		{`%{if;5;>;3;yes;no}`, `yes`},
		{`%{if;5;<;3;yes;no}`, `no`},
		{`%{if;5;>=;5;yes;no}`, `yes`},
		{`%{if;5;<=;4;yes;no}`, `no`},
		{`%{if;5;!=;4;yes;no}`, `yes`},
		{`%{if;a;lt;b;yes;no}`, `yes`},
		{`%{if;b;le;a;yes;no}`, `no`},
		{`%{if;b;gt;a;yes;no}`, `yes`},
		{`%{if;b;ge;b;yes;no}`, `yes`},
		{`%{if;a;ne;a;yes;no}`, `no`},
		{`%{if;%u;*;alice*;yes;no}`, `yes`},
		{`%{if;%u;!*;alice*;yes;no}`, `no`},
		{`%{if;a/[b;*;?*[b;yes;no}`, `yes`},
		{`%{if;%u;~;^al.*com$;yes;no}`, `yes`},
		{`%{if;%u;!~;^al;yes;no}`, `no`},
		{`%{if;%{user};eq;alice@example.com;%n;%d}`, `alice`},
		{`%{if;a;eq;a;x\;y;no}`, `x;y`},
		{`%{if;a;eq;a;%{if;b;eq;c;p;q};no}`, `q`},
		{`%{if;a;eq;a;;no}`, ``},
		{`%{if;a;eq;b;x}`, ``},
		{`%{if;%d;eq;;none;%d}`, `example.com`},
		{`%L{if;a;eq;a;ABC;no}`, `abc`},
		{`%2.1{if;a;eq;a;ABC;no}`, `C`},
		{`%{if;a;eq;a;x:y;no}`, `x`},

		{"%{userdb:home}|%{userdb:empty:x}|%{userdb:x:dd}|%{passdb:x}", "/h||dd|"},
		{"%{env:HOME}", "home"},
		{"%{master_user} %{auth_username} %{auth_domain} %{login_user} %{original_user}", "bob@x bob x alice@example.com Alice@Example.com"},
		{"%{session} %{hostname}", "abc host"},
	} {
		got, err := Expand(c.template, vars)
		if err != nil || got != c.want {
			t.Errorf("Expand(%q) = %q, %v; want %q", c.template, got, err, c.want)
		}
	}
}

func TestExpandUsers(t *testing.T) {
	for _, c := range []struct{ user, template, want string }{
		{"alice", "<%u|%n|%d>", "<alice|alice|>"},
		{"a@b@c", "<%n|%d>", "<a|b@c>"},
		{"", "<%u|%n|%d>", "<||>"},
		{"@b", "<%n|%d>", "<|b>"},
		{`a"b\c'd`, "%Eu", `a\"b\\c\'d`},
		{"255", "%Xu", "ff"},
		{"12", "%05u", "00012"},
		{"12", "%-05u", "00012"},
		{"12", "%05Xu", "0000c"},
		{"abcdef", "%-4.2u", "cd"},
		{"abcdef", "%2.2u", "cd"},
		{"abcdef", "%-4u", "abcd"},
		{"abcdef", "%-9.2u", "ab"},
		{"50%u", "%u", "50%u"},
	} {
		got, err := Expand(c.template, &Vars{User: c.user})
		if err != nil || got != c.want {
			t.Errorf("Expand(%q) for %q = %q, %v; want %q", c.template, c.user, got, err, c.want)
		}
	}
}

func TestExpandErrors(t *testing.T) {
	for _, c := range []struct{ template, want string }{
		{"%", "stands alone"},
		{"a%L", "stands alone"},
		{"%2", "stands alone"},
		{"%Q", "unknown variable %Q"},
		{"%!", "unknown variable %!"},
		{"%{nope}", "unknown variable %{nope}"},
		{"%{user", "%{ without }"},
		{"%{}", "unknown variable"},
		{"%{owner_user}", "unknown variable"},
		{"%{sha256:nope}", "unknown variable"},
		{"%{sha256;x=1:user}", "not known for a hash"},
		{"%{sha256;rounds=999999999:user}", "not known for a hash"},
		{"%{if;%u;==;1;yes;no}", "not a number"},
		{"%{if;0x5;>;3;yes;no}", "not a number"},
		{"%{if;;==;0;yes;no}", "not a number"},
		{"%{if;a;xx;a;1;2}", "unknown operator"},
		{"%{if;a}", "needs two values"},
		{"%{if;a;~;(;1;2}", "expression"},
		{"%{if;%{nope};eq;a;1;2}", "unknown variable"},
		{strings.Repeat("%{if;a;eq;a;", 20) + strings.Repeat("}", 20), "nested too deeply"},
		{"%99999u", "above"},
		{"%1.99999u", "above"},
		{strings.Repeat("%u", 10000), "larger than"},
	} {
		got, err := Expand(c.template, &Vars{User: "alice@example.com"})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Expand(%q) = %q, %v; want error with %q", short(c.template), short(got), err, c.want)
		}
	}
}

func TestExpandHome(t *testing.T) {
	for _, c := range []struct{ path, home, want string }{
		{"~/mail", "/home/bob", "/home/bob/mail"},
		{"~/mail", "/home/bob/", "/home/bob/mail"},
		{"~", "/home/bob", "/home/bob"},
		{"~bob/mail", "/home/bob", "~bob/mail"},
		{"/mail", "/home/bob", "/mail"},
		{"", "/home/bob", ""},
	} {
		if got := ExpandHome(c.path, c.home); got != c.want {
			t.Errorf("ExpandHome(%q, %q) = %q, want %q", c.path, c.home, got, c.want)
		}
	}
}

func BenchmarkExpand(b *testing.B) {
	vars := &Vars{User: "alice@example.com", Home: "/home/alice"}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Expand("imapc:%h/shared/%%u:INDEXPVT=~/pvt/%Ln", vars); err != nil {
			b.Fatal(err)
		}
	}
}
