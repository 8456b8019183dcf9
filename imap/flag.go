package imap

import "strings"

// Flag is a system flag (with its backslash) or a keyword. Flags compare
// without regard to case; CanonicalFlag gives system flags their one spelling.
type Flag string

// The system flags of RFC 9051 section 2.3.2, and \Recent of RFC 3501.
const (
	FlagSeen     Flag = `\Seen`
	FlagAnswered Flag = `\Answered`
	FlagFlagged  Flag = `\Flagged`
	FlagDeleted  Flag = `\Deleted`
	FlagDraft    Flag = `\Draft`
	FlagRecent   Flag = `\Recent`

	// FlagWildcard in PERMANENTFLAGS says that new keywords may be made.
	FlagWildcard Flag = `\*`
)

// SystemFlags are the flags that every mailbox knows, in the order they are shown.
func SystemFlags() []Flag {
	return []Flag{FlagAnswered, FlagFlagged, FlagDeleted, FlagSeen, FlagDraft}
}

// MaxFlagLen bounds a keyword, in bytes.
const MaxFlagLen = 255

// CanonicalFlag gives a system flag its usual spelling and leaves keywords as they are.
func CanonicalFlag(f Flag) Flag {
	if !strings.HasPrefix(string(f), `\`) {
		return f
	}
	for _, s := range [...]Flag{FlagSeen, FlagAnswered, FlagFlagged, FlagDeleted, FlagDraft, FlagRecent} {
		if strings.EqualFold(string(f), string(s)) {
			return s
		}
	}
	return f
}

// EqualFlag reports whether a and b are the same flag.
func EqualFlag(a, b Flag) bool { return strings.EqualFold(string(a), string(b)) }

// HasFlag reports whether flags holds f.
func HasFlag(flags []Flag, f Flag) bool {
	for _, g := range flags {
		if EqualFlag(f, g) {
			return true
		}
	}
	return false
}

// FlagClass is a set of the three kinds of flags that RFC 4314 section 4 gives
// different rights: `\Seen` needs s, `\Deleted` t, and all others w.
type FlagClass uint8

// The classes.
const (
	ClassSeen FlagClass = 1 << iota
	ClassDeleted
	ClassOther

	AllClasses = ClassSeen | ClassDeleted | ClassOther
)

// ClassOf is the class that f belongs to.
func ClassOf(f Flag) FlagClass {
	switch {
	case EqualFlag(f, FlagSeen):
		return ClassSeen
	case EqualFlag(f, FlagDeleted):
		return ClassDeleted
	default:
		return ClassOther
	}
}

// Only returns those of flags whose class is in c, as a new slice.
func (c FlagClass) Only(flags []Flag) []Flag {
	kept := make([]Flag, 0, len(flags))
	for _, f := range flags {
		if c&ClassOf(f) != 0 {
			kept = append(kept, f)
		}
	}
	return kept
}
