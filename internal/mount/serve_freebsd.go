package mount

const (
	deviceLess = false
	seekData   = 3
	seekHole   = 4
)

// helpers are the programs that mount, in the places where the library looks for them.
var helpers = []string{"/sbin/mount_fusefs"}
