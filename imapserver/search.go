package imapserver

import (
	"context"
	"strings"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// searchReturn is what a SEARCH with RETURN asks for. RFC 4731 section 3.1.
type searchReturn uint8

const (
	returnMin searchReturn = 1 << iota
	returnMax
	returnAll
	returnCount
	returnSave    // RFC 5182: remember what was found as "$"
	returnPartial // RFC 9394: command.partial of it

	returnShown = returnMin | returnMax | returnAll | returnCount | returnPartial
)

// search is SEARCH. RFC 3501 section 6.4.4, RFC 4731, RFC 5182.
func (s *session) search(ctx context.Context, cmd *command) error {
	ret, program, err := s.parseSearch()
	if err == nil && program.Has(imap.SearchModSeq) {
		err = s.needModSeqs()
	}
	var all mailbox.Found
	if err == nil {
		all, err = s.mbox.Search(ctx, program)
	}
	if err == nil {
		err = s.tellFound(ctx, cmd, ret, program, all)
	}
	return s.saveEnded(ret, err)
}

// saveEnded empties "$" if what was to set it is refused with NO. RFC 5182 section 2.1.
func (s *session) saveEnded(ret searchReturn, err error) error {
	if err != nil && ret&returnSave != 0 && !imap.AsError(err).Bad {
		s.saved = nil
	}
	return err
}

func (s *session) tellFound(ctx context.Context, cmd *command, ret searchReturn, program *imap.SearchKey, all mailbox.Found) error {
	// What the client was not told of has no number, and is no news of a SEARCH.
	found := mailbox.Found{UIDs: all.UIDs.Intersect(s.view.uids)}
	told := cmd.told(ret, found.UIDs)
	if ret&returnSave != 0 {
		s.saved = told
	}
	if program.Has(imap.SearchModSeq) {
		found.ModSeq = all.ModSeq
		if told.Len() < all.UIDs.Len() {
			var err error
			if found.ModSeq, err = s.highestOf(ctx, told); err != nil {
				return err
			}
		}
	}
	if !cmd.is(byUID) {
		found.UIDs = s.view.seqsOf(found.UIDs)
	}
	switch {
	case ret == 0:
		s.writeSearch(found)
	case ret&returnShown != 0:
		s.writeESearch(cmd, ret, found)
	}
	return nil
}

// told are those of found that the client learns: the first and the last if it
// has asked for no more. RFC 5182 section 2.4, RFC 7162 section 3.1.10.
func (r searchReturn) told(found imap.UIDSet) imap.UIDSet {
	if !r.endsOnly() || found.Empty() {
		return found
	}
	var ends imap.UIDSet
	if r&returnMin != 0 {
		ends = imap.UIDSetOf(found.Min())
	}
	if r&returnMax != 0 {
		ends = ends.Union(imap.UIDSetOf(found.Max()))
	}
	return ends
}

// endsOnly reports whether no more is asked for than the first or the last.
func (r searchReturn) endsOnly() bool {
	return r&(returnMin|returnMax) != 0 && r&(returnAll|returnCount) == 0
}

// highestOf is the highest modification sequence of messages.
func (s *session) highestOf(ctx context.Context, uids imap.UIDSet) (highest imap.ModSeq, err error) {
	err = s.mbox.Fetch(ctx, uids, &imap.FetchItems{ModSeq: true}, func(m *mailbox.Message) error {
		highest = max(highest, m.ModSeq)
		return nil
	})
	return highest, err
}

// writeSearch is the SEARCH response. RFC 3501 section 7.2.5.
func (s *session) writeSearch(found mailbox.Found) {
	s.enc.RawString("* SEARCH")
	for n := range found.UIDs.All() {
		s.enc.SP().Number(uint32(n))
	}
	if found.ModSeq > 0 {
		s.enc.RawString(" (MODSEQ ").Number64(uint64(found.ModSeq)).Special(')')
	}
	s.enc.CRLF()
}

// writeESearch is the ESEARCH response. RFC 4466 section 2.6.2: where nothing was
// found, MIN, MAX and ALL are left out.
func (s *session) writeESearch(cmd *command, ret searchReturn, found mailbox.Found) {
	s.beginESearch(cmd)
	some := !found.UIDs.Empty()
	if some && ret&returnMin != 0 {
		s.enc.RawString(" MIN ").Number(uint32(found.UIDs.Min()))
	}
	if some && ret&returnMax != 0 {
		s.enc.RawString(" MAX ").Number(uint32(found.UIDs.Max()))
	}
	if some && ret&returnAll != 0 {
		s.enc.RawString(" ALL ").AppendFunc(found.UIDs.AppendTo)
	}
	if ret&returnPartial != 0 {
		part := cmd.partial.of(found.UIDs)
		s.writePartial(&cmd.partial, part.Empty(), func() { s.enc.AppendFunc(part.AppendTo) })
	}
	if ret&returnCount != 0 {
		s.enc.RawString(" COUNT ").Number(uint32(found.UIDs.Len()))
	}
	if some && found.ModSeq > 0 {
		s.enc.RawString(" MODSEQ ").Number64(uint64(found.ModSeq)) // RFC 7162 section 3.1.10
	}
	s.enc.CRLF()
}

func (s *session) beginESearch(cmd *command) {
	s.enc.RawString("* ESEARCH (TAG ").String(string(cmd.tag)).RawString(")")
	if cmd.is(byUID) {
		s.enc.RawString(" UID")
	}
}

// knownCharset: RFC 5256 asks for these two. Texts come as UTF-8 in either.
func knownCharset(name string) bool {
	return strings.EqualFold(name, "UTF-8") || strings.EqualFold(name, "US-ASCII")
}

// parseSearch reads the arguments of SEARCH: RETURN, CHARSET, keys.
func (s *session) parseSearch() (searchReturn, *imap.SearchKey, error) {
	p := &searchParser{session: s}
	var ret searchReturn
	if s.on&rev2 != 0 {
		ret = returnAll // RFC 9051 section 6.4.4: all answers are ESEARCH
	}
	if !s.dec.ExpectSP() {
		return 0, nil, s.dec.Err()
	}
	first := ""
	if s.dec.Atom(&first); strings.EqualFold(first, "RETURN") {
		var err error
		if ret, err = s.parseReturn(); err != nil {
			return 0, nil, err
		}
		first = ""
		s.dec.Atom(&first)
	}
	if strings.EqualFold(first, "CHARSET") {
		if s.on&utf8Accept != 0 {
			return 0, nil, imap.BadCommand("CHARSET is not for who has enabled UTF8=ACCEPT") // RFC 6855 section 3
		}
		var charset string
		if !s.dec.ExpectSP() || !s.dec.ExpectAString(&charset) || !s.dec.ExpectSP() {
			return 0, nil, s.dec.Err()
		}
		if !knownCharset(charset) {
			return ret, nil, imap.Errorf(imap.CodeBadCharset, "Unknown charset")
		}
		first = ""
	}
	program, err := p.program(first)
	if err != nil {
		return 0, nil, err
	}
	s.dec.ExpectCRLF()
	return ret, program, s.dec.Err()
}

// parseReturn reads the options behind RETURN, and the space behind them. None
// stands for ALL.
func (s *session) parseReturn() (searchReturn, error) {
	var ret searchReturn
	if !s.dec.ExpectSP() {
		return 0, s.dec.Err()
	}
	err := s.dec.List(func() error {
		var name string
		if !s.dec.ExpectAtom(&name) {
			return s.dec.Err()
		}
		switch strings.ToUpper(name) {
		case "MIN":
			ret |= returnMin
		case "MAX":
			ret |= returnMax
		case "ALL":
			ret |= returnAll
		case "COUNT":
			ret |= returnCount
		case "SAVE":
			ret |= returnSave
		case "PARTIAL":
			ret |= returnPartial
			return s.parsePartial(&s.cmd.partial)
		default:
			return imap.BadCommand("Unknown SEARCH return option")
		}
		return nil
	})
	if ret == 0 {
		ret = returnAll
	}
	if err == nil && ret&returnAll != 0 && ret&returnPartial != 0 {
		err = imap.BadCommand("ALL and PARTIAL exclude each other")
	}
	if err == nil && !s.dec.ExpectSP() {
		err = s.dec.Err()
	}
	return ret, err
}
