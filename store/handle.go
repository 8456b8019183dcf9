package store

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// handle is one session's open mailbox. Its session's goroutine owns it, but for
// what is named below.
type handle struct {
	session *Session
	box     *box
	view    view
	info    mailbox.Info // ReadOnly is never changed

	version    uint64 // of box up to which the session knows; under account.mu
	goneTold   bool
	brokenTold bool

	watched atomic.Bool
	watchMu sync.Mutex
	notify  func() // under watchMu
}

var (
	_ mailbox.Mailbox     = (*handle)(nil)
	_ mailbox.EntryHolder = (*handle)(nil)
)

// Open implements mailbox.Account.
func (s *Session) Open(ctx context.Context, name string, readOnly bool) (mailbox.Mailbox, error) {
	s.settle(ctx)
	for {
		h, missing, err := s.open(name, readOnly)
		if missing == nil {
			if err != nil {
				return nil, err
			}
			return h, nil
		}
		if err := s.load(ctx, missing); err != nil {
			return nil, err
		}
	}
}

// open returns the mailbox if it has to be loaded first.
func (s *Session) open(name string, readOnly bool) (*handle, *box, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.named(name)
	switch {
	case err != nil:
		return nil, nil, err
	case !b.loaded:
		return nil, b, nil
	}
	h := &handle{session: s, box: b, view: s.view, version: b.now()}
	if b.handles == nil {
		b.handles = map[*handle]struct{}{}
	}
	b.handles[h] = struct{}{}
	s.use(b)
	h.info = mailbox.Info{Name: name, UIDValidity: b.uidValidity, MailboxID: b.objectID.mailboxID(), ReadOnly: readOnly, UIDNext: 1}
	h.advance(&mailbox.Changes{})
	h.info.Unseen = imap.UID(h.firstUnseen())
	return h, nil, nil
}

// firstUnseen is the first message without \Seen.
func (h *handle) firstUnseen() uint32 {
	sight := h.sight()
	for i := range h.box.rows {
		if r := &h.box.rows[i]; !sight.seen(r) {
			return r.uid
		}
	}
	return 0
}

// Info implements mailbox.Mailbox.
func (h *handle) Info() mailbox.Info { return h.info }

// Sync implements mailbox.Mailbox.
func (h *handle) Sync(context.Context, bool) (mailbox.Changes, error) {
	a := h.session.account
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case h.box.gone:
		c := mailbox.Changes{Gone: !h.goneTold}
		h.goneTold = true
		h.version = h.box.now()
		return c, nil
	case a.broken != nil:
		c := mailbox.Changes{Unavailable: !h.brokenTold}
		h.brokenTold = true
		h.version = h.box.now()
		return c, nil
	}
	var c mailbox.Changes
	h.collect(&c)
	h.advance(&c)
	return c, nil
}

// collect finds what happened to messages told before. The caller holds
// account.mu.
func (h *handle) collect(c *mailbox.Changes) {
	b := h.box
	var changed, gone imap.UIDSet
	if h.version < b.base {
		gone = h.info.UIDs.Minus(b.uids())
		changed = h.changedSince(uint64(h.info.HighestModSeq))
	} else {
		for _, e := range b.events[h.version-b.base:] {
			switch {
			case e.kind == eventExpunge:
				gone = gone.Union(e.uids)
			case !e.uids.Empty() && e.concerns(h):
				changed = changed.Union(e.uids)
			}
		}
	}
	c.Vanished = h.info.UIDs.Intersect(gone)
	sight := h.sight()
	for _, r := range h.info.UIDs.Intersect(changed) {
		rows := b.within(r)
		for i := range rows {
			m := sight.see(&rows[i])
			c.Flags = append(c.Flags, mailbox.Message{UID: m.uid, Flags: m.flags, ModSeq: m.modseq})
		}
	}
}

// changedSince are the messages with a higher modification sequence.
func (h *handle) changedSince(modseq uint64) imap.UIDSet {
	var uids []imap.UID
	sight := h.sight()
	for i := range h.box.rows {
		if m := sight.see(&h.box.rows[i]); uint64(m.modseq) > modseq {
			uids = append(uids, m.uid)
		}
	}
	return imap.UIDSetOf(uids...)
}

// advance tells of new messages and moves the handle on to now. The caller
// holds account.mu for writing.
func (h *handle) advance(c *mailbox.Changes) {
	b, info := h.box, &h.info
	uids := b.uids()
	if imap.UID(b.uidNext) > info.UIDNext {
		c.New = uids.Intersect(imap.UIDRange(info.UIDNext, imap.UID(b.uidNext-1)))
		c.Recent = h.claimRecent(c.New)
	}
	info.UIDs = uids
	info.Recent = info.Recent.Minus(c.Vanished).Union(c.Recent)
	info.UIDNext, info.HighestModSeq = imap.UID(b.uidNext), imap.ModSeq(h.session.st.highest(b, h.view))
	if known := h.knownFlags(); len(known) != len(info.Flags) {
		c.FlagsChanged = len(info.Flags) > 0
		info.Flags = known
		if !info.ReadOnly {
			info.PermanentFlags = append(known[:len(known):len(known)], imap.FlagWildcard)
		}
	}
	c.UIDNext, c.HighestModSeq = info.UIDNext, info.HighestModSeq
	h.version = b.now()
}

// knownFlags are the flags of the mailbox, and the reader's own keywords.
func (h *handle) knownFlags() []imap.Flag {
	known := h.box.flags.all()
	own := h.session.st.own(h.box, h.view)
	if own>>ownKeyword == 0 {
		return known
	}
	known = known[:len(known):len(known)]
	for _, k := range h.session.st.ownKeywordsOf(own) {
		if !imap.HasFlag(known, imap.Flag(k)) {
			known = append(known, imap.Flag(k))
		}
	}
	return known
}

// claimRecent finds which of fresh are recent for this session: those that no
// session of the owner's was told of, or only ones that may not write.
func (h *handle) claimRecent(fresh imap.UIDSet) imap.UIDSet {
	if !h.view.owner {
		return nil
	}
	from := h.box.recent.Load()
	if !h.info.ReadOnly {
		from = h.box.claim(h.box.uidNext)
	}
	return fresh.Intersect(imap.UIDRange(imap.UID(from), 1<<32-1))
}

// Watch implements mailbox.Mailbox.
func (h *handle) Watch(notify func()) (stop func()) {
	h.watchMu.Lock()
	h.notify = notify
	h.watchMu.Unlock()
	a := h.session.account
	a.mu.RLock()
	h.watched.Store(true)
	behind := h.behind()
	a.mu.RUnlock()
	if behind {
		h.call()
	}
	return func() {
		h.watched.Store(false)
		h.watchMu.Lock()
		defer h.watchMu.Unlock()
		h.notify = nil
	}
}

// call tells the watcher. It holds no lock that a notify could want.
func (h *handle) call() {
	h.watchMu.Lock()
	defer h.watchMu.Unlock()
	if h.notify != nil {
		h.notify()
	}
}

// Close implements mailbox.Mailbox.
func (h *handle) Close() error {
	a := h.session.account
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(h.box.handles, h)
	if h.box.loaded {
		a.use(h.box)
	}
	return nil
}

// seenRow is a message as a view sees it, copied out of the state.
type seenRow struct {
	uid    imap.UID
	modseq imap.ModSeq
	flags  []imap.Flag
	seen   bool
	date   packedTime
	size   uint32
	saved  uint32
	blob   uint32
	at     place // of blob
}

// savedDay is the day of the save date in UTC, in days since 1970.
func (m *seenRow) savedDay() int64 { return int64(m.saved) / 86400 }

// batchSize is how many messages are copied out under the lock at once.
const batchSize = 256

// cursor goes through the messages of a set that exist.
type cursor struct {
	h      *handle
	uids   imap.UIDSet
	from   uint32      // what of uids[0] is left begins here
	since  imap.ModSeq // leave out what has not changed after that
	bodies bool        // find out where contents lie
	rows   []seenRow
}

// next copies out the next messages into rows, perhaps none. It reports false at
// the end.
func (c *cursor) next() (bool, error) {
	a := c.h.session.account
	a.mu.RLock()
	defer a.mu.RUnlock()
	c.rows = c.rows[:0]
	if err := c.h.usable(); err != nil {
		return false, err
	}
	for len(c.uids) > 0 {
		left := c.uids[0]
		left.Start = max(left.Start, c.from)
		rows := c.h.box.within(left)
		if room := batchSize - len(c.rows); len(rows) > room {
			c.take(rows[:room])
			c.from = rows[room].uid
			return true, nil
		}
		c.take(rows)
		c.uids, c.from = c.uids[1:], 0
	}
	return len(c.rows) > 0, nil
}

func (c *cursor) take(rows []row) {
	sight := c.h.sight()
	for i := range rows {
		m := sight.see(&rows[i])
		if m.modseq <= c.since {
			continue
		}
		if c.bodies {
			if b := c.h.session.st.blobs.find(rows[i].blob); b != nil {
				m.blob, m.at = b.id, b.place()
			}
		}
		c.rows = append(c.rows, m)
	}
}

// usable is the refusal of commands on a mailbox that is gone. The caller holds
// account.mu.
func (h *handle) usable() error {
	if h.box.gone {
		return imap.NoMailbox()
	}
	return h.session.account.usable()
}
