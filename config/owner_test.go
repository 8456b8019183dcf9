package config

import (
	"strings"
	"testing"
)

func TestOwnerTemplateMatch(t *testing.T) {
	for _, c := range []struct{ prefix, reader, name, owner, rest string }{
		{"shared/%u/", "bob", "shared/alice/Work", "alice", "Work"},
		{"shared/%u/", "bob", "shared/alice/Work/2026", "alice", "Work/2026"},
		{"shared/%u/", "bob", "shared/alice/", "alice", ""},
		{"shared/%u/", "bob", "shared/alice", "alice", ""},
		{"shared/%u/", "bob", "shared/alice@example.com/INBOX", "alice@example.com", "INBOX"},
		{"shared/%u/", "bob", "shared/bob/x", "bob", "x"},
		{"shared/%n/", "bob@x", "shared/alice/Work", "alice@x", "Work"},
		{"shared/%n/", "bob", "shared/alice/Work", "alice", "Work"},
		{"shared/%d/%n/", "bob@x", "shared/y/alice/Work", "alice@y", "Work"},
		{"shared/%n@%d/", "bob@x", "shared/alice@y/Work", "alice@y", "Work"},
		{"~%u/", "bob", "~alice/Work", "alice", "Work"},
		{"user/%u mail/", "bob", "user/alice mail/Work", "alice", "Work"},
		{"user/%u mail/", "bob", "user/alice mail", "alice", ""},
		{"%u/", "bob", "alice/Work", "alice", "Work"},
	} {
		tmpl, err := ParseOwnerTemplate(c.prefix, "/", c.reader)
		if err != nil {
			t.Fatalf("ParseOwnerTemplate(%q): %v", c.prefix, err)
		}
		owner, rest, ok := tmpl.Match(c.name)
		if !ok || owner != c.owner || rest != c.rest {
			t.Errorf("%s: Match(%q) = %q, %q, %v; want %q, %q", c.prefix, c.name, owner, rest, ok, c.owner, c.rest)
		}
	}
}

func TestOwnerTemplateNoMatch(t *testing.T) {
	for _, c := range []struct{ prefix, name string }{
		{"shared/%u/", ""},
		{"shared/%u/", "shared"},
		{"shared/%u/", "shared/"},
		{"shared/%u/", "shared//Work"},
		{"shared/%u/", "shared/@example.com/Work"},
		{"shared/%u/", "Shared/alice/Work"},
		{"shared/%u/", "INBOX"},
		{"shared/%d/%n/", "shared/example.com"},
		{"shared/%d/%n/", "shared/example.com/"},
		{"shared/%d/%n/", "shared//alice/Work"},
		{"shared/%n/", "shared/alice@evil/Work"},
		{"user/%u mail/", "user/alice/Work"},
		{"user/%u mail/", "user/alice mailbox/Work"},
	} {
		tmpl, err := ParseOwnerTemplate(c.prefix, "/", "bob@x")
		if err != nil {
			t.Fatalf("ParseOwnerTemplate(%q): %v", c.prefix, err)
		}
		if owner, rest, ok := tmpl.Match(c.name); ok {
			t.Errorf("%s: Match(%q) = %q, %q; want none", c.prefix, c.name, owner, rest)
		}
	}
}

func TestOwnerTemplatePrefix(t *testing.T) {
	for _, c := range []struct{ prefix, reader, owner, want, root string }{
		{"shared/%u/", "bob", "alice", "shared/alice/", "shared/"},
		{"shared/%u/", "bob", "alice@y", "shared/alice@y/", "shared/"},
		{"shared/%d/%n/", "bob", "alice@y", "shared/y/alice/", "shared/"},
		{"shared/%n/", "bob@x", "alice@x", "shared/alice/", "shared/"},
		{"shared/%n/", "bob@x", "alice@y", "", "shared/"}, // of another domain
		{"shared/%n/", "bob@x", "alice", "", "shared/"},
		{"shared/%d/%n/", "bob", "alice", "", "shared/"}, // without a domain
		{"shared/%u/", "bob", "al/ice", "", "shared/"},
		{"shared/%u/", "bob", "", "", "shared/"},
		{"other.%u/", "bob", "alice", "other.alice/", ""},
	} {
		tmpl, err := ParseOwnerTemplate(c.prefix, "/", c.reader)
		if err != nil {
			t.Fatalf("ParseOwnerTemplate(%q): %v", c.prefix, err)
		}
		if got := tmpl.Prefix(c.owner); got != c.want {
			t.Errorf("%s: Prefix(%q) = %q, want %q", c.prefix, c.owner, got, c.want)
		}
		if got := tmpl.Root(); got != c.root {
			t.Errorf("%s: Root() = %q, want %q", c.prefix, got, c.root)
		}
	}
}

func TestOwnerTemplateErrors(t *testing.T) {
	for _, c := range []struct {
		prefix string
		want   error
	}{
		{"shared/", errNoVariable},
		{"shared/%h/", errUnknownVar},
		{"shared/%Lu/", errUnknownVar},
		{"shared/%", errUnknownVar},
		{"shared/%d/", errNoOwner},
		{"shared/%u", errNoSeparator},
		{"shared/%u.", errNoSeparator},
		{"shared/%u/%u/", errVarTwice},
		{"shared/%d/%u/", errVarTwice},
		{"shared/%n%d/", errAdjacent},
	} {
		if _, err := ParseOwnerTemplate(c.prefix, "/", "bob"); err != c.want {
			t.Errorf("ParseOwnerTemplate(%q) = %v, want %v", c.prefix, err, c.want)
		}
	}
}

// TestNamespaceTemplate goes the whole way of the document's prefix: one
// expansion for the reader, then the owner.
func TestNamespaceTemplate(t *testing.T) {
	s := mustLoad(t, "testdata/document.conf")
	ns := &s.Namespaces[1]
	if !ns.IsTemplate() {
		t.Fatal("the document's namespace is no template")
	}
	tmpl, err := ns.OwnerTemplate(&Vars{User: "bob"})
	if err != nil {
		t.Fatal(err)
	}
	if owner, rest, ok := tmpl.Match("shared/someone2/shared_mailbox"); owner != "someone2" || rest != "shared_mailbox" || !ok {
		t.Errorf("Match = %q, %q, %v", owner, rest, ok)
	}
	master, err := Expand(ns.Imapc.MasterUser, &Vars{User: "bob"})
	if master != "bob" || err != nil {
		t.Errorf("imapc_master_user for bob is %q, %v", master, err)
	}
	loc, err := ParseLocation(ns.Location)
	if err != nil || loc.Driver != "imapc" || loc.Path != "~/shared/%%u" || loc.IndexPvt != "~/shared-pvt/%%u" {
		t.Errorf("ParseLocation = %+v, %v", loc, err)
	}
}

// FuzzOwnerTemplate: what Prefix names, Match finds again; what Match finds is
// an owner whom Prefix can name.
func FuzzOwnerTemplate(f *testing.F) {
	f.Add("shared/%u/", "/", "bob", "shared/alice/Work")
	f.Add("shared/%d/%n/", "/", "bob@x", "shared/y/alice")
	f.Add("shared.%n@%d.", ".", "bob@x", "shared.alice@y.Work.x")
	f.Add("user/%u mail/", "/", "", "user/alice mail")
	f.Fuzz(func(t *testing.T, prefix, sep, reader, name string) {
		tmpl, err := ParseOwnerTemplate(prefix, sep, reader)
		if err != nil {
			return
		}
		if p := tmpl.Prefix(name); p != "" {
			if owner, rest, ok := tmpl.Match(p + "x"); !ok || owner != name || rest != "x" {
				t.Errorf("Match(Prefix(%q)+x) = %q, %q, %v", name, owner, rest, ok)
			}
		}
		owner, rest, ok := tmpl.Match(name)
		if !ok {
			return
		}
		if owner == "" || strings.HasPrefix(owner, "@") {
			t.Errorf("Match(%q) gives the owner %q", name, owner)
		}
		if !strings.HasSuffix(name, rest) {
			t.Errorf("Match(%q) gives the rest %q", name, rest)
		}
	})
}

func TestForeign(t *testing.T) {
	target := func(host string, port int) Imapc { return Imapc{Host: host, Port: port} }
	shared := func(im Imapc) Namespace { return Namespace{Type: "shared", Prefix: "shared/%%u/", Imapc: im} }
	for _, row := range []struct {
		name    string
		global  Imapc
		first   Imapc
		second  Imapc
		foreign [2]bool
	}{
		{"one target", target("a", 143), target("a", 143), target("a", 143), [2]bool{}},
		{"another host", target("a", 143), target("a", 143), target("b", 143), [2]bool{false, true}},
		{"another port", target("a", 143), target("a", 143), target("a", 144), [2]bool{false, true}},
		{"both others", target("a", 143), target("b", 143), target("c", 143), [2]bool{true, true}},
		{"none outside", target("", 143), target("b", 143), target("c", 143), [2]bool{false, true}},
	} {
		s := Settings{Imapc: row.global, Namespaces: []Namespace{{Type: "private"}, shared(row.first), shared(row.second)}}
		if got := [2]bool{s.Foreign(&s.Namespaces[1]), s.Foreign(&s.Namespaces[2])}; got != row.foreign {
			t.Errorf("%s: %v, want %v", row.name, got, row.foreign)
		}
	}
}

func TestPublicAccount(t *testing.T) {
	ns := Namespace{Name: "public", Imapc: Imapc{User: "everybody's"}}
	if got := ns.PublicAccount(); got != "public" {
		t.Errorf("without imapc_user in the namespace: %q", got)
	}
	ns.own = map[string]bool{"imapc_user": true}
	if got := ns.PublicAccount(); got != "everybody's" {
		t.Errorf("with imapc_user in the namespace: %q", got)
	}
}
