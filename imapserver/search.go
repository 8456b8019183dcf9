package imapserver

import (
	"context"
	"strings"

	"github.com/roost-mail/roost/imap"
)

// searchReturn is what a SEARCH with RETURN asks for. RFC 4731 section 3.1.
type searchReturn uint8

const (
	returnMin searchReturn = 1 << iota
	returnMax
	returnAll
	returnCount
)

// search is SEARCH. RFC 3501 section 6.4.4, RFC 4731.
func (s *session) search(ctx context.Context, cmd *command) error {
	ret, program, err := s.parseSearch()
	if err != nil {
		return err
	}
	all, err := s.mbox.Search(ctx, program)
	if err != nil {
		return err
	}
	// What the client was not told of has no number, and is no news of a SEARCH.
	found := all.UIDs.Intersect(s.view.uids)
	if !cmd.is(byUID) {
		found = s.view.seqsOf(found)
	}
	if ret == 0 {
		s.writeSearch(found)
	} else {
		s.writeESearch(cmd, ret, found)
	}
	return nil
}

// writeSearch is the SEARCH response. RFC 3501 section 7.2.5.
func (s *session) writeSearch(found imap.UIDSet) {
	s.enc.RawString("* SEARCH")
	for n := range found.All() {
		s.enc.SP().Number(uint32(n))
	}
	s.enc.CRLF()
}

// writeESearch is the ESEARCH response. RFC 4466 section 2.6.2: where nothing was
// found, MIN, MAX and ALL are left out.
func (s *session) writeESearch(cmd *command, ret searchReturn, found imap.UIDSet) {
	s.beginESearch(cmd)
	some := !found.Empty()
	if some && ret&returnMin != 0 {
		s.enc.RawString(" MIN ").Number(uint32(found.Min()))
	}
	if some && ret&returnMax != 0 {
		s.enc.RawString(" MAX ").Number(uint32(found.Max()))
	}
	if some && ret&returnAll != 0 {
		s.enc.RawString(" ALL ").AppendFunc(found.AppendTo)
	}
	if ret&returnCount != 0 {
		s.enc.RawString(" COUNT ").Number(uint32(found.Len()))
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
	var badCharset bool
	if strings.EqualFold(first, "CHARSET") {
		var charset string
		if !s.dec.ExpectSP() || !s.dec.ExpectAString(&charset) || !s.dec.ExpectSP() {
			return 0, nil, s.dec.Err()
		}
		badCharset = !knownCharset(charset)
		first = ""
	}
	if badCharset {
		return 0, nil, imap.Errorf(imap.CodeBadCharset, "Unknown charset")
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
		default:
			return imap.BadCommand("Unknown SEARCH return option")
		}
		return nil
	})
	if ret == 0 {
		ret = returnAll
	}
	if err == nil && !s.dec.ExpectSP() {
		err = s.dec.Err()
	}
	return ret, err
}
