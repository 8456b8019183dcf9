package config

import (
	"fmt"
	"strings"
)

// blockParents says where a block may stand and whether it has a name. The
// parent "" is the file itself or a protocol block.
var blockParents = map[string]struct {
	parent string
	name   nameRule
}{
	"protocol":       {"", nameNeeded},
	"service":        {"", nameNeeded},
	"passdb":         {"", nameOptional},
	"userdb":         {"", nameOptional},
	"namespace":      {"", nameOptional},
	"plugin":         {"", nameNone},
	"dict":           {"", nameNone},
	"local":          {"", nameNeeded},
	"remote":         {"", nameNeeded},
	"local_name":     {"", nameNeeded},
	"metric":         {"", nameNeeded},
	"event_exporter": {"", nameNeeded},
	"mailbox":        {"namespace", nameNeeded},
	"unix_listener":  {"service", nameNeeded},
	"fifo_listener":  {"service", nameNeeded},
	"inet_listener":  {"service", nameOptional},
}

type nameRule int

const (
	nameOptional nameRule = iota
	nameNeeded
	nameNone
)

// judgeBlock says whether a block may stand in parent, and if not why.
func (p *parser) judgeBlock(parent *section, kind, name string) (string, bool) {
	rule, ok := blockParents[kind]
	switch {
	case !ok:
		return fmt.Sprintf("%s: there is no such block%s", kind, nearest(kind, blockKinds())), false
	case scopeOf(parent.kind) != rule.parent || (kind == "protocol" && parent.kind != ""):
		return p.misplaced(parent, kind+" {"), false
	case name == "" && rule.name == nameNeeded:
		return kind + ": the block needs a name", false
	case name != "" && rule.name == nameNone:
		return kind + ": the block has no name", false
	case kind == "remote" || isLocal(parent.kind) && kind != "local_name":
		return kind + ": refused: " + whyOneSet, false
	case kind == "local":
		return judgeLocal(name)
	case kind == "protocol":
		return judgeProtocol(name)
	case kind == "service":
		return judgeService(name)
	case (kind == "passdb" || kind == "userdb") && name != "" && parent.child(kind, name) != nil:
		return fmt.Sprintf("%s %s: there is one of this name already", kind, name), false
	}
	return "", true
}

const whyOneSet = "Roost has one set of settings for all connections, but for the certificates in local and local_name"

// isLocal says that a block is for connections of some kind only.
func isLocal(kind string) bool { return kind == "local" || kind == "local_name" }

func judgeLocal(name string) (string, bool) {
	if nets, err := parseNets(name); err != nil || len(nets) != 1 {
		return fmt.Sprintf("local %s: the name is an address or a network like 192.0.2.0/24", short(name)), false
	}
	return "", true
}

func blockKinds() []string {
	kinds := make([]string, 0, len(blockParents))
	for kind := range blockParents {
		kinds = append(kinds, kind)
	}
	return kinds
}

func judgeProtocol(name string) (string, bool) {
	plain := strings.TrimPrefix(name, "!")
	for _, known := range protocolBlocks {
		if plain == known {
			return "", true
		}
	}
	return fmt.Sprintf("protocol %s: there is no such protocol%s", name, nearest(plain, protocolBlocks)), false
}

// judgeService lets services pass that nobody knows, for a site may have its
// own; but not one that looks like a slip of the pen.
func judgeService(name string) (string, bool) {
	for _, known := range serviceBlocks {
		if name == known {
			return "", true
		}
	}
	if hint := nearest(name, serviceBlocks); hint != "" {
		return fmt.Sprintf("service %s: there is no such service%s", name, hint), false
	}
	return "", true
}

// misplaced is the text for what stands in the wrong block; most often the
// block above it lacks its end.
func (p *parser) misplaced(parent *section, what string) string {
	if parent == p.root {
		return what + ": this block cannot stand here"
	}
	return fmt.Sprintf(`%s cannot stand in the block "%s {" that began at %s: is the "}" of that block missing?`,
		what, parent.title(), parent.pos)
}

// scopeOf is the scope of the table that holds the settings of a block.
func scopeOf(kind string) string {
	switch kind {
	case "protocol", "local", "remote", "local_name":
		return ""
	}
	return kind
}

// judge checks the name and the type of a setting. Refusals come later: a value
// that another one replaces is not in force.
func (p *parser) judge(s *section, key, text string) error {
	scope := scopeOf(s.kind)
	if _, known := blockParents[s.kind]; !known && s != p.root {
		return nil // the block itself was an error already
	}
	row := lookup(scope, key)
	switch {
	case scope == "dict":
		return nil
	case row != nil && isLocal(s.kind) && !isPairRow(row):
		return fmt.Errorf("%s: refused in %s: %s", key, s.title(), whyOneSet)
	case row != nil:
		if err := checkType(row, text); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		return nil
	case scope != "" && lookup("", key) != nil:
		return fmt.Errorf("%s", p.misplaced(s, key))
	case scope == "":
		return fmt.Errorf("%s: there is no such setting%s", key, nearest(key, namesIn("")))
	}
	return fmt.Errorf("%s: there is no such setting in %s%s", key, scope, nearest(key, namesIn(scope)))
}
