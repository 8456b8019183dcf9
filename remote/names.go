package remote

import (
	"strings"

	"github.com/roost-mail/roost/imap"
)

// toPeer spells a name with the peer's delimiter. A name that has the
// delimiter within a level can't be spelled there.
func (l *link) toPeer(name string) (string, error) {
	if l.delimiter == imap.Delimiter {
		return name, nil
	}
	if strings.IndexByte(name, l.delimiter) >= 0 {
		return "", imap.NoMailbox()
	}
	return strings.ReplaceAll(name, string(imap.Delimiter), string(l.delimiter)), nil
}

// fromPeer is the reverse. A name that has our delimiter within a level can't
// be shown, nor one that is longer than any of ours.
func (l *link) fromPeer(name string, delimiter byte) (string, bool) {
	if len(name) > imap.MaxMailboxName {
		return "", false
	}
	if delimiter == imap.Delimiter {
		return imap.CanonicalName(name), true
	}
	if strings.IndexByte(name, imap.Delimiter) >= 0 {
		return "", false
	}
	if delimiter != 0 {
		name = strings.ReplaceAll(name, string(delimiter), string(imap.Delimiter))
	}
	return imap.CanonicalName(name), true
}
