package mount

const (
	deviceLess = false
	seekData   = 3
	seekHole   = 4
)

// inert says that set-user-id bits of a snapshot do nothing here; devices outside of devfs never do.
var inert = []string{"nosuid"}

// helpers are the programs that mount, in the places where the library looks for them.
var helpers = []string{"/sbin/mount_fusefs"}
