package dictfile

import (
	"bufio"
	"io"
	"strings"

	"github.com/roost-mail/roost/dict"
)

// contents is what a file says.
type contents struct {
	table dict.Table

	// foreign holds, as they stand, the entries that Dovecot can read and
	// package dict does not allow.
	foreign string

	// junk holds the lines that are no entries, each ended by LF. They have to
	// be last in a file, for an odd number of them would shift keys and values.
	junk string

	junkLine int // number of the first line of junk in the file read, from 1
}

// smallestEntry is the least number of bytes an entry takes in a file.
const smallestEntry = len(dict.Root) + 3

// parse reads a file. It never fails. Every valid key begins with shared/ or
// priv/, so a line without either, where a key has to be, is junk, and the next
// line may be a key again: one stray line does not garble what follows it.
func parse(text string) contents {
	var (
		c             contents
		foreign, junk strings.Builder
		entries       = make([]dict.Entry, 0, min(strings.Count(text, "\n")/2, len(text)/smallestEntry))
	)
	for number := 1; text != ""; number++ {
		start := text
		key, rest := cutLine(text)
		text = rest
		if !isKey(key) || rest == "" {
			if junk.Len() == 0 {
				c.junkLine = number
			}
			writeLine(&junk, start[:len(start)-len(rest)])
			continue
		}
		value, rest := cutLine(text)
		text = rest
		number++
		if e := (dict.Entry{Key: unescape(key), Value: unescape(value)}); dict.CheckKey(e.Key) == nil {
			entries = append(entries, e)
		} else {
			writeLine(&foreign, start[:len(start)-len(rest)])
		}
	}
	c.table, c.foreign, c.junk = dict.NewTable(entries), foreign.String(), junk.String()
	return c
}

func isKey(line string) bool {
	return strings.HasPrefix(line, "shared/") || strings.HasPrefix(line, "priv/")
}

// cutLine takes the first line off text, without its LF or CR LF. A CR that
// belongs to a key or value is escaped.
func cutLine(text string) (line, rest string) {
	line, rest, _ = strings.Cut(text, "\n")
	return strings.TrimSuffix(line, "\r"), rest
}

// writeLine writes lines as they stand and ends the last one if it was cut short.
func writeLine(b *strings.Builder, lines string) {
	b.WriteString(lines)
	if !strings.HasSuffix(lines, "\n") {
		b.WriteByte('\n')
	}
}

// size is the number of bytes that write writes.
func (c contents) size() int64 {
	n := len(c.foreign) + len(c.junk)
	for _, e := range c.table.Below("") {
		n += len(e.Key) + escapes(e.Key) + len(e.Value) + escapes(e.Value) + 2
	}
	return int64(n)
}

// write writes a file, sorted by key, so that equal contents are equal files.
func (c contents) write(to io.Writer) error {
	w := bufio.NewWriterSize(to, 64<<10)
	for _, e := range c.table.Below("") {
		writeEscaped(w, e.Key)
		writeEscaped(w, e.Value)
	}
	w.WriteString(c.foreign)
	w.WriteString(c.junk)
	return w.Flush() // the first error of all the writes
}

// escaped lists the bytes to escape; escapeCodes has the second byte for each.
const (
	escaped     = "\x00\x01\t\r\n"
	escapeCodes = "01trn"
)

func escapes(s string) int {
	n := 0
	for i := strings.IndexAny(s, escaped); i >= 0; i = strings.IndexAny(s, escaped) {
		n++
		s = s[i+1:]
	}
	return n
}

// writeEscaped writes a key or value and the end of its line.
func writeEscaped(w *bufio.Writer, s string) {
	for i := strings.IndexAny(s, escaped); i >= 0; i = strings.IndexAny(s, escaped) {
		w.WriteString(s[:i])
		w.WriteByte(1)
		w.WriteByte(escapeCodes[strings.IndexByte(escaped, s[i])])
		s = s[i+1:]
	}
	w.WriteString(s)
	w.WriteByte('\n')
}

// unescape undoes the escaping. Of an unknown sequence the second byte stays,
// and a \001 at the end is dropped; Dovecot reads them so.
func unescape(s string) string {
	if strings.IndexByte(s, 1) < 0 {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != 1 {
			b.WriteByte(s[i])
			continue
		}
		if i++; i == len(s) {
			break
		}
		if code := strings.IndexByte(escapeCodes, s[i]); code >= 0 {
			b.WriteByte(escaped[code])
		} else {
			b.WriteByte(s[i])
		}
	}
	return b.String()
}
