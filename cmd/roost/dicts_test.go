package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/roost-mail/roost/cluster/coordetcd/etcdtest"
	"github.com/roost-mail/roost/dict/servertest"
)

// dictExample is a configuration of docs/configuration.md, with the places of the
// documentation replaced.
func dictExample(t *testing.T, name string, places ...string) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)```\n# dict-" + name + `\.conf` + "\n(.*?)```").FindSubmatch(text)
	if m == nil {
		t.Fatalf("docs/configuration.md has no example dict-%s.conf", name)
	}
	return strings.NewReplacer(places...).Replace(string(m[1]))
}

// sqlFile is the ready file of maps with another connection.
func sqlFile(t *testing.T, connect string) string {
	t.Helper()
	text, err := os.ReadFile("../../dist/dict/dict-sql.conf")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "dict-sql.conf")
	text = regexp.MustCompile(`(?m)^connect = .*$`).ReplaceAll(text, []byte("connect = "+connect))
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// readySchema is a file of dist/dict.
func readySchema(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("../../dist/dict/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestDictionaries shares a mailbox between backends by each kind of dictionary, as
// the documentation configures it, on the real server.
func TestDictionaries(t *testing.T) {
	if testing.Short() {
		t.Skip("starts database servers")
	}
	for _, row := range []struct {
		name string
		conf func(t *testing.T) string
	}{
		{"file", func(t *testing.T) string { return dictExample(t, "file", "/srv/mail", t.TempDir()) }},
		{"fs", func(t *testing.T) string { return dictExample(t, "fs", "/srv/mail", t.TempDir()) }},
		{"sqlite", func(t *testing.T) string {
			program, err := exec.LookPath("sqlite3")
			if err != nil {
				needPeer(t, err)
			}
			db := filepath.Join(t.TempDir(), "dict.db")
			cmd := exec.Command(program, db)
			cmd.Stdin = strings.NewReader(readySchema(t, "sqlite.sql"))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			return dictExample(t, "sqlite", "/etc/roost/dict-sql.conf", sqlFile(t, db))
		}},
		{"pgsql", func(t *testing.T) string { return sqlServer(t, "pgsql", servertest.Postgres(t)) }},
		{"mysql", func(t *testing.T) string { return sqlServer(t, "mysql", servertest.MariaDB(t)) }},
		{"redis", func(t *testing.T) string {
			s := servertest.Redis(t)
			return dictExample(t, "redis", "192.0.2.10", s.Host, "6379", strconv.Itoa(s.Port))
		}},
		{"etcd", func(t *testing.T) string {
			return dictExample(t, "etcd", "192.0.2.10:2379", etcdtest.Start(t, "127.0.0.1").Addr)
		}},
	} {
		t.Run(row.name, func(t *testing.T) { shareBy(t, row.conf(t)) })
	}
}

// needPeer skips the test, unless ROOST_TEST_PEERS=1 says that it must run.
func needPeer(t *testing.T, err error) {
	t.Helper()
	if os.Getenv("ROOST_TEST_PEERS") == "1" {
		t.Fatal(err)
	}
	t.Skip(err)
}

func sqlServer(t *testing.T, kind string, s *servertest.Server) string {
	if err := s.SQL(t, readySchema(t, kind+".sql")); err != nil {
		t.Fatal(err)
	}
	connect := fmt.Sprintf("host=%s port=%d dbname=roost user=%s password='%s'", s.Host, s.Port, s.User, s.Password)
	return dictExample(t, kind, "/etc/roost/dict-sql.conf", sqlFile(t, connect))
}

// shareBy has someone2, on the other backend, see what someone1 shares and no
// longer shares, and roost dict show the key.
func shareBy(t *testing.T, conf string) {
	r := startRigWith(t, "rig", func(r *rig) {
		for _, name := range []string{"be1", "be2"} {
			text, err := os.ReadFile(r.files[name])
			if err == nil {
				err = os.WriteFile(r.files[name], append(text, conf...), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	})
	tr := &transcript{t: t, w: r, sessions: map[string]*imapConn{}, file: "dictionary"}
	defer func() {
		for _, c := range tr.sessions {
			c.close()
		}
	}()
	for _, line := range []string{"someone1: CREATE Work", "someone1| OK", "someone1: SETACL Work someone2 lr", "someone1| OK"} {
		tr.run(line)
	}
	awaitListed(t, tr.session("someone2"), true)
	stamp := regexp.MustCompile(`\t\d+ \d+`)
	uri := regexp.MustCompile(`acl_shared_dict = (.*)`).FindStringSubmatch(conf)[1]
	for _, row := range []struct{ args, want string }{
		{"get " + uri + " shared/shared-boxes/user/someone2/someone1", "1\n"},
		{"iter -R " + uri + " shared/roost/owner/", "key\tvalue\nshared/roost/owner/someone1\tSTAMP\n"},
		{"iter " + uri + " shared/", "key\tvalue\n"},
		{"iter -R --json " + uri + " shared/shared-boxes/", `[{"key":"shared/shared-boxes/user/someone2/someone1","value":"1"}]` + "\n"},
		{"set " + uri + " shared/shared-boxes/user/someone3/someone1 1", ""},
		{"unset " + uri + " shared/shared-boxes/user/someone3/someone1", ""},
	} {
		var out strings.Builder
		cmd := command()
		cmd.SetOut(&out)
		cmd.SetArgs(append([]string{"dict", "-c", r.files["be1"]}, strings.Fields(row.args)...))
		if err := cmd.ExecuteContext(t.Context()); err != nil || stamp.ReplaceAllString(out.String(), "\tSTAMP") != row.want {
			t.Errorf("roost dict %s: %q, %v; want %q", row.args, out.String(), err, row.want)
		}
	}
	tr.run("someone1: DELETEACL Work someone2")
	tr.run("someone1| OK")
	awaitListed(t, tr.session("someone2"), false)
}

// awaitListed waits until shared/someone1/Work is listed, or no longer is.
func awaitListed(t *testing.T, c *imapConn, want bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		c.command(`LIST "" "*"`)
		if strings.Contains(strings.Join(c.answer, "\n"), "shared/someone1/Work") == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("listed: %v is never so: %q", want, c.answer)
		}
	}
}

func TestDictCommand(t *testing.T) {
	file := "file:" + filepath.Join(t.TempDir(), "dict")
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(gone.Addr().String())
	for _, row := range []struct {
		args []string
		code int
		want string // in the output, or the error
	}{
		{[]string{"set", file, "shared/a/tab\there", "two\nlines"}, 0, ""},
		{[]string{"set", "-u", "x", file, "shared/a", "1"}, 0, ""},
		{[]string{"get", file, "shared/a"}, 0, "1\n"},
		{[]string{"get", "--json", file, "shared/a/tab\there"}, 0, `[{"value":"two\nlines"}]` + "\n"},
		{[]string{"get", file, "shared/b"}, 68, "shared/b doesn't exist"},
		{[]string{"get", file, "b"}, 64, "not below shared/"},
		{[]string{"get", "b"}, 64, "usage: roost dict get DICT KEY"},
		{[]string{"get", "rubbish:x", "shared/a"}, 64, "no kind of dictionary"},
		{[]string{"get", "proxy::acl", "shared/a"}, 64, "with -c"},
		{[]string{"get", "redis:port=" + port, "shared/a"}, 1, "127.0.0.1:" + port},
		{[]string{"iter", file, "shared/"}, 0, "key\tvalue\nshared/a\t1\n"},
		{[]string{"iter", "-R", file, "shared/"}, 0, "key\tvalue\nshared/a\t1\nshared/a/tab\x01there\ttwo\x01nlines\n"},
		{[]string{"iter", "-R", "-V", file, "shared/a/"}, 0, "key\nshared/a/tab\x01there\n"},
		{[]string{"iter", "-1", file, "shared/a"}, 0, "key\tvalue\nshared/a\t1\n"},
		{[]string{"unset", file, "shared/a"}, 0, ""},
		{[]string{"unset", file, "shared/a"}, 0, ""},
		{[]string{"iter", "--json", file, "shared/"}, 0, "[]\n"},
	} {
		var out strings.Builder
		cmd := command()
		cmd.SetOut(&out)
		cmd.SetArgs(append([]string{"dict"}, row.args...))
		err := cmd.ExecuteContext(t.Context())
		code, text := 0, out.String()
		if err != nil {
			code, text = exitCode(err), err.Error()
		}
		if code != row.code || err == nil && text != row.want || !strings.Contains(text, row.want) {
			t.Errorf("roost dict %q: %d, %q; want %d, %q", row.args, code, text, row.code, row.want)
		}
	}
}
