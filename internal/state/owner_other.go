//go:build !unix

package state

import "io/fs"

// ownedBy is never sure on systems whose files have no numeric owner.
func ownedBy(fs.FileInfo, int) bool { return false }

// unsyncable: these systems cannot sync folders.
func unsyncable(error) bool { return true }
