package acl

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

func parsed(t *testing.T, text string) []mailbox.Entry {
	t.Helper()
	entries, problems := ParseFile(strings.NewReader(text))
	if problems != nil {
		t.Fatal(problems)
	}
	return entries
}

func globals(t *testing.T, text string) func() *Globals {
	t.Helper()
	g, err := ParseGlobals(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return func() *Globals { return g }
}

// TestGlobals runs the table of what holds where there is a global ACL file too.
func TestGlobals(t *testing.T) {
	text, err := os.ReadFile("testdata/globals.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		col := strings.Split(line, " | ")
		if len(col) != 4 {
			t.Fatalf("row %q has %d columns", line, len(col))
		}
		for i := range col {
			col[i] = strings.NewReplacer(`\n`, "\n", "empty", "").Replace(strings.TrimSpace(col[i]))
		}
		t.Run(line, func(t *testing.T) {
			rules := Rules{Globals: globals(t, col[1])}
			entries := rules.Entries(mailbox.Standing{Name: "Work", Own: parsed(t, col[0])})
			for i, acting := range []string{"bob", "alice"} {
				who := Identity{Owner: "alice", Acting: acting}
				if acting == "bob" {
					who.Groups = []string{"a", "b"}
				}
				if got := showRights(Rights(entries, who)); got != col[2+i] {
					t.Errorf("%s has %s, want %s", acting, got, col[2+i])
				}
			}
		})
	}
}

func TestGlobalsAreShownAndKept(t *testing.T) {
	rules := Rules{Globals: globals(t, "# site\n\n* user=postmaster lr\n\"Two words\" -anyone l\n")}
	entries := rules.Entries(mailbox.Standing{Name: "Two words", Own: parsed(t, "user=bob lr\n")})
	var shown []string
	for _, e := range show(entries, "alice") {
		shown = append(shown, e.Identifier, showRights(e.Rights))
	}
	if got := strings.Join(shown, " "); got != "bob lr #postmaster lr #-anyone l alice all" {
		t.Errorf("GETACL %s", got)
	}
	if text := FormatFile(entries); text != "user=bob lr\n" {
		t.Errorf("a mailbox's own file would have %q", text)
	}
	text := FormatShared(entries)
	again, problems := ParseShared(text)
	if len(problems) > 0 || len(again) != len(entries) {
		t.Fatalf("%q became %v, %v", text, again, problems)
	}
	for i := range again {
		if again[i] != entries[i] {
			t.Errorf("%v became %v", entries[i], again[i])
		}
	}
	if own, _ := ParseFile(strings.NewReader(text)); len(own) != 1 {
		t.Errorf("an imported file makes global entries: %v", own)
	}
}

func TestGlobalsThatCantBeRead(t *testing.T) {
	for _, row := range []struct{ text, want string }{
		{"Work\n", "line 1: "},
		{"# x\nWork user=bob lrz\n", `line 2: unknown right "z"`},
		{"Work USER=bob lr\n", "line 1: unknown identifier"},
		{"\"Work user=bob lr\n", "line 1: what is quoted does not end"},
		{" user=bob lr\n", "line 1: "},
		{strings.Repeat("* anyone l\n", maxGlobals+1), "line 1001: there are more than 1000 entries"},
		{strings.Repeat("#", maxFile+1), "larger than"},
	} {
		if _, err := ParseGlobals(strings.NewReader(row.text)); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%.40q: %v, want %s", row.text, err, row.want)
		}
	}
}

func TestPatterns(t *testing.T) {
	for _, row := range []struct {
		pattern, name string
		want          bool
	}{
		{"*", "", true},
		{"*", "a/b", true},
		{"a*", "a/b", true},
		{"a?b", "a/b", true},
		{"a?b", "ab", false},
		{"?", "ü", true},
		{"*a*a*b", "aaaa", false},
		{"*a*a*b", "aaxab", true},
		{"", "", true},
		{"", "a", false},
		{strings.Repeat("*a", 200), strings.Repeat("a", 1000) + "b", false},
	} {
		if got := matches(row.pattern, row.name); got != row.want {
			t.Errorf("%.20q, %.20q: %v", row.pattern, row.name, got)
		}
	}
}

func FuzzParseGlobals(f *testing.F) {
	f.Add("* user=bob lr\n\"a b\" -group=x l\n# c\n")
	f.Add("\"\\\"\" anyone lr :x")
	f.Fuzz(func(t *testing.T, text string) {
		g, err := ParseGlobals(strings.NewReader(text))
		if err != nil {
			return
		}
		for _, e := range g.appendTo(nil, "INBOX") {
			if !e.Global || imap.CheckIdentifier(e.Identifier) != nil {
				t.Errorf("%+v", e)
			}
		}
	})
}

// TestInherit says whose entries hold, and what a change of them makes a mailbox's own.
func TestInherit(t *testing.T) {
	own, above, inbox := parsed(t, "user=own lr\n"), parsed(t, "user=above lr\n"), parsed(t, "user=inbox lr\n")
	for _, row := range []struct {
		rules Rules
		s     mailbox.Standing
		want  string
	}{
		{Rules{}, mailbox.Standing{Above: above, Inbox: inbox}, ""},
		{Rules{DefaultsFromInbox: true}, mailbox.Standing{Above: above, Inbox: inbox}, "inbox"},
		{Rules{Inherit: true}, mailbox.Standing{Above: above, Inbox: inbox}, "above"},
		{Rules{Inherit: true}, mailbox.Standing{Inbox: inbox}, ""},
		{Rules{Inherit: true, DefaultsFromInbox: true}, mailbox.Standing{Inbox: inbox}, "inbox"},
		{Rules{Inherit: true, DefaultsFromInbox: true}, mailbox.Standing{Own: own, Above: above, Inbox: inbox}, "own"},
		{Rules{GlobalsOnly: true, Inherit: true, DefaultsFromInbox: true}, mailbox.Standing{Own: own, Above: above, Inbox: inbox}, ""},
	} {
		got := ""
		if e := row.rules.Entries(row.s); len(e) > 0 {
			got = strings.TrimPrefix(e[0].Identifier, "user=")
		}
		if got != row.want {
			t.Errorf("%+v of %+v: %q, want %q", row.s, row.rules, got, row.want)
		}
	}
}

func TestChangeOfWhatIsInherited(t *testing.T) {
	rules := Rules{Inherit: true}
	alice := Identity{Owner: "alice", Acting: "alice"}
	s := mailbox.Standing{Name: "a/b", Above: parsed(t, "user=bob lr\n")}
	step := func(what, want string, change func([]mailbox.Entry) []mailbox.Entry) {
		t.Helper()
		entries, err := rules.Changed(s, func(e []mailbox.Entry) ([]mailbox.Entry, error) { return change(e), nil })
		if err != nil {
			t.Fatal(err)
		}
		if s.Own = entries; FormatFile(entries) != want {
			t.Errorf("%s: %q, want %q", what, FormatFile(entries), want)
		}
	}
	without := func(id string) func([]mailbox.Entry) []mailbox.Entry {
		return func(e []mailbox.Entry) []mailbox.Entry { return Without(e, id, false) }
	}
	add := func(id string, r imap.Rights) func([]mailbox.Entry) []mailbox.Entry {
		return func(e []mailbox.Entry) []mailbox.Entry { return Change(e, id, false, imap.ACLAdd, r, alice) }
	}
	step("who is not there is taken out", "", without("user=carol"))
	step("a grant keeps what held", "user=bob lr\nuser=carol l\n", add("user=carol", imap.RightLookup))
	step("carol goes", "user=bob lr\n", without("user=carol"))
	step("the last one goes, and bob stays out", "owner akxeilprwts\n", without("user=bob"))
	step("the mailbox follows again", "", without("owner"))
	step("bob is taken out of what is inherited", "owner akxeilprwts\n", without("user=bob"))

	if _, err := (&Rules{GlobalsOnly: true}).Changed(s, nil); imap.CodeOf(err) != imap.CodeCannot {
		t.Errorf("with global entries only: %v", err)
	}
	inbox := Rules{DefaultsFromInbox: true}
	s = mailbox.Standing{Name: imap.Inbox, Own: parsed(t, "user=bob lr\n"), Inbox: parsed(t, "user=bob lr\n")}
	if got, err := inbox.Changed(s, func(e []mailbox.Entry) ([]mailbox.Entry, error) { return nil, nil }); len(got) != 0 || err != nil {
		t.Errorf("the last entry of INBOX: %v, %v", got, err)
	}
}

// TestTooManyEntries: of a file with more entries than a mailbox can have, what is left out might
// have taken rights away.
func TestTooManyEntries(t *testing.T) {
	var text strings.Builder
	text.WriteString("owner lr\n")
	for i := range 20 * maxEntries {
		fmt.Fprintf(&text, "user=u%d l\n", i)
	}
	entries, problems := ParseFile(strings.NewReader(text.String()))
	if len(entries) != 1 || entries[0].Identifier != "owner" || len(problems) != 1 {
		t.Errorf("%d entries, %d problems", len(entries), len(problems))
	}
}
