package store

import (
	"iter"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// builder collects the records of a transaction. It reads the state without a
// lock, as the leader may.
type builder struct {
	account *account
	st      *state
	txn     *txn
	entries []entry
	now     time.Time
	mod     uint64
}

func (b *builder) add(r record) { b.entries = append(b.entries, entry{rec: r}) }

func (b *builder) addBody(r record, body *spool) {
	b.entries = append(b.entries, entry{rec: r, body: body})
}

// delivered are the messages of transactions of the same group that were built before
// this one: the state does not show them yet.
func (b *builder) delivered() iter.Seq[*recMessage] {
	return func(yield func(*recMessage) bool) {
		for _, t := range b.account.group {
			if t == b.txn || t.err != nil {
				continue
			}
			for i := range t.entries {
				if m, ok := t.entries[i].rec.(*recMessage); ok && !yield(m) {
					return
				}
			}
		}
	}
}

// modseqBlock is how many modification sequences are reserved at once.
const modseqBlock = 1 << 16

// modseq is the one modification sequence of the transaction. If it is beyond
// what is reserved the transaction reserves more, and so has to be durable. What
// counts is what is in the state: a transaction that is refused or fails later
// reserves nothing.
func (b *builder) modseq() uint64 {
	if b.mod != 0 {
		return b.mod
	}
	n := &b.account.next
	n.modseq++
	b.mod = n.modseq
	if n.modseq >= b.st.modseqLimit {
		b.add(&recReserve{limit: n.modseq + modseqBlock})
		b.txn.durable = true
	}
	return b.mod
}

// box finds a mailbox by name, with its messages.
func (b *builder) box(name string, missing func() *imap.Error) (*box, error) {
	m := b.st.names[name]
	if m == nil {
		return nil, missing()
	}
	return m, b.account.ensure(m)
}

// loaded makes sure that a handle's mailbox is there, with its messages.
func (b *builder) loaded(m *box) error {
	if m.gone {
		return imap.NoMailbox()
	}
	return b.account.ensure(m)
}

// uid gives out the next UID of m.
func (b *builder) uid(m *box) (uint32, error) {
	if m.nextUID == 1<<32-1 {
		return 0, imap.Errorf(imap.CodeLimit, "Mailbox has no UIDs left")
	}
	m.nextUID++
	return m.nextUID - 1, nil
}

// blob gives out the next blob id.
func (b *builder) blob() (uint32, error) {
	n := &b.account.next
	if n.blob == 1<<32-1 {
		return 0, imap.Errorf(imap.CodeLimit, "Account has no message numbers left")
	}
	n.blob++
	return n.blob - 1, nil
}

func (b *builder) seconds() uint32 { return uint32(max(b.now.Unix(), 0)) }

// create adds a mailbox and the levels missing above it, and returns its id.
func (b *builder) create(name string) (uint32, error) {
	missing := []string{name}
	for above := parentName(name); above != "" && b.st.names[above] == nil; above = parentName(above) {
		missing = append(missing, above)
	}
	if len(b.st.names)+len(missing) > maxMailboxes {
		return 0, imap.Errorf(imap.CodeLimit, "Too many mailboxes")
	}
	var entries []mailbox.Entry
	if !b.account.store.options.FollowACL {
		entries = b.st.inherited(name)
	}
	n, mode := &b.account.next, b.modeAbove(name)
	for i := len(missing) - 1; i >= 0; i-- {
		b.add(&recCreate{
			box: n.box, name: missing[i], uidValidity: b.validity(),
			id: newObjectID(), modseq: b.modseq(), entries: entries,
		})
		if mode != modeDefault {
			b.add(&recMode{modseq: b.modseq(), boxes: []boxMode{{n.box, mode}}})
		}
		n.box++
	}
	return n.box - 1, nil
}

const maxMailboxes = 20_000

// validity is a UIDVALIDITY that no mailbox of the account ever had: the time if
// that is later than all before, so that a restored account differs as well.
func (b *builder) validity() uint32 {
	n := &b.account.next
	n.validity = max(n.validity+1, b.seconds())
	return n.validity
}
