package config

import (
	"bytes"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
)

// noSource has one file, "f", and nothing else.
type noSource struct{ text string }

func (n noSource) read(path string, limit int) ([]byte, error) {
	if path != "f" {
		return nil, errors.New("no such file")
	}
	return []byte(n.text[:min(len(n.text), limit+1)]), nil
}
func (noSource) glob(string) ([]string, error) { return []string{"f"}, nil }
func (noSource) getenv(string) string          { return "env" }

// FuzzParse: no input makes the parser panic or fail to end, and what loads is
// shown and loads again to the same settings.
func FuzzParse(f *testing.F) {
	for _, path := range []string{"testdata/document.conf", "testdata/syntax.conf", "testdata/blocks.conf", "testdata/rig/plain-be1.conf", "testdata/rig/plain-director.conf"} {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Add("\ufeffa = \\\n\\\n\\")
	f.Add("!include f\n")
	f.Add("plugin {\nacl = $ENV:X\n}\nprotocol !lmtp {\nssl = no\n}\n")
	f.Fuzz(func(t *testing.T, text string) {
		s, _, err := load(noSource{text}, "f")
		if err != nil {
			return
		}
		var b bytes.Buffer
		if err := Show(&b, s, ShowOptions{NonDefault: true, Secrets: true}); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(text, "include") {
			return
		}
		again, _, err := load(noSource{b.String()}, "f")
		if err != nil {
			t.Fatalf("%v\n%s", err, b.String())
		}
		if !reflect.DeepEqual(plain(s), plain(again)) {
			t.Fatalf("shown and loaded again, the settings differ:\n%s", b.String())
		}
	})
}

// FuzzExpand: an expanded value is bounded, and a template without % is itself.
func FuzzExpand(f *testing.F) {
	for _, s := range []string{"%u", "%%u", "%2.1Lu", "%-2.2i", "%{sha256;truncate=32:user}", "%{userdb:x:y}", "%04.16Nn", "%0.-2u", "%{if;%u;*;a*;%{if;%n;~;^a;x\\;y;z};%d}"} {
		f.Add(s, "alice@example.com")
	}
	f.Fuzz(func(t *testing.T, template, user string) {
		got, err := Expand(template, &Vars{User: user})
		if len(got) > maxExpanded {
			t.Errorf("%d bytes", len(got))
		}
		if err == nil && !strings.Contains(template, "%") && got != template {
			t.Errorf("Expand(%q) = %q", template, got)
		}
	})
}
