package mailboxmem

import (
	"slices"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/message"
)

// reader is who looks at a box. Private flags are a user's own, or those that the
// owner and all others share: these are marked under the name "".
type reader struct {
	who string // "" for the owner
	own bool   // the private flags are theirs
}

// everyReader is the name of the marks with which those go who have made none on
// a message.
const everyReader = "\x00"

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

	mode       string                 // "private" or "shared", "" as readers have it elsewhere
	lastModSeq imap.ModSeq            // given out last
	shared     imap.ModSeq            // of the last change that everyone sees
	private    map[string]imap.ModSeq // of the last change of private flags, by name
	aside      imap.ModSeq            // when readers' own flags were set aside last
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
	flags  []imap.Flag // all that are never private
	modSeq imap.ModSeq // of flags
	marks  map[string]mark
}

// mark is the private flags of a name.
type mark struct {
	flags  []imap.Flag
	modSeq imap.ModSeq
}

func newBox(mail *Mail, name string, uidValidity uint32, entries []mailbox.Entry) *box {
	return &box{
		mail: mail, name: name, uidValidity: uidValidity, uidNext: 1, recentFrom: 1,
		entries: entries, metadata: metadata{}, handles: map[*handle]struct{}{},
		lastModSeq: 1, shared: 1, private: map[string]imap.ModSeq{},
	}
}

// take puts a copy of m at the end, with everyone's own flags. becomesOwn says that
// what all shared is to be each reader's own.
func (b *box) take(m *msg, becomesOwn bool) imap.UID {
	b.lastModSeq++
	b.shared = b.lastModSeq
	c := &msg{
		uid: b.uidNext, email: m.email, saved: time.Now().UTC().Truncate(time.Second), date: m.date, body: m.body, digest: m.digest,
		flags: m.flags, modSeq: b.shared, marks: map[string]mark{},
	}
	for name, own := range m.marks {
		if becomesOwn {
			own = m.marks[""]
		}
		c.marks[name] = mark{flags: own.flags, modSeq: b.shared}
	}
	if becomesOwn {
		c.marks[everyReader] = mark{flags: m.marks[""].flags, modSeq: b.shared}
	}
	b.uidNext++
	b.messages = append(b.messages, c)
	b.learnKeywords(slices.Concat(c.flags, c.marks[""].flags))
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
	own, rest := b.mail.split(flags)
	if !sameFlags(own, m.mark(r.name()).flags) {
		m.marks[r.name()] = mark{flags: own, modSeq: modSeq}
		b.private[r.name()] = modSeq
		if !r.own {
			b.learnKeywords(own)
		}
	}
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
func (b *box) highestModSeq(r reader) imap.ModSeq {
	highest := max(b.shared, b.private[r.name()])
	if r.who != "" {
		highest = max(highest, b.private[r.who], b.private[everyReader])
	}
	return highest
}

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

// name is whose private flags r sees.
func (r reader) name() string {
	if r.own {
		return r.who
	}
	return ""
}

// mark are the private flags of a name.
func (m *msg) mark(name string) mark {
	if own, made := m.marks[name]; made || name == "" {
		return own
	}
	return m.marks[everyReader]
}

func (m *msg) seenBy(r reader) bool { return imap.HasFlag(m.mark(r.name()).flags, imap.FlagSeen) }

// flagsFor are the flags as r sees them.
func (m *msg) flagsFor(r reader) []imap.Flag {
	return append(slices.Clip(m.flags), m.mark(r.name()).flags...)
}

// modSeqFor is the modification sequence of what r sees. What is set aside counts
// as well, so that it never falls.
func (m *msg) modSeqFor(r reader) imap.ModSeq {
	modSeq := max(m.modSeq, m.mark(r.name()).modSeq)
	if r.who != "" {
		modSeq = max(modSeq, m.mark(r.who).modSeq)
	}
	return modSeq
}

// become has the private flags become each reader's own, or everybody's again.
// Everyone has again what they had set aside of messages that did not change since, and
// of others goes on with what they saw, or had set aside.
func (b *box) become(own bool) {
	b.lastModSeq++
	now := b.lastModSeq
	b.private[everyReader] = now
	if !own {
		b.aside = now
	}
	for _, m := range b.messages {
		shared := m.marks[""]
		if _, made := m.marks[everyReader]; !made {
			m.marks[everyReader] = mark{}
		}
		for name, was := range m.marks {
			if name == "" {
				continue
			}
			is := was
			if own && max(m.modSeq, shared.modSeq) > b.aside {
				is.flags = slices.Concat(was.flags, slices.DeleteFunc(slices.Clone(shared.flags), func(f imap.Flag) bool { return imap.HasFlag(was.flags, f) }))
			}
			if !sameFlags(was.flags, shared.flags) || max(m.modSeq, was.modSeq) < shared.modSeq {
				is.modSeq = now
			}
			m.marks[name] = is
		}
	}
}

func sameFlags(a, b []imap.Flag) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(f imap.Flag) bool { return !imap.HasFlag(b, f) })
}
