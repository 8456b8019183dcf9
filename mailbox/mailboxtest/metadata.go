package mailboxtest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

func metadataTests() []test {
	return []test{
		{"SetAndGet", func(h *home) {
			o := h.owner()
			o.create("Work")
			o.annotate("Work", "/private/comment", "mine", "/shared/comment", "ours", "/shared/vendor/x/a", "line\r\nline \x00 ü", "/shared/vendor/x/empty", "")
			o.wantMetadata("Work", "/private/comment mine", "/private/comment")
			o.wantMetadata("Work", "/private/comment mine /shared/comment ours", "/shared/comment", "/private/comment")
			o.wantMetadata("Work", "/shared/vendor/x/a line\r\nline \x00 ü /shared/vendor/x/empty ", "/shared/vendor/x/a", "/shared/vendor/x/empty")
			o.wantMetadata("Work", "/shared/none NIL", "/shared/none")
			o.annotate("Work", "/shared/comment", "NIL", "/private/comment", "new", "/shared/none", "NIL")
			o.wantMetadata("Work", "/private/comment new /shared/comment NIL", "/shared/comment", "/private/comment")
			h.owner().wantMetadata("Work", "/private/comment new", "/private/comment")
			o.wantMetadata(imap.Inbox, "/private/comment NIL", "/private/comment")
		}},
		{"Depth", func(h *home) {
			o := h.owner()
			o.create("Work")
			o.annotate("Work", "/shared/vendor/x", "0", "/shared/vendor/x/a", "1", "/shared/vendor/x/a/b", "2", "/shared/vendor/xy", "no", "/private/vendor/x/a", "p")
			for _, c := range []struct {
				depth       int
				names, want string
			}{
				{0, "/shared/vendor/x", "/shared/vendor/x"},
				{1, "/shared/vendor/x", "/shared/vendor/x /shared/vendor/x/a"},
				{imap.MetadataDepthAll, "/shared/vendor/x", "/shared/vendor/x /shared/vendor/x/a /shared/vendor/x/a/b"},
				{1, "/shared", ""},
				{imap.MetadataDepthAll, "/shared /private", "/private/vendor/x/a /shared/vendor/x /shared/vendor/x/a /shared/vendor/x/a/b /shared/vendor/xy"},
			} {
				found := o.metadata("Work", &imap.MetadataQuery{Names: strings.Fields(c.names), Depth: c.depth, MaxSize: -1})
				var got []string
				for _, e := range found.Entries {
					got = append(got, e.Name)
				}
				slices.Sort(got)
				if strings.Join(got, " ") != c.want {
					h.Errorf("depth %d of %s: got %q, want %s", c.depth, c.names, got, c.want)
				}
			}
		}},
		{"MaxSize", func(h *home) {
			o := h.owner()
			o.annotate(imap.Inbox, "/shared/a", "12345", "/shared/b", "1234567", "/shared/c", "123")
			q := &imap.MetadataQuery{Names: []string{"/shared/a", "/shared/b", "/shared/c"}, MaxSize: 4}
			if found := o.metadata(imap.Inbox, q); len(found.Entries) != 1 || found.Entries[0].Name != "/shared/c" || found.Longest != 7 {
				h.Errorf("got %+v", found)
			}
			q.MaxSize = 7
			if found := o.metadata(imap.Inbox, q); len(found.Entries) != 3 || found.Longest != 0 {
				h.Errorf("got %+v", found)
			}
		}},
		{"AllOrNothing", func(h *home) {
			o := h.owner()
			m := o.Account.(mailbox.Metadata)
			long := bytes.Repeat([]byte{'x'}, imap.MaxMetadataValue+1)
			err := m.SetMetadata(h.Context(), imap.Inbox, []imap.MetadataEntry{{Name: "/shared/a", Value: []byte("1")}, {Name: "/shared/b", Value: long}})
			h.wantCode(err, imap.CodeMetadataMaxSize, "a long value")
			o.wantMetadata(imap.Inbox, "/shared/a NIL", "/shared/a")
			o.annotate(imap.Inbox, "/shared/b", string(long[1:]))
			var many []imap.MetadataEntry
			for i := range imap.MaxMetadataEntries {
				many = append(many, imap.MetadataEntry{Name: fmt.Sprintf("/shared/e%d", i), Value: []byte("1")})
			}
			h.wantCode(m.SetMetadata(h.Context(), imap.Inbox, many), imap.CodeMetadataTooMany, "one too many")
			o.wantMetadata(imap.Inbox, "/shared/e0 NIL", "/shared/e0")
			h.must(m.SetMetadata(h.Context(), imap.Inbox, many[1:]), "as many as there may be")
			err = m.SetMetadata(h.Context(), imap.Inbox, []imap.MetadataEntry{{Name: "/shared/x", Value: []byte("1")}})
			h.wantCode(err, imap.CodeMetadataTooMany, "one more")
			o.annotate(imap.Inbox, "/shared/e5", "NIL", "/shared/x", "1", "/private/x", "1")
		}},
		{"FollowTheMailbox", func(h *home) {
			o := h.owner()
			o.create("a/b")
			o.annotate("a/b", "/shared/comment", "ours", "/private/comment", "mine")
			h.must(o.Rename(h.Context(), "a", "c"), "rename")
			o.wantMetadata("c/b", "/private/comment mine /shared/comment ours", "/private/comment", "/shared/comment")
			h.must(o.Delete(h.Context(), "c/b"), "delete")
			o.create("c/b")
			o.wantMetadata("c/b", "/private/comment NIL", "/private/comment")
			_, err := o.Account.(mailbox.Metadata).GetMetadata(h.Context(), "nowhere", &imap.MetadataQuery{Names: []string{"/shared/a"}, MaxSize: -1})
			h.wantCode(err, imap.CodeNonExistent, "get of a missing mailbox")
			err = o.Account.(mailbox.Metadata).SetMetadata(h.Context(), "nowhere", []imap.MetadataEntry{{Name: "/shared/a", Value: []byte("1")}})
			h.wantCode(err, imap.CodeNonExistent, "set of a missing mailbox")
		}},
		{"InboxKeepsItsOwn", func(h *home) {
			o := h.owner()
			o.annotate(imap.Inbox, "/shared/comment", "ours")
			h.must(o.Rename(h.Context(), imap.Inbox, "Old"), "rename")
			o.wantMetadata(imap.Inbox, "/shared/comment ours", "/shared/comment")
			o.wantMetadata("Old", "/shared/comment ours", "/shared/comment")
			o.annotate("Old", "/shared/comment", "changed")
			o.wantMetadata(imap.Inbox, "/shared/comment ours", "/shared/comment")
		}},
		{"OfTheServer", func(h *home) {
			o := h.owner()
			o.annotate("", "/private/vendor/x/settings", "dark")
			h.owner().wantMetadata("", "/private/vendor/x/settings dark", "/private/vendor/x/settings")
			o.wantMetadata(imap.Inbox, "/private/vendor/x/settings NIL", "/private/vendor/x/settings")
			o.annotate("", "/private/vendor/x/settings", "NIL")
			o.wantMetadata("", "/private/vendor/x/settings NIL", "/private/vendor/x/settings")
		}},
	}
}

// readerMetadataTests need readers.
func readerMetadataTests() []test {
	return []test{
		{"PrivateIsOnesOwn", func(h *home) {
			o := h.owner()
			o.create("Work")
			h.grant("Work", "bob", "carol")
			bob, carol := h.reader("bob"), h.reader("carol")
			o.annotate("Work", "/private/comment", "ann's", "/shared/comment", "all")
			bob.annotate("Work", "/private/comment", "bob's")
			bob.wantMetadata("Work", "/private/comment bob's /shared/comment all", "/private/comment", "/shared/comment")
			carol.wantMetadata("Work", "/private/comment NIL", "/private/comment")
			bob.annotate("Work", "/shared/comment", "bob was here")
			o.wantMetadata("Work", "/private/comment ann's /shared/comment bob was here", "/private/comment", "/shared/comment")
			h.must(o.Rename(h.Context(), "Work", "Play"), "rename")
			bob.wantMetadata("Play", "/private/comment bob's", "/private/comment")
		}},
		{"UsesAreTheOwners", func(h *home) {
			o := h.owner()
			h.must(o.Create(h.Context(), "Sent", `\Sent`), "create")
			h.grant("Sent", "bob")
			o.wantUses(`Sent \Sent`)
			h.reader("bob").wantUses("")
			h.reader("bob").wantMetadata("Sent", "/private/specialuse NIL", "/private/specialuse")
		}},
	}
}

func useTests() []test {
	return []test{
		{"Create", func(h *home) {
			o := h.owner()
			h.must(o.Create(h.Context(), "a/Gesendet", `\Sent`), "create")
			h.must(o.Create(h.Context(), "Mixed", `\Drafts`, `\Junk`), "create")
			o.create("Plain")
			o.wantUses(`Mixed \Drafts \Junk, a/Gesendet \Sent`)
			o.wantMetadata("Mixed", `/private/specialuse \Drafts \Junk`, "/private/specialuse")
			h.wantCode(o.Create(h.Context(), "Plain", `\Trash`), imap.CodeAlreadyExists, "create what is there")
			o.wantUses(`Mixed \Drafts \Junk, a/Gesendet \Sent`)
		}},
		{"ChangedByMetadata", func(h *home) {
			o := h.owner()
			o.create("Old")
			o.annotate("Old", imap.MetadataSpecialUse, `\archive`)
			o.wantUses(`Old \Archive`)
			err := o.Account.(mailbox.Metadata).SetMetadata(h.Context(), "Old", []imap.MetadataEntry{{Name: imap.MetadataSpecialUse, Value: []byte(`\Nonsense`)}})
			h.wantCode(err, imap.CodeUseAttr, "an unknown use")
			h.must(o.Rename(h.Context(), "Old", "Older"), "rename")
			o.wantUses(`Older \Archive`)
			o.annotate("Older", imap.MetadataSpecialUse, "NIL")
			o.wantUses("")
		}},
	}
}

// annotate sets entries, given as names and values; NIL removes one.
func (u *user) annotate(name string, pairs ...string) {
	u.Helper()
	var entries []imap.MetadataEntry
	for i := 0; i < len(pairs); i += 2 {
		e := imap.MetadataEntry{Name: pairs[i], Value: []byte(pairs[i+1])}
		if pairs[i+1] == "NIL" {
			e.Value = nil
		}
		entries = append(entries, e)
	}
	m, ok := u.Account.(mailbox.Metadata)
	if !ok {
		u.Fatal("account has no metadata")
	}
	u.must(m.SetMetadata(u.Context(), name, entries), "set metadata of "+name)
}

func (u *user) metadata(name string, q *imap.MetadataQuery) imap.MetadataFound {
	u.Helper()
	m, ok := u.Account.(mailbox.Metadata)
	if !ok {
		u.Fatal("account has no metadata")
	}
	found, err := m.GetMetadata(u.Context(), name, q)
	u.must(err, "get metadata of "+name)
	return found
}

// wantMetadata compares entries, sorted by name.
func (u *user) wantMetadata(name, want string, entries ...string) {
	u.Helper()
	found := u.metadata(name, &imap.MetadataQuery{Names: entries, MaxSize: -1})
	var got []string
	for _, e := range found.Entries {
		value := string(e.Value)
		if e.Value == nil {
			value = "NIL"
		}
		got = append(got, e.Name+" "+value)
	}
	slices.Sort(got)
	if strings.Join(got, " ") != want {
		u.Fatalf("metadata of %q: got %q, want %q", name, got, want)
	}
}

// wantUses compares the special uses in LIST.
func (u *user) wantUses(want string) {
	u.Helper()
	list, err := u.List(u.Context(), []string{"*"})
	u.must(err, "list")
	var got []string
	for _, e := range list {
		uses := slices.DeleteFunc(slices.Clone(e.Attrs), func(a imap.Attr) bool { return !a.IsSpecialUse() })
		if len(uses) > 0 {
			got = append(got, e.Name+" "+string(imap.FormatSpecialUses(uses)))
		}
	}
	if strings.Join(got, ", ") != want {
		u.Fatalf("special uses: got %q, want %s", got, want)
	}
}
