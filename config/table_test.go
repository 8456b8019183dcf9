package config

import (
	"fmt"
	"strings"
	"testing"
)

// special are implemented settings that go to no field of their own.
var special = map[string]bool{
	"plugin/acl": true, "plugin/acl_anyone": true, "plugin/acl_ignore_namespace": true, // derived by finishACL
	"plugin/quota": true, "plugin/quota_rule": true, "plugin/quota_grace": true, // derived by finishQuota
	"plugin/quota_max_mail_size": true, "plugin/quota_exceeded_message": true,
	"/imapc_sasl_mechanisms": true, "/mail_shared_explicit_inbox": true, // one value only
}

// TestTable checks what the table promises of itself.
func TestTable(t *testing.T) {
	seen := map[string]bool{}
	for _, g := range table() {
		for _, r := range g.rows {
			name := g.scope + "/" + r.Name
			switch {
			case seen[name]:
				t.Errorf("%s stands there twice", name)
			case !strings.HasSuffix(r.Help, "."):
				t.Errorf("%s: the help is no sentence: %q", name, r.Help)
			case r.Class != Implemented && r.Reason == "":
				t.Errorf("%s: no reason", name)
			case r.Only != nil && r.Reason == "":
				t.Errorf("%s: no reason for Only", name)
			case r.Class == Implemented && r.bind == nil && !special[name]:
				t.Errorf("%s: is implemented and goes nowhere", name)
			case r.Type == Enum && len(r.Enum) == 0:
				t.Errorf("%s: no words to choose from", name)
			}
			seen[name] = true
			if r.Default != "" {
				if err := checkType(&r, r.Default); err != nil {
					t.Errorf("%s: the default is wrong: %v", name, err)
				}
			}
			if why := refusal(&r, r.Default); why != "" {
				t.Errorf("%s: the default is refused: %s", name, why)
			}
			if err := assignDefault(&r); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if len(seen) < 450 {
		t.Errorf("only %d settings", len(seen))
	}
}

func assignDefault(r *Row) error {
	if r.bind == nil {
		return nil
	}
	for _, target := range []any{&Settings{}, &Imapc{}, &Namespace{}, &Mailbox{}, &Passdb{}, &Userdb{}, &inet{}, &certPair{}} {
		if p := r.bind(target); p != nil {
			if r.Default == "" {
				if _, isString := p.(*string); isString {
					return nil
				}
			}
			return assign(p, r.Default)
		}
	}
	return fmt.Errorf("is bound to nothing that is known")
}

func TestLookup(t *testing.T) {
	for _, c := range []struct{ scope, name, want string }{
		{"", "imapc_host", "imapc_host"},
		{"", "imapc_host2", ""},
		{"", "acl", ""},
		{"plugin", "acl", "acl"},
		{"plugin", "acl2", ""},
		{"plugin", "acl_ignore_namespace", "acl_ignore_namespace"},
		{"plugin", "acl_ignore_namespace12", "acl_ignore_namespace"},
		{"plugin", "acl_unheard_of", ""},
		{"plugin", "quota2_rule", "quota*"},
		{"namespace", "prefix", "prefix"},
		{"namespace", "imapc_port", "imapc_port"},
		{"namespace", "mail_location", ""},
		{"fifo_listener", "mode", "mode"},
		{"nowhere", "mode", ""},
	} {
		got := ""
		if r := lookup(c.scope, c.name); r != nil {
			got = r.Name
		}
		if got != c.want {
			t.Errorf("lookup(%q, %q) = %q, want %q", c.scope, c.name, got, c.want)
		}
	}
}

func TestNearest(t *testing.T) {
	known := namesIn("")
	for _, c := range []struct{ name, want string }{
		{"imapc_hots", "imapc_host"},
		{"mail_loaction", "mail_location"},
		{"protocol", "protocols"},
		{"sll", "ssl"},
		{"zzz", ""},
		{strings.Repeat("x", 1000), ""},
	} {
		want := c.want
		if want != "" {
			want = " (did you mean " + want + "?)"
		}
		if got := nearest(c.name, known); got != want {
			t.Errorf("nearest(%q) = %q, want %q", short(c.name), got, want)
		}
	}
}

func TestValueTypes(t *testing.T) {
	for _, c := range []struct {
		typ  Type
		text string
		want string // canonical, or "" for an error
	}{
		{Bool, "yes", "true"},
		{Bool, "YES", "true"},
		{Bool, "n", "false"},
		{Bool, "true", ""},
		{Bool, "", ""},
		{Time, "0", "0s"},
		{Time, "30 s", "30s"},
		{Time, "30secs", "30s"},
		{Time, "5 m", "5m0s"},
		{Time, "5min", "5m0s"},
		{Time, "5 minutes", "5m0s"},
		{Time, "1 hours", "1h0m0s"},
		{Time, "2 d", "48h0m0s"},
		{Time, "1 week", "168h0m0s"},
		{Time, "250 ms", "250ms"},
		{Time, "500 msecs", "500ms"},
		{Time, "4294967295 secs", "1193046h28m15s"},
		{Time, "5", ""},
		{Time, "-1 s", ""},
		{Time, "1 s x", ""},
		{Time, "99999999999999999999 s", ""},
		{Time, "9999999999999 weeks", ""},
		{Size, "64 k", "65536"},
		{Size, "64KB", "65536"},
		{Size, "1 MiB", "1048576"},
		{Size, "1G", "1073741824"},
		{Size, "18446744073709551615 B", "18446744073709551615"},
		{Size, "18446744073709551615 k", ""},
		{Size, "5kX", ""},
		{Size, "k", ""},
		{Uint, "42", "42"},
		{Uint, "-1", ""},
		{Uint, "4294967296", ""},
		{Port, "65536", ""},
		{Octal, "0660", "432"},
		{Octal, "0888", ""},
		{Octal, "77777", ""},
	} {
		r := &Row{Type: c.typ}
		err := checkType(r, c.text)
		switch {
		case c.want == "" && err == nil:
			t.Errorf("%v %q: no error", c.typ, c.text)
		case c.want != "" && (err != nil || canonical(r, c.text) != c.want):
			t.Errorf("%v %q = %q, %v; want %q", c.typ, c.text, canonical(r, c.text), err, c.want)
		}
	}
}
