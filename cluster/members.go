package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// MaxMembers limits how many members a list may have.
const MaxMembers = 4096

// Resolver finds the addresses of a host name; *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// ParseMembers reads a list of backends as in Dovecot's director_mail_servers,
// separated by spaces or commas. Each is one of
//
//	10.0.0.1  2001:db8::1        an address
//	10.0.0.1-10.0.0.9            the addresses from one to another, which
//	                             differ in the last 8 bits (IPv6: 16) at most
//	mail.example.com             all addresses of a host name
//
// and may be followed by :port, in which case IPv6 addresses are written in
// brackets, and by @tag. A port becomes a part of the member's place on the
// ring; Dovecot has no such ports. All members are up and have DefaultWeight.
// Names are looked up one after the other; an error of the resolver is returned.
func ParseMembers(ctx context.Context, list string, resolver Resolver) ([]Member, error) {
	var members []Member
	for _, word := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r <= ' ' }) {
		address, tag, _ := strings.Cut(word, "@")
		host, port, err := splitPort(address)
		if err != nil {
			return nil, fmt.Errorf("backend %q: %w", word, err)
		}
		ips, err := hostIPs(ctx, host, resolver)
		if err != nil {
			return nil, fmt.Errorf("backend %q: %w", word, err)
		}
		if len(members)+len(ips) > MaxMembers {
			return nil, fmt.Errorf("more than %d backends", MaxMembers)
		}
		for _, ip := range ips {
			m := Member{Backend: Backend{IP: ip, Port: port}, Weight: DefaultWeight, Tag: tag}
			m.Name = address
			m.Host = hostName(host)
			if len(ips) > 1 {
				m.Name = pointText(m.Backend)
			}
			members = append(members, m)
		}
	}
	return members, nil
}

// splitPort separates the port, 0 if there is none, and takes brackets off.
func splitPort(s string) (host string, port uint16, err error) {
	i := strings.LastIndexByte(s, ':')
	inner, bracketed := strings.CutPrefix(s, "[")
	switch {
	case bracketed && strings.HasSuffix(s, "]"):
		return inner[:len(inner)-1], 0, nil
	case bracketed && (i < 2 || s[i-1] != ']'):
		return "", 0, errors.New("bracket without an end")
	case i < 0 || !bracketed && strings.Count(s, ":") > 1: // a name, or plain IPv6
		return s, 0, nil
	}
	n, err := strconv.ParseUint(s[i+1:], 10, 16)
	if err != nil || n == 0 {
		return "", 0, fmt.Errorf("port %q", s[i+1:])
	}
	if bracketed {
		return s[1 : i-1], uint16(n), nil
	}
	return s[:i], uint16(n), nil
}

// hostIPs finds the addresses that one word stands for.
func hostIPs(ctx context.Context, host string, resolver Resolver) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip}, nil
	}
	from, to, isRange := strings.Cut(host, "-")
	first, err := netip.ParseAddr(from)
	if last, err2 := netip.ParseAddr(to); isRange && err == nil && err2 == nil {
		return rangeIPs(first, last)
	}
	if host == "" {
		return nil, errors.New("no address")
	}
	ips, err := resolver.LookupNetIP(ctx, "ip", host)
	if err == nil && len(ips) == 0 {
		err = errors.New("no such host")
	}
	for i := range ips {
		ips[i] = ips[i].Unmap() // resolvers may write IPv4 addresses as IPv6
	}
	return ips, err
}

// hostName is what a word of ParseMembers says of a name: host, if it is one.
func hostName(host string) string {
	from, _, _ := strings.Cut(host, "-")
	if _, err := netip.ParseAddr(from); err == nil {
		return ""
	}
	return host
}

// rangeIPs lists the addresses from first to last.
func rangeIPs(first, last netip.Addr) ([]netip.Addr, error) {
	hostBits := 8
	if first.Is6() {
		hostBits = 16
	}
	network, err := first.Prefix(first.BitLen() - hostBits)
	if err != nil || !network.Contains(last) || last.Less(first) {
		return nil, errors.New("not a range of addresses")
	}
	var ips []netip.Addr
	for ip := first; ; ip = ip.Next() {
		ips = append(ips, ip)
		if ip == last {
			return ips, nil
		}
	}
}
