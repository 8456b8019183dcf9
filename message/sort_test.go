package message

import (
	"bytes"
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/roost-mail/roost/imap"
)

type sortMessage struct {
	uid           imap.UID
	arrival, size int64
	keys          *Keys
}

// literalSort compares message by message, criterion by criterion.
func literalSort(mails []sortMessage, by []imap.SortKey) []imap.UID {
	sorted := slices.Clone(mails)
	slices.SortStableFunc(sorted, func(a, b sortMessage) int {
		for _, k := range by {
			order := compareLiterally(k.Field, &a, &b)
			if k.Reverse {
				order = -order
			}
			if order != 0 {
				return order
			}
		}
		return 0
	})
	var uids []imap.UID
	for _, m := range sorted {
		uids = append(uids, m.uid)
	}
	return uids
}

func compareLiterally(f imap.SortField, a, b *sortMessage) int {
	switch f {
	case imap.SortArrival:
		return cmp.Compare(a.arrival, b.arrival)
	case imap.SortSize:
		return cmp.Compare(a.size, b.size)
	case imap.SortDate:
		return cmp.Compare(a.keys.sent(a.arrival), b.keys.sent(b.arrival))
	}
	text := func(k *Keys) []byte {
		return map[imap.SortField][]byte{
			imap.SortSubject: k.Subject, imap.SortFrom: k.From, imap.SortTo: k.To, imap.SortCc: k.Cc,
			imap.SortDisplayFrom: k.FromName, imap.SortDisplayTo: k.ToName,
		}[f]
	}
	return bytes.Compare(text(a.keys), text(b.keys))
}

func randomSortMessages(r *rand.Rand, n int) []sortMessage {
	text := func() []byte {
		const letters = "ab\x01\xc3\xff"
		b := make([]byte, r.IntN(4))
		for i := range b {
			b[i] = letters[r.IntN(len(letters))]
		}
		return b
	}
	mails := make([]sortMessage, n)
	for i := range mails {
		mails[i] = sortMessage{
			uid: imap.UID(i + 1), arrival: int64(r.IntN(6)) - 3, size: int64(r.IntN(3)),
			keys: &Keys{
				Sent:    Date{Unix: int64(r.IntN(6)) - 3, Valid: r.IntN(3) > 0},
				Subject: text(), From: text(), To: text(), Cc: text(), FromName: text(), ToName: text(),
			},
		}
	}
	return mails
}

func TestSorterLiterally(t *testing.T) {
	for seed := range uint64(1500) {
		r := rand.New(rand.NewPCG(seed, 2))
		mails := randomSortMessages(r, r.IntN(20))
		by := make([]imap.SortKey, 1+r.IntN(3))
		for i := range by {
			by[i] = imap.SortKey{Field: imap.SortField(r.IntN(int(imap.SortDisplayTo) + 1)), Reverse: r.IntN(2) == 0}
		}
		s := NewSorter(by)
		for _, m := range mails {
			s.Add(m.uid, m.arrival, m.size, m.keys)
		}
		if got, want := s.UIDs(), literalSort(mails, by); !slices.Equal(got, want) {
			t.Fatalf("seed %d, by %v: got %v, want %v", seed, by, got, want)
		}
	}
}

func BenchmarkSort100k(b *testing.B) {
	mails := make([]sortMessage, 100_000)
	for i := range mails {
		k := &Keys{Sent: Date{Unix: int64(i * 7919 % 100_003), Valid: true}}
		k.Subject = fmt.Appendf(nil, "A SUBJECT THAT MANY BEGIN WITH, NUMBER %d", i%1000)
		k.From = fmt.Appendf(nil, "SENDER%d", i%300)
		mails[i] = sortMessage{uid: imap.UID(i + 1), arrival: int64(i), size: int64(i * 31 % 5000), keys: k}
	}
	for _, by := range [][]imap.SortKey{
		{{Field: imap.SortArrival, Reverse: true}},
		{{Field: imap.SortDate}},
		{{Field: imap.SortFrom}},
		{{Field: imap.SortSubject}, {Field: imap.SortDate, Reverse: true}},
	} {
		b.Run(by[0].Field.String(), func(b *testing.B) {
			for b.Loop() {
				s := NewSorter(by)
				for i := range mails {
					s.Add(mails[i].uid, mails[i].arrival, mails[i].size, mails[i].keys)
				}
				s.UIDs()
			}
		})
	}
}
