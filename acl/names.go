package acl

import (
	"strings"

	"github.com/roost-mail/roost/imap"
)

// rightNames are the long names of rights, which doveadm has, in the order of the bits.
var rightNames = [...]string{
	"lookup", "read", "write", "write-seen", "write-deleted", "insert", "post", "expunge", "create", "delete", "admin",
}

// RightNamed is the right of a long name: "lookup", "write-seen".
func RightNamed(name string) (imap.Rights, bool) {
	for i, n := range rightNames {
		if n == name {
			return 1 << i, true
		}
	}
	return 0, false
}

// NamesOf are the long names of rights, with spaces between them.
func NamesOf(r imap.Rights) string {
	var names []string
	for i, n := range rightNames {
		if r&(1<<i) != 0 {
			names = append(names, n)
		}
	}
	return strings.Join(names, " ")
}
