package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/roost-mail/roost/auth"
	"github.com/roost-mail/roost/director"
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
	if dest := res.Fields["destuser"]; dest != "" {
		r.User = dest
		if !res.Master() {
			r.AuthID = dest
		}
	}
	if pass, ok := res.Fields["pass"]; ok {
		r.Password = pass
	}
	if master := res.Fields["master"]; master != "" {
		r.AuthID = master
	}
	return n.director.Connect(ctx, c, r)
}
