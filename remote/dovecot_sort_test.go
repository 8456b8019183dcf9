package remote_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/mailbox/mailboxmem"
)

// TestOrderAgainstDovecot compares what Dovecot's SORT and THREAD say of a few
// hundred messages with what ours say of the same.
func TestOrderAgainstDovecot(t *testing.T) {
	d := startDovecot(t)
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			mails := oddMail(rand.New(rand.NewPCG(seed, 7)), 300)
			theirs := filledInbox(t, d.fixture(t).Owner(), mails)
			ours := filledInbox(t, mailboxmem.New(owner).As(owner, false), mails)
			compareSorts(t, theirs, ours, mails)
			compareThreads(t, theirs, ours, mails)
		})
	}
}

func filledInbox(t *testing.T, a mailbox.Account, mails []string) mailbox.Mailbox {
	t.Helper()
	for i, text := range mails {
		_, err := a.Append(t.Context(), imap.Inbox, mailbox.One(&mailbox.NewMessage{
			InternalDate: time.Date(2026, 1, 1, 0, 0, 1000-i%7, 0, time.UTC), Size: int64(len(text)), Body: strings.NewReader(text),
		}))
		if err != nil {
			t.Fatal(err)
		}
	}
	m, err := a.Open(t.Context(), imap.Inbox, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = m.Close()
		_ = a.Close()
	})
	return m
}

func compareSorts(t *testing.T, theirs, ours mailbox.Mailbox, mails []string) {
	t.Helper()
	for field := imap.SortArrival; field <= imap.SortDisplayTo; field++ {
		for _, reverse := range []bool{false, true} {
			keys := []imap.SortKey{{Field: field, Reverse: reverse}, {Field: imap.SortSize}}
			all := &imap.SearchKey{Op: imap.SearchAll}
			want, err := theirs.Sort(t.Context(), keys, all)
			if err != nil {
				t.Fatal(err)
			}
			got, err := ours.Sort(t.Context(), keys, all)
			if err != nil {
				t.Fatal(err)
			}
			if slices.Equal(got.UIDs, want.UIDs) {
				continue
			}
			i := 0
			for got.UIDs[i] == want.UIDs[i] {
				i++
			}
			t.Errorf("%s, reverse %v: at %d ours is %d, Dovecot's %d:\n%s\n%s", field, reverse, i, got.UIDs[i], want.UIDs[i],
				mails[got.UIDs[i]-1], mails[want.UIDs[i]-1])
		}
	}
}

func compareThreads(t *testing.T, theirs, ours mailbox.Mailbox, mails []string) {
	t.Helper()
	for _, alg := range imap.ThreadAlgorithms() {
		all := &imap.SearchKey{Op: imap.SearchAll}
		want, err := theirs.Thread(t.Context(), alg, all)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ours.Thread(t.Context(), alg, all)
		if err != nil {
			t.Fatal(err)
		}
		ourThreads, theirThreads := splitThreads(got), splitThreads(want)
		if alg == imap.ThreadRefs { // Dovecot orders threads by sent dates, the draft by arrival
			slices.Sort(ourThreads)
			slices.Sort(theirThreads)
		}
		for i := range max(len(ourThreads), len(theirThreads)) {
			var a, b string
			if i < len(ourThreads) {
				a = ourThreads[i]
			}
			if i < len(theirThreads) {
				b = theirThreads[i]
			}
			if a != b {
				t.Errorf("%s: thread %d: ours %s, Dovecot's %s", alg, i, a, b)
				break
			}
		}
	}
}

// splitThreads writes each thread on its own.
func splitThreads(list []imap.ThreadMember) (threads []string) {
	for _, m := range list {
		if m.Depth == 0 {
			threads = append(threads, "")
		}
		threads[len(threads)-1] += fmt.Sprintf(" %d:%d", m.Depth, m.UID)
	}
	return threads
}

// oddMail makes messages with what headers of real mail have in them.
func oddMail(r *rand.Rand, n int) []string {
	pick := func(words ...string) string { return words[r.IntN(len(words))] }
	subject := func() string {
		s := pick("lunch", "Lunch", "lunch time", "Mittag", "gr\u00fc\u00dfe", "=?utf-8?q?gr=C3=BC=C3=9Fe?=", "=?iso-8859-1?Q?Gr=FC=DFe?=",
			"=?utf-8?b?R3LDvMOfZQ==?=", "a  b\t c", "", "[list]", "x", "\uff4c\uff55\uff4e\uff43\uff48", "\u041f\u0440\u0438\u0432\u0435\u0442", "\u043f\u0440\u0438\u0432\u0435\u0442", "1", "10", "2")
		for range r.IntN(4) {
			s = pick("Re: ", "re:", "RE : ", "Fwd: ", "Fw:", "[list] ", "Re[2]: ", "AW: ", "[Fwd: ", "re [x]: ") + s
			if strings.HasPrefix(s, "[Fwd:") {
				s += "]"
			}
			if r.IntN(5) == 0 {
				s += pick(" (fwd)", "(FWD)", " ")
			}
		}
		return s
	}
	address := func() string {
		name := pick("", "Ann", "ann", "\"B, ob\"", "=?utf-8?q?=C3=84nne?=", "Zo\u00eb", "carol d")
		box := pick("ann", "Bob", "carol", "dave+x", "zoe", "\"q uoted\"")
		return strings.TrimSpace(name + " <" + box + "@" + pick("x.org", "Y.org") + ">")
	}
	date := func() string {
		at := time.Date(2025, time.Month(1+r.IntN(3)), 1+r.IntN(28), r.IntN(24), r.IntN(60), r.IntN(60), 0, time.FixedZone("", 3600*(r.IntN(9)-4)))
		return at.Format(pick("Mon, 2 Jan 2006 15:04:05 -0700", "2 Jan 2006 15:04:05 -0700", "Mon, 02 Jan 2006 15:04:05 -0700 (x)"))
	}
	id := func() string {
		local := fmt.Sprint(r.IntN(n))
		return "<" + pick(local, local, local, "\""+local+"\"") + "@x>"
	}
	mails := make([]string, n)
	for i := range mails {
		var b strings.Builder
		field := func(name string, often int, value string) {
			if r.IntN(100) < often {
				fmt.Fprintf(&b, "%s: %s\r\n", name, value)
			}
		}
		field("From", 90, address())
		field("To", 80, pick(address(), address()+", "+address(), "group: "+address()+";"))
		field("Cc", 30, address())
		field("Subject", 95, subject())
		field("Date", 90, date())
		field("Message-ID", 90, pick(id(), fmt.Sprintf("<%d@x>", i), fmt.Sprintf("<%d@x>", i), "junk"))
		field("In-Reply-To", 30, pick(id(), "your mail of today "+id(), "nonsense"))
		var refs []string
		for range r.IntN(5) {
			refs = append(refs, id())
		}
		field("References", 50, strings.Join(refs, pick(" ", "\r\n ", "")))
		fmt.Fprintf(&b, "\r\n%s\r\n", strings.Repeat("x", r.IntN(40)))
		mails[i] = b.String()
	}
	return mails
}
