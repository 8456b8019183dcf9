package imap

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Rights is a set of the rights of RFC 4314 section 2.1.
type Rights uint16

// The rights, in the order in which they are shown.
const (
	RightLookup        Rights = 1 << iota // l: visible in LIST
	RightRead                             // r: SELECT, STATUS, FETCH, SEARCH, COPY from
	RightWrite                            // w: flags other than \Seen and \Deleted
	RightSeen                             // s: \Seen
	RightDeleted                          // t: \Deleted
	RightInsert                           // i: APPEND, COPY into
	RightPost                             // p: mail by the mailbox's address
	RightExpunge                          // e: EXPUNGE
	RightCreate                           // k: CREATE below it
	RightDeleteMailbox                    // x: DELETE, RENAME
	RightAdmin                            // a: the ACL itself

	NoRights  Rights = 0
	AllRights        = RightAdmin<<1 - 1
)

const (
	rightLetters = "lrwstipekxa"

	// What the obsolete letters of RFC 4314 section 2.1.1 stand for.
	virtualCreate = RightCreate | RightDeleteMailbox
	virtualDelete = RightExpunge | RightDeleted
)

// ParseRights reads a list of letters; c and d stand for kx and et. An unknown
// letter is BAD (RFC 4314 section 3.1).
func ParseRights(s string) (Rights, error) {
	var r Rights
	for _, c := range []byte(s) {
		switch i := strings.IndexByte(rightLetters, c); {
		case i >= 0:
			r |= 1 << i
		case c == 'c':
			r |= virtualCreate
		case c == 'd':
			r |= virtualDelete
		default:
			return 0, BadCommand("Invalid ACL right: %q", rune(c))
		}
	}
	return r, nil
}

// Has reports whether r holds all of want.
func (r Rights) Has(want Rights) bool { return r&want == want }

// HasAny reports whether r holds at least one of want.
func (r Rights) HasAny(want Rights) bool { return r&want != 0 }

// Letters is r without the obsolete letters, as files and indexes keep it.
func (r Rights) Letters() string {
	var b [len(rightLetters)]byte
	n := 0
	for i := range len(rightLetters) {
		if r&(1<<i) != 0 {
			b[n] = rightLetters[i]
			n++
		}
	}
	return string(b[:n])
}

// String is r as ACL and MYRIGHTS responses show it: with c where k or x is
// granted and d where e or t is (RFC 4314 section 2.1.1).
func (r Rights) String() string {
	s := r.Letters()
	if r.HasAny(virtualCreate) {
		s += "c"
	}
	if r.HasAny(virtualDelete) {
		s += "d"
	}
	return s
}

// FlagClasses are the classes of flags that r lets its holder change.
func (r Rights) FlagClasses() FlagClass {
	var c FlagClass
	if r.Has(RightSeen) {
		c |= ClassSeen
	}
	if r.Has(RightDeleted) {
		c |= ClassDeleted
	}
	if r.Has(RightWrite) {
		c |= ClassOther
	}
	return c
}

// MaxIdentifier bounds an identifier of an ACL, in bytes.
const MaxIdentifier = 1024

// CheckIdentifier refuses, as BAD, what could be two lines, or none, wherever an
// identifier is written down.
func CheckIdentifier(id string) error {
	why := ""
	switch {
	case strings.TrimPrefix(id, "-") == "":
		why = "it is empty"
	case len(id) > MaxIdentifier:
		why = "it is too long"
	case !utf8.ValidString(id):
		why = "it is not UTF-8"
	case strings.ContainsFunc(id, unicode.IsControl):
		why = "it has a control character"
	default:
		return nil
	}
	return BadCommand("Invalid identifier: %s", why)
}

// ACLEntry is a pair of an ACL response: an identifier as IMAP writes it
// (`bob`, `$team`, `-bob`, `anyone`) and its rights.
type ACLEntry struct {
	Identifier string
	Rights     Rights
}

// ACLChange says how SETACL changes an entry (RFC 4314 section 3.1).
type ACLChange byte

// The three forms of SETACL's last argument.
const (
	ACLReplace ACLChange = '='
	ACLAdd     ACLChange = '+'
	ACLRemove  ACLChange = '-'
)

// GrantableRights is a LISTRIGHTS response: what an identifier always has, and
// what may be granted, each group on its own (RFC 4314 section 3.7).
type GrantableRights struct {
	Required Rights
	Optional []Rights
}
