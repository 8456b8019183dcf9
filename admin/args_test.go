package admin

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/roost-mail/roost/imap"
)

func TestTable(t *testing.T) {
	seen := map[string]bool{}
	for _, op := range Operations() {
		if seen[op.Name] || op.Help == "" || op.New == nil || op.run == nil {
			t.Errorf("%s: twice, or not whole", op.Name)
		}
		seen[op.Name] = true
		optional := false
		for _, a := range op.Args {
			if a.Help == "" || a.Flag && a.Required && a.Short == "" || !a.Flag && a.Type == Bool {
				t.Errorf("%s: argument %s", op.Name, a.Name)
			}
			if optional && a.Required && !a.Flag {
				t.Errorf("%s: %s is required behind one that is not", op.Name, a.Name)
			}
			optional = optional || !a.Flag && !a.Required
			if _, err := a.parse(a.Default); err != nil && a.Default != "" {
				t.Errorf("%s: default of %s: %v", op.Name, a.Name, err)
			}
		}
		if found, ok := Find(strings.ReplaceAll(op.Name, " ", "/")); !ok || found.Name != op.Name {
			t.Errorf("%s is not found", op.Name)
		}
		if text, err := json.Marshal(op.New()); err != nil || text[0] != '{' {
			t.Errorf("%s: result %s, %v", op.Name, text, err)
		}
	}
	if op, ok := Find("director unpin"); !ok || op.Name != "director unmove" {
		t.Error("no alias")
	}
	if _, ok := Find("director"); ok {
		t.Error("a group is an operation")
	}
}

func TestDates(t *testing.T) {
	now := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	for _, row := range []struct{ text, want string }{
		{"never", "never"},
		{"2026-12-24", "2026-12-24T00:00:00Z"},
		{"2026-12-24T18:00:00Z", "2026-12-24T18:00:00Z"},
		{"2026-12-24T18:00:00+01:00", "2026-12-24T17:00:00Z"},
		{"30d", "2026-12-31T12:00:00Z"},
		{"90m", "2026-12-01T13:30:00Z"},
		{"2026-12-01T11:58:00Z", "2026-12-01T11:58:00Z"}, // just now, when another node read it
		{"2026-12-01", ""},
		{"-2h", ""},
		{"30", ""},
		{"d", ""},
		{"-1d", ""},
		{"36501d", ""},
		{"999999h", ""},
		{"2026-12-24T18:00:00", ""},
		{"2026-02-30", ""},
		{"tomorrow", ""},
	} {
		got, err := parseDate(row.text, now)
		if got != row.want || (err == nil) != (row.want != "") {
			t.Errorf("%s is %q, %v; want %q", row.text, got, err, row.want)
		}
		if again, err := parseDate(got, now); err == nil && again != got {
			t.Errorf("%s read again is %q", got, again)
		}
	}
}

func TestArguments(t *testing.T) {
	op := Operation{Name: "test", Args: []Arg{
		{Name: "user", Type: User},
		{Name: "host", Type: Host},
		{Name: "tag", Type: Tag, Flag: true},
		{Name: "weight", Type: Weight, Flag: true},
		{Name: "ip", Type: Address, Flag: true},
		{Name: "timeout", Type: Time, Flag: true, Default: "30s"},
		{Name: "all", Type: Bool, Flag: true},
		{Name: "users", Type: Users, Flag: true},
		{Name: "why", Type: Text, Flag: true},
	}}
	for body, want := range map[string]string{
		``:                              "timeout=30s",
		`{}`:                            "timeout=30s",
		`null`:                          "timeout=30s",
		`{"user": "alice"}`:             "timeout=30s user=alice",
		`{"weight": 100}`:               "timeout=30s weight=100",
		`{"weight": "7"}`:               "timeout=30s weight=7",
		`{"timeout": 90}`:               "timeout=1m30s",
		`{"timeout": "0"}`:              "timeout=0s",
		`{"all": true}`:                 "all=true timeout=30s",
		`{"ip": "::ffff:192.0.2.1"}`:    "ip=192.0.2.1 timeout=30s",
		`{"users": ["a", " b "]}`:       `timeout=30s users="a\nb"`,
		`{"why": "new disk, " }`:        `timeout=30s why="new disk, "`,
		`{"why": "x user=root"}`:        `timeout=30s why="x user=root"`,
		`{"user": null}`:                "timeout=30s",
		`{"weight": 1001}`:              "BAD",
		`{"weight": -1}`:                "BAD",
		`{"weight": 1.5}`:               "BAD",
		`{"weight": 1e2}`:               "BAD",
		`{"timeout": "-1s"}`:            "BAD",
		`{"timeout": "25h"}`:            "BAD",
		`{"all": "perhaps"}`:            "BAD",
		`{"ip": "example.org"}`:         "BAD",
		`{"tag": "a/b"}`:                "BAD",
		`{"host": "a b"}`:               "BAD",
		`{"host": "../held"}`:           "BAD",
		`{"user": "a\nb"}`:              "BAD",
		`{"user": "a\u001b[31m"}`:       "BAD",
		`{"users": ["a\nb"]}`:           "BAD",
		`{"users": [1]}`:                "BAD",
		`{"user": {"a": 1}}`:            "BAD",
		`{"nobody": 1}`:                 "BAD",
		`[]`:                            "BAD",
		`{"user": "a"} trailing`:        "BAD",
		`{"why": "` + long(300) + `"}`:  "BAD",
		`{"user": "` + "\xff\xfe" + `"`: "BAD",
	} {
		args, err := op.ParseJSON([]byte(body))
		got := argsText(args)
		if err != nil {
			got = "BAD"
			if !imap.AsError(err).Bad {
				t.Errorf("%s: %v", body, err)
			}
		}
		if got != want {
			t.Errorf("%.60s: %q, %v; want %q", body, got, err, want)
		}
	}
	if _, err := op.ParseJSON(fmt.Appendf(nil, `{"users": ["a"%s]}`, strings.Repeat(`,"a"`, MaxUsers))); err == nil {
		t.Error("too many users")
	}
}

func long(n int) string { return strings.Repeat("x", n) }

// FuzzArguments: whatever comes, arguments are refused, or are the same when they are
// parsed once more, and can be printed.
func FuzzArguments(f *testing.F) {
	ops := Operations()
	f.Add(0, []byte(`{"user": "alice", "tag": "x"}`))
	f.Add(2, []byte(`{"host": "be1", "weight": 5, "timeout": "1m"}`))
	f.Add(11, []byte(`{"users": ["a", "b"], "host": 1}`))
	f.Fuzz(func(t *testing.T, n int, body []byte) {
		op := ops[uint(n)%uint(len(ops))]
		args, err := op.ParseJSON(body)
		if err != nil {
			if !imap.AsError(err).Bad {
				t.Fatalf("%v", err)
			}
			return
		}
		again, err := op.Parse(args)
		if err != nil || argsText(again) != argsText(args) {
			t.Fatalf("%v, then %v, %v", args, again, err)
		}
		for name, text := range args {
			for _, line := range strings.Split(text, "\n") {
				if err := printable(line, MaxText); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
			}
		}
	})
}

// FuzzWords: words of a command line go to arguments, in their order, or are refused.
func FuzzWords(f *testing.F) {
	ops := Operations()
	f.Add(0, "alice\x00tag")
	f.Add(3, "be1\x00100\x00x")
	f.Fuzz(func(t *testing.T, n int, line string) {
		op := ops[uint(n)%uint(len(ops))]
		words := strings.Split(line, "\x00")
		given, err := op.Words(words)
		if err != nil {
			return
		}
		var back []string
		for _, a := range op.Args {
			if text, is := given[a.Name]; is {
				back = append(back, text)
			}
		}
		if !slices.Equal(back, words) {
			t.Fatalf("%q became %q", words, back)
		}
		_, _ = op.Parse(given)
	})
}

func TestTableText(t *testing.T) {
	var b strings.Builder
	_, err := Table{Head: []string{"user", "x"}, Rows: [][]string{{"a\x1b[2J", "1"}, {"bob\tx", ""}}, Foot: []string{"done\r\n"}}.WriteTo(&b)
	if want := "user   x\na?[2J  1\nbob?x\ndone??\n"; err != nil || b.String() != want {
		t.Errorf("%q, want %q", b.String(), want)
	}
}

// TestLateFlags: behind words that may begin with - a flag would be taken for one of them.
func TestLateFlags(t *testing.T) {
	op, _ := Find("acl set")
	if _, err := op.Words([]string{"Work", "user=bob", "lookup", "-read"}); err != nil {
		t.Error(err)
	}
	if _, err := op.Words([]string{"Work", "user=bob", "lookup", "--expires", "12h"}); err == nil || !strings.Contains(err.Error(), "--expires: flags stand before") {
		t.Error(err)
	}
}
