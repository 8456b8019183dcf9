package scenario

import (
	"fmt"
	"maps"
	"slices"
)

// ledger is what one user's client was answered, and so what the user's mail has to
// be. It belongs to the goroutine of that client.
type ledger struct {
	user     string
	validity map[string]uint32
	lastUID  map[string]uint32
	messages map[string]*fate // by id
	grants   map[grant]trust
	problems []string

	acknowledged, refused, unknown int
}

// fate is what became of one message. After a change whose outcome is unknown the
// client leaves the message alone, so that there is never more than one.
type fate struct {
	copies  []copyOf
	pending *change // done or not; nobody knows
}

// copyOf is a message in a mailbox. uid 0 is one that was not told.
type copyOf struct {
	mailbox string
	uid     uint32
	flagged bool
}

// change is what a client asked for.
type change struct {
	kind    kind
	mailbox string // where the message is, or comes to
	uid     uint32
	to      string // of COPY and MOVE
	on      bool   // of a flag
}

type kind int

const (
	appending kind = iota
	flagging
	expunging
	copying
	moving
)

func (k kind) String() string {
	return [...]string{"APPEND", "STORE", "EXPUNGE", "COPY", "MOVE"}[k]
}

// apply gives the copies after a change. uid is that of the new copy.
func (c *change) apply(copies []copyOf, uid uint32) []copyOf {
	out := slices.Clone(copies)
	at := slices.IndexFunc(out, func(o copyOf) bool { return o.mailbox == c.mailbox && o.uid == c.uid })
	switch c.kind {
	case appending:
		return append(out, copyOf{mailbox: c.mailbox, uid: uid})
	case flagging:
		out[at].flagged = c.on
	case expunging:
		out = slices.Delete(out, at, at+1)
	case copying:
		out = append(out, copyOf{c.to, uid, out[at].flagged})
	case moving:
		out[at] = copyOf{c.to, uid, out[at].flagged}
	}
	return out
}

func newLedger(user string) *ledger {
	return &ledger{user: user, validity: map[string]uint32{}, lastUID: map[string]uint32{}, messages: map[string]*fate{}, grants: map[grant]trust{}}
}

// maxProblems bounds what is told of one user.
const maxProblems = 10

func (l *ledger) problem(format string, args ...any) {
	if len(l.problems) < maxProblems {
		l.problems = append(l.problems, l.user+": "+fmt.Sprintf(format, args...))
	}
}

// grant is what an owner shares with whom, and trust whether it is shared.
type (
	grant struct{ mailbox, reader string }
	trust struct {
		on      bool
		pending bool // of a change nobody knows whether it was done
	}
)

// granted notes how a grant, or its end, was answered.
func (l *ledger) granted(g grant, on bool, o outcome) {
	switch o {
	case acknowledged:
		l.acknowledged++
		l.grants[g] = trust{on: on}
	case refused:
		l.refused++
	case unknown:
		l.unknown++
		l.grants[g] = trust{on: on, pending: true}
	}
}

// seeGrants checks what a mailbox's ACL says, which is what holds from now on.
func (l *ledger) seeGrants(mailbox string, readers []string) {
	for _, reader := range readers {
		g := grant{mailbox, reader}
		if _, asked := l.grants[g]; !asked {
			l.problem("%s is shared with %s, and nobody asked for that", mailbox, reader)
			l.grants[g] = trust{on: true}
		}
	}
	for g, t := range l.grants {
		if g.mailbox != mailbox {
			continue
		}
		is := slices.Contains(readers, g.reader)
		if is != t.on && !t.pending {
			l.problem("%s is shared with %s: %v; acknowledged was %v", mailbox, g.reader, is, t.on)
		}
		l.grants[g] = trust{on: is}
	}
}

// outcome is how a change was answered.
type outcome int

const (
	acknowledged outcome = iota
	refused
	unknown
)

// answered notes how a change was answered. p is where a new copy is.
func (l *ledger) answered(id string, c change, p Place, o outcome) {
	f := l.messages[id]
	if f == nil {
		f = &fate{}
		l.messages[id] = f
	}
	switch o {
	case acknowledged:
		l.acknowledged++
		f.copies = c.apply(f.copies, p.UID)
		switch c.kind {
		case appending:
			l.place(c.mailbox, p)
		case copying, moving:
			l.place(c.to, p)
		}
	case refused:
		l.refused++
	case unknown:
		l.unknown++
		f.pending = &c
	}
}

// place checks a UID that was told with an OK: greater than all before it.
func (l *ledger) place(mailbox string, p Place) {
	l.sameValidity(mailbox, p.Validity)
	if p.UID <= l.lastUID[mailbox] {
		l.problem("%s: UID %d was given after UID %d", mailbox, p.UID, l.lastUID[mailbox])
	}
	l.lastUID[mailbox] = max(l.lastUID[mailbox], p.UID)
}

func (l *ledger) sameValidity(mailbox string, v uint32) {
	if old := l.validity[mailbox]; old != 0 && old != v {
		l.problem("%s: UIDVALIDITY was %d and is %d", mailbox, old, v)
	}
	l.validity[mailbox] = v
}

// see checks what was read of some mailboxes, at rest, against what can be.
func (l *ledger) see(seen map[string][]Message) {
	found := map[string][]copyOf{}
	for mailbox, messages := range seen {
		for _, m := range messages {
			found[m.ID] = append(found[m.ID], copyOf{mailbox, m.UID, m.Flagged})
		}
	}
	for _, id := range slices.Sorted(maps.Keys(found)) {
		if l.messages[id] == nil {
			l.problem("%q is there, and nobody put it there: %v", id, found[id])
		}
	}
	for _, id := range slices.Sorted(maps.Keys(l.messages)) {
		f := l.messages[id]
		wanted := within(f.copies, seen)
		if same(wanted, found[id]) || f.pending != nil && same(within(f.pending.apply(f.copies, 0), seen), found[id]) {
			continue
		}
		if f.pending != nil {
			l.problem("%s is %v; acknowledged was %v, and a %s without an answer", id, found[id], wanted, f.pending.kind)
		} else {
			l.problem("%s is %v; acknowledged was %v", id, found[id], wanted)
		}
	}
}

// within are the copies in those mailboxes that were read.
func within(copies []copyOf, seen map[string][]Message) []copyOf {
	var out []copyOf
	for _, c := range copies {
		if _, read := seen[c.mailbox]; read {
			out = append(out, c)
		}
	}
	return out
}

// same says whether what was found is what was wanted, in any order.
func same(wanted, found []copyOf) bool {
	if len(wanted) != len(found) {
		return false
	}
	left := slices.Clone(found)
	slices.SortFunc(wanted, func(a, b copyOf) int { return int(b.uid) - int(a.uid) }) // what may have any UID comes last
	for _, w := range wanted {
		at := slices.IndexFunc(left, func(f copyOf) bool {
			return f.mailbox == w.mailbox && f.flagged == w.flagged && (f.uid == w.uid || w.uid == 0)
		})
		if at < 0 {
			return false
		}
		left = slices.Delete(left, at, at+1)
	}
	return true
}

// String is how a message names a copy.
func (c copyOf) String() string {
	s := fmt.Sprintf("%s/%d", c.mailbox, c.uid)
	if c.flagged {
		s += `\Flagged`
	}
	return s
}
