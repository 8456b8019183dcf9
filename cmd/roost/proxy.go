package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/roost-mail/roost/auth"
	"github.com/roost-mail/roost/director"
	"github.com/roost-mail/roost/imapclient"
	"github.com/roost-mail/roost/imapserver"
)

// proxy sends a login on to the user's backend, as the passdb's fields say
// (host, port, director_tag, destuser, pass, master).
func (n *node) proxy(ctx context.Context, c *imapserver.Client, cred imapserver.Credentials, res *auth.Result) (imapserver.Proxy, error) {
	if !n.set.Director.Enabled && res.Fields["host"] == "" {
		return nil, unavailable(fmt.Errorf("passdb says proxy for %s, but there is neither director_mail_servers nor a field host", res.User))
	}
	r := director.Route{
		User: res.User, AuthID: res.Acting, Password: cred.Password,
		Host: res.Fields["host"], Tag: res.Fields["director_tag"],
	}
	if port := res.Fields["port"]; port != "" {
		p, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return nil, unavailable(fmt.Errorf("passdb field port of %s: %w", res.User, err))
		}
		r.Port = uint16(p)
	}
	var err error
	if r.Security, r.AnyCert, err = routeSecurity(res.Fields); err != nil {
		return nil, unavailable(fmt.Errorf("passdb fields of %s: %w", res.User, err))
	}
	r.AnyCert = r.AnyCert || !n.set.TLS.VerifyServers
	if dest := res.Fields["destuser"]; dest != "" {
		r.User = dest
		if !res.Master() {
			r.AuthID = dest
		}
	}
	pass, ok := res.Fields["pass"]
	switch {
	case ok:
		r.Password = pass
	case cred.Proof != nil:
		return nil, unavailable(fmt.Errorf("%s logged in by %s, so there is no password for the backend: the passdb must give the field pass", res.User, cred.Mechanism))
	}
	if master := res.Fields["master"]; master != "" {
		r.AuthID = master
	}
	return n.director.Connect(ctx, c, r)
}

// routeSecurity reads the fields ssl and starttls: yes, any-cert or no. What is
// neither is an error: it must never mean that there is no TLS.
func routeSecurity(fields auth.Fields) (security imapclient.Security, anyCert bool, err error) {
	for _, kind := range []struct {
		field    string
		security imapclient.Security
	}{{"starttls", imapclient.StartTLS}, {"ssl", imapclient.ImplicitTLS}} {
		switch value, set := fields[kind.field]; {
		case !set || value == "no":
		case value == "yes" || value == "" || value == "any-cert":
			security, anyCert = kind.security, value == "any-cert"
		default:
			return 0, false, fmt.Errorf("%s=%s: neither yes nor any-cert", kind.field, value)
		}
	}
	return security, anyCert, nil
}
