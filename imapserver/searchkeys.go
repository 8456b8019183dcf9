package imapserver

import (
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/roost-mail/roost/imap"
)

// searchParser reads search keys into a program for the mailbox. What only a
// session knows is resolved here: sequence sets, `*`, and \Recent.
type searchParser struct {
	*session
	keys   int
	bodies int // keys among them that read bodies
}

// program reads keys to the end of the line; all of them have to be true. The
// name of the first may have been read already.
func (p *searchParser) program(first string) (*imap.SearchKey, error) {
	all := imap.SearchKey{Op: imap.SearchAnd}
	for {
		key, err := p.key(first, 1)
		if err != nil {
			return nil, err
		}
		all.Keys = append(all.Keys, key)
		first = ""
		if !p.dec.SP() {
			break
		}
	}
	if len(all.Keys) == 1 {
		return &all.Keys[0], nil
	}
	return &all, nil
}

// key reads one key. RFC 3501 section 9, search-key. name is empty if it is
// still to be read.
func (p *searchParser) key(name string, depth int) (imap.SearchKey, error) {
	none := imap.SearchKey{}
	if p.keys++; p.keys > imap.MaxSearchKeys {
		return none, imap.BadCommand("Too many search keys")
	}
	if depth > imap.MaxSearchDepth {
		return none, imap.BadCommand("Search keys are nested too deep")
	}
	if name == "" {
		switch b, _ := p.dec.PeekByte(); {
		case b == '(':
			return p.list(depth)
		case b == '*' || b == '$':
			var set string
			p.dec.SeqSet(&set)
			return p.set(set, false)
		}
		if !p.dec.ExpectAtom(&name) {
			return none, p.dec.Err()
		}
	}
	if name == "$" || name[0] >= '0' && name[0] <= '9' {
		// An atom ends before `*`; the rest of a set may follow.
		var rest string
		p.dec.SeqSet(&rest)
		return p.set(name+rest, false)
	}
	return p.named(strings.ToUpper(name), depth)
}

func (p *searchParser) list(depth int) (imap.SearchKey, error) {
	all := imap.SearchKey{Op: imap.SearchAnd}
	err := p.dec.List(func() error {
		key, err := p.key("", depth+1)
		all.Keys = append(all.Keys, key)
		return err
	})
	if err == nil && len(all.Keys) == 0 {
		err = imap.BadCommand("Empty list of search keys")
	}
	return all, err
}

func (p *searchParser) set(text string, isUID bool) (imap.SearchKey, error) {
	if err := p.dec.Err(); err != nil {
		return imap.SearchKey{}, err
	}
	set, err := newMessageSet(text)
	if err != nil {
		return imap.SearchKey{}, err
	}
	uids, err := p.resolve(set, isUID)
	return imap.SearchKey{Op: imap.SearchUIDs, UIDs: uids}, err
}

// named reads a key that begins with a name, behind it.
func (p *searchParser) named(name string, depth int) (imap.SearchKey, error) {
	switch name { // keys that stand for several
	case "NEW":
		p.keys += 3
		depth += 2
	case "OLD", "UNANSWERED", "UNDELETED", "UNDRAFT", "UNFLAGGED", "UNSEEN", "UNKEYWORD":
		p.keys++
		depth++
	}
	if p.keys > imap.MaxSearchKeys || depth > imap.MaxSearchDepth {
		return imap.SearchKey{}, imap.BadCommand("Search keys are nested too deep")
	}
	if flag, not, ok := searchFlag(name); ok {
		key := imap.SearchKey{Op: imap.SearchFlag, Flag: flag}
		if not {
			key = key.Not()
		}
		return key, nil
	}
	if op, ok := searchDate(name); ok {
		return p.date(op)
	}
	recent := imap.SearchKey{Op: imap.SearchUIDs, UIDs: p.view.recent}
	switch name {
	case "ALL":
		return imap.SearchKey{Op: imap.SearchAll}, nil
	case "SAVEDATESUPPORTED":
		return imap.SearchKey{Op: imap.SearchSaveDateSupported}, nil
	case "RECENT":
		return recent, nil
	case "OLD":
		return recent.Not(), nil
	case "NEW":
		seen := imap.SearchKey{Op: imap.SearchFlag, Flag: imap.FlagSeen}
		return imap.SearchKey{Op: imap.SearchAnd, Keys: []imap.SearchKey{recent, seen.Not()}}, nil
	case "NOT":
		key, err := p.spaceKey(depth + 1)
		return key.Not(), err
	case "OR":
		return p.or(depth)
	case "UID":
		var set string
		if p.dec.ExpectSP() {
			p.dec.ExpectSeqSet(&set)
		}
		return p.set(set, true)
	}
	return p.withArgument(name)
}

func (p *searchParser) spaceKey(depth int) (imap.SearchKey, error) {
	if !p.dec.ExpectSP() {
		return imap.SearchKey{}, p.dec.Err()
	}
	return p.key("", depth)
}

func (p *searchParser) or(depth int) (imap.SearchKey, error) {
	a, err := p.spaceKey(depth + 1)
	if err != nil {
		return a, err
	}
	b, err := p.spaceKey(depth + 1)
	return imap.SearchKey{Op: imap.SearchOr, Keys: []imap.SearchKey{a, b}}, err
}

// withArgument reads the keys that have a text, a number or a keyword.
func (p *searchParser) withArgument(name string) (imap.SearchKey, error) {
	key := imap.SearchKey{}
	switch name {
	case "BCC", "CC", "FROM", "SUBJECT", "TO":
		key.Op, key.Field = imap.SearchHeader, name
		return key, p.text(&key.Text)
	case "HEADER":
		key.Op = imap.SearchHeader
		if err := p.text(&key.Field); err != nil {
			return key, err
		}
		return key, p.text(&key.Text)
	case "BODY":
		key.Op = imap.SearchBody
		return key, p.bodyText(&key.Text)
	case "TEXT":
		key.Op = imap.SearchText
		return key, p.bodyText(&key.Text)
	case "EMAILID", "THREADID":
		key.Op = imap.SearchEmailID
		if name == "THREADID" {
			key.Op = imap.SearchThreadID
		}
		err := p.text(&key.Text)
		if err == nil && !imap.ObjectID(key.Text).Valid() {
			err = imap.BadCommand("Invalid object ID")
		}
		return key, err
	case "LARGER":
		return p.size(imap.SearchLarger)
	case "SMALLER":
		return p.size(imap.SearchSmaller)
	case "YOUNGER": // RFC 5032
		return p.age(imap.SearchYounger)
	case "OLDER":
		return p.age(imap.SearchOlder)
	case "MODSEQ":
		key.Op = imap.SearchModSeq
		return key, p.modSeq(&key.ModSeq)
	case "KEYWORD", "UNKEYWORD":
		key.Op = imap.SearchFlag
		if p.dec.ExpectSP() {
			p.dec.ExpectFlag(&key.Flag)
		}
		if strings.HasPrefix(string(key.Flag), `\`) {
			return key, imap.BadCommand("Expected keyword")
		}
		if name == "UNKEYWORD" {
			key = key.Not()
		}
		return key, p.dec.Err()
	}
	return key, imap.BadCommand("Unknown search key")
}

// size reads a number of 63 bits. No message is as large as 32 of them can say.
func (p *searchParser) size(op imap.SearchOp) (imap.SearchKey, error) {
	var n uint64
	if p.dec.ExpectSP() {
		p.dec.ExpectNumber64(&n)
	}
	return imap.SearchKey{Op: op, Size: uint32(min(n, math.MaxUint32))}, p.dec.Err()
}

func (p *searchParser) age(op imap.SearchOp) (imap.SearchKey, error) {
	key := imap.SearchKey{Op: op}
	if p.dec.ExpectSP() {
		p.dec.ExpectNumber(&key.Size)
	}
	p.dec.Expect(key.Size > 0, "number of seconds")
	return key, p.dec.Err()
}

// bodyText is text for keys that read whole messages.
func (p *searchParser) bodyText(s *string) error {
	if p.bodies++; p.bodies > imap.MaxBodyKeys {
		return imap.BadCommand("Too many keys that search bodies")
	}
	return p.text(s)
}

// text reads a space and a text, which has to be UTF-8 as the charsets are that
// we know.
func (p *searchParser) text(s *string) error {
	if !p.dec.ExpectSP() || !p.dec.ExpectAString(s) {
		return p.dec.Err()
	}
	if len(*s) > imap.MaxSearchText {
		return imap.BadCommand("Search text is too long")
	}
	if !utf8.ValidString(*s) {
		return imap.BadCommand("Search text is not valid in its charset")
	}
	return nil
}

// modSeq reads what follows MODSEQ. A flag may be named whose sequence is meant,
// and whether it is one's own: as messages have one sequence, for all that the
// acting user sees, that makes no difference (RFC 7162 section 3.1.5).
func (p *searchParser) modSeq(n *imap.ModSeq) error {
	if !p.dec.ExpectSP() {
		return p.dec.Err()
	}
	if b, ok := p.dec.PeekByte(); ok && b == '"' {
		var entry, kind string
		if !p.dec.QuotedString(&entry) || !p.dec.ExpectSP() || !p.dec.ExpectAtom(&kind) || !p.dec.ExpectSP() {
			return p.dec.Err()
		}
		flag, is := strings.CutPrefix(strings.ToLower(entry), "/flags/")
		kinds := []string{"priv", "shared", "all"}
		if !is || flag == "" || !slices.Contains(kinds, strings.ToLower(kind)) {
			return imap.BadCommand("Invalid entry of MODSEQ")
		}
	}
	p.dec.ExpectNumber64((*uint64)(n))
	return p.dec.Err()
}

func (p *searchParser) date(op imap.SearchOp) (imap.SearchKey, error) {
	var date time.Time
	if p.dec.ExpectSP() {
		p.dec.ExpectDate(&date)
	}
	return imap.SearchKey{Op: op, Date: date}, p.dec.Err()
}

// searchFlag is the flag that a key asks for, and whether it has to be unset.
func searchFlag(name string) (flag imap.Flag, not, ok bool) {
	name, not = strings.CutPrefix(name, "UN")
	switch name {
	case "ANSWERED":
		return imap.FlagAnswered, not, true
	case "DELETED":
		return imap.FlagDeleted, not, true
	case "DRAFT":
		return imap.FlagDraft, not, true
	case "FLAGGED":
		return imap.FlagFlagged, not, true
	case "SEEN":
		return imap.FlagSeen, not, true
	}
	return "", false, false
}

func searchDate(name string) (imap.SearchOp, bool) {
	switch name {
	case "BEFORE":
		return imap.SearchBefore, true
	case "ON":
		return imap.SearchOn, true
	case "SINCE":
		return imap.SearchSince, true
	case "SAVEDBEFORE":
		return imap.SearchSavedBefore, true
	case "SAVEDON":
		return imap.SearchSavedOn, true
	case "SAVEDSINCE":
		return imap.SearchSavedSince, true
	case "SENTBEFORE":
		return imap.SearchSentBefore, true
	case "SENTON":
		return imap.SearchSentOn, true
	case "SENTSINCE":
		return imap.SearchSentSince, true
	}
	return imap.SearchAll, false
}
