package main

import (
	"fmt"
	"os"
	"runtime"
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

// A server that has begun anew still ends with the thread that started it, if that was
// asked for, as our tests do.
func TestServeEndsWithParent(t *testing.T) {
	r := &processRig{root: t.TempDir(), port: freePort(t), running: map[string]*process{}}
	r.files = writeRig(t, "rig", r.root, r.port)
	started := make(chan struct{})
	go func() {
		defer close(started)
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		r.start(t, "be1")
	}()
	<-started
	if t.Failed() {
		return
	}
	select {
	case <-r.running["be1"].done:
	case <-time.After(patience):
		t.Error("the server goes on")
		r.stop(t, "be1")
	}
}
