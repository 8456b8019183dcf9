package store

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/message"
)

// Expunged messages are kept for Options.ExpungeKeep: the state remembers what
// an expunge or the deletion of a mailbox took away, and that counts as a use of
// the content, so that a rewrite moves it. A record that names the time forgets
// what is older.

// keptGroup is what was taken away at once.
type keptGroup struct {
	box   uint32
	name  string // of the mailbox at that time
	when  uint32 // seconds since 1970, never 0
	flags []flagList
	rows  []keptRow // never empty
	own   []ownUIDs // each reader's own flags, perhaps also of what is kept no more
}

// keptRow is a message that was expunged.
type keptRow struct {
	uid   uint32
	flags uint32 // index into keptGroup.flags, shifted by one; bit 0 is the shared \Seen
	date  packedTime
	size  uint32
	blob  uint32
	saved uint32
}

// keeper makes a keptGroup.
type keeper struct {
	group   keptGroup
	box     *box
	numbers map[uint32]uint32 // of flags, by combination
	own     ownCollector
}

func newKeeper(b *box, when uint32) *keeper {
	return &keeper{group: keptGroup{box: b.id, name: b.name, when: when}, box: b, numbers: map[uint32]uint32{}, own: ownCollector{}}
}

// add takes over r's use of its content.
func (k *keeper) add(r *row) {
	n, known := k.numbers[r.combo()]
	if !known {
		n = uint32(len(k.group.flags))
		k.numbers[r.combo()] = n
		k.group.flags = append(k.group.flags, k.box.flags.combos[r.combo()].list)
	}
	k.group.rows = append(k.group.rows, keptRow{
		uid: r.uid, flags: n<<1 | r.flags&rowSeen, date: r.date, size: r.size, blob: r.blob, saved: r.saved,
	})
	k.own.add(k.box, r.uid, r.uid, func(f ownFlags) ownFlags { return f })
}

// drop lets go of a message that is taken away: for good if when is 0.
func (s *state) drop(k *keeper, r *row) {
	if k.group.when == 0 {
		s.unref(r.blob, r.size)
		return
	}
	k.add(r)
}

// keep remembers what k has taken.
func (s *state) keep(k *keeper) {
	if len(k.group.rows) == 0 {
		return
	}
	k.group.own = k.own.list()
	s.kept = append(s.kept, k.group)
}

// recUnkeep forgets expunged messages: those that were expunged before a time,
// and some that came back.
type recUnkeep struct {
	before uint32
	back   []boxUIDs
}

type boxUIDs struct {
	box  uint32
	uids imap.UIDSet
}

func (*recUnkeep) kind() recordType { return typeUnkeep }

func (r *recUnkeep) encode(e *encoder) {
	e.uint(uint64(r.before))
	e.uint(uint64(len(r.back)))
	for _, b := range r.back {
		e.uint(uint64(b.box))
		e.uids(b.uids)
	}
}

func (r *recUnkeep) decode(d *decoder) {
	r.before = d.uint32()
	r.back = make([]boxUIDs, d.count(2))
	for i := range r.back {
		r.back[i] = boxUIDs{box: d.uint32(), uids: d.uids()}
	}
}

func (r *recUnkeep) apply(s *state, _ place) error {
	back := map[uint32]imap.UIDSet{}
	for _, b := range r.back {
		back[b.box] = back[b.box].Union(b.uids)
	}
	groups := s.kept[:0]
	for _, g := range s.kept {
		rows := g.rows[:0]
		for _, row := range g.rows {
			if g.when < r.before || back[g.box].Contains(imap.UID(row.uid)) {
				s.unref(row.blob, row.size)
				continue
			}
			rows = append(rows, row)
		}
		if g.rows = rows; len(rows) > 0 {
			groups = append(groups, g)
		}
	}
	clear(s.kept[len(groups):])
	s.kept = groups
	return nil
}

func encodeKept(e *encoder, groups []keptGroup) {
	for i := range groups {
		g := &groups[i]
		e.uint(uint64(g.box))
		e.string(g.name)
		e.uint(uint64(g.when))
		e.uint(uint64(len(g.flags)))
		for i := range g.flags {
			g.flags[i].encode(e)
		}
		e.uint(uint64(len(g.rows)))
		for _, r := range g.rows {
			e.uint(uint64(r.uid))
			e.uint(uint64(r.flags))
			e.int(int64(r.date))
			e.uint(uint64(r.size))
			e.uint(uint64(r.blob))
			e.uint(uint64(r.saved))
		}
	}
}

func decodeKept(d *decoder) (groups []keptGroup) {
	for len(d.buf) > 0 && d.err == nil {
		g := keptGroup{box: d.uint32(), name: d.string(), when: d.uint32()}
		g.flags = make([]flagList, d.count(2))
		for i := range g.flags {
			g.flags[i].decode(d)
		}
		g.rows = make([]keptRow, d.count(6))
		for i := range g.rows {
			g.rows[i] = keptRow{
				uid: d.uint32(), flags: d.uint32(), date: packedTime(d.int()),
				size: d.uint32(), blob: d.uint32(), saved: d.uint32(),
			}
			if int(g.rows[i].flags>>1) >= len(g.flags) {
				d.fail()
			}
		}
		if len(g.rows) == 0 || g.when == 0 {
			d.fail()
		}
		groups = append(groups, g)
	}
	return groups
}

// encodeKeptSeen writes what readers had seen of the groups, for those where it is anything.
func encodeKeptSeen(e *encoder, groups []keptGroup) {
	for i := range groups {
		plain := 0
		for j := range groups[i].own {
			if groups[i].own[j].plain() {
				plain++
			}
		}
		if plain == 0 {
			continue
		}
		e.uint(uint64(i))
		e.uint(uint64(plain))
		for _, o := range groups[i].own {
			if o.plain() {
				e.string(o.reader)
				e.uids(o.uids)
			}
		}
	}
}

// encodeKeptOwn writes what else is theirs, and what is the seed's.
func encodeKeptOwn(e *encoder, groups []keptGroup) {
	for i := range groups {
		for _, o := range groups[i].own {
			if !o.plain() {
				e.uint(uint64(i))
				e.string(o.reader)
				e.uint(uint64(o.flags))
				e.uids(o.uids)
			}
		}
	}
}

// decodeKeptOwn adds it to the groups.
func decodeKeptOwn(d *decoder, groups []keptGroup) {
	for len(d.buf) > 0 && d.err == nil {
		i := d.uint()
		o := ownUIDs{reader: d.string(), flags: ownFlags(d.uint32()), uids: d.uids()}
		if i >= uint64(len(groups)) || o.plain() {
			d.fail()
			return
		}
		groups[i].own = append(groups[i].own, o)
	}
}

// decodeKeptSeen adds it to the groups.
func decodeKeptSeen(d *decoder, groups []keptGroup) {
	for len(d.buf) > 0 && d.err == nil {
		i := d.uint()
		own := make([]ownUIDs, d.count(2))
		for j := range own {
			own[j] = ownUIDs{reader: d.string(), flags: ownSeen, uids: d.uids()}
			if own[j].reader == "" {
				d.fail()
			}
		}
		if i >= uint64(len(groups)) || len(groups[i].own) > 0 || len(own) == 0 {
			d.fail()
			return
		}
		groups[i].own = own
	}
}

// keptUntil is the time before which what was expunged is not kept any longer.
func (s *Store) keptUntil() uint32 {
	return uint32(max(s.now().Add(-s.options.ExpungeKeep).Unix(), 0))
}

// keptSlack is how much longer messages are kept so that not each of them makes work.
const keptSlack = 3600

// overdue says whether expunged messages are kept that should not be. The caller
// is the leader or holds a.mu.
func (a *account) overdue() bool {
	return len(a.st.kept) > 0 && a.st.kept[0].when+keptSlack < a.store.keptUntil()
}

// forgetKept lets go of what was kept long enough.
func (a *account) forgetKept(ctx context.Context) error {
	return a.submit(ctx, &txn{durable: true, alone: true, build: func(b *builder) error {
		until := a.store.keptUntil()
		if len(b.st.kept) > 0 && b.st.kept[0].when < until {
			b.add(&recUnkeep{before: until})
		}
		return nil
	}})
}

// keptTime is what an expunge of this moment is kept by: 0 if it is not.
func (b *builder) keptTime() uint32 {
	if b.account.store.options.ExpungeKeep <= 0 {
		return 0
	}
	return max(b.seconds(), 1)
}

// Kept is an expunged message that can be brought back.
type Kept struct {
	Mailbox  string // what it is called now, or was when it was deleted
	Deleted  bool   // the mailbox is gone
	UID      imap.UID
	Expunged time.Time
	Date     time.Time // internal date
	Size     int64
	Flags    []imap.Flag // as they were, but for \Deleted

	blob uint32
}

// KeptFilter says which expunged messages are meant.
type KeptFilter struct {
	Mailbox string    // "" is all
	Since   time.Time // expunged at this time or later
}

// Kept lists expunged messages, in the order in which they were expunged.
func (s *Session) Kept(filter KeptFilter) ([]Kept, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.usable(); err != nil {
		return nil, err
	}
	var all []Kept
	for i := range s.st.kept {
		g := &s.st.kept[i]
		if !filter.matches(s.st, g) {
			continue
		}
		name, there := s.st.nameOf(g)
		for _, r := range g.rows {
			flags := g.flags[r.flags>>1]
			flags.system &^= bitDeleted
			list := append(systemFlags(flags.system), keywordFlags(flags.keywords)...)
			if r.flags&rowSeen != 0 {
				list = append(list, imap.FlagSeen)
			}
			all = append(all, Kept{
				Mailbox: name, Deleted: !there, UID: imap.UID(r.uid), Expunged: time.Unix(int64(g.when), 0),
				Date: r.date.time(), Size: int64(r.size), Flags: list, blob: r.blob,
			})
		}
	}
	return all, nil
}

func keywordFlags(keywords []string) (flags []imap.Flag) {
	for _, k := range keywords {
		flags = append(flags, imap.Flag(k))
	}
	return flags
}

// nameOf is what the mailbox of a group is called, and whether it exists.
func (s *state) nameOf(g *keptGroup) (name string, there bool) {
	if b := s.boxes[g.box]; b != nil {
		return b.name, true
	}
	return g.name, false
}

func (f *KeptFilter) matches(s *state, g *keptGroup) bool {
	name, _ := s.nameOf(g)
	return (f.Mailbox == "" || f.Mailbox == name) && int64(g.when) >= f.Since.Unix()
}

// maxKeptHeader bounds what is read of a header for KeptHeader.
const maxKeptHeader = 64 << 10

// KeptHeader is the named fields of an expunged message's header.
func (s *Session) KeptHeader(k *Kept, fields ...string) ([]byte, error) {
	s.mu.RLock()
	b := s.st.blobs.find(k.blob)
	var at place
	if b != nil {
		at = b.place()
	}
	s.mu.RUnlock()
	if b == nil {
		return nil, errExpunged
	}
	files := contents{account: s.account}
	defer files.close()
	c, err := files.open(&seenRow{at: at})
	if err != nil {
		return nil, unreadable(err)
	}
	root := &c.digest.Parts[0]
	header, err := c.header(root.HeaderOff, min(root.HeaderLen, maxKeptHeader))
	if err != nil {
		return nil, err
	}
	return bytes.TrimSpace(message.FilterFields(nil, header, fields, false)), nil
}

// Undelete brings expunged messages back: each into the mailbox it was in, which
// is made if it is gone, or all into the mailbox into. They have new UIDs, and
// their flags, dates and each reader's own \Seen. All come back, or none; it is
// durable on return.
func (s *Session) Undelete(ctx context.Context, filter KeptFilter, into string) (count int, err error) {
	if into != "" {
		if err := imap.CheckName(into); err != nil {
			return 0, err
		}
	}
	err = s.submit(ctx, &txn{durable: true, alone: true, build: func(b *builder) error {
		u := undeleter{builder: b, dests: map[string]*dest{}}
		count = 0
		for i := range b.st.kept {
			g := &b.st.kept[i]
			if !filter.matches(b.st, g) {
				continue
			}
			name := into
			if name == "" {
				name, _ = b.st.nameOf(g)
			}
			if err := u.group(g, name); err != nil {
				return err
			}
			count += len(g.rows)
		}
		if count > 0 {
			b.add(&recUnkeep{back: u.back})
		}
		return nil
	}})
	if err != nil {
		return 0, err
	}
	return count, nil
}

// undeleter makes the records of an Undelete.
type undeleter struct {
	*builder
	dests map[string]*dest
	back  []boxUIDs
}

// dest is where messages come back to.
type dest struct {
	id       uint32
	keywords []string // of all that come
	flags    flagTable
	uid      func() (uint32, error)
}

// dest finds the mailbox or makes it.
func (u *undeleter) dest(name string) (*dest, error) {
	if d := u.dests[name]; d != nil {
		return d, nil
	}
	d := &dest{}
	if m := u.st.names[name]; m != nil {
		if err := u.loaded(m); err != nil {
			return nil, err
		}
		d.id, d.flags, d.uid = m.id, m.flags, func() (uint32, error) { return u.uid(m) }
	} else {
		id, err := u.create(name)
		if err != nil {
			return nil, err
		}
		next := uint32(0)
		d.id, d.uid = id, func() (uint32, error) { next++; return next, nil }
	}
	u.dests[name] = d
	return d, nil
}

func (u *undeleter) group(g *keptGroup, name string) error {
	d, err := u.dest(name)
	if err != nil {
		return err
	}
	rec := &recCopy{box: d.id, modseq: u.modseq(), saved: u.seconds()}
	for _, list := range g.flags {
		list.system &^= bitDeleted
		rec.flags = append(rec.flags, list)
		d.keywords = append(d.keywords, list.keywords...)
	}
	slices.Sort(d.keywords)
	d.keywords = slices.Compact(d.keywords)
	if err := d.flags.room(d.keywords); err != nil {
		return err
	}
	back := boxUIDs{box: g.box}
	places := make(map[imap.UID]imap.UID, len(g.rows)) // new UIDs by old ones
	for _, r := range g.rows {
		uid, err := d.uid()
		if err != nil {
			return err
		}
		rec.items = append(rec.items, copyItem{uid: uid, blob: r.blob, flags: r.flags >> 1, seen: r.flags&rowSeen != 0, date: r.date, size: r.size})
		places[imap.UID(r.uid)] = imap.UID(uid)
	}
	back.uids = imap.UIDSetOf(slices.Collect(maps.Keys(places))...)
	var own []ownUIDs
	for _, o := range g.own {
		if uids := moved(o.uids, places); !uids.Empty() {
			own = append(own, ownUIDs{o.reader, o.flags, uids})
		}
	}
	u.addCopy(rec, own)
	u.back = append(u.back, back)
	return nil
}

// moved is where those of uids are that have a place.
func moved(uids imap.UIDSet, places map[imap.UID]imap.UID) imap.UIDSet {
	var to []imap.UID
	for old, uid := range places {
		if uids.Contains(old) {
			to = append(to, uid)
		}
	}
	return imap.UIDSetOf(to...)
}
