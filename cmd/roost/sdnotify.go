package main

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// notifySystemd tells the service manager how we do (sd_notify(3)): lines like
// READY=1. Without a manager that wants to know it does nothing.
func notifySystemd(lines ...string) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	if strings.HasPrefix(path, "@") {
		path = "\x00" + path[1:] // of the abstract namespace
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("NOTIFY_SOCKET: %w", err)
	}
	defer conn.Close() //nolint:errcheck // a datagram has left or not
	_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
	_, err = conn.Write([]byte(strings.Join(lines, "\n")))
	return err
}

// reloading is what is told before a reload; READY=1 follows.
func reloading() []string {
	return []string{"RELOADING=1", fmt.Sprintf("MONOTONIC_USEC=%d", monotonicMicroseconds())}
}

// monotonicMicroseconds is CLOCK_MONOTONIC, by which the service manager knows that
// what it hears belongs to the reload that it asked for.
func monotonicMicroseconds() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0
	}
	return ts.Nano() / 1000
}

// watchdogInterval is how often the service manager wants to hear that we live, at
// least; 0 is never (sd_watchdog_enabled(3)).
func watchdogInterval() time.Duration {
	if pid := os.Getenv("WATCHDOG_PID"); pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return 0
	}
	us, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	if err != nil || us <= 0 {
		return 0
	}
	return time.Duration(us) * time.Microsecond
}

// tell is notifySystemd; that it fails is worth a line, no more.
func (p *parts) tell(lines ...string) {
	if err := notifySystemd(lines...); err != nil {
		p.log.Warn("the service manager can't be told", "what", lines[0], "error", err)
	}
}

// tellReload is a reload that the service manager can wait for.
func (p *parts) tellReload(file string) {
	p.tell(reloading()...)
	p.logReload(file)
	p.tell("READY=1")
}

// watchdogTicks come twice as often as the service manager wants to hear from us.
func watchdogTicks() <-chan time.Time {
	interval := watchdogInterval()
	if interval == 0 {
		return nil
	}
	return time.Tick(interval / 2)
}

// tellWatchdog says that we live, unless something hangs: then the service manager ends
// us, with the stacks of all goroutines in the log, and starts us anew.
func (p *parts) tellWatchdog() {
	if late := p.pulse.late(); late != "" {
		p.log.Error("something hangs, the watchdog is not told that we live", "reason", late)
		p.tell("STATUS=Hanging: " + late)
		return
	}
	c := p.imap.Counts().Sessions
	p.tell("WATCHDOG=1", fmt.Sprintf("STATUS=%d sessions, %d proxied, %d before login",
		c["authenticated"]+c["selected"]+c["idle"], c["proxied"], c["login"]))
}
