package main

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/xdg-go/scram"
)

// logInSCRAM speaks SCRAM-SHA-256 and returns how the command ended.
func (c *imapConn) logInSCRAM(authzid, user, password string) string {
	c.t.Helper()
	client, err := scram.SHA256.NewClient(user, password, authzid)
	if err != nil {
		c.t.Fatal(err)
	}
	talk := client.NewConversation()
	c.send("s AUTHENTICATE SCRAM-SHA-256\r\n")
	for challenge := ""; ; {
		text, goesOn := strings.CutPrefix(c.readLine(), "+ ")
		if !goesOn {
			return text
		}
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			c.t.Fatal(err)
		}
		challenge = string(raw)
		response, err := talk.Step(challenge)
		if err != nil {
			c.t.Fatal(err)
		}
		c.send(base64.StdEncoding.EncodeToString([]byte(response)) + "\r\n")
	}
}

// TestSCRAMThroughTheDirector: a director to whom nobody told the password logs in
// at the backend with what its passdb says, and says no where that says nothing.
func TestSCRAMThroughTheDirector(t *testing.T) {
	withPass := func(line string) string { return strings.Replace(line, "proxy=y", "proxy=y pass=backend-secret", 1) }
	r := startRigWith(t, "rig", func(r *rig) {
		conf, err := os.ReadFile(r.files["director"])
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Replace(string(conf), "auth_mechanisms = plain login", "auth_mechanisms = plain login scram-sha-256", 1)
		if err := os.WriteFile(r.files["director"], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		users := filepath.Join(r.root, "etc/users.director")
		lines, err := os.ReadFile(users)
		if err != nil {
			t.Fatal(err)
		}
		out := ""
		for line := range strings.Lines(string(lines)) {
			if !strings.HasPrefix(line, "someone2:") {
				line = withPass(line)
			}
			out += line
		}
		if err := os.WriteFile(users, []byte(out), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, be := range []string{"be1", "be2"} {
			appendTo(t, r.files[be], "passdb director {\n driver = static\n args = password=backend-secret allow_real_nets=127.0.1.1\n}\n")
		}
	})
	for _, row := range []struct{ authzid, user, password, want string }{
		{"", "someone1", "pass", "s OK"},
		{"", "someone3", "pass", "s OK"},
		{"", "someone1", "backend-secret", "s NO [AUTHENTICATIONFAILED]"},
		{"", "nobody", "pass", "s NO [AUTHENTICATIONFAILED]"},
		{"", "someone2", "pass", "s NO [UNAVAILABLE]"}, // no field pass
		{"", "someone2", "bad", "s NO [AUTHENTICATIONFAILED]"},
	} {
		c := dialIMAP(t, r.address())
		if got := c.logInSCRAM(row.authzid, row.user, row.password); !strings.HasPrefix(got, row.want) {
			t.Errorf("%+v: %s", row, got)
		} else if row.want == "s OK" {
			c.command("SELECT INBOX")
			c.expect("OK")
		}
		c.close()
	}
}
