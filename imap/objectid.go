package imap

import "strings"

// ObjectID names a mailbox, a message's content or a thread for good, on all
// servers (RFC 8474 section 4). It never changes and is never given to anything
// else. "" is none.
type ObjectID string

// maxObjectID is the greatest length that RFC 8474 section 7 allows.
const maxObjectID = 255

// Valid reports whether id has the form of an object ID.
func (id ObjectID) Valid() bool {
	return id != "" && len(id) <= maxObjectID && strings.IndexFunc(string(id), notInObjectID) < 0
}

func notInObjectID(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '_', r == '-':
		return false
	}
	return true
}
