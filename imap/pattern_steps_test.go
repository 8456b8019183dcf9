package imap

import (
	"strings"
	"testing"
)

// hostilePatterns are slow to match by going back and trying again.
func hostilePatterns() []string {
	return []string{
		strings.Repeat("*a", 500), strings.Repeat("%a", 500), strings.Repeat("*%", 500),
		strings.Repeat("%*", 500) + "b", strings.Repeat("*a%", 300), strings.Repeat("a*", 10) + "b",
		strings.Repeat("%a*", 10) + "/b", strings.Repeat("*", 999) + "b", strings.Repeat("%/", 499) + "b",
	}
}

func TestPatternsDoNotExplode(t *testing.T) {
	for _, name := range []string{
		"", "a", "INBOX", strings.Repeat("a", 30), strings.Repeat("a", MaxMailboxName),
		strings.Repeat("a/", MaxMailboxName/2), strings.Repeat("ab", MaxMailboxName/2),
	} {
		for _, p := range hostilePatterns() {
			if _, steps := matchPattern(p, name); steps > 2*(len(name)+1)*(len(name)+1) {
				t.Errorf("%.20s… on %d bytes takes %d steps", p, len(name), steps)
			}
		}
	}
	if _, steps := matchPattern(strings.Repeat("*a", 500), "a name of usual length"); steps > 0 {
		t.Errorf("a pattern with more letters than the name takes %d steps", steps)
	}
}
