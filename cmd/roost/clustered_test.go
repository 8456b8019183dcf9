package main

import (
	"bytes"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/config"
	"github.com/roost-mail/roost/tlsconn/tlstest"
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

// TestMixedTagsAreTold: once when a tag has backends of two kinds, and when it has no more.
func TestMixedTagsAreTold(t *testing.T) {
	var log bytes.Buffer
	told, to := mixedTags{}, slog.New(slog.NewTextHandler(&log, nil))
	mixed := map[string]cluster.Kinds{"": {Roost: []string{"be1"}}, "old": {Roost: []string{"be2"}, Foreign: []string{"dove"}}}
	for range 2 {
		told.tell(mixed, to)
	}
	if got := log.String(); strings.Count(got, "level=ERROR") != 1 || !strings.Contains(got, "tag=old roost=[be2] no_roost=[dove]") {
		t.Errorf("log: %s", got)
	}
	log.Reset()
	for range 2 {
		told.tell(map[string]cluster.Kinds{"": {Roost: []string{"be1"}}}, to)
	}
	if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "of one kind again") {
		t.Errorf("log: %s", got)
	}
}

// TestRegistrationTLS: directors connect as the listener wants it whose port is registered.
func TestRegistrationTLS(t *testing.T) {
	dir, pair := t.TempDir(), tlstest.New(t).Valid(t, "be1")
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	text := "ssl = required\nssl_cert = <" + file("cert", pair.Cert) + "\nssl_key = <" + file("key", pair.Key) +
		"\nservice imap-login {\n inet_listener imap {\n  port = 1143\n }\n}\n"
	for address, want := range map[string]string{"": "imaps", "be1": "imaps", "be1:993": "imaps", "be1:1143": "starttls", "be1:5": "imaps"} {
		set, _, err := config.Load(file("conf", text+"cluster_address = "+address+"\n"))
		if err != nil {
			t.Fatal(err)
		}
		if r, err := registration(set, nil); err != nil || r.TLS != want {
			t.Errorf("cluster_address = %s: %+v, %v, want %s", address, r, err, want)
		}
	}
}
