package mailboxtest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// sortMail are the messages that the sort tests are about, by UID from 1. Their
// internal dates go backwards.
func sortMail() []*mailbox.NewMessage {
	mails := []string{
		"From: zoe@example.org\r\nTo: b@x\r\nCc: c@x\r\nSubject: Re: banana\r\nDate: Mon, 2 Feb 2026 10:00:00 +0100\r\n\r\n1234567\r\n",
		"From: Ann <xavier@example.org>\r\nTo: Zed <a@x>\r\nSubject: =?utf-8?q?=C3=84pfel?=\r\nDate: Mon, 2 Feb 2026 10:00:00 -0100\r\n\r\n12\r\n",
		"From: BOB <Young@example.org>\r\nTo: C@x\r\nCc: B@x\r\nSubject: [list] Banana\r\nDate: Mon, 2 Feb 2026 10:00:00 +0000\r\n\r\n123\r\n",
		"Subject: apfel\r\n\r\n1\r\n", // no Date: the internal date counts
		"From: =?iso-8859-1?q?=E4nn?= <xavier@example.org>\r\nDate: nonsense\r\n\r\n\r\n",
	}
	var out []*mailbox.NewMessage
	for i, text := range mails {
		m := newMessage(text)
		m.InternalDate = time.Date(2026, 2, 2, 9, 30-10*i, 0, 0, time.UTC)
		out = append(out, m)
	}
	out[2].Flags = []imap.Flag{imap.FlagSeen}
	return out
}

// sortKeys reads criteria as SORT has them.
func sortKeys(text string) (keys []imap.SortKey) {
	reverse := false
	for word := range strings.FieldsSeq(text) {
		if reverse = word == "REVERSE"; reverse {
			keys = append(keys, imap.SortKey{Reverse: true})
			continue
		}
		field, ok := imap.ParseSortField(word)
		if !ok {
			panic(word)
		}
		if n := len(keys); n > 0 && keys[n-1] == (imap.SortKey{Reverse: true}) && strings.Contains(text, "REVERSE "+word) {
			keys[n-1].Field = field
			continue
		}
		keys = append(keys, imap.SortKey{Field: field})
	}
	return keys
}

func (b *box) sort(keys string, k imap.SearchKey) []imap.UID {
	b.Helper()
	sorted, err := b.Sort(b.Context(), sortKeys(keys), &k)
	b.must(err, "sort")
	return sorted.UIDs
}

func (b *box) wantSorted(keys string, k imap.SearchKey, want ...imap.UID) {
	b.Helper()
	if got := b.sort(keys, k); !slices.Equal(got, want) {
		b.Fatalf("sort by %s: got %v, want %v", keys, got, want)
	}
}

func (h *home) withSortMail() *box {
	h.Helper()
	o := h.owner()
	_, err := o.Append(h.Context(), imap.Inbox, messages(sortMail()...))
	h.must(err, "append")
	return o.open(imap.Inbox)
}

var everything = imap.SearchKey{Op: imap.SearchAll}

func sortTests() []test {
	rows := []struct {
		name, keys string
		want       []imap.UID
	}{
		{"Arrival", "ARRIVAL", []imap.UID{5, 4, 3, 2, 1}},
		{"ReverseArrival", "REVERSE ARRIVAL", []imap.UID{1, 2, 3, 4, 5}},
		{"Date", "DATE", []imap.UID{5, 1, 4, 3, 2}},
		{"ReverseDate", "REVERSE DATE", []imap.UID{2, 3, 1, 4, 5}},
		{"Size", "SIZE", []imap.UID{4, 5, 1, 3, 2}},
		{"Subject", "SUBJECT", []imap.UID{5, 4, 2, 1, 3}},
		{"ReverseSubjectKeepsOrderOfEquals", "REVERSE SUBJECT", []imap.UID{1, 3, 2, 4, 5}},
		{"SubjectDate", "SUBJECT REVERSE DATE", []imap.UID{5, 4, 2, 3, 1}},
		{"From", "FROM", []imap.UID{4, 2, 5, 3, 1}},
		{"To", "TO", []imap.UID{4, 5, 2, 1, 3}},
		{"Cc", "CC", []imap.UID{2, 4, 5, 3, 1}},
		{"DisplayFrom", "DISPLAYFROM", []imap.UID{4, 2, 5, 3, 1}},
		{"DisplayTo", "DISPLAYTO", []imap.UID{4, 5, 1, 3, 2}},
	}
	var tests []test
	for _, r := range rows {
		tests = append(tests, test{r.name, func(h *home) { h.withSortMail().wantSorted(r.keys, everything, r.want...) }})
	}
	unseen := imap.SearchKey{Op: imap.SearchFlag, Flag: imap.FlagSeen}.Not()
	return append(tests,
		test{"Program", func(h *home) { h.withSortMail().wantSorted("REVERSE SIZE", unseen, 2, 1, 5, 4) }},
		test{"ProgramOfText", func(h *home) {
			h.withSortMail().wantSorted("DATE", imap.SearchKey{Op: imap.SearchHeader, Field: "From", Text: "XAVIER"}, 5, 2)
		}},
		test{"ProgramOfManyUIDs", func(h *home) { h.withSortMail().wantSorted("REVERSE SIZE", oddUIDs(), 3, 1, 5) }},
		test{"NothingFound", func(h *home) {
			h.withSortMail().wantSorted("DATE", imap.SearchKey{Op: imap.SearchFlag, Flag: "$Never"})
		}},
		test{"EmptyMailbox", func(h *home) { h.owner().open(imap.Inbox).wantSorted("SUBJECT", everything) }},
		test{"WithoutTheExpunged", func(h *home) {
			b := h.withSortMail()
			b.store(uids(4), mailbox.FlagsAdd, imap.FlagDeleted)
			b.expunge(uids(4), false)
			b.wantSorted("SUBJECT", everything, 5, 2, 1, 3)
		}},
		test{"ModSeq", func(h *home) {
			h.needModSeq()
			b := h.withSortMail()
			stored := b.store(uids(2), mailbox.FlagsAdd, imap.FlagFlagged)
			b.store(uids(1), mailbox.FlagsAdd, imap.FlagFlagged)
			changed := imap.SearchKey{Op: imap.SearchModSeq, ModSeq: stored[0].ModSeq}
			found, err := b.Sort(h.Context(), sortKeys("SUBJECT"), &changed)
			h.must(err, "sort")
			if !slices.Equal(found.UIDs, []imap.UID{2, 1}) || found.ModSeq <= stored[0].ModSeq {
				h.Errorf("got %+v, want 2 and 1, and more than %d", found, stored[0].ModSeq)
			}
		}},
		test{"Gone", func(h *home) {
			o := h.owner()
			o.create("Work")
			b := o.open("Work")
			h.must(h.owner().Delete(h.Context(), "Work"), "delete")
			_, err := b.Sort(h.Context(), sortKeys("DATE"), &everything)
			h.wantCode(err, imap.CodeNonExistent, "sort")
			_, err = b.Thread(h.Context(), imap.ThreadRefs, &everything)
			h.wantCode(err, imap.CodeNonExistent, "thread")
		}},
	)
}

// threadMail are the messages that the thread tests are about.
func threadMail() []*mailbox.NewMessage {
	long := make([]string, 40) // a header of many lines
	for i := range long {
		long[i] = fmt.Sprintf("<missing-%d@x>", i)
	}
	mails := []string{
		"Message-ID: <a@x>\r\nSubject: lunch\r\nDate: Mon, 2 Feb 2026 10:00:00 +0000\r\n\r\n1\r\n",
		"Message-ID: <b@x>\r\nIn-Reply-To: <a@x>\r\nSubject: Re: lunch\r\nDate: Mon, 2 Feb 2026 12:00:00 +0000\r\n\r\n2\r\n",
		"Message-ID: <c@x>\r\nReferences: <a@x>\r\nSubject: Re: lunch\r\nDate: Mon, 2 Feb 2026 11:00:00 +0000\r\n\r\n3\r\n",
		"Message-ID: <\"d\"@x>\r\nReferences: <a@x>\r\n <b@x>\r\nSubject: Re: lunch\r\nDate: Mon, 2 Feb 2026 13:00:00 +0000\r\n\r\n4\r\n",
		"Message-ID: <e@x>\r\nReferences: " + strings.Join(long, "\r\n ") + "\r\nSubject: other\r\nDate: Mon, 2 Feb 2026 09:00:00 +0000\r\n\r\n5\r\n",
		"References: " + strings.Join(long, "\r\n ") + "\r\nSubject: another\r\nDate: Mon, 2 Feb 2026 08:00:00 +0000\r\n\r\n6\r\n",
		"Message-ID: <f@x>\r\nSubject: Fwd: lunch\r\nDate: Mon, 2 Feb 2026 14:00:00 +0000\r\n\r\n7\r\n",
		"Message-ID: <g@x>\r\nReferences: <d@x>\r\n\r\n8\r\n", // neither Subject nor Date
	}
	var out []*mailbox.NewMessage
	for i, text := range mails {
		m := newMessage(text)
		m.InternalDate = time.Date(2026, 2, 1, 12, i, 0, 0, time.UTC)
		out = append(out, m)
	}
	out[1].Flags = []imap.Flag{imap.FlagSeen}
	return out
}

func (b *box) thread(alg imap.ThreadAlgorithm, k imap.SearchKey) string {
	b.Helper()
	list, err := b.Thread(b.Context(), alg, &k)
	b.must(err, "thread")
	return threadText(list)
}

// threadText writes each member as depth:UID.
func threadText(list []imap.ThreadMember) string {
	var words []string
	for _, m := range list {
		words = append(words, fmt.Sprintf("%d:%d", m.Depth, m.UID))
	}
	return strings.Join(words, " ")
}

func threadTests() []test {
	unseen := imap.SearchKey{Op: imap.SearchFlag, Flag: imap.FlagSeen}.Not()
	rows := []struct {
		name string
		alg  imap.ThreadAlgorithm
		key  imap.SearchKey
		want string
	}{
		{"OrderedSubject", imap.ThreadOrderedSubject, everything, "0:8 0:6 0:5 0:1 1:3 1:2 1:4 1:7"},
		{"References", imap.ThreadReferences, everything, "0:0 1:6 1:5 0:1 1:3 1:2 2:4 3:8 1:7"},
		{"Refs", imap.ThreadRefs, everything, "0:0 1:6 1:5 0:7 0:1 1:3 1:2 2:4 3:8"},
		{"ReferencesOfSome", imap.ThreadReferences, unseen, "0:0 1:6 1:5 0:1 1:3 1:4 2:8 1:7"},
		{"RefsOfManyUIDs", imap.ThreadRefs, oddUIDs(), "0:1 1:3 0:5 0:7"},
		{"NothingFound", imap.ThreadReferences, imap.SearchKey{Op: imap.SearchFlag, Flag: "$Never"}, ""},
	}
	var tests []test
	for _, r := range rows {
		tests = append(tests, test{r.name, func(h *home) {
			o := h.owner()
			_, err := o.Append(h.Context(), imap.Inbox, messages(threadMail()...))
			h.must(err, "append")
			if got := o.open(imap.Inbox).thread(r.alg, r.key); got != r.want {
				h.Errorf("got %s\nwant %s", got, r.want)
			}
		}})
	}
	return append(tests,
		test{"EmptyMailbox", func(h *home) {
			if got := h.owner().open(imap.Inbox).thread(imap.ThreadReferences, everything); got != "" {
				h.Errorf("got %s", got)
			}
		}},
		test{"DeepAndWide", func(h *home) { deepAndWide(h) }},
	)
}

// deepAndWide is a thread in which each second message has the two after it as
// replies: 300 levels of lists in the response.
func deepAndWide(h *home) {
	o := h.owner()
	var mails []*mailbox.NewMessage
	var want []string
	for i := range 600 {
		parent, depth := (i-1)/2*2, (i+1)/2
		text := fmt.Sprintf("Message-ID: <%d@x>\r\nReferences: <%d@x>\r\n\r\n\r\n", i, parent)
		m := newMessage(text)
		m.InternalDate = someDate.Add(time.Duration(i) * time.Second)
		mails = append(mails, m)
		want = append(want, fmt.Sprintf("%d:%d", depth, i+1))
	}
	_, err := o.Append(h.Context(), imap.Inbox, messages(mails...))
	h.must(err, "append")
	got := strings.Fields(o.open(imap.Inbox).thread(imap.ThreadRefs, everything))
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		h.Errorf("got %.1000s\nwant %.1000s", got, want)
	}
}
