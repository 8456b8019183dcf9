package roost

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const modulePath = "github.com/roost-mail/roost/"

// layers says which of our packages each package may import, tests excepted:
// downwards only. A package without a row fails the test, so that this table
// stays the picture of docs/architecture.md.
var layers = map[string][]string{
	"imap":            {},
	"message":         {"imap"},
	"imapwire":        {"imap"},
	"sasl":            {"imap"},
	"auth":            {"imap", "sasl"},
	"tlsconn":         {},
	"idle":            {},
	"haproxy":         {},
	"metric":          {},
	"tlsconn/tlstest": {},
	"porttest":        {},
	"config":          {"imap", "tlsconn"},

	"mailbox":             {"imap"},
	"mailbox/mailboxmem":  {"imap", "mailbox", "message"},
	"mailbox/mailboxtest": {"imap", "mailbox"},

	"dict":                       {"imap"},
	"dict/dictfile":              {"imap", "dict"},
	"dict/dictfs":                {"dict"},
	"dict/dictsql":               {"dict"},
	"dict/dictredis":             {"dict"},
	"dict/dictetcd":              {"dict"},
	"dict/dicttest":              {"imap", "dict"},
	"dict/servertest":            {"porttest"},
	"cluster":                    {"imap", "metric"},
	"cluster/coordmem":           {"cluster"},
	"cluster/coordetcd":          {"cluster"},
	"cluster/coordetcd/etcdtest": {"porttest"},
	"cluster/coordetcd/member":   {},
	"cluster/coordtest":          {"cluster"},
	"scenario":                   {"imap", "cluster"},
	"health":                     {"imap", "imapclient", "imapwire", "cluster", "tlsconn"},

	"store":           {"imap", "mailbox", "message", "metric"},
	"acl":             {"imap", "mailbox"},
	"acl/acltest":     {},
	"share":           {"imap", "mailbox", "acl", "dict"},
	"imapclient":      {"imap", "imapwire", "metric", "tlsconn"},
	"remote":          {"imap", "mailbox", "message", "imapclient", "imapwire", "sasl"},
	"overlay":         {"imap", "mailbox"},
	"namespace":       {"imap", "mailbox"},
	"moving":          {"imap", "mailbox"},
	"audit":           {},
	"trust":           {"imap", "sasl", "cluster"},
	"imapserver":      {"imap", "imapwire", "mailbox", "metric", "sasl", "tlsconn", "idle"},
	"director":        {"imap", "imapwire", "imapclient", "imapserver", "cluster", "sasl", "tlsconn", "idle"},
	"admin":           {"imap", "mailbox", "acl", "cluster"},
	"admin/adminhttp": {"imap", "admin"},
	"admin/admintest": {"imap", "cluster", "cluster/coordmem", "admin"},

	// cmd stacks them all.
	"cmd/roost": {"*"},
}

func TestLayers(t *testing.T) {
	seen := map[string]bool{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		pkg := filepath.ToSlash(filepath.Dir(path))
		if pkg == "." {
			return nil
		}
		seen[pkg] = true
		checkImports(t, path, pkg)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for pkg := range layers {
		if !seen[pkg] {
			t.Errorf("layers has a row for %s, which does not exist", pkg)
		}
	}
}

func checkImports(t *testing.T, path, pkg string) {
	allowed, known := layers[pkg]
	if !known {
		t.Errorf("%s: package %s has no row in layers", path, pkg)
		return
	}
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
	if err != nil {
		t.Errorf("%s: %v", path, err)
		return
	}
	for _, spec := range file.Imports {
		name, _ := strconv.Unquote(spec.Path.Value)
		ours, is := strings.CutPrefix(name, modulePath)
		if is && !slices.Contains(allowed, ours) && !slices.Contains(allowed, "*") {
			t.Errorf("%s: %s may not import %s", path, pkg, ours)
		}
	}
}
