package acl

import (
	"slices"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// Rules say which entries hold for a mailbox.
type Rules struct {
	// DefaultsFromInbox has mailboxes without entries use those of INBOX.
	DefaultsFromInbox bool

	// Inherit has mailboxes without entries use those of the nearest level above
	// that has some, before those of INBOX: always as they are now. Without it a
	// home copies them when a mailbox is made.
	Inherit bool

	// GlobalsOnly has only the global entries count.
	GlobalsOnly bool

	// Globals gives the administrator's entries; nil, and a nil answer, are none.
	// It is asked at every command.
	Globals func() *Globals
}

// Entries are those that hold for a mailbox now, the global ones last.
func (r *Rules) Entries(s mailbox.Standing) []mailbox.Entry {
	return Holding(r.Dated(s), time.Now())
}

// Dated are Entries with those among them that have expired and are not removed yet.
func (r *Rules) Dated(s mailbox.Standing) []mailbox.Entry {
	local := r.local(s)
	if r.Globals == nil {
		return local
	}
	return r.Globals().appendTo(local, s.Name)
}

// Source says where the entries of a mailbox come from that are not global.
type Source string

// The sources.
const (
	FromMailbox Source = "mailbox" // its own
	FromAbove   Source = "above"   // the nearest level above that has some
	FromInbox   Source = "inbox"
	FromNowhere Source = "" // there are none, or they don't count
)

// Source is where the entries come from.
func (r *Rules) Source(s mailbox.Standing) Source {
	switch {
	case r.GlobalsOnly:
		return FromNowhere
	case len(s.Own) > 0:
		return FromMailbox
	case r.Inherit && len(s.Above) > 0:
		return FromAbove
	case r.DefaultsFromInbox && len(s.Inbox) > 0:
		return FromInbox
	}
	return FromNowhere
}

func (r *Rules) local(s mailbox.Standing) []mailbox.Entry {
	switch r.Source(s) {
	case FromMailbox:
		return s.Own
	case FromAbove:
		return s.Above
	case FromInbox:
		return s.Inbox
	}
	return nil
}

// follows are the entries that hold for a mailbox while it has none of its own.
func (r *Rules) follows(s mailbox.Standing) []mailbox.Entry {
	s.Own = nil
	if s.Name == imap.Inbox {
		s.Inbox = nil
	}
	return r.local(s)
}

// Changed is what becomes of a mailbox's own entries if change is made to those
// that hold for it. A mailbox that follows others gets a copy of theirs to be
// changed. One whose last entry goes does not begin to follow: then the owner has
// an entry with all rights, which says what no entry says. Removing the owner's
// entry as the last one lets it follow again. What has expired is not there to be
// changed, and goes.
func (r *Rules) Changed(s mailbox.Standing, change func([]mailbox.Entry) ([]mailbox.Entry, error)) ([]mailbox.Entry, error) {
	if r.GlobalsOnly {
		return nil, imap.Errorf(imap.CodeCannot, "Rights of single mailboxes are not used on this server")
	}
	had := r.local(s)
	holding := Holding(had, time.Now())
	entries, err := change(holding)
	switch {
	case err != nil:
		return nil, err
	case len(entries) > maxEntries:
		return nil, imap.Errorf(imap.CodeLimit, "Too many ACL entries")
	case slices.Equal(entries, holding) && (len(holding) == len(had) || r.Source(s) != FromMailbox):
		return s.Own, nil
	case len(entries) == 0 && len(r.follows(s)) > 0 && !slices.ContainsFunc(had, isOwners):
		return []mailbox.Entry{{Identifier: idOwner, Rights: imap.AllRights}}, nil
	}
	return entries, nil
}

func isOwners(e mailbox.Entry) bool { return e.Identifier == idOwner }
