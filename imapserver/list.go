package imapserver

import (
	"context"
	"strings"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// maxPattern bounds a LIST pattern: matching takes time in proportion to it.
const maxPattern = imap.MaxMailboxName

// list is LIST. RFC 3501 section 6.3.8, RFC 3348.
func (s *session) list(ctx context.Context, _ *command) error {
	pattern, err := s.parsePattern()
	if err != nil {
		return err
	}
	if pattern == "" {
		s.writeList("LIST", &mailbox.ListEntry{Attrs: []imap.Attr{imap.AttrNoSelect}})
		return nil
	}
	entries, err := s.account().List(ctx, []string{pattern})
	if err != nil {
		return err
	}
	for i := range entries {
		s.writeList("LIST", &entries[i])
	}
	return nil
}

// parsePattern reads the arguments of LIST and LSUB: a reference, which is put
// in front of the pattern as it is. An empty pattern asks for the delimiter
// alone, and stays empty.
func (s *session) parsePattern() (string, error) {
	var reference, pattern string
	if !s.dec.ExpectSP() || !s.dec.ExpectListMailbox(&reference) || !s.dec.ExpectSP() ||
		!s.dec.ExpectListMailbox(&pattern) || !s.dec.ExpectCRLF() {
		return "", s.dec.Err()
	}
	if pattern == "" {
		return "", nil
	}
	pattern = imap.CanonicalName(reference + pattern)
	if len(pattern) > maxPattern {
		return "", imap.BadCommand("Mailbox pattern is too long")
	}
	return pattern, nil
}

// writeList writes a LIST or LSUB response. RFC 3501 sections 7.2.2 and 7.2.3.
func (s *session) writeList(name string, e *mailbox.ListEntry) {
	s.enc.RawString("* ").RawString(name).RawString(" (")
	for i, attr := range e.Attrs {
		if i > 0 {
			s.enc.SP()
		}
		s.enc.Flag(imap.Flag(attr))
	}
	s.enc.RawString(`) "`).Special(imap.Delimiter).RawString(`" `).Mailbox(e.Name).CRLF()
}

// lsub is LSUB. RFC 3501 section 6.3.9.
func (s *session) lsub(ctx context.Context, _ *command) error {
	pattern, err := s.parsePattern()
	if err != nil {
		return err
	}
	if pattern == "" {
		s.writeList("LSUB", &mailbox.ListEntry{Attrs: []imap.Attr{imap.AttrNoSelect}})
		return nil
	}
	names, err := s.account().Subscriptions(ctx)
	if err != nil {
		return err
	}
	for _, e := range matchSubscriptions(names, pattern) {
		s.writeList("LSUB", &e)
	}
	return nil
}

// matchSubscriptions is what LSUB shows of names, which are in order: those
// that match; and where a `%` stops above a subscribed name that does not
// match, the level where it stopped, as \Noselect.
func matchSubscriptions(names []string, pattern string) []mailbox.ListEntry {
	subscribed := make(map[string]bool, len(names))
	for _, name := range names {
		subscribed[name] = true
	}
	above := strings.Contains(pattern, "%")
	var out []mailbox.ListEntry
	told := make(map[string]bool)
	for _, name := range names {
		if imap.MatchPattern(pattern, name) {
			out = append(out, mailbox.ListEntry{Name: name})
			continue
		}
		for i := strings.LastIndexByte(name, imap.Delimiter); above && i > 0; i = strings.LastIndexByte(name[:i], imap.Delimiter) {
			parent := name[:i]
			if !subscribed[parent] && !told[parent] && imap.MatchPattern(pattern, parent) {
				told[parent] = true
				out = append(out, mailbox.ListEntry{Name: parent, Attrs: []imap.Attr{imap.AttrNoSelect}})
			}
		}
	}
	return out
}
