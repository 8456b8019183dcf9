package auth

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/roost-mail/roost/imap"
)

// hosts is a Resolver.
type hosts map[string]string

func (h hosts) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	ip, ok := h[host]
	if !ok {
		return nil, errors.New("no such host")
	}
	return []netip.Addr{netip.MustParseAddr(ip)}, nil
}

// proxy_maybe proxies who lives elsewhere, and serves the others as if there were no
// such fields.
func TestProxyMaybe(t *testing.T) {
	for _, row := range []struct {
		fields string
		want   string // what is left of them; empty: UNAVAILABLE
	}{
		{"proxy_maybe=y host=192.0.2.9 port=143", "proxy host port"},
		{"proxy_maybe=y host=192.0.2.1", "-"},
		{"proxy_maybe=y host=192.0.2.1 port=143 destuser=ann", "-"},
		{"proxy_maybe=y proxy=y host=192.0.2.1", "-"},
		{"proxy_maybe=y host=192.0.2.1 port=1143", "proxy host port"},
		{"proxy_maybe=y host=192.0.2.1 destuser=bob", "proxy host destuser"},
		{"proxy_maybe=y host=::ffff:192.0.2.1", "-"},
		{"proxy_maybe=y host=2001:db8::5", "-"}, // auth_proxy_self
		{"proxy_maybe=y host=here.example", "-"},
		{"proxy_maybe=y host=there.example", "proxy host"},
		{"proxy_maybe=y host=nowhere.example", ""},
		{"proxy_maybe=y host=nowhere.example hostip=192.0.2.1", "-"},
		{"proxy_maybe=y host=here.example hostip=192.0.2.9", "proxy host hostip"},
		{"proxy_maybe=y", "proxy"},
		{"proxy_maybe=no host=192.0.2.9", "host"},
		{"proxy_maybe=y proxy_always=y host=192.0.2.1 port=143", "proxy"},
	} {
		t.Run(row.fields, func(t *testing.T) {
			a, err := New(Config{
				Passdbs:   []PassdbConfig{{Driver: "static", Args: "password=secret " + row.fields}},
				Userdbs:   []UserdbConfig{{Driver: "static", Args: "home=/srv/%u"}},
				ProxySelf: []netip.Addr{netip.MustParseAddr("2001:db8::5")},
				Resolver:  hosts{"here.example": "192.0.2.1", "there.example": "192.0.2.9"},
			})
			if err != nil {
				t.Fatal(err)
			}
			res, err := a.Authenticate(t.Context(), Request{
				AuthID: "ann", Password: "secret", LocalAddr: netip.MustParseAddr("192.0.2.1"), LocalPort: 143,
			})
			if row.want == "" {
				if imap.CodeOf(err) != imap.CodeUnavailable {
					t.Errorf("%v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var left []string
			for _, name := range []string{"proxy", "host", "hostip", "port", "destuser"} {
				if _, ok := res.Fields[name]; ok {
					left = append(left, name)
				}
			}
			if got := strings.Join(left, " "); got != strings.Trim(row.want, "-") {
				t.Errorf("left: %q", got)
			}
			if home := res.UserFields["home"]; (home != "") == res.Fields.Flag("proxy") {
				t.Errorf("home %q", home)
			}
		})
	}
}

// What another node of ours does for itself is no guess, however often it fails.
func TestInternalLoginsAreNoGuesses(t *testing.T) {
	a, err := New(Config{Passdbs: []PassdbConfig{{Driver: "static", Args: "password=secret"}}, MaxPenalty: 1 << 62})
	if err != nil {
		t.Fatal(err)
	}
	req := Request{AuthID: "ann", RemoteAddr: netip.MustParseAddr("192.0.2.1"), Internal: true}
	for _, password := range []string{"a", "b", "c", "d", "e", "f"} { // would wait for minutes
		req.Password = password
		if _, err := a.Authenticate(t.Context(), req); imap.CodeOf(err) != imap.CodeAuthenticationFailed {
			t.Fatal(err)
		}
	}
	req.Password = "secret"
	if _, err := a.Authenticate(t.Context(), req); err != nil {
		t.Error(err)
	}
}
