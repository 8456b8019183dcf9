package acl

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// Holding are those of entries that have not expired at a time. All that judges or
// shows entries asks this. It may return entries itself.
func Holding(entries []mailbox.Entry, at time.Time) []mailbox.Entry {
	now := at.Unix()
	expired := func(e mailbox.Entry) bool { return e.Expires != 0 && e.Expires <= now }
	if !slices.ContainsFunc(entries, expired) {
		return entries
	}
	return slices.DeleteFunc(slices.Clone(entries), expired)
}

// RemoveExpired removes from an owner's mailboxes the entries that have expired, and
// tells of each mailbox that had some. No right changes by it: it has those hear who
// wait in an open mailbox, and what else follows changes of entries. Not with
// rules.GlobalsOnly: then nobody changes entries.
func RemoveExpired(ctx context.Context, home mailbox.EntryKeeper, rules Rules, tell func(Event)) error {
	names, err := home.Mailboxes(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		s, err := home.Standing(ctx, name)
		if err == nil && len(Holding(s.Own, time.Now())) < len(s.Own) {
			e := Event{What: Expire, Mailbox: name}
			same := func(entries []mailbox.Entry) ([]mailbox.Entry, error) { return entries, nil }
			if err = home.UpdateEntries(ctx, name, rules.AuditedChange(&e, same)); err == nil && e.Changed {
				tell(e)
			}
		}
		if err != nil && imap.CodeOf(err) != imap.CodeNonExistent { // gone meanwhile
			return err
		}
	}
	return nil
}

// FormatDate is a date of an entry as files and administrators have it, in UTC.
func FormatDate(seconds int64) string { return time.Unix(seconds, 0).UTC().Format(time.RFC3339) }

// maxDate bounds dates: RFC 3339 has no later years.
var maxDate = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC).Unix()

// ParseDate reads 2026-12-24T18:00:00Z, with any time zone, and 2026-12-24, which is the
// beginning of that day in UTC.
func ParseDate(text string) (seconds int64, err error) {
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		at, err = time.Parse(time.DateOnly, text)
	}
	if err != nil || at.Unix() <= 0 || at.Unix() > maxDate {
		return 0, fmt.Errorf("%.40q is no date, as 2026-12-24 or 2026-12-24T18:00:00Z", text)
	}
	return at.Unix(), nil
}

// datedMark and a date are before an entry that ends then. Dovecot takes such a line
// for a comment, so that what it could not end it does not begin.
const datedMark = "#expires "

// isDated says whether a comment is an entry with a date.
func isDated(comment string) bool {
	date, rest, _ := strings.Cut(strings.TrimPrefix(comment, datedMark), " ")
	_, err := ParseDate(date)
	return err == nil && rest != "" && strings.HasPrefix(comment, datedMark)
}

var errDatedNegative = errors.New("what is denied can't have a date")

// parseDated is parseLine for a line that may have a date.
func parseDated(line string) (mailbox.Entry, error) {
	rest, dated := strings.CutPrefix(line, datedMark)
	if !dated {
		return parseLine(line)
	}
	date, rest, _ := strings.Cut(rest, " ")
	e, err := parseLine(rest)
	if err == nil && e.Negative {
		err = errors.Join(errDatedNegative, errUnreadableNegative)
	}
	if err == nil {
		e.Expires, err = ParseDate(date)
	}
	return e, err
}
