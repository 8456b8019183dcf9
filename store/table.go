package store

import (
	"fmt"
	"maps"
	"slices"

	"github.com/roost-mail/roost/imap"
)

// A table file holds records as a segment does: the folded state (typeState) and
// tables of mailboxes (typeTable). Several states share the tables of mailboxes
// that did not change between them.

// encodeState writes all but the messages of mailboxes. tables says where those are.
func encodeState(e *encoder, s *state, tables map[uint32]tableRef) {
	for _, v := range []uint64{
		uint64(s.nextBox), uint64(s.nextBlob), uint64(s.lastValidity),
		s.modseq, s.modseqLimit, s.floor, s.shareVersion, s.published,
	} {
		e.uint(v)
	}
	e.uint(uint64(len(s.subs)))
	for _, user := range slices.Sorted(maps.Keys(s.subs)) {
		e.string(user)
		e.uint(uint64(len(s.subs[user])))
		for _, name := range slices.Sorted(maps.Keys(s.subs[user])) {
			e.string(name)
		}
	}
	e.uint(uint64(len(s.boxes)))
	for _, id := range slices.Sorted(maps.Keys(s.boxes)) {
		encodeBox(e, s.boxes[id], tables[id])
	}
	e.uint(uint64(len(s.live)))
	for _, seg := range slices.Sorted(maps.Keys(s.live)) {
		e.uint(uint64(seg))
		e.uint(s.live[seg])
	}
	s.blobs.encode(e)
	encodeExtras(e, s.extras())
}

func encodeBox(e *encoder, b *box, table tableRef) {
	e.uint(uint64(b.id))
	e.string(b.name)
	e.uint(uint64(b.uidValidity))
	e.id(b.objectID)
	encodeEntries(e, b.entries)
	for _, v := range []uint64{uint64(b.uidNext), uint64(b.messages), uint64(b.unseen), b.shared, b.sharedSeen, uint64(b.recent.Load())} {
		e.uint(v)
	}
	e.uint(uint64(table.Seq))
	e.uint(uint64(table.Off))
	e.uint(uint64(len(b.readers)))
	for _, name := range slices.Sorted(maps.Keys(b.readers)) {
		e.string(name)
		e.uint(b.readers[name].highest)
		e.uint(uint64(b.readers[name].seen))
	}
	encodeExtras(e, b.extras())
}

func (m *blobMap) encode(e *encoder) {
	e.uint(uint64(len(m.list) - m.dead))
	last := uint32(0)
	for i := range m.list {
		b := &m.list[i]
		if b.refs == 0 {
			continue
		}
		e.uint(uint64(b.id - last))
		e.uint(uint64(b.seg))
		e.uint(uint64(b.off))
		e.uint(uint64(b.refs))
		last = b.id
	}
}

func decodeState(d *decoder) (*state, error) {
	s := newState()
	s.nextBox, s.nextBlob, s.lastValidity = d.uint32(), d.uint32(), d.uint32()
	s.modseq, s.modseqLimit, s.floor = d.uint(), d.uint(), d.uint()
	s.shareVersion, s.published = d.uint(), d.uint()
	for range d.count(2) {
		user, names := d.string(), map[string]struct{}{}
		for range d.count(1) {
			names[d.string()] = struct{}{}
		}
		s.subs[user] = names
	}
	for range d.count(20) {
		b := decodeBox(d)
		if d.err != nil || s.boxes[b.id] != nil || s.names[b.name] != nil {
			d.fail()
			break
		}
		s.boxes[b.id], s.names[b.name] = b, b
	}
	for range d.count(2) {
		seg := d.uint32()
		s.live[seg] = d.uint()
	}
	s.blobs.decode(d)
	decodeExtras(d, s.takeExtra)
	return s, d.end()
}

func decodeBox(d *decoder) *box {
	b := newBox(d.uint32(), d.string())
	b.uidValidity = d.uint32()
	b.objectID = d.id()
	b.entries = decodeEntries(d)
	b.uidNext, b.messages, b.unseen = d.uint32(), d.uint32(), d.uint32()
	b.nextUID = b.uidNext
	b.shared, b.sharedSeen = d.uint(), d.uint()
	b.recentKept = d.uint32()
	b.recent.Store(b.recentKept)
	b.table = tableRef{Seq: d.uint32(), Off: int64(d.uint())}
	for range d.count(3) {
		name := d.string()
		*b.reader(name) = reader{highest: d.uint(), seen: d.uint32()}
	}
	decodeExtras(d, b.takeExtra)
	return b
}

func (m *blobMap) decode(d *decoder) {
	n := d.count(4)
	m.list = make([]blob, 0, n+n/8)
	last := uint32(0)
	for i := range n {
		gap := d.uint32()
		b := blob{id: last + gap, seg: d.uint32(), off: d.uint32(), refs: d.uint32()}
		if d.err != nil || i > 0 && gap == 0 || b.id < last || b.refs == 0 {
			d.fail()
			return
		}
		m.list = append(m.list, b)
		last = b.id
	}
}

// encodeTable writes the messages of a mailbox and each reader's \Seen.
func encodeTable(e *encoder, b *box) {
	e.uint(uint64(b.id))
	used, lists := b.flags.used(b.rows)
	e.uint(uint64(len(lists)))
	for _, list := range lists {
		list.encode(e)
	}
	e.uint(uint64(len(b.rows)))
	lastUID, lastMod := uint32(0), uint64(0)
	for i := range b.rows {
		r := &b.rows[i]
		e.uint(uint64(r.uid - lastUID))
		e.uint(uint64(used[r.combo()])<<1 | uint64(r.flags&rowSeen))
		e.int(int64(r.modseq - lastMod))
		e.uint(r.seenMod)
		e.int(int64(r.date))
		e.uint(uint64(r.size))
		e.uint(uint64(r.blob))
		e.uint(uint64(r.saved))
		lastUID, lastMod = r.uid, r.modseq
	}
	e.uint(uint64(len(b.readers)))
	for _, name := range slices.Sorted(maps.Keys(b.readers)) {
		e.string(name)
		encodeSpans(e, b.readers[name].spans)
	}
	b.encodeOwnSpans(e)
}

// used are the combinations that some message has, and their new numbers.
func (t *flagTable) used(rows []row) (numbers []uint32, lists []flagList) {
	numbers = make([]uint32, len(t.combos))
	for i := range numbers {
		numbers[i] = 1<<32 - 1
	}
	for i := range rows {
		c := rows[i].combo()
		if numbers[c] == 1<<32-1 {
			numbers[c] = uint32(len(lists))
			lists = append(lists, t.combos[c].list)
		}
	}
	return numbers, lists
}

func encodeSpans(e *encoder, spans []ownSpan) {
	e.uint(uint64(len(spans)))
	last := uint32(0)
	for _, s := range spans {
		e.uint(uint64(s.start - last))
		e.uint(uint64(s.stop - s.start))
		e.bool(s.flags&ownSeen != 0)
		e.uint(s.modseq)
		last = s.stop
	}
}

func decodeSpans(d *decoder) []ownSpan {
	spans := make([]ownSpan, d.count(4))
	last := uint64(0)
	for i := range spans {
		start := last + d.uint()
		stop := start + d.uint()
		if d.err != nil || start == 0 || i > 0 && start == last || stop < start || stop > 1<<32-1 {
			d.fail()
			return nil
		}
		spans[i] = ownSpan{start: uint32(start), stop: uint32(stop)}
		if d.bool() {
			spans[i].flags = ownSeen
		}
		spans[i].modseq = d.uint()
		last = stop
	}
	return spans
}

// tableData is a table as it is read, before it goes into its box.
type tableData struct {
	rows  []row
	flags flagTable
	spans map[string][]ownSpan
}

func decodeTable(d *decoder, want uint32) (*tableData, error) {
	if id := d.uint32(); id != want {
		return nil, fmt.Errorf("%w: table of mailbox %d, not %d", errFormat, id, want)
	}
	t := &tableData{spans: map[string][]ownSpan{}}
	combos := make([]uint32, d.count(2))
	for i := range combos {
		var list flagList
		list.decode(d)
		combos[i] = t.flags.intern(list)
	}
	n := d.count(8)
	t.rows = make([]row, 0, n+n/16)
	last := row{}
	for range n {
		r := decodeRow(d, &last, combos)
		if d.err != nil {
			break
		}
		t.rows = append(t.rows, r)
		last = r
	}
	for range d.count(2) {
		name := d.string()
		t.spans[name] = decodeSpans(d)
	}
	t.decodeOwnSpans(d)
	return t, d.end()
}

func decodeRow(d *decoder, last *row, combos []uint32) row {
	gap, flags := d.uint(), d.uint()
	uid := uint64(last.uid) + gap
	if gap == 0 || gap > 1<<32 || uid > 1<<32-1 || flags>>1 >= uint64(len(combos)) {
		d.fail()
		return row{}
	}
	return row{
		uid: uint32(uid), flags: combos[flags>>1]<<1 | uint32(flags&rowSeen),
		modseq: last.modseq + uint64(d.int()), seenMod: d.uint(), date: packedTime(d.int()),
		size: d.uint32(), blob: d.uint32(), saved: d.uint32(),
	}
}

// readTable reads the table of b, whose rows are not loaded.
func (a *account) readTable(b *box) (*tableData, error) {
	if b.table.Seq == 0 {
		return &tableData{}, nil
	}
	head, err := a.readTableRecord(b.table, typeTable)
	if err != nil {
		return nil, err
	}
	t, err := decodeTable(&decoder{buf: head}, b.id)
	if err != nil {
		return nil, err
	}
	if uint32(len(t.rows)) != b.messages {
		return nil, fmt.Errorf("%w: table of %q has %d messages, not %d", errFormat, b.name, len(t.rows), b.messages)
	}
	return t, nil
}

// adopt makes a table the content of b.
func (b *box) adopt(t *tableData) {
	b.rows, b.flags, b.uidsNow = t.rows, t.flags, nil
	for name, spans := range t.spans {
		if name == "" {
			b.seed.spans = spans
			continue
		}
		b.reader(name).spans = spans
	}
	b.loaded = true
}

// readTableRecord reads a record of a table file.
func (a *account) readTableRecord(ref tableRef, want recordType) ([]byte, error) {
	name, ok := a.names[ref.Seq]
	if !ok {
		return nil, fmt.Errorf("%w: no table file %d", errFormat, ref.Seq)
	}
	f, err := a.disk.fs.Open(a.disk.path(name.String()))
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	h, err := readHeader(f, tableMagic, a.id, name)
	if err != nil {
		return nil, err
	}
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	frame, head, err := readRecord(f, h.salt, ref.Off, size, nil)
	if err != nil {
		return nil, fmt.Errorf("%s at %d: %w", name, ref.Off, err)
	}
	if frame.kind != want {
		return nil, fmt.Errorf("%s at %d: %w: type %d", name, ref.Off, errFormat, frame.kind)
	}
	return head, nil
}

// ensure loads the messages of b. Only the leader calls it.
func (a *account) ensure(b *box) error {
	if b.loaded {
		return nil
	}
	t, err := a.readTable(b)
	if err != nil {
		a.log.Error("mailbox can't be read", "user", a.user, "mailbox", b.name, "error", err)
		return imap.Wrap(imap.CodeCorruption, "Mailbox is damaged", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	b.adopt(t)
	a.use(b)
	return nil
}
