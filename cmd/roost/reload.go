package main

import (
	"errors"
	"reflect"
	"slices"

	"github.com/roost-mail/roost/config"
)

// reload reads the configuration again. What it says holds for handshakes and
// logins from now on; sessions that are there keep what they began with. With
// an error nothing has changed.
//
// What is made once at the start, ports, stores, the list of backends, stays as
// it is, and where the file says otherwise one of kept names it.
func (p *parts) reload(file string) (warnings, kept []config.Warning, err error) {
	p.reloading.Lock()
	defer p.reloading.Unlock()
	set, warnings, err := config.Load(file)
	if err != nil {
		return nil, nil, err
	}
	old := p.latest()
	set, kept = keepFixed(old.set, set)
	next, err := p.read(set)
	if err != nil {
		return nil, nil, err
	}
	for _, w := range slices.Concat(warnings, kept) {
		p.log.Warn(w.String())
	}
	p.current.Store(next)
	p.reopenAudit()
	p.rulesChanged(old, next)
	return warnings, kept, nil
}

// fixed are the settings that change with a restart only: their name in the
// file, and where the value is.
func fixed() []struct {
	name  string
	value func(*config.Settings) any
} {
	return []struct {
		name  string
		value func(*config.Settings) any
	}{
		{"protocols", func(s *config.Settings) any { return &s.General }},
		{"listen", func(s *config.Settings) any { return &s.Listeners }},
		{"director_mail_servers", func(s *config.Settings) any { return &s.Director }},
		{"cluster", func(s *config.Settings) any { return &s.Cluster }},
		{"metrics_listen", func(s *config.Settings) any { return &s.Health.Listen }},
		{"admin_socket_path", func(s *config.Settings) any { return &s.Admin.Socket }},
		{"admin_listen", func(s *config.Settings) any { return &s.Admin.Listen }},
		{"login_greeting", func(s *config.Settings) any { return &s.Login.Greeting }},
		{"login_source_ips", func(s *config.Settings) any { return &s.Login.SourceIPs }},
		{"login_proxy_timeout", func(s *config.Settings) any { return &s.Login.ProxyTimeout }},
		{"login_proxy_max_reconnects", func(s *config.Settings) any { return &s.Login.ProxyMaxReconnects }},
		{"login_proxy_max_disconnect_delay", func(s *config.Settings) any { return &s.Login.ProxyMaxDisconnectDelay }},
		{"auth_mechanisms", func(s *config.Settings) any { return &s.Auth.Mechanisms }},
		{"mail_location", func(s *config.Settings) any { return &s.Mail.Location }},
		{"mail_home", func(s *config.Settings) any { return &s.Mail.Home }},
		{"mail_volume", func(s *config.Settings) any { return &s.Mail.Volumes }},
		{"imap_max_line_length", func(s *config.Settings) any { return &s.IMAP }},
		{"plugin/acl_inherit", func(s *config.Settings) any { return &s.ACL.Inherit }},
		{"plugin/acl_globals_only", func(s *config.Settings) any { return &s.ACL.GlobalsOnly }},
		{"plugin/acl_audit_log", func(s *config.Settings) any { return &s.ACL.AuditLog }},
		{"plugin/acl_shared_dict", func(s *config.Settings) any { return &s.ACL.SharedDict }},
	}
}

// keepFixed is next with the fixed settings of old, and a warning for each that differs.
func keepFixed(old, next *config.Settings) (*config.Settings, []config.Warning) {
	merged := *next
	var warnings []config.Warning
	warn := func(name string) {
		warnings = append(warnings, config.Warning{Pos: next.Where(name), Text: name + ": it changes with a restart only, and stays as it was"})
	}
	for _, f := range fixed() {
		had, has := reflect.ValueOf(f.value(old)).Elem(), reflect.ValueOf(f.value(&merged)).Elem()
		if !reflect.DeepEqual(withoutPlaces(had.Interface()), withoutPlaces(has.Interface())) {
			warn(f.name)
		}
		has.Set(had)
	}
	if (old.TLS.Mode == "no") != (next.TLS.Mode == "no") {
		warn("ssl")
		merged.TLS.Mode, merged.TLS.Server = old.TLS.Mode, old.TLS.Server
	}
	return &merged, warnings
}

// withoutPlaces is a value without what only says where it stands in the file.
func withoutPlaces(v any) any {
	list, ok := v.([]config.Listener)
	if !ok {
		return v
	}
	list = append([]config.Listener(nil), list...)
	for i := range list {
		list[i].Pos = config.Pos{}
	}
	return list
}

// logReload tells how a reload went: each mistake in the file in a line of its own.
func (p *parts) logReload(file string) {
	_, _, err := p.reload(file)
	if err == nil {
		p.log.Info("configuration was read again", "config", file)
		return
	}
	if list, ok := errors.AsType[config.Errors](err); ok {
		for _, problem := range list {
			p.log.Error(problem.String())
		}
		err = errors.New("it has errors")
	}
	p.log.Error("the configuration was not read again, the old one stays", "config", file, "error", err)
}
