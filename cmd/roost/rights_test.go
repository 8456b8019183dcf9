package main

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRights runs the transcripts of testdata/rights wherever the owner's mail can be for
// its readers: at another backend, in the same process, and now here, now there. Lines
// that begin with #be are added to the backends' configurations, those with #global are
// the global ACL file. One with a line #stays is not for mail that moves.
func TestRights(t *testing.T) {
	paths, err := filepath.Glob("testdata/rights/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	homes := []struct {
		name  string
		start func(t *testing.T, prepare func(*rig)) *rig
	}{
		{"elsewhere", func(t *testing.T, prepare func(*rig)) *rig { return startRigWith(t, "rig", prepare) }},
		{"here", func(t *testing.T, prepare func(*rig)) *rig {
			return startTogetherWith(t, nil, func(string) bool { return true }, prepare)
		}},
		{"moving", func(t *testing.T, prepare func(*rig)) *rig {
			return startTogetherWith(t, nil, func(string) bool { return rand.IntN(2) == 0 }, prepare)
		}},
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, home := range homes {
			if home.name == "moving" && strings.Contains(string(text), "\n#stays") {
				continue
			}
			t.Run(strings.TrimSuffix(filepath.Base(path), ".txt")+"/"+home.name, func(t *testing.T) {
				t.Parallel()
				r := home.start(t, func(r *rig) { configureRights(t, r, string(text)) })
				runTranscript(t, r, path)
			})
		}
	}
}

func configureRights(t *testing.T, r *rig, text string) {
	t.Helper()
	var config, global strings.Builder
	for line := range strings.Lines(text) {
		if more, is := strings.CutPrefix(line, "#be "); is {
			config.WriteString(strings.ReplaceAll(more, "@ROOT@", r.root))
		}
		if more, is := strings.CutPrefix(line, "#global "); is {
			global.WriteString(more)
		}
	}
	if err := os.WriteFile(filepath.Join(r.root, "globals"), []byte(global.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"be1", "be2"} {
		appendTo(t, r.files[name], config.String())
	}
}
