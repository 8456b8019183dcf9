package imapserver

import (
	"context"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// Bounds of a LIST. Matching takes time in proportion to the patterns with
// wildcards; names without are looked up.
const (
	maxPattern      = imap.MaxMailboxName // bytes of a pattern
	maxWildPatterns = 32
	maxWildBytes    = 4 * maxPattern // of all of them
)

// list is LIST. RFC 3501 section 6.3.8, RFC 3348, RFC 5258.
func (s *session) list(ctx context.Context, _ *command) error {
	q, err := s.parseListQuery()
	if err != nil {
		return err
	}
	if !q.extended && q.patterns[0] == "" {
		s.writeList("LIST", &mailbox.ListEntry{Attrs: []imap.Attr{imap.AttrNoSelect}})
		return nil
	}
	entries, err := q.find(ctx, s.account())
	if err != nil {
		return err
	}
	var counted []string
	for i := range entries {
		e := &entries[i]
		s.writeListed(e)
		if e.mailbox && q.myRights && e.Rights != 0 {
			s.writeMyRights(e.Name, e.Rights) // RFC 8440
		}
		if e.mailbox {
			counted = append(counted, e.Name)
		}
	}
	if q.status != 0 && len(counted) > 0 {
		s.listStatus(ctx, counted, q.status)
	}
	return nil
}

// listStatus is the return option STATUS. RFC 5819. What may not be read, is
// gone or can't be reached has no line.
func (s *session) listStatus(ctx context.Context, names []string, items imap.StatusItems) {
	s.account().Statuses(ctx, names, items, func(name string, status imap.Status, err error) {
		if err == nil {
			s.writeStatus(name, items, &status)
		} else if imap.CodeOf(err) != imap.CodeNoPerm {
			s.logger().Debug("no status in LIST", "mailbox", name, "error", err)
		}
	})
}

// parsePattern reads the arguments of LSUB: a reference, which is put in front
// of the pattern as it is. An empty pattern asks for the delimiter alone, and
// stays empty.
func (s *session) parsePattern() (string, error) {
	var reference, pattern string
	if !s.dec.ExpectSP() || !s.dec.ExpectListMailbox(&reference) || !s.dec.ExpectSP() ||
		!s.dec.ExpectListMailbox(&pattern) || !s.dec.ExpectCRLF() {
		return "", s.dec.Err()
	}
	return joinPattern(reference, pattern)
}

func joinPattern(reference, pattern string) (string, error) {
	if pattern == "" {
		return "", nil
	}
	pattern = imap.CanonicalName(reference + pattern)
	if len(pattern) > maxPattern {
		return "", imap.BadCommand("Mailbox pattern is too long")
	}
	return pattern, nil
}

// writeListed writes a LIST response with what was asked for beside it.
func (s *session) writeListed(e *listed) {
	s.beginList("LIST", &e.ListEntry)
	if e.childInfo != nil {
		s.enc.RawString(` ("CHILDINFO" (`)
		for i, option := range e.childInfo {
			if i > 0 {
				s.enc.SP()
			}
			s.enc.RawString(`"` + option + `"`)
		}
		s.enc.RawString("))")
	}
	s.enc.CRLF()
}

// writeList writes a LIST or LSUB response. RFC 3501 sections 7.2.2 and 7.2.3.
func (s *session) writeList(name string, e *mailbox.ListEntry) {
	s.beginList(name, e)
	s.enc.CRLF()
}

func (s *session) beginList(name string, e *mailbox.ListEntry) {
	s.enc.RawString("* ").RawString(name).RawString(" (")
	for i, attr := range e.Attrs {
		if i > 0 {
			s.enc.SP()
		}
		s.enc.Flag(imap.Flag(attr))
	}
	s.enc.RawString(`) "`).Special(imap.Delimiter).RawString(`" `).Mailbox(e.Name)
}
