package dictfile

import (
	"fmt"
	"strings"
	"testing"

	"github.com/roost-mail/roost/dict"
)

func TestParse(t *testing.T) {
	for _, row := range []struct {
		name, text    string
		entries       string // key=value words, quoted
		foreign, junk string
	}{
		{name: "empty file"},
		{name: "one entry", text: "shared/a\n1\n", entries: `"shared/a=1"`},
		{name: "empty value", text: "shared/a\n\nshared/b\n1\n", entries: `"shared/a=" "shared/b=1"`},
		{name: "sorted", text: "shared/b\n1\nshared/a\n2\n", entries: `"shared/a=2" "shared/b=1"`},
		{name: "last one counts", text: "shared/a\n1\nshared/b\n\nshared/a\n2\n", entries: `"shared/a=2" "shared/b="`},
		{name: "value like a key", text: "shared/a\nshared/b\n", entries: `"shared/a=shared/b"`},
		{name: "escapes", text: "shared/\x01t\x01n\x01r\x011\n\x010\x01x\x01\n", entries: `"shared/\t\n\r\x01=\x00x"`},
		{name: "CR LF", text: "shared/a\r\n1\r\n", entries: `"shared/a=1"`},
		{name: "last line without LF", text: "shared/a\n1", entries: `"shared/a=1"`},
		{name: "key without value", text: "shared/a\n1\nshared/b\n", entries: `"shared/a=1"`, junk: "shared/b\n"},
		{name: "key without anything", text: "shared/b", junk: "shared/b\n"},
		{name: "stray line", text: "hm\nshared/a\n1\n", entries: `"shared/a=1"`, junk: "hm\n"},
		{name: "empty lines", text: "\n\r\nshared/a\n1\n\n", entries: `"shared/a=1"`, junk: "\n\r\n\n"},
		{name: "private", text: "priv/a\n\x01t\nshared/a\n1\n", entries: `"shared/a=1"`, foreign: "priv/a\n\x01t\n"},
		{name: "no text", text: "shared/\xff\n1\nshared/\x010\n2\nshared/\n3", foreign: "shared/\xff\n1\nshared/\x010\n2\nshared/\n3\n"},
	} {
		c := parse(row.text)
		var got []string
		for _, e := range c.table.Below("") {
			got = append(got, fmt.Sprintf("%q", e.Key+"="+e.Value))
		}
		if s := strings.Join(got, " "); s != row.entries || c.foreign != row.foreign || c.junk != row.junk {
			t.Errorf("%s: entries %s, foreign %q, junk %q", row.name, s, c.foreign, c.junk)
		}
	}
}

// FuzzDictFile: no file makes the parser panic, and reading what was written
// gives the same contents.
func FuzzDictFile(f *testing.F) {
	for _, s := range []string{
		"", "\n", "shared/a\n1\n", "shared/b\n\nshared/a\n2\nshared/b\n3", "shared/\x01t\x011\n\x010\x01\n",
		"priv/a\n1\njunk\r\nshared/a\r\n1\r\n", "shared/a", "shared/a\n", "shared/\xff\n\xff\n\n\nshared/é\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c := parse(text)
		for _, e := range c.table.Below("") {
			if err := dict.CheckKey(e.Key); err != nil {
				t.Fatal(err)
			}
		}
		var b strings.Builder
		if err := c.write(&b); err != nil || int64(b.Len()) != c.size() {
			t.Fatalf("%v; wrote %d bytes, expected %d", err, b.Len(), c.size())
		}
		again := parse(b.String())
		if !again.table.Equal(c.table) || again.foreign != c.foreign || again.junk != c.junk {
			t.Fatalf("%q was written as %q", text, b.String())
		}
	})
}

func BenchmarkParse(b *testing.B) {
	var text strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&text, "shared/shared-boxes/user/u%06d/owner\n1\n", i)
	}
	b.SetBytes(int64(text.Len()))
	b.ReportAllocs()
	for b.Loop() {
		parse(text.String())
	}
}
