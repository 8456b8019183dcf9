package mailboxtest

import (
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

func storeTests() []test {
	return []test{
		{"Add", func(h *home) {
			_, b := h.withMail(2, imap.FlagFlagged)
			b.wantStored(b.store(uids(1), mailbox.FlagsAdd, imap.FlagSeen, imap.FlagFlagged), 1, imap.FlagFlagged, imap.FlagSeen)
			b.wantFlags(1, imap.FlagFlagged, imap.FlagSeen)
			b.wantFlags(2, imap.FlagFlagged)
		}},
		{"Remove", func(h *home) {
			_, b := h.withMail(1, imap.FlagFlagged, imap.FlagSeen, "$Label1")
			b.wantStored(b.store(uids(1), mailbox.FlagsRemove, imap.FlagFlagged, "$label1", imap.FlagDraft), 1, imap.FlagSeen)
			b.wantFlags(1, imap.FlagSeen)
		}},
		{"Replace", func(h *home) {
			_, b := h.withMail(1, imap.FlagFlagged, imap.FlagSeen)
			b.wantStored(b.store(uids(1), mailbox.FlagsReplace, imap.FlagDraft, "work"), 1, imap.FlagDraft, "work")
			b.wantFlags(1, imap.FlagDraft, "work")
		}},
		{"ReplaceByNothing", func(h *home) {
			_, b := h.withMail(1, imap.FlagFlagged, imap.FlagSeen)
			b.wantStored(b.store(uids(1), mailbox.FlagsReplace), 1)
			b.wantFlags(1)
		}},
		{"TellsOfUnchangedToo", func(h *home) {
			_, b := h.withMail(2, imap.FlagSeen)
			got := b.store(imap.UIDRange(1, 9), mailbox.FlagsAdd, imap.FlagSeen)
			if len(got) != 2 || got[0].UID != 1 || got[1].UID != 2 {
				h.Fatalf("got %+v", got)
			}
		}},
		{"AddNothing", func(h *home) {
			_, b := h.withMail(1, imap.FlagSeen)
			b.store(uids(1), mailbox.FlagsAdd)
			b.wantFlags(1, imap.FlagSeen)
		}},
		{"Silent", func(h *home) {
			_, b := h.withMail(1)
			b.storeSilent(uids(1), mailbox.FlagsAdd, imap.FlagSeen)
			b.storeSilent(uids(1), mailbox.FlagsReplace, imap.FlagFlagged)
			b.wantQuiet()
			b.wantFlags(1, imap.FlagFlagged)
		}},
		{"UnknownAndEmpty", func(h *home) {
			_, b := h.withMail(1)
			if got := b.store(uids(7, 8), mailbox.FlagsAdd, imap.FlagSeen); len(got) != 0 {
				h.Errorf("unknown UIDs: got %+v", got)
			}
			if got := b.store(nil, mailbox.FlagsAdd, imap.FlagSeen); len(got) != 0 {
				h.Errorf("no UIDs: got %+v", got)
			}
			b.wantFlags(1)
		}},
		{"OwnChangesAreNotReported", func(h *home) {
			_, b := h.withMail(3)
			b.store(imap.UIDRange(1, 3), mailbox.FlagsAdd, imap.FlagSeen)
			b.wantQuiet()
		}},
		{"OthersChangesAreReported", func(h *home) {
			_, b := h.withMail(3)
			other := h.owner().open("Work")
			other.store(uids(1), mailbox.FlagsAdd, imap.FlagSeen)
			other.storeSilent(uids(3), mailbox.FlagsAdd, imap.FlagFlagged)
			b.wantFlagChanges(map[imap.UID][]imap.Flag{1: {imap.FlagSeen}, 3: {imap.FlagFlagged}})
			b.wantQuiet()
		}},
		{"OthersChangesShowInOwnStore", func(h *home) {
			_, b := h.withMail(1)
			h.owner().open("Work").store(uids(1), mailbox.FlagsAdd, imap.FlagSeen)
			b.wantStored(b.store(uids(1), mailbox.FlagsAdd, imap.FlagFlagged), 1, imap.FlagSeen, imap.FlagFlagged)
		}},
		{"SilentDoesNotHideOthersChanges", func(h *home) {
			_, b := h.withMail(1)
			h.owner().open("Work").store(uids(1), mailbox.FlagsAdd, imap.FlagSeen)
			b.storeSilent(uids(1), mailbox.FlagsAdd, imap.FlagFlagged)
			b.wantFlagChanges(map[imap.UID][]imap.Flag{1: {imap.FlagSeen, imap.FlagFlagged}})
		}},
		{"NewKeywordIsKnown", func(h *home) {
			_, b := h.withMail(1)
			other := h.owner().open("Work")
			b.store(uids(1), mailbox.FlagsAdd, "$Fresh")
			other.sync()
			for _, x := range []*box{b, other} {
				x.sync()
				if info := x.Info(); !imap.HasFlag(info.Flags, "$Fresh") {
					h.Errorf("flags are %v", info.Flags)
				}
			}
		}},
		{"Within", func(h *home) {
			_, b := h.withMail(1, imap.FlagSeen, imap.FlagFlagged)
			var out []fetched
			change := mailbox.FlagChange{Op: mailbox.FlagsReplace, Flags: []imap.Flag{imap.FlagDeleted, imap.FlagDraft}, Within: imap.ClassDeleted | imap.ClassOther}
			_, err := b.Store(h.Context(), uids(1), change, collect(&out))
			h.must(err, "store")
			b.wantStored(out, 1, imap.FlagSeen, imap.FlagDeleted, imap.FlagDraft)
		}},
		{"ModSeqGrows", func(h *home) {
			h.needModSeq()
			o, b := h.withMail(2)
			before := o.status("Work").HighestModSeq
			untouched := b.fetchOne(2, &imap.FetchItems{ModSeq: true}).ModSeq
			stored := b.store(uids(1), mailbox.FlagsAdd, imap.FlagSeen)
			after := o.status("Work").HighestModSeq
			if stored[0].ModSeq <= before || after < stored[0].ModSeq {
				h.Errorf("before %d, of the message %d, after %d", before, stored[0].ModSeq, after)
			}
			if got := b.fetchOne(2, &imap.FetchItems{ModSeq: true}).ModSeq; got != untouched {
				h.Errorf("the other message had %d and has %d", untouched, got)
			}
			b.store(uids(1), mailbox.FlagsAdd, imap.FlagSeen)
			if got := b.fetchOne(1, &imap.FetchItems{ModSeq: true}).ModSeq; got != stored[0].ModSeq {
				h.Errorf("a change of nothing moved %d to %d", stored[0].ModSeq, got)
			}
			b.sync()
			if got := b.Info().HighestModSeq; got != after {
				h.Errorf("the session has %d, status %d", got, after)
			}
		}},
	}
}

// wantStored checks that a Store told of one message.
func (b *box) wantStored(got []fetched, uid imap.UID, flags ...imap.Flag) {
	b.Helper()
	if len(got) != 1 || got[0].UID != uid || !sameFlags(got[0].Flags, flags) {
		b.Fatalf("store: got %+v, want message %d with %v", got, uid, flags)
	}
}

// wantFlagChanges checks that the next sync tells of flags and nothing else.
func (b *box) wantFlagChanges(want map[imap.UID][]imap.Flag) {
	b.Helper()
	c := b.sync()
	if len(c.Flags) != len(want) || !c.New.Empty() || !c.Vanished.Empty() || c.Gone {
		b.Fatalf("sync: got %+v, want flags %v", c, want)
	}
	for _, m := range c.Flags {
		if flags, told := want[m.UID]; !told || !sameFlags(m.Flags, flags) {
			b.Fatalf("sync: message %d has %v, want %v", m.UID, m.Flags, flags)
		}
	}
}

func expungeTests() []test {
	return []test{
		{"All", func(h *home) {
			o, b := h.withMail(4)
			b.store(uids(1, 3), mailbox.FlagsAdd, imap.FlagDeleted)
			b.expunge(nil, true)
			h.wantUIDs(b.sync().Vanished, "1,3", "vanished")
			h.wantUIDs(b.Info().UIDs, "2,4", "left")
			if got := o.status("Work"); got.Messages != 2 || got.UIDNext != 5 {
				h.Fatalf("got %+v", got)
			}
			b.wantQuiet()
		}},
		{"OnlySome", func(h *home) {
			_, b := h.withMail(4)
			b.store(uids(1, 2, 3), mailbox.FlagsAdd, imap.FlagDeleted)
			b.expunge(uids(2, 3, 4, 77), false)
			h.wantUIDs(b.sync().Vanished, "2:3", "vanished")
			b.wantFlags(1, imap.FlagDeleted)
			b.wantFlags(4)
		}},
		{"NothingDeleted", func(h *home) {
			o, b := h.withMail(2)
			before := o.status("Work")
			b.expunge(nil, true)
			b.expunge(nil, false)
			b.expunge(imap.UIDRange(1, 2), false)
			b.wantQuiet()
			if got := o.status("Work"); got != before {
				h.Fatalf("was %+v, is %+v", before, got)
			}
		}},
		{"OthersAreTold", func(h *home) {
			_, b := h.withMail(2, imap.FlagDeleted)
			other := h.owner().open("Work")
			other.expunge(uids(1), false)
			h.wantUIDs(b.sync().Vanished, "1", "vanished")
			h.wantUIDs(other.sync().Vanished, "1", "vanished in the other")
		}},
		{"CommandsSkipWhatIsGone", func(h *home) {
			_, b := h.withMail(3, imap.FlagDeleted)
			h.owner().open("Work").expunge(uids(2), false)
			if got := b.fetch(imap.UIDRange(1, 3), &imap.FetchItems{Flags: true}); len(got) != 2 {
				h.Errorf("fetch: got %+v", got)
			}
			if got := b.store(uids(2), mailbox.FlagsAdd, imap.FlagSeen); len(got) != 0 {
				h.Errorf("store: got %+v", got)
			}
			h.wantUIDs(b.search(imap.SearchKey{Op: imap.SearchAll}), "1,3", "search")
			h.wantUIDs(b.sync().Vanished, "2", "vanished")
		}},
		{"UIDsAreNeverUsedAgain", func(h *home) {
			o, b := h.withMail(2, imap.FlagDeleted)
			b.expunge(nil, true)
			h.wantUIDs(o.add("Work", []string{shortMessage}), "3", "append")
			c := b.sync()
			h.wantUIDs(c.Vanished, "1:2", "vanished")
			h.wantUIDs(c.New, "3", "new")
		}},
		{"ModSeqGrows", func(h *home) {
			h.needModSeq()
			o, b := h.withMail(2, imap.FlagDeleted)
			before := o.status("Work").HighestModSeq
			b.expunge(uids(1), false)
			if after := o.status("Work").HighestModSeq; after <= before {
				h.Fatalf("HIGHESTMODSEQ was %d and is %d", before, after)
			}
		}},
	}
}
