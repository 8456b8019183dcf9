// Package share keeps the sharing index: who shares which mailboxes with whom.
//
// The index is derived from the ACLs in the owners' homes and lives in a dict,
// so that a LIST of others' mailboxes asks no owner. It holds
//
//	shared/shared-boxes/user/<reader>/<owner> = 1    Dovecot's keys: some mailbox
//	shared/shared-boxes/group/<group>/<owner> = 1    of owner has an entry with l
//	shared/shared-boxes/anyone/<owner> = 1
//	shared/roost/owner/<owner> = <epoch> <version>   the next keys say it all
//	shared/roost/box/<owner>/<mailbox>               its ACL, as a dovecot-acl file, with dates
//
// An owner without the third kind of key is kept by another server (or left
// stale keys behind) and has to be asked. Its value says which state of the home
// the keys show, so that a backend that lost the owner, and is late, overwrites
// nothing. Names in keys are escaped by dict.Escape, which leaves ordinary names
// as they are.
//
// A Publisher brings the dict into line with an owner's home after each change
// and again until it succeeds, and looks for what went astray in sweeps; an Index
// answers LIST. Nothing here decides rights: package acl evaluates, and the
// owner's backend has the last word.
package share

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/roost-mail/roost/acl"
	"github.com/roost-mail/roost/dict"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

const (
	boxesPrefix = "shared/shared-boxes/"
	ownerPrefix = "shared/roost/owner/"
	boxPrefix   = "shared/roost/box/"
)

func userPrefix(user string) string   { return boxesPrefix + "user/" + dict.Escape(user) + "/" }
func groupPrefix(group string) string { return boxesPrefix + "group/" + dict.Escape(group) + "/" }
func boxesOf(owner string) string     { return boxPrefix + dict.Escape(owner) + "/" }
func ownerKey(owner string) string    { return ownerPrefix + dict.Escape(owner) }

const anyonePrefix = boxesPrefix + "anyone/"

// stamp says which state of an owner's home the index shows.
type stamp struct{ epoch, version uint64 }

func (s stamp) String() string { return fmt.Sprintf("%d %d", s.epoch, s.version) }

// parseStamp reads an owner's value; one that can't be read is older than all others.
func parseStamp(value string) (s stamp) {
	if n, err := fmt.Sscanf(value, "%d %d", &s.epoch, &s.version); n != 2 || err != nil {
		return stamp{}
	}
	return s
}

func (s stamp) after(other stamp) bool {
	return s.epoch > other.epoch || s.epoch == other.epoch && s.version > other.version
}

// destination is the part of a Dovecot key that an entry with l stands for:
// "user/bob", "group/team" or "anyone"; "" for the owner and for what grants no l.
func destination(e mailbox.Entry, owner string) string {
	if e.Negative || !e.Rights.Has(imap.RightLookup) {
		return ""
	}
	switch kind, name, _ := strings.Cut(e.Identifier, "="); kind {
	case "user":
		if name == owner {
			return ""
		}
		return "user/" + dict.Escape(name)
	case "group", "group-override":
		return "group/" + dict.Escape(name)
	case "anyone", "authenticated":
		return "anyone"
	}
	return ""
}

// wanted are the keys and values that say what owner shares, without the stamp.
// boxes are the entries by mailbox; those that grant others nothing need no key.
func wanted(owner string, boxes map[string][]mailbox.Entry) map[string]string {
	keys := map[string]string{}
	for name, entries := range boxes {
		places := destinations(entries, owner)
		for _, key := range places {
			keys[key] = "1"
		}
		if len(places) > 0 {
			keys[boxesOf(owner)+dict.Escape(name)] = acl.FormatShared(entries)
		}
	}
	return keys
}

// destinations are the Dovecot keys that entries of a mailbox of owner's stand for.
func destinations(entries []mailbox.Entry, owner string) (keys []string) {
	for _, e := range entries {
		if d := destination(e, owner); d != "" {
			keys = append(keys, boxesPrefix+d+"/"+dict.Escape(owner))
		}
	}
	return keys
}

// ownerOf is whom a key speaks of; "" for keys that are none of the index's.
func ownerOf(key string) string {
	if rest, ok := strings.CutPrefix(key, boxesPrefix); ok {
		return dict.Unescape(rest[strings.LastIndexByte(rest, '/')+1:])
	}
	if rest, ok := strings.CutPrefix(key, ownerPrefix); ok {
		return dict.Unescape(rest)
	}
	rest, ok := strings.CutPrefix(key, boxPrefix)
	owner, _, more := strings.Cut(rest, "/")
	if !ok || !more {
		return ""
	}
	return dict.Unescape(owner)
}

// difference is what turns have into want, in the order of the keys.
func difference(have, want map[string]string) []dict.Change {
	var changes []dict.Change
	for key, value := range want {
		if old, ok := have[key]; !ok || old != value {
			changes = append(changes, dict.Set(key, value))
		}
	}
	for key := range have {
		if _, ok := want[key]; !ok {
			changes = append(changes, dict.Unset(key))
		}
	}
	slices.SortFunc(changes, func(a, b dict.Change) int { return cmp.Compare(a.Key, b.Key) })
	return changes
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
