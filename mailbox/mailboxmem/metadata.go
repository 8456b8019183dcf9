package mailboxmem

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// metadata are values by user and entry; the user "" has the shared ones.
type metadata map[string]map[string][]byte

// holder is the user under whose name an entry is kept.
func holder(acting, entry string) string {
	if imap.MetadataIsPrivate(entry) {
		return acting
	}
	return ""
}

func (m metadata) set(acting string, entries []imap.MetadataEntry) {
	for _, e := range entries {
		user := holder(acting, e.Name)
		if e.Value == nil {
			delete(m[user], e.Name)
			continue
		}
		if m[user] == nil {
			m[user] = map[string][]byte{}
		}
		m[user][e.Name] = bytes.Clone(e.Value)
	}
}

func (m metadata) clone() metadata {
	out := metadata{}
	for user, entries := range m {
		out[user] = maps.Clone(entries)
	}
	return out
}

// of are the entries that acting sees.
func (m metadata) of(acting string) []imap.MetadataEntry {
	var all []imap.MetadataEntry
	for _, user := range []string{acting, ""} {
		for name, value := range m[user] {
			all = append(all, imap.MetadataEntry{Name: name, Value: value})
		}
	}
	slices.SortFunc(all, func(a, b imap.MetadataEntry) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// uses are the special uses of b as its owner's sessions see them.
func (a *account) uses(b *box) []imap.Attr {
	if a.acting != a.mail.owner {
		return nil
	}
	uses, _ := imap.ParseSpecialUses(b.metadata[a.acting][imap.MetadataSpecialUse])
	return uses
}

func (a *account) annotated(name string) (metadata, error) {
	if name == "" {
		return a.mail.metadata, nil
	}
	if b := a.mail.boxes[name]; b != nil {
		return b.metadata, nil
	}
	return nil, imap.NoMailbox()
}

func (a *account) GetMetadata(_ context.Context, name string, q *imap.MetadataQuery) (imap.MetadataFound, error) {
	defer a.lock()()
	m, err := a.annotated(name)
	if err != nil {
		return imap.MetadataFound{}, err
	}
	return q.Select(m.of(a.acting)), nil
}

func (a *account) SetMetadata(_ context.Context, name string, entries []imap.MetadataEntry) error {
	defer a.lock()()
	m, err := a.annotated(name)
	if err == nil {
		err = mailbox.CheckMetadata(entries)
	}
	if err != nil {
		return err
	}
	after := m.clone()
	after.set(a.acting, entries)
	for _, user := range []string{a.acting, ""} {
		if n := len(after[user]); n > imap.MaxMetadataEntries && n > len(m[user]) {
			return imap.Errorf(imap.CodeMetadataTooMany, "Too many entries")
		}
	}
	m.set(a.acting, entries)
	b := a.mail.boxes[name]
	if b != nil {
		a.setMode(b, entries)
		b.annotated(a.in(b), entries)
	}
	a.mail.changedMetadata(a.acting, b, entries)
	return nil
}

// annotated raises HIGHESTMODSEQ for who can see the change (RFC 7162 section 3.2).
func (b *box) annotated(r reader, entries []imap.MetadataEntry) {
	b.lastModSeq++
	name := r.who
	for _, e := range entries {
		if imap.MetadataIsPrivate(e.Name) {
			b.private[name] = b.lastModSeq
		} else {
			b.shared = b.lastModSeq
		}
	}
}

// setMode follows an entry that says whether private flags are readers' own, in b
// and in those below that say nothing, with nothing in between that does.
func (a *account) setMode(b *box, entries []imap.MetadataEntry) {
	i := slices.IndexFunc(entries, func(e imap.MetadataEntry) bool { return e.Name == imap.MetadataPrivateFlags })
	if i < 0 {
		return
	}
	mode := string(entries[i].Value)
	for above := parent(b.name); mode == "" && above != ""; above = parent(above) {
		if p := a.mail.boxes[above]; p != nil {
			mode = p.mode
			break
		}
	}
	for _, f := range a.mail.boxes {
		if f != b && (!strings.HasPrefix(f.name, b.name+"/") || a.mail.saysItself(f, b)) {
			continue
		}
		was := a.mail.ownIn(f.mode)
		f.mode = mode
		if is := a.mail.ownIn(mode); is != was {
			f.become(is)
			f.wakeAll()
		}
	}
}

// saysItself reports whether f, or a level between it and top, has an entry of its own.
func (m *Mail) saysItself(f, top *box) bool {
	for name := f.name; name != top.name; name = parent(name) {
		if b := m.boxes[name]; b != nil && b.metadata[""][imap.MetadataPrivateFlags] != nil {
			return true
		}
	}
	return false
}
