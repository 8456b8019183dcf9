package acl

import (
	"fmt"
	"slices"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// Line is an entry, and what it does to what somebody may do.
type Line struct {
	mailbox.Entry
	Not    string      // why it does not matter; empty: it does
	Adds   imap.Rights // what is allowed behind it and was not before
	Takes  imap.Rights // what is not allowed behind it and was before
	Behind imap.Rights // what is allowed by all up to it
}

// Explain is how Rights works out what id may do: all entries in the order in which
// they are heard, those that don't matter to id among them. What an owner may do
// before any is heard, and keeps, is in the lines as well.
func Explain(entries []mailbox.Entry, id Identity) []Line {
	all := make([]heard, 0, len(entries))
	for _, e := range entries {
		k, _, _ := split(e.Identifier)
		all = append(all, heard{e, k})
	}
	slices.SortStableFunc(all, func(a, b heard) int { return a.compare(&b) })
	j := begin(id)
	lines := make([]Line, 0, len(all))
	for _, h := range all {
		l := Line{Entry: h.Entry, Not: id.deaf(h)}
		before := j.granted &^ j.denied
		if l.Not == "" {
			j.hear(h, id)
		}
		l.Behind = j.granted &^ j.denied
		l.Adds, l.Takes = l.Behind&^before, before&^l.Behind
		lines = append(lines, l)
	}
	return lines
}

// deaf is why an entry does not matter to id; empty if it does.
func (id Identity) deaf(h heard) string {
	k, name, ok := split(h.Identifier)
	switch {
	case !ok:
		return "it has no identifier that is known"
	case k < kindOwner && id.isOwner() && !h.Global:
		return "the owner's own rights outweigh it"
	case id.applies(k, name):
		return ""
	case k == kindOwner:
		return fmt.Sprintf("%s is not the owner", id.Acting)
	case k == kindUser:
		return "it is about another user"
	}
	return fmt.Sprintf("%s is not in this group", id.Acting)
}

// Matching are those of entries that matter to id, in the order in which they are heard.
func Matching(entries []mailbox.Entry, id Identity) []mailbox.Entry {
	var out []mailbox.Entry
	for _, h := range hear(nil, entries, id) {
		out = append(out, h.Entry)
	}
	return out
}

// Sorted are entries in the order in which they are heard.
func Sorted(entries []mailbox.Entry) []mailbox.Entry {
	out := slices.Clone(entries)
	slices.SortStableFunc(out, func(a, b mailbox.Entry) int {
		ka, _, _ := split(a.Identifier)
		kb, _, _ := split(b.Identifier)
		return (&heard{a, ka}).compare(&heard{b, kb})
	})
	return out
}
