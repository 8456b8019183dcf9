package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What cluster = … and what is beside it make of a node.
func TestCluster(t *testing.T) {
	tls := "cluster_ssl_ca = /ca\ncluster_ssl_cert = /cert\ncluster_ssl_key = /key\n"
	backend := "mail_location = roost:~/mail\nmail_volume = /mail\n"
	for _, row := range []struct {
		text, endpoints, prefix string
		director, backend       bool
	}{
		{"director_mail_servers = 10.0.0.1\n", "", "/roost/", true, false},
		{"mail_location = roost:~/mail\n", "", "/roost/", false, true},
		{backend + "cluster = etcd://etcd1,etcd2:4001,[fd00::1]:2379/mail/east\n", "etcd1:2379 etcd2:4001 [fd00::1]:2379", "/mail/east/", false, true},
		{backend + "cluster = etcd://fd00::1\n", "[fd00::1]:2379", "/roost/", false, true},
		{"cluster = etcd://etcd1\ndirector_servers = d1 d2\n", "etcd1:2379", "/roost/", true, false},
		{tls + "cluster = embedded\ndirector_servers = d1 d2 d3\n", "d1:2379 d2:2379 d3:2379", "/roost/", true, false},
		{tls + backend + "cluster = embedded\ndirector_servers = d1 d2\ncluster_witness = b1\ncluster_role = backend\n", "d1:2379 d2:2379 b1:2379", "/roost/", false, true},
		{tls + backend + "cluster = embedded\ndirector_servers = d1\ncluster_role = director backend\ncluster_client_port = 4001\n", "d1:4001", "/roost/", true, true},
	} {
		s, _, err := Load(write(t, row.text))
		if err != nil {
			t.Errorf("%s: %v", row.text, err)
			continue
		}
		c := s.Cluster
		if got := strings.Join(c.Endpoints, " "); got != row.endpoints || c.Prefix != row.prefix || c.Director != row.director || c.Backend != row.backend {
			t.Errorf("%sgives %q %q director %v backend %v", row.text, got, c.Prefix, c.Director, c.Backend)
		}
	}
}

func TestClusterErrors(t *testing.T) {
	for text, want := range map[string]string{
		"cluster = zookeeper://a\n":                                                 "etcd://HOST",
		"cluster = etcd://\ndirector_servers = d1\n":                                "not HOST or HOST:PORT",
		"cluster = embedded\ncluster_role = director\n":                             "director_servers names the members",
		"cluster = embedded\ndirector_servers = d1 d2\n":                            "cluster_witness",
		"cluster = embedded\ndirector_servers = d1\n":                               "must be set: whoever",
		"cluster = etcd://a\n":                                                      "mail_volume must be set",
		"cluster = etcd://a\ndirector_servers = d1\ncluster_lease_ttl = 2s\n":       "3 seconds to a minute",
		"cluster = etcd://a\ndirector_servers = d1\ncluster_role = witness\n":       "neither director nor backend",
		"cluster = etcd://a\ndirector_servers = d1\ncluster_ssl_cert = /a.pem\n":    "cluster_ssl_key",
		"cluster = etcd://a\ndirector_servers = d1\ncluster_tag = a/b\n":            "cluster_tag",
		"cluster = etcd://a\ndirector_servers = d1\ncluster_commit_check = never\n": "cluster_commit_check",
		"director_mail_servers = 10.0.0.1\ndirector_servers = d1 d2\n":              "set cluster",
	} {
		if _, _, err := Load(write(t, text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%sgives %v, want %q", text, err, want)
		}
	}
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "roost.conf")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
