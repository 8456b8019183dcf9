package cluster

import (
	"time"

	"golang.org/x/sys/unix"
)

// Clock tells time for deadlines. It goes on while the machine is suspended, which
// Go's own monotonic time does not, and nobody can set it.
type Clock interface {
	// Now is the time since some fixed moment.
	Now() time.Duration

	// After sends once when d has passed; it may be late.
	After(d time.Duration) <-chan time.Time
}

// BootTime is the machine's CLOCK_BOOTTIME.
type BootTime struct{}

// Now implements Clock.
func (BootTime) Now() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic("CLOCK_BOOTTIME: " + err.Error()) // only kernels before 2.6.39 lack it
	}
	return time.Duration(ts.Nano())
}

// After implements Clock. Waiting may last longer than d when the machine is
// suspended meanwhile; Now tells.
func (BootTime) After(d time.Duration) <-chan time.Time { return time.After(d) }
