package cluster

import (
	"fmt"
	"strings"
)

// Template makes from a user's name the text that is hashed, for example "%Lu",
// the name in lower case, or "%d", which keeps a domain's users together. It is
// the same on all directors of a site, for ever: another template moves users.
// The zero Template yields "" for everybody.
type Template struct{ parts []part }

// part is literal text, or a variable if letter is not 0.
type part struct {
	literal   string
	letter    byte   // u, n or d
	modifiers string // of L and U, in order
}

// ParseTemplate reads a template: text with the variables %u (the whole name),
// %n (what is before the first @) and %d (what is after it), also written
// %{user}, %{username} and %{domain}. The modifiers L and U after the percent
// sign change ASCII letters to lower or upper case, as Dovecot does. %% is a
// percent sign.
func ParseTemplate(text string) (Template, error) {
	var t Template
	for rest := text; rest != ""; {
		literal, variable, found := strings.Cut(rest, "%")
		if literal != "" {
			t.parts = append(t.parts, part{literal: literal})
		}
		if !found {
			break
		}
		p, after, ok := parseVariable(variable)
		if !ok {
			return Template{}, fmt.Errorf("template %q: unknown variable at %%%.20s", text, variable)
		}
		t.parts = append(t.parts, p)
		rest = after
	}
	return t, nil
}

// parseVariable reads what follows a percent sign.
func parseVariable(s string) (p part, rest string, ok bool) {
	name := strings.TrimLeft(s, "LU")
	p.modifiers = s[:len(s)-len(name)]
	for _, v := range []struct {
		text   string
		letter byte
	}{
		{"u", 'u'},
		{"n", 'n'},
		{"d", 'd'},
		{"{user}", 'u'},
		{"{username}", 'n'},
		{"{domain}", 'd'},
	} {
		if rest, ok = strings.CutPrefix(name, v.text); ok {
			p.letter = v.letter
			return p, rest, true
		}
	}
	if rest, ok = strings.CutPrefix(s, "%"); ok {
		return part{literal: "%"}, rest, true
	}
	return part{}, "", false
}

// Expand returns the text for a user.
func (t Template) Expand(user string) string {
	var b strings.Builder
	for _, p := range t.parts {
		b.WriteString(p.expand(user))
	}
	return b.String()
}

func (p part) expand(user string) string {
	name, domain, _ := strings.Cut(user, "@")
	var s string
	switch p.letter {
	case 'u':
		s = user
	case 'n':
		s = name
	case 'd':
		s = domain
	default:
		return p.literal
	}
	for _, m := range p.modifiers {
		if m == 'L' {
			s = mapASCII(s, 'A', 'Z')
		} else {
			s = mapASCII(s, 'a', 'z')
		}
	}
	return s
}

// mapASCII changes the case of the letters between first and last. Package
// strings would change others than ASCII as well, and so the hash.
func mapASCII(s string, first, last byte) string {
	b := []byte(s)
	for i, c := range b {
		if first <= c && c <= last {
			b[i] = c ^ 0x20
		}
	}
	return string(b)
}
