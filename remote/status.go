package remote

import (
	"context"
	"slices"
	"strings"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapclient"
	"github.com/roost-mail/roost/imapwire"
	"github.com/roost-mail/roost/mailbox"
)

// statusItem is a data item of STATUS, and the capabilities of which any offers it.
type statusItem struct {
	name  string
	item  imap.StatusItems
	needs []string
}

func statusItems() []statusItem {
	return []statusItem{
		{"MESSAGES", imap.StatusMessages, nil},
		{"RECENT", imap.StatusRecent, nil},
		{"UIDNEXT", imap.StatusUIDNext, nil},
		{"UIDVALIDITY", imap.StatusUIDValidity, nil},
		{"UNSEEN", imap.StatusUnseen, nil},
		{"HIGHESTMODSEQ", imap.StatusHighestModSeq, []string{"CONDSTORE", "QRESYNC"}},
		{"MAILBOXID", imap.StatusMailboxID, []string{"OBJECTID"}},
		{"SIZE", imap.StatusSize, []string{"STATUS=SIZE", "IMAP4rev2"}},
		{"DELETED", imap.StatusDeleted, []string{"QUOTA=RES-MESSAGE", "IMAP4rev2"}},
		{"APPENDLIMIT", imap.StatusAppendLimit, []string{"APPENDLIMIT"}},
		{"DELETED-STORAGE", imap.StatusDeletedStorage, []string{"QUOTA=RES-STORAGE"}},
	}
}

// measured are the items that can be worked out from the messages, for a peer
// that does not count them.
const measured = imap.StatusSize | imap.StatusDeleted | imap.StatusDeletedStorage

// offered parts items into those that the peer tells and those that it does not.
func offered(c *imapclient.Conn, items imap.StatusItems) (ask, rest imap.StatusItems) {
	for _, i := range statusItems() {
		if items&i.item == 0 {
			continue
		}
		has := len(i.needs) == 0
		for _, capability := range i.needs {
			has = has || c.Has(capability) || hasValue(c, capability)
		}
		if has {
			ask |= i.item
		} else {
			rest |= i.item
		}
	}
	if ask == 0 {
		ask = imap.StatusMessages // whether there is such a mailbox
	}
	return ask, rest
}

// hasValue reports whether the peer has a capability with a value behind it.
func hasValue(c *imapclient.Conn, capability string) bool {
	return slices.ContainsFunc(c.Capabilities(), func(have string) bool {
		name, _, ok := strings.Cut(have, "=")
		return ok && strings.EqualFold(name, capability)
	})
}

// writeStatusItems appends the list of items.
func writeStatusItems(e *imapwire.Encoder, items imap.StatusItems) {
	sep := byte('(')
	for _, i := range statusItems() {
		if items&i.item != 0 {
			e.Special(sep).RawString(i.name)
			sep = ' '
		}
	}
	e.Special(')')
}

// Status leaves HIGHESTMODSEQ at 0 if the peer has none. Sizes that it does not
// tell are added up from its messages.
func (a *Account) Status(ctx context.Context, name string, items imap.StatusItems) (imap.Status, error) {
	var status imap.Status
	var rest imap.StatusItems
	h := &imapclient.Handler{MailboxStatus: func(s *imapclient.StatusData) { status = s.Status }}
	err := a.named(ctx, h, "STATUS", name, imap.CodeNonExistent, func(e *imapwire.Encoder) {
		var ask imap.StatusItems
		ask, rest = offered(a.control.conn, items)
		writeStatusItems(e.SP(), ask)
	})
	if err == nil && rest&measured != 0 {
		err = a.measure(ctx, name, &status)
	}
	return status, err
}

// measure adds up the sizes of all messages.
func (a *Account) measure(ctx context.Context, name string, status *imap.Status) error {
	box, err := a.Open(ctx, name, true)
	if err != nil {
		return err
	}
	defer box.Close()
	status.Size, status.Deleted, status.DeletedStorage = 0, 0, 0
	return box.Fetch(ctx, box.Info().UIDs, &imap.FetchItems{Flags: true, Size: true}, func(m *mailbox.Message) error {
		status.Size += uint64(m.Size)
		if imap.HasFlag(m.Flags, imap.FlagDeleted) {
			status.Deleted++
			status.DeletedStorage += uint64(m.Size)
		}
		return nil
	})
}

// Bounds of what goes out before it is answered, so that neither side waits for
// the other to read. A line has to be one that all servers take.
const (
	maxListNames   = 40 << 10 // bytes of names in one LIST
	maxStatusAhead = 64       // STATUS commands
	maxAheadBytes  = 16 << 10 // bytes of their names
)

// statuses is a Statuses under way.
type statuses struct {
	account *Account
	items   imap.StatusItems // that the peer tells
	peer    map[string]string
	got     map[string]outcome
}

type outcome struct {
	status imap.Status
	err    error
}

// Statuses takes one exchange with a peer that has LIST-STATUS (RFC 5819): one
// LIST with all names. Names that it does not list, as they are not there or
// without `l`, and those of other peers, go in STATUS commands that do not
// wait for each other.
func (a *Account) Statuses(ctx context.Context, names []string, items imap.StatusItems, emit func(string, imap.Status, error)) {
	s := statuses{account: a}
	var rest imap.StatusItems
	err := a.control.do(ctx, true, func(c *imapclient.Conn) error {
		s.peer, s.got = map[string]string{}, map[string]outcome{}
		s.items, rest = offered(c, items)
		return s.ask(ctx, c, names)
	})
	err = refusal(err, imap.CodeNonExistent)
	for _, name := range names {
		r, ok := s.got[name]
		switch {
		case !ok && err != nil:
			r.err = err
		case !ok:
			r.err = imap.NoMailbox()
		case r.err == nil && rest&measured != 0:
			r.err = a.measure(ctx, name, &r.status)
		}
		emit(name, r.status, r.err)
	}
}

func (s *statuses) ask(ctx context.Context, c *imapclient.Conn, names []string) error {
	for _, name := range names {
		peer, err := s.account.control.toPeer(name)
		if err != nil {
			s.got[name] = outcome{err: err}
			continue
		}
		s.peer[name] = peer
	}
	if c.Has("LIST-STATUS") {
		plain := func(name string) bool { return imap.PatternPrefix(s.peer[name]) == s.peer[name] }
		if err := s.inParts(s.missing(names, plain), len(names), maxListNames, func(part []string) error { return s.list(ctx, c, part) }); err != nil {
			return err
		}
	}
	all := func(string) bool { return true }
	return s.inParts(s.missing(names, all), maxStatusAhead, maxAheadBytes, func(part []string) error { return s.each(ctx, c, part) })
}

// missing are the names that have no answer yet and that want takes.
func (s *statuses) missing(names []string, want func(string) bool) []string {
	var out []string
	for _, name := range names {
		if _, ok := s.got[name]; !ok && want(name) {
			out = append(out, name)
		}
	}
	return out
}

// inParts calls do with parts of names that keep the bounds.
func (s *statuses) inParts(names []string, most, bytes int, do func([]string) error) error {
	for len(names) > 0 {
		n, size := 0, 0
		for n < len(names) && n < most && (n == 0 || size+len(s.peer[names[n]]) < bytes) {
			size += len(s.peer[names[n]]) + 8
			n++
		}
		if err := do(names[:n]); err != nil {
			return err
		}
		names = names[n:]
	}
	return nil
}

// list asks for names with LIST. One that is listed and has no STATUS may not be
// read.
func (s *statuses) list(ctx context.Context, c *imapclient.Conn, names []string) error {
	h := &imapclient.Handler{
		List: func(d *imapclient.ListData) {
			if name, ok := s.account.control.fromPeer(d.Name, d.Delimiter); ok && !slices.ContainsFunc(d.Attrs, isNoMailbox) {
				s.note(name, outcome{err: imap.NoPermission()})
			}
		},
		MailboxStatus: s.noteStatus,
	}
	_, err := c.Do(ctx, h, func(e *imapwire.Encoder) {
		e.RawString(`LIST "" `)
		sep := byte('(')
		for _, name := range names {
			e.Special(sep).Mailbox(s.peer[name])
			sep = ' '
		}
		e.RawString(") RETURN (STATUS ")
		writeStatusItems(e, s.items)
		e.Special(')')
	})
	if c.Broken() != nil {
		return err
	}
	return nil // what a refusal leaves open is asked for by STATUS
}

// each asks for names with a STATUS each.
func (s *statuses) each(ctx context.Context, c *imapclient.Conn, names []string) error {
	h := &imapclient.Handler{MailboxStatus: s.noteStatus}
	sent := make([]*imapclient.Command, 0, len(names))
	for _, name := range names {
		cmd, err := c.Send(ctx, h, func(e *imapwire.Encoder) {
			e.RawString("STATUS ").Mailbox(s.peer[name])
			writeStatusItems(e.SP(), s.items)
		})
		if c.Broken() != nil {
			return err
		}
		if err != nil {
			s.note(name, outcome{err: refusal(err, imap.CodeNonExistent)})
		}
		sent = append(sent, cmd)
	}
	for i, cmd := range sent {
		if cmd == nil {
			continue
		}
		_, err := c.Wait(ctx, cmd)
		if c.Broken() != nil {
			return err
		}
		if err != nil {
			s.note(names[i], outcome{err: refusal(err, imap.CodeNonExistent)})
		}
	}
	return nil
}

// noteStatus takes a STATUS. One that lacks what was asked for is news of
// something else (RFC 5465).
func (s *statuses) noteStatus(d *imapclient.StatusData) {
	if d.Has&s.items != s.items {
		return
	}
	if name, ok := s.account.control.fromPeer(d.Name, s.account.control.delimiter); ok {
		s.note(name, outcome{status: d.Status})
	}
}

// note keeps an answer about a name that was asked for.
func (s *statuses) note(name string, r outcome) {
	if _, asked := s.peer[name]; asked {
		s.got[name] = r
	}
}
