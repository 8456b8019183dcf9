package auth

import (
	"net/netip"
	"testing"
)

func TestAllowedNet(t *testing.T) {
	rows := []struct {
		list, client string
		want, bad    bool
	}{
		{"10.0.0.0/8", "10.1.2.3", true, false},
		{"10.0.0.0/8", "11.1.2.3", false, false},
		{"10.0.0.0/8,11.1.2.3", "11.1.2.3", true, false},
		{"10.0.0.0/8, 11.1.2.3", "11.1.2.3", true, false},
		{"11.1.2.3", "11.1.2.4", false, false},
		{"10.0.0.0/8", "::ffff:10.1.2.3", true, false},
		{"::ffff:10.1.2.3", "10.1.2.3", true, false},
		{"2001:db8::/32", "2001:db8::1", true, false},
		{"2001:db8::/32", "2001:db9::1", false, false},
		{"::1", "::1", true, false},
		{"fe80::/10", "fe80::1%eth0", true, false},
		{"0.0.0.0/0", "2001:db8::1", false, false},
		{"::/0", "10.1.2.3", false, false},
		{"local", "", true, false},
		{"local", "127.0.0.1", false, false},
		{"0.0.0.0/0,::/0", "", false, false},
		{"", "10.1.2.3", false, false},
		{"10.0.0.0/33", "10.1.2.3", false, true},
		{"nonsense", "10.1.2.3", false, true},
		{"nonsense,10.0.0.0/8", "10.1.2.3", true, true},
		{"::ffff:10.0.0.0/8", "10.1.2.3", false, true},
	}
	for _, row := range rows {
		var client netip.Addr
		if row.client != "" {
			client = netip.MustParseAddr(row.client)
		}
		got, err := allowedNet(row.list, client)
		if got != row.want || (err != nil) != row.bad {
			t.Errorf("%q, %q: got %v, %v", row.list, row.client, got, err)
		}
	}
}

func FuzzAllowedNet(f *testing.F) {
	f.Add("10.0.0.0/8,local,::1", "10.1.2.3")
	f.Add("::ffff:1.2.3.4/96", "::1%x")
	f.Fuzz(func(t *testing.T, list, client string) {
		addr, _ := netip.ParseAddr(client)
		if ok, _ := allowedNet(list, addr); ok && list == "" {
			t.Error("an empty list lets someone in")
		}
	})
}

// allow_nets is about the client, allow_real_nets about who is connected; neither
// concerns lookups, and both must hold.
func TestRealNets(t *testing.T) {
	a := newAuth(t, Config{Passdbs: []PassdbConfig{{Driver: "static", Args: "password=pass allow_nets=192.0.2.0/24 allow_real_nets=198.51.100.0/24,local"}}})
	for _, row := range []struct {
		client, peer netip.Addr
		want         string
	}{
		{office, abroad, "bob"},
		{office, netip.Addr{}, "bob"},
		{office, office, "AUTHENTICATIONFAILED"},
		{abroad, abroad, "AUTHENTICATIONFAILED"},
	} {
		if got := say(a.Authenticate(t.Context(), Request{AuthID: "bob", Password: "pass", RemoteAddr: row.client, PeerAddr: row.peer})); got != row.want {
			t.Errorf("%v: %s", row, got)
		}
	}
	if got := say(a.Lookup(t.Context(), "bob")); got != "bob" {
		t.Errorf("a lookup: %s", got)
	}
}
