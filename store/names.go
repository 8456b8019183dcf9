package store

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/roost-mail/roost/imap"
)

// objectID names something for good, all over the world: an account, a
// mailbox, the content of a message (RFC 8474).
type objectID [16]byte

func newObjectID() (id objectID) {
	rand.Read(id[:]) //nolint:errcheck // it never fails, and crashes the program if it would
	return id
}

func (id objectID) String() string { return hex.EncodeToString(id[:]) }

func parseObjectID(s string) (id objectID, err error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(id) {
		return id, fmt.Errorf("%w: object id %q", errFormat, s)
	}
	copy(id[:], b)
	return id, nil
}

// mailboxID and emailID are ids as clients see them: RFC 8474 section 7 wants no
// digit at the beginning, and letters of one case.
func (id objectID) mailboxID() imap.ObjectID { return imap.ObjectID("F" + id.String()) }
func (id objectID) emailID() imap.ObjectID   { return imap.ObjectID("M" + id.String()) }

// parseEmailID is the inverse of emailID. Ids of other servers are not ok.
func parseEmailID(s imap.ObjectID) (id objectID, ok bool) {
	text, ok := strings.CutPrefix(string(s), "M")
	if !ok {
		return id, false
	}
	id, err := parseObjectID(text)
	return id, err == nil && id.emailID() == s
}

func randomUint64() uint64 {
	var b [8]byte
	rand.Read(b[:]) //nolint:errcheck // as above
	return binary.LittleEndian.Uint64(b[:])
}

// The kinds of files in an account's directory, and what else is found there.
const (
	kindLog    = "log" // a segment
	kindTable  = "tab" // folded state
	kindDigest = "dig" // digests of a mailbox

	manifestPrefix = "m."
	backupPrefix   = "backup." // registrations of backups
	tempPrefix     = "tmp."
)

// fileName names a segment, a table file or a digest file. A name is never used twice: the
// epoch grows with every open, the incarnation is random at each.
type fileName struct {
	kind        string
	epoch       uint64
	incarnation uint64
	seq         uint32 // grows over all files of the account
}

func (n fileName) String() string {
	return fmt.Sprintf("%d-%016x-%d.%s", n.epoch, n.incarnation, n.seq, n.kind)
}

func parseFileName(s string) (fileName, error) {
	bad := fmt.Errorf("%w: file name %q", errFormat, s)
	base, kind, _ := strings.Cut(s, ".")
	parts := strings.Split(base, "-")
	if len(parts) != 3 || (kind != kindLog && kind != kindTable && kind != kindDigest) {
		return fileName{}, bad
	}
	epoch, err1 := strconv.ParseUint(parts[0], 10, 64)
	incarnation, err2 := strconv.ParseUint(parts[1], 16, 64)
	seq, err3 := strconv.ParseUint(parts[2], 10, 32)
	n := fileName{kind: kind, epoch: epoch, incarnation: incarnation, seq: uint32(seq)}
	if err1 != nil || err2 != nil || err3 != nil || n.String() != s {
		return fileName{}, bad
	}
	return n, nil
}
