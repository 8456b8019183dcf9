package imapserver

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/roost-mail/roost/sasl"
)

// TestDocumented: docs/imap.md has a row for each capability and for no other, and
// the transcripts that it names are there.
func TestDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/imap.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for _, row := range regexp.MustCompile(`(?m)^\| ([A-Z][^|]*) \|.*\| ([^|]+) \|$`).FindAllStringSubmatch(string(text), -1) {
		for name := range strings.SplitSeq(row[1], ",") {
			name, _, _ = strings.Cut(strings.TrimSpace(name), " (")
			documented = append(documented, name)
		}
		for _, file := range regexp.MustCompile("`([^`]+\\.txt)`").FindAllStringSubmatch(row[2], -1) {
			if !transcriptExists(file[1]) {
				t.Errorf("%s is shown by %s, which does not exist", row[1], file[1])
			}
		}
	}
	served := []string{}
	for _, r := range capabilityRows() {
		if strings.HasPrefix(r.rfc, "RFC") || strings.HasPrefix(r.rfc, "draft") {
			served = append(served, r.name)
		}
	}
	for _, m := range sasl.Mechanisms() {
		served = append(served, "AUTH="+m.Name)
	}
	served = slices.DeleteFunc(served, func(name string) bool { return name == "LOGINDISABLED" })
	for _, name := range served {
		if !slices.Contains(documented, name) {
			t.Errorf("%s has no row", name)
		}
	}
	for _, name := range documented {
		if !slices.Contains(served, name) {
			t.Errorf("%s has a row and is not served", name)
		}
	}
}

func transcriptExists(name string) bool {
	for _, dir := range []string{"testdata", "../cmd/roost/testdata/transcripts"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	return false
}
