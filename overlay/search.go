package overlay

import (
	"context"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// Search names the messages with flags of the reader's own. The home's modification
// sequences do not tell of those.
func (b *box) Search(ctx context.Context, program *imap.SearchKey) (mailbox.Found, error) {
	named, err := b.name(program)
	if err != nil {
		return mailbox.Found{}, err
	}
	found, err := b.Mailbox.Search(ctx, named)
	return mailbox.Found{UIDs: found.UIDs}, err
}

// Sort is like Search.
func (b *box) Sort(ctx context.Context, keys []imap.SortKey, program *imap.SearchKey) (mailbox.Sorted, error) {
	named, err := b.name(program)
	if err != nil {
		return mailbox.Sorted{}, err
	}
	sorted, err := b.Mailbox.Sort(ctx, keys, named)
	return mailbox.Sorted{UIDs: sorted.UIDs}, err
}

// Thread is like Search.
func (b *box) Thread(ctx context.Context, alg imap.ThreadAlgorithm, program *imap.SearchKey) ([]imap.ThreadMember, error) {
	named, err := b.name(program)
	if err != nil {
		return nil, err
	}
	return b.Mailbox.Thread(ctx, alg, named)
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
