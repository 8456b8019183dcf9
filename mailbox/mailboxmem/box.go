package mailboxmem

import (
	"slices"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/message"
)

// reader names whose \Seen is meant: a user with a private one, or "" for the
// one that the owner and all others share.
type reader string

// box is a mailbox. Mail.mu guards it.
type box struct {
	mail        *Mail
	name        string
	id          imap.ObjectID
	uidValidity uint32
	uidNext     imap.UID
	recentFrom  imap.UID // messages from here on are recent for the next owner's session
	messages    []*msg   // in order of UID
	entries     []mailbox.Entry
	metadata    metadata
	keywords    []imap.Flag // ever used here
	handles     map[*handle]struct{}
	gone        bool
	expunged    []expunged // ever

	lastModSeq imap.ModSeq            // given out last
	shared     imap.ModSeq            // of the last change that everyone sees
	private    map[reader]imap.ModSeq // of the last change of each \Seen
}

// expunged is a message that was.
type expunged struct {
	uid    imap.UID
	modSeq imap.ModSeq
}

// msg is a message of one box. A copy is a new message.
type msg struct {
	uid    imap.UID
	email  imap.ObjectID
	saved  time.Time
	date   time.Time
	body   []byte
	digest *message.Digest
	flags  []imap.Flag // all but \Seen
	modSeq imap.ModSeq // of flags
	seen   map[reader]seenMark
}

type seenMark struct {
	set    bool
	modSeq imap.ModSeq
}

func newBox(mail *Mail, name string, uidValidity uint32, entries []mailbox.Entry) *box {
	return &box{
		mail: mail, name: name, uidValidity: uidValidity, uidNext: 1, recentFrom: 1,
		entries: entries, metadata: metadata{}, handles: map[*handle]struct{}{},
		lastModSeq: 1, shared: 1, private: map[reader]imap.ModSeq{},
	}
}

// take puts a copy of m at the end, with everyone's own \Seen.
func (b *box) take(m *msg) imap.UID {
	b.lastModSeq++
	b.shared = b.lastModSeq
	c := &msg{
		uid: b.uidNext, email: m.email, saved: time.Now().UTC().Truncate(time.Second), date: m.date, body: m.body, digest: m.digest,
		flags: m.flags, modSeq: b.shared, seen: map[reader]seenMark{},
	}
	for r, mark := range m.seen {
		c.seen[r] = seenMark{set: mark.set, modSeq: b.shared}
	}
	b.uidNext++
	b.messages = append(b.messages, c)
	b.learnKeywords(c.flags)
	return c.uid
}

// remove expunges the messages that gone names.
func (b *box) remove(gone func(*msg) bool) {
	left := slices.DeleteFunc(slices.Clone(b.messages), gone)
	if len(left) == len(b.messages) {
		return
	}
	b.lastModSeq++
	b.shared = b.lastModSeq
	for _, m := range b.messages {
		if gone(m) {
			b.expunged = append(b.expunged, expunged{m.uid, b.shared})
		}
	}
	b.messages = left
}

// find is the message with that UID, nil if there is none.
func (b *box) find(uid imap.UID) *msg {
	i, found := slices.BinarySearchFunc(b.messages, uid, func(m *msg, uid imap.UID) int {
		return int(int64(m.uid) - int64(uid))
	})
	if !found {
		return nil
	}
	return b.messages[i]
}

func (b *box) uids() imap.UIDSet {
	all := make([]imap.UID, len(b.messages))
	for i, m := range b.messages {
		all[i] = m.uid
	}
	return imap.UIDSetOf(all...)
}

// change sets m's flags, as r sees them, to flags. Only what differs gets the
// modification sequence modSeq.
func (b *box) change(m *msg, r reader, flags []imap.Flag, modSeq imap.ModSeq) {
	b.lastModSeq = modSeq
	if seen := imap.HasFlag(flags, imap.FlagSeen); seen != m.seenBy(r) {
		m.seen[r] = seenMark{set: seen, modSeq: modSeq}
		b.private[r] = modSeq
	}
	rest := (imap.ClassDeleted | imap.ClassOther).Only(flags)
	if !sameFlags(rest, m.flags) {
		m.flags, m.modSeq = rest, modSeq
		b.shared = modSeq
		b.learnKeywords(rest)
	}
}

func (b *box) learnKeywords(flags []imap.Flag) {
	for _, f := range flags {
		if f[0] != '\\' && !imap.HasFlag(b.keywords, f) {
			b.keywords = append(b.keywords, f)
		}
	}
}

// highestModSeq is that of the last change that r could see.
func (b *box) highestModSeq(r reader) imap.ModSeq { return max(b.shared, b.private[r]) }

// wake tells the watchers that have something to learn.
func (b *box) wake() {
	b.mail.changed()
	for h := range b.handles {
		if h.notify != nil && h.pending() {
			h.notify()
		}
	}
}

// wakeAll tells all watchers, as rights may have changed.
func (b *box) wakeAll() {
	b.mail.changed()
	for h := range b.handles {
		if h.notify != nil {
			h.notify()
		}
	}
}

func (m *msg) seenBy(r reader) bool { return m.seen[r].set }

// flagsFor are the flags as r sees them.
func (m *msg) flagsFor(r reader) []imap.Flag {
	if !m.seenBy(r) {
		return m.flags
	}
	return append(slices.Clip(m.flags), imap.FlagSeen)
}

// modSeqFor is the modification sequence of what r sees.
func (m *msg) modSeqFor(r reader) imap.ModSeq { return max(m.modSeq, m.seen[r].modSeq) }

func sameFlags(a, b []imap.Flag) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(f imap.Flag) bool { return !imap.HasFlag(b, f) })
}
