package imapserver

import (
	"context"
	"slices"
	"strings"

	"github.com/roost-mail/roost/imap"
)

// extensions are what a client has turned on, for as long as its connection lasts.
type extensions uint8

const (
	// condStore: FETCH responses that nobody asked for have UID and MODSEQ. Other
	// commands than ENABLE turn it on as well. RFC 7162 section 3.1.
	condStore extensions = 1 << iota

	// qresync: VANISHED in place of EXPUNGE. RFC 7162 section 3.2.3.
	qresync

	// rev2: nothing is told of \Recent, SEARCH answers ESEARCH, names are UTF-8. RFC 9051.
	rev2

	// utf8Accept: strings and names are UTF-8. RFC 6855 section 3.
	utf8Accept
)

// enableRow is a capability that a client can turn on, and what it stands for.
type enableRow struct {
	name string
	on   extensions
}

func enableRows() []enableRow {
	return []enableRow{
		{"CONDSTORE", condStore},
		{"QRESYNC", condStore | qresync},
		{"IMAP4rev2", rev2},
		{"UTF8=ACCEPT", utf8Accept},
	}
}

// enable is ENABLE. RFC 5161 section 3.1: what is not known is passed over, and
// what was on before is told of again by none of the servers that clients know.
func (s *session) enable(_ context.Context, _ *command) error {
	var names []string
	for s.dec.SP() {
		var name string
		if !s.dec.ExpectAtom(&name) {
			return s.dec.Err()
		}
		names = append(names, strings.ToUpper(name))
	}
	if !s.dec.ExpectCRLF() {
		return s.dec.Err()
	}
	if len(names) == 0 {
		return imap.BadCommand("Expected capability")
	}
	var on extensions
	s.enc.RawString("* ENABLED")
	for _, r := range enableRows() {
		if slices.Contains(names, strings.ToUpper(r.name)) {
			on |= r.on
			s.enc.SP().Atom(r.name)
		}
	}
	s.enc.CRLF()
	s.turnOn(on)
	return nil
}

// turnOn has effect from the next response on. A client that turns CONDSTORE on
// in a mailbox is told where that is (RFC 7162 section 3.1).
func (s *session) turnOn(on extensions) {
	fresh := on &^ s.on
	s.on |= on
	if fresh&condStore != 0 && s.modSeqs() {
		s.tellHighestModSeq("Highest.")
	}
	utf8 := s.on&(rev2|utf8Accept) != 0
	s.enc.UTF8, s.dec.UTF8 = utf8, utf8
}

// modSeqs reports whether FETCH responses have MODSEQ.
func (s *session) modSeqs() bool { return s.on&condStore != 0 && s.mbox != nil && s.hasModSeqs }

// vanishes reports whether VANISHED stands for EXPUNGE.
func (s *session) vanishes() bool { return s.on&qresync != 0 && s.modSeqs() }

// needModSeqs is for what only mailboxes with modification sequences have, and
// is what turns CONDSTORE on. RFC 7162 sections 3.1 and 3.1.2.2.
func (s *session) needModSeqs() error {
	if !s.hasModSeqs {
		return imap.BadCommand("Mailbox has no modification sequences")
	}
	s.turnOn(condStore)
	return nil
}
