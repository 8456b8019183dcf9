package imap

import (
	"slices"
	"time"
)

// SearchOp is the kind of a node of a search program.
type SearchOp uint8

// The search keys of RFC 9051 section 6.4.4, folded to few kinds: NEW is
// (RECENT UNSEEN), UNANSWERED is NOT(Flag \Answered), FROM x is Header From x.
const (
	SearchAll        SearchOp = iota
	SearchAnd                 // all of Keys; without keys it is true
	SearchOr                  // any of Keys; without keys it is false
	SearchNot                 // not Keys[0]
	SearchUIDs                // UID in UIDs; sequence sets are turned into UIDs by the session
	SearchFlag                // Flag is set; \Seen is the acting user's, \Recent never reaches a mailbox
	SearchHeader              // header Field holds Text; empty Text: the field exists
	SearchBody                // a text part's body holds Text
	SearchText                // header or body holds Text
	SearchLarger              // size > Size
	SearchSmaller             // size < Size
	SearchBefore              // internal date's day < Date
	SearchOn                  // internal date's day = Date
	SearchSince               // internal date's day >= Date
	SearchSentBefore          // Date: header's day < Date
	SearchSentOn              // Date: header's day = Date
	SearchSentSince           // Date: header's day >= Date
	SearchYounger             // internal date at most Size seconds ago (RFC 5032)
	SearchOlder               // internal date at least Size seconds ago
	SearchModSeq              // modification sequence >= ModSeq, as the acting user sees it (RFC 7162 section 3.1.5)
	SearchEmailID             // EMAILID is Text (RFC 8474)
	SearchThreadID            // THREADID is Text (RFC 8474)

	// RFC 8514: where no save dates are kept, the internal date stands in.
	SearchSavedBefore       // save date's day, in UTC, < Date
	SearchSavedOn           // save date's day = Date
	SearchSavedSince        // save date's day >= Date
	SearchSaveDateSupported // all, where save dates are kept
)

// Limits of a search program.
const (
	MaxSearchDepth = 50
	MaxSearchKeys  = 2000
	MaxSearchText  = 8 << 10
	MaxBodyKeys    = 100 // of SearchBody and SearchText: each reads all bodies
)

// SearchKey is a node of a search program. Only the fields of its Op count.
type SearchKey struct {
	Op     SearchOp
	Keys   []SearchKey
	UIDs   UIDSet
	Flag   Flag
	Field  string
	Text   string // UTF-8
	Size   uint32
	ModSeq ModSeq
	Date   time.Time // midnight UTC of the day the client named; time zones are disregarded
}

// Not is the negation of k.
func (k SearchKey) Not() SearchKey { return SearchKey{Op: SearchNot, Keys: []SearchKey{k}} }

// Has reports whether a key of the program is of kind op.
func (k *SearchKey) Has(op SearchOp) bool {
	return k.Op == op || slices.ContainsFunc(k.Keys, func(sub SearchKey) bool { return sub.Has(op) })
}
