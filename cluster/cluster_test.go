package cluster

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/roost-mail/roost/imap"
)

// defaultTemplate is Dovecot's default for director_username_hash.
const defaultTemplate = "%Lu"

func TestUserHash(t *testing.T) {
	for _, row := range []struct {
		template, user string
		want           uint32
	}{
		{"%u", "", 3558706393},
		{"%u", "testuser", 1570531526},
		{"%u", "testuser@domain", 3813799143},
		{"%u", "@", 1368314517},
		{"%u", "@domain", 3749630072},
		{"%d", "@domain", 2908717800},
		{"%u", "test@user@domain", 2029259821},
		{"%n", "test@user@domain", 160394189},
		{"%d", "test@user@domain", 1841230927},
		{defaultTemplate, "alice", 1669653170},
		{defaultTemplate, "bob", 2677887420},
		{defaultTemplate, "carol", 2845841792},
		{defaultTemplate, "dave", 370180999},
		{defaultTemplate, "eve", 4201288175},
		{defaultTemplate, "frank", 639974480},
		{defaultTemplate, "user@example.com", 3045693125},
		{defaultTemplate, "ALICE", 1669653170},
		{"%Ln", "Alice@Example.com", 1669653170},
	} {
		template, err := ParseTemplate(row.template)
		if err != nil {
			t.Fatal(err)
		}
		if got := UserHash(template.Expand(row.user)); got != row.want {
			t.Errorf("%s of %q: %d, want %d", row.template, row.user, got, row.want)
		}
	}
}

func TestTemplate(t *testing.T) {
	for _, row := range []struct{ template, user, want string }{
		{"", "a@b", ""},
		{"x", "a@b", "x"},
		{"%u", "Bob@X.org", "Bob@X.org"},
		{"%Lu", "Bob@X.org", "bob@x.org"},
		{"%Un", "Bob@X.org", "BOB"},
		{"%ULn", "Bob", "bob"},
		{"%LUn", "Bob", "BOB"},
		{"%d", "bob", ""},
		{"%Ld/%Ln", "Bob@X.org", "x.org/bob"},
		{"%n%%%d", "a@b", "a%b"},
		{"%{user}|%L{username}|%{domain}", "A@b@c", "A@b@c|a|b@c"},
		{"%Lu", "ÄÖ@É", "ÄÖ@É"}, // ASCII letters only
		{"%Lu", "[\\]^_@Z", "[\\]^_@z"},
	} {
		template, err := ParseTemplate(row.template)
		if err != nil {
			t.Errorf("%s: %v", row.template, err)
		}
		if got := template.Expand(row.user); got != row.want {
			t.Errorf("%s of %q: %q, want %q", row.template, row.user, got, row.want)
		}
	}
	for _, text := range []string{"%", "%x", "%L", "%L%", "a%", "%{user", "%{home}", "%2u", "%h", "%MLu"} {
		if _, err := ParseTemplate(text); err == nil {
			t.Errorf("%s: no error", text)
		}
	}
}

func FuzzTemplate(f *testing.F) {
	f.Add("%Lu", "Bob@x.org")
	f.Add("%n%%%U{domain}", "@")
	f.Add("%", "\xff@")
	f.Fuzz(func(t *testing.T, text, user string) {
		template, err := ParseTemplate(text)
		if err != nil {
			return
		}
		if got := template.Expand(user); !strings.Contains(text, "%") && got != text {
			t.Errorf("%q became %q", text, got)
		}
	})
}

func TestAdjustedLocate(t *testing.T) {
	template, err := ParseTemplate(defaultTemplate)
	if err != nil {
		t.Fatal(err)
	}
	adjusted, err := NewAdjusted(template, members(t, "127.0.3.11 127.0.3.12 127.0.0.1:10143@other"))
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ user, tag, want string }{
		{"alice", "", "127.0.3.12:143"},
		{"Alice", "", "127.0.3.12:143"},
		{"bob", "", "127.0.3.11:143"},
		{"bob", "other", "127.0.0.1:10143"},
	} {
		backend, err := adjusted.Locate(t.Context(), Query{User: row.user, Tag: row.tag})
		if err != nil || backend.Addr(143).String() != row.want {
			t.Errorf("%s, tag %q: %v, %v; want %s", row.user, row.tag, backend, err, row.want)
		}
	}
	if _, err := adjusted.Locate(t.Context(), Query{User: "bob", Tag: "none"}); imap.CodeOf(err) != imap.CodeUnavailable {
		t.Errorf("unknown tag: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := adjusted.Locate(ctx, Query{User: "bob"}); imap.CodeOf(err) != imap.CodeUnavailable || !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := NewAdjusted(template, []Member{{}}); err == nil {
		t.Error("a member without an address was accepted")
	}
}

// names is a Resolver with fixed answers.
type names map[string][]netip.Addr

func (n names) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	if ips, ok := n[host]; ok {
		return ips, nil
	}
	return nil, errors.New("no such host")
}

func TestParseMembers(t *testing.T) {
	resolver := names{
		"one.example.com": {netip.MustParseAddr("::ffff:192.0.2.1")},
		"two.example-x":   {netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("2001:db8::2")},
		"none":            {},
	}
	for _, row := range []struct{ list, want string }{
		{"", ""},
		{"10.0.0.1 10.0.0.2", "10.0.0.1=10.0.0.1 10.0.0.2=10.0.0.2"},
		{" 10.0.0.1,\t10.0.0.2@x ", "10.0.0.1=10.0.0.1 10.0.0.2=10.0.0.2@x"},
		{"10.0.0.254-10.0.0.255", "10.0.0.254=10.0.0.254 10.0.0.255=10.0.0.255"},
		{"10.0.0.1-10.0.0.1:24", "10.0.0.1-10.0.0.1:24=10.0.0.1:24"},
		{"2001:db8::fffe-2001:db8::ffff@v6", "2001:db8::fffe=2001:db8::fffe@v6 2001:db8::ffff=2001:db8::ffff@v6"},
		{"127.0.0.1:10143 127.0.0.1:20143@t", "127.0.0.1:10143=127.0.0.1:10143 127.0.0.1:20143=127.0.0.1:20143@t"},
		{"[2001:db8::1]:143 [2001:db8::2] 2001:db8::3", "[2001:db8::1]:143=[2001:db8::1]:143 [2001:db8::2]=2001:db8::2 2001:db8::3=2001:db8::3"},
		{"one.example.com:143@a", "one.example.com:143=192.0.2.1:143@a"},
		{"one.example.com two.example-x", "one.example.com=192.0.2.1 192.0.2.2=192.0.2.2 2001:db8::2=2001:db8::2"},
	} {
		list, err := ParseMembers(t.Context(), row.list, resolver)
		if err != nil {
			t.Errorf("%s: %v", row.list, err)
		}
		var got []string
		for _, m := range list {
			word := m.Name + "=" + pointText(m.Backend)
			if m.Tag != "" {
				word += "@" + m.Tag
			}
			got = append(got, word)
			if m.Down || m.Weight != DefaultWeight {
				t.Errorf("%s: %+v", row.list, m)
			}
		}
		if s := strings.Join(got, " "); s != row.want {
			t.Errorf("%s: %s, want %s", row.list, s, row.want)
		}
	}
	for _, list := range []string{
		"none", "unknown", "@tag", ":143", "10.0.0.1:", "10.0.0.1:0", "10.0.0.1:65536", "10.0.0.1:imap", "[::1", "[::1]x", "[::1]:", "[",
		"10.0.0.2-10.0.0.1", "10.0.0.1-10.0.1.1", "10.0.0.1-::1", "2001:db8::1-2001:db8::1:0", "2001:db8::-2001:db8::ffff",
	} {
		if got, err := ParseMembers(t.Context(), list, resolver); err == nil {
			t.Errorf("%s: no error, %v", list, got)
		}
	}
}

func FuzzMembers(f *testing.F) {
	for _, s := range []string{"10.0.0.1-10.0.0.9:143@a b", "[::1]:1", "::-::ffff", "[]", "a:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, list string) {
		members, err := ParseMembers(t.Context(), list, names{})
		if err == nil {
			_, _ = NewRing(members)
		}
	})
}
