package store

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// metadata are annotations, by user and then by entry; the user "" has the
// shared ones. It is guarded as state is. Values are never changed in place.
type metadata map[string]map[string][]byte

// Bounds of all values and names in an account.
const (
	maxSharedMetadata = 4 << 20   // of the shared ones, and of the owner's
	maxReaderMetadata = 256 << 10 // of each other user's
)

// typeMetadata's record: entries of one user of a mailbox, or of the account if
// box is 0.
type recMetadata struct {
	box     uint32
	user    string
	modseq  uint64
	entries []imap.MetadataEntry
}

func (*recMetadata) kind() recordType { return typeMetadata }

func (r *recMetadata) encode(e *encoder) {
	e.uint(uint64(r.box))
	e.string(r.user)
	e.uint(r.modseq)
	e.uint(uint64(len(r.entries)))
	for _, entry := range r.entries {
		e.string(entry.Name)
		e.bool(entry.Value != nil)
		if entry.Value != nil {
			e.bytes(entry.Value)
		}
	}
}

func (r *recMetadata) decode(d *decoder) {
	r.box = d.uint32()
	r.user = d.string()
	r.modseq = d.uint()
	r.entries = make([]imap.MetadataEntry, d.count(2))
	for i := range r.entries {
		r.entries[i].Name = d.string()
		if d.bool() {
			r.entries[i].Value = append([]byte{}, d.bytes()...)
		}
	}
}

// apply raises HIGHESTMODSEQ for who can see the change (RFC 7162 section 3.2).
func (r *recMetadata) apply(s *state, _ place) error {
	s.modseq = max(s.modseq, r.modseq)
	if r.box == 0 {
		s.metadata = s.metadata.with(r.user, r.entries)
		return nil
	}
	b := s.boxes[r.box]
	if b == nil {
		return errGone
	}
	b.metadata = b.metadata.with(r.user, r.entries)
	if r.user == "" {
		b.shared = max(b.shared, r.modseq)
	} else {
		own := b.reader(r.user)
		own.highest = max(own.highest, r.modseq)
	}
	return nil
}

// with is m after a change. m itself is changed, but for nil.
func (m metadata) with(user string, entries []imap.MetadataEntry) metadata {
	for _, e := range entries {
		switch {
		case e.Value == nil:
			delete(m[user], e.Name)
			continue
		case m == nil:
			m = metadata{}
		}
		if m[user] == nil {
			m[user] = map[string][]byte{}
		}
		m[user][e.Name] = e.Value
	}
	if len(m[user]) == 0 {
		delete(m, user)
	}
	return m
}

// without is m without a user's entries.
func (m metadata) without(user string) metadata {
	delete(m, user)
	return m
}

// size is what a user's entries take.
func (m metadata) size(user string) (n int) {
	for name, value := range m[user] {
		n += len(name) + len(value)
	}
	return n
}

// list are a user's entries, sorted by name.
func (m metadata) list(user string) []imap.MetadataEntry {
	var out []imap.MetadataEntry
	for _, name := range slices.Sorted(maps.Keys(m[user])) {
		out = append(out, imap.MetadataEntry{Name: name, Value: m[user][name]})
	}
	return out
}

func (m metadata) encode(e *encoder) {
	if len(m) == 0 {
		return
	}
	e.uint(uint64(len(m)))
	for _, user := range slices.Sorted(maps.Keys(m)) {
		e.string(user)
		list := m.list(user)
		e.uint(uint64(len(list)))
		for _, entry := range list {
			e.string(entry.Name)
			e.bytes(entry.Value)
		}
	}
}

func decodeMetadata(d *decoder) metadata {
	m := metadata{}
	for range d.count(2) {
		user, entries := d.string(), map[string][]byte{}
		for range d.count(2) {
			name := d.string()
			entries[name] = append([]byte{}, d.bytes()...)
		}
		if _, twice := m[user]; twice || len(entries) == 0 {
			d.fail()
		}
		m[user] = entries
	}
	return m
}

// holder is the user under whose name an entry is kept.
func (v view) holder(entry string) string {
	if imap.MetadataIsPrivate(entry) {
		return v.acting
	}
	return ""
}

// uses are the special uses of b as a view sees them.
func (b *box) uses(v view) []imap.Attr {
	if !v.owner || b.metadata == nil {
		return nil
	}
	uses, _ := imap.ParseSpecialUses(b.metadata[v.acting][imap.MetadataSpecialUse])
	return uses
}

// Uses implements mailbox.EntryKeeper.
func (s *Session) Uses(context.Context) (map[string][]imap.Attr, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.uses(), s.usable()
}

func (s *Session) uses() map[string][]imap.Attr {
	out := map[string][]imap.Attr{}
	for name, b := range s.st.names {
		if uses := b.uses(s.view); len(uses) > 0 {
			out[name] = uses
		}
	}
	return out
}

// GetMetadata implements mailbox.Metadata.
func (s *Session) GetMetadata(_ context.Context, name string, q *imap.MetadataQuery) (imap.MetadataFound, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	m := s.st.metadata
	if name != "" {
		b, err := s.named(name)
		if err != nil {
			return imap.MetadataFound{}, err
		}
		m = b.metadata
	}
	return q.Select(append(m.list(s.view.acting), m.list("")...)), s.usable()
}

// SetMetadata implements mailbox.Metadata.
func (s *Session) SetMetadata(ctx context.Context, name string, entries []imap.MetadataEntry) error {
	if err := mailbox.CheckMetadata(entries); err != nil {
		return err
	}
	return s.submit(ctx, &txn{durable: true, alone: true, build: func(b *builder) error {
		if name == "" {
			return b.annotate(0, b.st.metadata, entries, s.view)
		}
		m := b.st.names[name]
		if m == nil {
			return imap.NoMailbox()
		}
		if err := b.annotate(m.id, m.metadata, entries, s.view); err != nil {
			return err
		}
		return b.mode(m, entries, s.view)
	}})
}

// annotate makes the records of a SetMetadata.
func (b *builder) annotate(box uint32, have metadata, entries []imap.MetadataEntry, v view) error {
	byUser := map[string][]imap.MetadataEntry{}
	for _, e := range entries {
		if e.Value != nil {
			e.Value = append([]byte{}, e.Value...) // the caller's may be used again
		}
		user := v.holder(e.Name)
		byUser[user] = append(byUser[user], e)
	}
	for _, user := range slices.Sorted(maps.Keys(byUser)) {
		if err := b.metadataRoom(have, user, byUser[user], v); err != nil {
			return err
		}
		b.add(&recMetadata{box: box, user: user, modseq: b.modseq(), entries: byUser[user]})
	}
	return nil
}

// metadataRoom refuses what would grow beyond a bound.
func (b *builder) metadataRoom(have metadata, user string, entries []imap.MetadataEntry, v view) error {
	old := metadata{user: have[user]}
	after := metadata{user: maps.Clone(have[user])}.with(user, entries)
	grown := after.size(user) - old.size(user)
	most := maxSharedMetadata
	if user != "" && !v.owner {
		most = maxReaderMetadata
	}
	tooMany := len(after[user]) > imap.MaxMetadataEntries && len(after[user]) > len(old[user])
	if tooMany || grown > 0 && b.st.metadataSize(user)+grown > most {
		return imap.Errorf(imap.CodeMetadataTooMany, "Too many entries")
	}
	return nil
}

// metadataSize is what a user's entries take in the whole account.
func (s *state) metadataSize(user string) int {
	n := s.metadata.size(user)
	for _, b := range s.boxes {
		n += b.metadata.size(user)
	}
	return n
}

// copyMetadata gives the new mailbox box the annotations m.
func (b *builder) copyMetadata(m metadata, box uint32) {
	for _, user := range slices.Sorted(maps.Keys(m)) {
		b.add(&recMetadata{box: box, user: user, modseq: b.modseq(), entries: m.list(user)})
	}
}

// metadata looks for entries that no client could have set.
func (c *checker) metadata(where string, m metadata) {
	for user, entries := range m {
		for name, value := range entries {
			canonical, err := imap.CheckMetadataName(name)
			if err != nil || canonical != name || len(value) > imap.MaxMetadataValue || imap.MetadataIsPrivate(name) != (user != "") {
				c.bad("%s: metadata %q of %q with %d bytes", where, name, user, len(value))
			}
		}
		if len(entries) == 0 || len(entries) > imap.MaxMetadataEntries {
			c.bad("%s: %d metadata entries of %q", where, len(entries), user)
		}
	}
}

// String is for Dump.
func (m metadata) String() string {
	var out strings.Builder
	for _, user := range slices.Sorted(maps.Keys(m)) {
		for _, e := range m.list(user) {
			fmt.Fprintf(&out, " %s(%q)=%q", e.Name, user, bytes.TrimSpace(e.Value[:min(len(e.Value), 60)]))
		}
	}
	return out.String()
}
