package overlay

import (
	"cmp"
	"context"
	"slices"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// box is an open mailbox. Its session's goroutine owns it.
type box struct {
	mailbox.Mailbox // of the home
	account         *Account
	keeper          Keeper
	key             mailbox.MarkedBox
	readOnly        bool          // as asked for
	unseen          imap.UID      // as of Open
	told            mailbox.Marks // what the session knows

	notify    func() // of the Watch
	stopHome  func() // of the home's Watch; nil without one
	stopMarks func()
}

// Open opens a mailbox, and forgets the flags of messages that are gone.
func (a *Account) Open(ctx context.Context, name string, readOnly bool) (mailbox.Mailbox, error) {
	b, err := a.open(ctx, name, readOnly)
	if err != nil {
		return nil, err
	}
	return b, nil
}

func (a *Account) open(ctx context.Context, name string, readOnly bool) (*box, error) {
	keeper, err := a.keep(ctx)
	if err != nil {
		return nil, err
	}
	home, err := a.Home.Open(ctx, name, readOnly)
	if err != nil {
		return nil, err
	}
	info := home.Info()
	b := &box{Mailbox: home, account: a, keeper: keeper, key: a.key(name, info.MailboxID), readOnly: readOnly}
	if b.told, err = b.settle(ctx); err != nil {
		_ = home.Close()
		return nil, err
	}
	b.unseen = info.Unseen
	if a.seen {
		b.unseen = info.UIDs.Minus(b.told.With(imap.FlagSeen)).Min()
	}
	return b, nil
}

// settle tells the keeper which messages exist, if any are marked.
func (b *box) settle(ctx context.Context) (mailbox.Marks, error) {
	m, err := b.keeper.Marks(b.key)
	info := b.Mailbox.Info()
	if err != nil || m.UIDValidity == 0 || info.UIDNext == 0 {
		return mailbox.Marks{}, err
	}
	return b.keeper.Mark(ctx, b.key, &mailbox.MarkChange{UIDValidity: info.UIDValidity, UIDs: info.UIDs, UIDNext: info.UIDNext})
}

// marks are the reader's own flags at the moment.
func (b *box) marks() (mailbox.Marks, error) {
	m, err := b.keeper.Marks(b.key)
	if m.UIDValidity != b.Mailbox.Info().UIDValidity {
		m = mailbox.Marks{}
	}
	return m, err
}

// mark changes the reader's own flags, which the session knows of.
func (b *box) mark(ctx context.Context, set, cleared []mailbox.Marked) (mailbox.Marks, error) {
	info := b.Mailbox.Info()
	m, err := b.keeper.Mark(ctx, b.key, &mailbox.MarkChange{
		UIDValidity: info.UIDValidity, Set: set, Clear: cleared, UIDs: info.UIDs, UIDNext: info.UIDNext,
	})
	if err == nil {
		b.told = b.told.Change(set, cleared)
	}
	return m, err
}

// with are a message's flags: what the home says, and the reader's own.
func (b *box) with(flags []imap.Flag, m *mailbox.Marks, uid imap.UID) []imap.Flag {
	out := slices.Clip(flags)
	for i := range m.Flags {
		if f := m.Flags[i].Flag; m.Flags[i].UIDs.Contains(uid) && imap.HasFlag(b.account.cfg.Flags, f) {
			out = append(out, f)
		}
	}
	return out
}

// may says whether the reader may have a flag: RFC 4314 gives rights by flag, and not by
// who sees it.
func (b *box) may(f imap.Flag) bool {
	permanent := b.Mailbox.Info().PermanentFlags
	return !b.readOnly && (imap.HasFlag(permanent, f) || f[0] != '\\' && imap.HasFlag(permanent, imap.FlagWildcard))
}

// Info names the reader's own keywords with the others.
func (b *box) Info() mailbox.Info {
	info := b.Mailbox.Info()
	info.HighestModSeq, info.Unseen = 0, b.unseen
	for _, f := range b.account.cfg.Flags {
		if !imap.HasFlag(info.Flags, f) {
			info.Flags = append(slices.Clip(info.Flags), f)
		}
		if !imap.HasFlag(info.PermanentFlags, f) && b.may(f) {
			info.PermanentFlags = append(slices.Clip(info.PermanentFlags), f)
		}
	}
	return info
}

// items are what the home is asked for. It marks nothing as seen that is for the reader to see.
func (b *box) items(items *imap.FetchItems) (ask imap.FetchItems, mark bool) {
	ask = *items
	ask.ModSeq, ask.ChangedSince = false, 0
	if ask.MarkSeen && b.account.seen {
		ask.MarkSeen, mark = false, b.may(imap.FlagSeen)
		ask.Flags = ask.Flags || mark
	}
	return ask, mark
}

// Prefetch passes on.
func (b *box) Prefetch(ctx context.Context, uids imap.UIDSet, items *imap.FetchItems) bool {
	p, ok := b.Mailbox.(mailbox.Prefetcher)
	ask, _ := b.items(items)
	return ok && p.Prefetch(ctx, uids, &ask)
}

// Fetch marks those messages as seen that were told whole, also if the rest fails.
func (b *box) Fetch(ctx context.Context, uids imap.UIDSet, items *imap.FetchItems, emit func(*mailbox.Message) error) error {
	m, err := b.marks()
	if err != nil {
		return err
	}
	ask, mark := b.items(items)
	seen := m.With(imap.FlagSeen)
	var read []imap.UID
	err = b.Mailbox.Fetch(ctx, uids, &ask, func(got *mailbox.Message) error {
		out := *got
		out.ModSeq = 0
		fresh := mark && !seen.Contains(got.UID)
		if ask.Flags {
			out.Flags = b.with(got.Flags, &m, got.UID)
		}
		if fresh {
			out.Flags, out.FlagsChanged = append(out.Flags, imap.FlagSeen), true
		}
		if err := emit(&out); err != nil {
			return err
		}
		if fresh {
			read = append(read, got.UID)
		}
		return nil
	})
	if len(read) > 0 {
		_, failed := b.mark(context.WithoutCancel(ctx), []mailbox.Marked{{Flag: imap.FlagSeen, UIDs: imap.UIDSetOf(read...)}}, nil)
		if err == nil {
			err = failed
		}
	}
	return err
}

// Copy takes the reader's own flags along.
func (b *box) Copy(ctx context.Context, uids imap.UIDSet, dest string) (imap.CopyData, error) {
	return b.transfer(ctx, uids, dest, b.Mailbox.Copy)
}

// Move is like Copy.
func (b *box) Move(ctx context.Context, uids imap.UIDSet, dest string) (imap.CopyData, error) {
	return b.transfer(ctx, uids, dest, b.Mailbox.Move)
}

func (b *box) transfer(ctx context.Context, uids imap.UIDSet, dest string, do func(context.Context, imap.UIDSet, string) (imap.CopyData, error)) (imap.CopyData, error) {
	m, err := b.marks()
	if err != nil {
		return imap.CopyData{}, err
	}
	data, err := do(ctx, uids, dest)
	if err != nil || data.Source.Len() != data.Dest.Len() {
		return data, err
	}
	to := slices.Collect(data.Dest.All())
	b.account.arrived(ctx, dest, data.UIDValidity, func(f imap.Flag) imap.UIDSet {
		var with []imap.UID
		has, i := m.With(f), 0
		for uid := range data.Source.All() {
			if has.Contains(uid) {
				with = append(with, to[i])
			}
			i++
		}
		return imap.UIDSetOf(with...)
	})
	return data, nil
}

// Sync tells of the reader's own flags that other sessions have changed.
func (b *box) Sync(ctx context.Context, fresh bool) (mailbox.Changes, error) {
	c, err := b.Mailbox.Sync(ctx, fresh)
	c.HighestModSeq = 0
	if err != nil || c.Gone {
		return c, err
	}
	now, err := b.marks()
	if err != nil { // the session's own mail is gone; that is told elsewhere
		now = b.told
	}
	news := b.news(&now, &c)
	for i := range c.Flags {
		c.Flags[i].Flags, c.Flags[i].ModSeq = b.with(c.Flags[i].Flags, &now, c.Flags[i].UID), 0
	}
	if !news.Empty() && b.tell(ctx, news, &now, &c) != nil {
		now = b.told // for the next Sync
	}
	b.told = now
	if !c.New.Empty() || !c.Vanished.Empty() {
		if _, err := b.settle(ctx); err != nil {
			b.account.lost(b.Info().Name, err)
		}
	}
	return c, nil
}

// news are the messages whose flags differ from what the session was told, and that c says
// nothing of.
func (b *box) news(now *mailbox.Marks, c *mailbox.Changes) imap.UIDSet {
	var differ imap.UIDSet
	for _, f := range b.account.cfg.Flags {
		is, was := now.With(f), b.told.With(f)
		differ = differ.Union(is.Minus(was)).Union(was.Minus(is))
	}
	if differ.Empty() {
		return nil
	}
	told := make([]imap.UID, len(c.Flags))
	for i := range c.Flags {
		told[i] = c.Flags[i].UID
	}
	return differ.Intersect(b.Mailbox.Info().UIDs).Minus(c.New).Minus(imap.UIDSetOf(told...))
}

// tell adds the flags of messages to c. A home that is being watched can't be asked: the Watch
// is begun anew.
func (b *box) tell(ctx context.Context, uids imap.UIDSet, m *mailbox.Marks, c *mailbox.Changes) error {
	if b.stopHome != nil {
		b.stopHome()
		defer func() { b.stopHome = b.Mailbox.Watch(b.notify) }()
	}
	var flags []mailbox.Message
	err := b.Mailbox.Fetch(ctx, uids, &imap.FetchItems{Flags: true}, func(got *mailbox.Message) error {
		flags = append(flags, mailbox.Message{UID: got.UID, Flags: b.with(got.Flags, m, got.UID)})
		return nil
	})
	if err != nil {
		return err
	}
	c.Flags = append(c.Flags, flags...)
	slices.SortFunc(c.Flags, func(x, y mailbox.Message) int { return cmp.Compare(x.UID, y.UID) })
	return nil
}

// Watch watches both.
func (b *box) Watch(notify func()) (stop func()) {
	b.notify = notify
	b.stopHome, b.stopMarks = b.Mailbox.Watch(notify), b.keeper.WatchMarks(notify)
	if m, err := b.marks(); err != nil || !b.news(&m, &mailbox.Changes{}).Empty() {
		notify() // it was too early to be heard
	}
	return b.endWatch
}

func (b *box) endWatch() {
	if b.stopHome == nil {
		return
	}
	b.stopMarks()
	b.stopHome()
	b.stopHome = nil
}

// Close ends a Watch before.
func (b *box) Close() error {
	b.endWatch()
	return b.Mailbox.Close()
}
