package acl

import (
	"slices"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// Event is something that an audit wants to know: a change of rights, or that a mailbox
// was opened or got mail.
type Event struct {
	What    string // setacl, deleteacl, create; select, examine; append, copy, move
	Mailbox string
	Changed bool            // the entries did
	Before  []mailbox.Entry // those that held, without the administrator's; only if they changed
	After   []mailbox.Entry // likewise
}

// tell tells the audit of what was done.
func (g *Guard) tell(e Event) {
	if g.opts.Audit != nil {
		g.opts.Audit(e)
	}
}

// AuditedChange is change, and notes into e what it did.
func (r *Rules) AuditedChange(e *Event, change func([]mailbox.Entry) ([]mailbox.Entry, error)) func(mailbox.Standing) ([]mailbox.Entry, error) {
	return func(s mailbox.Standing) ([]mailbox.Entry, error) {
		before := r.local(s)
		own, err := r.Changed(s, change)
		s.Own = own
		e.Before, e.After = before, r.local(s)
		e.Changed = err == nil && !slices.Equal(e.Before, e.After)
		return own, err
	}
}

// created tells of a new mailbox that others have rights on from the beginning.
func (g *Guard) created(s mailbox.Standing) {
	after := g.opts.Rules.local(s)
	if slices.ContainsFunc(after, func(e mailbox.Entry) bool { return !e.Negative && e.Rights != 0 && !g.aboutOwner(e) }) {
		g.tell(Event{What: "create", Mailbox: s.Name, Changed: true, After: after})
	}
}

func (g *Guard) aboutOwner(e mailbox.Entry) bool {
	return e.Identifier == idOwner || e.Identifier == idUser+g.who.Owner
}

func opening(readOnly bool) string {
	if readOnly {
		return "examine"
	}
	return "select"
}

// arrival tells that mail was put into a mailbox.
func (g *Guard) arrival(what, name string) {
	g.tell(Event{What: what, Mailbox: imap.CanonicalName(name)})
}

// Arrival says whether mail was put into the mailbox.
func (e *Event) Arrival() bool {
	return e.What == "append" || e.What == "copy" || e.What == "move"
}
