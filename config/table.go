package config

import (
	"slices"
	"strings"
)

// Class says what Roost does with a setting.
type Class int

// The classes of settings.
const (
	Implemented Class = iota // it does what it does in Dovecot, or what Row.Help says
	Accepted                 // it is read and not used; a value that is not the default gives one warning
	Refused                  // a value that is not the default is an error
)

func (c Class) String() string {
	return [...]string{"implemented", "accepted", "refused"}[c]
}

// Type is the form of a value.
type Type int

// The types of values.
const (
	String Type = iota
	Bool        // yes or no
	Time        // a number with a unit: "30 s", "15 mins"
	Size        // bytes, with an optional unit: "64 k"
	Uint        // a whole number that is not negative
	Port        // 0 to 65535
	Octal       // file mode
	Enum        // one of Row.Enum
	List        // words with spaces or commas between them
)

func (t Type) String() string {
	return [...]string{"string", "yes/no", "time", "size", "number", "port", "mode", "one of", "list"}[t]
}

// Row is one setting of the table. Rows are never changed.
type Row struct {
	Scope   string // the block it stands in: "" (file or protocol block), plugin, passdb, ...
	Name    string // a Name that ends in * is a family: all names that begin so
	Type    Type
	Enum    []string
	Default string
	Class   Class
	Help    string // one line: what it is
	Reason  string // why it is refused or not used; with Only, why nothing else is taken

	Only   []string // if set, the only values taken: for a List, its only words
	Vars   bool     // the value may hold % variables
	User   bool     // a userdb field may set it for one user
	Secret bool     // never shown unless asked for
	Series bool     // may be numbered: acl_ignore_namespace2, 3, ...

	bind func(target any) any // where the value goes: a pointer into target
}

// A row is written as imp, acc or ref with what is special about it behind.

func imp(name string, t Type, def, help string) Row {
	return Row{Name: name, Type: t, Default: def, Help: help}
}

func acc(name string, t Type, def, help, why string) Row {
	return Row{Name: name, Type: t, Default: def, Class: Accepted, Help: help, Reason: why}
}

func ref(name string, t Type, def, help, why string) Row {
	return Row{Name: name, Type: t, Default: def, Class: Refused, Help: help, Reason: why}
}

func (r Row) vars() Row   { r.Vars = true; return r }
func (r Row) user() Row   { r.User = true; return r }
func (r Row) secret() Row { r.Secret = true; return r }
func (r Row) series() Row { r.Series = true; return r }

func (r Row) enum(words ...string) Row { r.Type, r.Enum = Enum, words; return r }

func (r Row) only(why string, words ...string) Row { r.Only, r.Reason = words, why; return r }

func (r Row) to(f func(*Settings) any) Row     { return bindTo(r, f) }
func (r Row) toImapc(f func(*Imapc) any) Row   { return bindTo(r, f) }
func (r Row) toNS(f func(*Namespace) any) Row  { return bindTo(r, f) }
func (r Row) toBox(f func(*Mailbox) any) Row   { return bindTo(r, f) }
func (r Row) toPass(f func(*Passdb) any) Row   { return bindTo(r, f) }
func (r Row) toUser(f func(*Userdb) any) Row   { return bindTo(r, f) }
func (r Row) toPair(f func(*certPair) any) Row { return bindTo(r, f) }
func (r Row) toInet(f func(*inet) any) Row     { return bindTo(r, f) }

func bindTo[T any](r Row, f func(*T) any) Row {
	r.bind = func(target any) any {
		t, ok := target.(*T)
		if !ok {
			return nil
		}
		return f(t)
	}
	return r
}

// group is a part of the table, and of docs/settings.md.
type group struct {
	scope string
	title string
	rows  []Row
}

// table is every setting there is, in the order of the documentation.
func table() []group {
	return slices.Concat(coreRows(), authRows(), mailRows(), imapRows(), directorRows(), clusterRows(), adminRows(),
		healthRows(), unservedRows(), tlsRows(), blockRows(), pluginRows())
}

// scopeIndex finds the rows of one scope.
type scopeIndex struct {
	exact    map[string]*Row
	families []*Row // longest prefix first
	names    []string
}

// index is built once and never changed.
var index = buildIndex(table())

func buildIndex(groups []group) map[string]*scopeIndex {
	idx := map[string]*scopeIndex{}
	for _, g := range groups {
		s := idx[g.scope]
		if s == nil {
			s = &scopeIndex{exact: map[string]*Row{}}
			idx[g.scope] = s
		}
		for _, r := range g.rows {
			r.Scope = g.scope
			s.add(&r)
		}
	}
	for _, s := range idx {
		slices.SortFunc(s.families, func(a, b *Row) int { return len(b.Name) - len(a.Name) })
		slices.Sort(s.names)
	}
	idx["fifo_listener"] = idx["unix_listener"]
	return idx
}

func (s *scopeIndex) add(r *Row) {
	if strings.HasSuffix(r.Name, "*") {
		s.families = append(s.families, r)
		return
	}
	s.exact[r.Name] = r
	s.names = append(s.names, r.Name)
}

// lookup is the row of a setting, or nil. A namespace takes the imapc settings too.
func lookup(scope, name string) *Row {
	s := index[scope]
	if s == nil {
		return nil
	}
	if r := s.exact[name]; r != nil {
		return r
	}
	if r := s.exact[strings.TrimRight(name, "0123456789")]; r != nil && r.Series {
		return r
	}
	for _, r := range s.families {
		if strings.HasPrefix(name, strings.TrimSuffix(r.Name, "*")) {
			return r
		}
	}
	if scope == "namespace" && strings.HasPrefix(name, "imapc_") {
		return index[""].exact[name]
	}
	return nil
}

// namesIn are the names that may stand in a scope, as a slice of the caller's own.
func namesIn(scope string) []string {
	names := slices.Clone(index[scope].names)
	if scope != "namespace" {
		return names
	}
	for _, name := range index[""].names {
		if strings.HasPrefix(name, "imapc_") {
			names = append(names, name)
		}
	}
	return names
}
