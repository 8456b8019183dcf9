package mailboxtest

import (
	"slices"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// entryTests are for homes that keep ACL entries.
func entryTests() []test {
	return []test{
		{"FollowTheOpenMailbox", func(h *home) {
			o := h.owner()
			keeper, ok := o.Account.(mailbox.EntryKeeper)
			if !ok {
				h.T.Skip("keeps no entries")
			}
			set := func(name, identifier string) {
				h.must(keeper.UpdateEntries(h.Context(), name, func(mailbox.Standing) ([]mailbox.Entry, error) {
					return []mailbox.Entry{{Identifier: identifier, Rights: imap.RightRead}}, nil
				}), "update entries of "+name)
			}
			o.create("Work")
			set("Work", "user=first")
			m, err := o.Open(h.Context(), "Work", false)
			h.must(err, "open")
			defer m.Close() //nolint:errcheck // nothing to lose
			open, ok := m.(mailbox.EntryHolder)
			if !ok {
				h.Fatal("an open mailbox does not know its entries, so nobody can judge it after a rename")
			}
			want := func(when, identifier string) {
				h.Helper()
				got, err := open.Standing(h.Context())
				h.must(err, "entries "+when)
				if !slices.ContainsFunc(got.Own, func(e mailbox.Entry) bool { return e.Identifier == identifier }) {
					h.Errorf("%s: entries %v, want %s", when, got.Own, identifier)
				}
			}
			want("when opened", "user=first")
			h.must(o.Rename(h.Context(), "Work", "Moved"), "rename")
			o.create("Work")
			set("Work", "user=second")
			want("after another got the name", "user=first")
			set("Moved", "user=third")
			want("after a change", "user=third")
			h.must(o.Delete(h.Context(), "Moved"), "delete")
			if _, err := open.Standing(h.Context()); imap.CodeOf(err) != imap.CodeNonExistent {
				h.Errorf("after deletion: %v", err)
			}
		}},
		{"AreInheritedOnce", func(h *home) {
			o := h.owner()
			keeper, ok := o.Account.(mailbox.EntryKeeper)
			if !ok {
				h.T.Skip("keeps no entries")
			}
			replace := func(identifier string) func(mailbox.Standing) ([]mailbox.Entry, error) {
				return func(mailbox.Standing) ([]mailbox.Entry, error) {
					return []mailbox.Entry{{Identifier: identifier, Rights: imap.RightLookup}}, nil
				}
			}
			o.create("a")
			h.must(keeper.UpdateEntries(h.Context(), "a", replace("user=bob")), "update")
			o.create("a/b/c")
			h.must(keeper.UpdateEntries(h.Context(), "a", replace("user=eve")), "update again")
			got, err := keeper.Standing(h.Context(), "a/b/c")
			h.must(err, "entries")
			if len(got.Own) != 1 || got.Own[0].Identifier != "user=bob" {
				h.Errorf("inherited %v", got.Own)
			}
		}},
	}
}
