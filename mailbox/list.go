package mailbox

import (
	"slices"
	"strings"

	"github.com/roost-mail/roost/imap"
)

// Select answers LIST from the names of all mailboxes that the acting user may
// see: those matching a pattern, and the levels above them that are no
// mailboxes themselves. all may be in any order; its Attrs are kept, except
// for the child attributes, which are worked out here.
func Select(all []ListEntry, patterns []string) []ListEntry {
	nodes := withParents(all)
	names := make([]string, 0, len(nodes))
	for name := range nodes {
		names = append(names, name)
	}
	slices.Sort(names)
	m := NewMatcher(patterns)
	var out []ListEntry
	for _, name := range names {
		if !m.Match(name) {
			continue
		}
		n := nodes[name]
		child := imap.AttrHasNoChildren
		if n.hasChildren {
			child = imap.AttrHasChildren
		}
		out = append(out, ListEntry{Name: name, Attrs: append(slices.Clip(n.attrs), child), Rights: n.rights})
	}
	return out
}

type listNode struct {
	attrs       []imap.Attr
	rights      imap.Rights
	hasChildren bool
}

// withParents adds the missing levels above each mailbox.
func withParents(all []ListEntry) map[string]*listNode {
	nodes := make(map[string]*listNode, len(all))
	for _, e := range all {
		attrs := slices.DeleteFunc(slices.Clone(e.Attrs), func(a imap.Attr) bool {
			return a == imap.AttrHasChildren || a == imap.AttrHasNoChildren
		})
		nodes[e.Name] = &listNode{attrs: attrs, rights: e.Rights}
	}
	for _, e := range all {
		name := e.Name
		for {
			i := strings.LastIndexByte(name, imap.Delimiter)
			if i <= 0 {
				break
			}
			name = name[:i]
			parent := nodes[name]
			if parent == nil {
				parent = &listNode{attrs: []imap.Attr{imap.AttrNoSelect}}
				nodes[name] = parent
			}
			if parent.hasChildren {
				break // and so has everything above it
			}
			parent.hasChildren = true
		}
	}
	return nodes
}

// Matcher matches names against several LIST patterns. Patterns without
// wildcards cost nothing, however many there are.
type Matcher struct {
	names map[string]bool
	wild  []string
}

// NewMatcher makes a Matcher.
func NewMatcher(patterns []string) *Matcher {
	m := &Matcher{names: map[string]bool{}}
	for _, p := range patterns {
		p = imap.CanonicalName(p)
		if imap.PatternPrefix(p) == p {
			m.names[p] = true
		} else {
			m.wild = append(m.wild, p)
		}
	}
	return m
}

// Match reports whether one of the patterns matches name.
func (m *Matcher) Match(name string) bool {
	return m.names[name] || slices.ContainsFunc(m.wild, func(p string) bool { return imap.MatchPattern(p, name) })
}
