package store

import (
	"fmt"

	"github.com/roost-mail/roost/imap"
)

// recordType says what a record holds. Numbers are never given anew.
type recordType uint8

const (
	typeCommit    recordType = 1
	typeMessage   recordType = 2
	typeCopy      recordType = 3
	typeExpunge   recordType = 4
	typeFlags     recordType = 5
	typeSeen      recordType = 6
	typeCreate    recordType = 7
	typeDelete    recordType = 8
	typeRename    recordType = 9
	typeEntries   recordType = 10
	typeSubscribe recordType = 11
	typeReserve   recordType = 12
	typeRecent    recordType = 13
	typeShared    recordType = 14
	typeBlob      recordType = 15

	typeUnkeep     recordType = 37
	typeRestored   recordType = 38
	typeOwn        recordType = 39
	typePolicy     recordType = 40
	typeMode       recordType = 41
	typeLost       recordType = 42
	typeMarks      recordType = 43
	typeMarksMoved recordType = 44

	// In table files.
	typeState recordType = 32
	typeTable recordType = 33

	// In digest files.
	typeDigests     recordType = 34
	typeDigestIndex recordType = 35

	typeMetadata recordType = 36
)

// record is one change. The writer makes it, and after the commit it is
// applied; a later open decodes it and applies it the same way.
type record interface {
	kind() recordType
	encode(e *encoder)
	decode(d *decoder)
	// apply changes the state. at is where the record lies.
	apply(s *state, at place) error
}

// place is where a record lies.
type place struct {
	seg  uint32
	off  int64
	body int64 // bytes of its body, where a record is applied
}

// newRecord makes an empty record to decode into.
func newRecord(kind recordType) (record, error) {
	switch kind {
	case typeCommit:
		return &recCommit{}, nil
	case typeMessage:
		return &recMessage{}, nil
	case typeCopy:
		return &recCopy{}, nil
	case typeExpunge:
		return &recExpunge{}, nil
	case typeFlags:
		return &recFlags{}, nil
	case typeSeen:
		return &recSeen{}, nil
	case typeCreate:
		return &recCreate{}, nil
	case typeDelete:
		return &recDelete{}, nil
	case typeRename:
		return &recRename{}, nil
	case typeEntries:
		return &recEntries{}, nil
	case typeSubscribe:
		return &recSubscribe{}, nil
	case typeReserve:
		return &recReserve{}, nil
	case typeRecent:
		return &recRecent{}, nil
	case typeShared:
		return &recShared{}, nil
	case typeBlob:
		return &recBlob{}, nil
	case typeUnkeep:
		return &recUnkeep{}, nil
	case typeRestored:
		return &recRestored{}, nil
	case typeMetadata:
		return &recMetadata{}, nil
	case typeOwn:
		return &recOwn{}, nil
	case typePolicy:
		return &recPolicy{}, nil
	case typeMode:
		return &recMode{}, nil
	case typeLost:
		return &recLost{}, nil
	case typeMarks:
		return &recMarks{}, nil
	case typeMarksMoved:
		return &recMarksMoved{}, nil
	}
	return nil, fmt.Errorf("record of type %d: %w", kind, errNewer)
}

// decodeRecord reads the head of a record.
func decodeRecord(kind recordType, head []byte) (record, error) {
	r, err := newRecord(kind)
	if err != nil {
		return nil, err
	}
	d := &decoder{buf: head}
	r.decode(d)
	if err := d.end(); err != nil {
		return nil, fmt.Errorf("record of type %d: %w", kind, err)
	}
	return r, nil
}

// flagList is a message's flags as records hold them: by name, so that a record
// is understood without others. \Seen stands apart, as each reader may have their own.
type flagList struct {
	system   uint8 // systemBits
	keywords []string
}

func (f *flagList) encode(e *encoder) {
	e.uint(uint64(f.system))
	e.uint(uint64(len(f.keywords)))
	for _, k := range f.keywords {
		e.string(k)
	}
}

func (f *flagList) decode(d *decoder) {
	f.system = uint8(d.uint())
	n := d.count(1)
	if n > maxKeywords {
		d.fail()
		return
	}
	for range n {
		f.keywords = append(f.keywords, d.string())
	}
}

// recCommit ends a transaction: what stands between start and here holds, all of
// it or nothing.
type recCommit struct {
	durable int64 // the file was synced up to here when this was written
	start   int64 // of the transaction
}

func (*recCommit) kind() recordType          { return typeCommit }
func (r *recCommit) encode(e *encoder)       { e.uint(uint64(r.durable)); e.uint(uint64(r.start)) }
func (r *recCommit) decode(d *decoder)       { r.durable, r.start = int64(d.uint()), int64(d.uint()) }
func (*recCommit) apply(*state, place) error { return nil }

// recMessage is a delivery. Its body is the message as it came.
type recMessage struct {
	box    uint32
	uid    uint32
	modseq uint64
	date   packedTime
	saved  uint32 // seconds since 1970
	blob   uint32
	email  objectID
	flags  flagList
	seen   bool
	reader string // who has a \Seen of their own set, if seen; "" is the shared one
	size   uint32
	coding uint64 // of the body; 0: as it came
	digest []byte
}

func (*recMessage) kind() recordType { return typeMessage }

func (r *recMessage) encode(e *encoder) {
	e.uint(uint64(r.box))
	e.uint(uint64(r.uid))
	e.uint(r.modseq)
	e.int(int64(r.date))
	e.uint(uint64(r.saved))
	e.uint(uint64(r.blob))
	e.id(r.email)
	r.flags.encode(e)
	e.bool(r.seen)
	e.string(r.reader)
	e.uint(uint64(r.size))
	e.uint(r.coding)
	e.bytes(r.digest)
}

func (r *recMessage) decode(d *decoder) {
	r.box = d.uint32()
	r.uid = d.uint32()
	r.modseq = d.uint()
	r.date = packedTime(d.int())
	r.saved = d.uint32()
	r.blob = d.uint32()
	r.email = d.id()
	r.flags.decode(d)
	r.seen = d.bool()
	r.reader = d.string()
	r.size = d.uint32()
	r.coding = d.uint()
	r.digest = d.bytes()
}

// recBlob is a message's content moved to another place by a rewrite.
type recBlob struct {
	blob   uint32
	email  objectID
	size   uint32
	coding uint64
	digest []byte
}

func (*recBlob) kind() recordType { return typeBlob }

func (r *recBlob) encode(e *encoder) {
	e.uint(uint64(r.blob))
	e.id(r.email)
	e.uint(uint64(r.size))
	e.uint(r.coding)
	e.bytes(r.digest)
}

func (r *recBlob) decode(d *decoder) {
	r.blob = d.uint32()
	r.email = d.id()
	r.size = d.uint32()
	r.coding = d.uint()
	r.digest = d.bytes()
}

// recCopy puts messages whose content is here already into a mailbox.
type recCopy struct {
	box    uint32
	modseq uint64
	saved  uint32
	flags  []flagList // that items refer to
	items  []copyItem
	seen   []readerUIDs // each reader's own \Seen of the new messages
}

type copyItem struct {
	uid   uint32
	blob  uint32
	flags uint32 // index
	seen  bool
	date  packedTime
	size  uint32
}

type readerUIDs struct {
	reader string
	uids   imap.UIDSet
}

func (*recCopy) kind() recordType { return typeCopy }

func (r *recCopy) encode(e *encoder) {
	e.uint(uint64(r.box))
	e.uint(r.modseq)
	e.uint(uint64(r.saved))
	e.uint(uint64(len(r.flags)))
	for i := range r.flags {
		r.flags[i].encode(e)
	}
	e.uint(uint64(len(r.items)))
	for _, it := range r.items {
		e.uint(uint64(it.uid))
		e.uint(uint64(it.blob))
		e.uint(uint64(it.flags))
		e.bool(it.seen)
		e.int(int64(it.date))
		e.uint(uint64(it.size))
	}
	e.uint(uint64(len(r.seen)))
	for _, s := range r.seen {
		e.string(s.reader)
		e.uids(s.uids)
	}
}

func (r *recCopy) decode(d *decoder) {
	r.box = d.uint32()
	r.modseq = d.uint()
	r.saved = d.uint32()
	r.flags = make([]flagList, d.count(2))
	for i := range r.flags {
		r.flags[i].decode(d)
	}
	r.items = make([]copyItem, d.count(6))
	for i := range r.items {
		r.items[i] = copyItem{uid: d.uint32(), blob: d.uint32(), flags: d.uint32(), seen: d.bool(), date: packedTime(d.int()), size: d.uint32()}
		if int(r.items[i].flags) >= len(r.flags) {
			d.fail()
		}
	}
	r.seen = make([]readerUIDs, d.count(2))
	for i := range r.seen {
		r.seen[i] = readerUIDs{reader: d.string(), uids: d.uids()}
	}
}

// recExpunge removes messages.
type recExpunge struct {
	box    uint32
	modseq uint64
	uids   imap.UIDSet
	kept   uint32 // when it was, if they are kept for undelete; else 0
}

func (*recExpunge) kind() recordType { return typeExpunge }

func (r *recExpunge) encode(e *encoder) {
	e.uint(uint64(r.box))
	e.uint(r.modseq)
	e.uids(r.uids)
	e.uint(uint64(r.kept))
}

func (r *recExpunge) decode(d *decoder) {
	r.box = d.uint32()
	r.modseq = d.uint()
	r.uids = d.uids()
	r.kept = d.uint32()
}

// recFlags sets flags as all see them and the shared \Seen.
type recFlags struct {
	box    uint32
	modseq uint64
	groups []flagGroup
}

// flagGroup is the messages that end up with the same flags. What differs from
// before gets the modification sequence: flags, \Seen or both.
type flagGroup struct {
	flags        flagList
	seen         bool
	flagsChanged bool
	seenChanged  bool
	uids         imap.UIDSet
}

func (*recFlags) kind() recordType { return typeFlags }

func (r *recFlags) encode(e *encoder) {
	e.uint(uint64(r.box))
	e.uint(r.modseq)
	e.uint(uint64(len(r.groups)))
	for i := range r.groups {
		g := &r.groups[i]
		g.flags.encode(e)
		e.bool(g.seen)
		e.bool(g.flagsChanged)
		e.bool(g.seenChanged)
		e.uids(g.uids)
	}
}

func (r *recFlags) decode(d *decoder) {
	r.box = d.uint32()
	r.modseq = d.uint()
	r.groups = make([]flagGroup, d.count(6))
	for i := range r.groups {
		g := &r.groups[i]
		g.flags.decode(d)
		g.seen = d.bool()
		g.flagsChanged = d.bool()
		g.seenChanged = d.bool()
		g.uids = d.uids()
	}
}

// recSeen sets or clears a reader's own \Seen.
type recSeen struct {
	box    uint32
	modseq uint64
	reader string
	set    imap.UIDSet
	clear  imap.UIDSet
}

func (*recSeen) kind() recordType { return typeSeen }

func (r *recSeen) encode(e *encoder) {
	e.uint(uint64(r.box))
	e.uint(r.modseq)
	e.string(r.reader)
	e.uids(r.set)
	e.uids(r.clear)
}

func (r *recSeen) decode(d *decoder) {
	r.box = d.uint32()
	r.modseq = d.uint()
	r.reader = d.string()
	r.set = d.uids()
	r.clear = d.uids()
}
