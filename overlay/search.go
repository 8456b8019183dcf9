package overlay

import (
	"context"
	"slices"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// Search names the messages with flags of the reader's own, or finds with several searches
// what can't be said in one.
func (b *box) Search(ctx context.Context, program *imap.SearchKey) (mailbox.Found, error) {
	named, err := b.name(program)
	if err != nil {
		return mailbox.Found{}, err
	}
	uids, err := b.find(ctx, named)
	return mailbox.Found{UIDs: uids}, err
}

// Sort is like Search.
func (b *box) Sort(ctx context.Context, keys []imap.SortKey, program *imap.SearchKey) (mailbox.Sorted, error) {
	named, err := b.name(program)
	if err != nil {
		return mailbox.Sorted{}, err
	}
	if b.short(named) {
		sorted, err := b.Mailbox.Sort(ctx, keys, named)
		return mailbox.Sorted{UIDs: sorted.UIDs}, err
	}
	found, err := b.find(ctx, named)
	if err != nil {
		return mailbox.Sorted{}, err
	}
	sorted, err := b.Mailbox.Sort(ctx, keys, &imap.SearchKey{Op: imap.SearchAll})
	uids := slices.DeleteFunc(sorted.UIDs, func(uid imap.UID) bool { return !found.Contains(uid) })
	return mailbox.Sorted{UIDs: uids}, err
}

// Thread is like Search.
func (b *box) Thread(ctx context.Context, alg imap.ThreadAlgorithm, program *imap.SearchKey) ([]imap.ThreadMember, error) {
	named, err := b.name(program)
	if err != nil {
		return nil, err
	}
	if b.short(named) {
		return b.Mailbox.Thread(ctx, alg, named)
	}
	found, err := b.find(ctx, named)
	if err != nil {
		return nil, err
	}
	threads, err := b.Mailbox.Thread(ctx, alg, &imap.SearchKey{Op: imap.SearchAll})
	return imap.PruneThreads(threads, found.Contains), err
}

// name is program with the UIDs in the place of the reader's own flags.
func (b *box) name(program *imap.SearchKey) (*imap.SearchKey, error) {
	if !program.Has(imap.SearchFlag) {
		return program, nil
	}
	m, err := b.marks()
	if err != nil {
		return nil, err
	}
	named := b.nameIn(program, &m)
	return &named, nil
}

func (b *box) nameIn(k *imap.SearchKey, m *mailbox.Marks) imap.SearchKey {
	if k.Op == imap.SearchFlag && imap.HasFlag(b.account.cfg.Flags, k.Flag) {
		return imap.SearchKey{Op: imap.SearchUIDs, UIDs: b.wide(m.With(k.Flag))}
	}
	out := *k
	out.Keys = make([]imap.SearchKey, len(k.Keys))
	for i := range k.Keys {
		out.Keys[i] = b.nameIn(&k.Keys[i], m)
	}
	return out
}

// wide is a set with UIDs between its own that no message has, to be shorter.
func (b *box) wide(uids imap.UIDSet) imap.UIDSet {
	info := b.Mailbox.Info()
	if uids.Empty() || info.UIDNext < 2 {
		return uids
	}
	told := imap.UIDRange(1, info.UIDNext-1)
	known := uids.Intersect(told)
	if known.Empty() {
		return uids
	}
	return imap.UIDRange(known.Min(), known.Max()).Minus(info.UIDs.Minus(known)).Union(uids.Minus(told))
}

// ranges are all that a program names.
func ranges(k *imap.SearchKey) int {
	n := 0
	if k.Op == imap.SearchUIDs {
		n = len(k.UIDs)
	}
	for i := range k.Keys {
		n += ranges(&k.Keys[i])
	}
	return n
}

// short says whether one command can name all UIDs of a program.
func (b *box) short(k *imap.SearchKey) bool { return ranges(k) <= b.account.cfg.MaxRanges }

// find is a search that may name too many UIDs for one command: then the home is asked for the
// parts that name none, and they are put together here.
func (b *box) find(ctx context.Context, k *imap.SearchKey) (imap.UIDSet, error) {
	if b.short(k) {
		found, err := b.Mailbox.Search(ctx, k)
		return found.UIDs, err
	}
	switch k.Op {
	case imap.SearchAnd, imap.SearchOr:
		return b.combine(ctx, k)
	case imap.SearchNot:
		without, err := b.find(ctx, &k.Keys[0])
		if err != nil {
			return nil, err
		}
		all, err := b.find(ctx, &imap.SearchKey{Op: imap.SearchAll})
		return all.Minus(without), err
	default: // SearchUIDs
		all, err := b.find(ctx, &imap.SearchKey{Op: imap.SearchAll})
		return all.Intersect(k.UIDs), err
	}
}

// combine finds what all keys match, or any of them. Those that name no UIDs are asked for
// at once.
func (b *box) combine(ctx context.Context, k *imap.SearchKey) (imap.UIDSet, error) {
	put := imap.UIDSet.Intersect
	if k.Op == imap.SearchOr {
		put = imap.UIDSet.Union
	}
	plain := imap.SearchKey{Op: k.Op}
	var parts []*imap.SearchKey
	for i := range k.Keys {
		if ranges(&k.Keys[i]) == 0 {
			plain.Keys = append(plain.Keys, k.Keys[i])
		} else {
			parts = append(parts, &k.Keys[i])
		}
	}
	found, err := b.find(ctx, &plain) // without keys it is all, or nothing
	for _, part := range parts {
		var more imap.UIDSet
		if err == nil {
			more, err = b.find(ctx, part)
		}
		found = put(found, more)
	}
	return found, err
}
