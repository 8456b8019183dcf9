package dict_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/roost-mail/roost/dict"
	"github.com/roost-mail/roost/dict/dicttest"
)

func TestMemory(t *testing.T) {
	dicttest.Test(t, func(*testing.T) func() dict.Dict {
		d := dict.NewMemory()
		return func() dict.Dict { return d }
	})
}

func TestEscape(t *testing.T) {
	for _, row := range []struct{ component, want string }{
		{"", ""},
		{"alice", "alice"},
		{"alice@example.com", "alice@example.com"},
		{"Grüße 日本.x_y-z+1", "Grüße 日本.x_y-z+1"},
		{"a/b", "a%2Fb"},
		{"/", "%2F"},
		{"50%", "50%25"},
		{"%2F", "%252F"},
		{"a\tb\r\n\x00\x01\x7f", "a%09b%0D%0A%00%01%7F"},
		{"\xff\xc3", "%FF%C3"},
		{"é\xc3", "é%C3"},
		{"\uFFFD", "\uFFFD"},
	} {
		if got := dict.Escape(row.component); got != row.want {
			t.Errorf("Escape(%q) = %q, want %q", row.component, got, row.want)
		}
		if got := dict.Unescape(row.want); got != row.component {
			t.Errorf("Unescape(%q) = %q, want %q", row.want, got, row.component)
		}
	}
}

// What Escape never writes stands for itself: such keys are Dovecot's.
func TestUnescapeForeign(t *testing.T) {
	for _, s := range []string{"%", "%%", "100%", "%2", "%2f", "%41", "%zz", "a%20b"} {
		if got := dict.Unescape(s); got != s {
			t.Errorf("Unescape(%q) = %q", s, got)
		}
	}
}

func FuzzEscape(f *testing.F) {
	for _, s := range []string{"", "alice", "a/b%", "%2F", "\xff%", "%C3\xa9", "é"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		escaped := dict.Escape(s)
		if got := dict.Unescape(escaped); got != s {
			t.Fatalf("%q became %q became %q", s, escaped, got)
		}
		if strings.ContainsAny(escaped, "/\x00\t\r\n") || !utf8.ValidString(escaped) {
			t.Fatalf("%q became %q", s, escaped)
		}
	})
}

func TestCheckPrefix(t *testing.T) {
	for prefix, ok := range map[string]bool{
		"shared/": true, "shared/a/": true, "shared//": true,
		"": false, "shared": false, "shared/a": false, "a/": false, "shared/\x00/": false,
	} {
		if err := dict.CheckPrefix(prefix); (err == nil) != ok || err != nil && !errors.Is(err, dict.ErrInvalid) {
			t.Errorf("CheckPrefix(%q): %v", prefix, err)
		}
	}
}

// A Table does what a map with sorted keys does.
func TestTableModel(t *testing.T) {
	key := rapid.StringMatching(`shared/[ab/]{0,3}`)
	entry := rapid.Custom(func(t *rapid.T) dict.Entry {
		return dict.Entry{Key: key.Draw(t, "key"), Value: rapid.StringMatching(`[xy]`).Draw(t, "value")}
	})
	rapid.Check(t, func(t *rapid.T) {
		model := map[string]string{}
		entries := rapid.SliceOf(entry).Draw(t, "entries")
		for _, e := range entries {
			model[e.Key] = e.Value
		}
		table := dict.NewTable(entries)
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) { sameAsModel(t, table, model, key.Draw(t, "prefix")) },
			"apply": func(t *rapid.T) {
				before, old := table, maps.Clone(model)
				var changes []dict.Change
				for _, e := range rapid.SliceOf(entry).Draw(t, "changes") {
					c := dict.Set(e.Key, e.Value)
					model[e.Key] = e.Value
					if rapid.Bool().Draw(t, "unset") {
						c = dict.Unset(e.Key)
						delete(model, e.Key)
					}
					changes = append(changes, c)
				}
				next, changed, err := table.Apply(changes, nil)
				if err != nil || changed == maps.Equal(old, model) || changed == next.Equal(before) {
					t.Fatalf("Apply: %v, changed %v", err, changed)
				}
				sameAsModel(t, before, old, dict.Root)
				table = next
			},
		})
	})
}

func sameAsModel(t *rapid.T, table dict.Table, model map[string]string, prefix string) {
	if n := len(table.Below("")); n != len(model) {
		t.Fatalf("%d entries, want %d", n, len(model))
	}
	got := table.Below(prefix)
	for _, k := range slices.Sorted(maps.Keys(model)) {
		if v, ok := table.Get(k); !ok || v != model[k] {
			t.Fatalf("Get(%q) = %q, %v", k, v, ok)
		}
		if strings.HasPrefix(k, prefix) {
			if len(got) == 0 || got[0] != (dict.Entry{Key: k, Value: model[k]}) {
				t.Fatalf("below %q: %v instead of %q", prefix, got, k)
			}
			got = got[1:]
		}
	}
	if len(got) > 0 {
		t.Fatalf("below %q also %v", prefix, got)
	}
}

func BenchmarkTableGet(b *testing.B) {
	entries := make([]dict.Entry, 100_000)
	for i := range entries {
		entries[i] = dict.Entry{Key: fmt.Sprintf("shared/shared-boxes/user/u%06d/owner", i), Value: "1"}
	}
	table := dict.NewTable(entries)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		table.Get(entries[i%len(entries)].Key)
	}
}
