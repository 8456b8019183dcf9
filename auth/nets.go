package auth

import (
	"fmt"
	"net/netip"
	"strings"
)

// allowedNet says whether a field like allow_nets lets a client in. The list is
// addresses and networks separated by commas; "local" is a client without an
// address (a Unix socket). What cannot be read matches nobody and is reported
// with the answer, so that a slip of the pen never opens a door.
func allowedNet(list string, client netip.Addr) (bool, error) {
	var bad error
	client = client.Unmap().WithZone("")
	for word := range strings.FieldsFuncSeq(list, func(r rune) bool { return r == ',' || r == ' ' }) {
		if word == "local" {
			if !client.IsValid() {
				return true, bad
			}
			continue
		}
		prefix, err := parseNet(word)
		if err != nil {
			bad = fmt.Errorf("%w", err)
			continue
		}
		if client.IsValid() && prefix.Contains(client) {
			return true, bad
		}
	}
	return false, bad
}

func parseNet(word string) (netip.Prefix, error) {
	if strings.Contains(word, "/") {
		prefix, err := netip.ParsePrefix(word)
		if err == nil && prefix.Addr().Is4In6() {
			return netip.Prefix{}, fmt.Errorf("network %q mixes IPv4 and IPv6", word)
		}
		return prefix, err
	}
	addr, err := netip.ParseAddr(word)
	if err != nil {
		return netip.Prefix{}, err
	}
	addr = addr.Unmap().WithZone("")
	return netip.PrefixFrom(addr, addr.BitLen()), nil
}
