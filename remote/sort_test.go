package remote_test

import (
	"slices"
	"testing"

	"github.com/roost-mail/roost/imap"
)

// TestWidestPrograms: what a session may be asked for, its mailbox at another
// backend can be asked for.
func TestWidestPrograms(t *testing.T) {
	b := newBackend(t)
	a := b.account(owner)
	t.Cleanup(func() { _ = a.Close() })
	m, err := a.Open(t.Context(), imap.Inbox, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	all := imap.SearchKey{Op: imap.SearchAll}
	// As a session writes them, with the messages told of in front.
	told := imap.SearchKey{Op: imap.SearchUIDs, UIDs: imap.UIDRange(1, 9)}
	wide := imap.SearchKey{Op: imap.SearchAnd, Keys: append([]imap.SearchKey{told}, slices.Repeat([]imap.SearchKey{all}, imap.MaxSearchKeys-1)...)}
	deep := all
	for range imap.MaxSearchDepth - 1 {
		deep = deep.Not()
	}
	deep = imap.SearchKey{Op: imap.SearchAnd, Keys: []imap.SearchKey{told, deep}}
	for name, program := range map[string]*imap.SearchKey{"wide": &wide, "deep": &deep} {
		keys := make([]imap.SortKey, imap.MaxSortKeys)
		if _, err := m.Sort(t.Context(), keys, program); err != nil {
			t.Errorf("sort, %s: %v", name, err)
		}
		if _, err := m.Thread(t.Context(), imap.ThreadRefs, program); err != nil {
			t.Errorf("thread, %s: %v", name, err)
		}
	}
}
