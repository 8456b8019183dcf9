package imapclient

import (
	"io"
	"time"

	"github.com/roost-mail/roost/imap"
)

// Handler receives untagged responses. Functions that are nil leave theirs to
// the connection's Handler, or else to nobody. They are called by whoever waits
// on the connection, in the order of the responses, and must not use it.
type Handler struct {
	Status   func(*Status) // untagged OK, NO, BAD and BYE
	Exists   func(n uint32)
	Expunge  func(imap.SeqNum)
	Vanished func(uids imap.UIDSet, earlier bool) // RFC 7162 section 3.2.10
	Flags    func([]imap.Flag)
	Search   func(imap.UIDSet, imap.ModSeq) // of SEARCH and ESEARCH; the latter's ALL
	List     func(*ListData)                // of LIST and LSUB

	// Sort gets what SORT or ESEARCH tells, in the order of the response.
	Sort   func([]imap.Range, imap.ModSeq)
	Thread func([]imap.ThreadMember)

	MailboxStatus func(*StatusData)
	ACL           func([]imap.ACLEntry)
	MyRights      func(imap.Rights)
	ListRights    func(imap.GrantableRights)
	Metadata      func(*MetadataData) // with values

	MetadataChanged func(*MetadataNames) // without

	QuotaRoot func(roots []string)
	Quota     func(*imap.Quota)

	// Section is called for each section of a FETCH response as it comes, with
	// what has come of the message before. The body is read from the
	// connection; what is left of it afterwards is dropped. An error breaks
	// the connection.
	Section func(*FetchData, *SectionData) error

	// Fetch is called at the end of a FETCH response. An error breaks the
	// connection.
	Fetch func(*FetchData) error
}

// or is h with the functions it lacks taken from base. h may be nil.
func (h *Handler) or(base *Handler) *Handler {
	if h == nil {
		return base
	}
	out := *h
	pick(&out.Status, base.Status)
	pick(&out.Exists, base.Exists)
	pick(&out.Expunge, base.Expunge)
	pick(&out.Flags, base.Flags)
	if out.Search == nil {
		out.Search = base.Search
	}
	if out.Sort == nil {
		out.Sort = base.Sort
	}
	pick(&out.Thread, base.Thread)
	if out.Vanished == nil {
		out.Vanished = base.Vanished
	}
	pick(&out.List, base.List)
	pick(&out.MailboxStatus, base.MailboxStatus)
	pick(&out.ACL, base.ACL)
	pick(&out.MyRights, base.MyRights)
	pick(&out.ListRights, base.ListRights)
	pick(&out.Metadata, base.Metadata)
	pick(&out.MetadataChanged, base.MetadataChanged)
	pick(&out.QuotaRoot, base.QuotaRoot)
	pick(&out.Quota, base.Quota)
	if out.Section == nil {
		out.Section = base.Section
	}
	if out.Fetch == nil {
		out.Fetch = base.Fetch
	}
	return &out
}

func pick[T any](f *func(T), base func(T)) {
	if *f == nil {
		*f = base
	}
}

// FetchData is what a FETCH response says of a message. Has tells which of the
// items it has brought; others are zero. It and its byte slices are valid until
// the handler returns.
type FetchData struct {
	Seq           imap.SeqNum
	Has           Items
	UID           imap.UID
	Flags         []imap.Flag // canonical, \Recent among them
	ModSeq        imap.ModSeq
	InternalDate  time.Time
	Size          int64
	Envelope      []byte // wire form
	Body          []byte // wire form
	BodyStructure []byte // wire form
	EmailID       imap.ObjectID
	ThreadID      imap.ObjectID // "" for NIL
	SaveDate      time.Time     // zero for NIL
	Preview       string
	HasPreview    bool // it was not NIL
	BinarySizes   []BinarySize
}

// BinarySize is the size of a part without its transfer encoding.
type BinarySize struct {
	Name string // as in the response, in capitals: BINARY.SIZE[1.2]
	Size int64
}

// Items is a set of FETCH items.
type Items uint16

// The items.
const (
	ItemUID Items = 1 << iota
	ItemFlags
	ItemModSeq
	ItemInternalDate
	ItemSize
	ItemEnvelope
	ItemBody
	ItemBodyStructure
	ItemEmailID
	ItemThreadID
	ItemSaveDate
	ItemPreview
)

// SectionData is a section in a FETCH response.
type SectionData struct {
	Name    string // as in the response, in capitals: BODY[1.HEADER] or BINARY[1], with <offset>
	Missing bool   // NIL
	Size    int64
	Body    io.Reader
}

// StatusData is a STATUS response.
type StatusData struct {
	Name string           // UTF-8, with the server's delimiter
	Has  imap.StatusItems // told; the others are zero
	imap.Status
}

// MetadataData is a METADATA response that tells values (RFC 5464 section 4.4.1).
// Names are as the server spells them.
type MetadataData struct {
	Mailbox string // UTF-8, with the server's delimiter
	Entries []imap.MetadataEntry
}

// MetadataNames is a METADATA response that tells which entries have changed (RFC
// 5464 section 4.4.2). Names are as the server spells them.
type MetadataNames struct {
	Mailbox string // UTF-8, with the server's delimiter
	Entries []string
}

// ListData is a LIST or LSUB response.
type ListData struct {
	Name      string // UTF-8, with the server's delimiter
	Delimiter byte   // 0: the name has no levels
	Attrs     []imap.Attr
}
