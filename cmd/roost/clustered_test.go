package main

import (
	"net"
	"testing"

	"github.com/roost-mail/roost/config"
)

// TestMemberHost: a host finds itself among the members by its addresses, in whatever form
// a resolver gives them.
func TestMemberHost(t *testing.T) {
	for _, row := range []struct {
		hosts []string
		want  string
	}{
		{[]string{"192.0.2.1", "127.0.0.1"}, "127.0.0.1"},
		{[]string{"192.0.2.1", "::ffff:127.0.0.1"}, "::ffff:127.0.0.1"},
		{[]string{"192.0.2.1", "localhost"}, "localhost"},
		{[]string{"192.0.2.1"}, ""},
	} {
		got, err := memberHost(t.Context(), &config.Cluster{MemberHosts: row.hosts})
		if dns, is := err.(*net.DNSError); is {
			t.Skip(dns)
		}
		if err != nil || got != row.want {
			t.Errorf("%q: %q, %v, want %q", row.hosts, got, err, row.want)
		}
	}
}
