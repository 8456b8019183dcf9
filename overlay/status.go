package overlay

import (
	"context"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// countItems are what UNSEEN is worked out from.
const countItems = imap.StatusMessages | imap.StatusUIDNext | imap.StatusUIDValidity | imap.StatusMailboxID

// counts says whether UNSEEN is to be worked out, and what has to be asked for.
func (a *Account) counts(items imap.StatusItems) (own bool, ask imap.StatusItems) {
	if !a.seen || items&imap.StatusUnseen == 0 {
		return false, items
	}
	return true, items&^imap.StatusUnseen | countItems
}

// Status counts what the reader has not seen.
func (a *Account) Status(ctx context.Context, name string, items imap.StatusItems) (imap.Status, error) {
	own, ask := a.counts(items)
	s, err := a.Home.Status(ctx, name, ask)
	if err != nil {
		return s, err
	}
	s.HighestModSeq = 0
	if !own {
		return s, nil
	}
	keeper, err := a.keep(ctx)
	if err != nil {
		return imap.Status{}, err
	}
	exact, err := a.unseen(keeper, name, &s)
	if err == nil && !exact {
		err = a.count(ctx, name, &s)
	}
	return s, err
}

// Statuses asks for those at the end of which it has to look at the messages.
func (a *Account) Statuses(ctx context.Context, names []string, items imap.StatusItems, emit func(string, imap.Status, error)) {
	own, ask := a.counts(items)
	keeper, failed := a.keep(ctx)
	var rest []string
	inexact := map[string]imap.Status{}
	a.Home.Statuses(ctx, names, ask, func(name string, s imap.Status, err error) {
		s.HighestModSeq = 0
		if own && err == nil {
			exact, wrong := false, failed
			if wrong == nil {
				exact, wrong = a.unseen(keeper, name, &s)
			}
			if err = wrong; err == nil && !exact {
				rest, inexact[name] = append(rest, name), s
				return
			}
		}
		emit(name, s, err)
	})
	for _, name := range rest {
		s := inexact[name]
		err := a.count(ctx, name, &s)
		emit(name, s, err)
	}
}

// unseen works out UNSEEN from the other counters. It is exact if as many messages as UIDs
// have come since it was known which exist: then none of these has gone.
func (a *Account) unseen(keeper Keeper, name string, s *imap.Status) (exact bool, err error) {
	m, err := keeper.Marks(a.key(name, s.MailboxID))
	if err != nil {
		return false, err
	}
	s.Unseen = s.Messages
	seen := m.With(imap.FlagSeen)
	if m.UIDValidity != s.UIDValidity || seen.Empty() {
		return true, nil
	}
	s.Unseen -= min(s.Unseen, uint32(seen.Len()))
	came := int64(s.UIDNext) - int64(m.UIDNext)
	return m.UIDNext > 0 && came >= 0 && came == int64(s.Messages)-int64(m.Messages), nil
}

// count looks which messages exist.
func (a *Account) count(ctx context.Context, name string, s *imap.Status) error {
	b, err := a.open(ctx, name, true)
	if err != nil {
		return err
	}
	defer b.Close() //nolint:errcheck // it was only read
	s.Unseen = uint32(b.Mailbox.Info().UIDs.Minus(b.told.With(imap.FlagSeen)).Len())
	return nil
}

// Observe hears of the reader's own flags, too.
func (a *Account) Observe(ctx context.Context, below []string, notify func()) (stop func(), err error) {
	keeper, err := a.keep(ctx)
	if err != nil {
		return nil, err
	}
	stopHome, err := a.Home.Observe(ctx, below, notify)
	if err != nil {
		return nil, err
	}
	stopMarks := keeper.WatchMarks(notify)
	return func() {
		stopMarks()
		stopHome()
	}, nil
}

// Overview tells UNSEEN as far as it is known without looking at messages: where some have been
// expunged since the mailbox was opened, as if those had not been seen.
func (a *Account) Overview(ctx context.Context) ([]mailbox.Glance, error) {
	all, err := a.Home.Overview(ctx)
	if err != nil || len(all) == 0 {
		return all, err
	}
	keeper, err := a.keep(ctx)
	if err != nil {
		return nil, err
	}
	for i := range all {
		s := &all[i].Status
		if s.HighestModSeq = 0; a.seen && all[i].Readable {
			if _, err := a.unseen(keeper, all[i].Name, s); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}
