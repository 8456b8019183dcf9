package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/roost-mail/roost/tlsconn/tlstest"
)

// TestConfigCheckReadsFiles: what would keep a server from starting, or its users from
// logging in, is said before, with its place.
func TestConfigCheckReadsFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	old := tlstest.New(t).Pair(t, time.Now().Add(-time.Hour), "localhost")
	cert, key := write("cert", old.Cert), write("key", old.Key)
	users, token := write("users", "alice:{PLAIN}x\n"), write("token", "secret\n")
	for _, row := range []struct{ line, want string }{
		{"passdb {\n  driver = passwd-file\n  args = " + users + "\n}\n", "roost.conf: ok"},
		{"passdb {\n  driver = passwd-file\n  args = /nothing/here\n}\n", "roost.conf:3: warning: passdb can't be read, its users can't log in: open /nothing/here"},
		{"mail_volume = /nothing/here\n", "roost.conf:3: warning: volume /nothing/here is not there: open /nothing/here"},
		{"admin_peer_token_file = " + token + "\n", "roost.conf:3: admin_peer_token_file: " + token + ": others than its owner can read the token: chmod 600"},
		{"admin_tokens_file = " + token + "\n", "roost.conf:3: admin_tokens_file: " + token + ": line 1: "},
		{"ssl_client_ca_file = /nothing/here\n", "roost.conf:3: ssl_client_ca_file"},
		{"cluster = etcd://127.0.0.1\ndirector_servers = 127.0.0.1\ncluster_ssl_ca = /nothing/here\n", "roost.conf:5: cluster_ssl_ca: open /nothing/here"},
		{
			"cluster = etcd://127.0.0.1\ndirector_servers = 127.0.0.1\ncluster_ssl_ca = " + cert + "\ncluster_ssl_cert = " + cert + "\ncluster_ssl_key = " + key + "\n",
			"roost.conf:6: warning: cluster_ssl_cert: the certificate has expired on ",
		},
	} {
		conf := write("roost.conf", "protocols = imap\nssl = no\n"+row.line)
		if out, _ := run("config", "check", conf); !strings.Contains(out, row.want) {
			t.Errorf("%s: %s, want %s", row.line, out, row.want)
		}
	}
}
