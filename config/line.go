package config

import (
	"errors"
	"strings"
)

type lineKind int

const (
	lineEmpty      lineKind = iota
	lineSet                 // key = value
	lineOpen                // key name {
	lineClose               // }
	lineInclude             // !include value
	lineIncludeTry          // !include_try value
)

// line is one logical line: continued lines are joined, the comment is gone.
// value is as written, with its quotes.
type line struct {
	kind       lineKind
	key, value string
}

var (
	errNoSetting   = errors.New(`expected "key = value", "section {" or "}"`)
	errNoKey       = errors.New(`there is no name before "="`)
	errAfterOpen   = errors.New(`text after "{": a block's first setting stands on the next line`)
	errAfterClose  = errors.New(`text after "}"`)
	errNoSpace     = errors.New(`a space is missing before "{"`)
	errSectionName = errors.New(`a block has at most one name: put a name with spaces in quotes`)
	errInclude     = errors.New(`"!include" needs a file name`)
)

const blanks = " \t"

// lexLine says what one logical line is. s has no line break.
func lexLine(s string) (line, error) {
	s = strings.Trim(s, blanks)
	switch {
	case s == "":
		return line{}, nil
	case s[0] == '}':
		if s != "}" {
			return line{}, errAfterClose
		}
		return line{kind: lineClose}, nil
	case s[0] == '!':
		return lexInclude(s)
	}
	end := strings.IndexAny(s, blanks+"=")
	if end == 0 {
		return line{}, errNoKey
	}
	if end < 0 {
		return line{}, lexStray(s)
	}
	key, rest := s[:end], strings.TrimLeft(s[end:], blanks)
	if strings.HasPrefix(rest, "=") {
		return line{kind: lineSet, key: key, value: strings.TrimLeft(rest[1:], blanks)}, nil
	}
	return lexOpen(key, rest)
}

func lexStray(s string) error {
	if strings.HasSuffix(s, "{") && len(s) > 1 {
		return errNoSpace
	}
	return errNoSetting
}

func lexInclude(s string) (line, error) {
	word, arg, _ := strings.Cut(strings.ReplaceAll(s, "\t", " "), " ")
	l := line{value: unquote(strings.Trim(arg, blanks))}
	switch word {
	case "!include":
		l.kind = lineInclude
	case "!include_try":
		l.kind = lineIncludeTry
	default:
		return line{}, errNoSetting
	}
	if l.value == "" {
		return line{}, errInclude
	}
	return l, nil
}

// lexOpen reads what follows the kind of a block: [name] {
func lexOpen(key, rest string) (line, error) {
	name := ""
	switch {
	case rest == "" || rest[0] == '{':
	case rest[0] == '"':
		end := closingQuote(rest)
		if end < 0 {
			return line{}, errNoSetting
		}
		name, rest = unquote(rest[:end+1]), rest[end+1:]
	default:
		end := strings.IndexAny(rest, blanks)
		if end < 0 {
			return line{}, lexStray(rest)
		}
		name, rest = rest[:end], rest[end:]
	}
	rest = strings.TrimLeft(rest, blanks)
	switch {
	case rest == "{":
		return line{kind: lineOpen, key: key, value: name}, nil
	case strings.HasPrefix(rest, "{"):
		return line{}, errAfterOpen
	case strings.HasSuffix(rest, "{") && name != "":
		return line{}, errSectionName
	}
	return line{}, errNoSetting
}

// stripComment cuts a comment and the blanks before it. A # inside quotes is
// text. joined says that the # had no blank before it: Dovecot takes that as a
// comment too, and warns.
func stripComment(s string) (text string, joined bool) {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"', '\'':
			end := closingQuote(s[i:])
			if end < 0 {
				return trimRight(s), false
			}
			i += end
		case '#':
			joined = i > 0 && s[i-1] != ' ' && s[i-1] != '\t'
			return trimRight(s[:i]), joined
		}
	}
	return trimRight(s), false
}

func trimRight(s string) string { return strings.TrimRight(s, blanks+"\r") }

// closingQuote is the index of the quote that ends the quoted text s begins
// with, or -1.
func closingQuote(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case s[0]:
			return i
		}
	}
	return -1
}

// isQuoted says that the whole of s stands in quotes.
func isQuoted(s string) bool {
	return len(s) > 1 && (s[0] == '"' || s[0] == '\'') && s[len(s)-1] == s[0]
}

// unquote takes the quotes off a quoted text; \x in it is x. Other text is
// returned as it is.
func unquote(s string) string {
	if !isQuoted(s) {
		return s
	}
	s = s[1 : len(s)-1]
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// quote writes a value so that it is read back the same. The value has no line break.
func quote(s string) string {
	if !needsQuotes(s) {
		return s
	}
	return `"` + escapeQuotes(s) + `"`
}

func escapeQuotes(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, `\`, `\\`), `"`, `\"`)
}

func needsQuotes(s string) bool {
	if s == "" {
		return false
	}
	if strings.Trim(s, blanks+"\r") != s || strings.HasSuffix(s, `\`) {
		return true
	}
	return strings.ContainsAny(s, `"'#$`) || s[0] == '<'
}
