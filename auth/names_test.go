package auth

import (
	"errors"
	"strings"
	"testing"
)

func TestNormalize(t *testing.T) {
	const chars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ01234567890.-_@"
	rows := []struct {
		name   string
		config NameConfig
		in     string
		want   string // empty: refused
	}{
		{"default is lower case", NameConfig{}, "Alice@Example.ORG", "alice@example.org"},
		{"format %u", NameConfig{Format: "%u"}, "Alice", "Alice"},
		{"format %n", NameConfig{Format: "%Ln"}, "Alice@Example.org", "alice"},
		{"format %n, no domain", NameConfig{Format: "%n"}, "Alice", "Alice"},
		{"format of both", NameConfig{Format: "%Ln@%Ld"}, "A@B", "a@b"},
		{"format of words", NameConfig{Format: "%L{username}"}, "A@B", "a"},
		{"format upper", NameConfig{Format: "%Uu"}, "alice", "ALICE"},
		{"format makes nothing of it", NameConfig{Format: "%d"}, "alice", ""},
		{"format makes an empty domain", NameConfig{Format: "%n@%d"}, "alice", ""},
		{"only ASCII has cases", NameConfig{}, "\u00c4L\u0130CE\u212a", "\u00c4l\u0130ce\u212a"},
		{"realm", NameConfig{DefaultRealm: "Example.org"}, "alice", "alice@example.org"},
		{"realm is there", NameConfig{DefaultRealm: "example.org"}, "alice@b", "alice@b"},
		{"translation", NameConfig{Translation: "#@+@"}, "alice#b", "alice@b"},
		{"translation before characters", NameConfig{Translation: "#@", Chars: chars}, "alice#b", "alice@b"},
		{"characters", NameConfig{Chars: chars}, "alice", "alice"},
		{"forbidden character", NameConfig{Chars: chars}, "alice+x", ""},
		{"forbidden space", NameConfig{Chars: chars}, "a b", ""},
		{"space", NameConfig{}, "a b", "a b"},
		{"separator", NameConfig{MasterSeparator: "*"}, "a*b", ""},
		{"empty", NameConfig{}, "", ""},
		{"longest", NameConfig{}, strings.Repeat("a", MaxName), strings.Repeat("a", MaxName)},
		{"too long", NameConfig{}, strings.Repeat("a", MaxName+1), ""},
		{"too long with realm", NameConfig{DefaultRealm: "x"}, strings.Repeat("a", MaxName), ""},
		{"slash", NameConfig{}, "a/b", ""},
		{"translated slash", NameConfig{Translation: "!/"}, "a!b", ""},
		{"dot", NameConfig{}, ".", ""},
		{"dots", NameConfig{}, "..", ""},
		{"dots as domain", NameConfig{}, "a@..", ""},
		{"dots as local part", NameConfig{}, "..@a", ""},
		{"dots after the first @", NameConfig{}, "a@b@..", "a@b@.."},
		{"no local part", NameConfig{}, "@a", ""},
		{"no domain", NameConfig{}, "a@", ""},
		{"dots inside", NameConfig{}, "a..b", "a..b"},
		{"NUL", NameConfig{}, "a\x00b", ""},
		{"LF", NameConfig{}, "a\nb", ""},
		{"TAB", NameConfig{}, "a\tb", ""},
		{"DEL", NameConfig{}, "a\x7fb", ""},
		{"C1", NameConfig{}, "a\u0085b", ""},
		{"line separator", NameConfig{}, "a\u2028b", ""},
		{"direction", NameConfig{}, "a\u202eb", ""},
		{"zero width", NameConfig{}, "a\u200bb", ""},
		{"no-break space", NameConfig{}, "a\u00a0b", ""},
		{"not UTF-8", NameConfig{}, "a\xffb", ""},
		{"percent is no variable", NameConfig{}, "%d", "%d"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			names, err := NewNames(row.config, nil)
			if err != nil {
				t.Fatal(err)
			}
			got, err := names.Normalize(row.in)
			if row.want == "" {
				if !errors.Is(err, errName) {
					t.Errorf("got %q, %v; want a refusal", got, err)
				}
			} else if got != row.want || err != nil {
				t.Errorf("got %q, %v; want %q", got, err, row.want)
			}
		})
	}
}

func TestLogin(t *testing.T) {
	names, err := NewNames(NameConfig{MasterSeparator: "*", DefaultRealm: "x"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		authzid, authid string
		want            Login // the zero value: refused
	}{
		{"", "Bob", Login{"bob@x", "bob@x", "Bob"}},
		{"Alice", "Bob", Login{"alice@x", "bob@x", "Alice"}},
		{"", "Alice*Bob", Login{"alice@x", "bob@x", "Alice"}},
		{"bob@x", "BOB", Login{"bob@x", "bob@x", "bob@x"}},
		{"", "*bob", Login{}},
		{"", "alice*", Login{}},
		{"", "*", Login{}},
		{"alice", "", Login{}},
		{"alice", "a*b", Login{}},
		{"a*b", "c", Login{}},
	} {
		got, err := names.Login(row.authzid, row.authid)
		if row.want == (Login{}) {
			if !errors.Is(err, errName) {
				t.Errorf("%q %q: got %+v, %v", row.authzid, row.authid, got, err)
			}
		} else if got != row.want || err != nil || got.Master() != (got.User != got.Acting) {
			t.Errorf("%q %q: got %+v, %v", row.authzid, row.authid, got, err)
		}
	}
	plain, err := NewNames(NameConfig{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := plain.Login("", "a*b"); err != nil || got.User != "a*b" || got.Master() {
		t.Errorf("without a separator: %+v, %v", got, err)
	}
}

func TestExpandVariables(t *testing.T) {
	for template, want := range map[string]string{
		"":                  "",
		"/srv/mail/%d/%n":   "/srv/mail/B.c/A",
		"%u %Lu %Uu %ULu":   "A@B.c a@b.c A@B.C a@b.c",
		"%{user}%%%L{user}": "A@B.c%a@b.c",
		"100%%":             "100%",
		"100%":              "!",
		"%L":                "!",
		"%x":                "!",
		"%{":                "!",
		"%{}":               "!",
		"%{user":            "!",
		"%{nobody}":         "!",
		"%Xu":               "!",
	} {
		got, err := expandVariables(template, nameValue("A@B.c"))
		if err != nil {
			got = "!"
		}
		if got != want {
			t.Errorf("%q: got %q, %v; want %q", template, got, err, want)
		}
	}
}

// FuzzNormalize demands that what is accepted is safe as one path element and
// stays the same when it is normalised again.
func FuzzNormalize(f *testing.F) {
	for _, s := range []string{"alice", "Alice@Example.org", "..", "a/b", "a\x00", "@", "%u", "a*b", "İ", "\u202e"} {
		f.Add(s)
	}
	names, err := NewNames(NameConfig{MasterSeparator: "*", DefaultRealm: "example.org"}, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, in string) {
		name, err := names.Normalize(in)
		if err != nil {
			if name != "" && checkName(name) == nil {
				t.Errorf("%q is refused and returned", name)
			}
			return
		}
		if name == "." || name == ".." || strings.ContainsAny(name, "/\x00\n\t\r") || len(name) > MaxName {
			t.Errorf("%q became %q", in, name)
		}
		if again, err := names.Normalize(name); again != name || err != nil {
			t.Errorf("%q became %q, then %q, %v", in, name, again, err)
		}
		if login, err := names.Login(in, name); err != nil || login.Master() {
			t.Errorf("%q acts on %q: %+v, %v", name, in, login, err)
		}
	})
}
