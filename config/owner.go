package config

import (
	"errors"
	"strings"
)

// OwnerTemplate is the prefix of a shared namespace for all owners, after one
// expansion: shared/%u/. It turns names of mailboxes into owners and back.
// It is a value that is never changed; any number of goroutines may use it.
type OwnerTemplate struct {
	parts        []templatePart
	sep          string
	readerDomain string
	hasDomain    bool // the template says the owner's domain: %u or %d
}

// templatePart is literal text and the variable behind it; the last has none.
type templatePart struct {
	literal string
	letter  byte // 'u', 'n', 'd' or 0
	stop    byte // what ends the variable, beside the separator
}

var (
	errNoVariable  = errors.New("the prefix for other users' mail has no %%u, %%n or %%d")
	errUnknownVar  = errors.New("other variables than %%u, %%n and %%d for the owner")
	errNoOwner     = errors.New("the owner's name is missing: %%u or %%n")
	errVarTwice    = errors.New("a variable of the owner stands there twice")
	errNoSeparator = errors.New("the prefix does not end with the separator")
	errAdjacent    = errors.New("two variables with nothing between them")
)

// ParseOwnerTemplate reads a prefix in which, after one expansion, %u, %n and %d
// mean the owner. One of %u and %n is compulsory, and the prefix ends with the
// separator. reader is the user who reads: with %n and no %d, owners are of the
// reader's domain. The separator is one byte.
func ParseOwnerTemplate(prefix, sep, reader string) (OwnerTemplate, error) {
	t := OwnerTemplate{sep: sep, readerDomain: domainPart(reader)}
	seen := ""
	for rest := prefix; ; {
		literal, after, ok := strings.Cut(rest, "%")
		if ok && literal == "" && len(t.parts) > 0 {
			return OwnerTemplate{}, errAdjacent
		}
		if !ok {
			t.parts = append(t.parts, templatePart{literal: literal})
			break
		}
		letter := byte(0)
		if after != "" {
			letter = after[0]
		}
		if letter != 'u' && letter != 'n' && letter != 'd' {
			return OwnerTemplate{}, errUnknownVar
		}
		if strings.IndexByte(seen, letter) >= 0 {
			return OwnerTemplate{}, errVarTwice
		}
		seen += string(letter)
		t.parts = append(t.parts, templatePart{literal: literal, letter: letter})
		rest = after[1:]
	}
	t.hasDomain = strings.ContainsAny(seen, "ud")
	t.setStops()
	if err := checkTemplate(seen, t.parts[len(t.parts)-1].literal, sep); err != nil {
		return OwnerTemplate{}, err
	}
	return t, nil
}

// checkTemplate judges the variables that were seen, and the text behind the last.
func checkTemplate(seen, last, sep string) error {
	switch {
	case seen == "":
		return errNoVariable
	case !strings.ContainsAny(seen, "un"):
		return errNoOwner
	case seen != "u" && strings.Contains(seen, "u"):
		return errVarTwice
	case len(sep) != 1 || !strings.HasSuffix(last, sep):
		return errNoSeparator
	}
	return nil
}

func (t *OwnerTemplate) setStops() {
	for i := 0; i+1 < len(t.parts); i++ {
		if next := t.parts[i+1].literal; next != "" {
			t.parts[i].stop = next[0]
		}
	}
}

// Match is the owner that a mailbox name means, and the name of the mailbox in
// the owner's own tree. An empty rest is the owner's INBOX: the last separator
// may be missing. ok is false for a name that is not below the template, or
// without an owner.
func (t OwnerTemplate) Match(name string) (owner, rest string, ok bool) {
	var user, domain string
	for _, part := range t.parts[:max(0, len(t.parts)-1)] {
		name, ok = strings.CutPrefix(name, part.literal)
		if !ok {
			return "", "", false
		}
		var text string
		text, name = t.swallow(name, part.stop)
		if !validPart(part.letter, text) {
			return "", "", false
		}
		if part.letter == 'd' {
			domain = text
		} else {
			user = text
		}
	}
	if name, ok = t.cutLast(name); !ok {
		return "", "", false
	}
	return t.owner(user, domain), name, true
}

// validPart says whether text can be what a variable stands for: never empty,
// and a name without its domain has no @.
func validPart(letter byte, text string) bool {
	switch letter {
	case 'u':
		return localPart(text) != ""
	case 'n':
		return text != "" && !strings.Contains(text, "@")
	}
	return text != ""
}

// swallow takes off what a variable stands for: all up to stop or the separator.
func (t OwnerTemplate) swallow(name string, stop byte) (text, rest string) {
	for i := 0; i < len(name); i++ {
		if name[i] == stop || strings.HasPrefix(name[i:], t.sep) {
			return name[:i], name[i:]
		}
	}
	return name, ""
}

// cutLast takes off the literal behind the last variable; of it, the final
// separator may be missing where the name ends.
func (t OwnerTemplate) cutLast(name string) (rest string, ok bool) {
	if len(t.parts) == 0 {
		return "", false
	}
	last := t.parts[len(t.parts)-1].literal
	if name == strings.TrimSuffix(last, t.sep) {
		return "", true
	}
	return strings.CutPrefix(name, last)
}

func (t OwnerTemplate) owner(user, domain string) string {
	if !t.hasDomain {
		domain = t.readerDomain
	}
	if domain != "" {
		return user + "@" + domain
	}
	return user
}

// Prefix is the prefix of an owner's mailboxes, with the separator at its end.
// It is empty for an owner whom the template cannot name: of another domain
// than the reader's where it has %n only, or with a separator in the name.
func (t OwnerTemplate) Prefix(owner string) string {
	var b strings.Builder
	for _, part := range t.parts {
		b.WriteString(part.literal)
		switch part.letter {
		case 'u':
			b.WriteString(owner)
		case 'n':
			b.WriteString(localPart(owner))
		case 'd':
			b.WriteString(domainPart(owner))
		}
	}
	prefix := b.String()
	if back, rest, ok := t.Match(prefix); !ok || back != owner || rest != "" {
		return ""
	}
	return prefix
}

// Root is the part of the template that all owners have in common, up to and
// with the last separator before the first variable: shared/ of shared/%u/.
func (t OwnerTemplate) Root() string {
	if len(t.parts) == 0 || t.sep == "" {
		return ""
	}
	literal := t.parts[0].literal
	if i := strings.LastIndex(literal, t.sep); i >= 0 {
		return literal[:i+len(t.sep)]
	}
	return ""
}

// IsTemplate says that the namespace is the root of all owners' mailboxes: it is
// shared, and its prefix or location means the owner.
func (ns *Namespace) IsTemplate() bool {
	return ns.Type == "shared" && (strings.Contains(ns.Prefix, "%%") || strings.Contains(ns.Location, "%%"))
}

// PublicAccount is the account that has a public namespace's mail: the imapc_user of the
// namespace, or else its name.
func (ns *Namespace) PublicAccount() string {
	if ns.own["imapc_user"] {
		return ns.Imapc.User
	}
	return ns.Name
}

// Foreign says that a shared namespace leads to another installation, whose users are not
// those of this one, be their names the same: its host and port are not those of
// imapc_host outside of namespaces or, without that, of the first shared namespace.
func (s *Settings) Foreign(ns *Namespace) bool {
	home := &s.Imapc
	for i := 0; home.Host == "" && i < len(s.Namespaces); i++ {
		if s.Namespaces[i].Type != "private" {
			home = &s.Namespaces[i].Imapc
		}
	}
	return ns.Imapc.Host != home.Host || ns.Imapc.Port != home.Port
}

// Aliased is the namespace that ns is an alias for, nil if there is none. Its prefix may be
// written as in its block, or with one % for the owner.
func (s *Settings) Aliased(ns *Namespace) *Namespace {
	for i := range s.Namespaces {
		other := &s.Namespaces[i]
		if ns.AliasFor != "" && other != ns && (other.Prefix == ns.AliasFor || strings.ReplaceAll(other.Prefix, "%%", "%") == ns.AliasFor) {
			return other
		}
	}
	return nil
}

// OwnerTemplate is the template of a namespace for which IsTemplate holds. vars
// are those of the session; the reader is vars.User.
func (ns *Namespace) OwnerTemplate(vars *Vars) (OwnerTemplate, error) {
	prefix, err := Expand(ns.Prefix, vars)
	if err != nil {
		return OwnerTemplate{}, err
	}
	return ParseOwnerTemplate(prefix, ns.Separator, vars.User)
}
