package mount

const (
	deviceLess = true // macFUSE has devices of its own
	seekHole   = 3
	seekData   = 4
)

// inert says that set-user-id bits and devices of a snapshot do nothing here.
var inert = []string{"nosuid", "nodev"}

// helpers are the programs that mount, in the places where the library looks for them.
var helpers = []string{"/Library/Filesystems/macfuse.fs/Contents/Resources/mount_macfuse", "/Library/Filesystems/osxfuse.fs/Contents/Resources/mount_osxfuse"}
