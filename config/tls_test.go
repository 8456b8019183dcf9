package config

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/roost-mail/roost/tlsconn/tlstest"
)

// tlsDir is a directory with certificates: good for imap.example.org and
// 192.0.2.1, old, soon, and other, which is another key.
func tlsDir(t *testing.T) string {
	t.Helper()
	dir, ca := t.TempDir(), tlstest.New(t)
	put := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, end := range map[string]time.Time{
		"good": time.Now().AddDate(1, 0, 0), "other": time.Now().AddDate(1, 0, 0),
		"old": time.Now().AddDate(0, 0, -1), "soon": time.Now().AddDate(0, 0, 3),
	} {
		pair := ca.Pair(t, end, "imap.example.org", "192.0.2.1")
		put(name+".pem", pair.Cert)
		put(name+".key", pair.Key)
	}
	put("ca.pem", ca.PEM)
	put("empty.pem", "")
	return dir
}

// loadTLS reads a file in dir; problems and warnings come without dir.
func loadTLS(t *testing.T, dir, text string) (s *Settings, problems, warnings string) {
	t.Helper()
	path := filepath.Join(dir, "roost.conf")
	if err := os.WriteFile(path, []byte("passdb {\n driver = static\n args = password=x\n}\nuserdb {\n driver = static\n args = home=/srv/%u\n}\nmail_location = roost:~/mail\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	s, list, err := Load(path)
	var lines []string
	for _, w := range list {
		lines = append(lines, w.String())
	}
	short := strings.NewReplacer(dir+"/", "")
	if err != nil {
		problems = short.Replace(err.Error())
	}
	return s, problems, short.Replace(strings.Join(lines, "\n"))
}

// TestTLSProblems: certificates are judged with file and line. The text begins in line 10.
func TestTLSProblems(t *testing.T) {
	dir := tlsDir(t)
	for _, row := range []struct{ name, text, problems, warnings string }{
		{"good", "ssl_cert = <good.pem\nssl_key = <good.key\n", "", ""},
		{"required", "ssl = required\nssl_cert = <good.pem\nssl_key = <good.key\n", "", ""},
		{"none", "ssl = yes\n", "roost.conf:10: ssl = yes: ssl_cert and ssl_key are missing", "*"},
		{"no file", "ssl_cert = <gone.pem\nssl_key = <good.key\n", "roost.conf:10: ssl_cert: cannot read gone.pem: no such file or directory", "*"},
		{"no key", "\nssl_cert = <good.pem\n", "roost.conf:11: ssl_cert: there is no PEM private key", "*"},
		{"mismatch", "ssl_cert = <good.pem\nssl_key = <other.key\n", "roost.conf:10: ssl_cert: private key does not match public key (good.pem and other.key)", "*"},
		{"no certificate", "ssl_cert = <empty.pem\nssl_key = <good.key\n", "roost.conf:10: ssl_cert: there is no PEM certificate in it (empty.pem and good.key)", "*"},
		{"a path", "ssl_cert = /etc/ssl/x.pem\nssl_key = <good.key\n", "roost.conf:10: ssl_cert: there is no PEM certificate in it: a file is named as </etc/ssl/x.pem", "*"},
		{"expired", "ssl_cert = <old.pem\nssl_key = <old.key\n", "", "roost.conf:10: ssl_cert: the certificate has expired on *"},
		{"expires", "ssl_cert = <soon.pem\nssl_key = <soon.key\n", "", "roost.conf:10: ssl_cert: the certificate expires on *"},
		{"password", "ssl_cert = <good.pem\nssl_key = <good.key\nssl_key_password = x\n", "roost.conf:12: ssl_key_password: refused: *", "*"},
		{"old version", "ssl_min_protocol = TLSv1\n", `roost.conf:10: ssl_min_protocol: refused: "TLSv1": older versions are not spoken`, "*"},
		{"ciphers", "ssl_cipher_list = RC4-SHA\n", "roost.conf:10: ssl_cipher_list: none of the suites *", "*"},
		{"curves", "ssl_curve_list = sect571r1\n", `roost.conf:10: ssl_curve_list: "sect571r1" is not offered*`, "*"},
		{"client certificates", "ssl_cert = <good.pem\nssl_key = <good.key\nssl_ca = <good.pem\nssl_require_crl = no\nssl_verify_client_cert = yes\nauth_ssl_require_client_cert = yes\n", "", ""},
		{"no authority", "ssl_verify_client_cert = yes\n", "roost.conf:10: ssl_verify_client_cert = yes: ssl_ca is missing", "*"},
		{"no certificate of an authority", "ssl_cert = <good.pem\nssl_key = <good.key\nssl_ca = /etc/ssl/ca.pem\nssl_require_crl = no\nssl_verify_client_cert = yes\n", "roost.conf:12: ssl_ca: there is no PEM certificate in it", "*"},
		{"revocation lists", "ssl_cert = <good.pem\nssl_key = <good.key\nssl_ca = <good.pem\nssl_verify_client_cert = yes\n", "roost.conf:13: ssl_verify_client_cert = yes: this version reads no revocation lists*", "*"},
		{
			"nobody is asked", "auth_ssl_require_client_cert = yes\nservice imap-login {\n  inet_listener back {\n    port = 1143\n    client_cert = yes\n  }\n}\n",
			"roost.conf:10: auth_ssl_require_client_cert = yes: *\nroost.conf:12: inet_listener back: client_cert = yes: *", "*",
		},
		{"ca", "ssl_client_ca_file = " + dir + "/gone.pem\n", "roost.conf:10: ssl_client_ca_file: gone.pem: *", "*"},
		{"empty ca", "ssl_client_ca_file = " + dir + "/empty.pem\n", "roost.conf:10: ssl_client_ca_file: empty.pem: there is no PEM certificate in it", "*"},
		{"unverified", "disable_plaintext_auth = no\nssl_client_require_valid_cert = no\nimapc_ssl = starttls\nimapc_ssl_verify = no\n", "", "roost.conf:11: ssl_client_require_valid_cert = no: *\nroost.conf:13: imapc_ssl_verify = no: *"},
		{"other name", "ssl_cert = <good.pem\nssl_key = <good.key\nlocal_name mx.example.org {\n  ssl_cert = <good.pem\n}\n", "", "roost.conf:13: ssl_cert: the certificate is not for mx.example.org"},
		{"other setting", "local_name imap.example.org {\n  login_greeting = hello\n}\n", "roost.conf:11: login_greeting: refused in local_name imap.example.org: *", "*"},
		{"no address", "local imap.example.org {\n}\n", "roost.conf:10: local imap.example.org: the name is an address*", "*"},
		{"passdb inside", "local 192.0.2.1 {\n  passdb {\n  }\n}\n", "roost.conf:11: passdb: refused: *", "*"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, problems, warnings := loadTLS(t, dir, row.text)
			if !looksLike(row.problems, problems) {
				t.Errorf("problems:\n%s\nwant:\n%s", problems, row.problems)
			}
			if !looksLike(row.warnings, warnings) {
				t.Errorf("warnings:\n%s\nwant:\n%s", warnings, row.warnings)
			}
		})
	}
}

// looksLike compares line by line; * is the rest of a line, and as a line of its own everything.
func looksLike(want, got string) bool {
	if want == "*" {
		return true
	}
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	if len(w) != len(g) {
		return false
	}
	for i := range w {
		prefix, open := strings.CutSuffix(w[i], "*")
		if open && !strings.HasPrefix(g[i], prefix) || !open && g[i] != w[i] {
			return false
		}
	}
	return true
}

func TestTLSSettings(t *testing.T) {
	dir := tlsDir(t)
	s, problems, _ := loadTLS(t, dir, `ssl_cert = <good.pem
ssl_key = <good.key
ssl_min_protocol = TLSv1.3
ssl_cipher_list = EECDH+AESGCM
ssl_curve_list = X25519
ssl_options = no_compression no_ticket
ssl_client_ca_file = `+dir+`/ca.pem
imapc_ssl = starttls
local 192.0.2.0/24 {
  ssl_cert = <other.pem
  ssl_key = <other.key
  local_name "imap.example.org *.example.org" {
    ssl_cert = <other.pem
  }
}
service imap-login {
  inet_listener secure {
    port = 1993
    ssl = yes
  }
}
`)
	if problems != "" {
		t.Fatal(problems)
	}
	certs := s.TLS.Server.Certificates
	if len(certs) != 3 || certs[0].Local.IsValid() || certs[1].Local.String() != "192.0.2.0/24" || len(certs[2].Names) != 2 {
		t.Errorf("certificates: %d", len(certs))
	}
	if s.TLS.Mode != "yes" || s.TLS.Server.MinVersion != tls.VersionTLS13 || len(s.TLS.Server.CipherSuites) != 4 ||
		!s.TLS.Server.NoTickets || len(s.TLS.Server.Curves) != 1 || !s.Imapc.SSLVerify {
		t.Errorf("%+v", s.TLS)
	}
	ports := map[int]bool{}
	for _, l := range s.Listeners {
		ports[l.Port] = l.TLS
	}
	if len(ports) != 3 || ports[143] || !ports[993] || !ports[1993] {
		t.Errorf("ports and whether they have TLS: %v", ports)
	}
	s, _, _ = loadTLS(t, dir, "ssl = no\nssl_cert = <good.pem\nssl_key = <good.key\n")
	if s.TLS.Mode != "no" || len(s.Listeners) != 2 {
		t.Errorf("ssl = no: %s, %+v", s.TLS.Mode, s.Listeners)
	}
}
