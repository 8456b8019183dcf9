package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/roost-mail/roost/config"
	"github.com/roost-mail/roost/tlsconn/tlstest"
)

// TestDocumentedConfigurations loads every example of the documents.
func TestDocumentedConfigurations(t *testing.T) {
	docs, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	example := regexp.MustCompile("(?s)```\n# (roost-[a-z]+\\.conf)\n(.*?)```")
	found, director, backend := 0, "", ""
	for _, doc := range docs {
		text, err := os.ReadFile(doc)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range example.FindAllStringSubmatch(string(text), -1) {
			found++
			switch m[1] {
			case "roost-director.conf":
				director = m[2]
			case "roost-backend.conf":
				backend = m[2]
			case "roost-tls.conf": // it is a part of the director's
				m[2] = director + m[2]
			case "roost-public.conf": // and this of a backend's
				m[2] = backend + m[2]
			}
			path := filepath.Join(t.TempDir(), m[1])
			if err := os.WriteFile(path, []byte(m[2]), 0o600); err != nil {
				t.Fatal(err)
			}
			writeNamedCertificates(t, path, m[2])
			_, warnings, err := config.Load(path)
			if err != nil {
				t.Errorf("%s: %s: %v", doc, m[1], err)
			}
			for _, w := range warnings {
				if !strings.Contains(w.Text, "password") { // one shared password is what the document asks for
					t.Errorf("%s: %s: warning: %s", doc, m[1], w)
				}
			}
		}
	}
	if found < 2 {
		t.Errorf("only %d examples found", found)
	}
}

// writeNamedCertificates makes the files that a configuration names as <HOST.pem
// and <HOST.key.
func writeNamedCertificates(t *testing.T, conf, text string) {
	t.Helper()
	ca := tlstest.New(t)
	for _, m := range regexp.MustCompile(`<(\S+)\.pem`).FindAllStringSubmatch(text, -1) {
		pair := ca.Valid(t, m[1])
		for ext, text := range map[string]string{".pem": pair.Cert, ".key": pair.Key} {
			if err := os.WriteFile(filepath.Join(filepath.Dir(conf), m[1]+ext), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestDocumentedMessages: the messages of docs/operations.md are in the program. "…"
// stands for what differs; what Go's libraries say is not looked for.
func TestDocumentedMessages(t *testing.T) {
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	var source strings.Builder
	for _, dir := range []string{".", "../../admin", "../../admin/adminhttp", "../../cluster", "../../auth", "../../cluster/coordetcd/member", "../../config", "../../dict", "../../director", "../../health", "../../haproxy", "../../imapserver", "../../namespace", "../../remote", "../../share", "../../store", "../../tlsconn"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			code, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			source.Write(code)
		}
	}
	libraries := regexp.MustCompile(`no such file or directory|connection refused|certificate has expired or|certificate signed by|bind: address|no space left`)
	rows := regexp.MustCompile("(?m)^\\| (`[^|]+) \\|").FindAllStringSubmatch(string(text), -1)
	if len(rows) < 40 {
		t.Errorf("only %d rows found", len(rows))
	}
	said := regexp.MustCompile("`([^`/]+)`")                // paths aside
	between := regexp.MustCompile(`\s*(…| reason="|"$)\s*`) // what differs, and an attribute of a line
	for _, row := range rows {
		for _, message := range said.FindAllStringSubmatch(row[1], -1) {
			for _, part := range between.Split(message[1], -1) {
				if !libraries.MatchString(part) && !strings.Contains(source.String(), part) {
					t.Errorf("%s: nothing says %q", message[1], part)
				}
			}
		}
	}
}

// TestSharingDocument runs the examples of docs/sharing.md, one after the other.
func TestSharingDocument(t *testing.T) {
	text, err := os.ReadFile("../../docs/sharing.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := regexp.MustCompile("(?s)```transcript\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(examples) < 3 {
		t.Fatalf("only %d examples found", len(examples))
	}
	var all strings.Builder
	for _, m := range examples {
		all.WriteString(m[1])
	}
	path := filepath.Join(t.TempDir(), "sharing.md")
	if err := os.WriteFile(path, []byte(all.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	runTranscript(t, startTeams(t, ""), path)
}
