package imapserver

import (
	"context"
	"strings"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// sort is SORT. RFC 5256 section 3, RFC 5957, with RETURN RFC 5267 section 3.
func (s *session) sort(ctx context.Context, cmd *command) error {
	ret, keys, program, err := s.parseSort()
	if err == nil && program.Has(imap.SearchModSeq) {
		err = s.needModSeqs()
	}
	var sorted mailbox.Sorted
	if err == nil {
		sorted, err = s.mbox.Sort(ctx, keys, program)
	}
	if err == nil {
		err = s.tellSorted(ctx, cmd, ret, sorted)
	}
	return s.saveEnded(ret, err)
}

func (s *session) tellSorted(ctx context.Context, cmd *command, ret searchReturn, sorted mailbox.Sorted) error {
	var uids []imap.UID
	var numbers []uint32
	for _, uid := range sorted.UIDs {
		if n := s.numberOf(cmd, uid); n != 0 {
			uids, numbers = append(uids, uid), append(numbers, n)
		}
	}
	told := cmd.toldInOrder(ret, uids)
	if ret&returnSave != 0 {
		s.saved = told
	}
	if sorted.ModSeq != 0 && told.Len() < len(sorted.UIDs) {
		var err error
		if sorted.ModSeq, err = s.highestOf(ctx, told); err != nil {
			return err
		}
	}
	switch {
	case ret == 0:
		s.writeSort(numbers, sorted.ModSeq)
	case ret&returnShown != 0:
		s.writeESort(cmd, ret, numbers, sorted.ModSeq)
	}
	return nil
}

// toldInOrder is told for SORT: MIN is what comes first.
func (r searchReturn) toldInOrder(uids []imap.UID) []imap.UID {
	if !r.endsOnly() || len(uids) == 0 {
		return uids
	}
	var ends []imap.UID
	if r&returnMin != 0 {
		ends = append(ends, uids[0])
	}
	if r&returnMax != 0 {
		ends = append(ends, uids[len(uids)-1])
	}
	return ends
}

// toldOf is a program that finds only what the client was told of, as far as that
// can be said in few words: new messages come behind all others.
func (s *session) toldOf(program *imap.SearchKey) *imap.SearchKey {
	told := imap.SearchKey{Op: imap.SearchUIDs, UIDs: imap.UIDRange(1, s.view.uids.Max())}
	all := imap.SearchKey{Op: imap.SearchAnd, Keys: []imap.SearchKey{told, *program}}
	if program.Op == imap.SearchAnd {
		all.Keys = append(all.Keys[:1], program.Keys...)
	}
	return &all
}

// numberOf is how the response of cmd names a message: by its UID or its sequence
// number. It is 0 for one that the client was not told of.
func (s *session) numberOf(cmd *command, uid imap.UID) uint32 {
	seq := s.view.seq(uid)
	if seq != 0 && cmd.is(byUID) {
		return uint32(uid)
	}
	return uint32(seq)
}

// writeSort is the SORT response. RFC 5256 section 4, RFC 7162 section 3.1.6.
func (s *session) writeSort(numbers []uint32, modSeq imap.ModSeq) {
	s.enc.RawString("* SORT")
	for _, n := range numbers {
		s.enc.SP().Number(n)
	}
	if modSeq != 0 && len(numbers) > 0 {
		s.enc.RawString(" (MODSEQ ").Number64(uint64(modSeq)).Special(')')
	}
	s.enc.CRLF()
}

// writeESort is the ESEARCH response of a SORT: MIN is the message that comes
// first, and ALL keeps the order. RFC 5267 section 3.
func (s *session) writeESort(cmd *command, ret searchReturn, numbers []uint32, modSeq imap.ModSeq) {
	s.beginESearch(cmd)
	some := len(numbers) > 0
	if some && ret&returnMin != 0 {
		s.enc.RawString(" MIN ").Number(numbers[0])
	}
	if some && ret&returnMax != 0 {
		s.enc.RawString(" MAX ").Number(numbers[len(numbers)-1])
	}
	if some && ret&returnAll != 0 {
		s.enc.RawString(" ALL ")
		s.writeOrdered(numbers)
	}
	if ret&returnPartial != 0 {
		from, end := cmd.partial.bounds(len(numbers))
		s.writePartial(&cmd.partial, from == end, func() { s.writeOrdered(numbers[from:end]) })
	}
	if ret&returnCount != 0 {
		s.enc.RawString(" COUNT ").Number(uint32(len(numbers)))
	}
	if modSeq != 0 && some {
		s.enc.RawString(" MODSEQ ").Number64(uint64(modSeq))
	}
	s.enc.CRLF()
}

// writeOrdered writes a set in the order of its numbers. Ranges go up only.
func (s *session) writeOrdered(numbers []uint32) {
	for i := 0; i < len(numbers); {
		end := i + 1
		for end < len(numbers) && numbers[end] == numbers[end-1]+1 {
			end++
		}
		if i > 0 {
			s.enc.Special(',')
		}
		s.enc.Number(numbers[i])
		if end > i+1 {
			s.enc.Special(':').Number(numbers[end-1])
		}
		i = end
	}
}

// parseSort reads the arguments of SORT: RETURN, criteria, charset, search keys.
func (s *session) parseSort() (ret searchReturn, keys []imap.SortKey, program *imap.SearchKey, err error) {
	if !s.dec.ExpectSP() {
		return 0, nil, nil, s.dec.Err()
	}
	var word string
	if s.dec.Atom(&word) {
		if !strings.EqualFold(word, "RETURN") {
			return 0, nil, nil, imap.BadCommand("Expected sort criteria")
		}
		if ret, err = s.parseReturn(); err != nil {
			return 0, nil, nil, err
		}
	}
	if keys, err = s.parseSortKeys(); err != nil {
		return 0, nil, nil, err
	}
	program, err = s.parseCriteria()
	return ret, keys, program, err
}

func (s *session) parseSortKeys() ([]imap.SortKey, error) {
	var keys []imap.SortKey
	err := s.dec.List(func() error {
		key, err := s.parseSortKey()
		if keys = append(keys, key); err == nil && len(keys) > imap.MaxSortKeys {
			err = imap.BadCommand("Too many sort criteria")
		}
		return err
	})
	if err == nil && len(keys) == 0 {
		err = imap.BadCommand("Expected sort criteria")
	}
	return keys, err
}

func (s *session) parseSortKey() (key imap.SortKey, err error) {
	var name string
	if !s.dec.ExpectAtom(&name) {
		return key, s.dec.Err()
	}
	if strings.EqualFold(name, "REVERSE") {
		key.Reverse = true
		if !s.dec.ExpectSP() || !s.dec.ExpectAtom(&name) {
			return key, s.dec.Err()
		}
	}
	var ok bool
	if key.Field, ok = imap.ParseSortField(strings.ToUpper(name)); !ok {
		return key, imap.BadCommand("Unknown sort criterion")
	}
	return key, nil
}

// parseCriteria reads what SORT and THREAD end with: a charset and search keys. The
// program finds no new messages, if there is room for that key.
func (s *session) parseCriteria() (*imap.SearchKey, error) {
	var charset string
	if !s.dec.ExpectSP() || !s.dec.ExpectAString(&charset) || !s.dec.ExpectSP() {
		return nil, s.dec.Err()
	}
	if !knownCharset(charset) {
		return nil, imap.Errorf(imap.CodeBadCharset, "Unknown charset")
	}
	p := &searchParser{session: s}
	program, err := p.program("")
	if err != nil {
		return nil, err
	}
	if s.dec.ExpectCRLF() && p.keys < imap.MaxSearchKeys { // which another backend would refuse
		program = s.toldOf(program)
	}
	return program, s.dec.Err()
}
