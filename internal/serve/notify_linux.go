package serve

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// reloading is what the service manager is told when the configuration is read again: with the time, so that it knows which READY ends it.
func reloading() string {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return "RELOADING=1"
	}
	return fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", ts.Nano()/1000)
}
