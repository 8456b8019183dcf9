package dictfs

import (
	"fmt"
	"strings"

	"github.com/roost-mail/roost/dict"
)

// Sizes of names and paths in bytes, as Linux has them.
const (
	maxName = 255
	maxPath = 4095
	piece   = 239 // of a longer part of a key; "%" follows it
)

// Names that are not keys: our own at the top, and files that Dovecot is writing.
const (
	ownNames    = ".roost-"
	lockName    = ownNames + "lock"
	journalName = ownNames + "journal"
)

var hidden = []string{ownNames, "temp.dovecot.", ".temp.dovecot"}

// path is where key is kept, below the directory.
//
// As Dovecot does it, a part of dots alone gets two dots more. A part of more than
// 255 bytes, which Dovecot can't keep, becomes a directory for every 239 of them,
// whose name ends in "%", and a rest.
func path(key string) (string, error) {
	var names []string
	for _, part := range strings.Split(strings.TrimPrefix(key, dict.Root), "/") {
		if part == "" || len(part) == piece+1 && strings.HasSuffix(part, "%") {
			return "", fmt.Errorf("%w: key %.200q can't be the name of a file", dict.ErrInvalid, key)
		}
		if len(part) > maxName {
			for ; len(part) > piece; part = part[piece:] {
				names = append(names, part[:piece]+"%")
			}
		}
		if strings.Trim(part, ".") == "" {
			part += ".."
		}
		for _, h := range hidden {
			if strings.HasPrefix(part, h) {
				return "", fmt.Errorf("%w: names that begin with %s are not for keys", dict.ErrInvalid, h)
			}
		}
		names = append(names, part)
	}
	p := strings.Join(names, "/")
	if len(p) > maxPath || len(names[len(names)-1]) > maxName {
		return "", fmt.Errorf("%w: key of %d bytes can't be the name of a file", dict.ErrInvalid, len(key))
	}
	return p, nil
}

// extend is the part of a key that a name in the directory of the key's beginning
// stands for, and whether it ends there.
func extend(name string) (part string, whole bool) {
	if len(name) == piece+1 && strings.HasSuffix(name, "%") {
		return name[:piece], false
	}
	if len(name) > 2 && strings.Trim(name, ".") == "" {
		return name[2:], true
	}
	return name, true
}

func isHidden(name string) bool {
	for _, h := range hidden {
		if strings.HasPrefix(name, h) {
			return true
		}
	}
	return false
}
