package main

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/roost-mail/roost/auth"
	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/config"
	"github.com/roost-mail/roost/health"
	"github.com/roost-mail/roost/imapclient"
	"github.com/roost-mail/roost/imapserver"
)

// newMonitor makes what checks the backends of a director, and a backend itself if
// there is a user for that.
func (n *node) newMonitor(ctx context.Context) (*health.Monitor, error) {
	var listed []health.Target
	if n.set.Cluster.Kind == config.NoCoordinator && n.set.Director.Enabled {
		list, err := members(ctx, n.set)
		if err != nil {
			return nil, err
		}
		for _, m := range list {
			listed = append(listed, backendTarget(n.set, m.Backend))
		}
	}
	if self, ok := selfTarget(n.set); ok {
		listed = append(listed, self)
	}
	return health.NewMonitor(health.Config{
		Clock: cluster.BootTime{}, Log: n.log,
		Targets:  func() []health.Target { return append(n.latest().registered(), listed...) },
		Settings: func() health.Settings { return healthSettings(n.latest().set) },
		TLS:      func() *tls.Config { return n.latest().clientTLS },
	}), nil
}

// registered are the backends that a director with a coordinator checks: all that have
// registered, but for this node itself.
func (n *node) registered() []health.Target {
	if n.observed.view == nil || !n.set.Director.Enabled {
		return nil
	}
	return registeredTargets(n.observed.view, nodeName(n.set), !n.set.TLS.VerifyServers)
}

func healthSettings(set *config.Settings) health.Settings {
	h := &set.Health
	return health.Settings{
		Interval: h.Interval, Timeout: h.Timeout, Rise: h.Rise, Fall: h.Fall,
		User: h.User, Password: h.Password, Write: h.Write,
	}
}

// backendTarget is a backend of director_mail_servers.
func backendTarget(set *config.Settings, b cluster.Backend) health.Target {
	t := health.Target{Name: b.Name, Host: b.Host, Security: imapclient.SecurityOf(set.Health.SSL), AnyCert: !set.TLS.VerifyServers}
	if t.Host == "" {
		t.Host = b.IP.String()
	}
	usual := uint16(143)
	if t.Security == imapclient.ImplicitTLS {
		usual = 993
	}
	t.Addr = b.Addr(usual).String()
	return t
}

// selfTarget is a backend as it sees itself.
func selfTarget(set *config.Settings) (t health.Target, ok bool) {
	if !set.Cluster.Backend || set.Health.User == "" {
		return t, false
	}
	l, ok := set.DirectListener()
	if !ok && len(set.Listeners) > 0 {
		l = set.Listeners[0] // which begins with a PROXY header, if we may connect to it
	}
	host := l.Address
	switch host {
	case "0.0.0.0":
		host = "127.0.0.1"
	case "::":
		host = "::1"
	}
	if !ok && !trustsItself(set, host) {
		return t, false
	}
	t = health.Target{Name: nodeName(set), Proxied: !ok, Addr: net.JoinHostPort(host, strconv.Itoa(l.Port)), Host: host, AnyCert: true}
	switch {
	case l.TLS:
		t.Security = imapclient.ImplicitTLS
	case t.Proxied && set.TLS.Mode != "no":
		t.Security = imapclient.StartTLS // nobody's word counts there that the client is here
	}
	return t, true
}

// trustsItself says whether this host may send PROXY headers to its own address.
func trustsItself(set *config.Settings, host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && slices.ContainsFunc(set.Login.HAProxyNetworks, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// probeUser is the user that checks of this backend log in as, if it is one for each
// backend: it belongs to this one, wherever its slot is.
func probeUser(set *config.Settings) (string, error) {
	if !strings.Contains(set.Health.User, health.BackendVariable) {
		return "", nil
	}
	names, err := auth.NewNames(authConfig(set, slog.New(slog.DiscardHandler)).Names, expandForAuth)
	if err != nil {
		return "", err
	}
	return names.Normalize(health.UserAt(set.Health.User, nodeName(set)))
}

// nodeName is what this node is called where administrators see it.
func nodeName(set *config.Settings) string {
	switch {
	case set.Cluster.Name != "":
		return set.Cluster.Name
	case set.Cluster.Kind == config.NoCoordinator:
		return holderName(set)
	case !set.Where("instance_name").IsZero():
		return set.General.InstanceName
	}
	host, _ := os.Hostname()
	return host
}

// isProbe says whether a login is a health check of a director of ours, or of this
// node itself. What a proxy hands on for a client is none.
func (n *node) isProbe(c *imapserver.Client, req *auth.Request) bool {
	template := n.set.Health.User
	if template == "" || req.AuthzID != "" || c.Remote != c.Peer {
		return false
	}
	local := c.Carrier == c.Peer && c.Peer.Addr().IsLoopback() // a PROXY header that says so
	if !c.Trusted && !fromHere(c) && !local {
		return false
	}
	before, after, varies := strings.Cut(template, health.BackendVariable)
	rest, begins := strings.CutPrefix(req.AuthID, before)
	if !varies {
		return begins && rest == ""
	}
	return begins && strings.HasSuffix(rest, after)
}
