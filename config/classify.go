package config

import (
	"fmt"
	"slices"
)

// classify refuses and warns about the values that are in force in a section.
// One name gives one warning, however often it is set.
func (p *parser) classify(s *section, warned map[*Row]bool) {
	scope := scopeOf(s.kind)
	for _, key := range s.keys() {
		row := lookup(scope, key)
		if row == nil {
			continue
		}
		v := s.vals[key]
		if why := refusal(row, v.text); why != "" {
			p.errorf(v.pos, "%s", inBlock(s, key)+": refused: "+why)
			continue
		}
		if row.Class == Accepted && !warned[row] && !sameValue(row, v.text, row.Default) {
			warned[row] = true
			p.warnf(v.pos, "%s: read and not used: %s", inBlock(s, key), row.Reason)
		}
	}
}

// refusal is why a value is refused, or "".
func refusal(row *Row, text string) string {
	if sameValue(row, text, row.Default) {
		return ""
	}
	if row.Class == Refused {
		return row.Reason
	}
	if row.Only == nil {
		return ""
	}
	given := []string{text}
	if row.Type == List {
		given = words(text)
	}
	for _, w := range given {
		if !slices.Contains(row.Only, w) {
			return fmt.Sprintf("%q: %s", short(w), row.Reason)
		}
	}
	return ""
}

// inBlock is the name of a setting as messages show it.
func inBlock(s *section, key string) string {
	switch s.kind {
	case "":
		return key
	case "plugin":
		return "plugin/" + key
	}
	return s.title() + ": " + key
}

// classifyBlocks does the same for the blocks whose values stay in the file:
// services, protocols that are not served, statistics.
func (p *parser) classifyBlocks(base, eff *section) {
	warned := map[*Row]bool{}
	p.classify(eff, warned)
	for _, kid := range eff.kids {
		switch kid.kind {
		case "plugin", "passdb", "userdb":
			p.classify(kid, warned)
		case "namespace":
			p.classifyNamespace(kid, warned)
		case "service":
			if !kid.empty() {
				p.classifyService(kid)
			}
		case "metric", "event_exporter":
			p.warnf(kid.pos, "%s: read and not used: %s", kid.title(), whyStats)
		}
	}
	for _, kid := range base.children("protocol") {
		if name := kid.name; name != "imap" && name[0] != '!' && !kid.empty() {
			p.warnf(kid.pos, "protocol %s: read and not used: it is not served by this version", name)
		}
	}
}

func (p *parser) classifyNamespace(ns *section, warned map[*Row]bool) {
	p.classify(ns, warned)
	for _, box := range ns.kids {
		p.classify(box, warned)
	}
}

// classifyService warns once for a service. The listeners of imap-login are
// not warned of here: build opens them.
func (p *parser) classifyService(s *section) {
	p.refuseProgram(s)
	inets := s.children("inet_listener")
	if s.name == "imap-login" {
		if key := s.firstProcessKey(); key != "" {
			p.warnf(s.vals[key].pos, "service imap-login: %s: read and not used: %s", key, whyProcess)
		}
		for _, l := range inets {
			p.classify(l, map[*Row]bool{})
		}
		return
	}
	text := "service %s: read and not used: Roost is one process"
	for _, l := range inets {
		if port := l.vals["port"].text; port != "" && port != "0" {
			text = "service %s: read and not used: it is not served by this version: no port is opened"
		}
	}
	p.warnf(s.pos, text, s.name)
}

// firstProcessKey is the first setting of a service that is about processes;
// executable is not, for imap-login.
func (s *section) firstProcessKey() string {
	first := ""
	for _, key := range s.keys() {
		if key != "executable" && (first == "" || s.vals[key].pos.Line < s.vals[first].pos.Line) {
			first = key
		}
	}
	return first
}

// refuseProgram refuses another program in the way of a session: a script
// that runs before it may refuse the user.
func (p *parser) refuseProgram(s *section) {
	v, ok := s.vals["executable"]
	if !ok || (s.name != "imap-login" && s.name != "imap") {
		return
	}
	if v.text == s.name || (s.name == "imap-login" && isDirectorProgram(v.text)) {
		return
	}
	p.errorf(v.pos, "service %s: executable: refused: a program of its own may decide who gets in, and Roost would not run it", s.name)
}

// isDirectorProgram says that the login service asks the director: "imap-login director".
func isDirectorProgram(executable string) bool {
	w := words(executable)
	return len(w) == 2 && w[0] == "imap-login" && w[1] == "director"
}
