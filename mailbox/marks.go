package mailbox

import (
	"context"
	"slices"
	"strings"

	"github.com/roost-mail/roost/imap"
)

// Marks are the flags that a user has for themselves on the messages of another
// owner's mailbox, where its home can't keep them. The sets are shared and never changed.
type Marks struct {
	UIDValidity uint32   // of the mailbox; 0: nothing is marked
	Flags       []Marked // by flag, none of them empty

	// When the mailbox had Messages messages and this UIDNEXT, all that were marked
	// below it existed. UIDNext 0: it is not known.
	UIDNext  imap.UID
	Messages uint32
}

// Marked are the messages with a flag.
type Marked struct {
	Flag imap.Flag
	UIDs imap.UIDSet
}

// With are the messages that have a flag.
func (m *Marks) With(f imap.Flag) imap.UIDSet { return MarkedWith(m.Flags, f) }

// MarkedWith are the messages that have a flag.
func MarkedWith(list []Marked, f imap.Flag) imap.UIDSet {
	for i := range list {
		if imap.EqualFlag(list[i].Flag, f) {
			return list[i].UIDs
		}
	}
	return nil
}

// Change is m with what is set and cleared; m itself stays as it is.
func (m Marks) Change(set, cleared []Marked) Marks {
	var flags []Marked
	for _, f := range MarkedFlags(m.Flags, set) {
		uids := m.With(f).Union(MarkedWith(set, f)).Minus(MarkedWith(cleared, f))
		if !uids.Empty() {
			flags = append(flags, Marked{f, uids})
		}
	}
	m.Flags = flags
	return m
}

// MarkedFlags are the flags that any of the lists has, sorted.
func MarkedFlags(lists ...[]Marked) []imap.Flag {
	var flags []imap.Flag
	for _, list := range lists {
		for i := range list {
			if !imap.HasFlag(flags, list[i].Flag) {
				flags = append(flags, list[i].Flag)
			}
		}
	}
	slices.SortFunc(flags, func(a, b imap.Flag) int {
		return strings.Compare(strings.ToLower(string(a)), strings.ToLower(string(b)))
	})
	return flags
}

// MarkedBox is a mailbox of another owner: by its ID, if it has one, or else by its name.
// Account is the owner's mail, by any name that always is the same.
type MarkedBox struct {
	Account, Name string
	ID            imap.ObjectID
}

// MarkChange sets and clears flags. If UIDNext is given, UIDs are the messages that there
// are below it: marks of others are taken off.
type MarkChange struct {
	UIDValidity uint32 // of the mailbox; marks of another are dropped
	Set, Clear  []Marked
	UIDs        imap.UIDSet
	UIDNext     imap.UID
}

// MarkKeeper is a home that keeps its owner's marks: store.
type MarkKeeper interface {
	// Marks does not wait.
	Marks(box MarkedBox) (Marks, error)

	// Mark changes marks, and returns what they are then. They survive the end of the process,
	// and a loss of power after a second. LIMIT: there are too many.
	Mark(ctx context.Context, box MarkedBox, change *MarkChange) (Marks, error)

	// MoveMarks follows a rename of a mailbox and of all below it; without a new name
	// it forgets those of the mailbox alone.
	MoveMarks(ctx context.Context, box MarkedBox, to string) error

	// WatchMarks has notify called, from any goroutine, soon after marks have changed,
	// perhaps those of others. notify must return at once and must not call the keeper. After
	// stop has returned it is not called again.
	WatchMarks(notify func()) (stop func())
}
