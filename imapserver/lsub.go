package imapserver

import (
	"context"
	"strings"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

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
