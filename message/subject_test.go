package message

import (
	"regexp"
	"strings"
	"testing"
)

func TestBaseSubject(t *testing.T) {
	for _, c := range []struct {
		in, want string
		reply    bool
	}{
		{"", "", false},
		{"hello", "hello", false},
		{"Re: hello", "hello", true},
		{"RE: re : Fw: FWD: hello", "hello", true},
		{"re hello", "re hello", false},
		{"Regarding: hello", "Regarding: hello", false},
		{"AW: hello", "AW: hello", false}, // translations are not removed, RFC 5256 section 7
		{"hello (fwd)", "hello", true},
		{"hello (FWD)(fwd) ", "hello", true},
		{"(fwd)", "", true},
		{"hello (fwd", "hello (fwd", false},
		{"[list] hello", "hello", false},
		{"[list][other]  hello", "hello", false},
		{"[list] Re: hello", "hello", true},
		{"Re: [list] hello", "hello", true},
		{"Re[2]: hello", "hello", true},
		{"re [list] : hello", "hello", true},
		{"re [list] [other]: hello", "re [list] [other]: hello", false},
		{"[list]", "[list]", false},
		{"[a][b] [c]", "[c]", false},
		{"Re: [list]", "[list]", true},
		{"[list", "[list", false},
		{"[li[st]] hello", "[li[st]] hello", false},
		{"[Fwd: hello]", "hello", true},
		{"[Fwd: [Fwd: Re: hello]]", "hello", true},
		{"[list] [fwd: hello]", "hello", true},
		{"[fwd: hello] there", "there", false}, // as a blob
		{"[fwd: [list] hello (fwd)]", "hello", true},
		{"[fwd:]", "", true},
		{"[fwd:", "[fwd:", false},
		{"Re: ", "", true},
		{":", ":", false},
		{"  a \t  b\r\n\tc  ", "a b c", false},
		{"=?utf-8?q?Re=3A_gr=C3=BC=C3=9Fe?=", "grüße", true},
		{"=?iso-8859-1?Q?gr=FC=DFe?= =?utf-8?b?w6Q=?=", "grüßeä", false},
		{"=?utf-8?q?a=00b?=", "a\x00b", false},
	} {
		got, reply := baseSubjectOf([]byte(c.in))
		if string(got) != c.want || reply != c.reply {
			t.Errorf("%q: got %q, %v, want %q, %v", c.in, got, reply, c.want, c.reply)
		}
	}
}

// The ABNF of RFC 5256 section 5, as it is written there, on text whose white
// space is single spaces.
const blobABNF = `(?:\[[^\[\]]*\] *)`

var (
	trailerABNF = regexp.MustCompile(`(?is)(?:\(fwd\)| )$`)
	leaderABNF  = regexp.MustCompile(`(?is)^(?:` + blobABNF + `*(?:re|fwd?) *` + blobABNF + `?:| )`)
	prefixABNF  = regexp.MustCompile(`(?is)^` + blobABNF)
)

// literalBase is RFC 5256 section 2.1, step by step.
func literalBase(s string) (base string, reply bool) {
	for {
		for trailerABNF.MatchString(s) { // (2)
			reply = reply || !strings.HasSuffix(s, " ")
			s = s[:trailerABNF.FindStringIndex(s)[0]]
		}
		for changed := true; changed; { // (5)
			changed = false
			if at := leaderABNF.FindStringIndex(s); at != nil { // (3)
				reply = reply || s[0] != ' '
				s, changed = s[at[1]:], true
				continue
			}
			if at := prefixABNF.FindStringIndex(s); at != nil && s[at[1]:] != "" { // (4)
				s, changed = s[at[1]:], true
			}
		}
		if len(s) < 6 || !strings.EqualFold(s[:5], "[fwd:") || !strings.HasSuffix(s, "]") { // (6)
			return s, reply
		}
		s, reply = s[5:len(s)-1], true
	}
}

func FuzzBaseSubject(f *testing.F) {
	for _, s := range []string{
		"Re: hello", "[list] Fwd [x]: a (fwd)", "[Fwd: [a] re: b]", "[a][b]", "re[", "]] [[", "=?utf-8?q?Re=3A?=",
		"(fwd)(fwd)", "[fwd:[fwd:[fwd:]]]", "Fw: [fwd: x] ]",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		baseSubjectOf([]byte(s))
		plain := string(oneSpace([]byte(strings.ToValidUTF8(s, "?"))))
		got, reply := baseSubject([]byte(plain))
		want, wantReply := literalBase(plain)
		if string(got) != want || reply != wantReply {
			t.Fatalf("%q: got %q, %v, want %q, %v", plain, got, reply, want, wantReply)
		}
	})
}

func TestCasemap(t *testing.T) {
	for _, c := range []struct{ a, b string }{ // equal
		{"abc", "ABC"},
		{"grüße", "GRu\u0308ße"},
		{"ﬁn", "FiN"}, // RFC 5051: decomposed without another title case
		{"ÉCOLE", "école"},
		{"ａ", "A"},
		{"ǆ", "ǅ"},
		{"привет", "ПРИВЕТ"},
	} {
		a, b := string(appendCasemap(nil, []byte(c.a))), string(appendCasemap(nil, []byte(c.b)))
		if c.a == "ﬁn" {
			if a != "fiN" {
				t.Errorf("%q: got %q", c.a, a)
			}
			continue
		}
		if a != b {
			t.Errorf("%q is %q, %q is %q", c.a, a, c.b, b)
		}
	}
	long := strings.Repeat("a", 600)
	one, other := appendCollated(nil, []byte(long+"x")), appendCollated(nil, []byte(long+"y"))
	if len(one) != maxCollated || string(one) == string(other) || string(one) != string(appendCollated(nil, []byte(strings.ToUpper(long)+"X"))) {
		t.Errorf("long texts: %q, %q", one, other)
	}
}
