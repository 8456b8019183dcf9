package main

import (
	"bytes"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/roost-mail/roost/cluster"
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
