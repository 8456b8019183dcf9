package store

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// state is an account's mail as committed. Only the leader of the commit queue
// changes it, holding account.mu for writing; all others read it, holding
// account.mu. During open one goroutine has it for itself.
type state struct {
	boxes map[uint32]*box
	names map[string]*box
	blobs blobMap
	subs  map[string]map[string]struct{} // names, by user

	metadata metadata // of the account itself

	policy      *policy  // which flags are readers' own; nil before that was said
	ownKeywords []string // that ever were, by bit

	nextBox      uint32
	nextBlob     uint32
	lastValidity uint32
	modseq       uint64 // highest in use
	modseqLimit  uint64 // modseq stays below what is durably reserved
	floor        uint64 // no mailbox shows a lower HIGHESTMODSEQ
	shareVersion uint64
	published    uint64

	marks map[mailbox.MarkedBox]*markedBox // the owner's, in mailboxes of other servers

	kept []keptGroup // in the order of their times, mostly

	freedBytes int64 // of messages that went since the last maintenance began

	packs map[uint32]packed // by segment

	live map[uint32]uint64 // bytes of messages in use, by segment

	// load fetches a mailbox's table. It is set while the leader or open may need it.
	load func(*box) error
	// freed is told of a mailbox that is no more; nil while nobody counts
	freed func(*box)
	// origin is the handle whose change is being applied, or nil.
	origin *handle
	// noted are the mailboxes with events since watchers was called.
	noted []*box
	// sorted is the names of all mailboxes, made anew after a change of names.
	sorted atomic.Pointer[[]string]
	// expiry is when the first ACL entry ends, made anew after a change of entries.
	expiry atomic.Pointer[int64]
}

func newState() *state {
	return &state{
		boxes: map[uint32]*box{}, names: map[string]*box{}, subs: map[string]map[string]struct{}{},
		live: map[uint32]uint64{}, packs: map[uint32]packed{}, marks: map[mailbox.MarkedBox]*markedBox{}, nextBox: 1, nextBlob: 1,
	}
}

// box is a mailbox. It is guarded as state is.
type box struct {
	id          uint32
	name        string
	uidValidity uint32
	objectID    objectID
	entries     []mailbox.Entry // shared, never changed in place
	metadata    metadata
	gone        bool

	uidNext    uint32
	messages   uint32
	unseen     uint32 // by the shared \Seen
	sums       sums
	shared     uint64 // modification sequence of the last change that everyone sees
	sharedSeen uint64 // and of the shared \Seen, and others that readers may have for themselves
	readers    map[string]*reader
	seed       reader // for those who have not marked a message themselves
	forgotten  uint64 // when a reader was last forgotten
	mode       ownMode
	aside      aside
	recent     atomic.Uint32 // messages from this UID on were told to no session of the owner
	recentKept uint32        // what the log says of recent

	flags   flagTable
	rows    []row // in order of UID; nil unless loaded
	loaded  bool
	uidsNow imap.UIDSet // of rows; nil when it has to be made anew

	expunged history

	share share // of Store.memory, while loaded

	table tableRef // where the last fold is
	dirty bool     // changed since

	handles map[*handle]struct{}
	events  []event // since eventBase, kept while there are handles
	base    uint64

	nextUID uint32 // leader only: the next to give out
}

func newBox(id uint32, name string) *box {
	b := &box{id: id, name: name, uidNext: 1, nextUID: 1}
	b.recent.Store(1)
	b.recentKept = 1
	return b
}

// sums are running totals over the rows of a mailbox.
type sums struct {
	size        uint64 // of all messages
	deleted     uint32 // messages with \Deleted
	deletedSize uint64 // of those
}

func (s *sums) add(r *row, deleted bool) {
	s.size += uint64(r.size)
	if deleted {
		s.deleted++
		s.deletedSize += uint64(r.size)
	}
}

func (s *sums) remove(r *row, deleted bool) {
	s.size -= uint64(r.size)
	if deleted {
		s.deleted--
		s.deletedSize -= uint64(r.size)
	}
}

// find is the place of uid in rows, or where it would be.
func (b *box) find(uid uint32) (int, bool) {
	return slices.BinarySearchFunc(b.rows, uid, func(r row, uid uint32) int { return cmp.Compare(r.uid, uid) })
}

// within are the rows from start to stop.
func (b *box) within(r imap.Range) []row {
	i, _ := b.find(r.Start)
	j := len(b.rows)
	if r.Stop < 1<<32-1 {
		j, _ = b.find(r.Stop + 1)
	}
	return b.rows[i:max(i, j)]
}

// uids are the messages that exist. The caller must be the only writer, or hold
// account.mu for writing.
func (b *box) uids() imap.UIDSet {
	if b.uidsNow == nil && len(b.rows) > 0 {
		var set imap.UIDSet
		for i := range b.rows {
			uid := b.rows[i].uid
			if n := len(set); n > 0 && set[n-1].Stop+1 == uid {
				set[n-1].Stop = uid
				continue
			}
			set = append(set, imap.Range{Start: uid, Stop: uid})
		}
		b.uidsNow = slices.Clip(set)
	}
	return b.uidsNow
}

// addRow puts a message at the end.
func (s *state) addRow(b *box, r row, list flagList, seen bool) error {
	if n := len(b.rows); r.uid == 0 || r.uid == 1<<32-1 || n > 0 && b.rows[n-1].uid >= r.uid || r.uid < b.uidNext {
		return fmt.Errorf("%w: UID %d is not above those before it", errFormat, r.uid)
	}
	r.flags = b.flags.intern(list) << 1
	if seen {
		r.flags |= rowSeen
	} else {
		b.unseen++
	}
	if b.rows == nil || b.uidsNow != nil {
		b.uidsNow = imap.UIDSet.Union(b.uidsNow, imap.UIDSet{{Start: r.uid, Stop: r.uid}})
	}
	b.rows = append(b.rows, r)
	b.sums.add(&r, b.flags.deleted(r.flags))
	b.messages++
	b.uidNext = r.uid + 1
	b.nextUID = max(b.nextUID, b.uidNext)
	b.shared = max(b.shared, r.modseq)
	s.modseq = max(s.modseq, r.modseq)
	b.dirty = true
	return nil
}

// highest is HIGHESTMODSEQ as a view sees it.
func (s *state) highest(b *box, v view) uint64 {
	h := max(b.shared, s.floor)
	if s.own(b, v) == 0 {
		h = max(h, b.sharedSeen)
	}
	r := b.readers[v.acting]
	if r != nil {
		h = max(h, r.highest, r.base)
	}
	if !v.owner {
		h = max(h, b.seed.highest)
		if r == nil {
			h = max(h, b.forgotten)
		}
	}
	return h
}

// seenBy is how many messages a reader has seen by a \Seen of their own.
func (b *box) seenBy(name string) uint32 {
	if r := b.readers[name]; r != nil {
		return r.seen
	}
	return b.seed.seen
}

// reader is a user's own flags, made if they are missing.
func (b *box) reader(name string) *reader {
	r := b.readers[name]
	if r == nil {
		if b.readers == nil {
			b.readers = map[string]*reader{}
		}
		r = &reader{seen: b.seed.seen, base: b.forgotten}
		b.readers[name] = r
	}
	return r
}

// namesSorted is the names of all mailboxes; the slice is shared.
func (s *state) namesSorted() []string {
	if p := s.sorted.Load(); p != nil {
		return *p
	}
	names := make([]string, 0, len(s.names))
	for name := range s.names {
		names = append(names, name)
	}
	slices.Sort(names)
	s.sorted.Store(&names)
	return names
}

// firstExpiry is when the first ACL entry ends, 0 if none does.
func (s *state) firstExpiry() int64 {
	if p := s.expiry.Load(); p != nil {
		return *p
	}
	first := int64(0)
	for _, b := range s.boxes {
		first = mailbox.FirstExpiry(first, b.entries)
	}
	s.expiry.Store(&first)
	return first
}

// standing is what the ACL of b is worked out from.
func (s *state) standing(b *box) mailbox.Standing {
	st := mailbox.Standing{Name: b.name, Own: b.entries}
	if inbox := s.names[imap.Inbox]; inbox != nil {
		st.Inbox = inbox.entries
	}
	for above := parentName(b.name); above != "" && len(st.Above) == 0; above = parentName(above) {
		if p := s.names[above]; p != nil {
			st.Above = p.entries
		}
	}
	return st
}

// noteFollowers tells the mailboxes that may follow the ACL of name, having none of
// their own, that it has changed. The caller holds account.mu for writing.
func (s *state) noteFollowers(name string) {
	below := name + string(imap.Delimiter)
	for _, b := range s.boxes {
		if len(b.handles) > 0 && len(b.entries) == 0 && (name == imap.Inbox || strings.HasPrefix(b.name, below)) {
			s.note(b, event{kind: eventRights})
		}
	}
}

// inherited is the ACL that a new mailbox takes over.
func (s *state) inherited(name string) []mailbox.Entry {
	for above := parentName(name); above != ""; above = parentName(above) {
		if b := s.names[above]; b != nil {
			return b.entries
		}
	}
	return nil
}

func parentName(name string) string {
	return name[:max(strings.LastIndexByte(name, imap.Delimiter), 0)]
}

// blobMap says where the content of messages lies, by blob id. Blobs come with
// ascending ids, so it is a sorted slice.
type blobMap struct {
	list []blob
	dead int // of list, without references
}

// blob is 16 bytes.
type blob struct {
	id   uint32
	seg  uint32
	off  uint32 // in units of recordAlign
	refs uint32
}

func (b *blob) place() place { return place{seg: b.seg, off: int64(b.off) * recordAlign} }

func (m *blobMap) find(id uint32) *blob {
	i, ok := slices.BinarySearchFunc(m.list, id, func(b blob, id uint32) int { return cmp.Compare(b.id, id) })
	if !ok {
		return nil
	}
	return &m.list[i]
}

func (m *blobMap) add(id uint32, at place) error {
	if n := len(m.list); id == 1<<32-1 || n > 0 && m.list[n-1].id >= id || at.off%recordAlign != 0 || at.off/recordAlign > 1<<32-1 {
		return fmt.Errorf("%w: blob %d out of order", errFormat, id)
	}
	m.list = append(m.list, blob{id: id, seg: at.seg, off: uint32(at.off / recordAlign)})
	m.dead++
	return nil
}

// ref counts one more message that has the blob's content.
func (s *state) ref(id, size uint32) error {
	b := s.blobs.find(id)
	if b == nil {
		return fmt.Errorf("%w: no blob %d", errFormat, id)
	}
	if b.refs == 0 {
		s.blobs.dead--
		s.live[b.seg] += uint64(size)
	}
	b.refs++
	return nil
}

// unref counts one less.
func (s *state) unref(id, size uint32) {
	b := s.blobs.find(id)
	if b == nil || b.refs == 0 {
		return
	}
	b.refs--
	if b.refs == 0 {
		s.blobs.dead++
		s.freedBytes += int64(size)
		s.live[b.seg] -= min(s.live[b.seg], uint64(size))
	}
}

// segments are those with content that some message has.
func (m *blobMap) segments() map[uint32]bool {
	used := map[uint32]bool{}
	last := uint32(0)
	for i := range m.list {
		if b := &m.list[i]; b.refs > 0 && (b.seg != last || last == 0) {
			last = b.seg
			used[last] = true
		}
	}
	return used
}

// compact forgets blobs without references when they are many. Only between
// transactions: a record may still count on one. The caller holds account.mu
// for writing.
func (m *blobMap) compact() {
	if m.dead < 64 || m.dead < len(m.list)/4 {
		return
	}
	m.list = slices.DeleteFunc(m.list, func(b blob) bool { return b.refs == 0 })
	m.dead = 0
}
