package imapserver

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// listQuery is what a LIST asks for.
type listQuery struct {
	extended bool // it has options or several patterns
	patterns []string

	// Selection options. RFC 5258 section 3.1, RFC 6154 section 5.2.
	subscribed, specialUse, recursive bool

	// Return options. RFC 5258 section 3.2, RFC 5819, RFC 8440.
	showSubscribed, myRights bool
	status                   imap.StatusItems
}

// listed is a line of LIST.
type listed struct {
	mailbox.ListEntry
	mailbox   bool     // it is one that can be selected, and not shown for its children only
	childInfo []string // selection options that something below it meets
}

// parseListQuery reads the arguments of LIST. RFC 5258 section 6.
func (s *session) parseListQuery() (*listQuery, error) {
	q := &listQuery{}
	if !s.dec.ExpectSP() {
		return nil, s.dec.Err()
	}
	if b, ok := s.dec.PeekByte(); ok && b == '(' {
		q.extended = true
		if err := s.dec.List(func() error { return s.parseSelection(q) }); err != nil {
			return nil, err
		}
		if !s.dec.ExpectSP() {
			return nil, s.dec.Err()
		}
		if q.recursive && !q.subscribed && !q.specialUse {
			return nil, imap.BadCommand("RECURSIVEMATCH needs another selection option")
		}
	}
	if err := s.parsePatterns(q); err != nil {
		return nil, err
	}
	if s.dec.SP() {
		var word string
		if !s.dec.ExpectAtom(&word) || !s.dec.Expect(strings.EqualFold(word, "RETURN"), "RETURN") || !s.dec.ExpectSP() {
			return nil, s.dec.Err()
		}
		q.extended = true
		if err := s.dec.List(func() error { return s.parseListReturn(q) }); err != nil {
			return nil, err
		}
	}
	s.dec.ExpectCRLF()
	return q, s.dec.Err()
}

func (s *session) parseSelection(q *listQuery) error {
	var option string
	if !s.dec.ExpectAtom(&option) {
		return s.dec.Err()
	}
	switch strings.ToUpper(option) {
	case "SUBSCRIBED":
		q.subscribed, q.showSubscribed = true, true
	case "REMOTE": // others' mailboxes are listed anyway
	case "RECURSIVEMATCH":
		q.recursive = true
	case "SPECIAL-USE":
		q.specialUse = true
	default:
		return imap.BadCommand("Unknown selection option %s", strings.ToUpper(option))
	}
	return nil
}

func (s *session) parseListReturn(q *listQuery) (err error) {
	var option string
	if !s.dec.ExpectAtom(&option) {
		return s.dec.Err()
	}
	switch strings.ToUpper(option) {
	case "SUBSCRIBED":
		q.showSubscribed = true
	case "CHILDREN", "SPECIAL-USE": // always shown
	case "MYRIGHTS":
		q.myRights = true
	case "STATUS":
		if !s.dec.ExpectSP() {
			return s.dec.Err()
		}
		q.status, err = s.parseStatusItems()
	default:
		err = imap.BadCommand("Unknown return option %s", strings.ToUpper(option))
	}
	return err
}

// parsePatterns reads the reference and the pattern, or several in parentheses.
func (s *session) parsePatterns(q *listQuery) error {
	var reference string
	if !s.dec.ExpectListMailbox(&reference) || !s.dec.ExpectSP() {
		return s.dec.Err()
	}
	wild, wildBytes := 0, 0
	one := func() error {
		var pattern string
		if !s.dec.ExpectListMailbox(&pattern) {
			return s.dec.Err()
		}
		pattern, err := joinPattern(reference, pattern)
		if err != nil {
			return err
		}
		if imap.PatternPrefix(pattern) != pattern {
			wild, wildBytes = wild+1, wildBytes+len(pattern)
		}
		q.patterns = append(q.patterns, pattern)
		return nil
	}
	b, _ := s.dec.PeekByte()
	if b != '(' {
		return one()
	}
	q.extended = true
	err := s.dec.List(one)
	if err == nil && (wild > maxWildPatterns || wildBytes > maxWildBytes) {
		err = imap.Errorf(imap.CodeLimit, "Too many patterns with wildcards")
	}
	return err
}

// find answers the query. A name that is subscribed and no mailbox that the
// user may know is \NonExistent, if subscriptions are what is selected.
func (q *listQuery) find(ctx context.Context, account mailbox.Account) ([]listed, error) {
	var names []string
	if q.showSubscribed {
		var err error
		if names, err = account.Subscriptions(ctx); err != nil {
			return nil, err
		}
	}
	patterns := q.patterns
	if q.subscribed || q.recursive {
		patterns = []string{"*"}
	}
	all, err := account.List(ctx, patterns)
	if err != nil {
		return nil, err
	}
	f := &finder{listQuery: q, subscriptions: map[string]bool{}}
	for _, name := range names {
		f.subscriptions[name] = true
	}
	if q.subscribed {
		all = f.withGhosts(all)
	}
	return f.choose(all), nil
}

// finder is the answering of a query.
type finder struct {
	*listQuery
	subscriptions map[string]bool
}

// withGhosts adds the subscribed names that do not exist and, for
// RECURSIVEMATCH, the levels above them.
func (f *finder) withGhosts(all []mailbox.ListEntry) []mailbox.ListEntry {
	known := make(map[string]bool, len(all))
	for i := range all {
		known[all[i].Name] = true
	}
	add := func(name string) {
		if !known[name] {
			known[name] = true
			all = append(all, mailbox.ListEntry{Name: name, Attrs: []imap.Attr{imap.AttrNonExistent, imap.AttrHasNoChildren}})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(f.subscriptions)) {
		add(name)
		for above := parentOf(name); f.recursive && above != ""; above = parentOf(above) {
			add(above)
		}
	}
	slices.SortFunc(all, func(a, b mailbox.ListEntry) int { return strings.Compare(a.Name, b.Name) })
	return all
}

func parentOf(name string) string { return name[:max(strings.LastIndexByte(name, imap.Delimiter), 0)] }

// selected reports whether a name meets the selection options.
func (f *finder) selected(e *mailbox.ListEntry) bool {
	return (!f.subscribed || f.subscriptions[e.Name]) && (!f.specialUse || slices.ContainsFunc(e.Attrs, imap.Attr.IsSpecialUse))
}

// choose is the lines of LIST.
func (f *finder) choose(all []mailbox.ListEntry) []listed {
	above := map[string]bool{} // names with something below them that is selected
	for i := range all {
		if !f.recursive || !f.selected(&all[i]) {
			continue
		}
		for name := parentOf(all[i].Name); name != "" && !above[name]; name = parentOf(name) {
			above[name] = true
		}
	}
	m := mailbox.NewMatcher(f.patterns)
	var out []listed
	for _, e := range all {
		selected := f.selected(&e)
		if !selected && !above[e.Name] || !m.Match(e.Name) {
			continue
		}
		line := listed{ListEntry: e, mailbox: selected && !slices.ContainsFunc(e.Attrs, noMailbox)}
		if f.showSubscribed && f.subscriptions[e.Name] {
			line.Attrs = append(slices.Clip(line.Attrs), imap.AttrSubscribed)
		}
		if above[e.Name] {
			line.childInfo = f.criteria()
		}
		out = append(out, line)
	}
	return out
}

func noMailbox(a imap.Attr) bool { return a == imap.AttrNoSelect || a == imap.AttrNonExistent }

// criteria are the selection options, as CHILDINFO names them. RFC 5258 section 3.5.
func (f *finder) criteria() []string {
	var names []string
	if f.subscribed {
		names = append(names, "SUBSCRIBED")
	}
	if f.specialUse {
		names = append(names, "SPECIAL-USE")
	}
	return names
}
