package mailbox

import (
	"cmp"
	"context"
	"slices"

	"github.com/roost-mail/roost/imap"
)

// Observer is an Account that says how all of its mailboxes stand, and tells
// when that may have changed: what NOTIFY is made of (RFC 5465).
type Observer interface {
	// Observe has notify called, from any goroutine, soon after Overview would
	// give another answer than before; perhaps without need. notify must return
	// at once and must not call the Account. After stop has returned it is not
	// called again. There is one Observe at a time. It returns when Overview has
	// an answer, or when ctx has ended; what could not be reached by then is seen
	// as soon as it can.
	//
	// below says of which mailboxes beside the acting user's own something is
	// to be heard: of those with these names and all below them. LIMIT: they are
	// more owners' than one session may observe.
	Observe(ctx context.Context, below []string, notify func()) (stop func(), err error)

	// Overview returns the mailboxes that are observed and that the acting user
	// may list, sorted by name. It waits for no other backend. While nothing is
	// observed it is empty.
	Overview(ctx context.Context) ([]Glance, error)

	// MetadataChanges returns which annotations were set or removed since it was
	// called last, or since Observe: of those that the acting user may ask for, in
	// mailboxes that are observed, sorted. It waits for no other backend. notify is
	// called for them as well. LIMIT: they were more than MaxMetadataChanges, and
	// are forgotten.
	MetadataChanges(ctx context.Context) ([]MetadataChange, error)
}

// MetadataChange says that an annotation was set or removed. The mailbox name ""
// means the account itself.
type MetadataChange struct {
	Mailbox string
	Entry   string
}

// MaxMetadataChanges is how many changed annotations of an account are remembered.
const MaxMetadataChanges = 1000

// MetadataLog remembers changes for MetadataChanges. Box is what a home knows a
// mailbox by. The zero value is empty. It is not safe for concurrent use.
type MetadataLog[Box comparable] struct {
	changed  map[loggedEntry[Box]]struct{}
	overflow bool
}

type loggedEntry[Box comparable] struct {
	box   Box
	entry string
}

// Add remembers a change.
func (l *MetadataLog[Box]) Add(box Box, entry string) {
	switch e := (loggedEntry[Box]{box, entry}); {
	case l.overflow:
		return
	case l.changed == nil:
		l.changed = map[loggedEntry[Box]]struct{}{e: {}}
	default:
		l.changed[e] = struct{}{}
	}
	if len(l.changed) > MaxMetadataChanges {
		l.Overflow()
	}
}

// Overflow has MetadataChanges say that more has changed than is known.
func (l *MetadataLog[Box]) Overflow() { l.changed, l.overflow = nil, true }

// Take answers MetadataChanges, and forgets. name is what a mailbox is called
// now; those that have no name any more are left out.
func (l *MetadataLog[Box]) Take(name func(Box) (string, bool)) ([]MetadataChange, error) {
	was := *l
	*l = MetadataLog[Box]{}
	if was.overflow {
		return nil, imap.Errorf(imap.CodeLimit, "Too many annotations have changed")
	}
	var all []MetadataChange
	for e := range was.changed {
		if name, ok := name(e.box); ok {
			all = append(all, MetadataChange{name, e.entry})
		}
	}
	SortMetadataChanges(all)
	return all, nil
}

// SortMetadataChanges sorts by mailbox and entry.
func SortMetadataChanges(all []MetadataChange) {
	slices.SortFunc(all, func(a, b MetadataChange) int {
		return cmp.Or(cmp.Compare(a.Mailbox, b.Mailbox), cmp.Compare(a.Entry, b.Entry))
	})
}

// Glance is a mailbox as Overview tells of it.
type Glance struct {
	Name string

	// Readable says that the acting user may read the mailbox. Status is zero
	// otherwise; it has MESSAGES, UIDNEXT, UIDVALIDITY, UNSEEN and HIGHESTMODSEQ
	// as the acting user sees them, and MAILBOXID where the home has one.
	Readable bool
	Status   imap.Status
}
