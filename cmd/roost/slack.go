package main

import (
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// timerSlack is how much longer than asked for the kernel may let a thread of ours sleep.
// Go's monitor asks for 20 µs, again and again while there is something to do, and with
// the usual slack takes a sixth of the processor time of a login. It has other work go on
// where a thread waits for the disk, for which this is soon enough.
const timerSlack = 500 * time.Microsecond

// usualSlack is what a thread has for which nobody has asked for anything else.
const usualSlack = 50 * time.Microsecond

const slackTried = "ROOST_TIMER_SLACK_TRIED"

// init has main begin on the first thread, for takeSlack: what a parent has asked of its child,
// as that it ends with the parent, is the first thread's alone.
func init() { runtime.LockOSThread() }

// takeSlack has this process begin anew with timerSlack, unless it has, or somebody chose
// another one (TimerSlackNSec= of systemd): a thread has its slack from the one that made
// it, and the monitor is made before main. Where that can't be done it returns.
func takeSlack() {
	have, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil || time.Duration(have) != usualSlack || os.Getenv(slackTried) != "" {
		return
	}
	self, err := os.Executable()
	if err != nil || unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(timerSlack), 0, 0, 0) != nil {
		return
	}
	_ = unix.Exec(self, os.Args, append(os.Environ(), slackTried+"=1"))
}
