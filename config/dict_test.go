package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseDict(t *testing.T) {
	for _, c := range []struct{ text, driver, path string }{
		{"", "", ""},
		{"file:/srv/shared", "file", "/srv/shared"},
		{"file:~/shared", "file", "~/shared"},
		{"file:/srv/shared:lock=flock", "file", "/srv/shared"},
		{"fs:posix:prefix=/srv/d/", "fs", ""},
		{"redis:host=127.0.0.1:port=6379:prefix=x/", "redis", ""},
		{"redis:host=[2001:db8::1]:port=6379", "redis", ""},
		{"etcd:", "etcd", ""},
		{"etcd://a,b:1/p", "etcd", ""},
		{"proxy::acl", "proxy", ""},
		{"proxy:dict-sock:acl", "proxy", ""},
		{"mysql:/etc/x", "mysql", "/etc/x"},
	} {
		if got, err := parseDict(c.text); err != nil || got.Driver != c.driver || got.Path != c.path {
			t.Errorf("parseDict(%q) = %+v, %v", c.text, got, err)
		}
	}
	for _, text := range []string{
		"/srv/x", "fs:sis:prefix=/srv/", "fs:posix:prefx=/srv/", "proxy::", "mysql:x", "redis:hots=x", "redis:host=x:expire_secs=1",
		"file:", "file:x", "file:/x:lock=no", "etcd://", "etcd://a:b:c", "cdb:/x",
	} {
		if got, err := parseDict(text); err == nil {
			t.Errorf("parseDict(%q) = %+v, want an error", text, got)
		}
	}
	if got := fmt.Sprint(Dict{URI: "redis:password=x:host=y"}, Dict{URI: "redis:host=y:password=x"}); strings.Contains(got, "=x") {
		t.Errorf("a password is shown: %s", got)
	}
}

const aclConf = "mail_plugins = acl\nplugin {\n  acl = vfile\n  acl_shared_dict = %s\n}\ndict {\n  acl = %s\n}\n"

func loadDict(t *testing.T, uri, named, file string) (Dict, string) {
	t.Helper()
	dir := t.TempDir()
	conf, sql := filepath.Join(dir, "roost.conf"), filepath.Join(dir, "sql.conf")
	text := fmt.Sprintf(aclConf, uri, strings.ReplaceAll(named, "SQL", sql))
	for name, text := range map[string]string{conf: text, sql: file} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, _, err := Load(conf)
	if err != nil {
		return Dict{}, strings.ReplaceAll(err.Error(), dir+"/", "")
	}
	return s.ACL.SharedDict, ""
}

// The ready file is read as it is meant.
func TestSQLDict(t *testing.T) {
	text, err := os.ReadFile("../dist/dict/dict-sql.conf")
	if err != nil {
		t.Fatal(err)
	}
	d, problems := loadDict(t, "proxy::acl", "pgsql:SQL", string(text))
	if problems != "" {
		t.Fatal(problems)
	}
	if d.Driver != "pgsql" || d.Name != "acl" || len(d.SQL.Maps) != 5 || d.SQL.Connect != "host=127.0.0.1 dbname=roost user=roost password=secret" {
		t.Errorf("%+v", d)
	}
	m := d.SQL.Maps[0]
	if got := fmt.Sprint(m.Pattern, m.Table, m.ValueField, m.Columns, m.Variables); got != "shared/shared-boxes/user/$to/$from"+"user_shares"+"dummy"+"[from_user to_user] [from to]" {
		t.Error(got)
	}
}

func TestDictProblems(t *testing.T) {
	all := "connect = x\nmap {\n pattern = shared/$k\n table = t\n value_field = v\n fields {\n  k = $k\n }\n}\n"
	for _, row := range []struct{ uri, named, file, want string }{
		{"proxy::acl", "sqlite:SQL", all, ""},
		{"proxy::acl", "sqlite:SQL", "map {\n pattern = priv/x\n table = t\n value_field = v\n username_field = u\n}\n" + all, ""},
		{"proxy::acl", "sqlite:SQL", strings.Replace(all, "$k\n }", "${hexblob:k}\n }", 1), ""},
		{"sqlite:/nowhere", "x", "", "roost.conf:4: dict: cannot read /nowhere"},
		{"proxy::other", "sqlite:SQL", "", `roost.conf:4: plugin/acl_shared_dict: the block dict has no "other"`},
		{"proxy::acl", "proxy::acl", "", "roost.conf:7: dict: acl: "},
		{"proxy::acl", "oracle:/x", "", `roost.conf:7: dict: acl: "oracle" is no kind of dictionary`},
		{"etcd:", "x", "", "roost.conf:4: plugin/acl_shared_dict: etcd: without a cluster"},
		{"redis:hots=x", "x", "", `roost.conf:4: plugin/acl_shared_dict: the option "hots" is not known`},
		{"proxy::acl", "sqlite:SQL", strings.TrimPrefix(all, "connect = x\n"), "sql.conf:1: connect is missing"},
		{"proxy::acl", "sqlite:SQL", "connect = x\n", "sql.conf:1: there is no map"},
		{"proxy::acl", "sqlite:SQL", all + "map {\n", "sql.conf:10: the block that begins here"},
		{"proxy::acl", "sqlite:SQL", all + "}\n", `sql.conf:10: "}" without a block`},
		{"proxy::acl", "sqlite:SQL", all + "mop {\n", "sql.conf:10: mop: no such block"},
		{"proxy::acl", "sqlite:SQL", all + "driver = x\n", "sql.conf:10: driver: there is no such setting"},
		{"proxy::acl", "sqlite:SQL", all + "!include x\n", "sql.conf:10: files can't be included"},
		{"proxy::acl", "sqlite:SQL", strings.Replace(all, "= $k\n", "= k\n", 1), "sql.conf:7: k: "},
		{"proxy::acl", "sqlite:SQL", strings.Replace(all, "shared/$k", "shared/$x", 1), "sql.conf:9: pattern: no field has the variable $x"},
		{"proxy::acl", "sqlite:SQL", strings.Replace(all, "shared/$k", "shared/k", 1), "sql.conf:9: k: the variable $k is not in the pattern"},
		{"proxy::acl", "sqlite:SQL", strings.Replace(all, "shared/$k", "k/$k", 1), "sql.conf:9: pattern: "},
		{"proxy::acl", "sqlite:SQL", strings.Replace(all, " table = t\n", "", 1), "sql.conf:8: the map that ends here has no table"},
		{"proxy::acl", "sqlite:SQL", strings.Replace(all, "shared/$k", "shared/shared-boxes/$k", 1), "sql.conf:1: no map has the key shared/roost/owner/OWNER"},
		{"proxy::acl", "sqlite:SQL", strings.Replace(all, " table", " expire_field = e\n table", 1), "sql.conf:4: expire_field: refused"},
	} {
		if _, got := loadDict(t, row.uri, row.named, row.file); !strings.Contains(got, row.want) || (got == "") != (row.want == "") {
			t.Errorf("%s, %s:\n%s%s\nwant %s", row.uri, row.named, row.file, got, row.want)
		}
	}
}

// With a coordinator the coordinator's etcd is the default.
func TestDefaultDict(t *testing.T) {
	conf := filepath.Join(t.TempDir(), "roost.conf")
	for text, want := range map[string]string{
		"cluster = etcd://a,b/site\nmail_volume = /srv\nmail_plugins = acl\n": "etcd [a:2379 b:2379] /site-dict/",
		"cluster = etcd://a,b/site\nmail_volume = /srv\n":                     " [] ",
		"mail_plugins = acl\n": " [] ",
		"mail_plugins = acl\nplugin {\n acl_shared_dict = etcd://c/x\n}\n":                  "etcd [c:2379] /x/",
		"cluster = etcd://a\nmail_volume = /srv\nplugin {\n acl_shared_dict = file:/x\n}\n": "file [] ",
	} {
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s, _, err := Load(conf)
		if err != nil {
			t.Fatal(err)
		}
		d := s.ACL.SharedDict
		if got := fmt.Sprint(d.Driver, " ", d.Endpoints, " ", d.Prefix); got != want {
			t.Errorf("%s: %s; want %s", text, got, want)
		}
	}
}
