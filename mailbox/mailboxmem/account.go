package mailboxmem

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/message"
)

// account is Mail as one acting user sees it. It has no state of its own.
type account struct {
	mail        *Mail
	acting      string
	privateSeen bool
}

// in is a as the reader of b.
func (a *account) in(b *box) reader {
	if a.acting == a.mail.owner {
		return reader{}
	}
	return reader{who: a.acting, own: b.mode == "private" || b.mode == "" && a.privateSeen}
}

// ownIn is whether readers have flags of their own in a mailbox of that mode.
func (m *Mail) ownIn(mode string) bool {
	return mode == "private" || mode == "" && m.readersOwn
}

var (
	_ mailbox.Account     = (*account)(nil)
	_ mailbox.EntryKeeper = (*account)(nil)
	_ mailbox.ShareLog    = (*account)(nil)
	_ mailbox.Metadata    = (*account)(nil)
	_ mailbox.Quota       = (*account)(nil)
)

// ownsRecent reports whether sessions of a take away \Recent: only the owner's do.
func (a *account) ownsRecent() bool { return a.acting == a.mail.owner }

// lock takes the mutex and returns what lets it go.
func (a *account) lock() (unlock func()) {
	a.mail.mu.Lock()
	return a.mail.mu.Unlock
}

func (a *account) List(_ context.Context, patterns []string) ([]mailbox.ListEntry, error) {
	defer a.lock()()
	var all []mailbox.ListEntry
	for name, b := range a.mail.boxes {
		all = append(all, mailbox.ListEntry{Name: name, Attrs: a.uses(b)})
	}
	return mailbox.Select(all, patterns), nil
}

func (a *account) Subscriptions(context.Context) ([]string, error) {
	defer a.lock()()
	return slices.Sorted(maps.Keys(a.mail.subscribed[a.acting])), nil
}

func (a *account) SetSubscribed(_ context.Context, name string, subscribed bool) error {
	defer a.lock()()
	defer a.mail.changed()
	if !subscribed {
		delete(a.mail.subscribed[a.acting], name)
		return nil
	}
	if a.mail.subscribed[a.acting] == nil {
		a.mail.subscribed[a.acting] = map[string]bool{}
	}
	a.mail.subscribed[a.acting][name] = true
	return nil
}

func (a *account) Status(_ context.Context, name string, _ imap.StatusItems) (imap.Status, error) {
	defer a.lock()()
	b := a.mail.boxes[name]
	if b == nil {
		return imap.Status{}, imap.NoMailbox()
	}
	status := imap.Status{
		Messages:      uint32(len(b.messages)),
		UIDNext:       b.uidNext,
		UIDValidity:   b.uidValidity,
		HighestModSeq: b.highestModSeq(a.in(b)),
		MailboxID:     b.id,
	}
	if q := a.mail.quota; q != nil {
		status.AppendLimit = uint64(q.MaxMessage)
	}
	for _, m := range b.messages {
		if !m.seenBy(a.in(b)) {
			status.Unseen++
		}
		if a.ownsRecent() && m.uid >= b.recentFrom {
			status.Recent++
		}
		status.Size += uint64(len(m.body))
		if imap.HasFlag(m.flags, imap.FlagDeleted) {
			status.Deleted++
			status.DeletedStorage += uint64(len(m.body))
		}
	}
	return status, nil
}

func (a *account) Statuses(ctx context.Context, names []string, items imap.StatusItems, emit func(string, imap.Status, error)) {
	mailbox.StatusEach(ctx, a, names, items, emit)
}

func (a *account) Open(_ context.Context, name string, readOnly bool) (mailbox.Mailbox, error) {
	defer a.lock()()
	b := a.mail.boxes[name]
	if b == nil {
		return nil, imap.NoMailbox()
	}
	return newHandle(a, b, readOnly), nil
}

func (a *account) Create(_ context.Context, name string, use ...imap.Attr) error {
	defer a.lock()()
	if err := imap.CheckName(name); err != nil {
		return err
	}
	if a.mail.boxes[name] != nil {
		return imap.Errorf(imap.CodeAlreadyExists, "Mailbox already exists")
	}
	a.mail.addWithParents(name).metadata.set(a.acting, []imap.MetadataEntry{
		{Name: imap.MetadataSpecialUse, Value: imap.FormatSpecialUses(use)},
	})
	a.mail.shareVersion++
	a.mail.changed()
	return nil
}

func (a *account) Delete(_ context.Context, name string) error {
	defer a.lock()()
	b := a.mail.boxes[name]
	switch {
	case name == imap.Inbox:
		return imap.Errorf(imap.CodeCannot, "INBOX can't be deleted")
	case b == nil:
		return imap.NoMailbox()
	}
	delete(a.mail.boxes, name)
	b.gone = true
	b.wake()
	a.mail.shareVersion++
	return nil
}

func (a *account) Rename(_ context.Context, from, to string) error {
	defer a.lock()()
	if a.mail.boxes[from] == nil {
		return imap.NoMailbox()
	}
	moves, err := a.mail.renames(from, to)
	if err != nil {
		return err
	}
	a.mail.shareVersion++
	defer a.mail.changed()
	if from == imap.Inbox {
		a.emptyInboxInto(to)
		return nil
	}
	moved := map[string]*box{}
	for old, name := range moves {
		moved[name] = a.mail.boxes[old]
		moved[name].name = name
		delete(a.mail.boxes, old)
	}
	maps.Copy(a.mail.boxes, moved)
	if above := parent(to); above != "" && a.mail.boxes[above] == nil {
		a.mail.addWithParents(above)
	}
	return nil
}

// becomesOwn reports whether private flags are shared in from and not in to.
func (m *Mail) becomesOwn(from, to *box) bool { return !m.ownIn(from.mode) && m.ownIn(to.mode) }

// renames says what becomes of each name in RENAME from to, or why it can't be.
// What is below INBOX stays where it is (RFC 9051 section 6.3.6).
func (m *Mail) renames(from, to string) (map[string]string, error) {
	below := from + string(imap.Delimiter)
	if to != from && strings.HasPrefix(to, below) && from != imap.Inbox {
		return nil, imap.Errorf(imap.CodeCannot, "A mailbox can't be moved below itself")
	}
	moves := map[string]string{from: to}
	for name := range m.boxes {
		if rest, is := strings.CutPrefix(name, below); is && from != imap.Inbox {
			moves[name] = to + string(imap.Delimiter) + rest
		}
	}
	for _, name := range moves {
		if err := imap.CheckName(name); err != nil {
			return nil, err
		}
		if m.boxes[name] != nil {
			return nil, imap.Errorf(imap.CodeAlreadyExists, "Mailbox already exists")
		}
	}
	return moves, nil
}

// emptyInboxInto is the RENAME of INBOX: its messages move as by MOVE.
func (a *account) emptyInboxInto(to string) {
	inbox, dest := a.mail.boxes[imap.Inbox], a.mail.addWithParents(to)
	dest.metadata = inbox.metadata.clone()
	if dest.metadata[""][imap.MetadataPrivateFlags] != nil {
		dest.mode = inbox.mode
	}
	for _, msg := range inbox.messages {
		dest.take(msg, a.mail.becomesOwn(inbox, dest))
	}
	inbox.remove(func(*msg) bool { return true })
	inbox.wake()
}

func (a *account) Append(_ context.Context, name string, next mailbox.NextMessage) (imap.AppendData, error) {
	if err := a.appendable(name); err != nil {
		return imap.AppendData{}, err
	}
	// Clients may be slow to send; no lock is held meanwhile.
	var fresh []*msg
	for {
		m, err := next()
		if mailbox.AtEnd(err) {
			break
		}
		if err != nil {
			return imap.AppendData{}, err
		}
		msg, err := a.readMessage(m)
		if err != nil {
			return imap.AppendData{}, err
		}
		fresh = append(fresh, msg)
	}
	defer a.lock()()
	b := a.mail.boxes[name]
	if b == nil || len(fresh) == 0 {
		return imap.AppendData{}, missing(b)
	}
	if err := a.mail.admit(b.name, fresh); err != nil {
		return imap.AppendData{}, err
	}
	var uids imap.UIDSet
	for _, msg := range fresh {
		if !msg.email.Valid() {
			msg.email = a.mail.newID()
		}
		msg.marks = map[string]mark{}
		if own, rest := a.mail.split(msg.flags); len(own) > 0 {
			msg.flags, msg.marks[a.in(b).name()] = rest, mark{flags: own}
			if a.in(b).own {
				b.private[a.acting] = b.lastModSeq + 1
			}
		}
		uids = uids.Union(imap.UIDSetOf(b.take(msg, false)))
	}
	b.wake()
	return imap.AppendData{UIDValidity: b.uidValidity, UIDs: uids}, nil
}

func (a *account) appendable(name string) error {
	defer a.lock()()
	return missing(a.mail.boxes[name])
}

// missing is the refusal of APPEND and COPY if the mailbox b does not exist.
func missing(b *box) error {
	if b == nil {
		return imap.NoMailboxTryCreate()
	}
	return nil
}

// readMessage takes a new message in. Its \Seen is the acting user's own.
func (a *account) readMessage(m *mailbox.NewMessage) (*msg, error) {
	body, err := io.ReadAll(io.LimitReader(m.Body, m.Size))
	if err != nil {
		return nil, fmt.Errorf("read message: %w", err)
	}
	if int64(len(body)) != m.Size {
		return nil, fmt.Errorf("read message: %w", io.ErrUnexpectedEOF)
	}
	msg := &msg{date: m.InternalDate, body: body, digest: message.ScanBytes(body), email: m.EmailID}
	if msg.date.IsZero() {
		msg.date = time.Now()
	}
	msg.date = msg.date.Truncate(time.Second)
	for _, f := range m.Flags {
		if !imap.HasFlag(msg.flags, f) {
			msg.flags = append(msg.flags, f)
		}
	}
	return msg, nil
}

// Forget forgets the private flags of a reader who has lost all access.
func (a *account) Forget(reader string) {
	defer a.lock()()
	for _, b := range a.mail.boxes {
		for _, m := range b.messages {
			delete(m.marks, reader)
		}
	}
}

// Close does nothing: an account holds nothing.
func (a *account) Close() error { return nil }

func (a *account) Standing(_ context.Context, name string) (mailbox.Standing, error) {
	defer a.lock()()
	b := a.mail.boxes[name]
	if b == nil {
		return mailbox.Standing{}, imap.NoMailbox()
	}
	return a.mail.standing(b), nil
}

func (a *account) UpdateEntries(_ context.Context, name string, change func(mailbox.Standing) ([]mailbox.Entry, error)) error {
	defer a.lock()()
	b := a.mail.boxes[name]
	if b == nil {
		return imap.NoMailbox()
	}
	entries, err := change(a.mail.standing(b))
	if err != nil {
		return err
	}
	b.entries = slices.Clone(entries)
	a.mail.shareVersion++
	for _, b := range a.mail.boxes { // others may follow it
		b.wakeAll()
	}
	return nil
}

func (a *account) Expiry(context.Context) (first int64, _ error) {
	defer a.lock()()
	for _, b := range a.mail.boxes {
		first = mailbox.FirstExpiry(first, b.entries)
	}
	return first, nil
}

func (a *account) Mailboxes(context.Context) ([]string, error) {
	defer a.lock()()
	return slices.Sorted(maps.Keys(a.mail.boxes)), nil
}

func (a *account) Uses(context.Context) (map[string][]imap.Attr, error) {
	defer a.lock()()
	out := map[string][]imap.Attr{}
	for name, b := range a.mail.boxes {
		if uses := a.uses(b); len(uses) > 0 {
			out[name] = uses
		}
	}
	return out, nil
}

func (a *account) ShareState() mailbox.ShareState {
	defer a.lock()()
	return mailbox.ShareState{Epoch: 1, Version: a.mail.shareVersion, Published: a.mail.published}
}

func (a *account) MarkShared(_ context.Context, version uint64) error {
	defer a.lock()()
	a.mail.published = version
	return nil
}
