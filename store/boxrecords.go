package store

import (
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// recCreate makes a mailbox.
type recCreate struct {
	box         uint32
	name        string
	uidValidity uint32
	id          objectID
	modseq      uint64
	entries     []mailbox.Entry
}

func (*recCreate) kind() recordType { return typeCreate }

func (r *recCreate) encode(e *encoder) {
	e.uint(uint64(r.box))
	e.string(r.name)
	e.uint(uint64(r.uidValidity))
	e.id(r.id)
	e.uint(r.modseq)
	encodeEntries(e, r.entries)
	encodeDates(e, r.entries)
}

func (r *recCreate) decode(d *decoder) {
	r.box = d.uint32()
	r.name = d.string()
	r.uidValidity = d.uint32()
	r.id = d.id()
	r.modseq = d.uint()
	r.entries = decodeEntries(d)
	decodeDates(d, r.entries)
}

func encodeEntries(e *encoder, entries []mailbox.Entry) {
	e.uint(uint64(len(entries)))
	for _, entry := range entries {
		e.string(entry.Identifier)
		e.bool(entry.Negative)
		e.string(entry.Rights.Letters())
	}
}

// encodeDates writes when entries end, 0 for never, behind all else and only if some do: a
// program that knows of no dates sees that there is more than it understands.
func encodeDates(e *encoder, entries []mailbox.Entry) {
	if mailbox.FirstExpiry(0, entries) == 0 {
		return
	}
	e.uint(uint64(len(entries)))
	for _, entry := range entries {
		e.int(entry.Expires)
	}
}

// decodeDates reads what encodeDates has written.
func decodeDates(d *decoder, entries []mailbox.Entry) {
	if len(d.buf) == 0 {
		return
	}
	if d.count(1) != len(entries) {
		d.fail()
		return
	}
	for i := range entries {
		entries[i].Expires = d.int()
	}
}

func decodeEntries(d *decoder) []mailbox.Entry {
	n := d.count(3)
	if n == 0 {
		return nil
	}
	entries := make([]mailbox.Entry, n)
	for i := range entries {
		entries[i].Identifier = d.string()
		entries[i].Negative = d.bool()
		rights, err := imap.ParseRights(d.string())
		if err != nil {
			d.fail()
		}
		entries[i].Rights = rights
	}
	return entries
}

// recDelete removes a mailbox and its messages.
type recDelete struct {
	box  uint32
	kept uint32 // as in recExpunge
}

func (*recDelete) kind() recordType    { return typeDelete }
func (r *recDelete) encode(e *encoder) { e.uint(uint64(r.box)); e.uint(uint64(r.kept)) }
func (r *recDelete) decode(d *decoder) { r.box, r.kept = d.uint32(), d.uint32() }

// recRename gives mailboxes new names, all at once.
type recRename struct{ moves []boxName }

type boxName struct {
	box  uint32
	name string
}

func (*recRename) kind() recordType { return typeRename }

func (r *recRename) encode(e *encoder) {
	e.uint(uint64(len(r.moves)))
	for _, m := range r.moves {
		e.uint(uint64(m.box))
		e.string(m.name)
	}
}

func (r *recRename) decode(d *decoder) {
	r.moves = make([]boxName, d.count(2))
	for i := range r.moves {
		r.moves[i] = boxName{box: d.uint32(), name: d.string()}
	}
}

// recEntries replaces a mailbox's ACL.
type recEntries struct {
	box     uint32
	entries []mailbox.Entry
}

func (*recEntries) kind() recordType { return typeEntries }

func (r *recEntries) encode(e *encoder) {
	e.uint(uint64(r.box))
	encodeEntries(e, r.entries)
	encodeDates(e, r.entries)
}

func (r *recEntries) decode(d *decoder) {
	r.box = d.uint32()
	r.entries = decodeEntries(d)
	decodeDates(d, r.entries)
}

// recSubscribe adds or removes a subscription of a user.
type recSubscribe struct {
	user, name string
	on         bool
}

func (*recSubscribe) kind() recordType    { return typeSubscribe }
func (r *recSubscribe) encode(e *encoder) { e.string(r.user); e.string(r.name); e.bool(r.on) }
func (r *recSubscribe) decode(d *decoder) {
	r.user, r.name, r.on = d.string(), d.string(), d.bool()
}

// recReserve lets modification sequences below limit be used.
type recReserve struct{ limit uint64 }

func (*recReserve) kind() recordType    { return typeReserve }
func (r *recReserve) encode(e *encoder) { e.uint(r.limit) }
func (r *recReserve) decode(d *decoder) { r.limit = d.uint() }

// recRecent says that messages below uid have been told of as \Recent.
type recRecent struct{ box, uid uint32 }

func (*recRecent) kind() recordType    { return typeRecent }
func (r *recRecent) encode(e *encoder) { e.uint(uint64(r.box)); e.uint(uint64(r.uid)) }
func (r *recRecent) decode(d *decoder) { r.box, r.uid = d.uint32(), d.uint32() }

// recShared says that the sharing index agrees with version.
type recShared struct{ version uint64 }

func (*recShared) kind() recordType    { return typeShared }
func (r *recShared) encode(e *encoder) { e.uint(r.version) }
func (r *recShared) decode(d *decoder) { r.version = d.uint() }
