package imap

import "strings"

// MaxMailboxName bounds a mailbox name, in bytes of UTF-8, and MaxMailboxDepth its levels.
const (
	MaxMailboxName  = 1000
	MaxMailboxDepth = 100
)

// CanonicalName spells INBOX, and INBOX as the first level, the one way.
func CanonicalName(name string) string {
	if len(name) < len(Inbox) || !strings.EqualFold(name[:len(Inbox)], Inbox) {
		return name
	}
	if len(name) == len(Inbox) || name[len(Inbox)] == Delimiter {
		return Inbox + name[len(Inbox):]
	}
	return name
}

// CheckName refuses what can't be the name of a mailbox that is made anew:
// empty levels, control characters, wildcards, "." and "..", or too long.
func CheckName(name string) error {
	switch {
	case name == "":
		return Errorf(CodeCannot, "Mailbox name is empty")
	case len(name) > MaxMailboxName || strings.Count(name, string(Delimiter)) >= MaxMailboxDepth:
		return Errorf(CodeCannot, "Mailbox name is too long")
	case strings.ToValidUTF8(name, "") != name:
		return Errorf(CodeCannot, "Mailbox name is not valid UTF-8")
	}
	for level := range strings.SplitSeq(name, string(Delimiter)) {
		if level == "" || level == "." || level == ".." || strings.ContainsFunc(level, badNameRune) {
			return Errorf(CodeCannot, "Invalid mailbox name")
		}
	}
	return nil
}

// badNameRune: RFC 9051 section 5.1 advises against wildcards; control
// characters and the replacement character never name a mailbox.
func badNameRune(r rune) bool {
	return r < 0x20 || r == 0x7f || (r >= 0x80 && r < 0xa0) || r == '%' || r == '*' || r == 0xfffd || r == 0x2028 || r == 0x2029
}

// MatchPattern reports whether name matches a LIST pattern: `*` stands for
// anything, `%` for anything within one level (RFC 9051 section 6.3.9). However
// many wildcards there are, it takes at most 2*len(name)*len(name) steps, and
// one look at the pattern.
func MatchPattern(pattern, name string) bool {
	match, _ := matchPattern(pattern, name)
	return match
}

// matchPattern also counts steps.
func matchPattern(pattern, name string) (match bool, steps int) {
	pattern, literals := joinWildcards(pattern)
	if literals > len(name) || literals == len(pattern) {
		return pattern == name, 0
	}
	// at[i] says that name[:i] matches the pattern read so far.
	at := make([]bool, len(name)+1)
	at[0] = true
	first := 0 // of those that are true
	for p := 0; p < len(pattern) && first < len(at); p++ {
		steps += len(at) - first
		switch c := pattern[p]; c {
		case '*', '%':
			spreadWildcard(at[first:], name[first:], c == '%')
		default:
			first = matchByte(at, name, first, c)
		}
	}
	return at[len(name)], steps
}

// joinWildcards writes each row of wildcards as one, which means the same, and
// counts the bytes that are no wildcards.
func joinWildcards(pattern string) (joined string, literals int) {
	wild, rows := byte(0), false
	for i := range len(pattern) {
		switch c := pattern[i]; {
		case c != '*' && c != '%':
			wild = 0
			literals++
		case wild != 0:
			rows = true
		default:
			wild = c
		}
	}
	if !rows {
		return pattern, literals
	}
	out := make([]byte, 0, len(pattern))
	for i := range len(pattern) {
		c := pattern[i]
		if last := len(out) - 1; last >= 0 && (c == '*' || c == '%') && (out[last] == '*' || out[last] == '%') {
			if c == '*' {
				out[last] = '*'
			}
			continue
		}
		out = append(out, c)
	}
	return string(out), literals
}

// matchByte moves each match on by one byte, and returns where the first is then.
func matchByte(at []bool, name string, first int, c byte) int {
	next := len(at)
	for i := len(name); i > first; i-- {
		if at[i] = at[i-1] && name[i-1] == c; at[i] {
			next = i
		}
	}
	at[first] = false
	return next
}

// spreadWildcard lets each matched prefix swallow what follows it.
func spreadWildcard(at []bool, name string, oneLevel bool) {
	for i := 1; i <= len(name); i++ {
		if at[i-1] && (!oneLevel || name[i-1] != Delimiter) {
			at[i] = true
		}
	}
}

// PatternPrefix is the part of a LIST pattern before its first wildcard.
func PatternPrefix(pattern string) string {
	if i := strings.IndexAny(pattern, "*%"); i >= 0 {
		return pattern[:i]
	}
	return pattern
}
