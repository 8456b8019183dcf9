package mailboxmem

import (
	"context"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/message"
)

func (h *handle) Search(_ context.Context, program *imap.SearchKey) (mailbox.Found, error) {
	var found []imap.UID
	highest, err := h.find(program, func(m *msg) { found = append(found, m.uid) })
	return mailbox.Found{UIDs: imap.UIDSetOf(found...), ModSeq: highest}, err
}

func (h *handle) Sort(_ context.Context, keys []imap.SortKey, program *imap.SearchKey) (mailbox.Sorted, error) {
	sorter := message.NewSorter(keys)
	highest, err := h.find(program, func(m *msg) {
		sorter.Add(m.uid, m.date.Unix(), int64(len(m.body)), m.keys())
	})
	return mailbox.Sorted{UIDs: sorter.UIDs(), ModSeq: highest}, err
}

func (h *handle) Thread(_ context.Context, alg imap.ThreadAlgorithm, program *imap.SearchKey) ([]imap.ThreadMember, error) {
	threader := message.NewThreader(alg)
	_, err := h.find(program, func(m *msg) { threader.Add(m.uid, m.date.Unix(), m.keys()) })
	return threader.Threads(), err
}

// find calls found with each message that matches, and returns the highest of
// their modification sequences if the program asks for such.
func (h *handle) find(program *imap.SearchKey, found func(*msg)) (imap.ModSeq, error) {
	defer h.account.lock()()
	if err := h.usable(false); err != nil {
		return 0, err
	}
	var highest imap.ModSeq
	for _, m := range h.box.messages {
		match, err := m.matches(program, h.account.in(h.box))
		if err != nil {
			return 0, err
		}
		if match {
			found(m)
			highest = max(highest, m.modSeqFor(h.account.in(h.box)))
		}
	}
	if !program.Has(imap.SearchModSeq) {
		highest = 0
	}
	return highest, nil
}

// matches is RFC 9051 section 6.4.4, read literally.
func (m *msg) matches(k *imap.SearchKey, r reader) (bool, error) {
	switch k.Op {
	case imap.SearchAll, imap.SearchSaveDateSupported:
		return true, nil
	case imap.SearchEmailID:
		return m.email == imap.ObjectID(k.Text), nil
	case imap.SearchThreadID:
		return false, nil
	case imap.SearchAnd, imap.SearchOr:
		return m.matchesList(k, r)
	case imap.SearchNot:
		match, err := m.matches(&k.Keys[0], r)
		return !match, err
	case imap.SearchUIDs:
		return k.UIDs.Contains(m.uid), nil
	case imap.SearchFlag:
		return imap.HasFlag(m.flagsFor(r), k.Flag), nil
	case imap.SearchYounger:
		return time.Since(m.date) <= time.Duration(k.Size)*time.Second, nil
	case imap.SearchOlder:
		return time.Since(m.date) >= time.Duration(k.Size)*time.Second, nil
	case imap.SearchModSeq:
		return m.modSeqFor(r) >= k.ModSeq, nil
	case imap.SearchLarger:
		return len(m.body) > int(k.Size), nil
	case imap.SearchSmaller:
		return len(m.body) < int(k.Size), nil
	case imap.SearchBefore:
		return dayOf(m.date).Before(k.Date), nil
	case imap.SearchOn:
		return dayOf(m.date).Equal(k.Date), nil
	case imap.SearchSince:
		return !dayOf(m.date).Before(k.Date), nil
	case imap.SearchSavedBefore:
		return dayOf(m.saved).Before(k.Date), nil
	case imap.SearchSavedOn:
		return dayOf(m.saved).Equal(k.Date), nil
	case imap.SearchSavedSince:
		return !dayOf(m.saved).Before(k.Date), nil
	}
	return m.matchesContent(k)
}

// matchesList is AND and OR.
func (m *msg) matchesList(k *imap.SearchKey, r reader) (bool, error) {
	decisive := k.Op == imap.SearchOr // one such result decides
	for i := range k.Keys {
		match, err := m.matches(&k.Keys[i], r)
		if err != nil || match == decisive {
			return match, err
		}
	}
	return !decisive, nil
}

// dayOf is the day that t names in its own zone.
func dayOf(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
}
