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
		{"HaveDates", func(h *home) {
			o := h.owner()
			keeper, ok := o.Account.(mailbox.EntryKeeper)
			if !ok {
				h.T.Skip("keeps no entries")
			}
			const early, late = 1_800_000_000, 1_900_000_000
			step := func(what string, first int64, err error) {
				h.Helper()
				h.must(err, what)
				if at, err := keeper.Expiry(h.Context()); at != first || err != nil {
					h.Errorf("after %s: the first date is %d, %v; want %d", what, at, err, first)
				}
			}
			set := func(name string, entries ...mailbox.Entry) error {
				return keeper.UpdateEntries(h.Context(), name, func(mailbox.Standing) ([]mailbox.Entry, error) { return entries, nil })
			}
			dated := func(at int64) mailbox.Entry {
				return mailbox.Entry{Identifier: "user=bob", Rights: imap.RightRead, Expires: at}
			}
			o.create("a")
			step("making a mailbox", 0, nil)
			entries := []mailbox.Entry{{Identifier: "anyone", Negative: true, Rights: imap.RightRead}, dated(late)}
			step("giving rights", late, set("a", entries...))
			if got, err := keeper.Standing(h.Context(), "a"); err != nil || !slices.Equal(got.Own, entries) {
				h.Errorf("entries %v, %v; want %v", got.Own, err, entries)
			}
			o.create("b")
			step("giving other rights", early, set("b", dated(early)))
			step("a rename", early, o.Rename(h.Context(), "b", "c"))
			step("a deletion", late, o.Delete(h.Context(), "c"))
			o.create("a/b")
			step("changing the level above", late, set("a"))
			step("changing what was inherited", 0, set("a/b", dated(0)))
		}},
	}
}
