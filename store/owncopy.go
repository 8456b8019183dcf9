package store

import (
	"cmp"
	"slices"
	"strings"

	"github.com/roost-mail/roost/imap"
)

// ownUIDs are messages that all have the same flags of a reader; "" is the seed.
type ownUIDs struct {
	reader string
	flags  ownFlags
	uids   imap.UIDSet
}

// plain says that it is a reader's \Seen and nothing else, for which records and
// states have a form of their own.
func (o *ownUIDs) plain() bool { return o.reader != "" && o.flags == ownSeen }

// ownCollector gathers the own flags of messages that are brought elsewhere.
type ownCollector map[ownKey][]imap.UID

type ownKey struct {
	reader string
	flags  ownFlags
}

// add takes those of the message old of b, which is uid there. carry says what
// becomes of flags. Who has marked nothing goes with the seed there too.
func (c ownCollector) add(b *box, old, uid uint32, carry func(ownFlags) ownFlags) {
	seed := carry(b.seed.at(old).flags)
	if seed != 0 {
		c[ownKey{"", seed}] = append(c[ownKey{"", seed}], imap.UID(uid))
	}
	for name, r := range b.readers {
		own := r.at(old)
		if own.stop == 0 {
			continue
		}
		if flags := carry(own.flags); flags|seed != 0 {
			c[ownKey{name, flags}] = append(c[ownKey{name, flags}], imap.UID(uid))
		}
	}
}

// list are all that were gathered, in a fixed order, the seed first.
func (c ownCollector) list() (list []ownUIDs) {
	for key, uids := range c {
		list = append(list, ownUIDs{key.reader, key.flags, imap.UIDSetOf(uids...)})
	}
	slices.SortFunc(list, func(a, b ownUIDs) int {
		return cmp.Or(strings.Compare(a.reader, b.reader), cmp.Compare(a.flags, b.flags))
	})
	return list
}

// ownTo puts list into the records of a copy.
func (b *builder) ownTo(rec *recCopy, list []ownUIDs) *recOwn {
	own := &recOwn{box: rec.box, modseq: rec.modseq}
	for i := range list {
		o := &list[i]
		if o.plain() {
			rec.seen = append(rec.seen, readerUIDs{reader: o.reader, uids: o.uids})
			continue
		}
		g := ownGroup{reader: o.reader, uids: o.uids}
		g.flags, g.seen = b.st.ownList(o.flags)
		own.groups = append(own.groups, g)
	}
	return own
}

// addCopy adds a copy with the own flags in list.
func (b *builder) addCopy(rec *recCopy, list []ownUIDs) {
	own := b.ownTo(rec, list)
	b.add(rec)
	if len(own.groups) > 0 {
		b.add(own)
	}
}
