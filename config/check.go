package config

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// check looks at the settings as a whole.
func (p *parser) check(s *Settings) {
	p.checkProtocols(s)
	p.checkAuth(s)
	p.checkMasters(s)
	p.checkPlugins(s)
	p.checkACL(s)
	p.checkImapc(s)
	p.checkMail(s)
	p.checkPrivateFlags(s)
	p.checkDirector(s)
	p.checkCluster(s)
	p.checkAdmin(s)
	p.checkHealth(s)
	p.checkNamespaces(s)
}

// checkMail judges mail_location as far as a path can be judged without a user,
// and warns where nobody's mail could be opened: userdbs may name others.
func (p *parser) checkMail(s *Settings) {
	pos := s.Where("mail_location")
	l, err := ParseLocation(s.Mail.Location)
	switch {
	case err == nil && l.Driver == "roost" && !strings.HasPrefix(l.Path, "/") && !strings.HasPrefix(l.Path, "~") && !strings.HasPrefix(l.Path, "%"):
		p.errorf(pos, "mail_location: %q is no absolute path: as in roost:~/mail", l.Path)
	case !s.Cluster.Backend || len(s.Listeners) == 0:
	case err != nil || l.Driver != "roost":
		p.warnf(pos, "mail_location: %q: mail can be opened only of users whose userdb entry has mail=roost:PATH", s.Mail.Location)
	}
	if path := s.General.PIDFile; path != "" && !strings.HasPrefix(path, "/") {
		p.errorf(s.Where("pid_file"), "pid_file: %q is not an absolute path", path)
	}
	for _, v := range s.Mail.Volumes {
		if !strings.HasPrefix(v, "/") {
			p.errorf(s.Where("mail_volume"), "mail_volume: %q is not an absolute path", v)
		}
	}
}

// maxPrivateFlags bounds mail_private_flags, so that each reader's state stays small.
const maxPrivateFlags = 16

// checkPrivateFlags refuses what can't be each reader's own: \Deleted decides what
// an EXPUNGE takes away from all, and \Recent is no flag that can be set.
func (p *parser) checkPrivateFlags(s *Settings) {
	const name = "mail_private_flags"
	pos := s.Where(name)
	if len(s.Mail.PrivateFlags) > maxPrivateFlags {
		p.errorf(pos, "%s: %d flags are too many: at most %d", name, len(s.Mail.PrivateFlags), maxPrivateFlags)
	}
	for i, f := range s.Mail.PrivateFlags {
		system := []string{`\Seen`, `\Answered`, `\Flagged`, `\Draft`}
		same := func(g string) bool { return strings.EqualFold(f, g) }
		switch {
		case same(`\Deleted`):
			p.errorf(pos, `%s: \Deleted can't be private: what one marks, EXPUNGE removes for all`, name)
		case same(`\Recent`):
			p.errorf(pos, `%s: \Recent is no flag that anyone sets`, name)
		case slices.ContainsFunc(s.Mail.PrivateFlags[:i], same):
			p.errorf(pos, "%s: %s stands there twice", name, f)
		case slices.ContainsFunc(system, same):
		case slices.ContainsFunc(system, func(g string) bool { return strings.EqualFold(f, g[1:]) }):
			p.errorf(pos, `%s: %s is a keyword, the flag is \%[2]s; within quotes, \\%[2]s`, name, f)
		case strings.HasPrefix(f, `\`):
			p.errorf(pos, "%s: there is no flag %s%s", name, f, nearest(f, system))
		case len(f) > 255 || strings.ContainsFunc(f, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`(){%*"\]`, r) }):
			p.errorf(pos, "%s: %q is no keyword: letters, digits, and signs but ( ) { %% * \" \\ ]", name, f)
		}
	}
}

func (p *parser) checkProtocols(s *Settings) {
	pos := s.Where("protocols")
	for _, name := range s.General.Protocols {
		switch name {
		case "imap", "none":
		case "pop3", "lmtp", "submission", "sieve":
			p.warnf(pos, "protocols: %s is not served by this version: no port is opened", name)
		default:
			p.errorf(pos, "protocols: there is no protocol %s%s", name, nearest(name, []string{"imap", "pop3", "lmtp", "submission", "sieve"}))
		}
	}
}

func (p *parser) checkAuth(s *Settings) {
	a := &s.Auth
	if len(a.MasterUserSeparator) > 1 {
		p.errorf(s.Where("auth_master_user_separator"), "auth_master_user_separator: one character at most")
	}
	if len(s.Listeners) == 0 {
		return
	}
	p.checkClientCerts(s)
	if a.DisablePlaintext && s.TLS.Mode == "no" {
		p.warnf(s.Where("disable_plaintext_auth"),
			"disable_plaintext_auth = yes, and there is no TLS: only this machine and login_trusted_networks can log in")
	}
	if len(a.Passdbs) == 0 {
		p.warnf(Pos{}, "there is no passdb: nobody can log in")
	}
	if len(a.Userdbs) == 0 && s.Cluster.Backend {
		p.warnf(Pos{}, "there is no userdb: nobody can log in")
	}
}

// checkClientCerts finds ports where nobody could log in.
func (p *parser) checkClientCerts(s *Settings) {
	if s.TLS.VerifyClients {
		return
	}
	if s.Auth.RequireClientCert {
		p.errorf(s.Where("auth_ssl_require_client_cert"), "auth_ssl_require_client_cert = yes: nobody is asked for a certificate without ssl_verify_client_cert = yes")
	}
	for _, l := range s.Listeners {
		if l.ClientCert {
			p.errorf(l.Pos, "inet_listener %s: client_cert = yes: nobody is asked for a certificate without ssl_verify_client_cert = yes", l.Name)
		}
	}
}

// checkMasters warns where one password opens every mailbox.
func (p *parser) checkMasters(s *Settings) {
	for _, db := range s.Auth.Passdbs {
		all := append(append(append([]Field{}, db.Fields...), db.DefaultFields...), db.OverrideFields...)
		if db.Driver != "static" || hasField(all, "allow_nets") || hasField(all, "allow_real_nets") {
			continue
		}
		switch {
		case db.Master && (hasField(all, "password") || hasField(all, "nopassword")):
			p.warnf(db.Pos, "passdb: whoever has this master password can read every mailbox, from anywhere: limit it with allow_nets")
		case hasField(all, "nopassword"):
			p.warnf(db.Pos, "passdb: nopassword lets everybody in")
		}
	}
}

func hasField(fields []Field, key string) bool {
	for _, f := range fields {
		if f.Key == key {
			return true
		}
	}
	return false
}

func (p *parser) checkPlugins(s *Settings) {
	pos := s.Where("mail_plugins")
	for _, name := range s.Mail.Plugins {
		if err := checkPlugin(name); err != nil {
			p.errorf(pos, "mail_plugins: %v", err)
		} else if why := mailPlugins[name]; why != "" {
			p.warnf(pos, "mail_plugins: %s: read and not used: %s", name, why)
		}
	}
}

func checkPlugin(name string) error {
	if why := refusedPlugins[name]; why != "" {
		return fmt.Errorf("%s: refused: %s", name, why)
	}
	if _, known := mailPlugins[name]; !known {
		return fmt.Errorf("there is no plugin %s%s", short(name), nearest(name, pluginNames()))
	}
	return nil
}

func pluginNames() []string {
	names := make([]string, 0, len(mailPlugins))
	for name := range mailPlugins {
		names = append(names, name)
	}
	return names
}

func (p *parser) checkACL(s *Settings) {
	if _, err := parseACLBackend(s.Plugin["acl"]); err != nil {
		p.errorf(s.Where("plugin/acl"), "plugin/acl: %v", err)
	}
	if s.ACL.GlobalsOnly && s.ACL.GlobalFile == "" {
		p.warnf(s.Where("plugin/acl_globals_only"), "plugin/acl_globals_only = yes without acl = vfile:PATH: nobody shares anything")
	}
	if !s.ACL.Enabled && hasMaster(s) && s.Cluster.Backend {
		p.warnf(Pos{}, "rights are not checked, so master users have every right on every mailbox")
	}
	if v := s.Plugin["acl_anyone"]; v != "" && v != "allow" {
		p.warnf(s.Where("plugin/acl_anyone"), "plugin/acl_anyone: %q means no: only allow is yes", short(v))
	}
	p.checkIgnored(s)
}

func hasMaster(s *Settings) bool {
	for _, db := range s.Auth.Passdbs {
		if db.Master {
			return true
		}
	}
	return false
}

// parseACLBackend takes vfile with the path of the file of global rights, if there is
// one. cache_secs=N is not used: rights are never stale here.
func parseACLBackend(text string) (globals string, err error) {
	name, args, _ := strings.Cut(text, ":")
	path, options, _ := strings.Cut(args, ":")
	switch {
	case text == "":
		return "", nil
	case name != "vfile":
		return "", fmt.Errorf("%q is not known: vfile is", short(name))
	case path != "" && !filepath.IsAbs(path):
		return "", fmt.Errorf("%q is no absolute path", short(path))
	case options != "" && !strings.HasPrefix(options, "cache_secs="):
		return "", fmt.Errorf("%q is not known: cache_secs=N is", short(options))
	}
	return path, nil
}

// checkIgnored warns of numbers behind a gap: the series stops there.
func (p *parser) checkIgnored(s *Settings) {
	const series = "acl_ignore_namespace"
	for key := range s.Plugin {
		num, ok := strings.CutPrefix(key, series)
		if !ok || num == "" {
			continue
		}
		n, err := strconv.Atoi(num)
		if err != nil || n < 2 || num[0] == '0' {
			p.errorf(s.Where("plugin/"+key), "plugin/%s: the series goes %s, %s2, %s3", key, series, series, series)
			continue
		}
		if n > len(s.ACL.IgnoreNamespaces) {
			p.warnf(s.Where("plugin/"+key), "plugin/%s: read and not used: %s is missing",
				key, seriesName(series, len(s.ACL.IgnoreNamespaces)+1))
		}
	}
}

// checkImapc checks the global imapc settings and those of each namespace.
func (p *parser) checkImapc(s *Settings) {
	p.checkImapcValues(&s.Imapc, s.Where, "")
	for i := range s.Namespaces {
		if ns := &s.Namespaces[i]; ns.own != nil {
			at := func(string) Pos { return ns.Pos }
			p.checkImapcValues(&ns.Imapc, at, ns.title()+": ")
		}
	}
}

func (p *parser) checkImapcValues(im *Imapc, at func(string) Pos, where string) {
	if im.MaxIdleTime == 0 {
		p.errorf(at("imapc_max_idle_time"), "%simapc_max_idle_time: 0 is not possible", where)
	}
	if im.SSL != "no" && !im.SSLVerify {
		p.warnf(at("imapc_ssl_verify"), "%simapc_ssl_verify = no: whoever is between can read mail and passwords", where)
	}
	if im.SSL == "imaps" && im.Host != "" && at("imapc_port").IsZero() {
		p.warnf(at("imapc_ssl"), "%simapc_ssl = imaps: imapc_port is not set and stays %d", where, im.Port)
	}
	if strings.HasSuffix(im.ListPrefix, "/") {
		p.errorf(at("imapc_list_prefix"), "%simapc_list_prefix: it must not end with the separator", where)
	}
	for _, f := range im.Features {
		name, _, _ := strings.Cut(f, ":")
		useless, known := imapcFeatures[name]
		switch {
		case name == "throttle":
			p.warnf(at("imapc_features"), "%simapc_features: throttle: read and not used", where)
		case !known:
			p.errorf(at("imapc_features"), "%simapc_features: there is no feature %s%s", where, short(f), nearest(f, featureNames()))
		case !useless:
			p.warnf(at("imapc_features"), "%simapc_features: %s: read and not used", where, f)
		}
	}
}

func featureNames() []string {
	names := make([]string, 0, len(imapcFeatures))
	for name := range imapcFeatures {
		names = append(names, name)
	}
	return names
}

func (p *parser) checkDirector(s *Settings) {
	d := &s.Director
	wired := len(d.Servers) > 0
	if svc := s.root.child("service", "imap-login"); svc != nil && isDirectorProgram(svc.vals["executable"].text) {
		wired = true
	}
	_, listed := s.root.vals["director_mail_servers"] // perhaps with an error
	if wired && !d.Enabled && !listed && s.Cluster.Kind == NoCoordinator {
		pos := s.Where("director_servers")
		if pos.IsZero() {
			pos = s.Where("service/imap-login/executable")
		}
		p.errorf(pos, "director_mail_servers is missing: a director needs its backends, unless cluster = … has them register")
	}
	if n := distinct(d.Servers); n > 1 && s.Cluster.Kind == NoCoordinator {
		p.errorf(s.Where("director_servers"), "director_servers: refused: %d directors that do not know of each other could send a user to two backends: set cluster = embedded, or etcd://…", n)
	}
	if d.UserExpire < 10*time.Second {
		p.errorf(s.Where("director_user_expire"), "director_user_expire: at least 10 s")
	}
	p.checkHash(s)
}

func distinct(list []string) int {
	seen := map[string]bool{}
	for _, w := range list {
		seen[w] = true
	}
	return len(seen)
}

// checkHash lets %u, %n and %d through, with modifiers.
func (p *parser) checkHash(s *Settings) {
	_, err := ExpandFunc(s.Director.UsernameHash, func(name string) (string, bool) {
		switch name {
		case "u", "n", "d", "user", "username", "domain":
			return "x", true
		}
		return "", false
	})
	if err != nil {
		p.errorf(s.Where("director_username_hash"), "director_username_hash: only %%u, %%n and %%d: %v", err)
	}
}
