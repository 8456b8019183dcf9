package acl

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// maxFile bounds an ACL file, in bytes.
const maxFile = 1 << 20

// fileOrder is the order in which Dovecot writes rights: by their long names.
const fileOrder = "akxeilprwts"

// errUnreadableNegative says that an entry which takes rights away could not
// be read: nobody but the owner may then do anything.
var errUnreadableNegative = errors.New("a negative entry can't be read")

// ParseFile reads a dovecot-acl file. A line that can't be read is skipped and
// reported in problems, with its number; if it may have been a negative entry, or there are
// more entries than a mailbox can have, nobody but the owner keeps any right. Several lines
// of one identifier are united.
func ParseFile(r io.Reader) (entries []mailbox.Entry, problems []error) {
	text, err := readFile(r)
	if err != nil {
		return []mailbox.Entry{}, []error{err}
	}
	closed := false
	for n, line := range fileLines(text, isDated) {
		e, err := parseDated(line)
		if err == nil {
			entries, err = unite(entries, e)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("line %d: %w", n, err))
			closed = closed || errors.Is(err, errUnreadableNegative)
		}
		if len(entries) > maxEntries {
			problems = append(problems, fmt.Errorf("line %d: more than %d entries", n, maxEntries))
			closed = true
			break
		}
	}
	if closed {
		return closedToOthers(entries), problems
	}
	return entries, problems
}

func readFile(r io.Reader) (string, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = fmt.Errorf("ACL file is larger than %d bytes", maxFile)
	}
	return string(text), err
}

// fileLines are the lines that are neither blank nor comments, by number. Comments that
// count are among them.
func fileLines(text string, counts func(comment string) bool) iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		n := 0
		for line := range strings.Lines(text) {
			n++
			line = strings.TrimRight(line, "\r\n")
			if strings.Trim(line, " ") != "" && (line[0] != '#' || counts(line)) && !yield(n, line) {
				return
			}
		}
	}
}

// closedToOthers keeps what entries say of the owner only: everybody else has nothing.
func closedToOthers(entries []mailbox.Entry) []mailbox.Entry {
	return slices.DeleteFunc(entries, func(e mailbox.Entry) bool { return e.Identifier != idOwner })
}

func unite(entries []mailbox.Entry, e mailbox.Entry) ([]mailbox.Entry, error) {
	for i := range entries {
		had := &entries[i]
		switch {
		case had.Identifier != e.Identifier || had.Negative != e.Negative || had.Global != e.Global:
		case had.Expires != e.Expires:
			return entries, fmt.Errorf("%s is there with another date", e.Identifier)
		default:
			had.Rights |= e.Rights
			return entries, nil
		}
	}
	return append(entries, e), nil
}

func parseLine(line string) (mailbox.Entry, error) {
	id, rest, err := cutWord(line)
	if err != nil && strings.HasPrefix(line, `"-`) {
		err = errors.Join(err, errUnreadableNegative)
	}
	if err != nil {
		return mailbox.Entry{}, err
	}
	e := mailbox.Entry{Identifier: id}
	e.Identifier, e.Negative = strings.CutPrefix(id, "-")
	if e.Identifier == idAnonymous {
		e.Identifier = idAnyone
	}
	fail := func(format string, args ...any) (mailbox.Entry, error) {
		err := fmt.Errorf(format, args...)
		if e.Negative {
			err = errors.Join(err, errUnreadableNegative)
		}
		return mailbox.Entry{}, err
	}
	if _, _, ok := split(e.Identifier); !ok || imap.CheckIdentifier(id) != nil {
		return fail("unknown identifier %q", id)
	}
	words := strings.Fields(rest)
	if len(words) > 0 && words[0][0] != ':' {
		if e.Rights, err = parseFileRights(words[0]); err != nil {
			return fail("%w", err)
		}
		words = words[1:]
	}
	if len(words) > 0 && words[0][0] != ':' { // after : come rights by name, of extensions
		return fail("%q is neither rights nor a named right", words[0])
	}
	return e, nil
}

// parseFileRights knows no virtual letters: Dovecot's files have none.
func parseFileRights(s string) (imap.Rights, error) {
	if i := strings.IndexFunc(s, func(r rune) bool { return !strings.ContainsRune(fileOrder, r) }); i >= 0 {
		return 0, fmt.Errorf("unknown right %q", s[i:i+1])
	}
	return imap.ParseRights(s)
}

// cutWord takes the first word off a line, up to a space that stays; in double
// quotes it may hold spaces, with \ before a quote or a backslash.
func cutWord(line string) (word, rest string, err error) {
	if !strings.HasPrefix(line, `"`) {
		i := strings.IndexByte(line+" ", ' ')
		return line[:i], line[i:], nil
	}
	var b strings.Builder
	for i := 1; i < len(line); i++ {
		switch c := line[i]; c {
		case '"':
			return b.String(), line[i+1:], nil
		case '\\':
			if i++; i < len(line) {
				b.WriteByte(line[i])
			}
		default:
			b.WriteByte(c)
		}
	}
	return "", "", errors.New("what is quoted does not end")
}

// globalMark is before a global entry where both are kept in one text. Dovecot
// takes such a line for a comment.
const globalMark = "#global "

// ParseShared reads what FormatShared has written.
func ParseShared(text string) (entries []mailbox.Entry, problems []error) {
	entries, problems = ParseFile(strings.NewReader(text))
	if len(text) > maxFile {
		return entries, problems
	}
	for line := range strings.Lines(text) {
		line, is := strings.CutPrefix(strings.TrimRight(line, "\r\n"), globalMark)
		if !is || line == "" {
			continue
		}
		e, err := parseLine(line)
		if err != nil {
			problems = append(problems, err)
			return closedToOthers(entries), problems
		}
		e.Global = true
		entries = append(entries, e)
	}
	return entries, problems
}

// FormatShared writes entries with the global ones among them, for the sharing index.
func FormatShared(entries []mailbox.Entry) string {
	var b strings.Builder
	b.WriteString(FormatFile(entries))
	for _, e := range entries {
		if e.Global {
			e.Global = false
			b.WriteString(globalMark + FormatFile([]mailbox.Entry{e}))
		}
	}
	return b.String()
}

// FormatFile writes entries as a dovecot-acl file, which has no global ones. Those with a
// date are comments to Dovecot, which could not end them.
func FormatFile(entries []mailbox.Entry) string {
	var b strings.Builder
	for _, e := range entries {
		if e.Global {
			continue
		}
		if e.Expires != 0 {
			b.WriteString(datedMark + FormatDate(e.Expires) + " ")
		}
		id := e.Identifier
		if e.Negative {
			id = "-" + id
		}
		b.WriteString(quoteWord(id))
		b.WriteByte(' ')
		letters := e.Rights.Letters()
		for _, c := range fileOrder {
			if strings.ContainsRune(letters, c) {
				b.WriteRune(c)
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// quoteWord is what cutWord reads as word.
func quoteWord(word string) string {
	if strings.ContainsAny(word, ` "\`) || strings.HasPrefix(word, "#") {
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(word) + `"`
	}
	return word
}
