package imap

import (
	"crypto/rand"
	"encoding/hex"
	"strings"
)

// ObjectID names a mailbox, a message's content or a thread for good, on all
// servers (RFC 8474 section 4). It never changes and is never given to anything
// else. "" is none.
type ObjectID string

// NewEmailID makes one that no message has yet, of the form that those have which
// Roost gives.
func NewEmailID() ObjectID {
	var b [16]byte
	rand.Read(b[:]) //nolint:errcheck // it never fails, and crashes the program if it would
	return ObjectID("M" + hex.EncodeToString(b[:]))
}

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
