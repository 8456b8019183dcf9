package main

import (
	"context"
	"fmt"
	"net"
	"sync"

	"github.com/roost-mail/roost/auth"
	"github.com/roost-mail/roost/imapserver"
)

// proxy sends a login on to the user's backend, as the passdb's fields say. If
// mail_max_userip_connections is set on a director, it counts proxied sessions too.
func (n *node) proxy(ctx context.Context, c *imapserver.Client, cred imapserver.Credentials, res *auth.Result) (imapserver.Proxy, error) {
	r, err := n.route(cred, res)
	if err != nil {
		return nil, unavailable(fmt.Errorf("passdb fields of %s: %w", res.User, err))
	}
	if !n.set.Director.Enabled && r.Host == "" {
		return nil, unavailable(fmt.Errorf("passdb says proxy for %s, but there is neither director_mail_servers nor a field host", res.User))
	}
	limit := n.set.Mail.MaxUserIPConnections
	if n.set.Where("mail_max_userip_connections").IsZero() {
		limit = 0 // the default is the backends' own
	}
	release, err := n.conns.add(res, c, limit)
	if err != nil {
		return nil, err
	}
	p, err := n.director.Connect(ctx, c, r)
	if err != nil {
		release()
		return nil, err
	}
	if limit == 0 {
		return p, nil
	}
	return &countedProxy{Proxy: p, release: sync.OnceFunc(release)}, nil
}

// countedProxy counts a session out when it ends.
type countedProxy struct {
	imapserver.Proxy
	release func()
}

// Run implements imapserver.Proxy.
func (p *countedProxy) Run(ctx context.Context, client net.Conn, buffered []byte, ended func(imapserver.Result)) {
	p.Proxy.Run(ctx, client, buffered, func(r imapserver.Result) {
		p.release()
		ended(r)
	})
}

// Close implements imapserver.Proxy.
func (p *countedProxy) Close() error {
	p.release()
	return p.Proxy.Close()
}
