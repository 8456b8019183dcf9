package imapserver

import "github.com/roost-mail/roost/imap"

// messageSet is a set of messages as a client writes it: numbers, or "$" for
// what the last SEARCH has saved (RFC 5182 section 2.1).
type messageSet struct {
	numbers imap.NumSet
	saved   bool
}

// parseSet reads a space and a set.
func (s *session) parseSet() (messageSet, error) {
	var text string
	if !s.dec.ExpectSP() || !s.dec.ExpectSeqSet(&text) {
		return messageSet{}, s.dec.Err()
	}
	return newMessageSet(text)
}

func newMessageSet(text string) (messageSet, error) {
	if text == "$" {
		return messageSet{saved: true}, nil
	}
	set, err := imap.ParseNumSet(text)
	return messageSet{numbers: set}, err
}

// resolve finds which messages a set names. Those of "$" that are gone drop out.
func (s *session) resolve(set messageSet, isUID bool) (imap.UIDSet, error) {
	if set.saved {
		s.saved = s.saved.Intersect(s.view.uids)
		return s.saved, nil
	}
	return s.view.resolve(set.numbers, isUID)
}

// anyUIDs are the UIDs that a set names, whether or not there are such messages.
// "*" is the last that any message had.
func (s *session) anyUIDs(set messageSet) imap.UIDSet {
	if set.saved {
		return s.saved
	}
	return set.numbers.Resolve(uint32(max(s.mbox.Info().UIDNext, 1) - 1))
}
