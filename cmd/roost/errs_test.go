package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestWhereDovecotErrs runs the sections of testdata/dovecot-errs.txt: where following
// Dovecot's document leads to wrong answers, with the right ones. It is a transcript with more
// kinds of lines: `roost: NODE ...` runs a command for a node, `write FILE TEXT` makes a file in
// the cluster's folder and `absent FILE` says that there is none. Sections that configure the backends
// have a cluster of their own.
func TestWhereDovecotErrs(t *testing.T) {
	t.Parallel()
	const path = "testdata/dovecot-errs.txt"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	common := startRig(t, "rig")
	parts := regexp.MustCompile(`(?m)^== `).Split(string(text), -1)
	at := 1 + strings.Count(parts[0], "\n")
	for _, part := range parts[1:] {
		name, section, _ := strings.Cut(part, "\n")
		t.Run(name, func(t *testing.T) {
			r := common
			if strings.Contains(section, "\n#be ") || strings.HasPrefix(section, "#be ") {
				r = startRigWith(t, "rig", func(r *rig) { configureRights(t, r, section) })
			}
			tr := &transcript{t: t, w: administered{r}, sessions: map[string]*imapConn{}, file: path, line: at}
			tr.section(section)
		})
		at += strings.Count(part, "\n")
	}
}

// section runs lines.
func (tr *transcript) section(text string) {
	defer func() {
		for _, c := range tr.sessions {
			c.close()
		}
	}()
	for line := range strings.Lines(text) {
		tr.line++
		tr.run(strings.TrimRight(line, "\n"))
	}
}

// administered is a rig whose files are looked at and made.
type administered struct{ *rig }

func (w administered) administer(command string) string { return w.roost(command) }

func (w administered) do(t *testing.T, words []string) {
	t.Helper()
	path := filepath.Join(w.root, words[1])
	switch words[0] {
	case "write":
		text := strings.ReplaceAll(strings.Join(words[2:], " "), `\n`, "\n")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	case "absent":
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("%s is there (%v)", path, err)
		}
	default:
		w.rig.do(t, words)
	}
}
