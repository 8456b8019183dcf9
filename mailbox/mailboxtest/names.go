package mailboxtest

import (
	"slices"
	"strings"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

func nameTests() []test {
	return []test{
		{"NewMailHasAnInbox", func(h *home) {
			if got := h.owner().names(); !slices.Equal(got, []string{imap.Inbox}) {
				h.Fatalf("got mailboxes %q", got)
			}
		}},
		{"CreateMakesMissingLevels", func(h *home) {
			o := h.owner()
			o.create("a/b/c")
			if got, want := o.names(), []string{imap.Inbox, "a", "a/b", "a/b/c"}; !slices.Equal(got, want) {
				h.Fatalf("got %q, want %q", got, want)
			}
		}},
		{"CreateExisting", func(h *home) {
			o := h.owner()
			o.create("Work")
			h.wantCode(o.Create(h.Context(), "Work"), imap.CodeAlreadyExists, "create Work again")
			h.wantCode(o.Create(h.Context(), imap.Inbox), imap.CodeAlreadyExists, "create INBOX")
		}},
		{"CreateRefusesBadNames", func(h *home) {
			o := h.owner()
			for _, name := range []string{"a//b", "/a", "a/..", "./a", "a\x01b", "a%b", "a*b"} {
				if err := o.Create(h.Context(), name); err == nil {
					h.Errorf("create %q worked", name)
				}
			}
		}},
		{"Odd", oddNames},
		{"Deep", func(h *home) {
			o := h.owner()
			name := strings.Repeat("d/", 30) + "end"
			o.create(name)
			o.add(name, []string{shortMessage})
			if got := o.status(name); got.Messages != 1 {
				h.Fatalf("got %+v", got)
			}
		}},
		{"SeenByOtherSessions", func(h *home) {
			first, second := h.owner(), h.owner()
			second.names()
			first.create("Work")
			if !slices.Contains(second.names(), "Work") {
				h.Fatal("the other session does not see Work")
			}
		}},
		{"ListMatchesPatterns", listMatches},
		{"ListChildren", listChildren},
		{"DeleteKeepsWhatIsBelow", func(h *home) {
			o := h.owner()
			o.create("a/b")
			o.add("a", []string{shortMessage})
			h.must(o.Delete(h.Context(), "a"), "delete a")
			list, err := o.List(h.Context(), []string{"a"})
			h.must(err, "list")
			if len(list) != 1 || !slices.Contains(list[0].Attrs, imap.AttrNoSelect) {
				h.Fatalf("list a: got %v, want a level that is no mailbox", list)
			}
			if got := o.status("a/b"); got.Messages != 0 {
				h.Fatalf("a/b: got %+v", got)
			}
			_, err = o.Open(h.Context(), "a", false)
			h.wantCode(err, imap.CodeNonExistent, "open a")
		}},
		{"DeleteRefusals", func(h *home) {
			o := h.owner()
			h.wantCode(o.Delete(h.Context(), imap.Inbox), imap.CodeCannot, "delete INBOX")
			h.wantCode(o.Delete(h.Context(), "nowhere"), imap.CodeNonExistent, "delete what is not there")
		}},
		{"MissingMailbox", func(h *home) {
			o := h.owner()
			_, err := o.Open(h.Context(), "nowhere", true)
			h.wantCode(err, imap.CodeNonExistent, "open")
			_, err = o.Status(h.Context(), "nowhere", imap.StatusMessages)
			h.wantCode(err, imap.CodeNonExistent, "status")
			if !slices.Equal(o.names(), []string{imap.Inbox}) {
				h.Fatal("asking made a mailbox")
			}
		}},
		{"CreatedAnewHasNewUIDValidity", func(h *home) {
			o := h.owner()
			o.create("Work")
			before := o.status("Work").UIDValidity
			h.must(o.Delete(h.Context(), "Work"), "delete")
			o.create("Work")
			if after := o.status("Work").UIDValidity; after <= before {
				h.Fatalf("UIDVALIDITY was %d and is %d", before, after)
			}
		}},
	}
}

// oddNames makes and uses mailboxes whose names need care somewhere.
func oddNames(h *home) {
	o := h.owner()
	odd := []string{
		"with space", "Grüße/日本語", "a&b", "&-", "&AOQ-", `quo"te`, `back\slash`, "dot.dot",
		"(paren)", "{5}", "~tilde", "#hash", "[x]", "NIL", "'", "emoji 🐦", "INBOX/below", "inboxes", "trailing ",
	}
	o.create(odd...)
	got := o.names()
	for _, name := range odd {
		if !slices.Contains(got, name) {
			h.Errorf("list lacks %q", name)
		}
		o.add(name, []string{shortMessage})
		if s := o.status(name); s.Messages != 1 {
			h.Errorf("%q: got %+v", name, s)
		}
		o.open(name)
	}
}

func listMatches(h *home) {
	o := h.owner()
	o.create("Work/2025", "Work/2026/May", "Workshop")
	for _, c := range []struct{ patterns, want string }{
		{"*", "INBOX Work Work/2025 Work/2026 Work/2026/May Workshop"},
		{"%", "INBOX Work Workshop"},
		{"Work/%", "Work/2025 Work/2026"},
		{"Work*", "Work Work/2025 Work/2026 Work/2026/May Workshop"},
		{"*/May", "Work/2026/May"},
		{"inbox", "INBOX"},
		{"work", ""},
		{"Workshop Work/2%", "Work/2025 Work/2026 Workshop"},
	} {
		list, err := o.List(h.Context(), strings.Fields(c.patterns))
		h.must(err, "list")
		var got []string
		for _, e := range list {
			got = append(got, e.Name)
		}
		if strings.Join(got, " ") != c.want {
			h.Errorf("list %s: got %q, want %s", c.patterns, got, c.want)
		}
	}
}

func listChildren(h *home) {
	o := h.owner()
	o.create("Work/2025")
	list, err := o.List(h.Context(), []string{"*"})
	h.must(err, "list")
	for _, e := range list {
		want, other := imap.AttrHasNoChildren, imap.AttrHasChildren
		if e.Name == "Work" {
			want, other = other, want
		}
		if !slices.Contains(e.Attrs, want) || slices.Contains(e.Attrs, other) {
			h.Errorf("%s has attributes %v", e.Name, e.Attrs)
		}
	}
}

func renameTests() []test {
	return []test{
		{"TakesAllBelowAlong", func(h *home) {
			o := h.owner()
			o.create("a/b/c", "ab")
			o.add("a/b", []string{shortMessage}, imap.FlagFlagged)
			before := o.status("a/b")
			h.must(o.Rename(h.Context(), "a", "x/y"), "rename")
			if got, want := o.names(), []string{imap.Inbox, "ab", "x", "x/y", "x/y/b", "x/y/b/c"}; !slices.Equal(got, want) {
				h.Fatalf("got %q, want %q", got, want)
			}
			if after := o.status("x/y/b"); after.Messages != 1 || after.UIDNext != before.UIDNext {
				h.Fatalf("got %+v, was %+v", after, before)
			}
			o.open("x/y/b").wantFlags(1, imap.FlagFlagged)
		}},
		{"Refusals", func(h *home) {
			o := h.owner()
			o.create("a", "b", "c/d", "e/d")
			h.wantCode(o.Rename(h.Context(), "a", "b"), imap.CodeAlreadyExists, "onto another")
			h.wantCode(o.Rename(h.Context(), "nowhere", "x"), imap.CodeNonExistent, "what is not there")
			h.wantCode(o.Rename(h.Context(), "a", imap.Inbox), imap.CodeAlreadyExists, "onto INBOX")
			if err := o.Rename(h.Context(), "a", "a/b"); err == nil {
				h.Error("a was moved below itself")
			}
			if err := o.Rename(h.Context(), "a", "x//y"); err == nil {
				h.Error("a got a bad name")
			}
			if got, want := o.names(), []string{imap.Inbox, "a", "b", "c", "c/d", "e", "e/d"}; !slices.Equal(got, want) {
				h.Fatalf("got %q, want %q", got, want)
			}
		}},
		{"InboxLeavesItEmpty", func(h *home) {
			o := h.owner()
			o.create("INBOX/below")
			o.add(imap.Inbox, []string{shortMessage, shortMessage}, imap.FlagFlagged, imap.FlagSeen)
			h.must(o.Rename(h.Context(), imap.Inbox, "Old"), "rename")
			if got, want := o.names(), []string{imap.Inbox, "INBOX/below", "Old"}; !slices.Equal(got, want) {
				h.Fatalf("got %q, want %q", got, want)
			}
			if in, old := o.status(imap.Inbox), o.status("Old"); in.Messages != 0 || old.Messages != 2 || old.Unseen != 0 {
				h.Fatalf("INBOX has %+v, Old has %+v", in, old)
			}
			for _, m := range o.open("Old").fetch(imap.UIDRange(1, 100), &imap.FetchItems{Flags: true}) {
				if !sameFlags(m.Flags, []imap.Flag{imap.FlagFlagged, imap.FlagSeen}) {
					h.Errorf("message %d has %v", m.UID, m.Flags)
				}
			}
		}},
		{"TheOldNameIsFree", func(h *home) {
			o := h.owner()
			o.create("a")
			o.add("a", []string{shortMessage})
			old := o.status("a").UIDValidity
			h.must(o.Rename(h.Context(), "a", "b"), "rename")
			o.create("a")
			if got := o.status("a"); got.Messages != 0 || got.UIDValidity == old {
				h.Fatalf("got %+v, and the old one had UIDVALIDITY %d", got, old)
			}
		}},
		{"AnOpenMailboxGoesOn", func(h *home) {
			o, b := h.withMail(1)
			h.must(o.Rename(h.Context(), "Work", "Play"), "rename")
			b.wantQuiet()
			b.store(uids(1), mailbox.FlagsAdd, imap.FlagFlagged)
			o.open("Play").wantFlags(1, imap.FlagFlagged)
		}},
	}
}

func subscriptionTests() []test {
	return []test{
		{"SetAndRemove", func(h *home) {
			o := h.owner()
			o.create("b", "a/ü")
			o.subscribe("b", true)
			o.subscribe("a/ü", true)
			o.subscribe("a/ü", true)
			o.wantSubscribed("a/ü", "b")
			o.subscribe("a/ü", false)
			o.subscribe("never there", false)
			o.wantSubscribed("b")
			h.owner().wantSubscribed("b")
		}},
		{"NeedNoMailbox", func(h *home) {
			o := h.owner()
			o.subscribe("shared/bob/Work", true)
			o.wantSubscribed("shared/bob/Work")
		}},
		{"OutliveTheMailbox", func(h *home) {
			o := h.owner()
			o.create("Work")
			o.subscribe("Work", true)
			h.must(o.Delete(h.Context(), "Work"), "delete")
			o.wantSubscribed("Work")
			o.subscribe("Work", false)
			o.wantSubscribed()
		}},
	}
}

func (u *user) subscribe(name string, subscribed bool) {
	u.Helper()
	u.must(u.SetSubscribed(u.Context(), name, subscribed), "subscribe "+name)
}

func (u *user) wantSubscribed(want ...string) {
	u.Helper()
	got, err := u.Subscriptions(u.Context())
	u.must(err, "subscriptions")
	if !slices.Equal(got, want) {
		u.Fatalf("subscribed: got %q, want %q", got, want)
	}
}
