package mailboxtest

import (
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// PrivateFlags are those that fixtures have with Fixture.PrivateFlags.
func PrivateFlags() []imap.Flag { return []imap.Flag{imap.FlagSeen, imap.FlagAnswered, "$Own"} }

// privateFlagTests: what holds for \Seen holds for each private flag.
func privateFlagTests() []test {
	return sharedTests([]sharedTest{
		{"EachHasOnesOwn", func(s *shared) {
			s.bobBox.store(uids(1), mailbox.FlagsAdd, imap.FlagAnswered, "$Own", imap.FlagFlagged)
			s.ownerBox.wantFlags(1, imap.FlagSeen, imap.FlagFlagged)
			s.carolBox.wantFlags(1, imap.FlagFlagged)
			s.bobBox.wantFlags(1, imap.FlagAnswered, "$Own", imap.FlagFlagged)
			s.ownerBox.store(uids(1), mailbox.FlagsReplace, "$own")
			s.bobBox.wantFlags(1, imap.FlagAnswered, "$Own")
			s.bobBox.store(s.all, mailbox.FlagsReplace)
			s.ownerBox.wantFlags(1, "$own")
		}},
		{"Search", func(s *shared) {
			s.bobBox.store(uids(2), mailbox.FlagsAdd, imap.FlagAnswered, "$Own")
			s.ownerBox.store(uids(1), mailbox.FlagsAdd, imap.FlagAnswered, "$Own")
			for _, f := range []imap.Flag{imap.FlagAnswered, "$OWN"} {
				with := imap.SearchKey{Op: imap.SearchFlag, Flag: f}
				s.wantUIDs(s.bobBox.search(with), "2", "bob's")
				s.wantUIDs(s.ownerBox.search(with), "1", "the owner's")
				s.wantUIDs(s.carolBox.search(with), "", "carol's")
				both := imap.SearchKey{Op: imap.SearchAnd, Keys: []imap.SearchKey{with.Not(), {Op: imap.SearchAll}}}
				s.wantUIDs(s.bobBox.search(both), "1", "without bob's")
				s.bobBox.wantSorted("ARRIVAL", with, 2)
			}
		}},
		{"ModSeqIsOnesOwn", func(s *shared) {
			s.needModSeq()
			since := s.sinceNow()
			s.bobBox.store(uids(2), mailbox.FlagsAdd, imap.FlagAnswered, "$Own")
			s.wantChanged(since, "", "2", "")
			s.ownerBox.store(uids(1), mailbox.FlagsAdd, "$Own", imap.FlagAnswered)
			s.wantChanged(since, "1", "2", "")
			if now := s.sinceNow(); now.carol != since.carol || now.bob <= since.bob || now.owner <= since.owner {
				s.Errorf("before %+v, after %+v", since, now)
			}
			s.ownerBox.store(uids(1), mailbox.FlagsAdd, imap.FlagFlagged)
			s.wantChanged(since, "1", "1:2", "1")
		}},
		{"OthersAreNoNews", func(s *shared) {
			s.bobBox.store(uids(2), mailbox.FlagsAdd, "$Own")
			s.ownerBox.store(uids(2), mailbox.FlagsAdd, imap.FlagAnswered)
			s.ownerBox.wantQuiet()
			s.bobBox.wantQuiet()
			second := s.reader("bob").open("Work")
			s.bobBox.store(uids(1), mailbox.FlagsAdd, imap.FlagAnswered)
			second.wantFlagChanges(map[imap.UID][]imap.Flag{1: {imap.FlagAnswered}})
			s.carolBox.wantQuiet()
		}},
		{"AppendCopyAndMove", func(s *shared) {
			s.owner.create("Old")
			s.grant("Old", "bob", "carol")
			s.bob.add("Work", []string{shortMessage}, imap.FlagAnswered, "$Own", imap.FlagFlagged)
			for _, b := range []*box{s.ownerBox, s.bobBox, s.carolBox} {
				b.sync()
			}
			s.ownerBox.wantFlags(3, imap.FlagFlagged)
			s.bobBox.wantFlags(3, imap.FlagFlagged, imap.FlagAnswered, "$Own")
			_, err := s.ownerBox.Copy(s.Context(), uids(3), "Old")
			s.must(err, "copy")
			_, err = s.bobBox.Move(s.Context(), uids(3), "Old")
			s.must(err, "move")
			bob, carol := s.bob.open("Old"), s.carol.open("Old")
			bob.wantFlags(1, imap.FlagFlagged, imap.FlagAnswered, "$Own")
			bob.wantFlags(2, imap.FlagFlagged, imap.FlagAnswered, "$Own")
			carol.wantFlags(2, imap.FlagFlagged)
		}},
		{"FollowsRename", func(s *shared) {
			s.bobBox.store(uids(2), mailbox.FlagsAdd, "$Own")
			s.must(s.owner.Rename(s.Context(), "Work", "Play"), "rename")
			s.bob.open("Play").wantFlags(2, "$Own")
			s.carol.open("Play").wantFlags(2)
		}},
	})
}

// privateModeTests: a mailbox says whether its readers have flags of their own,
// and nobody's own marks are lost when that changes.
func privateModeTests() []test {
	const entry = imap.MetadataPrivateFlags
	return sharedTests([]sharedTest{
		{"SharedAndPrivateAgain", func(s *shared) {
			s.bobBox.store(uids(2), mailbox.FlagsAdd, imap.FlagSeen)
			s.owner.annotate("Work", entry, "shared")
			s.wantUnseen(1, 1, 1)
			s.bobBox.wantTold(map[imap.UID][]imap.Flag{1: {imap.FlagSeen}, 2: nil})
			s.carolBox.wantTold(map[imap.UID][]imap.Flag{1: {imap.FlagSeen}})
			s.ownerBox.wantQuiet()
			s.owner.annotate("Work", entry, "private")
			s.wantUnseen(1, 1, 2)
			s.bobBox.wantTold(map[imap.UID][]imap.Flag{1: nil, 2: {imap.FlagSeen}})
			s.carolBox.wantTold(map[imap.UID][]imap.Flag{1: nil})
			s.ownerBox.wantQuiet()
			s.ownerBox.store(s.all, mailbox.FlagsReplace)
			s.wantUnseen(2, 1, 2)
		}},
		{"WhatChangedMeanwhile", func(s *shared) {
			s.bobBox.store(uids(2), mailbox.FlagsAdd, imap.FlagSeen)
			s.owner.annotate("Work", entry, "shared")
			s.carolBox.store(uids(2), mailbox.FlagsAdd, imap.FlagSeen)
			s.owner.add("Work", []string{shortMessage}, imap.FlagSeen)
			s.owner.add("Work", []string{shortMessage})
			s.wantUnseen(1, 1, 1)
			s.owner.annotate("Work", entry, "private")
			// 1 is as it was for each, 2 was marked, 3 came as seen, 4 is new to all.
			s.wantUnseen(1, 2, 2)
			s.owner.annotate("Work", entry, "shared")
			s.owner.annotate("Work", entry, "private")
			s.wantUnseen(1, 2, 2)
			s.carolBox.sync()
			s.carolBox.store(uids(1), mailbox.FlagsAdd, imap.FlagSeen)
			s.wantUnseen(1, 2, 1)
		}},
		{"ChangeAndSwitchAtOnce", func(s *shared) {
			s.owner.annotate("Work", entry, "shared")
			s.bobBox.wantTold(map[imap.UID][]imap.Flag{1: {imap.FlagSeen}})
			s.carolBox.sync()
			s.carolBox.store(uids(2), mailbox.FlagsAdd, imap.FlagSeen)
			s.owner.annotate("Work", entry, "private")
			s.bobBox.wantTold(map[imap.UID][]imap.Flag{1: nil, 2: {imap.FlagSeen}})
			s.carolBox.wantFlags(2, imap.FlagSeen)
		}},
		{"WhatAllSawStays", func(s *shared) {
			s.owner.annotate("Work", entry, "shared")
			s.carolBox.store(uids(2), mailbox.FlagsAdd, imap.FlagSeen, imap.FlagFlagged)
			s.ownerBox.store(uids(1), mailbox.FlagsRemove, imap.FlagSeen)
			s.ownerBox.store(uids(1), mailbox.FlagsAdd, imap.FlagSeen)
			s.wantUnseen(0, 0, 0)
			s.owner.annotate("Work", entry, "private")
			s.wantUnseen(0, 0, 0)
			s.ownerBox.store(s.all, mailbox.FlagsRemove, imap.FlagSeen)
			s.bobBox.store(uids(1), mailbox.FlagsRemove, imap.FlagSeen)
			s.wantUnseen(2, 1, 0)
			s.owner.add("Work", []string{shortMessage}, imap.FlagSeen)
			s.wantUnseen(2, 2, 1)
		}},
		{"NoModSeqFalls", func(s *shared) {
			s.needModSeq()
			s.bobBox.store(uids(2), mailbox.FlagsAdd, imap.FlagSeen)
			for _, mode := range []string{"shared", "private", "shared", "private"} {
				s.ownerBox.store(uids(2), mailbox.FlagsAdd, imap.FlagSeen)
				before, bob, carol := s.sinceNow(), s.bobBox.modSeqs(), s.carolBox.modSeqs()
				s.owner.annotate("Work", entry, mode)
				if now := s.sinceNow(); now.owner < before.owner || now.bob < before.bob || now.carol < before.carol {
					s.Errorf("%s: before %+v, after %+v", mode, before, now)
				}
				for uid, m := range s.bobBox.modSeqs() {
					if m < bob[uid] {
						s.Errorf("%s: bob's of %d fell from %d to %d", mode, uid, bob[uid], m)
					}
				}
				for uid, m := range s.carolBox.modSeqs() {
					if m < carol[uid] {
						s.Errorf("%s: carol's of %d fell from %d to %d", mode, uid, carol[uid], m)
					}
				}
				s.ownerBox.store(uids(2), mailbox.FlagsRemove, imap.FlagSeen)
			}
		}},
		{"ChangedSinceTheSwitch", func(s *shared) {
			s.needModSeq()
			since := s.sinceNow()
			s.owner.annotate("Work", entry, "shared")
			s.wantChanged(since, "", "1", "1")
		}},
		{"MailboxesBelowFollow", func(s *shared) {
			s.owner.create("Work/a")
			s.owner.create("Work/a/own")
			s.owner.annotate("Work/a/own", entry, "private")
			s.owner.annotate("Work", entry, "shared")
			s.owner.create("Work/later")
			for name, unseen := range map[string]uint32{"Work/a": 0, "Work/a/own": 1, "Work/later": 0} {
				s.grant(name, "bob")
				s.owner.add(name, []string{shortMessage}, imap.FlagSeen)
				if got := s.bob.status(name).Unseen; got != unseen {
					s.Errorf("%s: %d unseen, want %d", name, got, unseen)
				}
			}
			s.must(s.owner.Rename(s.Context(), "Work/a", "b"), "rename")
			s.owner.annotate("Work", entry, "NIL")
			for name, unseen := range map[string]uint32{"Work/later": 0, "b": 0, "b/own": 1} {
				if got := s.bob.status(name).Unseen; got != unseen {
					s.Errorf("%s: %d unseen, want %d", name, got, unseen)
				}
			}
			s.owner.add("Work/later", []string{shortMessage}, imap.FlagSeen)
			if got := s.bob.status("Work/later").Unseen; got != 1 {
				s.Errorf("Work/later: %d unseen", got)
			}
		}},
		{"CopiesBecomeOnesOwn", func(s *shared) {
			s.owner.create("Shared")
			s.owner.annotate("Shared", entry, "shared")
			s.grant("Shared", "bob", "carol")
			s.owner.add("Shared", []string{shortMessage}, imap.FlagSeen)
			_, err := s.owner.open("Shared").Copy(s.Context(), uids(1), "Work")
			s.must(err, "copy")
			s.wantUnseen(1, 2, 2)
		}},
		{"RenamedInbox", func(s *shared) {
			s.owner.annotate(imap.Inbox, entry, "shared")
			s.owner.add(imap.Inbox, []string{shortMessage}, imap.FlagSeen)
			s.must(s.owner.Rename(s.Context(), imap.Inbox, "Old"), "rename")
			s.grant("Old", "bob")
			if got := s.bob.status("Old").Unseen; got != 0 {
				s.Errorf("%d unseen", got)
			}
		}},
		{"OtherValues", func(s *shared) {
			m, ok := s.owner.Account.(mailbox.Metadata)
			if !ok {
				s.Fatal("no metadata")
			}
			err := m.SetMetadata(s.Context(), "Work", []imap.MetadataEntry{{Name: entry, Value: []byte("Private")}})
			s.wantCode(err, imap.CodeCannot, "set")
		}},
	})
}

type sharedTest struct {
	name string
	run  func(*shared)
}

func sharedTests(list []sharedTest) (tests []test) {
	for _, c := range list {
		tests = append(tests, test{c.name, func(h *home) { c.run(h.share()) }})
	}
	return tests
}

// modSeqs are those of all messages.
func (b *box) modSeqs() map[imap.UID]imap.ModSeq {
	b.Helper()
	out := map[imap.UID]imap.ModSeq{}
	for _, m := range b.fetch(imap.UIDRange(1, 1<<32-2), &imap.FetchItems{ModSeq: true}) {
		out[m.UID] = m.ModSeq
	}
	return out
}

// wantTold is wantFlagChanges where a home may also tell of messages that have not changed.
func (b *box) wantTold(want map[imap.UID][]imap.Flag) {
	b.Helper()
	told := map[imap.UID]bool{}
	for _, m := range b.sync().Flags {
		told[m.UID] = true
		if flags, is := want[m.UID]; is && !sameFlags(m.Flags, flags) {
			b.Errorf("told of %d as %v, want %v", m.UID, m.Flags, flags)
		}
	}
	for uid := range want {
		if !told[uid] {
			b.Errorf("not told of %d", uid)
		}
	}
}
