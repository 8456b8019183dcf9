package imap

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestNumSetResolve(t *testing.T) {
	for _, row := range []struct {
		set     string
		highest uint32
		want    string
	}{
		{"1", 10, "1"},
		{"3,1,2", 10, "1:3"},
		{"5:2", 10, "2:5"},
		{"*", 10, "10"},
		{"*", 0, ""},
		{"1:*", 0, ""},
		{"8:*", 10, "8:10"},
		{"559:*", 10, "10:559"}, // always the last message too (RFC 9051 section 6.4.9)
		{"*:4,2", 6, "2,4:6"},
		{"1:3,2:5,7", 10, "1:5,7"},
		{"4294967295", 10, "4294967295"},
	} {
		set, err := ParseNumSet(row.set)
		if err != nil {
			t.Fatalf("%s: %v", row.set, err)
		}
		if got := set.Resolve(row.highest).String(); got != row.want {
			t.Errorf("%s with %d messages: %q, want %q", row.set, row.highest, got, row.want)
		}
	}
	for _, bad := range []string{"", ",", "1,", "0", "1:0", "a", "1:", ":1", "4294967296", "-1", "1 2", "+1", strings.Repeat("1,", MaxSetRanges) + "1"} {
		if _, err := ParseNumSet(bad); err == nil {
			t.Errorf("%.20q was taken", bad)
		} else if !AsError(err).Bad {
			t.Errorf("%.20q: %v is not BAD", bad, err)
		}
	}
}

// TestUIDSetAlgebra compares the sets with maps.
func TestUIDSetAlgebra(t *testing.T) {
	gen := rapid.SliceOfN(rapid.Uint32Range(1, 40), 0, 30)
	rapid.Check(t, func(t *rapid.T) {
		a, b := gen.Draw(t, "a"), gen.Draw(t, "b")
		as, bs := setOf(a), setOf(b)
		in := func(s []uint32, n uint32) bool { return slices.Contains(s, n) }
		for _, op := range []struct {
			name string
			got  UIDSet
			want func(n uint32) bool
		}{
			{"set", as, func(n uint32) bool { return in(a, n) }},
			{"union", as.Union(bs), func(n uint32) bool { return in(a, n) || in(b, n) }},
			{"intersect", as.Intersect(bs), func(n uint32) bool { return in(a, n) && in(b, n) }},
			{"minus", as.Minus(bs), func(n uint32) bool { return in(a, n) && !in(b, n) }},
		} {
			var want []UID
			for n := uint32(1); n <= 40; n++ {
				if op.want(n) {
					want = append(want, UID(n))
				}
				if op.got.Contains(UID(n)) != op.want(n) {
					t.Fatalf("%s of %v and %v: Contains(%d) is wrong", op.name, a, b, n)
				}
			}
			if got := slices.Collect(op.got.All()); !slices.Equal(got, want) || op.got.Len() != len(want) {
				t.Fatalf("%s of %v and %v: %v, want %v", op.name, a, b, got, want)
			}
		}
	})
}

func setOf(ns []uint32) UIDSet {
	uids := make([]UID, len(ns))
	for i, n := range ns {
		uids[i] = UID(n)
	}
	return UIDSetOf(uids...)
}

func TestUIDSetEdges(t *testing.T) {
	const top = UID(math.MaxUint32)
	s := UIDSetOf(top, top-1, 1)
	if s.String() != "1,4294967294:4294967295" || s.Max() != top || s.Min() != 1 {
		t.Errorf("%s", s)
	}
	if got := slices.Collect(s.All()); !slices.Equal(got, []UID{1, top - 1, top}) {
		t.Errorf("%v", got)
	}
	if got := s.Minus(UIDSetOf(top)).String(); got != "1,4294967294" {
		t.Errorf("minus the top: %s", got)
	}
	if UIDRange(3, 2) != nil || UIDRange(2, 3).Len() != 2 {
		t.Error("UIDRange")
	}
}

func FuzzNumSet(f *testing.F) {
	for _, s := range []string{"1:*", "3,5:2,*", "4294967295:1"} {
		f.Add(s, uint32(7))
	}
	f.Fuzz(func(t *testing.T, s string, highest uint32) {
		set, err := ParseNumSet(s)
		if err != nil {
			return
		}
		uids := set.Resolve(highest)
		for i, r := range uids {
			if r.Start == 0 || r.Start > r.Stop || i > 0 && uint64(uids[i-1].Stop)+1 >= uint64(r.Start) {
				t.Fatalf("%q became %v", s, uids)
			}
		}
		if again, err := ParseNumSet(uids.String()); !uids.Empty() && (err != nil || again.Resolve(1).String() != uids.String()) {
			t.Fatalf("%s does not read back: %v", uids, err)
		}
	})
}

func TestMatchPattern(t *testing.T) {
	for _, row := range []struct {
		pattern, name string
		want          bool
	}{
		{"*", "a/b/c", true},
		{"*", "", true},
		{"%", "a", true},
		{"%", "a/b", false},
		{"%/%", "a/b", true},
		{"a%", "abc", true},
		{"a%", "abc/d", false},
		{"a*d", "abc/d", true},
		{"%b%", "abc", true},
		{"a/%/c", "a/b/c", true},
		{"a/%/c", "a/c", false},
		{"INBOX", "INBOX", true},
		{"inbox", "INBOX", false}, // callers spell the name first
		{"*%*%*x", strings.Repeat("y", 30), false},
	} {
		if got := MatchPattern(row.pattern, row.name); got != row.want {
			t.Errorf("%q matches %q: %v", row.pattern, row.name, got)
		}
	}
}

// matchNaive says the same, slowly.
func matchNaive(p, n string) bool {
	if p == "" {
		return n == ""
	}
	if p[0] != '*' && p[0] != '%' {
		return n != "" && n[0] == p[0] && matchNaive(p[1:], n[1:])
	}
	return matchNaive(p[1:], n) || n != "" && (p[0] == '*' || n[0] != Delimiter) && matchNaive(p, n[1:])
}

func TestMatchPatternAgainstNaive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.StringOfN(rapid.RuneFrom([]rune("ab/*%")), 0, 8, -1).Draw(t, "pattern")
		n := rapid.StringOfN(rapid.RuneFrom([]rune("ab/")), 0, 8, -1).Draw(t, "name")
		if MatchPattern(p, n) != matchNaive(p, n) {
			t.Fatalf("%q, %q: %v", p, n, MatchPattern(p, n))
		}
	})
}

func BenchmarkMatchPatternHostile(b *testing.B) {
	pattern, name := strings.Repeat("*%", 100)+"x", strings.Repeat("a", 200)
	for b.Loop() {
		MatchPattern(pattern, name)
	}
}

func TestRightsLetters(t *testing.T) {
	for _, row := range []struct{ in, letters, shown string }{
		{"", "", ""},
		{"rl", "lr", "lr"},
		{"lrk", "lrk", "lrkc"},
		{"lrx", "lrx", "lrxc"},
		{"lrc", "lrkx", "lrkxc"},
		{"d", "te", "ted"},
		{"e", "e", "ed"},
		{"lrwstipekxa", "lrwstipekxa", "lrwstipekxacd"},
	} {
		r, err := ParseRights(row.in)
		if err != nil || r.Letters() != row.letters || r.String() != row.shown {
			t.Errorf("%q: %q %q %v", row.in, r.Letters(), r, err)
		}
	}
	if _, err := ParseRights("lq"); !AsError(err).Bad {
		t.Errorf("an unknown right: %v", err)
	}
	if AllRights.Letters() != rightLetters {
		t.Error(AllRights)
	}
}

func TestNames(t *testing.T) {
	for _, row := range []struct{ in, want string }{
		{"inbox", "INBOX"}, {"InBox/a", "INBOX/a"}, {"inboxes", "inboxes"}, {"a/inbox", "a/inbox"},
	} {
		if got := CanonicalName(row.in); got != row.want {
			t.Errorf("%q: %q", row.in, got)
		}
	}
	for _, bad := range []string{"", "/a", "a/", "a//b", "..", "a/../b", "a\nb", "a*", "a%b", "\xff", strings.Repeat("x", 2000), strings.Repeat("a/", 200) + "a"} {
		if CheckName(bad) == nil {
			t.Errorf("%.20q was taken", bad)
		}
	}
	for _, good := range []string{"a", "Entwürfe", "a b", `a"b`, "a&b", "日本語/x", "a.b"} {
		if err := CheckName(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
}

func TestErrors(t *testing.T) {
	cause := errors.New("disk on fire")
	err := Wrap(CodeUnavailable, "Try later", cause)
	if !errors.Is(err, cause) || CodeOf(err) != CodeUnavailable || CodeOf(nil) != CodeNone || CodeOf(cause) != CodeServerBug {
		t.Error(err)
	}
	if e := AsError(cause); strings.Contains(e.Text, "fire") || e.Err != cause {
		t.Errorf("an unknown error shows itself: %q", e.Text)
	}
}

func TestFlagClasses(t *testing.T) {
	flags := []Flag{`\sEEN`, FlagDeleted, FlagFlagged, "$Junk"}
	if got := (ClassSeen | ClassOther).Only(flags); !slices.Equal(got, []Flag{`\sEEN`, FlagFlagged, "$Junk"}) {
		t.Error(got)
	}
	if CanonicalFlag(`\sEEN`) != FlagSeen || CanonicalFlag("$Junk") != "$Junk" || !HasFlag(flags, "$jUNK") {
		t.Error("flags are compared without regard to case")
	}
	r, _ := ParseRights("st")
	if r.FlagClasses() != ClassSeen|ClassDeleted {
		t.Error(r.FlagClasses())
	}
}
