package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestKindsOfSharing runs the transcripts of testdata/kinds, with the owner's mail at another
// backend and in the same process. Lines that begin with #be and #global are as in TestRights.
func TestKindsOfSharing(t *testing.T) {
	paths, err := filepath.Glob("testdata/kinds/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		prepare := func(r *rig) { configureRights(t, r, string(text)) }
		name := strings.TrimSuffix(filepath.Base(path), ".txt")
		t.Run(name+"/elsewhere", func(t *testing.T) {
			t.Parallel()
			runTranscript(t, startRigWith(t, "rig", prepare), path)
		})
		t.Run(name+"/here", func(t *testing.T) {
			t.Parallel()
			runTranscript(t, startTogetherWith(t, nil, func(string) bool { return true }, prepare), path)
		})
	}
}
