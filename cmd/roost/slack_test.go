package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// checkSlack looks at the timer slack of all threads of a server.
func checkSlack(t *testing.T, pid int) {
	t.Helper()
	ours, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	want := time.Duration(ours)
	if want == usualSlack {
		want = timerSlack
	}
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, thread := range threads {
		text, err := os.ReadFile("/proc/" + thread.Name() + "/timerslack_ns")
		if err != nil {
			continue // it has ended, or only root may look
		}
		if has := strings.TrimSpace(string(text)); has != fmt.Sprint(want.Nanoseconds()) {
			t.Errorf("thread %s has a timer slack of %s ns, not %v", thread.Name(), has, want)
		}
	}
}
