package moving

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// box is an open mailbox. Its session's goroutine owns it, but for what mu guards.
type box struct {
	account  *Account
	name     string
	readOnly bool // as asked for

	inner mailbox.Mailbox
	here  *local // what inner is of; nil: it is elsewhere
	lost  bool   // inner has answered that its mail is gone from here

	info mailbox.Info     // as the session was told
	owed *mailbox.Changes // what a move has found, not told yet

	ended                        error // the mailbox is no more, or another has its name
	goneTold, revoked, unreached bool

	stopInner func()      // of the Watch of inner; nil without one
	retry     *time.Timer // likewise; nil until a move has failed

	mu     sync.Mutex
	notify func() // nil without a Watch
}

// Open opens a mailbox where the mail is now.
func (a *Account) Open(ctx context.Context, name string, readOnly bool) (mailbox.Mailbox, error) {
	b := &box{account: a, name: name, readOnly: readOnly}
	inner, here, err := a.open(ctx, name, readOnly, "")
	if err != nil {
		return nil, err
	}
	b.inner, b.here, b.info = inner, here, inner.Info()
	return b, nil
}

func (a *Account) open(ctx context.Context, name string, readOnly bool, id imap.ObjectID) (m mailbox.Mailbox, here *local, err error) {
	err = a.do(ctx, func(h Home) (err error) {
		m, err = mailbox.Reopen(ctx, h, name, readOnly, id)
		return err
	})
	if err == nil && a.here != nil {
		here = a.here.use()
	}
	return m, here, err
}

// where is the mailbox where it is now, with which a command may begin.
func (b *box) where(ctx context.Context) (mailbox.Mailbox, error) {
	if b.ended == nil && b.here != nil && (b.lost || !b.account.cfg.Here()) {
		if err := b.move(ctx); err != nil {
			return nil, err
		}
	}
	return b.inner, b.ended
}

// move opens the mailbox anew, and finds out what the session has to be told of.
func (b *box) move(ctx context.Context) error {
	b.account.leave()
	next, here, err := b.openAnew(ctx)
	if name, found := "", false; imap.CodeOf(err) == imap.CodeNonExistent {
		if name, found = b.account.nameOf(ctx, b.info.MailboxID); found {
			b.name = name
			next, here, err = b.openAnew(ctx)
		}
	}
	if imap.CodeOf(err) == imap.CodeNonExistent {
		b.ended = imap.NoMailbox()
	}
	if err != nil {
		return err
	}
	watched := b.stopInner != nil
	b.free()
	b.inner, b.here, b.lost, b.revoked = next, here, false, false
	if watched {
		b.stopInner = next.Watch(b.tell)
	}
	b.account.cfg.Log.Info("open mailbox of another owner has moved", "owner", b.account.cfg.Owner, "mailbox", b.name, "here", here != nil)
	return nil
}

// openAnew opens the mailbox by its name, if it is the same still.
func (b *box) openAnew(ctx context.Context) (next mailbox.Mailbox, here *local, err error) {
	next, here, err = b.account.open(ctx, b.name, b.readOnly, b.info.MailboxID)
	if err != nil {
		return nil, nil, err
	}
	if err = b.compare(ctx, next); err != nil {
		return nil, nil, errors.Join(err, next.Close(), here.done())
	}
	return next, here, nil
}

// nameOf finds a mailbox that was renamed while it was open.
func (a *Account) nameOf(ctx context.Context, id imap.ObjectID) (name string, found bool) {
	if id == "" {
		return "", false
	}
	all, err := a.List(ctx, []string{"*"})
	if err != nil {
		return "", false
	}
	names := make([]string, len(all))
	for i := range all {
		names[i] = all[i].Name
	}
	a.Statuses(ctx, names, imap.StatusMailboxID, func(n string, s imap.Status, err error) {
		if err == nil && s.MailboxID == id {
			name, found = n, true
		}
	})
	return name, found
}

// free gives up inner.
func (b *box) free() {
	if b.stopInner != nil {
		b.stopInner()
		b.stopInner = nil
	}
	if err := errors.Join(b.inner.Close(), b.here.done()); err != nil {
		b.account.cfg.Log.Debug("close mailbox that has moved", "owner", b.account.cfg.Owner, "mailbox", b.name, "error", err)
	}
	b.here = nil
}

// compare notes how next differs from what the session knows.
func (b *box) compare(ctx context.Context, next mailbox.Mailbox) error {
	was, now := &b.info, next.Info()
	if was.UIDValidity != now.UIDValidity || was.MailboxID != now.MailboxID {
		return imap.NoMailbox()
	}
	c := mailbox.Changes{
		Vanished: was.UIDs.Minus(now.UIDs), UIDNext: now.UIDNext, HighestModSeq: now.HighestModSeq,
		FlagsChanged: !slices.Equal(was.Flags, now.Flags) || !slices.Equal(was.PermanentFlags, now.PermanentFlags) || was.ReadOnly != now.ReadOnly,
	}
	if now.UIDNext > was.UIDNext {
		c.New = now.UIDs.Intersect(imap.UIDRange(was.UIDNext, now.UIDNext-1))
		c.Recent = c.New.Intersect(now.Recent)
	}
	if kept := was.UIDs.Intersect(now.UIDs); !kept.Empty() && (now.HighestModSeq == 0 || now.HighestModSeq > was.HighestModSeq) {
		items := &imap.FetchItems{Flags: true, ModSeq: true, ChangedSince: was.HighestModSeq}
		err := next.Fetch(ctx, kept, items, func(m *mailbox.Message) error {
			c.Flags = append(c.Flags, mailbox.Message{UID: m.UID, Flags: slices.Clone(m.Flags), ModSeq: m.ModSeq})
			return nil
		})
		if err != nil {
			return err
		}
	}
	b.owed = &c
	return nil
}

// do runs a command.
func (b *box) do(ctx context.Context, f func(mailbox.Mailbox) error) error {
	m, err := b.where(ctx)
	if err != nil {
		return err
	}
	here := b.here != nil
	err = f(m)
	b.revoked = b.revoked && err != nil // once given back it may be taken again
	if here {
		b.lost = b.lost || isLost(err)
		err = b.account.cfg.Arrived(err)
	}
	return err
}

// got is do for a command with an answer.
func got[T any](ctx context.Context, b *box, f func(mailbox.Mailbox) (T, error)) (answer T, err error) {
	err = b.do(ctx, func(m mailbox.Mailbox) (err error) {
		answer, err = f(m)
		return err
	})
	return answer, err
}

// keep has emit's own error come through unchanged.
func keep(own *error, emit func(*mailbox.Message) error) func(*mailbox.Message) error {
	if emit == nil {
		return nil
	}
	return func(m *mailbox.Message) error {
		*own = emit(m)
		return *own
	}
}

func either(own, err error) error {
	if own != nil && err != nil {
		return own
	}
	return err
}

// Info is what the session was told.
func (b *box) Info() mailbox.Info { return b.info }

// Fetch passes on.
func (b *box) Fetch(ctx context.Context, uids imap.UIDSet, items *imap.FetchItems, emit func(*mailbox.Message) error) error {
	var own error
	err := b.do(ctx, func(m mailbox.Mailbox) error { return m.Fetch(ctx, uids, items, keep(&own, emit)) })
	return either(own, err)
}

// Prefetch passes on to mail that is elsewhere.
func (b *box) Prefetch(ctx context.Context, uids imap.UIDSet, items *imap.FetchItems) bool {
	p, ok := b.inner.(mailbox.Prefetcher)
	return ok && b.here == nil && b.ended == nil && p.Prefetch(ctx, uids, items)
}

// Search passes on.
func (b *box) Search(ctx context.Context, program *imap.SearchKey) (mailbox.Found, error) {
	return got(ctx, b, func(m mailbox.Mailbox) (mailbox.Found, error) { return m.Search(ctx, program) })
}

// Sort passes on.
func (b *box) Sort(ctx context.Context, keys []imap.SortKey, program *imap.SearchKey) (mailbox.Sorted, error) {
	return got(ctx, b, func(m mailbox.Mailbox) (mailbox.Sorted, error) { return m.Sort(ctx, keys, program) })
}

// Thread passes on.
func (b *box) Thread(ctx context.Context, alg imap.ThreadAlgorithm, program *imap.SearchKey) ([]imap.ThreadMember, error) {
	return got(ctx, b, func(m mailbox.Mailbox) ([]imap.ThreadMember, error) { return m.Thread(ctx, alg, program) })
}

// Vanished passes on.
func (b *box) Vanished(ctx context.Context, uids imap.UIDSet, since imap.ModSeq) (imap.UIDSet, error) {
	return got(ctx, b, func(m mailbox.Mailbox) (imap.UIDSet, error) { return m.Vanished(ctx, uids, since) })
}

// Store passes on.
func (b *box) Store(ctx context.Context, uids imap.UIDSet, change mailbox.FlagChange, emit func(*mailbox.Message) error) (modified imap.UIDSet, err error) {
	var own error
	err = b.do(ctx, func(m mailbox.Mailbox) (err error) {
		modified, err = m.Store(ctx, uids, change, keep(&own, emit))
		return err
	})
	return modified, either(own, err)
}

// Expunge passes on.
func (b *box) Expunge(ctx context.Context, uids imap.UIDSet, all bool) error {
	return b.do(ctx, func(m mailbox.Mailbox) error { return m.Expunge(ctx, uids, all) })
}

// Copy passes on.
func (b *box) Copy(ctx context.Context, uids imap.UIDSet, dest string) (imap.CopyData, error) {
	return got(ctx, b, func(m mailbox.Mailbox) (imap.CopyData, error) { return m.Copy(ctx, uids, dest) })
}

// Move passes on.
func (b *box) Move(ctx context.Context, uids imap.UIDSet, dest string) (imap.CopyData, error) {
	return got(ctx, b, func(m mailbox.Mailbox) (imap.CopyData, error) { return m.Move(ctx, uids, dest) })
}

// MyRights are the acting user's on this mailbox, as far as a removal needs them.
func (b *box) MyRights(ctx context.Context) (imap.Rights, error) {
	return got(ctx, b, func(m mailbox.Mailbox) (imap.Rights, error) { return mailbox.RemovalRights(ctx, m) })
}

// Sync tells first what a move has found.
func (b *box) Sync(ctx context.Context, fresh bool) (mailbox.Changes, error) {
	c, again, err := b.sync(ctx, fresh)
	if again { // the mail has just left
		c, _, err = b.sync(ctx, fresh)
	}
	return c, err
}

func (b *box) sync(ctx context.Context, fresh bool) (c mailbox.Changes, again bool, err error) {
	m, err := b.where(ctx)
	if err != nil {
		c, err = b.missed(err)
		return c, false, err
	}
	b.unreached = false
	if c, err = m.Sync(ctx, fresh); b.here != nil && (c.Unavailable || isLost(err)) {
		b.lost = true
		return mailbox.Changes{}, true, nil
	}
	if err != nil {
		return c, false, err
	}
	if b.owed != nil {
		c = joined(*b.owed, c)
		b.owed = nil
	}
	if b.info = m.Info(); c.Gone {
		b.ended, b.goneTold = imap.NoMailbox(), true
	}
	b.revoked = b.revoked || c.Revoked
	return c, false, nil
}

// joined is what happened first and then, as one.
func joined(first, then mailbox.Changes) mailbox.Changes {
	c := then
	c.Vanished = first.Vanished.Union(then.Vanished.Minus(first.New))
	c.New = first.New.Minus(then.Vanished).Union(then.New)
	c.Recent = first.Recent.Minus(then.Vanished).Union(then.Recent)
	later := map[imap.UID]bool{}
	c.Flags = nil
	for _, m := range then.Flags {
		later[m.UID] = true
	}
	for _, m := range first.Flags {
		if !later[m.UID] && !then.Vanished.Contains(m.UID) {
			c.Flags = append(c.Flags, m)
		}
	}
	for _, m := range then.Flags {
		if !first.New.Contains(m.UID) {
			c.Flags = append(c.Flags, m)
		}
	}
	c.FlagsChanged = first.FlagsChanged || then.FlagsChanged
	return c
}

// missed is what Sync tells of a mailbox that can't be reached where it is now.
// During a Watch it is tried again by itself.
func (b *box) missed(err error) (mailbox.Changes, error) {
	first := func(told *bool) bool {
		was := *told
		*told = true
		return !was
	}
	switch imap.CodeOf(err) {
	case imap.CodeNonExistent:
		return mailbox.Changes{Gone: first(&b.goneTold)}, nil
	case imap.CodeNoPerm:
		return mailbox.Changes{Revoked: first(&b.revoked)}, nil
	case imap.CodeUnavailable:
		if b.stopInner != nil {
			b.later()
		}
		return mailbox.Changes{Unavailable: first(&b.unreached)}, nil
	}
	return mailbox.Changes{}, err
}

// retryPause is between two attempts to reach a mailbox that is watched.
const retryPause = time.Second

func (b *box) later() {
	if b.retry != nil {
		b.retry.Stop()
	}
	b.retry = time.AfterFunc(retryPause, b.tell)
}

// Watch implements mailbox.Mailbox. It goes along when the mailbox moves.
func (b *box) Watch(notify func()) (stop func()) {
	b.mu.Lock()
	b.notify = notify
	b.mu.Unlock()
	b.stopInner = b.inner.Watch(b.tell)
	if b.owed != nil || b.ended != nil && !b.goneTold {
		b.tell()
	}
	return b.unwatch
}

func (b *box) unwatch() {
	b.mu.Lock()
	b.notify = nil
	b.mu.Unlock()
	if b.stopInner != nil {
		b.stopInner()
		b.stopInner = nil
	}
	if b.retry != nil {
		b.retry.Stop()
		b.retry = nil
	}
}

// tell calls the watcher.
func (b *box) tell() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.notify != nil {
		b.notify()
	}
}

// Close frees the handle.
func (b *box) Close() error {
	b.unwatch()
	err := errors.Join(b.inner.Close(), b.here.done())
	b.here = nil
	return err
}
