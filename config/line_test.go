package config

import "testing"

func TestLexLine(t *testing.T) {
	for _, c := range []struct {
		text string
		want line
	}{
		{"", line{}},
		{" \t ", line{}},
		{"a = b", line{lineSet, "a", "b"}},
		{"a=b", line{lineSet, "a", "b"}},
		{"  a  =  b c  ", line{lineSet, "a", "b c"}},
		{"a =", line{lineSet, "a", ""}},
		{"a = b = c", line{lineSet, "a", "b = c"}},
		{"a = {", line{lineSet, "a", "{"}},
		{"a {", line{lineOpen, "a", ""}},
		{"a b {", line{lineOpen, "a", "b"}},
		{"a\tb\t{", line{lineOpen, "a", "b"}},
		{`a "b c" {`, line{lineOpen, "a", "b c"}},
		{`a "b=\"c\\" {`, line{lineOpen, "a", `b="c\`}},
		{"a !b {", line{lineOpen, "a", "!b"}},
		{"a b/c {", line{lineOpen, "a", "b/c"}},
		{"}", line{kind: lineClose}},
		{"!include x", line{lineInclude, "", "x"}},
		{"!include  a b", line{lineInclude, "", "a b"}},
		{`!include_try "a b"`, line{lineIncludeTry, "", "a b"}},
	} {
		if got, err := lexLine(c.text); err != nil || got != c.want {
			t.Errorf("lexLine(%q) = %+v, %v; want %+v", c.text, got, err, c.want)
		}
	}
	for _, c := range []struct {
		text string
		want error
	}{
		{"a", errNoSetting},
		{"a b", errNoSetting},
		{"a b c", errNoSetting},
		{"= b", errNoKey},
		{"a{", errNoSpace},
		{"a b{", errNoSpace},
		{"a b c {", errSectionName},
		{`a "b {`, errNoSetting},
		{"a { b = c }", errAfterOpen},
		{"a b {}", errAfterOpen},
		{"} a", errAfterClose},
		{"}}", errAfterClose},
		{"!include", errInclude},
		{"!exclude a", errNoSetting},
	} {
		if got, err := lexLine(c.text); err != c.want {
			t.Errorf("lexLine(%q) = %+v, %v; want %v", c.text, got, err, c.want)
		}
	}
}

func TestStripComment(t *testing.T) {
	for _, c := range []struct {
		text, want string
		joined     bool
	}{
		{"a = b # c", "a = b", false},
		{"# c", "", false},
		{"a = b#c", "a = b", true},
		{`a = "b # c" # d`, `a = "b # c"`, false},
		{`a = 'b # c' # d`, `a = 'b # c'`, false},
		{`a = "b \" # c" # d`, `a = "b \" # c"`, false},
		{"a = it's # text, for the quote is open", "a = it's # text, for the quote is open", false},
		{"a = b\r", "a = b", false},
	} {
		if got, joined := stripComment(c.text); got != c.want || joined != c.joined {
			t.Errorf("stripComment(%q) = %q, %v; want %q, %v", c.text, got, joined, c.want, c.joined)
		}
	}
}

func TestUnquote(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{`"a"`, `a`},
		{`'a'`, `a`},
		{`""`, ``},
		{`"`, `"`},
		{`"a`, `"a`},
		{`"a'`, `"a'`},
		{`"a" b`, `"a" b`},
		{`"a"b"`, `a"b`},
		{`"a\xb\"c\\"`, `axb"c\`},
		{`'a\'b"'`, `a'b"`},
		{`"\"`, `\`},
	} {
		if got := unquote(c.text); got != c.want {
			t.Errorf("unquote(%q) = %q, want %q", c.text, got, c.want)
		}
	}
}

// TestQuote: a quoted value is read back as it was.
func TestQuote(t *testing.T) {
	for _, text := range []string{
		"", "a", "a b", " a", "a ", "\ta", "a # b", "a#b", `a"b`, `"a"`, `'a'`, `a\`, `a\b`, "<a", "$a", "a $b", "a=b", "{", "}",
	} {
		s, joined := stripComment("key = " + quote(text))
		l, err := lexLine(s)
		p := newParser(noSource{})
		v, verr := p.value(l.value, Pos{})
		if err != nil || verr != nil || joined || v.text != text {
			t.Errorf("quote(%q) = %s is read as %q, %v, %v", text, quote(text), v.text, err, verr)
		}
	}
}
