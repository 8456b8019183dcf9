package store

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// View says who looks at the mail.
type View struct {
	Acting string // the acting user

	// PrivateFlags are the flags that each acting user who is not the owner has
	// for themselves, in mailboxes where that is so; nil is \Seen. PrivateSeen
	// says whether it is so where a mailbox says nothing. What the last session
	// opened for such a user says is in force.
	PrivateFlags []imap.Flag
	PrivateSeen  bool

	// Quota bounds the account's mail, whoever brings it; nil does not.
	Quota *mailbox.QuotaPolicy
}

// view is a View in the terms of one account.
type view struct {
	acting  string
	owner   bool        // \Recent is for the owner's sessions
	flags   []imap.Flag // View.PrivateFlags
	private bool        // View.PrivateSeen
	quota   *mailbox.QuotaPolicy
}

// Session is an Account as one acting user sees it.
type Session struct {
	*account
	view     view
	closed   atomic.Bool
	settled  bool      // the settings are in force; the session's goroutine has it
	observer *observer // nil while nothing is observed; under account.mu
}

var (
	_ mailbox.Account     = (*Session)(nil)
	_ mailbox.EntryKeeper = (*Session)(nil)
	_ mailbox.ShareLog    = (*Session)(nil)
	_ mailbox.Metadata    = (*Session)(nil)
	_ mailbox.Quota       = (*Session)(nil)
)

// As is the mail as v sees it. The Session holds a reference to the account of
// its own, until its Close.
func (a *Account) As(v View) *Session {
	owner := v.Acting == a.owner
	if v.PrivateFlags == nil {
		v.PrivateFlags = onlySeen
	}
	a.store.mu.Lock()
	a.slot.refs++
	a.store.mu.Unlock()
	return &Session{
		account: a.account,
		view:    view{acting: v.Acting, owner: owner, flags: v.PrivateFlags, private: v.PrivateSeen, quota: v.Quota},
	}
}

var onlySeen = []imap.Flag{imap.FlagSeen}

// Close implements mailbox.Account.
func (s *Session) Close() error {
	if !s.closed.Swap(true) {
		s.store.leave(s.slot)
	}
	return nil
}

// usable is the refusal of an account that its disk has failed.
func (a *account) usable() error {
	if a.broken != nil {
		return unavailable(a.broken)
	}
	return nil
}

// named is the mailbox of a name. Of an account that is of no more use nobody knows what
// exists, and who may do what. The caller holds account.mu.
func (a *account) named(name string) (*box, error) {
	if err := a.usable(); err != nil {
		return nil, err
	}
	b := a.st.names[name]
	if b == nil {
		return nil, imap.NoMailbox()
	}
	return b, nil
}

// List implements mailbox.Account.
func (s *Session) List(_ context.Context, patterns []string) ([]mailbox.ListEntry, error) {
	s.mu.RLock()
	names, uses, err := s.st.namesSorted(), s.uses(), s.usable()
	s.mu.RUnlock()
	if err != nil {
		return nil, err
	}
	all := make([]mailbox.ListEntry, len(names))
	for i, name := range names {
		all[i] = mailbox.ListEntry{Name: name, Attrs: uses[name]}
	}
	return mailbox.Select(all, patterns), nil
}

// Mailboxes implements mailbox.EntryKeeper.
func (s *Session) Mailboxes(context.Context) ([]string, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Clone(s.st.namesSorted()), s.usable()
}

// Subscriptions implements mailbox.Account.
func (s *Session) Subscriptions(context.Context) ([]string, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Sorted(maps.Keys(s.st.subs[s.view.acting])), s.usable()
}

// maxSubscriptions bounds the subscriptions of one user.
const maxSubscriptions = maxMailboxes

// SetSubscribed implements mailbox.Account.
func (s *Session) SetSubscribed(ctx context.Context, name string, on bool) error {
	return s.submit(ctx, &txn{durable: true, alone: true, build: func(b *builder) error {
		names := b.st.subs[s.view.acting]
		switch _, is := names[name]; {
		case is == on:
			return nil
		case on && len(names) >= maxSubscriptions:
			return imap.Errorf(imap.CodeLimit, "Too many subscriptions")
		}
		b.add(&recSubscribe{user: s.view.acting, name: name, on: on})
		return nil
	}})
}

// Status implements mailbox.Account.
func (s *Session) Status(ctx context.Context, name string, items imap.StatusItems) (imap.Status, error) {
	s.settle(ctx)
	for {
		status, missing, err := s.status(name, items)
		if missing == nil {
			return status, err
		}
		if err := s.load(ctx, missing); err != nil {
			return imap.Status{}, err
		}
	}
}

// Statuses implements mailbox.Account.
func (s *Session) Statuses(ctx context.Context, names []string, items imap.StatusItems, emit func(string, imap.Status, error)) {
	mailbox.StatusEach(ctx, s, names, items, emit)
}

// status returns the mailbox if it has to be loaded first.
func (s *Session) status(name string, items imap.StatusItems) (imap.Status, *box, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	b, err := s.named(name)
	if err != nil {
		return imap.Status{}, nil, err
	}
	status := s.counters(b)
	if from := b.recent.Load(); items&imap.StatusRecent != 0 && s.view.owner && from < b.uidNext {
		if !b.loaded {
			return status, b, nil
		}
		i, _ := b.find(from)
		status.Recent = uint32(len(b.rows) - i)
	}
	return status, nil, nil
}

// counters are those that are known without the messages. The caller holds
// account.mu.
func (s *Session) counters(b *box) imap.Status {
	status := imap.Status{
		Messages: b.messages, UIDNext: imap.UID(b.uidNext), UIDValidity: b.uidValidity,
		Unseen: b.unseen, HighestModSeq: imap.ModSeq(s.st.highest(b, s.view)),
		Size: b.sums.size, Deleted: b.sums.deleted, DeletedStorage: b.sums.deletedSize,
		MailboxID: b.objectID.mailboxID(),
	}
	if q := s.view.quota; q != nil {
		status.AppendLimit = uint64(q.MaxMessage)
	}
	if s.st.own(b, s.view)&ownSeen != 0 {
		status.Unseen = b.messages - b.seenBy(s.view.acting)
	}
	return status
}

// writable is the refusal of changes while the right to the mail has lapsed: it
// may come back.
func (a *account) writable() error {
	if err := a.fence.check(); err != nil {
		return unavailable(err)
	}
	return nil
}

// load brings the messages of a mailbox into memory.
func (a *account) load(ctx context.Context, b *box) error {
	return a.submit(ctx, &txn{alone: true, run: func() error {
		if b.gone {
			return imap.NoMailbox()
		}
		return a.ensure(b)
	}})
}

// Create implements mailbox.Account.
func (s *Session) Create(ctx context.Context, name string, use ...imap.Attr) error {
	if err := imap.CheckName(name); err != nil {
		return err
	}
	return s.submit(ctx, &txn{durable: true, alone: true, build: func(b *builder) error {
		if b.st.names[name] != nil {
			return imap.Errorf(imap.CodeAlreadyExists, "Mailbox already exists")
		}
		id, err := b.create(name)
		if err != nil || len(use) == 0 {
			return err
		}
		return b.annotate(id, nil, []imap.MetadataEntry{{Name: imap.MetadataSpecialUse, Value: imap.FormatSpecialUses(use)}}, s.view)
	}})
}

// Delete implements mailbox.Account.
func (s *Session) Delete(ctx context.Context, name string) error {
	if name == imap.Inbox {
		return imap.Errorf(imap.CodeCannot, "INBOX can't be deleted")
	}
	return s.submit(ctx, &txn{durable: true, alone: true, build: func(b *builder) error {
		m, err := b.box(name, imap.NoMailbox)
		if err != nil {
			return err
		}
		b.add(&recDelete{box: m.id, kept: b.keptTime()})
		return nil
	}})
}

// Rename implements mailbox.Account.
func (s *Session) Rename(ctx context.Context, from, to string) error {
	return s.submit(ctx, &txn{durable: true, alone: true, build: func(b *builder) error {
		m, err := b.box(from, imap.NoMailbox)
		if err != nil {
			return err
		}
		moves, err := b.renames(from, to)
		if err != nil {
			return err
		}
		if from == imap.Inbox {
			return b.emptyInboxInto(m, to)
		}
		if above := parentName(to); above != "" && b.st.names[above] == nil {
			if _, err := b.create(above); err != nil {
				return err
			}
		}
		b.add(&recRename{moves: moves})
		return nil
	}})
}

// renames says what becomes of each name in RENAME from to, or why it can't be.
// What is below INBOX stays where it is (RFC 9051 section 6.3.6).
func (b *builder) renames(from, to string) ([]boxName, error) {
	below := from + string(imap.Delimiter)
	if strings.HasPrefix(to, below) && from != imap.Inbox {
		return nil, imap.Errorf(imap.CodeCannot, "A mailbox can't be moved below itself")
	}
	moves := []boxName{{box: b.st.names[from].id, name: to}}
	if from != imap.Inbox {
		for _, name := range b.st.namesSorted() {
			if rest, is := strings.CutPrefix(name, below); is {
				moves = append(moves, boxName{box: b.st.names[name].id, name: to + string(imap.Delimiter) + rest})
			}
		}
	}
	for _, m := range moves {
		if err := imap.CheckName(m.name); err != nil {
			return nil, err
		}
		if b.st.names[m.name] != nil {
			return nil, imap.Errorf(imap.CodeAlreadyExists, "Mailbox already exists")
		}
	}
	return moves, nil
}

// Standing implements mailbox.EntryKeeper.
func (s *Session) Standing(_ context.Context, name string) (mailbox.Standing, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	b, err := s.named(name)
	if err != nil {
		return mailbox.Standing{}, err
	}
	return s.st.standing(b), nil
}

// Standing implements mailbox.EntryHolder: that of the mailbox that is open,
// whatever it is called by now.
func (h *handle) Standing(context.Context) (mailbox.Standing, error) {
	h.session.mu.RLock()
	defer h.session.mu.RUnlock()
	if err := h.usable(); err != nil {
		return mailbox.Standing{}, err
	}
	return h.session.st.standing(h.box), nil
}

// maxEntries bounds the ACL of a mailbox.
const maxEntries = 1000

// UpdateEntries implements mailbox.EntryKeeper.
func (s *Session) UpdateEntries(ctx context.Context, name string, change func(mailbox.Standing) ([]mailbox.Entry, error)) error {
	return s.submit(ctx, &txn{durable: true, alone: true, build: func(b *builder) error {
		m := b.st.names[name]
		if m == nil {
			return imap.NoMailbox()
		}
		entries, err := change(b.st.standing(m))
		if err != nil {
			return err
		}
		if len(entries) > maxEntries {
			return imap.Errorf(imap.CodeLimit, "Too many ACL entries")
		}
		b.add(&recEntries{box: m.id, entries: slices.Clone(entries)})
		return nil
	}})
}

// Expiry implements mailbox.EntryKeeper.
func (s *Session) Expiry(context.Context) (int64, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.st.firstExpiry(), s.usable()
}

// ShareState implements mailbox.ShareLog.
func (s *Session) ShareState() mailbox.ShareState {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return mailbox.ShareState{Epoch: s.epoch, Version: s.st.shareVersion, Published: s.st.published}
}

// MarkShared implements mailbox.ShareLog. If the mark is lost in a power loss,
// the index is told the same once more.
func (s *Session) MarkShared(ctx context.Context, version uint64) error {
	return s.submit(ctx, &txn{alone: true, build: func(b *builder) error {
		if version > b.st.published {
			b.add(&recShared{version: min(version, b.st.shareVersion)})
		}
		return nil
	}})
}
