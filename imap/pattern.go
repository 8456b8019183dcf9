package imap

import (
	"slices"
	"strings"
)

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
// anything, `%` for anything within one level (RFC 9051 section 6.3.9). It
// takes time in proportion to len(pattern)*len(name) at the most.
func MatchPattern(pattern, name string) bool {
	// match[i] says that name[:i] matches the pattern read so far.
	match := make([]bool, len(name)+1)
	match[0] = true
	for p := 0; p < len(pattern); p++ {
		if !slices.Contains(match, true) {
			return false
		}
		switch c := pattern[p]; c {
		case '*', '%':
			spreadWildcard(match, name, c == '%')
		default:
			for i := len(name); i > 0; i-- {
				match[i] = match[i-1] && name[i-1] == c
			}
			match[0] = false
		}
	}
	return match[len(name)]
}

// spreadWildcard lets each matched prefix swallow what follows it.
func spreadWildcard(match []bool, name string, oneLevel bool) {
	for i := 1; i <= len(name); i++ {
		if match[i-1] && (!oneLevel || name[i-1] != Delimiter) {
			match[i] = true
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
