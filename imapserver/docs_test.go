package imapserver

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/roost-mail/roost/sasl"
)

// TestDocumented holds the table of docs/imap.md against what can be
// advertised: each has one row, with its RFC and what shows it, and nothing else has.
func TestDocumented(t *testing.T) {
	documented := documentedCapabilities(t)
	advertised := map[string]string{} // and where it is defined; "" is not looked at
	for _, r := range capabilityRows() {
		advertised[r.name] = r.rfc
	}
	for _, m := range sasl.Mechanisms() {
		advertised["AUTH="+m.Name] = ""
	}
	for name, rfc := range advertised {
		row, ok := documented[name]
		if !ok {
			t.Errorf("%s is advertised, and has no row", name)
			continue
		}
		if digits := regexp.MustCompile(`^RFC (\d+)`).FindStringSubmatch(rfc); digits != nil && !strings.Contains(row[1], digits[1]) {
			t.Errorf("%s: the row says RFC %s, the code %s", name, row[1], rfc)
		}
	}
	for name := range documented {
		if _, ok := advertised[name]; !ok {
			t.Errorf("%s has a row, and is never advertised", name)
		}
	}
}

// documentedCapabilities is the cells of each capability's row. It fails for
// transcripts and tests that do not exist.
func documentedCapabilities(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("../docs/imap.md")
	if err != nil {
		t.Fatal(err)
	}
	tests := sourceOfTests(t)
	rows := map[string][]string{}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| capability") {
			continue
		}
		if len(cells) != 6 {
			t.Errorf("%d cells in place of 6: %s", len(cells), line)
			continue
		}
		shown := regexp.MustCompile("`[^`]+`").FindAllString(cells[5], -1)
		if len(shown) == 0 {
			t.Errorf("nothing shows %s", cells[0])
		}
		for _, name := range shown {
			if name = strings.Trim(name, "`"); !isTranscript(name) && !bytes.Contains(tests, []byte("func "+name+"(t *testing.T)")) {
				t.Errorf("%s: there is no %s", cells[0], name)
			}
		}
		for name := range strings.SplitSeq(strings.TrimSpace(cells[0]), ", ") {
			if rows[name] != nil {
				t.Errorf("%s has two rows", name)
			}
			rows[name] = cells
		}
	}
	return rows
}

func isTranscript(name string) bool {
	return slices.ContainsFunc([]string{"testdata", "../cmd/roost/testdata/transcripts"}, func(dir string) bool {
		_, err := os.Stat(filepath.Join(dir, name))
		return err == nil
	})
}

// sourceOfTests is the test files of the packages that the table names tests of.
func sourceOfTests(t *testing.T) []byte {
	t.Helper()
	var all []byte
	for _, dir := range []string{".", "../remote", "../cmd/roost"} {
		files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, text...)
		}
	}
	return all
}
