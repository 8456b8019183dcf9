package mailboxtest

import (
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// shared is a mailbox Work of two messages, as three users have it open. The
// owner has read the first.
type shared struct {
	*home
	owner, bob, carol          *user
	ownerBox, bobBox, carolBox *box
	all                        imap.UIDSet
	unseen                     imap.SearchKey
}

func (h *home) share() *shared {
	h.Helper()
	s := &shared{home: h, owner: h.owner(), all: imap.UIDRange(1, 2)}
	s.unseen = imap.SearchKey{Op: imap.SearchFlag, Flag: imap.FlagSeen}.Not()
	s.owner.create("Work")
	s.owner.add("Work", []string{shortMessage}, imap.FlagSeen)
	s.owner.add("Work", []string{shortMessage})
	h.grant("Work", "bob", "carol")
	s.bob, s.carol = h.reader("bob"), h.reader("carol")
	s.ownerBox, s.bobBox, s.carolBox = s.owner.open("Work"), s.bob.open("Work"), s.carol.open("Work")
	return s
}

func privateTests() []test {
	list := []struct {
		name string
		run  func(*shared)
	}{
		{"StartsUnseen", func(s *shared) {
			s.bobBox.wantFlags(1)
			s.bobBox.wantFlags(2)
			if got := s.bobBox.Info().Unseen; got != 1 {
				s.Errorf("first unseen: got %d", got)
			}
			s.wantUnseen(1, 2, 2)
		}},
		{"StoreIsOnesOwn", func(s *shared) {
			s.bobBox.wantStored(s.bobBox.store(uids(2), mailbox.FlagsAdd, imap.FlagSeen), 2, imap.FlagSeen)
			s.ownerBox.store(uids(1), mailbox.FlagsRemove, imap.FlagSeen)
			s.bobBox.wantFlags(1)
			s.bobBox.wantFlags(2, imap.FlagSeen)
			s.ownerBox.wantFlags(1)
			s.ownerBox.wantFlags(2)
			s.carolBox.wantFlags(2)
			s.wantUnseen(2, 1, 2)
		}},
		{"SearchIsOnesOwn", func(s *shared) {
			s.bobBox.store(uids(2), mailbox.FlagsAdd, imap.FlagSeen)
			s.wantUIDs(s.ownerBox.search(s.unseen), "2", "unseen by the owner")
			s.wantUIDs(s.bobBox.search(s.unseen), "1", "unseen by bob")
			s.wantUIDs(s.carolBox.search(s.unseen), "1:2", "unseen by carol")
			both := imap.SearchKey{Op: imap.SearchAnd, Keys: []imap.SearchKey{s.unseen, {Op: imap.SearchBody, Text: "soup"}}}
			s.wantUIDs(s.bobBox.search(both), "1", "unseen by bob, with soup")
		}},
		{"SortAndThreadAreOnesOwn", func(s *shared) {
			s.bobBox.store(uids(2), mailbox.FlagsAdd, imap.FlagSeen)
			seen := imap.SearchKey{Op: imap.SearchFlag, Flag: imap.FlagSeen}
			nested := imap.SearchKey{Op: imap.SearchOr, Keys: []imap.SearchKey{seen, {Op: imap.SearchAnd, Keys: []imap.SearchKey{s.unseen.Not(), seen}}}}
			s.ownerBox.wantSorted("DATE", nested, 1)
			s.bobBox.wantSorted("DATE", nested, 2)
			s.carolBox.wantSorted("DATE", nested)
			s.carolBox.wantSorted("REVERSE ARRIVAL", s.unseen, 1, 2)
			for _, alg := range imap.ThreadAlgorithms() {
				if got := s.bobBox.thread(alg, s.unseen); got != "0:1" {
					s.Errorf("%s unseen by bob: got %s", alg, got)
				}
				if got := s.carolBox.thread(alg, seen); got != "" {
					s.Errorf("%s seen by carol: got %s", alg, got)
				}
			}
		}},
		{"ReplaceSparesTheOwners", func(s *shared) {
			s.bobBox.store(s.all, mailbox.FlagsReplace, imap.FlagFlagged)
			s.ownerBox.wantFlags(1, imap.FlagSeen, imap.FlagFlagged)
			s.ownerBox.wantFlags(2, imap.FlagFlagged)
			s.ownerBox.store(s.all, mailbox.FlagsReplace, imap.FlagSeen)
			s.bobBox.wantFlags(1)
		}},
		{"MarkSeenIsOnesOwn", func(s *shared) {
			got := s.bobBox.fetch(s.all, &imap.FetchItems{MarkSeen: true, Sections: []imap.Section{{}}})
			if !got[0].FlagsChanged || !got[1].FlagsChanged {
				s.Errorf("got %+v", got)
			}
			s.wantUnseen(1, 0, 2)
		}},
		{"OtherFlagsAreShared", func(s *shared) {
			s.bobBox.store(uids(1), mailbox.FlagsAdd, imap.FlagFlagged, imap.FlagSeen, "$Label1")
			s.ownerBox.wantFlagChanges(map[imap.UID][]imap.Flag{1: {imap.FlagSeen, imap.FlagFlagged, "$Label1"}})
			c := s.carolBox.sync()
			if len(c.Flags) != 1 || !sameFlags(c.Flags[0].Flags, []imap.Flag{imap.FlagFlagged, "$Label1"}) {
				s.Errorf("carol is told of %+v", c.Flags)
			}
		}},
		{"OthersReadingIsNotReported", func(s *shared) {
			s.bobBox.store(uids(2), mailbox.FlagsAdd, imap.FlagSeen)
			s.ownerBox.store(uids(2), mailbox.FlagsAdd, imap.FlagSeen)
			s.ownerBox.wantQuiet()
			s.bobBox.wantQuiet()
			s.carolBox.wantQuiet()
		}},
		{"OwnSessionsShareIt", func(s *shared) {
			second := s.reader("bob").open("Work")
			s.bobBox.store(uids(2), mailbox.FlagsAdd, imap.FlagSeen)
			second.wantFlagChanges(map[imap.UID][]imap.Flag{2: {imap.FlagSeen}})
			second.wantFlags(2, imap.FlagSeen)
		}},
		{"ModSeqIsOnesOwn", func(s *shared) {
			s.needModSeq()
			before := s.carol.status("Work").HighestModSeq
			stored := s.bobBox.store(uids(2), mailbox.FlagsAdd, imap.FlagSeen)
			s.ownerBox.store(uids(2), mailbox.FlagsAdd, imap.FlagSeen)
			if got := s.carol.status("Work").HighestModSeq; got != before {
				s.Errorf("carol's HIGHESTMODSEQ was %d and is %d", before, got)
			}
			if got := s.bob.status("Work").HighestModSeq; got < stored[0].ModSeq || stored[0].ModSeq <= before {
				s.Errorf("bob's HIGHESTMODSEQ is %d, of the message %d, before %d", got, stored[0].ModSeq, before)
			}
			if got := s.carolBox.fetchOne(2, &imap.FetchItems{ModSeq: true}).ModSeq; got > before {
				s.Errorf("carol's message has %d, more than %d", got, before)
			}
		}},
		{"AppendedSeenIsOnesOwn", func(s *shared) {
			s.bob.add("Work", []string{shortMessage}, imap.FlagSeen)
			s.wantUnseen(2, 2, 3)
			s.owner.add("Work", []string{shortMessage}, imap.FlagSeen)
			s.wantUnseen(2, 3, 4)
		}},
		{"NewMailIsUnseen", func(s *shared) {
			s.bobBox.store(s.all, mailbox.FlagsAdd, imap.FlagSeen)
			s.owner.add("Work", []string{shortMessage})
			s.wantUIDs(s.bobBox.sync().New, "3", "new")
			s.wantUIDs(s.bobBox.search(s.unseen), "3", "unseen by bob")
		}},
		{"RecentIsTheOwners", func(s *shared) {
			s.owner.add("Work", []string{shortMessage})
			s.wantUIDs(s.bobBox.sync().Recent, "", "recent for bob")
			s.bob.open("Work")
			s.wantUIDs(s.ownerBox.sync().Recent, "3", "recent for the owner")
		}},
		{"FollowsCopyAndMove", func(s *shared) {
			s.owner.create("Old")
			s.grant("Old", "bob", "carol")
			s.bobBox.store(uids(2), mailbox.FlagsAdd, imap.FlagSeen)
			_, err := s.ownerBox.Copy(s.Context(), s.all, "Old")
			s.must(err, "copy")
			_, err = s.bobBox.Move(s.Context(), uids(2), "Old")
			s.must(err, "move")
			bob, owner := s.bob.open("Old"), s.owner.open("Old")
			s.wantUIDs(bob.search(s.unseen), "1", "unseen by bob")
			s.wantUIDs(owner.search(s.unseen), "2:3", "unseen by the owner")
		}},
		{"CopiesHaveTheirOwnModSeq", func(s *shared) {
			s.owner.create("Old")
			s.grant("Old", "bob", "carol")
			for range 5 { // so that sequences of Work are ahead of Old's
				s.bobBox.store(uids(2), mailbox.FlagsAdd, imap.FlagSeen)
				s.bobBox.store(uids(2), mailbox.FlagsRemove, imap.FlagSeen)
			}
			_, err := s.bobBox.Copy(s.Context(), uids(2), "Old")
			s.must(err, "copy")
			bob := s.bob.open("Old")
			s.owner.open("Old").store(uids(1), mailbox.FlagsAdd, imap.FlagFlagged)
			bob.wantFlagChanges(map[imap.UID][]imap.Flag{1: {imap.FlagFlagged}})
		}},
		{"FollowsRename", func(s *shared) {
			s.bobBox.store(uids(2), mailbox.FlagsAdd, imap.FlagSeen)
			s.must(s.owner.Rename(s.Context(), "Work", "Play"), "rename")
			if got := s.bob.status("Play").Unseen; got != 1 {
				s.Errorf("unseen by bob: got %d", got)
			}
			s.bob.open("Play").wantFlags(2, imap.FlagSeen)
		}},
		{"DiesWithTheMailbox", func(s *shared) {
			s.bobBox.store(s.all, mailbox.FlagsAdd, imap.FlagSeen)
			s.must(s.owner.Delete(s.Context(), "Work"), "delete")
			s.owner.create("Work")
			s.grant("Work", "bob")
			s.owner.add("Work", []string{shortMessage, shortMessage})
			if got := s.bob.status("Work").Unseen; got != 2 {
				s.Errorf("unseen by bob: got %d", got)
			}
		}},
		{"DiesWithTheMessage", func(s *shared) {
			s.bobBox.store(s.all, mailbox.FlagsAdd, imap.FlagSeen, imap.FlagDeleted)
			s.ownerBox.expunge(nil, true)
			s.owner.add("Work", []string{shortMessage})
			s.bobBox.sync()
			s.wantUIDs(s.bobBox.search(s.unseen), "3", "unseen by bob")
			s.wantUnseen(1, 1, 1)
		}},
		{"SubscriptionsAreOnesOwn", func(s *shared) {
			s.bob.subscribe("Work", true)
			s.bob.wantSubscribed("Work")
			s.owner.wantSubscribed()
		}},
		{"WatchersOfOthersSleep", func(s *shared) {
			heard := s.ownerBox.watch()
			s.bobBox.store(uids(2), mailbox.FlagsAdd, imap.FlagSeen)
			s.bobBox.store(uids(2), mailbox.FlagsAdd, imap.FlagFlagged)
			if c := s.ownerBox.awaitChange(heard); len(c.Flags) != 1 || !sameFlags(c.Flags[0].Flags, []imap.Flag{imap.FlagFlagged}) {
				s.Errorf("got %+v", c)
			}
		}},
	}
	var tests []test
	for _, c := range list {
		tests = append(tests, test{c.name, func(h *home) { c.run(h.share()) }})
	}
	return tests
}

// wantUnseen checks STATUS UNSEEN of each.
func (s *shared) wantUnseen(owner, bob, carol uint32) {
	s.Helper()
	for _, c := range []struct {
		user *user
		name string
		want uint32
	}{{s.owner, "owner", owner}, {s.bob, "bob", bob}, {s.carol, "carol", carol}} {
		if got := c.user.status("Work").Unseen; got != c.want {
			s.Errorf("unseen by %s: got %d, want %d", c.name, got, c.want)
		}
	}
}
