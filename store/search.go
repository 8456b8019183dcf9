package store

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/message"
)

// Search implements mailbox.Mailbox.
func (h *handle) Search(ctx context.Context, program *imap.SearchKey) (mailbox.Found, error) {
	if uids, ok, err := h.searchFlags(program); ok {
		return mailbox.Found{UIDs: uids}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	parts := h.searchParts(program)
	found, errs := make([]mailbox.Found, len(parts)), make([]error, len(parts))
	var wg sync.WaitGroup
	for i := range parts {
		search := func() {
			if found[i], errs[i] = h.searchPart(ctx, program, parts[i]); errs[i] != nil {
				cancel()
			}
		}
		if i < len(parts)-1 {
			wg.Go(search)
		} else {
			search()
		}
	}
	wg.Wait()
	all := mailbox.Found{}
	for i := range parts {
		if errs[i] != nil && !errors.Is(errs[i], context.Canceled) {
			return mailbox.Found{}, errs[i]
		}
		all.UIDs, all.ModSeq = all.UIDs.Union(found[i].UIDs), max(all.ModSeq, found[i].ModSeq)
	}
	return all, errors.Join(errs...) // all are nil, or the command was ended
}

// How many messages there are to read before two search them, so that it pays to
// wake another thread.
const (
	searchTogether  = 512
	headersTogether = 4096 // without their bodies
)

// searchParts parts a mailbox in two halves if there is much to read in it.
func (h *handle) searchParts(program *imap.SearchKey) []imap.UIDSet {
	whole := []imap.UIDSet{imap.UIDRange(1, 1<<32-1)}
	together := headersTogether
	switch compile(program).cost {
	case costBody:
		together = searchTogether
	case costHeader:
	default:
		return whole
	}
	if runtime.GOMAXPROCS(0) == 1 {
		return whole
	}
	h.session.mu.RLock()
	defer h.session.mu.RUnlock()
	n := len(h.box.rows)
	if n < together {
		return whole
	}
	middle := imap.UID(h.box.rows[n/2].uid)
	return []imap.UIDSet{imap.UIDRange(1, middle-1), imap.UIDRange(middle, 1<<32-1)}
}

func (h *handle) searchPart(ctx context.Context, program *imap.SearchKey, uids imap.UIDSet) (mailbox.Found, error) {
	s := newSearcher(ctx, h)
	defer s.close()
	s.cursor.uids = uids
	var found []imap.UID
	highest, err := s.find(program, false, func() error {
		found = append(found, s.row.uid)
		return nil
	})
	if err != nil {
		return mailbox.Found{}, err
	}
	return mailbox.Found{UIDs: imap.UIDSetOf(found...), ModSeq: highest}, nil
}

func newSearcher(ctx context.Context, h *handle) *searcher {
	s := &searcher{ctx: ctx, now: h.session.store.now(), cursor: cursor{h: h, uids: imap.UIDRange(1, 1<<32-1)}}
	s.contents.account, s.contents.passing = h.session.account, true
	return s
}

func (s *searcher) close() {
	s.contents.close()
	s.digests.close()
}

// find calls found for each message that matches, which is s.row then, and
// returns the highest of their modification sequences if the program asks for
// such. With digests, found may call sortKeys.
func (s *searcher) find(program *imap.SearchKey, digests bool, found func() error) (highest imap.ModSeq, err error) {
	root := compile(program)
	s.cursor.bodies, s.contents.bodies = digests || root.cost > costRow, root.cost == costBody
	for {
		if err := s.ctx.Err(); err != nil {
			return 0, err
		}
		more, err := s.cursor.next()
		if err != nil {
			return 0, err
		}
		if !more {
			break
		}
		s.contents.begin(s.cursor.rows)
		if digests {
			s.digests.begin(s.contents.account, s.cursor.h.box.id, s.cursor.rows)
		}
		for i := range s.cursor.rows {
			match, err := s.decide(&s.cursor.rows[i], root)
			if err != nil {
				return 0, err
			}
			if !match {
				continue
			}
			highest = max(highest, s.row.modseq)
			if err := found(); err != nil {
				return 0, err
			}
		}
	}
	if !program.Has(imap.SearchModSeq) {
		highest = 0
	}
	return highest, nil
}

// decide is matches for a message that may be gone or damaged by now: then it
// does not match.
func (s *searcher) decide(row *seenRow, root *term) (bool, error) {
	s.row, s.content = row, nil
	match, err := s.matches(root)
	switch {
	case errors.Is(err, errExpunged):
		return false, nil
	case imap.CodeOf(err) == imap.CodeCorruption:
		s.contents.report(row, err)
		return false, nil
	}
	return match, err
}

// What it costs to decide a term.
const (
	costRow = iota
	costDigest
	costHeader
	costBody
)

// term is a search key made ready: the needle is folded, and what is cheap to
// decide stands first among its siblings.
type term struct {
	key    *imap.SearchKey
	terms  []*term
	cost   int
	needle *message.Needle
	day    int64 // of key.Date, in days since 1970
}

func compile(k *imap.SearchKey) *term {
	t := &term{key: k}
	switch k.Op {
	case imap.SearchAnd, imap.SearchOr, imap.SearchNot:
		for i := range k.Keys {
			sub := compile(&k.Keys[i])
			t.terms = append(t.terms, sub)
			t.cost = max(t.cost, sub.cost)
		}
		slices.SortStableFunc(t.terms, func(a, b *term) int { return a.cost - b.cost })
	case imap.SearchSentBefore, imap.SearchSentOn, imap.SearchSentSince, imap.SearchEmailID:
		t.cost = costDigest
	case imap.SearchHeader:
		t.cost = costHeader
	case imap.SearchBody, imap.SearchText:
		t.cost = costBody
	}
	t.day = floorDiv(k.Date.Unix(), 86400)
	if t.cost >= costHeader && len(t.terms) == 0 {
		t.needle = message.NewNeedle(k.Text)
	}
	return t
}

// searcher decides terms for one message after the other.
type searcher struct {
	ctx      context.Context
	now      time.Time // for YOUNGER and OLDER
	cursor   cursor
	contents contents
	digests  digests
	keys     message.Keys // of SORT and THREAD, of row
	matcher  message.Matcher
	row      *seenRow
	content  *content // of row, once it was needed
	header   []byte   // likewise
}

// matches is RFC 9051 section 6.4.4.
func (s *searcher) matches(t *term) (bool, error) {
	k := t.key
	switch k.Op {
	case imap.SearchAll, imap.SearchSaveDateSupported:
		return true, nil
	case imap.SearchThreadID:
		return false, nil // there are none
	case imap.SearchAnd, imap.SearchOr:
		return s.matchesList(t)
	case imap.SearchNot:
		if len(t.terms) == 0 {
			return false, imap.BadCommand("NOT without a search key")
		}
		match, err := s.matches(t.terms[0])
		return !match, err
	case imap.SearchUIDs:
		return k.UIDs.Contains(s.row.uid), nil
	case imap.SearchFlag:
		return imap.HasFlag(s.row.flags, k.Flag), nil
	case imap.SearchYounger:
		return s.row.date.unix() >= s.now.Unix()-int64(k.Size), nil
	case imap.SearchOlder:
		return s.row.date.unix() <= s.now.Unix()-int64(k.Size), nil
	case imap.SearchModSeq:
		return s.row.modseq >= k.ModSeq, nil
	case imap.SearchLarger:
		return s.row.size > k.Size, nil
	case imap.SearchSmaller:
		return s.row.size < k.Size, nil
	case imap.SearchBefore:
		return s.row.date.day() < t.day, nil
	case imap.SearchOn:
		return s.row.date.day() == t.day, nil
	case imap.SearchSince:
		return s.row.date.day() >= t.day, nil
	case imap.SearchSavedBefore:
		return s.row.savedDay() < t.day, nil
	case imap.SearchSavedOn:
		return s.row.savedDay() == t.day, nil
	case imap.SearchSavedSince:
		return s.row.savedDay() >= t.day, nil
	}
	return s.matchesContent(t)
}

// matchesList is AND and OR.
func (s *searcher) matchesList(t *term) (bool, error) {
	decisive := t.key.Op == imap.SearchOr // one such result decides
	for _, sub := range t.terms {
		match, err := s.matches(sub)
		if err != nil || match == decisive {
			return match, err
		}
	}
	return !decisive, nil
}

// matchesContent decides the keys that look into the message.
func (s *searcher) matchesContent(t *term) (bool, error) {
	if s.content == nil {
		if err := s.ctx.Err(); err != nil {
			return false, err
		}
		c, err := s.contents.openRow(s.row)
		if err != nil {
			return false, err
		}
		s.content, s.header = c, nil
	}
	switch t.key.Op {
	case imap.SearchSentBefore, imap.SearchSentOn, imap.SearchSentSince:
		return s.matchesSent(t), nil
	case imap.SearchEmailID:
		return s.content.email.emailID() == imap.ObjectID(t.key.Text), nil
	case imap.SearchHeader:
		return s.matchesHeader(t)
	case imap.SearchBody, imap.SearchText:
		return s.matchesText(t)
	}
	return false, imap.BadCommand("Unknown search key")
}

func (s *searcher) matchesText(t *term) (bool, error) {
	s.header = nil // reading the body ends it
	body, err := s.content.body()
	if err != nil {
		return false, err
	}
	if t.key.Op == imap.SearchBody {
		return s.matcher.Body(body, s.content.digest, t.needle)
	}
	return s.matcher.Text(body, s.content.digest, t.needle)
}

// matchesSent compares the day of the Date field, as it is written there. A
// message without one matches nothing.
func (s *searcher) matchesSent(t *term) bool {
	date := s.content.digest.SentDate
	day := floorDiv(date.Unix+int64(date.Offset)*60, 86400)
	switch {
	case !date.Valid:
		return false
	case t.key.Op == imap.SearchSentBefore:
		return day < t.day
	case t.key.Op == imap.SearchSentOn:
		return day == t.day
	}
	return day >= t.day
}

func (s *searcher) matchesHeader(t *term) (bool, error) {
	if s.header == nil {
		root := &s.content.digest.Parts[0]
		header, err := s.content.header(root.HeaderOff, root.HeaderLen)
		if err != nil {
			return false, err
		}
		s.header = header
	}
	return s.matcher.Header(s.header, t.key.Field, t.needle), nil
}
