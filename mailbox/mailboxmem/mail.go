// Package mailboxmem is a user's mail in memory: the home that is so plain that
// it is obviously right. It is the model that other homes are compared with,
// and what the server's tests serve.
//
// One mutex, in Mail, guards everything; Accounts and Mailboxes are views that
// take it for each step. Bodies and flag lists are never changed in place, so
// they may be read after it was let go. Nothing survives the process, rights
// are kept (mailbox.EntryKeeper) but not judged, and nothing is made fast.
package mailboxmem

import (
	"fmt"
	"strings"
	"sync"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// Mail is one owner's mail. Its methods and those of different Accounts may be
// called from many goroutines at once.
type Mail struct {
	owner string

	mu           sync.Mutex // guards what follows and all that it refers to
	boxes        map[string]*box
	subscribed   map[string]map[string]bool // names, by acting user
	lastValidity uint32
	lastID       int
	metadata     metadata             // of the account itself
	quota        *mailbox.QuotaPolicy // nil: none
	private      []imap.Flag          // that readers may have for themselves
	readersOwn   bool                 // and do, where a mailbox says nothing
	shareVersion uint64
	published    uint64
	observers    map[*account]*observer
}

// New makes the mail of owner: an empty INBOX.
func New(owner string) *Mail {
	m := &Mail{
		owner:      owner,
		boxes:      map[string]*box{},
		subscribed: map[string]map[string]bool{},
		metadata:   metadata{},
		observers:  map[*account]*observer{},
		private:    []imap.Flag{imap.FlagSeen},
	}
	m.add(imap.Inbox, nil)
	return m
}

// SetPrivateFlags says which flags readers have for themselves: \Seen, without it.
// It is called before there are sessions.
func (m *Mail) SetPrivateFlags(flags ...imap.Flag) { m.private = flags }

// split parts flags into those that readers may have for themselves and others.
func (m *Mail) split(flags []imap.Flag) (own, rest []imap.Flag) {
	for _, f := range flags {
		if imap.HasFlag(m.private, f) {
			own = append(own, f)
		} else {
			rest = append(rest, f)
		}
	}
	return own, rest
}

// withKeywords adds the private keywords.
func (m *Mail) withKeywords(flags []imap.Flag) []imap.Flag {
	for _, f := range m.private {
		if f[0] != '\\' && !imap.HasFlag(flags, f) {
			flags = append(flags, f)
		}
	}
	return flags
}

// As is the mail as acting sees it. With privateSeen an acting user who is not
// the owner has private flags of their own on every message, unset at first,
// where a mailbox does not say otherwise; everyone else shares the owner's.
//
// The Account is a mailbox.EntryKeeper and a mailbox.ShareLog.
func (m *Mail) As(acting string, privateSeen bool) mailbox.Account {
	if acting != m.owner {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.readersOwn = privateSeen
	}
	return &account{mail: m, acting: acting, privateSeen: privateSeen}
}

// newID makes an ID that nothing else of this owner has.
func (m *Mail) newID() imap.ObjectID {
	m.lastID++
	return imap.ObjectID(fmt.Sprintf("M%x-%d", m.owner, m.lastID))
}

// add makes an empty mailbox. No mailbox ever gets the UIDVALIDITY of another.
func (m *Mail) add(name string, entries []mailbox.Entry) *box {
	m.lastValidity++
	b := newBox(m, name, m.lastValidity, entries)
	b.id = m.newID()
	m.boxes[name] = b
	return b
}

// addWithParents makes a mailbox and the missing levels above it, all with the
// ACL of the nearest level that exists.
func (m *Mail) addWithParents(name string) *box {
	var entries []mailbox.Entry
	mode := ""
	missing := []string{name}
	for above := parent(name); above != ""; above = parent(above) {
		if b := m.boxes[above]; b != nil {
			entries, mode = b.entries, b.mode
			break
		}
		missing = append(missing, above)
	}
	for _, level := range missing {
		m.add(level, entries).mode = mode
	}
	return m.boxes[name]
}

func (m *Mail) standing(b *box) mailbox.Standing {
	s := mailbox.Standing{Name: b.name, Own: b.entries, Inbox: m.boxes[imap.Inbox].entries}
	for above := parent(b.name); above != "" && len(s.Above) == 0; above = parent(above) {
		if p := m.boxes[above]; p != nil {
			s.Above = p.entries
		}
	}
	return s
}

// parent is the level above name, "" if there is none.
func parent(name string) string {
	i := strings.LastIndexByte(name, imap.Delimiter)
	return name[:max(i, 0)]
}
