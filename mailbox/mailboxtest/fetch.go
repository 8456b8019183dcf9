package mailboxtest

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

func openTests() []test {
	return []test{
		{"Info", func(h *home) {
			o := h.owner()
			o.create("Work")
			o.add("Work", []string{shortMessage, shortMessage}, imap.FlagSeen)
			o.add("Work", []string{shortMessage}, "$Label1")
			info, status := o.open("Work").Info(), o.status("Work")
			h.wantUIDs(info.UIDs, "1:3", "info")
			if info.Name != "Work" || info.ReadOnly || info.Unseen != 3 || info.UIDNext != 4 ||
				info.UIDValidity != status.UIDValidity || info.HighestModSeq != status.HighestModSeq {
				h.Fatalf("got %+v, and status says %+v", info, status)
			}
			for _, f := range append(imap.SystemFlags(), "$Label1") {
				if !imap.HasFlag(info.Flags, f) || !imap.HasFlag(info.PermanentFlags, f) {
					h.Errorf("%s is not among %v, %v", f, info.Flags, info.PermanentFlags)
				}
			}
			if !imap.HasFlag(info.PermanentFlags, imap.FlagWildcard) {
				h.Errorf("no new keywords: %v", info.PermanentFlags)
			}
		}},
		{"ReadOnlyChangesNothing", func(h *home) {
			o, _ := h.withMail(1, imap.FlagDeleted)
			b := o.examine("Work")
			if !b.Info().ReadOnly {
				h.Error("not read-only")
			}
			change := mailbox.FlagChange{Op: mailbox.FlagsAdd, Flags: []imap.Flag{imap.FlagSeen}}
			if _, err := b.Store(h.Context(), uids(1), change, collect(new([]fetched))); err == nil {
				h.Error("store worked")
			}
			if err := b.Expunge(h.Context(), nil, true); err == nil {
				h.Error("expunge worked")
			}
			b.fetch(uids(1), &imap.FetchItems{MarkSeen: true, Sections: []imap.Section{{}}})
			b.wantFlags(1, imap.FlagDeleted)
		}},
		{"RecentOnce", func(h *home) {
			o := h.owner()
			o.add(imap.Inbox, []string{shortMessage, shortMessage})
			if got := o.status(imap.Inbox).Recent; got != 2 {
				h.Fatalf("status: got %d recent", got)
			}
			h.wantUIDs(o.examine(imap.Inbox).Info().Recent, "1:2", "recent while reading only")
			first := o.open(imap.Inbox)
			h.wantUIDs(first.Info().Recent, "1:2", "recent in the first session")
			h.wantUIDs(h.owner().open(imap.Inbox).Info().Recent, "", "recent in the second")
			o.add(imap.Inbox, []string{shortMessage})
			h.wantUIDs(first.sync().Recent, "3", "recent among the new")
			if got := o.status(imap.Inbox).Recent; got != 0 {
				h.Fatalf("status: got %d recent", got)
			}
		}},
	}
}

func fetchTests() []test {
	return []test{
		{"Items", fetchItems},
		{"OnlyWhatWasAskedFor", func(h *home) {
			_, b := h.withMail(1, imap.FlagSeen)
			got := b.fetchOne(1, &imap.FetchItems{Size: true})
			if got.Size != int64(len(shortMessage)) || got.Envelope != nil || len(got.Sections) != 0 || got.FlagsChanged {
				h.Fatalf("got %+v", got)
			}
		}},
		{"DeepStructure", func(h *home) {
			o := h.owner()
			o.add("INBOX", []string{deepMessage(), shortMessage})
			for _, m := range o.open("INBOX").fetch(uids(1, 2), &imap.FetchItems{Envelope: true, Body: true, BodyStructure: true}) {
				if len(m.Envelope) == 0 || len(m.Body) == 0 || len(m.BodyStructure) == 0 {
					h.Errorf("message %d: got %+v", m.UID, m)
				}
			}
		}},
		{"InOrderOfUID", func(h *home) {
			_, b := h.withMail(5)
			var order []imap.UID
			for _, m := range b.fetch(imap.UIDRange(2, 4), &imap.FetchItems{Flags: true}) {
				order = append(order, m.UID)
			}
			if len(order) != 3 || order[0] != 2 || order[1] != 3 || order[2] != 4 {
				h.Fatalf("got %v", order)
			}
		}},
		{"UnknownAndEmpty", func(h *home) {
			_, b := h.withMail(2)
			if got := b.fetch(nil, &imap.FetchItems{Flags: true}); len(got) != 0 {
				h.Errorf("no UIDs: got %v", got)
			}
			if got := b.fetch(imap.UIDRange(3, 4_000_000_000), &imap.FetchItems{Flags: true}); len(got) != 0 {
				h.Errorf("unknown UIDs: got %v", got)
			}
			if got := b.fetch(imap.UIDRange(2, 4_000_000_000), &imap.FetchItems{Flags: true}); len(got) != 1 {
				h.Errorf("one of them known: got %v", got)
			}
		}},
		{"Sections", fetchSections},
		{"HeaderFields", fetchHeaderFields},
		{"Partial", func(h *home) {
			_, b := h.withMail(1)
			whole := len(shortMessage)
			for _, c := range []struct{ offset, count int }{{0, 10}, {5, 7}, {whole - 3, 100}, {whole, 5}, {whole + 9, 5}} {
				got, _ := b.section(1, imap.Section{Partial: true, Offset: uint64(c.offset), Count: uint64(c.count)})
				from := min(c.offset, whole)
				if want := shortMessage[from:min(from+c.count, whole)]; got != want {
					h.Errorf("<%d.%d>: got %q, want %q", c.offset, c.count, got, want)
				}
			}
			if got, _ := b.section(1, imap.Section{Kind: imap.SectionText, Partial: true, Offset: 6, Count: 2}); got != "we" {
				h.Errorf("part of the text: got %q", got)
			}
		}},
		{"NothingIsConverted", func(h *home) {
			raw := "Subject: b\xe4r\r\nX: y\r\n\r\nno line end, \x80 and \t\r\nlast"
			o := h.owner()
			o.add(imap.Inbox, []string{raw})
			if got, _ := o.open(imap.Inbox).section(1, imap.Section{}); got != raw {
				h.Fatalf("got %q, want %q", got, raw)
			}
		}},
		{"BigBodyStreams", bigBody},
		{"UnreadBodiesAreSkipped", func(h *home) {
			_, b := h.withMail(3)
			items := &imap.FetchItems{Flags: true, Sections: []imap.Section{{}, {Kind: imap.SectionText}}}
			n := 0
			h.must(b.Fetch(h.Context(), imap.UIDRange(1, 3), items, func(*mailbox.Message) error {
				n++
				return nil
			}), "fetch")
			if n != 3 {
				h.Fatalf("got %d messages", n)
			}
			b.wantFlags(1)
		}},
		{"ErrorOfEmitEndsIt", func(h *home) {
			_, b := h.withMail(3)
			stop := errors.New("client left")
			n := 0
			err := b.Fetch(h.Context(), imap.UIDRange(1, 3), &imap.FetchItems{Sections: []imap.Section{{}}}, func(*mailbox.Message) error {
				n++
				return stop
			})
			if !errors.Is(err, stop) || n != 1 {
				h.Fatalf("got %v after %d messages", err, n)
			}
			b.wantFlags(3)
		}},
		{"MarkSeen", func(h *home) {
			o, b := h.withMail(2)
			b.store(uids(2), mailbox.FlagsAdd, imap.FlagSeen)
			got := b.fetch(imap.UIDRange(1, 2), &imap.FetchItems{MarkSeen: true, Sections: []imap.Section{{Kind: imap.SectionText}}})
			if !got[0].FlagsChanged || !imap.HasFlag(got[0].Flags, imap.FlagSeen) || got[1].FlagsChanged {
				h.Fatalf("got %+v", got)
			}
			b.wantQuiet()
			if got := o.status("Work").Unseen; got != 0 {
				h.Fatalf("%d unseen", got)
			}
		}},
	}
}

func fetchItems(h *home) {
	o := h.owner()
	o.add(imap.Inbox, []string{shortMessage}, imap.FlagAnswered)
	b := o.open(imap.Inbox)
	got := b.fetchOne(1, &imap.FetchItems{
		Flags: true, InternalDate: true, Size: true, Envelope: true, Body: true, BodyStructure: true, ModSeq: true,
		Sections: []imap.Section{{}},
	})
	for _, c := range []struct{ what, got, want string }{
		{"ENVELOPE", string(got.Envelope), shortEnvelope},
		{"BODY", string(got.Body), shortBody},
		{"BODYSTRUCTURE", string(got.BodyStructure), shortBodyStructure},
		{"BODY[]", got.bodies[0], shortMessage},
	} {
		if !strings.EqualFold(c.got, c.want) {
			h.Errorf("%s: got  %s\nwant %s", c.what, c.got, c.want)
		}
	}
	if !sameFlags(got.Flags, []imap.Flag{imap.FlagAnswered}) || !got.InternalDate.Equal(someDate) ||
		got.Size != int64(len(shortMessage)) || got.ModSeq == 0 && !h.NoModSeq {
		h.Errorf("got %+v", got.Message)
	}
}

func fetchSections(h *home) {
	o := h.owner()
	o.add(imap.Inbox, []string{nestedMessage})
	b := o.open(imap.Inbox)
	header := nestedMessage[:strings.Index(nestedMessage, "\r\n\r\n")+4]
	for _, c := range []struct {
		name    string
		section imap.Section
		want    string
		missing bool
	}{
		{"BODY[]", imap.Section{}, nestedMessage, false},
		{"BODY[HEADER]", imap.Section{Kind: imap.SectionHeader}, header, false},
		{"BODY[TEXT]", imap.Section{Kind: imap.SectionText}, nestedMessage[len(header):], false},
		{"BODY[1]", imap.Section{Part: []int{1}}, nestedPart1, false},
		{"BODY[1.MIME]", imap.Section{Part: []int{1}, Kind: imap.SectionMIME}, nestedMIME1, false},
		{"BODY[2]", imap.Section{Part: []int{2}}, nestedPart2, false},
		{"BODY[3]", imap.Section{Part: []int{3}}, nestedInnerHeader + nestedInnerText, false},
		{"BODY[3.HEADER]", imap.Section{Part: []int{3}, Kind: imap.SectionHeader}, nestedInnerHeader, false},
		{"BODY[3.TEXT]", imap.Section{Part: []int{3}, Kind: imap.SectionText}, nestedInnerText, false},
		{"BODY[3.1]", imap.Section{Part: []int{3, 1}}, nestedInnerText, false},
		{"BODY[3.HEADER.FIELDS (SUBJECT)]", imap.Section{Part: []int{3}, Kind: imap.SectionHeaderFields, Fields: []string{"SUBJECT"}}, "Subject: inner\r\n\r\n", false},
		{"BODY[4]", imap.Section{Part: []int{4}}, "", true},
		{"BODY[1.7]", imap.Section{Part: []int{1, 7}}, "", true},
	} {
		got, missing := b.section(1, c.section)
		// A home may say of a part that does not exist that it is empty.
		if got != c.want || missing && !c.missing {
			h.Errorf("%s: got %q (missing: %v), want %q (missing: %v)", c.name, got, missing, c.want, c.missing)
		}
	}
}

func fetchHeaderFields(h *home) {
	_, b := h.withMail(1)
	fields := func(names ...string) imap.Section {
		return imap.Section{Kind: imap.SectionHeaderFields, Fields: names}
	}
	for _, c := range []struct {
		section imap.Section
		want    string
	}{
		{fields("subject"), "Subject: Lunch\r\n\r\n"},
		{fields("SUBJECT", "To"), "To: Bob <bob@example.net>\r\nSubject: Lunch\r\n\r\n"},
		{fields("X-None"), "\r\n"},
		{
			imap.Section{Kind: imap.SectionHeaderFieldsNot, Fields: []string{"From", "To", "Cc", "Date", "Message-ID", "MIME-Version", "Content-Type"}},
			"Subject: Lunch\r\nContent-Transfer-Encoding: 7bit\r\n\r\n",
		},
	} {
		if got, _ := b.section(1, c.section); got != c.want {
			h.Errorf("%v: got %q, want %q", c.section.Fields, got, c.want)
		}
	}
}

// bigBody puts in and reads back a body that no one should hold in one piece.
func bigBody(h *home) {
	const size = 5 << 20
	o := h.owner()
	head := "Subject: big\r\n\r\n"
	m := &mailbox.NewMessage{
		InternalDate: someDate, Size: int64(len(head) + size),
		Body: io.MultiReader(strings.NewReader(head), noise(size)),
	}
	_, err := o.Append(h.Context(), imap.Inbox, mailbox.One(m))
	h.must(err, "append")
	b := o.open(imap.Inbox)
	items := &imap.FetchItems{Size: true, Sections: []imap.Section{{Kind: imap.SectionText}, {Kind: imap.SectionHeader}}}
	h.must(b.Fetch(h.Context(), uids(1), items, func(got *mailbox.Message) error {
		if got.Size != m.Size || got.Sections[0].Size != size {
			h.Errorf("sizes: got %d and %d", got.Size, got.Sections[0].Size)
		}
		if err := sameBytes(got.Sections[0].Body, noise(size)); err != nil {
			return err
		}
		header, err := readSection(got.Sections[1])
		if header != head {
			h.Errorf("header: got %q", header)
		}
		return err
	}), "fetch")
}

// noise is n bytes of printable text in lines, the same at each call.
func noise(n int64) io.Reader {
	return io.LimitReader(&lines{rng: rand.New(rand.NewPCG(1, 2))}, n)
}

type lines struct {
	rng  *rand.Rand
	rest []byte
}

func (l *lines) Read(p []byte) (int, error) {
	if len(l.rest) == 0 {
		line := make([]byte, 78)
		for i := range 76 {
			line[i] = byte('0' + l.rng.IntN(75))
		}
		copy(line[76:], "\r\n")
		l.rest = line
	}
	n := copy(p, l.rest)
	l.rest = l.rest[n:]
	return n, nil
}

func sameBytes(got, want io.Reader) error {
	a, b := make([]byte, 32<<10), make([]byte, 32<<10)
	for {
		n, errA := io.ReadFull(got, a)
		m, errB := io.ReadFull(want, b)
		if n != m || string(a[:n]) != string(b[:m]) {
			return errors.New("the bodies differ")
		}
		if errA != nil || errB != nil {
			return nil // both end here, or their lengths would differ
		}
	}
}

// deepMessage has more parts within parts than are told apart.
func deepMessage() string {
	var m strings.Builder
	for n := range 120 {
		fmt.Fprintf(&m, "Content-Type: multipart/mixed; boundary=b%d.\r\n\r\n--b%d.\r\n", n, n)
	}
	m.WriteString("Content-Disposition: attachment; filename=x\r\n\r\ninnermost\r\n")
	return m.String()
}
