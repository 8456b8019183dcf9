package auth

import (
	"errors"
	"fmt"
	"strings"
)

// Value is the value of a % variable: name is a letter ("u") or a word ("user").
// ok is false for a variable that does not exist.
type Value func(name string) (value string, ok bool)

// Expand replaces the % variables of a template. A value is never expanded again.
// An unknown variable or modifier is an error.
type Expand func(template string, value Value) (string, error)

// expandVariables is the Expand used if the configuration brings none: %u, %{user},
// %% and the modifiers L and U, which concern ASCII letters only, as in Dovecot.
func expandVariables(template string, value Value) (string, error) {
	if !strings.Contains(template, "%") {
		return template, nil
	}
	var out strings.Builder
	for rest := template; rest != ""; {
		before, after, found := strings.Cut(rest, "%")
		out.WriteString(before)
		if !found {
			break
		}
		text, n, err := expandOne(after, value)
		if err != nil {
			return "", err
		}
		out.WriteString(text)
		rest = after[n:]
	}
	return out.String(), nil
}

// expandOne expands the variable whose % stands before s; n is its length in s.
func expandOne(s string, value Value) (text string, n int, err error) {
	modify := func(s string) string { return s }
	for n < len(s) && (s[n] == 'L' || s[n] == 'U') {
		modify = lowerASCII
		if s[n] == 'U' {
			modify = upperASCII
		}
		n++
	}
	if n == len(s) {
		return "", 0, errors.New("% at the end of a value; write %% for a percent sign")
	}
	if s[n] == '%' {
		return "%", n + 1, nil
	}
	name, end := s[n:n+1], n+1
	if s[n] == '{' {
		length := strings.IndexByte(s[n:], '}')
		if length < 0 {
			return "", 0, errors.New("%{ without }")
		}
		name, end = s[n+1:n+length], n+length+1
	}
	got, ok := value(name)
	if !ok {
		return "", 0, fmt.Errorf("unknown variable %%%s", s[:end])
	}
	return modify(got), end, nil
}

// lowerASCII changes no other letters: what is lower case must not depend on
// Unicode tables, since homes and slots are derived from names.
func lowerASCII(s string) string { return strings.Map(mapASCII('A', 'a'), s) }

func upperASCII(s string) string { return strings.Map(mapASCII('a', 'A'), s) }

func mapASCII(from, to rune) func(rune) rune {
	return func(r rune) rune {
		if r >= from && r < from+26 {
			return r - from + to
		}
		return r
	}
}
