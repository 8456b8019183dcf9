package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// runCommand runs the program with arguments and an input, and returns what it
// prints and its exit code.
func runCommand(t *testing.T, input string, args ...string) (out string, code int) {
	t.Helper()
	var b strings.Builder
	cmd := command()
	cmd.SetArgs(args)
	cmd.SetIn(strings.NewReader(input))
	cmd.SetOut(&b)
	cmd.SetErr(&b)
	if err := cmd.ExecuteContext(t.Context()); err != nil {
		return b.String() + err.Error(), exitCode(err)
	}
	return b.String(), 0
}

const authCommandUsers = `alice:{PLAIN}pass:5000:5000::/srv/alice::userdb_quota_rule=*:storage=1G userdb_acl_groups=team
bob:{PLAIN}pass:5000:5000::/srv/bob::allow_nets=192.0.2.0/24,local
carol:{PLAIN}pass::::::nologin reason=Later.
odd:{ROT13}cnff::::::
root:{PLAIN}pass
`

func authCommandFile(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	users, conf := filepath.Join(dir, "users"), filepath.Join(dir, "roost.conf")
	text := "ssl = no\nmail_location = roost:~/mail\nauth_master_user_separator = *\n" +
		"passdb masters {\n driver = static\n master = yes\n args = password=master\n result_success = continue\n}\n" +
		"passdb users {\n driver = passwd-file\n args = " + users + "\n}\nuserdb {\n driver = passwd-file\n args = " + users + "\n}\n"
	for path, text := range map[string]string{users: authCommandUsers, conf: text} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return conf
}

func TestAuthCommands(t *testing.T) {
	conf := authCommandFile(t)
	for _, row := range []struct {
		args, input string
		code        int
		want        string // in what is printed
	}{
		{"auth test -c CONF alice pass", "", 0, "passdb: alice auth succeeded\nextra fields:\n  user=alice\n"},
		{"auth test -c CONF ALICE", "pass\n", 0, "user=alice\n"},
		{"auth test -c CONF alice", "", 1, "no password given"},
		{"auth test -c CONF alice bad", "", 77, "passdb: alice auth failed\n  user \"alice\": users: password mismatch"},
		{"auth test -c CONF nobody x", "", 77, "unknown user"},
		{"auth test -c CONF odd x", "", 75, `unknown scheme "ROT13"`},
		{"auth test -c CONF bob pass", "", 0, "succeeded"},
		{"auth test -c CONF -x rip=192.0.2.1 bob pass", "", 0, "succeeded"},
		{"auth test -c CONF -x rip=198.51.100.1 bob pass", "", 77, "allow_nets"},
		{"auth test -c CONF -x rip=x bob pass", "", 64, "-x rip=x"},
		{"auth test -c CONF -x what=x bob pass", "", 64, "unknown"},
		{"auth test -c CONF carol pass", "", 0, "nologin=yes\n  reason=Later."},
		{"auth login -c CONF carol pass", "", 77, "nologin"},
		{"auth login -c CONF alice pass", "", 0, "userdb extra fields:\n  alice\n  gid=5000\n  home=/srv/alice\n  quota_rule=*:storage=1G\n  uid=5000\n  acl_groups=team\n"},
		{"auth login -c CONF -M bob alice master", "", 0, "master_user=bob\n"},
		{"auth login -c CONF alice*bob pass", "", 77, "acting \"bob\""},
		{"auth login -c CONF", "", 64, "usage"},
		{"auth login alice pass", "", 64, "-c FILE"},
		{"user -c CONF alice", "", 0, "field\tvalue\nuser\talice\nacl_groups\tteam\ngid\t5000\nhome\t/srv/alice\n"},
		{"user -c CONF -f home alice bob", "", 0, "/srv/alice\n/srv/bob\n"},
		{"user -c CONF -f nope alice", "", 1, "no field nope"},
		{"user -c CONF nobody alice", "", 67, "unknown user"},
		{"user -c CONF *o*", "", 0, "bob\ncarol\nodd\nroot\n"},
		{"user -c CONF [o*", "", 75, "syntax error"},
		{"user -c /nonexistent alice", "", 1, "nonexistent"},
		{"pw -s PLAIN -p x", "", 0, "{PLAIN}x\n"},
		{"pw -s LDAP-MD5.hex", "x\n", 0, "{LDAP-MD5.HEX}9dd4e461268c8034f5c8564e155c67a6\n"},
		{"pw -s ROT13 -p x", "", 1, "unknown scheme"},
		{"pw -t {LDAP-MD5.HEX}9dd4e461268c8034f5c8564e155c67a6 -p x", "", 0, "(verified)"},
		{"pw -t {PLAIN}y -p x", "", 1, "password mismatch"},
		{"pw -t y -p x", "", 1, "does not begin with {SCHEME}"},
		{"pw -l", "", 0, "\nSCRAM-SHA-256\n"},
		{"pw --nope", "", 64, "unknown flag"},
		{"quota get -c CONF -u nobody", "", 67, "user nobody doesn't exist"},
		{"store check -c CONF nobody", "", 67, "user nobody doesn't exist"},
		{"store check /nothing/here", "", 1, "/nothing/here holds no account"},
		{"quota recalc -c CONF", "", 64, `unknown command "recalc" for "roost quota"`},
		{"backup -c CONF nobody DIR", "", 67, "user nobody doesn't exist"},
		{"relod", "", 64, `unknown command "relod" for "roost" (did you mean reload?)`},
		{"store chek", "", 64, `unknown command "chek" for "roost store" (did you mean check?)`},
		{"config", "", 0, "Available Commands"},
	} {
		out, code := runCommand(t, row.input, strings.Fields(strings.ReplaceAll(row.args, "CONF", conf))...)
		if code != row.code || !strings.Contains(out, row.want) {
			t.Errorf("%s: exit code %d, want %d; %q, want %q", row.args, code, row.code, out, row.want)
		}
		if strings.Contains(row.args, "auth") && code != 0 && strings.Contains(out, "cnff") {
			t.Errorf("%s shows a stored password: %s", row.args, out)
		}
	}
}

// Whoever looks for why a login fails reads what each passdb said of it.
func TestAuthTestTellsAllReasons(t *testing.T) {
	conf := authCommandFile(t)
	text, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	first := "passdb static {\n driver = static\n args = password=node allow_real_nets=192.0.2.1\n}\n"
	if err := os.WriteFile(conf, append([]byte(first), text...), 0o600); err != nil {
		t.Fatal(err)
	}
	out, code := runCommand(t, "", "auth", "test", "-c", conf, "-x", "real_rip=198.51.100.1", "alice", "node")
	const want = `static: client address is not allowed: "198.51.100.1" is not in allow_real_nets; users: password mismatch`
	if code != exitNoPerm || !strings.Contains(out, want) {
		t.Errorf("exit code %d, %q, want %q", code, out, want)
	}
}

func TestAuthCommandsJSON(t *testing.T) {
	conf := authCommandFile(t)
	for _, args := range []string{
		"auth test --json -c CONF alice pass", "auth login --json -c CONF alice bad", "user --json -c CONF alice",
		"user --json -c CONF *", "pw --json -l", "pw --json -s SHA -p x", "pw --json -t {PLAIN}y -p x",
	} {
		out, _ := runCommand(t, "", strings.Fields(strings.ReplaceAll(args, "CONF", conf))...)
		var v any
		if err := json.NewDecoder(strings.NewReader(out)).Decode(&v); err != nil {
			t.Errorf("%s: %v in %q", args, err, out)
		}
	}
}
