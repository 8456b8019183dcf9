package acl

import (
	"context"
	"slices"
	"strings"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// What is a kind of Event.
type What int

// The kinds.
const (
	SetACL What = iota
	DeleteACL
	Create
	Delete
	Rename
	SetMetadata
	Select
	Examine
	Append
	Copy
	Move
	Expire // no Guard tells of it, nor of the next
	GlobalACL
	numWhats
)

var whats = [numWhats]string{
	"setacl", "deleteacl", "create", "delete", "rename", "setmetadata",
	"select", "examine", "append", "copy", "move", "expire", "global acl",
}

func (w What) String() string { return whats[w] }

// Whats are all kinds.
func Whats() []What {
	all := make([]What, numWhats)
	for i := range all {
		all[i] = What(i)
	}
	return all
}

// Arrival says whether mail is put into a mailbox.
func (w What) Arrival() bool { return w == Append || w == Copy || w == Move }

// Event is something that an audit may want to know, done or refused.
type Event struct {
	What    What
	Mailbox string
	To      string   // its new name
	Entries []string // names of annotations; the value of imap.MetadataPrivateFlags, behind =

	// Shared says that others than the owner have rights on the mailbox, or had them, by
	// entries that are not global, or that rights were changed.
	Shared bool

	Changed bool            // the entries did
	Before  []mailbox.Entry // those that held, without the administrator's; only if they changed
	After   []mailbox.Entry // likewise

	Err error // why it was not done
}

// tell tells the audit of what was done, or why it was not.
func (g *Guard) tell(e Event, err error) {
	if g.opts.Audit != nil {
		e.Err = err
		g.opts.Audit(e)
	}
}

// AuditedChange is change, and notes into e what it did.
func (r *Rules) AuditedChange(e *Event, change func([]mailbox.Entry) ([]mailbox.Entry, error)) func(mailbox.Standing) ([]mailbox.Entry, error) {
	return func(s mailbox.Standing) ([]mailbox.Entry, error) {
		before := r.local(s)
		own, err := r.Changed(s, change)
		s.Own = own
		if err == nil {
			e.become(before, r.local(s))
			e.Shared = e.Changed
		}
		return own, err
	}
}

// become notes what the entries were, and are.
func (e *Event) become(before, after []mailbox.Entry) {
	if e.Changed = !slices.Equal(before, after); e.Changed {
		e.Before, e.After = before, after
	}
}

// others says whether somebody else than the owner has rights by entries.
func (g *Guard) others(entries []mailbox.Entry) bool {
	return slices.ContainsFunc(entries, func(e mailbox.Entry) bool {
		return !e.Negative && e.Rights != 0 && e.Identifier != idOwner && e.Identifier != idUser+g.owner
	})
}

// local are the entries that hold for a mailbox, without the administrator's: of one
// that does not exist, and if nobody wants to know, none.
func (g *Guard) local(ctx context.Context, name string) []mailbox.Entry {
	if g.opts.Audit == nil {
		return nil
	}
	s, err := g.home.Standing(ctx, name)
	if err != nil {
		return nil
	}
	return g.opts.Rules.local(s)
}

// renaming are the events of renaming a mailbox: its own, and those of the mailboxes
// below it on which others have rights.
func (g *Guard) renaming(ctx context.Context, from, to string) []Event {
	events := []Event{{What: Rename, Mailbox: from, To: to, Before: g.local(ctx, from)}}
	events[0].Shared = g.others(events[0].Before)
	if g.opts.Audit == nil || from == imap.Inbox {
		return events
	}
	names, _ := g.home.Mailboxes(ctx) // the rename will say what is wrong
	for _, name := range names {
		below, is := strings.CutPrefix(name, from+string(imap.Delimiter))
		if !is {
			continue
		}
		if entries := g.local(ctx, name); g.others(entries) {
			events = append(events, Event{What: Rename, Mailbox: name, To: to + string(imap.Delimiter) + below, Shared: true, Before: entries})
		}
	}
	return events
}

// renamed tells of them.
func (g *Guard) renamed(ctx context.Context, events []Event, err error) {
	if err != nil {
		events[0].Before = nil
		g.tell(events[0], err)
		return
	}
	for _, e := range events {
		before := e.Before
		e.Before = nil
		after := g.local(ctx, e.To)
		e.become(before, after)
		e.Shared = e.Shared || g.others(after)
		g.tell(e, nil)
	}
}

func opening(readOnly bool) What {
	if readOnly {
		return Examine
	}
	return Select
}

// arrival tells that mail was put into a mailbox.
func (g *Guard) arrival(what What, name string, err error) {
	g.tell(Event{What: what, Mailbox: imap.CanonicalName(name)}, err)
}
