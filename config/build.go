package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// build makes the typed settings out of the effective section, and checks all
// that one line alone does not show. Problems go to the parser.
func (p *parser) build(eff *section) *Settings {
	p.classifyBlocks(p.root, eff)
	s := &Settings{root: eff, Plugin: map[string]string{}}
	setDefaults(s, "")
	setDefaults(s, "plugin")
	setDefaults(&s.Imapc, "")
	p.assignAll(eff, s)
	p.assignAll(eff, &s.Imapc)
	if plugin := eff.child("plugin", ""); plugin != nil {
		p.assignAll(plugin, s)
		for key, v := range plugin.vals {
			s.Plugin[key] = v.text
		}
	}
	for _, kid := range eff.children("passdb") {
		s.Auth.Passdbs = append(s.Auth.Passdbs, p.passdb(kid))
	}
	for _, kid := range eff.children("userdb") {
		s.Auth.Userdbs = append(s.Auth.Userdbs, p.userdb(kid))
	}
	p.buildTLS(s, eff)
	s.Listeners = p.listeners(s, eff.child("service", "imap-login"))
	s.Namespaces = p.namespaces(s, eff)
	p.finishCluster(s)
	s.finishAdmin()
	s.finishACL()
	p.finishDict(s)
	if err := s.finishQuota(); err != nil {
		p.errorf(s.Where("plugin/quota"), "plugin/%v", err)
	}
	p.check(s)
	return s
}

// setDefaults assigns the defaults of a scope to what is bound to target's type.
func setDefaults(target any, scope string) {
	for _, row := range index[scope].exact {
		if row.bind != nil {
			// A default that cannot be assigned is found by the table's own test.
			_ = assign(row.bind(target), row.Default)
		}
	}
}

// assignAll assigns the values of a section to what is bound to target's type.
func (p *parser) assignAll(s *section, target any) {
	scope := scopeOf(s.kind)
	for _, key := range s.keys() {
		row, v := lookup(scope, key), s.vals[key]
		if row == nil || row.bind == nil {
			continue
		}
		if err := assign(row.bind(target), v.text); err != nil {
			p.errorf(v.pos, "%s: %v", inBlock(s, key), err)
		}
	}
}

// finishACL derives what depends on more than one setting.
func (s *Settings) finishACL() {
	// Either word is enough: that rights are not checked must not hang on the
	// order in which $mail_plugins is extended.
	s.ACL.Enabled = s.HasPlugin("acl") || s.Plugin["acl"] != ""
	s.ACL.Anyone = s.Plugin["acl_anyone"] == "allow"
	s.ACL.GlobalFile, _ = parseACLBackend(s.Plugin["acl"]) // checked by checkACL, or by a user's field
	s.ACL.IgnoreNamespaces = nil
	for n := 1; ; n++ {
		pattern, ok := s.Plugin[seriesName("acl_ignore_namespace", n)]
		if !ok {
			return
		}
		s.ACL.IgnoreNamespaces = append(s.ACL.IgnoreNamespaces, pattern)
	}
}

// seriesName is the n-th name of a numbered series: name, name2, name3.
func seriesName(name string, n int) string {
	if n == 1 {
		return name
	}
	return name + strconv.Itoa(n)
}

// listeners are the ports of imap-login. The listener imap is there without
// being declared, and with TLS imaps too.
func (p *parser) listeners(s *Settings, service *section) []Listener {
	if !slices.Contains(s.General.Protocols, "imap") {
		return nil
	}
	var blocks []*section
	if service != nil {
		blocks = service.children("inet_listener")
	}
	for _, name := range []string{"imaps", "imap"} {
		if (name == "imap" || s.TLS.Mode != "no") && (service == nil || service.child("inet_listener", name) == nil) {
			blocks = append([]*section{newSection("inet_listener", name, Pos{})}, blocks...)
		}
	}
	var ls []Listener
	taken := map[string]string{}
	for _, b := range blocks {
		for _, l := range p.listener(s, b) {
			at := fmt.Sprintf("port %d of %s", l.Port, l.Address)
			if other, ok := taken[at]; ok {
				p.errorf(l.Pos, "inet_listener %s: %s is the port of inet_listener %s too", l.Name, at, other)
			}
			taken[at] = l.Name
			ls = append(ls, l)
		}
	}
	return ls
}

func (p *parser) listener(s *Settings, b *section) []Listener {
	in := inet{masters: true}
	switch b.name {
	case "imap":
		in.port = 143
	case "imaps":
		in.port, in.ssl = 993, true
	}
	p.assignAll(b, &in)
	if in.port == 0 {
		return nil
	}
	if in.ssl && s.TLS.Mode == "no" {
		p.warnf(b.pos, "inet_listener %s: no port is opened: ssl = no, or there is no ssl_cert", b.name)
		return nil
	}
	if in.haproxy && len(s.Login.HAProxyNetworks) == 0 {
		p.warnf(b.pos, "inet_listener %s: haproxy = yes, and haproxy_trusted_networks is empty: every connection is dropped", b.name)
	}
	addrs := s.General.Listen
	if in.address != "" {
		addrs = words(in.address)
	}
	var ls []Listener
	for _, a := range addrs {
		ls = append(ls, Listener{Service: "imap-login", Name: b.name, Address: wildcard(a), Port: in.port, TLS: in.ssl, HAProxy: in.haproxy, Masters: in.masters, ClientCert: in.clientCert, Pos: b.pos})
	}
	return ls
}

func wildcard(addr string) string {
	switch addr {
	case "*":
		return "0.0.0.0"
	case "::", "[::]":
		return "::"
	}
	return strings.Trim(addr, "[]")
}

// namespaces are the declared ones that are not disabled, and the private one
// that is there if no other is private or has the INBOX. The disabled ones go
// to s.disabled.
func (p *parser) namespaces(s *Settings, eff *section) []Namespace {
	var nss []Namespace
	needInbox := true
	for _, kid := range eff.children("namespace") {
		ns := p.namespace(s, kid)
		if ns.Disabled {
			s.disabled = append(s.disabled, ns)
			continue
		}
		needInbox = needInbox && !ns.Inbox && ns.Type != "private"
		nss = append(nss, ns)
	}
	if needInbox {
		nss = append([]Namespace{defaultNamespace(s)}, nss...)
	}
	return nss
}

func defaultNamespace(s *Settings) Namespace {
	ns := Namespace{Inbox: true, Separator: "/", Imapc: s.Imapc}
	setDefaults(&ns, "namespace")
	ns.Inbox, ns.Separator = true, "/"
	return ns
}

func (p *parser) namespace(s *Settings, sec *section) Namespace {
	ns := Namespace{Name: sec.name, Imapc: s.Imapc, Pos: sec.pos}
	setDefaults(&ns, "namespace")
	p.assignAll(sec, &ns)
	p.assignAll(sec, &ns.Imapc)
	if ns.Separator == "" {
		ns.Separator = "/"
	}
	for key := range sec.vals {
		if strings.HasPrefix(key, "imapc_") {
			if ns.own == nil {
				ns.own = map[string]bool{}
			}
			ns.own[key] = true
		}
	}
	for _, kid := range sec.children("mailbox") {
		box := Mailbox{Name: kid.name}
		setDefaults(&box, "mailbox")
		p.assignAll(kid, &box)
		ns.Mailboxes = append(ns.Mailboxes, box)
	}
	return ns
}

func (p *parser) passdb(sec *section) Passdb {
	db := Passdb{Pos: sec.pos}
	setDefaults(&db, "passdb")
	p.assignAll(sec, &db)
	if db.Name == "" {
		db.Name = sec.name
	}
	if _, set := sec.vals["result_success"]; db.Pass && !set {
		db.ResultSuccess = "continue"
	}
	var err error
	switch db.Driver {
	case "passwd-file":
		db.Path, db.Scheme, db.UsernameFormat, err = fileArgs(db.Args, true)
	case "static":
		db.Fields, err = parseFields(db.Args)
	case "":
		p.errorf(sec.pos, "passdb: driver is missing")
	}
	if err != nil {
		p.errorf(argsPos(sec), "passdb: args: %v", err)
	}
	return db
}

func (p *parser) userdb(sec *section) Userdb {
	db := Userdb{Pos: sec.pos}
	setDefaults(&db, "userdb")
	p.assignAll(sec, &db)
	if db.Name == "" {
		db.Name = sec.name
	}
	var err error
	switch db.Driver {
	case "passwd-file":
		db.Path, _, db.UsernameFormat, err = fileArgs(db.Args, false)
	case "static":
		db.Fields, err = parseFields(db.Args)
	case "":
		p.errorf(sec.pos, "userdb: driver is missing")
	}
	if err != nil {
		p.errorf(argsPos(sec), "userdb: args: %v", err)
	}
	return db
}

func argsPos(sec *section) Pos {
	if v, ok := sec.vals["args"]; ok {
		return v.pos
	}
	return sec.pos
}

// fileArgs reads the args of passwd-file: [scheme=S] [username_format=F] PATH.
func fileArgs(args string, schemes bool) (path, scheme, format string, err error) {
	rest := strings.TrimLeft(args, blanks)
	for {
		word, after, _ := strings.Cut(rest, " ")
		key, val, ok := strings.Cut(word, "=")
		switch {
		case !ok || strings.Contains(key, "/"):
			if rest == "" {
				return "", "", "", fmt.Errorf("the file is missing")
			}
			return rest, scheme, format, nil
		case key == "scheme" && schemes:
			scheme = val
		case key == "username_format":
			format = val
		default:
			return "", "", "", fmt.Errorf("%s is not known for passwd-file", short(key))
		}
		rest = strings.TrimLeft(after, blanks)
	}
}

// parseFields reads words like key=value; a word alone means yes.
func parseFields(text string) ([]Field, error) {
	var fields []Field
	for _, w := range strings.Fields(text) {
		key, val, ok := strings.Cut(w, "=")
		if key == "" {
			return nil, fmt.Errorf("%q has no name before \"=\"", short(w))
		}
		if !ok {
			val = "yes"
		}
		fields = append(fields, Field{key, val})
	}
	return fields, nil
}
