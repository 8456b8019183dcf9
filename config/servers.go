package config

import (
	"fmt"
	"net/netip"
	"strings"
)

const maxMailServers = 1 << 16

// parseMailServers reads director_mail_servers: IP, IP1-IP2 or a host name, each
// with a port behind a colon and a tag behind @ if need be. A port behind an
// IPv6 address needs brackets. In a range only the last 8 bits of IPv4 or the
// last 16 bits of IPv6 may differ.
func parseMailServers(text string) ([]MailServer, error) {
	var all []MailServer
	seen := map[MailServer]bool{}
	for _, w := range words(text) {
		servers, err := parseMailServer(w)
		if err != nil {
			return nil, err
		}
		for _, s := range servers {
			if !seen[s] {
				seen[s] = true
				all = append(all, s)
			}
		}
		if len(all) > maxMailServers {
			return nil, fmt.Errorf("more than %d backends", maxMailServers)
		}
	}
	return all, nil
}

func parseMailServer(word string) ([]MailServer, error) {
	host, tag, tagged := strings.Cut(word, "@")
	if tagged && tag == "" {
		return nil, fmt.Errorf("%q has no tag behind @", short(word))
	}
	if first, last, ok := strings.Cut(host, "-"); ok {
		a, aerr := netip.ParseAddr(first)
		b, berr := netip.ParseAddr(last)
		if aerr == nil && berr == nil {
			return serverRange(a, b, tag)
		}
	}
	host, port, err := cutPort(host)
	if err != nil {
		return nil, err
	}
	s := MailServer{Host: host, Port: port, Tag: tag}
	if ip, err := netip.ParseAddr(host); err == nil {
		s.IP, s.Host = ip, ip.String()
	} else if !isHostName(host) {
		return nil, fmt.Errorf("%q is not an address or host name", short(word))
	}
	return []MailServer{s}, nil
}

func serverRange(a, b netip.Addr, tag string) ([]MailServer, error) {
	shared := 24
	if a.Is6() {
		shared = 112
	}
	pa, aerr := a.Prefix(shared)
	pb, berr := b.Prefix(shared)
	if aerr != nil || berr != nil || pa != pb || b.Less(a) {
		return nil, fmt.Errorf("%s-%s is not a range: only the last 8 bits of IPv4 or 16 bits of IPv6 differ, and the lower address comes first", a, b)
	}
	var list []MailServer
	for ip := a; ip.IsValid() && ip.Compare(b) <= 0; ip = ip.Next() {
		list = append(list, MailServer{Host: ip.String(), IP: ip, Tag: tag})
	}
	return list, nil
}

// cutPort splits host:port and [IPv6]:port; a bare IPv6 address has no port.
func cutPort(s string) (host string, port int, err error) {
	var text string
	switch {
	case strings.HasPrefix(s, "["):
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return "", 0, fmt.Errorf("%q has no ]", short(s))
		}
		host, text = s[1:end], s[end+1:]
		if text == "" {
			return host, 0, nil
		}
		if text[0] != ':' {
			return "", 0, fmt.Errorf("%q: a port stands behind a colon", short(s))
		}
		text = text[1:]
	case strings.Count(s, ":") == 1:
		host, text, _ = strings.Cut(s, ":")
	default:
		return s, 0, nil
	}
	n, err := parseUint(text, 65535)
	if err != nil || n == 0 {
		return "", 0, fmt.Errorf("%q is not a port", short(text))
	}
	return host, int(n), nil
}

func isHostName(s string) bool {
	if s == "" || len(s) > 253 || s[0] == '-' || s[0] == '.' {
		return false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '.' && c != '_' {
			return false
		}
	}
	return true
}
