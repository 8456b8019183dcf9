package imap

import "slices"

// FetchItems is what a FETCH asks for (RFC 9051 section 6.4.5). UIDs are
// always told; sequence numbers belong to the session.
type FetchItems struct {
	Flags         bool
	InternalDate  bool
	Size          bool
	Envelope      bool
	Body          bool // BODY without a section: structure without extensions
	BodyStructure bool
	ModSeq        bool
	EmailID       bool    // RFC 8474
	ThreadID      bool    // RFC 8474
	SaveDate      bool    // RFC 8514
	Preview       bool    // RFC 8970
	PreviewLazy   bool    // only previews that take no work; with Preview
	BinarySizes   [][]int // BINARY.SIZE of these parts (RFC 3516), at most MaxSections
	Sections      []Section

	// ChangedSince, unless 0, leaves out messages whose modification sequence
	// is not greater, as the acting user sees it (RFC 7162 section 3.1.4.1).
	ChangedSince ModSeq

	// MarkSeen asks that each message be marked \Seen as by BODY[] without
	// .PEEK, as far as the acting user may.
	MarkSeen bool
}

// Section names a part of a message: BODY[...]<...> or BINARY[...]<...>.
type Section struct {
	Part    []int // 1-based path; empty is the message itself
	Kind    SectionKind
	Binary  bool     // BINARY[...]: without its transfer encoding (RFC 3516); Kind is SectionAll
	Fields  []string // of HEADER.FIELDS and HEADER.FIELDS.NOT
	Partial bool
	Offset  uint64 // of a partial fetch, in bytes; of 63 bits, as Count
	Count   uint64

	// Item is how the response names the section; empty means by BODY[...].
	// RFC822, RFC822.HEADER and RFC822.TEXT (RFC 3501 section 6.4.5) set it.
	Item string
}

// SectionKind says what of a part is wanted.
type SectionKind uint8

// The section kinds, with their names in BODY[...].
const (
	SectionAll             SectionKind = iota // the part's content, or the whole message
	SectionHeader                             // HEADER
	SectionHeaderFields                       // HEADER.FIELDS
	SectionHeaderFieldsNot                    // HEADER.FIELDS.NOT
	SectionText                               // TEXT
	SectionMIME                               // MIME
)

// sectionKinds are the names of the kinds.
var sectionKinds = [...]string{
	SectionAll:             "",
	SectionHeader:          "HEADER",
	SectionHeaderFields:    "HEADER.FIELDS",
	SectionHeaderFieldsNot: "HEADER.FIELDS.NOT",
	SectionText:            "TEXT",
	SectionMIME:            "MIME",
}

// String is the name in BODY[...], empty for SectionAll.
func (k SectionKind) String() string { return sectionKinds[k] }

// ParseSectionKind is the kind of a name, which is in capitals, and whether there is one.
func ParseSectionKind(name string) (SectionKind, bool) {
	i := slices.Index(sectionKinds[:], name)
	return SectionKind(max(i, 0)), i >= 0
}

// Limits of what one FETCH may name.
const (
	MaxSections      = 100
	MaxSectionFields = 500
	MaxSectionDepth  = 100
)
