package namespace

import (
	"context"
	"slices"

	"github.com/roost-mail/roost/imap"
)

// metadataOf finds the account that answers for a name's annotations. Those of
// the server are the own account's.
func (t *Tree) metadataOf(name string) (place, error) {
	if name == "" {
		return place{account: t.cfg.Own}, nil
	}
	return t.find(name)
}

// GetMetadata passes on, and adds what the configuration gives: entries of the
// server, and special uses where a mailbox has none of its own.
func (t *Tree) GetMetadata(ctx context.Context, name string, q *imap.MetadataQuery) (imap.MetadataFound, error) {
	p, err := t.metadataOf(name)
	if err != nil {
		return imap.MetadataFound{}, err
	}
	found, err := p.account.GetMetadata(ctx, p.name, q)
	if err != nil || p.account != t.cfg.Own {
		return found, err
	}
	if name == "" {
		found.Entries = slices.DeleteFunc(found.Entries, func(e imap.MetadataEntry) bool { return isHidden(e.Name) })
		for _, e := range t.cfg.ServerMetadata {
			addEntry(&found, q, e)
		}
	} else if uses := t.cfg.Uses[p.name]; len(uses) > 0 {
		addEntry(&found, q, imap.MetadataEntry{Name: imap.MetadataSpecialUse, Value: imap.FormatSpecialUses(uses)})
	}
	return found, nil
}

// addEntry adds an entry that is asked for and has no value.
func addEntry(found *imap.MetadataFound, q *imap.MetadataQuery, e imap.MetadataEntry) {
	i := slices.IndexFunc(found.Entries, func(have imap.MetadataEntry) bool { return have.Name == e.Name })
	if !q.Matches(e.Name) || i >= 0 && found.Entries[i].Value != nil {
		return
	}
	if i >= 0 {
		found.Entries = slices.Delete(found.Entries, i, i+1)
	}
	if size := int64(len(e.Value)); q.MaxSize >= 0 && size > q.MaxSize {
		found.Longest = max(found.Longest, size)
		return
	}
	found.Entries = append(found.Entries, e)
}

// SetMetadata passes on.
func (t *Tree) SetMetadata(ctx context.Context, name string, entries []imap.MetadataEntry) error {
	p, err := t.metadataOf(name)
	if err != nil {
		return err
	}
	if name == "" && slices.ContainsFunc(entries, func(e imap.MetadataEntry) bool { return isHidden(e.Name) }) {
		return imap.NoPermission()
	}
	return p.account.SetMetadata(ctx, p.name, entries)
}
