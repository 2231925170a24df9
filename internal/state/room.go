package state

// Room returns how many bytes may be written below a folder, and whether the system tells.
func Room(path string) (n int64, ok bool) { return roomIn(path) }
