package imap

import "strings"

// Attr is a mailbox attribute of a LIST response (RFC 9051 section 7.3.1).
type Attr string

// The attributes Roost sends.
const (
	AttrNoSelect      Attr = `\Noselect`
	AttrNonExistent   Attr = `\NonExistent`
	AttrHasChildren   Attr = `\HasChildren`
	AttrHasNoChildren Attr = `\HasNoChildren`
	AttrSubscribed    Attr = `\Subscribed` // RFC 5258 section 3.4
)

// SpecialUses are the attributes of RFC 6154 section 2 and RFC 8457 section 4.
func SpecialUses() []Attr {
	return []Attr{`\All`, `\Archive`, `\Drafts`, `\Flagged`, `\Important`, `\Junk`, `\Sent`, `\Trash`}
}

// SpecialUse is the attribute that is spelled like s but for the case of its
// letters, and whether there is one.
func SpecialUse(s string) (Attr, bool) {
	for _, a := range SpecialUses() {
		if strings.EqualFold(string(a), s) {
			return a, true
		}
	}
	return "", false
}

// IsSpecialUse reports whether a is one of SpecialUses.
func (a Attr) IsSpecialUse() bool {
	_, is := SpecialUse(string(a))
	return is
}

// StatusItems is a set of STATUS data items (RFC 9051 section 6.3.11).
type StatusItems uint16

// The items.
const (
	StatusMessages StatusItems = 1 << iota
	StatusRecent
	StatusUIDNext
	StatusUIDValidity
	StatusUnseen
	StatusHighestModSeq
	StatusSize           // RFC 8438
	StatusDeleted        // RFC 9208 section 4.1.4
	StatusDeletedStorage // likewise
	StatusMailboxID      // RFC 8474 section 4.3
	StatusAppendLimit    // RFC 7889 section 3.1
)

// Status holds the counters of a mailbox. Unseen is the acting user's own
// count where \Seen is private.
type Status struct {
	Messages      uint32
	Recent        uint32
	UIDNext       UID
	UIDValidity   uint32
	Unseen        uint32
	HighestModSeq ModSeq
	MailboxID     ObjectID

	Size           uint64 // sum of the messages' sizes
	Deleted        uint32 // messages with \Deleted
	DeletedStorage uint64 // sum of their sizes
	AppendLimit    uint64 // bytes of a message, as far as the mailbox's home bounds them; 0 if not
}

// AppendData is the APPENDUID of an APPEND (RFC 9051 section 7.1). It is empty
// (UIDValidity 0) where the acting user may not read the mailbox.
type AppendData struct {
	UIDValidity uint32
	UIDs        UIDSet // ascending, one for each message, in order
}

// CopyData is the COPYUID of a COPY or MOVE: the n-th of Source became the
// n-th of Dest. Empty (UIDValidity 0) where the acting user may not read the
// destination.
type CopyData struct {
	UIDValidity  uint32
	Source, Dest UIDSet
}
