package acl

import (
	"context"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// guarded is an open mailbox behind a Guard. Fields but told are set at Open;
// told belongs to the session's goroutine.
type guarded struct {
	mailbox.Mailbox
	entries  mailbox.EntryHolder // the same
	guard    *Guard
	readOnly bool // as the client asked

	told    imap.Rights // as the session knows them
	revoked bool        // the session was told that r is gone
}

// rights are the acting user's now, whatever the mailbox is called now.
func (m *guarded) rights(ctx context.Context) (imap.Rights, error) {
	standing, err := m.entries.Standing(ctx)
	if err != nil {
		return 0, err
	}
	return m.guard.judge(standing), nil
}

// MyRights are the acting user's on this mailbox, for who has it open.
func (m *guarded) MyRights(ctx context.Context) (imap.Rights, error) { return m.rights(ctx) }

// need answers NOPERM without the right: that the mailbox exists, the session
// knows already.
func (m *guarded) need(ctx context.Context, want imap.Rights) (imap.Rights, error) {
	have, err := m.rights(ctx)
	if err == nil && (!have.Has(want) || m.readOnly && want != imap.RightRead) {
		err = m.guard.noPermission()
	}
	return have, err
}

// Info shows as permanent only the flags that the acting user may change.
func (m *guarded) Info() mailbox.Info {
	info := m.Mailbox.Info()
	classes := m.told.FlagClasses()
	if m.readOnly {
		classes = 0
	}
	info.PermanentFlags = classes.Only(info.PermanentFlags)
	info.ReadOnly = m.readOnly || !m.told.HasAny(writing)
	return info
}

// Fetch needs r; MarkSeen counts only with s.
func (m *guarded) Fetch(ctx context.Context, uids imap.UIDSet, items *imap.FetchItems, emit func(*mailbox.Message) error) error {
	have, err := m.need(ctx, imap.RightRead)
	if err != nil {
		return err
	}
	if items.MarkSeen && (m.readOnly || !have.Has(imap.RightSeen)) {
		unmarked := *items
		unmarked.MarkSeen = false
		items = &unmarked
	}
	return m.Mailbox.Fetch(ctx, uids, items, emit)
}

// Search needs r.
func (m *guarded) Search(ctx context.Context, program *imap.SearchKey) (mailbox.Found, error) {
	if _, err := m.need(ctx, imap.RightRead); err != nil {
		return mailbox.Found{}, err
	}
	return m.Mailbox.Search(ctx, program)
}

// Sort needs r.
func (m *guarded) Sort(ctx context.Context, keys []imap.SortKey, program *imap.SearchKey) (mailbox.Sorted, error) {
	if _, err := m.need(ctx, imap.RightRead); err != nil {
		return mailbox.Sorted{}, err
	}
	return m.Mailbox.Sort(ctx, keys, program)
}

// Thread needs r.
func (m *guarded) Thread(ctx context.Context, alg imap.ThreadAlgorithm, program *imap.SearchKey) ([]imap.ThreadMember, error) {
	if _, err := m.need(ctx, imap.RightRead); err != nil {
		return nil, err
	}
	return m.Mailbox.Thread(ctx, alg, program)
}

// Vanished needs r.
func (m *guarded) Vanished(ctx context.Context, uids imap.UIDSet, since imap.ModSeq) (imap.UIDSet, error) {
	if _, err := m.need(ctx, imap.RightRead); err != nil {
		return nil, err
	}
	return m.Mailbox.Vanished(ctx, uids, since)
}

// Store changes the flags that the acting user may change; if there are none
// among those named it answers NOPERM.
func (m *guarded) Store(ctx context.Context, uids imap.UIDSet, change mailbox.FlagChange, emit func(*mailbox.Message) error) (imap.UIDSet, error) {
	have, err := m.need(ctx, imap.RightRead)
	if err != nil {
		return nil, err
	}
	allowed := have.FlagClasses()
	permitted := allowed.Only(change.Flags)
	if m.readOnly || allowed == 0 || len(permitted) == 0 && len(change.Flags) > 0 {
		return nil, m.guard.noPermission()
	}
	if allowed != imap.AllClasses {
		if len(permitted) < len(change.Flags) || change.Op == mailbox.FlagsReplace {
			change.Silent = false // the client must see what it got
		}
		change.Flags, change.Within = permitted, allowed
	}
	return m.Mailbox.Store(ctx, uids, change, emit)
}

// Expunge needs e.
func (m *guarded) Expunge(ctx context.Context, uids imap.UIDSet, all bool) error {
	if _, err := m.need(ctx, imap.RightRead|imap.RightExpunge); err != nil {
		return err
	}
	return m.Mailbox.Expunge(ctx, uids, all)
}

// Copy needs r here and i there.
func (m *guarded) Copy(ctx context.Context, uids imap.UIDSet, dest string) (imap.CopyData, error) {
	if _, err := m.need(ctx, imap.RightRead); err != nil {
		return imap.CopyData{}, err
	}
	return m.copyTo(ctx, uids, dest, false)
}

// Move needs r, t and e here and i there, and looks before it copies.
func (m *guarded) Move(ctx context.Context, uids imap.UIDSet, dest string) (imap.CopyData, error) {
	if _, err := m.need(ctx, imap.RightRead|imap.RightDeleted|imap.RightExpunge); err != nil {
		return imap.CopyData{}, err
	}
	return m.copyTo(ctx, uids, dest, true)
}

// copyTo lets the home copy where the acting user may set all flags there, and
// else appends with the flags that are allowed. Without r there nothing is told
// of the copies.
func (m *guarded) copyTo(ctx context.Context, uids imap.UIDSet, dest string, move bool) (imap.CopyData, error) {
	have, err := m.guard.needInsert(ctx, dest)
	var data imap.CopyData
	switch classes := have.FlagClasses(); {
	case err != nil:
	case classes != imap.AllClasses:
		var copied imap.UIDSet
		data, copied, err = mailbox.Transfer(ctx, m.Mailbox, uids, m.guard.home, dest, classes)
		if err == nil && move {
			err = mailbox.Remove(ctx, m.Mailbox, copied)
		}
	case move:
		data, err = m.Mailbox.Move(ctx, uids, dest)
	default:
		data, err = m.Mailbox.Copy(ctx, uids, dest)
	}
	what := Copy
	if move {
		what = Move
	}
	m.guard.arrival(what, dest, err)
	if err != nil || !have.Has(imap.RightRead) {
		return imap.CopyData{}, err
	}
	return data, nil
}

// Watch also tells of changed groups, if by them the rights are others.
func (m *guarded) Watch(notify func()) (stop func()) {
	stopGroups, stopMail := m.guard.opts.Groups.Watch(notify), m.Mailbox.Watch(notify)
	if have, err := m.rights(context.Background()); err == nil && have != m.told {
		notify()
	}
	return func() {
		stopGroups()
		stopMail()
	}
}

// Sync reports nothing of a mailbox that the acting user can't read any more.
func (m *guarded) Sync(ctx context.Context, fresh bool) (mailbox.Changes, error) {
	have, err := m.rights(ctx)
	if imap.CodeOf(err) == imap.CodeNonExistent {
		return m.Mailbox.Sync(ctx, fresh) // reports that it is gone
	}
	if imap.CodeOf(err) == imap.CodeUnavailable { // so is the right to hear of anything else
		c, syncErr := m.Mailbox.Sync(ctx, fresh)
		return mailbox.Changes{Unavailable: c.Unavailable}, syncErr
	}
	if err != nil {
		return mailbox.Changes{}, err
	}
	if !have.Has(imap.RightRead) {
		first := !m.revoked
		m.revoked, m.told = true, have
		return mailbox.Changes{Revoked: first}, nil
	}
	changes, err := m.Mailbox.Sync(ctx, fresh)
	if err == nil && have != m.told {
		shown := have.FlagClasses() != m.told.FlagClasses() || have.HasAny(writing) != m.told.HasAny(writing)
		changes.FlagsChanged = changes.FlagsChanged || shown || m.revoked
		m.revoked, m.told = false, have
	}
	return changes, err
}
