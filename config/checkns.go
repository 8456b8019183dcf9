package config

import (
	"fmt"
	"strings"
)

// checkNamespaces checks the rules of namespaces among one another, and then
// each by itself. The default namespace alone cannot be wrong.
func (p *parser) checkNamespaces(s *Settings) {
	p.checkInbox(s)
	p.checkSeparators(s)
	p.checkPrefixes(s)
	p.checkVisible(s)
	for i := range s.Namespaces {
		ns := &s.Namespaces[i]
		p.checkPrefix(ns)
		p.checkAlias(s, ns)
		p.checkLocation(s, ns)
		p.checkServed(ns)
		if ns.Type == "shared" {
			p.checkShared(ns)
		}
		if ns.Type == "public" {
			p.checkPublic(s, ns)
		}
		if ns.SharedDict.Driver != "" && !(ns.IsTemplate() && s.Foreign(ns)) {
			p.nsErrorf(ns, "acl_shared_dict: only a shared namespace with an imapc_host of its own has an index of its own")
		}
	}
	p.checkRoots(s)
}

// checkRoots: a name that names an owner in two namespaces would be of either.
func (p *parser) checkRoots(s *Settings) {
	vars, seen := probeVars, map[string]*Namespace{}
	for i := range s.Namespaces {
		ns := &s.Namespaces[i]
		root, err := Expand(ns.Prefix, &vars)
		switch {
		case err == nil && ns.IsTemplate():
			var t OwnerTemplate
			t, err = ParseOwnerTemplate(root, ns.Separator, vars.User)
			root = t.Root()
		case ns.Type != "public":
			continue
		}
		if err != nil {
			continue // checkShared and checkPublic have said so
		}
		if other := seen[root]; other != nil {
			p.nsErrorf(ns, "prefix: %q: the names below %q are those of the namespace at %s too", ns.Prefix, root, other.Pos)
		}
		seen[root] = ns
	}
}

// checkPublic checks a namespace whose mail an account has that is nobody's.
func (p *parser) checkPublic(s *Settings, ns *Namespace) {
	switch account := ns.PublicAccount(); {
	case ns.Inbox:
		p.nsErrorf(ns, "inbox: a public namespace is not where INBOX is")
	case account == "" || strings.Contains(account, "%"):
		p.nsErrorf(ns, "imapc_user: %q is not the account that has the mail; without it the namespace's name is", short(account))
	case ns.Prefix == "" || strings.Contains(ns.Prefix, "%") || !strings.HasSuffix(ns.Prefix, ns.Separator):
		p.nsErrorf(ns, "prefix: %q: a public namespace has one like public/, without variables", short(ns.Prefix))
	case !strings.HasPrefix(ns.Location, "imapc:"):
		p.nsErrorf(ns, "location: refused: %q: this version has public mail in an account of its own, which is reached by imapc:", short(ns.Location))
	case s.Foreign(ns):
		p.nsErrorf(ns, "imapc_host: refused: this version has public namespaces of the cluster's own accounts only")
	}
}

func (ns *Namespace) title() string {
	return newSection("namespace", ns.Name, ns.Pos).title()
}

func (p *parser) nsErrorf(ns *Namespace, format string, args ...any) {
	p.errorf(ns.Pos, "%s: %s", ns.title(), fmt.Sprintf(format, args...))
}

func (p *parser) checkInbox(s *Settings) {
	var first *Namespace
	for i := range s.Namespaces {
		ns := &s.Namespaces[i]
		if !ns.Inbox {
			continue
		}
		if first != nil {
			p.nsErrorf(ns, "there can be only one namespace with inbox = yes; the other is at %s", first.Pos)
		}
		first = ns
	}
	if first == nil {
		p.nsErrorf(&s.Namespaces[0], "no namespace has inbox = yes")
	}
}

func (p *parser) checkSeparators(s *Settings) {
	var first *Namespace
	for i := range s.Namespaces {
		ns := &s.Namespaces[i]
		switch {
		case len(ns.Separator) != 1 || strings.ContainsAny(ns.Separator, "%*\"\\"):
			p.nsErrorf(ns, "separator: %q is not one plain character", short(ns.Separator))
		case ns.List == "no":
		case first == nil:
			first = ns
		case ns.Separator != first.Separator:
			p.nsErrorf(ns, "separator: %q is not %q, as in the namespace at %s: all listed namespaces have the same", ns.Separator, first.Separator, first.Pos)
		}
	}
}

func (p *parser) checkPrefixes(s *Settings) {
	seen := map[string]*Namespace{}
	for i := range s.Namespaces {
		ns := &s.Namespaces[i]
		if other := seen[ns.Prefix]; other != nil {
			p.nsErrorf(ns, "prefix: %q is the prefix of the namespace at %s too", ns.Prefix, other.Pos)
		}
		seen[ns.Prefix] = ns
	}
}

// checkVisible: something must be listed, shown and able to keep subscriptions.
func (p *parser) checkVisible(s *Settings) {
	var list, shown, subs bool
	for i := range s.Namespaces {
		ns := &s.Namespaces[i]
		list = list || ns.List != "no"
		shown = shown || !ns.Hidden
		subs = subs || ns.Subscriptions
	}
	for _, c := range []struct {
		ok   bool
		want string
	}{{list, "list = yes or children"}, {shown, "hidden = no"}, {subs, "subscriptions = yes"}} {
		if !c.ok {
			p.nsErrorf(&s.Namespaces[0], "no namespace has %s", c.want)
		}
	}
}

func (p *parser) checkPrefix(ns *Namespace) {
	switch {
	case ns.Prefix == "":
	case strings.HasPrefix(ns.Prefix, ns.Separator):
		p.nsErrorf(ns, "prefix: %q begins with the separator", ns.Prefix)
	case ns.List != "no" && !strings.HasSuffix(ns.Prefix, ns.Separator):
		p.nsErrorf(ns, "prefix: %q does not end with the separator %q", ns.Prefix, ns.Separator)
	}
}

func (p *parser) checkAlias(s *Settings, ns *Namespace) {
	if ns.AliasFor == "" {
		return
	}
	switch other := s.Aliased(ns); {
	case other == nil:
		p.nsErrorf(ns, "alias_for: no namespace has the prefix %q", ns.AliasFor)
	case other.AliasFor != "":
		p.nsErrorf(ns, "alias_for: %q is itself an alias", ns.AliasFor)
	case !ns.IsTemplate() || !other.IsTemplate():
		p.nsErrorf(ns, "alias_for: refused: this version has aliases of shared namespaces only")
	}
}

// checkLocation checks mail at another backend; other locations are judged
// where a store is opened.
func (p *parser) checkLocation(s *Settings, ns *Namespace) {
	if !strings.HasPrefix(ns.Location, "imapc:") || ns.AliasFor != "" {
		return
	}
	if _, err := ParseLocation(ns.Location); err != nil {
		p.nsErrorf(ns, "location: %v", err)
	}
	if ns.Imapc.Host == "" {
		p.nsErrorf(ns, "location: missing imapc_host")
	}
	if vouches := s.Cluster.Kind != NoCoordinator && s.Cluster.Delegation != "no" && (ns.Imapc.User == "" || ns.Type == "public") && !s.Foreign(ns); ns.Imapc.Password == "" && !vouches {
		p.nsErrorf(ns, "location: missing imapc_password")
	}
}

// checkShared checks the template of a shared namespace for all owners.
func (p *parser) checkShared(ns *Namespace) {
	vars := probeVars
	prefix, err := Expand(ns.Prefix, &vars)
	if err != nil {
		p.nsErrorf(ns, "prefix: %v", err)
		return
	}
	location, err := Expand(ns.Location, &vars)
	if err != nil {
		p.nsErrorf(ns, "location: %v", err)
		return
	}
	if !strings.Contains(prefix, "%") && !strings.Contains(location, "%") {
		return // an ordinary namespace of one owner
	}
	if _, err := ParseOwnerTemplate(prefix, ns.Separator, vars.User); err != nil {
		p.nsErrorf(ns, "prefix: %v", err)
	}
	if ns.AliasFor == "" && !strings.HasPrefix(location, "imapc:") {
		p.nsErrorf(ns, "location: other users' mail is reached by imapc:PATH; %q is not that", short(ns.Location))
	}
}

// checkServed refuses what this version would show in another way than it is
// configured: mail would seem to be missing, or have other names.
func (p *parser) checkServed(ns *Namespace) {
	switch {
	case ns.Separator != "/":
		p.nsErrorf(ns, "separator: refused: %q: this version has / only", ns.Separator)
	case ns.Type == "private" && (!ns.Inbox || ns.Prefix != "" || ns.Location != ""):
		p.nsErrorf(ns, "refused: this version keeps a user's own mail in one namespace: inbox = yes, an empty prefix, and mail_location as its location")
	case ns.Type == "shared" && !ns.IsTemplate():
		p.nsErrorf(ns, "refused: this version has shared namespaces for all owners only: a prefix like shared/%%%%u/")
	case ns.Type == "shared" && !strings.Contains(strings.SplitN(ns.Prefix, "%%", 2)[0], ns.Separator):
		p.nsErrorf(ns, "prefix: refused: %q: every name would be another user's mail; begin it with a level of its own, as in shared/%%%%u/", ns.Prefix)
	}
}
