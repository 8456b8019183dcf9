package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/roost-mail/roost/admin/adminhttp"
)

// ended reads until a connection is closed, and gives what was said last.
func (c *imapConn) ended() string {
	c.t.Helper()
	text, err := io.ReadAll(c.r)
	if err != nil {
		c.t.Errorf("not closed: %v", err)
	}
	return string(text)
}

// TestAdministration: sessions are shown and ended where they are, at the director and
// at the backend, and go when their backend is down; by the socket and by HTTP.
func TestAdministration(t *testing.T) {
	r := startRig(t, "rig")
	token, line := adminhttp.NewToken("oncall", true)
	tokens, mine := filepath.Join(r.root, "tokens"), filepath.Join(r.root, "mine")
	for path, text := range map[string]string{tokens: line + "\n", mine: token + "\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r.edit(t, "director", appended("login_proxy_timeout = 1 secs\nadmin_listen = 127.0.0.1:0\nadmin_tokens_file = "+tokens+"\n"))
	at := r.nodes["director"].administration.at
	server := "http://" + at[len(at)-1].Addr().String()
	director, be1 := []string{"-c", r.files["director"]}, []string{"-c", r.files["be1"]}
	overHTTP := []string{"--server", server, "--token-file", mine}
	roost := func(flags []string, words ...string) string {
		t.Helper()
		out, err := run(append(words, flags...)...)
		if err != nil {
			t.Errorf("%s: %v", strings.Join(words, " "), err)
		}
		return out
	}
	login := func() *imapConn {
		c := dialIMAP(t, r.address())
		t.Cleanup(c.close)
		c.command("LOGIN someone1 pass")
		c.expect("OK")
		c.command("NOOP") // it is proxied now
		return c
	}

	c := login()
	for what, row := range map[string]struct {
		flags []string
		words string
		want  string
	}{
		"proxied":    {director, "who --each", "proxied"},
		"by name":    {director, "proxy list", "127.0.1.11"},
		"one user":   {director, "who someone1", "someone1  1"},
		"status":     {director, "director status", "127.0.1.11      -    100     up     -              1"},
		"by HTTP":    {overHTTP, "who someone1", "someone1  1"},
		"as JSON":    {overHTTP, "who --json", `"backend": "127.0.1.11"`},
		"at backend": {be1, "who --each", "authenticated, last NOOP"},
	} {
		if out := roost(row.flags, strings.Fields(row.words)...); !strings.Contains(out, row.want) {
			t.Errorf("%s: %s lacks %q:\n%s", what, row.words, row.want, out)
		}
	}
	if out := roost(be1, "kick", "someone1"); out != "1 connection kicked\n" {
		t.Error(out)
	}
	if bye := c.ended(); !strings.Contains(bye, "* BYE [UNAVAILABLE] Kicked by admin") {
		t.Errorf("kicked at the backend: %q", bye)
	}
	c = login()
	if out := roost(overHTTP, "director", "kick", "someone1"); out != "1 connection kicked\n" {
		t.Error(out)
	}
	c.ended()

	r.edit(t, "director", func(text string) string {
		args := "  args = " + filepath.Join(r.root, "etc/users.director") + "\n"
		return strings.Replace(text, args, args+"  default_fields = user_site=north\n", 1)
	})
	c = login()
	if out := roost(director, "proxy", "kick", "-f", "site", "north"); out != "1 connection kicked\n" {
		t.Error(out)
	}
	c.ended()

	c = login()
	roost(director, "director", "down", "127.0.1.11", "--quiet")
	c.ended()
	if out := roost(director, "director", "status", "someone1"); !strings.HasPrefix(out, "Current: 127.0.1.12\n") {
		t.Error(out)
	}
	roost(director, "director", "up", "127.0.1.11", "--quiet")
	c = login()
	c.close()

	if err := os.Chmod(mine, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := run(append([]string{"who"}, overHTTP...)...); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a token that everybody can read: %v", err)
	}
	if code := exitCode(func() error { _, err := run("who", "--server", server); return err }()); code != 64 {
		t.Errorf("no token: exit code %d", code)
	}
}
