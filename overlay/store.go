package overlay

import (
	"context"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// Store changes the reader's own flags here and the others at the home.
func (b *box) Store(ctx context.Context, uids imap.UIDSet, change mailbox.FlagChange, emit func(*mailbox.Message) error) (imap.UIDSet, error) {
	switch {
	case b.readOnly:
		return nil, imap.Errorf(imap.CodeNoPerm, "Mailbox is read-only")
	case change.UnchangedSince != nil:
		return nil, imap.Errorf(imap.CodeCannot, "Mailbox has no modification sequences")
	}
	s := b.storing(uids, change)
	if err := s.atHome(ctx); err != nil {
		return nil, err
	}
	m, err := s.here(ctx)
	if err != nil || emit == nil || s.silent {
		return nil, err
	}
	for i := range s.got {
		s.got[i].Flags = b.with(s.got[i].Flags, &m, s.got[i].UID)
		if err := emit(&s.got[i]); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// storing is a STORE under way.
type storing struct {
	box     *box
	uids    imap.UIDSet
	change  mailbox.FlagChange
	own     []imap.Flag // that change may change, of the reader's own
	named   []imap.Flag // those that it names
	refused bool        // it names one that the reader may not have
	home    mailbox.FlagChange
	passOn  bool // home is to be done
	silent  bool // nothing is told

	got []mailbox.Message // UID and flags as the home has told them
}

func (b *box) storing(uids imap.UIDSet, change mailbox.FlagChange) *storing {
	s := &storing{box: b, uids: uids, change: change, home: change}
	within := change.Within
	if within == 0 {
		within = imap.AllClasses
	}
	for _, f := range b.account.cfg.Flags {
		if within&imap.ClassOf(f) != 0 && b.may(f) {
			s.own = append(s.own, f)
		}
	}
	own, others := b.account.split(change.Flags)
	for _, f := range own {
		if imap.HasFlag(s.own, f) {
			s.named = append(s.named, f)
		} else {
			s.refused = s.refused || within&imap.ClassOf(f) != 0
		}
	}
	_, permanent := b.account.split(b.Mailbox.Info().PermanentFlags)
	s.home.Flags, s.home.ModSeqs = others, false
	s.home.Silent = change.Silent && !s.refused
	s.passOn = len(others) > 0 || change.Op == mailbox.FlagsReplace && len(permanent) > 0
	return s
}

// atHome passes on what is not the reader's own. Where nothing is, the home is asked for
// the messages, and so whether the reader still may read them.
func (s *storing) atHome(ctx context.Context) error {
	collect := func(m *mailbox.Message) error {
		s.got = append(s.got, mailbox.Message{UID: m.UID, Flags: m.Flags})
		return nil
	}
	if s.passOn {
		_, err := s.box.Mailbox.Store(ctx, s.uids, s.home, collect)
		if imap.CodeOf(err) != imap.CodeNoPerm || len(s.named) == 0 {
			return err
		}
		s.refused, s.got = true, nil
	} else if len(s.named) == 0 && s.change.Op != mailbox.FlagsReplace && len(s.change.Flags) > 0 {
		return imap.NoPermission()
	}
	s.silent = s.change.Silent && !s.refused
	return s.box.Mailbox.Fetch(ctx, s.uids, &imap.FetchItems{Flags: true}, collect)
}

// here changes the reader's own flags of those messages that exist.
func (s *storing) here(ctx context.Context) (mailbox.Marks, error) {
	exist := s.uids.Intersect(s.box.Mailbox.Info().UIDs)
	if !s.home.Silent || !s.passOn {
		told := make([]imap.UID, len(s.got))
		for i := range s.got {
			told[i] = s.got[i].UID
		}
		exist = imap.UIDSetOf(told...)
	}
	var set, cleared []mailbox.Marked
	for _, f := range s.own {
		mark := mailbox.Marked{Flag: f, UIDs: exist}
		named := imap.HasFlag(s.named, f)
		switch {
		case exist.Empty():
		case named && s.change.Op != mailbox.FlagsRemove:
			set = append(set, mark)
		case named || s.change.Op == mailbox.FlagsReplace:
			cleared = append(cleared, mark)
		}
	}
	if len(set)+len(cleared) == 0 {
		return s.box.marks()
	}
	return s.box.mark(ctx, set, cleared)
}
