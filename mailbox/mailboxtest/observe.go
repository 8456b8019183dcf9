package mailboxtest

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

func observeTests() []test {
	event := func(name string, change func(*user), want func(mailbox.Glance) bool) test {
		return test{name, func(h *home) {
			o, _ := h.withMail(2, imap.FlagDeleted)
			seen := o.observe()
			seen.await(func(g []mailbox.Glance) bool { return find(g, "Work").Status.Messages == 2 })
			change(h.owner())
			seen.await(func(g []mailbox.Glance) bool { return want(find(g, "Work")) })
		}}
	}
	return []test{
		event("New", func(o *user) { o.add("Work", []string{shortMessage}) },
			func(g mailbox.Glance) bool {
				return g.Status.Messages == 3 && g.Status.UIDNext == 4 && g.Status.Unseen == 3
			}),
		event("Expunge", func(o *user) { o.open("Work").expunge(uids(1), false) },
			func(g mailbox.Glance) bool { return g.Status.Messages == 1 && g.Status.UIDNext == 3 }),
		event("Seen", func(o *user) { o.open("Work").store(uids(1), mailbox.FlagsAdd, imap.FlagSeen) },
			func(g mailbox.Glance) bool { return g.Status.Unseen == 1 }),
		event("Gone", func(o *user) { o.must(o.Delete(o.Context(), "Work"), "delete") },
			func(g mailbox.Glance) bool { return g.Name == "" }),
		{"Names", func(h *home) {
			o := h.owner()
			seen := o.observe()
			other := h.owner()
			other.create("Work", "Work/Deep")
			seen.await(func(g []mailbox.Glance) bool { return find(g, "Work/Deep").Readable })
			h.must(other.Rename(h.Context(), "Work", "Play"), "rename")
			seen.await(func(g []mailbox.Glance) bool { return find(g, "Work").Name == "" && find(g, "Play/Deep").Readable })
		}},
		{"Metadata", func(h *home) {
			o, _ := h.withMail(1)
			o.annotate("Work", "/shared/old", "1", "/shared/same", "1")
			seen := o.observe()
			seen.wantUnchanged()
			other := h.owner()
			other.annotate("Work", "/shared/comment", "ours", "/private/comment", "mine", "/shared/old", "NIL")
			seen.awaitChanged("Work /private/comment", "Work /shared/comment", "Work /shared/old")
			other.annotate("Work", "/shared/comment", "again")
			seen.awaitChanged("Work /shared/comment")
			other.annotate("", "/private/vendor/x/settings", "dark")
			seen.awaitChanged(" /private/vendor/x/settings")
		}},
		{"MetadataFromTheBeginning", func(h *home) {
			seen := h.owner().observe()
			other := h.owner()
			other.must(other.Create(h.Context(), "Sent", `\Sent`), "create")
			seen.await(func(g []mailbox.Glance) bool { return find(g, "Sent").Readable })
			seen.wantUnchanged()
		}},
		{"MetadataOverflow", func(h *home) {
			o, _ := h.withMail(0)
			seen := o.observe()
			other := h.owner()
			for i := 0; i <= mailbox.MaxMetadataChanges; i += imap.MaxMetadataEntries {
				var pairs, remove []string
				for j := range imap.MaxMetadataEntries {
					name := fmt.Sprintf("/shared/e%d", i+j)
					pairs, remove = append(pairs, name, "1"), append(remove, name, "NIL")
				}
				other.annotate("Work", pairs...)
				other.annotate("Work", remove...)
			}
			other.create("End")
			seen.await(func(g []mailbox.Glance) bool { return find(g, "End").Readable })
			_, err := seen.Account.(mailbox.Observer).MetadataChanges(h.Context())
			h.wantCode(err, imap.CodeLimit, "too many changes")
			other.annotate("Work", "/shared/comment", "after")
			seen.awaitChanged("Work /shared/comment")
		}},
		{"NothingUnlessObserved", func(h *home) {
			o := h.owner()
			stop, err := o.Account.(mailbox.Observer).Observe(h.Context(), nil, func() {})
			h.must(err, "observe")
			stop()
			if g, err := o.Account.(mailbox.Observer).Overview(h.Context()); err != nil || len(g) > 0 {
				h.Errorf("got %+v, %v", g, err)
			}
		}},
	}
}

// privateObserveTests: what a reader reads is news to that reader's sessions alone.
func privateObserveTests() []test {
	return []test{
		{"SeenIsOnesOwn", func(h *home) {
			o, _ := h.withMail(3)
			h.grant("Work", "bob", "carol")
			bob, carol := h.reader("bob"), h.reader("carol")
			seen := bob.observe()
			seen.await(func(g []mailbox.Glance) bool { return find(g, "Work").Status.Unseen == 3 })
			o.open("Work").store(uids(1), mailbox.FlagsAdd, imap.FlagSeen)
			carol.open("Work").store(uids(2, 3), mailbox.FlagsAdd, imap.FlagSeen)
			before := find(seen.look(), "Work").Status
			if before.Unseen != 3 {
				h.Errorf("others' reading shows: %+v", before)
			}
			h.reader("bob").open("Work").store(uids(2), mailbox.FlagsAdd, imap.FlagSeen)
			seen.await(func(g []mailbox.Glance) bool { return find(g, "Work").Status.Unseen == 2 })
		}},
		{"PrivateMetadata", func(h *home) {
			o, _ := h.withMail(1)
			h.grant("Work", "bob", "carol")
			seen := h.reader("bob").observe()
			o.annotate("Work", "/private/comment", "ann's")
			h.reader("carol").annotate("Work", "/private/vendor/x", "carol's")
			o.annotate("", "/private/vendor/x/settings", "dark")
			h.reader("bob").annotate("Work", "/private/comment", "bob's")
			o.annotate("Work", "/shared/comment", "all")
			seen.awaitChanged("Work /private/comment", "Work /shared/comment")
			seen.wantUnchanged()
		}},
	}
}

// awaitChanged collects changed annotations until they are those, each given as
// mailbox and entry, and no others.
func (s *seen) awaitChanged(want ...string) {
	s.Helper()
	got := map[string]bool{}
	for timer := time.After(patience); ; {
		changes, err := s.Account.(mailbox.Observer).MetadataChanges(s.Context())
		s.must(err, "changes")
		for _, c := range changes {
			got[c.Mailbox+" "+c.Entry] = true
		}
		if slices.Equal(slices.Sorted(maps.Keys(got)), want) {
			return
		}
		select {
		case <-s.heard:
		case <-timer:
			s.Fatalf("heard of %v, not of %q", got, want)
		}
	}
}

// wantUnchanged wants that nothing else has changed.
func (s *seen) wantUnchanged() {
	s.Helper()
	changes, err := s.Account.(mailbox.Observer).MetadataChanges(s.Context())
	s.must(err, "changes")
	if len(changes) > 0 {
		s.Errorf("changed: %v", changes)
	}
}

// seen is a running Observe.
type seen struct {
	*user
	heard chan struct{}
}

// observe starts an Observe that lasts until the test ends.
func (u *user) observe() *seen {
	u.Helper()
	o, ok := u.Account.(mailbox.Observer)
	if !ok {
		u.Fatalf("%T can't be observed", u.Account)
	}
	s := &seen{u, make(chan struct{}, 1)}
	stop, err := o.Observe(u.Context(), nil, func() {
		select {
		case s.heard <- struct{}{}:
		default:
		}
	})
	u.must(err, "observe")
	u.Cleanup(stop)
	return s
}

func (s *seen) look() []mailbox.Glance {
	s.Helper()
	g, err := s.Account.(mailbox.Observer).Overview(s.Context())
	s.must(err, "overview")
	if !slices.IsSortedFunc(g, func(a, b mailbox.Glance) int { return slices.Compare([]byte(a.Name), []byte(b.Name)) }) {
		s.Errorf("not sorted: %+v", g)
	}
	return g
}

// await looks, at first and whenever something was heard, until what it sees is
// as wanted.
func (s *seen) await(want func([]mailbox.Glance) bool) {
	s.Helper()
	for timer := time.After(patience); ; {
		now := s.look()
		if want(now) {
			return
		}
		select {
		case <-s.heard:
		case <-timer:
			s.Fatalf("never seen; last: %+v", now)
		}
	}
}

// find is the glance at a mailbox, zero if there is none.
func find(all []mailbox.Glance, name string) mailbox.Glance {
	for _, g := range all {
		if g.Name == name {
			return g
		}
	}
	return mailbox.Glance{}
}
