package mailboxtest

import (
	"slices"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// modSeqTests are RFC 7162 as homes see it.
func modSeqTests() []test {
	list := []test{
		{"ChangedSince", func(h *home) {
			_, b := h.withMail(4)
			before := b.highest()
			h.wantUIDs(b.changedSince(before), "", "changed since now")
			h.wantUIDs(b.changedSince(1), "1:4", "changed since the beginning")
			b.store(uids(2, 3), mailbox.FlagsAdd, imap.FlagSeen)
			b.store(uids(3), mailbox.FlagsAdd, imap.FlagSeen) // of nothing
			h.wantUIDs(b.changedSince(before), "2:3", "changed")
			got := b.fetch(imap.UIDRange(3, 9), &imap.FetchItems{Flags: true, Size: true, ModSeq: true, ChangedSince: before})
			if len(got) != 1 || got[0].UID != 3 || got[0].ModSeq <= before || got[0].Size == 0 {
				h.Errorf("got %+v", got)
			}
			h.wantUIDs(b.changedSince(1<<63-1), "", "changed since the end of time")
		}},
		{"ChangedBackIsTold", func(h *home) {
			_, b := h.withMail(2)
			other := h.owner().open("Work")
			before := b.highest()
			other.store(uids(2), mailbox.FlagsAdd, imap.FlagFlagged)
			other.store(uids(2), mailbox.FlagsRemove, imap.FlagFlagged)
			c, err := b.Sync(h.Context(), true)
			h.must(err, "sync")
			if len(c.Flags) != 1 || c.Flags[0].UID != 2 || c.Flags[0].ModSeq <= before || len(c.Flags[0].Flags) > 0 {
				h.Errorf("told %+v", c.Flags)
			}
		}},
		{"UnchangedSince", func(h *home) {
			_, b := h.withMail(3)
			before := b.highest()
			h.owner().open("Work").store(uids(2), mailbox.FlagsAdd, imap.FlagFlagged)
			told, modified := b.storeIf(before, imap.UIDRange(1, 9), mailbox.FlagsAdd, imap.FlagSeen)
			h.wantUIDs(modified, "2", "modified")
			h.wantUIDs(toldUIDs(told), "1,3", "told")
			b.wantFlags(1, imap.FlagSeen)
			b.wantFlags(2, imap.FlagFlagged)
			// Its own change counts as much as others'.
			_, modified = b.storeIf(before, uids(1), mailbox.FlagsRemove, imap.FlagSeen)
			h.wantUIDs(modified, "1", "modified by oneself")
			_, modified = b.storeIf(told[0].ModSeq, uids(1), mailbox.FlagsReplace, imap.FlagDraft)
			h.wantUIDs(modified, "", "modified after that")
			b.wantFlags(1, imap.FlagDraft)
		}},
		{"UnchangedSinceZero", func(h *home) {
			_, b := h.withMail(2, "$Label1")
			b.store(uids(2), mailbox.FlagsRemove, "$Label1")
			_, modified := b.storeIf(0, imap.UIDRange(1, 2), mailbox.FlagsAdd, imap.FlagSeen)
			h.wantUIDs(modified, "1:2", "modified, as system flags always exist")
			_, modified = b.storeIf(0, imap.UIDRange(1, 2), mailbox.FlagsAdd, "$Label1")
			h.wantUIDs(modified, "1", "modified, as it has the keyword")
			b.wantFlags(2, "$Label1")
		}},
		{"SilentTellsModSeq", func(h *home) {
			_, b := h.withMail(2)
			before := b.highest()
			change := mailbox.FlagChange{Op: mailbox.FlagsAdd, Flags: []imap.Flag{imap.FlagSeen}, Silent: true, ModSeqs: true}
			var told []fetched
			_, err := b.Store(h.Context(), imap.UIDRange(1, 2), change, collect(&told))
			h.must(err, "store")
			h.wantUIDs(toldUIDs(told), "1:2", "told")
			for _, m := range told {
				if !m.ModSeqAlone || m.ModSeq <= before {
					h.Errorf("got %+v", m)
				}
			}
			b.wantQuiet()
		}},
		{"SearchModSeq", func(h *home) {
			_, b := h.withMail(3)
			before := b.highest()
			b.store(uids(3), mailbox.FlagsAdd, imap.FlagFlagged)
			b.store(uids(1), mailbox.FlagsAdd, imap.FlagSeen)
			last := b.fetchOne(1, &imap.FetchItems{ModSeq: true}).ModSeq
			changed := imap.SearchKey{Op: imap.SearchModSeq, ModSeq: before + 1}
			b.wantFound(changed, "1,3", last)
			b.wantFound(changed.Not(), "2", b.fetchOne(2, &imap.FetchItems{ModSeq: true}).ModSeq)
			flagged := imap.SearchKey{Op: imap.SearchFlag, Flag: imap.FlagFlagged}
			b.wantFound(imap.SearchKey{Op: imap.SearchAnd, Keys: []imap.SearchKey{changed, flagged}}, "3", b.fetchOne(3, &imap.FetchItems{ModSeq: true}).ModSeq)
			b.wantFound(imap.SearchKey{Op: imap.SearchModSeq, ModSeq: last + 1}, "", 0)
			b.wantFound(flagged, "3", 0)
		}},
		{"Vanished", func(h *home) {
			o, b := h.withMail(6, imap.FlagDeleted)
			start := b.highest()
			b.wantVanished(imap.UIDRange(1, 99), start, "", "")
			b.expunge(uids(2), false)
			middle := b.highest()
			other := h.owner().open("Work")
			other.expunge(uids(5), false)
			o.create("Old")
			_, err := other.Move(h.Context(), uids(6), "Old")
			h.must(err, "move")
			b.wantVanished(imap.UIDRange(1, 99), start, "2,5:6", "")
			b.wantVanished(imap.UIDRange(1, 99), middle, "5:6", "2")
			b.wantVanished(imap.UIDRange(3, 5), start, "5", "")
			b.wantVanished(imap.UIDRange(1, 99), b.highest(), "", "2,5:6")
			b.wantVanished(nil, 1, "", "")
			b.wantVanished(imap.UIDRange(1, 4), 1<<63-1, "", "2")
		}},
		{"VanishedOfMany", func(h *home) {
			// More than any home need remember one by one.
			b := h.withMany()
			start := b.highest()
			var odd []imap.UID
			for uid := imap.UID(1); uid <= 2_600; uid += 2 {
				odd = append(odd, uid)
			}
			for part := range slices.Chunk(odd, 100) {
				b.expunge(imap.UIDSetOf(part...), false)
			}
			h.wantUIDs(b.sync().Vanished, imap.UIDSetOf(odd...).String(), "vanished")
			last := b.highest()
			b.wantVanished(imap.UIDRange(1, 9_999), start, imap.UIDSetOf(odd...).String(), "")
			b.expunge(uids(2_600), false)
			b.wantVanished(imap.UIDRange(1, 9_999), last, "2600", imap.UIDSetOf(odd...).String())
		}},
		{"UnchangedSinceOfMany", func(h *home) {
			b := h.withMany()
			start := b.highest()
			var odd []imap.UID
			for uid := imap.UID(1); uid <= 2_600; uid += 2 {
				odd = append(odd, uid)
			}
			for part := range slices.Chunk(odd, 1000) {
				b.store(imap.UIDSetOf(part...), mailbox.FlagsAdd, imap.FlagFlagged)
			}
			told, modified := b.storeIf(start, imap.UIDRange(1, 9_999), mailbox.FlagsAdd, imap.FlagSeen)
			h.wantUIDs(modified, imap.UIDSetOf(odd...).String(), "modified")
			h.wantUIDs(toldUIDs(told), imap.UIDRange(1, 2_600).Minus(modified).String(), "told")
			h.wantUIDs(b.search(imap.SearchKey{Op: imap.SearchFlag, Flag: imap.FlagSeen}), toldUIDs(told).String(), "changed")
		}},
		{"VanishedOfInbox", func(h *home) {
			o := h.owner()
			o.add(imap.Inbox, []string{shortMessage, shortMessage})
			b := o.open(imap.Inbox)
			start := b.highest()
			h.must(o.Rename(h.Context(), imap.Inbox, "Saved"), "rename")
			b.wantVanished(imap.UIDRange(1, 9), start, "1:2", "")
		}},
		{"NothingOfDeleted", func(h *home) {
			o, b := h.withMail(1)
			h.must(o.Delete(h.Context(), "Work"), "delete")
			_, err := b.Vanished(h.Context(), uids(1), 1)
			h.wantCode(err, imap.CodeNonExistent, "vanished of a deleted mailbox")
		}},
		{"HighestIsThatOfAMessageOrExpunge", func(h *home) {
			o, b := h.withMail(2)
			b.store(uids(2), mailbox.FlagsAdd, imap.FlagDeleted)
			if got := b.fetchOne(2, &imap.FetchItems{ModSeq: true}).ModSeq; got != b.highest() {
				h.Errorf("the message has %d, the mailbox %d", got, b.highest())
			}
			before := b.highest()
			b.expunge(nil, true)
			after, status := b.highest(), o.status("Work").HighestModSeq
			if status <= before || after < before || after > status {
				h.Errorf("before the expunge %d, after %d, status %d", before, after, status)
			}
		}},
	}
	for i, t := range list {
		list[i].run = func(h *home) {
			h.needModSeq()
			t.run(h)
		}
	}
	return list
}

// withMany is the owner's new mailbox Work with 2,600 deleted messages.
func (h *home) withMany() *box {
	h.Helper()
	o := h.owner()
	o.create("Work")
	for range 26 {
		var some []*mailbox.NewMessage
		for range 100 {
			some = append(some, newMessage("A: b\r\n", imap.FlagDeleted))
		}
		_, err := o.Append(o.Context(), "Work", messages(some...))
		o.must(err, "append")
	}
	return o.open("Work")
}

// privateModSeqTests are what a reader sees of modification sequences: shared
// changes, their own, and nobody else's.
func privateModSeqTests() []test {
	list := []struct {
		name string
		run  func(*shared)
	}{
		{"ChangedSinceIsOnesOwn", func(s *shared) {
			since := s.sinceNow()
			s.bobBox.store(uids(2), mailbox.FlagsAdd, imap.FlagSeen)
			s.ownerBox.store(uids(1), mailbox.FlagsRemove, imap.FlagSeen)
			s.wantChanged(since, "1", "2", "")
			s.carolBox.store(uids(1), mailbox.FlagsAdd, imap.FlagFlagged)
			s.wantChanged(since, "1", "1:2", "1")
		}},
		{"OthersReadingIsNoModification", func(s *shared) {
			since := s.sinceNow()
			s.bobBox.store(s.all, mailbox.FlagsAdd, imap.FlagSeen)
			s.carolBox.store(s.all, mailbox.FlagsAdd, imap.FlagSeen)
			s.ownerBox.store(uids(1), mailbox.FlagsRemove, imap.FlagSeen)
			_, modified := s.ownerBox.storeIf(since.owner, s.all, mailbox.FlagsAdd, "$Mine")
			s.wantUIDs(modified, "1", "modified, as the owner sees it")
			s.ownerBox.wantFlags(2, "$Mine")
			s.bobBox.wantFlags(2, imap.FlagSeen, "$Mine")
		}},
		{"OnesOwnReadingIs", func(s *shared) {
			since := s.sinceNow()
			s.reader("bob").open("Work").store(uids(2), mailbox.FlagsAdd, imap.FlagSeen)
			_, modified := s.bobBox.storeIf(since.bob, s.all, mailbox.FlagsAdd, imap.FlagFlagged)
			s.wantUIDs(modified, "2", "modified, as bob sees it")
			_, modified = s.carolBox.storeIf(since.carol, uids(2), mailbox.FlagsAdd, "$Carol")
			s.wantUIDs(modified, "", "modified, as carol sees it")
		}},
		{"SearchModSeqIsOnesOwn", func(s *shared) {
			since := s.sinceNow()
			s.bobBox.store(uids(2), mailbox.FlagsAdd, imap.FlagSeen)
			got := s.bobBox.fetchOne(2, &imap.FetchItems{ModSeq: true}).ModSeq
			s.bobBox.wantFound(imap.SearchKey{Op: imap.SearchModSeq, ModSeq: since.bob + 1}, "2", got)
			s.carolBox.wantFound(imap.SearchKey{Op: imap.SearchModSeq, ModSeq: since.carol + 1}, "", 0)
			s.ownerBox.wantFound(imap.SearchKey{Op: imap.SearchModSeq, ModSeq: since.owner + 1}, "", 0)
		}},
		{"HighestIsOnesOwn", func(s *shared) {
			since := s.sinceNow()
			s.bobBox.store(s.all, mailbox.FlagsAdd, imap.FlagSeen)
			s.ownerBox.store(s.all, mailbox.FlagsRemove, imap.FlagSeen)
			now := s.sinceNow()
			if now.carol != since.carol || now.bob <= since.bob || now.owner <= since.owner {
				s.Errorf("before %+v, after %+v", since, now)
			}
			for _, c := range []struct {
				b    *box
				want imap.ModSeq
			}{{s.ownerBox, now.owner}, {s.bobBox, now.bob}, {s.carolBox, now.carol}} {
				if got := c.b.Info().HighestModSeq; got != c.want {
					s.Errorf("the session has %d, status %d", got, c.want)
				}
			}
		}},
		{"VanishedIsEverybodys", func(s *shared) {
			since := s.sinceNow()
			s.bobBox.store(uids(2), mailbox.FlagsAdd, imap.FlagSeen, imap.FlagDeleted)
			s.bobBox.expunge(nil, true)
			s.carolBox.wantVanished(s.all, since.carol, "2", "")
			s.ownerBox.wantVanished(s.all, since.owner, "2", "")
			s.bobBox.wantVanished(s.all, since.bob, "2", "")
		}},
		{"NoModSeqFallsWithTheMessages", func(s *shared) {
			s.bobBox.store(s.all, mailbox.FlagsAdd, imap.FlagSeen)
			before := s.sinceNow()
			s.ownerBox.store(s.all, mailbox.FlagsAdd, imap.FlagDeleted)
			s.ownerBox.expunge(nil, true)
			for _, c := range []struct {
				u    *user
				last imap.ModSeq
			}{{s.owner, before.owner}, {s.bob, before.bob}, {s.carol, before.carol}} {
				if got := c.u.status("Work").HighestModSeq; got <= c.last {
					s.Errorf("was %d, is %d", c.last, got)
				}
				if got := c.u.open("Work").Info().HighestModSeq; got <= c.last {
					s.Errorf("was %d, is %d when it is selected again", c.last, got)
				}
			}
			s.wantChanged(before, "", "", "")
		}},
		{"AnnotationsCountForWhoSeesThem", func(s *shared) {
			owner, isOwner := s.owner.Account.(mailbox.Metadata)
			bob, isBob := s.bob.Account.(mailbox.Metadata)
			if !isOwner || !isBob {
				s.T.Skip("no annotations here")
			}
			highest := func() since {
				return since{s.owner.status("Work").HighestModSeq, s.bob.status("Work").HighestModSeq, s.carol.status("Work").HighestModSeq}
			}
			before := highest()
			s.must(bob.SetMetadata(s.Context(), "Work", []imap.MetadataEntry{{Name: "/private/comment", Value: []byte("mine")}}), "annotate")
			own := highest()
			if own.owner != before.owner || own.carol != before.carol || own.bob <= before.bob {
				s.Errorf("one's own: before %+v, after %+v", before, own)
			}
			s.must(owner.SetMetadata(s.Context(), "Work", []imap.MetadataEntry{{Name: "/private/comment", Value: []byte("mine")}}), "annotate")
			if now := highest(); now.owner <= own.owner || now.carol != own.carol || now.bob != own.bob {
				s.Errorf("the owner's: before %+v, after %+v", own, now)
			}
			s.must(owner.SetMetadata(s.Context(), "Work", []imap.MetadataEntry{{Name: "/shared/comment", Value: []byte("ours")}}), "annotate")
			if now := highest(); now.owner <= own.owner || now.carol <= own.carol || now.bob <= own.bob {
				s.Errorf("shared: before %+v, after %+v", own, now)
			}
		}},
		{"MarkSeenTellsModSeq", func(s *shared) {
			since := s.sinceNow()
			got := s.bobBox.fetch(uids(1), &imap.FetchItems{MarkSeen: true, Sections: []imap.Section{{}}})
			if len(got) != 1 || !got[0].FlagsChanged || got[0].ModSeq <= since.bob {
				s.Errorf("got %+v", got)
			}
			s.wantChanged(since, "", "1", "")
		}},
	}
	var tests []test
	for _, c := range list {
		tests = append(tests, test{c.name, func(h *home) {
			h.needModSeq()
			c.run(h.share())
		}})
	}
	return tests
}

// since is HIGHESTMODSEQ as each sees it.
type since struct{ owner, bob, carol imap.ModSeq }

func (s *shared) sinceNow() since {
	s.Helper()
	return since{s.ownerBox.highest(), s.bobBox.highest(), s.carolBox.highest()}
}

// wantChanged checks what has changed for each.
func (s *shared) wantChanged(since since, owner, bob, carol string) {
	s.Helper()
	s.wantUIDs(s.ownerBox.changedSince(since.owner), owner, "changed for the owner")
	s.wantUIDs(s.bobBox.changedSince(since.bob), bob, "changed for bob")
	s.wantUIDs(s.carolBox.changedSince(since.carol), carol, "changed for carol")
}

// highest is HIGHESTMODSEQ after all was told.
func (b *box) highest() imap.ModSeq {
	b.Helper()
	return b.sync().HighestModSeq
}

func (b *box) changedSince(since imap.ModSeq) imap.UIDSet {
	b.Helper()
	return toldUIDs(b.fetch(imap.UIDRange(1, 1<<32-2), &imap.FetchItems{Flags: true, ChangedSince: since}))
}

func (b *box) storeIf(since imap.ModSeq, uids imap.UIDSet, op mailbox.FlagOp, flags ...imap.Flag) (told []fetched, modified imap.UIDSet) {
	b.Helper()
	change := mailbox.FlagChange{Op: op, Flags: flags, UnchangedSince: &since}
	modified, err := b.Store(b.Context(), uids, change, collect(&told))
	b.must(err, "store")
	return told, modified
}

func toldUIDs(told []fetched) imap.UIDSet {
	var out []imap.UID
	for _, m := range told {
		out = append(out, m.UID)
	}
	return imap.UIDSetOf(out...)
}

func (b *box) wantFound(k imap.SearchKey, uids string, modSeq imap.ModSeq) {
	b.Helper()
	found, err := b.Search(b.Context(), &k)
	b.must(err, "search")
	if found.UIDs.String() != uids || found.ModSeq != modSeq {
		b.Fatalf("search: got %s and %d, want %s and %d", found.UIDs, found.ModSeq, uids, modSeq)
	}
}

// wantVanished checks that those are named that must be, and no others but those
// that may: what was expunged before.
func (b *box) wantVanished(uids imap.UIDSet, since imap.ModSeq, must, may string) {
	b.Helper()
	got, err := b.Vanished(b.Context(), uids, since)
	b.must(err, "vanished")
	want := parseUIDs(must)
	if b.VanishedIsAll {
		may = b.vanishedIn(uids).String()
	}
	if !want.Minus(got).Empty() || !got.Minus(want).Minus(parseUIDs(may)).Empty() {
		b.Fatalf("vanished since %d: got %s, want %s and perhaps %s", since, got, must, may)
	}
}

// vanishedIn are those of uids that messages had and that are gone.
func (b *box) vanishedIn(uids imap.UIDSet) imap.UIDSet {
	b.Helper()
	b.sync()
	info := b.Info()
	return uids.Intersect(imap.UIDRange(1, info.UIDNext-1)).Minus(info.UIDs)
}

func parseUIDs(s string) imap.UIDSet {
	if s == "" {
		return nil
	}
	set, err := imap.ParseNumSet(s)
	if err != nil {
		panic(err)
	}
	return set.Resolve(0)
}
