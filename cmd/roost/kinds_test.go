package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestKindsOfSharing runs the transcripts of testdata/kinds, with the owner's mail at another
// backend and in the same process. Lines that begin with #be and #global are as in TestRights.
// There is an account public, which has room for three messages where quota is on.
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
		prepare := func(r *rig) {
			configureRights(t, r, string(text))
			appendTo(t, filepath.Join(r.root, "etc/users"), "public:{PLAIN}pass:5000:5000::"+r.root+"/shared-fs/home/public::userdb_quota_rule=*:messages=3\n")
			appendTo(t, filepath.Join(r.root, "etc/users.director"), "public:{PLAIN}pass::::::proxy=y port="+strconv.Itoa(r.port)+"\n")
		}
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
