// Package imap holds the words of the protocol: UIDs, flags, sets, rights,
// search programs, fetch items, response codes and the one Error.
//
// It does no I/O and knows no bytes: package imapwire turns words into bytes
// and back. Every other package may import it; it imports none of ours.
package imap

import "strconv"

// UID names a message of a mailbox for good: it is never given to another
// message under the same UIDVALIDITY (RFC 9051 section 2.3.1.1). 0 is no UID.
type UID uint32

// SeqNum is a message's place in one session's view of a mailbox, from 1.
// It means nothing outside that session (RFC 9051 section 2.3.1.2).
type SeqNum uint32

// ModSeq orders the changes of a mailbox (RFC 7162 section 3). 0 is before all.
type ModSeq uint64

// String is the number as it stands on the wire.
func (n ModSeq) String() string { return strconv.FormatUint(uint64(n), 10) }

// Delimiter separates the levels of a mailbox name. All namespaces use it.
const Delimiter = '/'

// Inbox is the canonical name of a user's INBOX; clients may write any case.
const Inbox = "INBOX"
