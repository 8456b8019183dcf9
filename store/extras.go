package store

// Extras are what a mailbox and the account have beyond the fields that every
// state holds: a uint count, and for each a uint tag and bytes. Tags are never
// given anew; one that is not known is an error, since to skip it would lose
// what it says at the next fold.

// Tags of a mailbox's extras.
const (
	extraExpunged = 1 // history of expunges
	extraSums     = 2 // uint size, uint deleted, uint size of these
	extraMetadata = 3 // list of (string user, list of (string entry, bytes value))
	extraOwn      = 4 // encodeOwn
	extraDates    = 5 // encodeDates
	extraAside    = 6 // uint modseq, uint flags
)

// Tags of the account's extras.
const (
	accountMetadata = 1 // as extraMetadata
	extraKept       = 3 // expunged messages that can be brought back
	extraPacks      = 4 // of segments with compressed messages: uint seq, uint bytes before, uint after
	extraKeptSeen   = 5 // what readers had seen of them: uint index of the group, list of (string reader, uids)
	extraKeptOwn    = 6 // their other own flags: uint index of the group, string reader, uint flags, uids
	extraPolicy     = 7 // list of keywords that ever were readers' own, bool there is a policy, uint flags, bool on
	extraMarks      = 8 // records of marks (typeMarks)
)

// extra is one of a list that is being written. What is empty is left out.
type extra struct {
	tag     uint64
	content encoder
}

func encodeExtras(e *encoder, list []extra) {
	count := uint64(0)
	for i := range list {
		if len(list[i].content.buf) > 0 {
			count++
		}
	}
	e.uint(count)
	for i := range list {
		if x := &list[i]; len(x.content.buf) > 0 {
			e.uint(x.tag)
			e.bytes(x.content.buf)
		}
	}
}

// decodeExtras calls take with the tag and the content of each extra. Tags have
// to ascend, and contents to be read to their ends.
func decodeExtras(d *decoder, take func(tag uint64, content *decoder)) {
	last := uint64(0)
	for range d.count(2) {
		tag := d.uint()
		content := decoder{buf: d.bytes()}
		if d.err != nil || tag <= last {
			d.fail()
			return
		}
		last = tag
		take(tag, &content)
		if err := content.end(); err != nil {
			d.failAs(err)
			return
		}
	}
}

// extras are those of a mailbox, tags ascending.
func (b *box) extras() []extra {
	list := []extra{{tag: extraExpunged}, {tag: extraSums}, {tag: extraMetadata}, {tag: extraOwn}, {tag: extraDates}, {tag: extraAside}}
	if !b.expunged.empty() {
		b.expunged.encode(&list[0].content)
	}
	b.sums.encode(&list[1].content)
	b.metadata.encode(&list[2].content)
	b.encodeOwn(&list[3].content)
	encodeDates(&list[4].content, b.entries)
	b.aside.encode(&list[5].content)
	return list
}

func (b *box) takeExtra(tag uint64, d *decoder) {
	switch tag {
	case extraExpunged:
		b.expunged.decode(d)
	case extraSums:
		b.sums.decode(d)
	case extraMetadata:
		b.metadata = decodeMetadata(d)
	case extraOwn:
		b.decodeOwn(d)
	case extraDates:
		decodeDates(d, b.entries)
	case extraAside:
		b.aside = aside{modseq: d.uint(), flags: ownFlags(d.uint32())}
	default:
		d.failAs(errNewer)
	}
}

func (s *sums) encode(e *encoder) {
	if *s != (sums{}) {
		e.uint(s.size)
		e.uint(uint64(s.deleted))
		e.uint(s.deletedSize)
	}
}

func (s *sums) decode(d *decoder) {
	s.size, s.deleted, s.deletedSize = d.uint(), d.uint32(), d.uint()
}

// extras are those of the account, tags ascending.
func (s *state) extras() []extra {
	list := []extra{{tag: accountMetadata}, {tag: extraKept}, {tag: extraPacks}, {tag: extraKeptSeen}, {tag: extraKeptOwn}, {tag: extraPolicy}, {tag: extraMarks}}
	s.metadata.encode(&list[0].content)
	encodeKept(&list[1].content, s.kept)
	s.encodePacks(&list[2].content)
	encodeKeptSeen(&list[3].content, s.kept)
	encodeKeptOwn(&list[4].content, s.kept)
	s.encodePolicy(&list[5].content)
	s.encodeMarks(&list[6].content)
	return list
}

func (s *state) takeExtra(tag uint64, d *decoder) {
	switch tag {
	case extraKept:
		s.kept = decodeKept(d)
	case accountMetadata:
		s.metadata = decodeMetadata(d)
	case extraKeptSeen:
		decodeKeptSeen(d, s.kept)
	case extraKeptOwn:
		decodeKeptOwn(d, s.kept)
	case extraPolicy:
		s.decodePolicy(d)
	case extraPacks:
		s.decodePacks(d)
	case extraMarks:
		s.decodeMarks(d)
	default:
		d.failAs(errNewer)
	}
}
