package config

import "sort"

// value is one setting as it came out of the files: $name expanded, quotes
// gone, a file's content read in. file names that file.
type value struct {
	text string
	file string
	pos  Pos
}

// section is a block, or the whole configuration. Blocks of the same kind and
// name are one section; passdb, userdb and unnamed namespaces are always new.
type section struct {
	kind, name string
	pos        Pos
	vals       map[string]value
	kids       []*section
}

func newSection(kind, name string, pos Pos) *section {
	return &section{kind: kind, name: name, pos: pos, vals: map[string]value{}}
}

// open is the subsection of that kind and name, a new one if need be.
func (s *section) open(kind, name string, pos Pos) *section {
	if kid := s.child(kind, name); kid != nil && mergesByName(kind, name) {
		return kid
	}
	kid := newSection(kind, name, pos)
	s.kids = append(s.kids, kid)
	return kid
}

func mergesByName(kind, name string) bool {
	switch kind {
	case "passdb", "userdb":
		return false
	case "namespace":
		return name != ""
	}
	return true
}

func (s *section) child(kind, name string) *section {
	for _, kid := range s.kids {
		if kid.kind == kind && kid.name == name {
			return kid
		}
	}
	return nil
}

func (s *section) children(kind string) []*section {
	var kids []*section
	for _, kid := range s.kids {
		if kid.kind == kind {
			kids = append(kids, kid)
		}
	}
	return kids
}

// lay puts the values and blocks of other over those of s. Blocks are copied,
// so that other stays as it is.
func (s *section) lay(other *section) {
	for key, v := range other.vals {
		s.vals[key] = v
	}
	for _, kid := range other.kids {
		s.open(kid.kind, kid.name, kid.pos).lay(kid)
	}
}

// empty says that nothing is set in s or below.
func (s *section) empty() bool {
	if len(s.vals) > 0 {
		return false
	}
	for _, kid := range s.kids {
		if !kid.empty() {
			return false
		}
	}
	return true
}

// keys are the names of the values in the order of their names.
func (s *section) keys() []string {
	keys := make([]string, 0, len(s.vals))
	for key := range s.vals {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}

// title is the block as its first line shows it, without the brace.
func (s *section) title() string {
	if s.name == "" {
		return s.kind
	}
	return s.kind + " " + quoteName(s.name)
}

func quoteName(name string) string {
	for i := 0; i < len(name); i++ {
		switch name[i] {
		case ' ', '\t', '"', '{', '=', '#', '\'', '\\':
			return `"` + escapeQuotes(name) + `"`
		}
	}
	return name
}
