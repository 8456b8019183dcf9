package config

import (
	"cmp"
	"path/filepath"
	"slices"
)

// Load reads the configuration file at path and all that it includes. The error
// is Errors if the configuration is wrong; then no Settings are returned. The
// warnings are in file order and are returned with errors too.
func Load(path string) (*Settings, []Warning, error) {
	return load(osSource{}, filepath.Clean(path))
}

func load(src source, path string) (*Settings, []Warning, error) {
	p := newParser(src)
	p.file(path, Pos{})
	s := p.build(settle(p.root))
	s.path, s.base = path, p.root
	p.sortProblems()
	if len(p.problems) > 0 {
		return nil, p.warnings, Errors(p.problems)
	}
	return s, p.warnings, nil
}

// settle is what an IMAP session sees of a configuration: the values of
// "protocol imap" and of "protocol !other" lie over the rest.
func settle(base *section) *section {
	eff := newSection("", "", Pos{})
	for key, v := range base.vals {
		eff.vals[key] = v
	}
	for _, kid := range base.kids {
		if kid.kind != "protocol" {
			eff.open(kid.kind, kid.name, kid.pos).lay(kid)
		}
	}
	for _, kid := range base.children("protocol") {
		if kid.name == "imap" || (kid.name[0] == '!' && kid.name != "!imap") {
			eff.lay(kid)
		}
	}
	return eff
}

// sortProblems puts errors and warnings in the order of files and lines, and
// drops repeated ones.
func (p *parser) sortProblems() {
	order := func(a, b Problem) int {
		return cmp.Or(cmp.Compare(p.order[a.Pos.File], p.order[b.Pos.File]), cmp.Compare(a.Pos.Line, b.Pos.Line))
	}
	slices.SortStableFunc(p.problems, order)
	slices.SortStableFunc(p.warnings, order)
	p.problems = slices.Compact(p.problems)
	p.warnings = slices.Compact(p.warnings)
}
