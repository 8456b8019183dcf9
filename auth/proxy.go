package auth

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"
)

// Resolver finds the addresses of a host name; *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// settleProxy decides proxy_maybe: who lives on another host is proxied there, and
// for a user of this host it is as if no field had said anything of proxying. With
// proxy_always the latter is proxied too, wherever a director says.
func (a *Authenticator) settleProxy(ctx context.Context, s *attempt) error {
	if !s.fields.Flag("proxy_maybe") {
		return nil
	}
	self, err := a.livesHere(ctx, s)
	if err != nil {
		return fmt.Errorf("proxy_maybe: %w", err)
	}
	s.fields["proxy"] = "yes"
	if !self {
		return nil
	}
	of := []string{"host", "hostip", "port", "destuser"}
	if !s.fields.Flag("proxy_always") {
		of = append(of, "proxy")
	}
	for _, name := range append(of, "proxy_maybe", "proxy_always") {
		delete(s.fields, name)
	}
	return nil
}

// lookUpTime bounds the search for the address of a host.
const lookUpTime = 2 * time.Second

// livesHere says whether the fields name this host as the user's: an address of ours,
// the port that the client has connected to, and no other user.
func (a *Authenticator) livesHere(ctx context.Context, s *attempt) (bool, error) {
	if dest := s.fields["destuser"]; dest != "" {
		if name, err := a.names.Normalize(dest); err != nil || name != s.User {
			return false, nil
		}
	}
	if port := s.fields["port"]; port != "" && port != strconv.Itoa(int(s.req.LocalPort)) {
		return false, nil
	}
	host := s.fields["hostip"]
	if host == "" {
		host = s.fields["host"]
	}
	if host == "" {
		return false, nil
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return a.isSelf(s, ip), nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookUpTime)
	defer cancel()
	ips, err := a.resolver.LookupNetIP(ctx, "ip", host)
	return slices.ContainsFunc(ips, func(ip netip.Addr) bool { return a.isSelf(s, ip) }), err
}

func (a *Authenticator) isSelf(s *attempt, ip netip.Addr) bool {
	ip = ip.Unmap()
	return ip == s.req.LocalAddr.Unmap() || slices.Contains(a.proxySelf, ip)
}

// resolverOr is r, or that of the system.
func resolverOr(r Resolver) Resolver {
	if r == nil {
		return net.DefaultResolver
	}
	return r
}
