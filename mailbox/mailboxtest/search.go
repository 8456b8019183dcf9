package mailboxtest

import (
	"strings"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// searchMail are the messages that the search tests look for, by UID from 1.
func searchMail() []*mailbox.NewMessage {
	at := func(m *mailbox.NewMessage, date time.Time) *mailbox.NewMessage {
		m.InternalDate = date
		return m
	}
	late := time.Date(2026, 2, 2, 23, 30, 0, 0, time.FixedZone("", -8*3600)) // already the 3rd in UTC
	return []*mailbox.NewMessage{
		at(newMessage(shortMessage, imap.FlagSeen, "$Label1"), late),
		at(newMessage(nestedMessage, imap.FlagFlagged, imap.FlagAnswered), late.AddDate(0, 1, 0)),
		at(newMessage("From: =?iso-8859-1?Q?J=FCrgen?= <j@example.org>\r\nTo: ann@example.org\r\nBcc: secret@example.org\r\n"+
			"Date: Sun, 1 Mar 2026 23:59:00 -0500\r\nSubject: a long\r\n subject that goes on\r\nX-Empty:\r\n"+
			"Content-Type: text/html; charset=utf-8\r\n\r\n<p>B\u00e4renf\u00fctterung verboten</p>\r\n", imap.FlagDeleted, imap.FlagDraft), late.AddDate(0, 2, 0)),
		at(newMessage("no header at all\r\n"+strings.Repeat("0123456789", 200)), late.AddDate(1, 0, 0)),
	}
}

func searchTests() []test {
	day := func(month time.Month, d int) time.Time { return time.Date(2026, month, d, 0, 0, 0, 0, time.UTC) }
	header := func(field, text string) imap.SearchKey {
		return imap.SearchKey{Op: imap.SearchHeader, Field: field, Text: text}
	}
	key := func(op imap.SearchOp, text string) imap.SearchKey { return imap.SearchKey{Op: op, Text: text} }
	size := func(op imap.SearchOp, n uint32) imap.SearchKey { return imap.SearchKey{Op: op, Size: n} }
	date := func(op imap.SearchOp, d time.Time) imap.SearchKey { return imap.SearchKey{Op: op, Date: d} }
	list := func(op imap.SearchOp, keys ...imap.SearchKey) imap.SearchKey {
		return imap.SearchKey{Op: op, Keys: keys}
	}
	flag := func(f imap.Flag) imap.SearchKey { return imap.SearchKey{Op: imap.SearchFlag, Flag: f} }
	some := imap.SearchKey{Op: imap.SearchUIDs, UIDs: uids(2, 3, 4, 99)}
	scattered := oddUIDs()

	rows := []struct {
		name string
		key  imap.SearchKey
		want string
	}{
		{"All", list(imap.SearchAll), "1:4"},
		{"UIDs", some, "2:4"},
		{"NoUIDs", imap.SearchKey{Op: imap.SearchUIDs}, ""},
		{"Seen", flag(imap.FlagSeen), "1"},
		{"Unseen", flag(imap.FlagSeen).Not(), "2:4"},
		{"Answered", flag(imap.FlagAnswered), "2"},
		{"Flagged", flag(imap.FlagFlagged), "2"},
		{"Deleted", flag(imap.FlagDeleted), "3"},
		{"Undraft", flag(imap.FlagDraft).Not(), "1:2,4"},
		{"Keyword", flag("$label1"), "1"},
		{"UnknownKeyword", flag("$Never"), ""},
		{"ManyUIDs", scattered, "1,3"},
		{"NotManyUIDs", scattered.Not(), "2,4"},
		{"OrManyUIDs", list(imap.SearchOr, scattered.Not(), flag(imap.FlagSeen), list(imap.SearchAnd, scattered, some)), "1:4"},
		{"Not", some.Not(), "1"},
		{"And", list(imap.SearchAnd, some, flag(imap.FlagDeleted).Not()), "2,4"},
		{"AndOfNothing", list(imap.SearchAnd), "1:4"},
		{"Or", list(imap.SearchOr, flag(imap.FlagSeen), flag(imap.FlagDeleted)), "1,3"},
		{"OrOfNothing", list(imap.SearchOr), ""},
		{"OrOfThree", list(imap.SearchOr, flag(imap.FlagSeen), flag(imap.FlagDeleted), flag(imap.FlagFlagged)), "1:3"},
		{"OrOfOne", list(imap.SearchOr, flag(imap.FlagSeen)), "1"},
		{"Nested", list(imap.SearchOr, list(imap.SearchAnd, some, flag(imap.FlagDraft)), list(imap.SearchAnd, flag(imap.FlagSeen), some.Not())), "1,3"},
		{"Larger", size(imap.SearchLarger, 2000), "4"},
		{"LargerIsStrict", size(imap.SearchLarger, uint32(len(shortMessage))), "2,4"},
		{"Smaller", size(imap.SearchSmaller, uint32(len(shortMessage)+1)), "1,3"},
		{"Before", date(imap.SearchBefore, day(3, 2)), "1"},
		{"OnIgnoresTheZone", date(imap.SearchOn, day(2, 2)), "1"},
		{"OnOtherDay", date(imap.SearchOn, day(2, 3)), ""},
		{"Since", date(imap.SearchSince, day(3, 2)), "2:4"},
		{"SentBefore", date(imap.SearchSentBefore, day(3, 1)), "1"},
		{"SentOnIgnoresTheZone", date(imap.SearchSentOn, day(3, 1)), "3"},
		{"SentSince", date(imap.SearchSentSince, day(3, 1)), "2:3"},
		{"From", header("From", "ANN"), "1:2"},
		{"FromAddress", header("from", "j@example.org"), "3"},
		{"FromEncodedWord", header("From", "jürgen"), "3"},
		{"To", header("To", "bob"), "1"},
		{"Bcc", header("Bcc", "secret"), "3"},
		{"Subject", header("Subject", "lunch"), "1"},
		{"SubjectEncodedWord", header("Subject", "GRÜSSE"), ""},
		{"SubjectEncodedWordOtherCase", header("Subject", "GRÜß"), "2"},
		{"SubjectFolded", header("Subject", "long subject"), "3"},
		{"HeaderExists", header("Message-ID", ""), "1"},
		{"HeaderEmpty", header("X-Empty", ""), "3"},
		{"HeaderAbsent", header("X-Absent", ""), ""},
		{"Body", key(imap.SearchBody, "SOUP"), "1"},
		{"BodyNotHeader", key(imap.SearchBody, "lunch"), ""},
		{"BodyQuotedPrintable", key(imap.SearchBody, "zwölf übungen"), "2"},
		{"BodyBase64", key(imap.SearchBody, "secret recipe"), "2"},
		{"BodyOfInnerMessage", key(imap.SearchBody, "deep"), "2"},
		{"BodyUTF8", key(imap.SearchBody, "BÄRENFÜTTERUNG"), "3"},
		{"TextInHeader", key(imap.SearchText, "lunch"), "1"},
		{"TextInBody", key(imap.SearchText, "verboten"), "3"},
		{"TextQuotes", key(imap.SearchText, `say "no" \ (x)`), ""},
		{"TextNone", key(imap.SearchText, "nothing of the kind"), ""},
	}
	var tests []test
	for _, r := range rows {
		tests = append(tests, test{r.name, func(h *home) {
			o := h.owner()
			_, err := o.Append(h.Context(), imap.Inbox, messages(searchMail()...))
			h.must(err, "append")
			h.wantUIDs(o.open(imap.Inbox).search(r.key), r.want, "search")
		}})
	}
	within := func(name string, key imap.SearchKey, want string) test {
		return test{name, func(h *home) {
			o := h.owner()
			for _, age := range []time.Duration{3 * time.Hour, time.Hour, 0} {
				m := newMessage(shortMessage, imap.FlagSeen)
				m.InternalDate = time.Now().Add(-age)
				_, err := o.Append(h.Context(), imap.Inbox, mailbox.One(m))
				h.must(err, "append")
			}
			h.wantUIDs(o.open(imap.Inbox).search(key), want, "search")
		}}
	}
	tests = append(tests,
		within("Younger", size(imap.SearchYounger, 7200), "2:3"),
		within("YoungerThanAllTime", size(imap.SearchYounger, 1<<32-1), "1:3"),
		within("Older", size(imap.SearchOlder, 7200), "1"),
		within("NeitherYoungNorOld", list(imap.SearchAnd, size(imap.SearchOlder, 1800), size(imap.SearchOlder, 7200).Not(), flag(imap.FlagSeen)), "2"),
	)
	return append(tests, test{"EmptyMailbox", func(h *home) {
		h.wantUIDs(h.owner().open(imap.Inbox).search(imap.SearchKey{Op: imap.SearchAll}), "", "search")
	}})
}

// oddUIDs are more than one command can name.
func oddUIDs() imap.SearchKey {
	var odd imap.UIDSet
	for n := range uint32(13_000) {
		odd = append(odd, imap.Range{Start: 2*n + 1, Stop: 2*n + 1})
	}
	return imap.SearchKey{Op: imap.SearchUIDs, UIDs: odd}
}
