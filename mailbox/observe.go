package mailbox

import (
	"context"

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
