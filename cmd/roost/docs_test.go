package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/roost-mail/roost/config"
)

// TestDocumentedConfigurations loads every example of the documents.
func TestDocumentedConfigurations(t *testing.T) {
	docs, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	example := regexp.MustCompile("(?s)```\n# (roost-[a-z]+\\.conf)\n(.*?)```")
	found := 0
	for _, doc := range docs {
		text, err := os.ReadFile(doc)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range example.FindAllStringSubmatch(string(text), -1) {
			found++
			path := filepath.Join(t.TempDir(), m[1])
			if err := os.WriteFile(path, []byte(m[2]), 0o600); err != nil {
				t.Fatal(err)
			}
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
