package main

import (
	"regexp"
	"testing"
)

// An EMAILID goes with a message between owners, whichever of them copies.
func TestEmailIDGoesAlong(t *testing.T) {
	r := startRig(t, "rig")
	r.say(t, "someone1",
		"CREATE Work",
		"APPEND Work {26+}\r\nSubject: one\r\n\r\nthe text\r\n",
		"SETACL Work someone2 lrstwei")
	fetch := []string{"SELECT INBOX", "UID FETCH 1 EMAILID"}
	r.say(t, "someone2",
		"SELECT shared/someone1/Work", "COPY 1 INBOX", // from the other backend
		"SELECT INBOX", "COPY 1 shared/someone1/Work") // and to it
	back := r.say(t, "someone1", "SELECT Work", "FETCH 1:2 EMAILID")
	ids := regexp.MustCompile(`EMAILID \((M[0-9a-f]{32})\)`).FindAllStringSubmatch(back+r.say(t, "someone2", fetch...), -1)
	if len(ids) != 3 || ids[0][1] != ids[1][1] || ids[0][1] != ids[2][1] {
		t.Fatalf("got %v", ids)
	}
}
