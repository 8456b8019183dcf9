package dictsql

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/roost-mail/roost/dict"
	"github.com/roost-mail/roost/dict/dicttest"
	"github.com/roost-mail/roost/dict/servertest"
)

// tables are the maps of dist/dict/dict-sql.conf.
func tables() []Map {
	f := func(columns ...string) (fields []Field) {
		for i := 0; i < len(columns); i += 2 {
			fields = append(fields, Field{Column: columns[i], Variable: columns[i+1]})
		}
		return fields
	}
	return []Map{
		{"shared/shared-boxes/user/$to/$from", "user_shares", "dummy", "", f("from_user", "from", "to_user", "to")},
		{"shared/shared-boxes/group/$to/$from", "group_shares", "dummy", "", f("from_user", "from", "to_group", "to")},
		{"shared/shared-boxes/anyone/$from", "anyone_shares", "dummy", "", f("from_user", "from")},
		{"shared/roost/owner/$owner", "roost_owners", "value", "", f("owner", "owner")},
		{"shared/roost/box/$owner/$mailbox", "roost_boxes", "acl", "", f("owner", "owner", "mailbox", "mailbox")},
	}
}

// anyKey is a map that takes every key.
func anyKey(table string) []Map {
	return []Map{{"shared/$key", table, "v", String, []Field{{"k", "key", String}}}}
}

func mustOpen(t *testing.T, cfg Config) dict.Dict {
	t.Helper()
	d, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func execute(t *testing.T, cfg Config, text string) {
	t.Helper()
	e, err := openEngine(cfg.Driver, cfg.Connect)
	if err != nil {
		t.Fatal(err)
	}
	defer e.close() //nolint:errcheck // nothing is lost
	if _, err := e.db.ExecContext(t.Context(), text); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
}

// conformance runs the suite on tables of one column for keys.
func conformance(t *testing.T, cfg Config, create string, longest int) {
	n := 0
	dicttest.TestHome(t, dicttest.Home{LongestKey: longest, Fresh: func(t *testing.T) func() dict.Dict {
		cfg := cfg
		n++
		name := fmt.Sprintf("any_%d", n)
		cfg.Maps = anyKey(name)
		execute(t, cfg, fmt.Sprintf(create, name))
		return func() dict.Dict { return mustOpen(t, cfg) }
	}})
}

func TestSQLite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a dict?#%.db")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := Config{Driver: "sqlite", Name: "test", Connect: path}
	conformance(t, cfg, "CREATE TABLE %s (k text PRIMARY KEY, v text)", 0)
	execute(t, cfg, schema(t, "sqlite"))
	cfg.Maps = tables()
	t.Run("ready schema", func(t *testing.T) { testSchema(t, cfg) })
	t.Run("case", func(t *testing.T) {
		testCase(t, cfg, "CREATE TABLE nocase (k text COLLATE NOCASE PRIMARY KEY, v text)")
	})
	t.Run("Dovecot", func(t *testing.T) { testDovecot(t, "sqlite", filepath.Join(t.TempDir(), "dict.db")) })
	t.Run("missing", func(t *testing.T) {
		cfg.Connect += ".not"
		d := mustOpen(t, cfg)
		defer d.Close() //nolint:errcheck // nothing is lost
		_, _, err := d.Get(t.Context(), "shared/roost/owner/alice")
		if _, e := os.Stat(cfg.Connect); err == nil || !strings.Contains(err.Error(), cfg.Connect) || e == nil {
			t.Errorf("a database that is not there: %v", err)
		}
	})
}

func schema(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("../../dist/dict/" + name + ".sql")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// testSchema has all kinds of keys that sharing uses in the tables made for them.
func testSchema(t *testing.T, cfg Config) {
	d := mustOpen(t, cfg)
	defer d.Close() //nolint:errcheck // nothing is lost
	long := dict.Escape(strings.Repeat("a/b\n", 100))
	keys := map[string]string{
		"shared/roost/box/alice/" + long:          "user=bob lr\nanyone l\n",
		"shared/roost/box/alice/Sent":             strings.Repeat("user=x lrs\n", 10000),
		"shared/roost/box/Alice/Sent":             "",
		"shared/roost/owner/alice":                "1",
		"shared/shared-boxes/anyone/alice":        "1",
		"shared/shared-boxes/group/team/alice":    "1",
		"shared/shared-boxes/group/te_m/alice":    "1",
		"shared/shared-boxes/user/bob/alice":      "1",
		"shared/shared-boxes/user/bob /alice":     "1",
		"shared/shared-boxes/user/Bob/a'\\\"%25b": "1",
	}
	var set, unset []dict.Change
	for key, value := range keys {
		set, unset = append(set, dict.Set(key, value)), append(unset, dict.Unset(key))
	}
	if err := d.Commit(t.Context(), set); err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	err := d.Iterate(t.Context(), dict.Root, func(key, value string) error { found[key] = value; return nil })
	if err != nil || fmt.Sprint(found) != fmt.Sprint(keys) {
		t.Errorf("%v, %v", found, err)
	}
	for prefix, want := range map[string]string{
		"shared/shared-boxes/user/bob/": "alice", "shared/shared-boxes/group/te_m/": "alice", "shared/shared-boxes/anyone/": "alice",
		"shared/roost/box/Alice/": "Sent", "shared/roost/nothing/": "", "shared/shared-boxes/user/bo/": "",
	} {
		got := ""
		err := d.Iterate(t.Context(), prefix, func(key, _ string) error { got += strings.TrimPrefix(key, prefix); return nil })
		if err != nil || got != want {
			t.Errorf("below %s: %q, %v; want %q", prefix, got, err, want)
		}
	}
	unmapped := []dict.Change{dict.Unset("shared/roost/owner/alice"), dict.Set("shared/else", "1")}
	if err := d.Commit(t.Context(), unmapped); !errors.Is(err, dict.ErrInvalid) || !strings.Contains(err.Error(), "no map has the key") {
		t.Errorf("a key that no map has: %v", err)
	}
	tooLong := []dict.Change{dict.Unset("shared/roost/owner/alice"), dict.Set("shared/roost/owner/"+strings.Repeat("x", 3900), "1")}
	if err := d.Commit(t.Context(), tooLong); cfg.Driver != "sqlite" && !errors.Is(err, dict.ErrInvalid) {
		t.Errorf("a key that is too long for its column: %v", err)
	}
	if _, ok, err := d.Get(t.Context(), "shared/roost/owner/alice"); cfg.Driver != "sqlite" && (!ok || err != nil) {
		t.Errorf("after a commit that failed: %v, %v", ok, err)
	}
	if err := d.Commit(t.Context(), append(unset, dict.Unset("shared/roost/owner/"+strings.Repeat("x", 3900)))); err != nil {
		t.Fatal(err)
	}
}

// testCase has a table that takes Bob for bob: it is told, and bob's row stays.
func testCase(t *testing.T, cfg Config, create string) {
	execute(t, cfg, create)
	cfg.Maps = anyKey("nocase")
	d := mustOpen(t, cfg)
	defer d.Close() //nolint:errcheck // nothing is lost
	if err := d.Commit(t.Context(), []dict.Change{dict.Set("shared/bob", "1")}); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := d.Get(t.Context(), "shared/Bob"); ok || err != nil {
		t.Errorf("Get of Bob: %v, %v", ok, err)
	}
	for _, change := range []dict.Change{dict.Set("shared/Bob", "2"), dict.Unset("shared/Bob")} {
		err := d.Commit(t.Context(), []dict.Change{change})
		if err == nil || !strings.Contains(err.Error(), "byte by byte") {
			t.Errorf("%+v: %v", change, err)
		}
	}
	if v, ok, err := d.Get(t.Context(), "shared/bob"); v != "1" || !ok || err != nil {
		t.Errorf("bob became %q, %v, %v", v, ok, err)
	}
}

// testDovecot shares the ready tables with doveadm.
func testDovecot(t *testing.T, driver, connect string) {
	cfg := Config{Driver: driver, Name: "test", Connect: connect, Maps: tables()}
	if driver == "sqlite" {
		db, err := sql.Open("sqlite", connect)
		if err != nil {
			t.Fatal(err)
		}
		_, err = db.ExecContext(t.Context(), schema(t, "sqlite"))
		if err = errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile("../../dist/dict/dict-sql.conf")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "connect =") {
			lines[i] = "connect = " + connect
		}
	}
	conf := filepath.Join(t.TempDir(), "dict-sql.conf")
	if err := os.WriteFile(conf, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	peer := dicttest.NewDoveadmBySQL(t, driver+":"+conf)
	d := mustOpen(t, cfg)
	defer d.Close()  //nolint:errcheck // nothing is lost
	peer.Value = "1" // some columns hold one character
	dicttest.TestDovecot(t, d, peer, []string{
		"shared/shared-boxes/user/bob/alice", "shared/shared-boxes/group/a b/é", "shared/shared-boxes/anyone/o'neill", "shared/roost/owner/alice",
		"shared/roost/box/alice/" + dict.Escape("a/b\n%"),
	})
}

func TestPostgres(t *testing.T) {
	t.Parallel()
	s := servertest.Postgres(t)
	connect := func(addr, password string) string {
		host, port, _ := strings.Cut(addr, ":")
		return fmt.Sprintf("host=%s port=%s dbname=roost user=%s password='%s' maxconns=3", host, port, s.User, password)
	}
	cfg := Config{Driver: "pgsql", Name: "test", Connect: connect(s.Addr, s.Password)}
	t.Run("conformance", func(t *testing.T) {
		conformance(t, cfg, `CREATE TABLE %s (k text COLLATE "C" PRIMARY KEY, v text)`, 2000)
	})
	execute(t, cfg, schema(t, "pgsql"))
	cfg.Maps = tables()
	t.Run("ready schema", func(t *testing.T) { testSchema(t, cfg) })
	t.Run("case", func(t *testing.T) {
		testCase(t, cfg, `CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
			CREATE TABLE nocase (k text COLLATE ci PRIMARY KEY, v text)`)
	})
	t.Run("Dovecot", func(t *testing.T) { testDovecot(t, "pgsql", strings.ReplaceAll(cfg.Connect, " maxconns=3", "")) })
	t.Run("others announce too", func(t *testing.T) { testAnnounced(t, cfg, s) })
	t.Run("login", func(t *testing.T) { testLogin(t, cfg, s, connect) })
	t.Run("faults", func(t *testing.T) {
		execute(t, cfg, "CREATE TABLE faults (k text PRIMARY KEY, v text)")
		testFaults(t, cfg, s, connect)
	})
}

func TestMariaDB(t *testing.T) {
	t.Parallel()
	s := servertest.MariaDB(t)
	connect := func(addr, password string) string {
		host, port, _ := strings.Cut(addr, ":")
		return fmt.Sprintf("host=%s port=%s dbname=roost user=%s password='%s'", host, port, s.User, password)
	}
	cfg := Config{Driver: "mysql", Name: "test", Connect: connect(s.Addr, s.Password)}
	t.Run("conformance", func(t *testing.T) {
		conformance(t, cfg, `CREATE TABLE %s (k varbinary(3000) PRIMARY KEY, v mediumblob)`, 3000)
	})
	for _, statement := range strings.SplitAfter(schema(t, "mysql"), ";\n") {
		if strings.TrimSpace(statement) != "" {
			execute(t, cfg, statement)
		}
	}
	cfg.Maps = tables()
	t.Run("ready schema", func(t *testing.T) { testSchema(t, cfg) })
	t.Run("case", func(t *testing.T) {
		testCase(t, cfg, `CREATE TABLE nocase (k varchar(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci PRIMARY KEY, v text)`)
	})
	t.Run("login", func(t *testing.T) { testLogin(t, cfg, s, connect) })
	t.Run("faults", func(t *testing.T) {
		execute(t, cfg, "CREATE TABLE faults (k varbinary(200) PRIMARY KEY, v mediumblob)")
		testFaults(t, cfg, s, connect)
	})
}

func testFaults(t *testing.T, cfg Config, s *servertest.Server, connect func(addr, password string) string) {
	cfg.Maps = anyKey("faults")
	dicttest.TestFaults(t, dicttest.Remote{Server: s, Addr: s.Addr, Open: func(t *testing.T, addr string, timeout time.Duration) dict.Dict {
		cfg := cfg
		cfg.Connect, cfg.Timeout = connect(addr, s.Password), timeout
		return mustOpen(t, cfg)
	}})
}

func testLogin(t *testing.T, cfg Config, s *servertest.Server, connect func(addr, password string) string) {
	const wrong = "nobody shall see"
	cfg.Connect = connect(s.Addr, wrong)
	d := mustOpen(t, cfg)
	defer d.Close() //nolint:errcheck // nothing is lost
	_, _, err := d.Get(t.Context(), "shared/roost/owner/alice")
	if err == nil || !strings.Contains(err.Error(), s.Addr) || strings.Contains(err.Error(), wrong) {
		t.Errorf("wrong password: %v", err)
	}
}

// testAnnounced has a mirror hear at once of what another program writes.
func testAnnounced(t *testing.T, cfg Config, s *servertest.Server) {
	d := mustOpen(t, cfg)
	defer d.Close() //nolint:errcheck // nothing is lost
	m := dict.NewMirror(d, dict.MirrorOptions{Every: time.Hour})
	defer m.Close()
	if _, _, err := m.Get(t.Context(), "shared/shared-boxes/user/x/y"); err != nil {
		t.Fatal(err)
	}
	for i := 0; ; i++ {
		changed := m.Changed()
		if err := s.SQL(t, fmt.Sprintf("insert into user_shares (from_user, to_user) values ('y%d', 'x')", i)); err != nil {
			t.Fatal(err)
		}
		select {
		case <-changed:
			return
		case <-time.After(time.Second): // it may not listen yet
			if i > 20 {
				t.Fatal("nothing was announced")
			}
		}
	}
}
