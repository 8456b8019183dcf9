package acl

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/roost-mail/roost/mailbox"
)

// maxGlobals bounds the entries of a global ACL file: all are looked at whenever
// rights are asked for.
const maxGlobals = 1000

// Globals are the entries of a global ACL file: those of an administrator, for all
// mailboxes of all owners whose names match. It is not changed once made.
type Globals struct{ lines []globalLine }

type globalLine struct {
	pattern string
	entry   mailbox.Entry
}

// ParseGlobals reads a global ACL file. Each line is a pattern, with * for any
// characters and ? for one, then an identifier and rights as in a dovecot-acl file;
// a pattern with spaces stands in double quotes. It matches the name that the
// mailbox has for its owner. Any line that can't be read is an error: what it would
// have taken away is not known.
func ParseGlobals(r io.Reader) (*Globals, error) {
	text, err := readFile(r)
	if err != nil {
		return nil, err
	}
	g := &Globals{}
	for n, line := range fileLines(text, func(string) bool { return false }) {
		pattern, rest, err := cutWord(line)
		if err == nil && (pattern == "" || !strings.HasPrefix(rest, " ")) {
			err = fmt.Errorf("%.100q is not PATTERN IDENTIFIER RIGHTS", line)
		}
		var e mailbox.Entry
		if err == nil {
			e, err = parseLine(strings.TrimLeft(rest, " "))
		}
		if err == nil && len(g.lines) == maxGlobals {
			err = fmt.Errorf("there are more than %d entries", maxGlobals)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		e.Global = true
		g.lines = append(g.lines, globalLine{pattern, e})
	}
	return g, nil
}

// GlobalsChange is what is different between two files.
type GlobalsChange struct {
	Gone, Came []string // lines of one alone, as in a file

	patterns []string // of these lines
}

// CompareGlobals finds what is different; nil has no lines.
func CompareGlobals(old, now *Globals) (c GlobalsChange) {
	had, has := old.text(), now.text()
	only := func(g *Globals, of, not []string) (only []string) {
		for i, line := range of {
			if !slices.Contains(not, line) {
				only = append(only, line)
				c.patterns = append(c.patterns, g.lines[i].pattern)
			}
		}
		return only
	}
	c.Gone, c.Came = only(old, had, has), only(now, has, had)
	return c
}

// Concern says whether a mailbox's rights may be different.
func (c *GlobalsChange) Concern(name string) bool {
	return slices.ContainsFunc(c.patterns, func(pattern string) bool { return matches(pattern, name) })
}

// text is a line for each entry.
func (g *Globals) text() (lines []string) {
	if g == nil {
		return nil
	}
	for _, l := range g.lines {
		l.entry.Global = false // FormatFile leaves out those
		lines = append(lines, quoteWord(l.pattern)+" "+strings.TrimRight(FormatFile([]mailbox.Entry{l.entry}), "\n"))
	}
	return lines
}

// appendTo gives entries and behind them the global ones for name.
func (g *Globals) appendTo(entries []mailbox.Entry, name string) []mailbox.Entry {
	if g == nil {
		return entries
	}
	all := entries[:len(entries):len(entries)]
	for i := range g.lines {
		if matches(g.lines[i].pattern, name) {
			all = append(all, g.lines[i].entry)
		}
	}
	return all
}

// matches says whether a pattern with * and ? is one for all of name. It takes time
// in proportion to their lengths multiplied, whatever they are.
func matches(pattern, name string) bool {
	p, n := []rune(pattern), []rune(name)
	star, from := -1, 0 // the last * and what it has been tried with
	i, j := 0, 0
	for j < len(n) {
		switch {
		case i < len(p) && p[i] == '*':
			star, from = i, j
			i++
		case i < len(p) && (p[i] == '?' || p[i] == n[j]):
			i, j = i+1, j+1
		case star >= 0:
			from++
			i, j = star+1, from
		default:
			return false
		}
	}
	return strings.Trim(string(p[i:]), "*") == ""
}
