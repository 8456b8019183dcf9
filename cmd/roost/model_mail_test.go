package main

import (
	"slices"
	"strings"
)

// allRights are the letters of all rights, in the order in which they are shown.
const allRights = "lrwstipekxa"

// mailMessage is a message. \Seen is each user's own.
type mailMessage struct {
	uid   int
	text  string
	flags map[string]bool // without \Seen
	seen  map[string]bool // by user
}

// mailBox is a mailbox.
type mailBox struct {
	owner, name string
	validity    string
	next        int // UID
	messages    []*mailMessage
	acl         map[string]string // identifiers as SETACL has them
	gone        bool
}

// modelGroups are the groups that testdata/rig puts the users into.
var modelGroups = map[string][]string{"someone5": {"$team", "$staff"}}

// rights are those of a user: a stronger kind of identifier outweighs the
// weaker ones, for what it grants and, apart from that, for what it denies.
// Owners have all but what entries of their own say, and always administer.
func (b *mailBox) rights(user string) string {
	granted, denied := "", ""
	kinds := [][]string{{"anyone"}, {"authenticated"}, modelGroups[user], {user}}
	if user == b.owner {
		granted, kinds = allRights, [][]string{{"owner"}, {user}}
	}
	for _, kind := range kinds {
		var plus, minus string
		var hasPlus, hasMinus bool
		for _, id := range kind {
			letters, ok := b.acl[id]
			plus, hasPlus = plus+letters, hasPlus || ok
			letters, ok = b.acl["-"+id]
			minus, hasMinus = minus+letters, hasMinus || ok
		}
		if hasPlus {
			granted = plus
		}
		if hasMinus {
			denied = minus
		}
	}
	return lettersIf(func(c rune) bool {
		return strings.ContainsRune(granted, c) && !strings.ContainsRune(denied, c) || c == 'a' && user == b.owner
	})
}

// lettersIf are the letters that fulfil a condition, in order.
func lettersIf(is func(rune) bool) string {
	return strings.Map(func(c rune) rune {
		if is(c) {
			return c
		}
		return -1
	}, allRights)
}

func mayAll(rights, need string) bool {
	return !strings.ContainsFunc(need, func(c rune) bool { return !strings.ContainsRune(rights, c) })
}

// virtual adds the obsolete letters of RFC 4314 section 2.1.1.
func virtual(rights string) string {
	out := rights
	if strings.ContainsAny(rights, "kx") {
		out += "c"
	}
	if strings.ContainsAny(rights, "te") {
		out += "d"
	}
	return out
}

// The answers that refuse.
const (
	noPerm    = "NO [NOPERM]"
	noMailbox = "NO [NONEXISTENT] Mailbox doesn't exist"
	tryCreate = "NO [TRYCREATE] Mailbox doesn't exist"
)

// lacks is the answer to a user who needs rights that are not granted, "" if
// they are. missing is what hides the mailbox.
func (b *mailBox) lacks(user, need, missing string) string {
	switch rights := b.rights(user); {
	case mayAll(rights, need):
		return ""
	case mayAll(rights, "l"):
		return noPerm
	}
	return missing
}

// nameFor is what a user calls the mailbox.
func (b *mailBox) nameFor(user string) string {
	switch {
	case user == b.owner:
		return b.name
	case b.name == "INBOX":
		return "shared/" + b.owner
	}
	return "shared/" + b.owner + "/" + b.name
}

func (b *mailBox) find(uid int) *mailMessage {
	for _, m := range b.messages {
		if m.uid == uid {
			return m
		}
	}
	return nil
}

// add puts a message in as a user with those rights may: flags that the user
// may not set are left out.
func (b *mailBox) add(user, text string, flags []string) int {
	m := &mailMessage{uid: b.next, text: text, flags: map[string]bool{}, seen: map[string]bool{}}
	b.next++
	m.change(user, "+FLAGS", flags, b.rights(user))
	b.messages = append(b.messages, m)
	return m.uid
}

// remove takes the messages out that fulfil a condition.
func (b *mailBox) remove(is func(*mailMessage) bool) {
	b.messages = slices.DeleteFunc(b.messages, is)
}

// rightFor is the right that a flag needs.
func rightFor(f string) string {
	switch f {
	case `\Seen`:
		return "s"
	case `\Deleted`:
		return "t"
	}
	return "w"
}

// change is STORE by a user with those rights.
func (m *mailMessage) change(user, op string, flags []string, rights string) {
	set := func(f string, on bool) {
		switch {
		case !mayAll(rights, rightFor(f)):
		case f == `\Seen`:
			m.seen[user] = on
		default:
			m.flags[f] = on
		}
	}
	if op == "FLAGS" {
		for _, f := range modelFlags {
			set(f, false)
		}
	}
	for _, f := range flags {
		set(f, op != "-FLAGS")
	}
}

var modelFlags = []string{`\Seen`, `\Deleted`, `\Flagged`, `\Answered`, `\Draft`, "$Label1", "todo"}

// visible are the flags that a user sees.
func (m *mailMessage) visible(user string) []string {
	var out []string
	for _, f := range modelFlags {
		if m.flags[f] || f == `\Seen` && m.seen[user] {
			out = append(out, f)
		}
	}
	return out
}

// setACL changes an entry. From one's own entry the right to administer can't
// be taken; a negative entry without rights is none.
func (b *mailBox) setACL(user, id, change, letters string) {
	letters = strings.NewReplacer("c", "kx", "d", "te").Replace(letters)
	self := id == user || id == "owner" && user == b.owner
	old, known := b.acl[id]
	if !known && self && user == b.owner && change != "" {
		old = allRights
	}
	b.acl[id] = lettersIf(func(c rune) bool {
		named, before := strings.ContainsRune(letters, c), strings.ContainsRune(old, c)
		switch {
		case self && c == 'a':
			return true
		case change == "+":
			return before || named
		case change == "-":
			return before && !named
		}
		return named
	})
	if id[0] == '-' && b.acl[id] == "" {
		delete(b.acl, id)
	}
}
