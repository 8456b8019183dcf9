package message

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/roost-mail/roost/imap"
)

// Sorter sorts messages as SORT does. RFC 5256 section 3, RFC 5957.
//
// For each message it keeps what the criteria ask for, one behind the other, as
// bytes that are in the right order when they are compared as bytes.
type Sorter struct {
	by    []imap.SortKey
	arena []byte
	items []sortItem
}

type sortItem struct {
	head     uint64 // the first bytes of the key
	from, to int    // in arena
	uid      imap.UID
}

// NewSorter sorts by the criteria that are named first before those after them.
// One that is named again says nothing more.
func NewSorter(by []imap.SortKey) *Sorter {
	s := new(Sorter)
	for _, k := range by {
		if !slices.ContainsFunc(s.by, func(old imap.SortKey) bool { return old.Field == k.Field }) {
			s.by = append(s.by, k)
		}
	}
	return s
}

// NeedsKeys says whether Add has to be given keys: some criteria do without.
func (s *Sorter) NeedsKeys() bool {
	return slices.ContainsFunc(s.by, func(k imap.SortKey) bool {
		return k.Field != imap.SortArrival && k.Field != imap.SortSize
	})
}

// Add adds a message; arrival is its internal date in seconds since 1970. Of k,
// which may be nil if the sorter needs none, nothing is kept.
func (s *Sorter) Add(uid imap.UID, arrival, size int64, k *Keys) {
	from := len(s.arena)
	for _, by := range s.by {
		start := len(s.arena)
		s.appendKey(by.Field, arrival, size, k)
		if by.Reverse {
			for i := range s.arena[start:] {
				s.arena[start+i] ^= 0xff
			}
		}
	}
	item := sortItem{from: from, to: len(s.arena), uid: uid}
	var head [8]byte
	copy(head[:], s.arena[from:])
	item.head = binary.BigEndian.Uint64(head[:])
	s.items = append(s.items, item)
}

func (s *Sorter) appendKey(f imap.SortField, arrival, size int64, k *Keys) {
	switch f {
	case imap.SortArrival:
		s.number(arrival)
	case imap.SortSize:
		s.number(size)
	case imap.SortDate:
		s.number(k.sent(arrival))
	case imap.SortSubject:
		s.text(k.Subject)
	case imap.SortFrom:
		s.text(k.From)
	case imap.SortTo:
		s.text(k.To)
	case imap.SortCc:
		s.text(k.Cc)
	case imap.SortDisplayFrom:
		s.text(k.FromName)
	case imap.SortDisplayTo:
		s.text(k.ToName)
	}
}

// sent is the sent date, RFC 5256 section 2.2.
func (k *Keys) sent(arrival int64) int64 {
	if k.Sent.Valid {
		return k.Sent.Unix
	}
	return arrival
}

func (s *Sorter) number(n int64) {
	s.arena = binary.BigEndian.AppendUint64(s.arena, uint64(n)^1<<63)
}

// text ends with NUL, so that what begins like a longer one comes before it.
func (s *Sorter) text(b []byte) { s.arena = append(append(s.arena, b...), 0) }

// UIDs are the messages in order.
func (s *Sorter) UIDs() []imap.UID {
	slices.SortFunc(s.items, func(a, b sortItem) int {
		if a.head != b.head {
			return cmp.Compare(a.head, b.head)
		}
		if order := bytes.Compare(s.arena[a.from:a.to], s.arena[b.from:b.to]); order != 0 {
			return order
		}
		return cmp.Compare(a.uid, b.uid)
	})
	uids := make([]imap.UID, len(s.items))
	for i := range s.items {
		uids[i] = s.items[i].uid
	}
	return uids
}
