package dictsql

import (
	"strings"
	"testing"

	"github.com/roost-mail/roost/dict"
)

func TestCheck(t *testing.T) {
	f := func(column, variable string) []Field { return []Field{{Column: column, Variable: variable}} }
	for _, row := range []struct {
		m    Map
		want string // in the error; "" for none
	}{
		{Map{"shared/$a", "t", "v", "", f("a", "a")}, ""},
		{Map{"shared/${a}", "s.t", "v", Int, f("a", "a")}, ""},
		{Map{"shared/x/$a_1/y", "t", "v", "", f("a", "a_1")}, ""},
		{Map{"shared/x", "t", "v", "", nil}, ""},
		{Map{"priv/$a", "t", "v", "", f("a", "a")}, "does not begin"},
		{Map{"shared/$a", "t", "v", "", nil}, "no field has the variable $a"},
		{Map{"shared/x", "t", "v", "", f("a", "a")}, "not in the pattern"},
		{Map{"shared/$a$b", "t", "v", "", []Field{{"a", "a", ""}, {"b", "b", ""}}}, "side by side"},
		{Map{"shared/$a-x", "t", "v", "", f("a", "a")}, "end at a slash"},
		{Map{"shared/$", "t", "v", "", nil}, "no name"},
		{Map{"shared/$a", "t; drop table t", "v", "", f("a", "a")}, "not the name"},
		{Map{"shared/$a", "t", "v, w", "", f("a", "a")}, "not the name"},
		{Map{"shared/$a", "t", "v", "", f("a = a or b", "a")}, "not the name"},
		{Map{"shared/$a", "t", "v", "double", f("a", "a")}, "not a type"},
	} {
		_, err := row.m.compile()
		if (err == nil) != (row.want == "") || err != nil && !strings.Contains(err.Error(), row.want) {
			t.Errorf("%+v: %v; want %q", row.m, err, row.want)
		}
	}
}

func TestMatch(t *testing.T) {
	m, err := compile(tables()[:1])
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"shared/shared-boxes/user/bob/alice": "bob,alice", "shared/shared-boxes/user/bob/a/b": "bob,a/b", "shared/shared-boxes/user//": ",",
		"shared/shared-boxes/user/bob": "-", "shared/shared-boxes/group/a/b": "-", "shared/shared-boxes/user": "-",
	} {
		values, ok := m[0].match(key)
		if got := strings.Join(values, ","); ok != (want != "-") || ok && got != want {
			t.Errorf("match %s: %q, %v; want %s", key, got, ok, want)
		}
		if ok && m[0].key(values) != key {
			t.Errorf("%s became %s", key, m[0].key(values))
		}
	}
	for prefix, want := range map[string]string{
		"shared/": "|", "shared/shared-boxes/user/": "|", "shared/shared-boxes/user/bob/": "bob|", "shared/shared-boxes/user/bob/a/": "bob|a/",
		"shared/shared-boxes/group/": "-", "shared/x/": "-",
	} {
		values, rest, ok := m[0].begin(prefix)
		if got := strings.Join(values, ",") + "|" + rest; ok != (want != "-") || ok && got != want {
			t.Errorf("begin %s: %q, %v; want %s", prefix, got, ok, want)
		}
	}
}

func TestTypes(t *testing.T) {
	for _, row := range []struct {
		kind Type
		text string
		ok   bool
	}{
		{Int, "-5", true},
		{Int, "+5", false},
		{Int, "05", false},
		{Int, "x", false},
		{Uint, "-5", false},
		{Uint, "7", true},
		{Hexblob, "00ff", true},
		{Hexblob, "0", false},
		{String, "x", true},
	} {
		if _, err := (column{"c", row.kind}).bind(row.text); (err == nil) != row.ok {
			t.Errorf("%s %q: %v", row.kind, row.text, err)
		}
	}
}

func TestConnect(t *testing.T) {
	for _, row := range []struct {
		driver, connect string
		ok              bool
	}{
		{"pgsql", "host=/run/postgresql dbname=x user=y", true},
		{"pgsql", "host=a host=b dbname=x password='a b' sslmode=require", true},
		{"pgsql", "host=a dbname", false},
		{"mysql", "host=a host=/run/mysqld.sock dbname=x user=y password=z connect_timeout=5", true},
		{"mysql", "host=a", false},
		{"mysql", "host=a dbname=x colour=red", false},
		{"mysql", "host=a dbname=x ssl_ca=/nowhere", false},
		{"sqlite", "/var/lib/x.db", true},
		{"sqlite", "x.db", false},
		{"cassandra", "host=a", false},
	} {
		e, err := openEngine(row.driver, row.connect)
		if (err == nil) != row.ok {
			t.Errorf("%s %s: %v", row.driver, row.connect, err)
		}
		if err == nil {
			_ = e.close()
		}
	}
	_, err := openEngine("pgsql", "host=a password=sesame port=x")
	if err == nil || strings.Contains(err.Error(), "sesame") {
		t.Errorf("an error with the password: %v", err)
	}
}

// Whatever a pattern matches comes back as it was.
func FuzzPattern(f *testing.F) {
	f.Add("shared/$a/x/$b", "shared/1/x/2")
	f.Add("shared/${a}", "shared/1/2/3")
	f.Fuzz(func(t *testing.T, pattern, key string) {
		maps, err := compile([]Map{{pattern, "t", "v", "", []Field{{"a", "a", ""}, {"b", "b", ""}}}, {pattern, "t", "v", "", []Field{{"a", "a", ""}}}}[1:])
		if err != nil || dict.CheckKey(key) != nil {
			return
		}
		m := maps[0]
		if values, ok := m.match(key); ok {
			if back := m.key(values); back != key {
				t.Fatalf("%s: %q became %q", pattern, key, back)
			}
			if i := strings.LastIndexByte(key[:len(key)-1], '/'); i >= 0 {
				if _, _, ok := m.begin(key[:i+1]); !ok {
					t.Fatalf("%s: %q is not below its beginning", pattern, key)
				}
			}
		}
	})
}

func FuzzConnect(f *testing.F) {
	f.Add("host=a password='x y\\'' dbname=b")
	f.Fuzz(func(t *testing.T, s string) {
		pairs, err := parseConnect(s)
		if err == nil && len(pairs) > len(s) {
			t.Fatal(pairs)
		}
	})
}
