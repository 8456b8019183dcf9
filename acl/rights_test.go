package acl

import (
	"os"
	"strings"
	"testing"

	"github.com/roost-mail/roost/imap"
)

// TestOracle runs the table of what Dovecot 2.3.19 answers for alice's mailbox
// with a given file, as bob and as alice. Rows marked "roost:" differ on
// purpose; the comment in the file says why.
func TestOracle(t *testing.T) {
	text, err := os.ReadFile("testdata/oracle.txt")
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
			col[i] = strings.TrimSpace(col[i])
		}
		file := strings.NewReplacer(`\n`, "\n", `\t`, "\t", "empty", "").Replace(col[0])
		t.Run(col[0], func(t *testing.T) { checkOracle(t, file, col[1], col[2], col[3]) })
	}
}

func checkOracle(t *testing.T, file, bob, alice, getacl string) {
	entries, _ := ParseFile(strings.NewReader(file))
	if got := showRights(Rights(entries, Identity{Owner: "alice", Acting: "bob"})); got != bob {
		t.Errorf("bob has %s, want %s", got, bob)
	}
	if got := showRights(Rights(entries, Identity{Owner: "alice", Acting: "alice"})); got != alice {
		t.Errorf("alice has %s, want %s", got, alice)
	}
	var shown []string
	for _, e := range show(entries, "alice") {
		shown = append(shown, e.Identifier, showRights(e.Rights))
	}
	if got := strings.Join(shown, " "); got != getacl {
		t.Errorf("GETACL %s, want %s", got, getacl)
	}
}

func showRights(r imap.Rights) string {
	switch r {
	case imap.AllRights:
		return "all"
	case imap.NoRights:
		return "-"
	}
	return r.Letters()
}

func TestGroupsOfOneKindUnite(t *testing.T) {
	entries, problems := ParseFile(strings.NewReader("group=a lr\ngroup=b i\ngroup-override=c l\n"))
	if problems != nil {
		t.Fatal(problems)
	}
	for _, row := range []struct{ groups, want string }{
		{"a", "lr"}, {"a b", "lri"}, {"b", "i"}, {"a b c", "l"}, {"d", "-"},
	} {
		who := Identity{Owner: "alice", Acting: "bob", Groups: strings.Fields(row.groups)}
		if got := showRights(Rights(entries, who)); got != row.want {
			t.Errorf("groups %s: %s, want %s", row.groups, got, row.want)
		}
	}
}

func TestIdentifierForms(t *testing.T) {
	lower := strings.ToLower
	for _, row := range []struct {
		imap, file string
		negative   bool
	}{
		{"Bob", "user=bob", false},
		{"-bob", "user=bob", true},
		{"$team", "group=team", false},
		{"!$team", "group-override=team", false},
		{"anyone", "anyone", false},
		{"anonymous", "anyone", false},
		{"-owner", "owner", true},
		{"user=bob", "user=user=bob", false},
		{"ann b@example.org", "user=ann b@example.org", false},
	} {
		id, negative, err := fromIMAP(row.imap, lower)
		if err != nil || id != row.file || negative != row.negative {
			t.Errorf("fromIMAP(%q) = %q %v %v", row.imap, id, negative, err)
		}
	}
	for _, bad := range []string{"", "-", "#global", "$", "x\nanyone", "x\tlr", "\xff", strings.Repeat("x", imap.MaxIdentifier+1)} {
		if id, _, err := fromIMAP(bad, lower); err == nil {
			t.Errorf("fromIMAP(%q) = %q, want BAD", bad, id)
		} else if !imap.AsError(err).Bad {
			t.Errorf("fromIMAP(%q): %v is not BAD", bad, err)
		}
	}
}

func TestOwnRightToAdministerStays(t *testing.T) {
	alice := Identity{Owner: "alice", Acting: "alice"}
	got := Change(nil, "user=alice", false, imap.ACLReplace, imap.RightLookup, alice)
	if r := Rights(got, alice); r.Letters() != "la" {
		t.Errorf("alice left herself %s", r.Letters())
	}
	got = Change(nil, "owner", false, imap.ACLRemove, imap.RightExpunge|imap.RightAdmin, alice)
	if r := Rights(got, alice); r != imap.AllRights&^imap.RightExpunge {
		t.Errorf("alice left herself %s", r.Letters())
	}
	bob := Identity{Owner: "alice", Acting: "bob"}
	got = Change(nil, "user=bob", false, imap.ACLReplace, imap.RightLookup, bob)
	if r := Rights(got, bob); r.Letters() != "la" {
		t.Errorf("bob left himself %s", r.Letters())
	}
}

// Taking from an identifier that has no entry makes none: an empty one would outweigh
// what others grant.
func TestRemoveMakesNoEntry(t *testing.T) {
	entries, _ := ParseFile(strings.NewReader("anyone lr\n"))
	bob := Identity{Owner: "alice", Acting: "bob"}
	got := Change(entries, "user=bob", false, imap.ACLRemove, imap.RightRead, Identity{Owner: "alice", Acting: "alice"})
	if r := Rights(got, bob); r.Letters() != "lr" || len(got) != 1 {
		t.Errorf("bob has %s by %v", r.Letters(), got)
	}
}

func TestParseFileReportsLines(t *testing.T) {
	entries, problems := ParseFile(strings.NewReader("user=bob lr\nuser=eve lrz\n-user=bob q\nowner lr\n"))
	if len(problems) != 2 || !strings.HasPrefix(problems[0].Error(), "line 2: ") || !strings.HasPrefix(problems[1].Error(), "line 3: ") {
		t.Errorf("problems: %v", problems)
	}
	if len(entries) != 1 || entries[0].Identifier != "owner" {
		t.Errorf("an unreadable negative entry left %v", entries)
	}
}

func FuzzParseFile(f *testing.F) {
	f.Add("user=bob lr\n-group=x lr :name\n\"user=a b\" l\n# c\n")
	f.Add("\"-user=x")
	f.Add("owner akxeilprwts\n\"\\\"\" l")
	f.Add("#expires 2026-12-24T18:00:00Z user=bob lr\n#expires 2026-12-24 \"user=a b\" l\n#expires 0 -x l")
	f.Fuzz(func(t *testing.T, text string) {
		entries, _ := ParseFile(strings.NewReader(text))
		again, problems := ParseFile(strings.NewReader(FormatFile(entries)))
		if len(problems) > 0 {
			t.Fatalf("what was written can't be read: %v", problems)
		}
		if len(again) != len(entries) {
			t.Fatalf("%d entries became %d", len(entries), len(again))
		}
		for i := range again {
			if again[i] != entries[i] {
				t.Fatalf("entry %d: %v became %v", i, entries[i], again[i])
			}
		}
	})
}
