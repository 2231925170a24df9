package dir

import (
	"os/user"
	"strconv"
	"sync"
)

// names remembers what the system calls its users and groups. The zero value is ready.
type names struct {
	mu     sync.Mutex
	users  map[uint32]string
	groups map[uint32]string
}

// lookup returns the names, "" where the system has none.
func (n *names) lookup(uid, gid uint32) (string, string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.users == nil {
		n.users, n.groups = map[uint32]string{}, map[uint32]string{}
	}
	u, ok := n.users[uid]
	if !ok {
		if found, err := user.LookupId(strconv.FormatUint(uint64(uid), 10)); err == nil {
			u = found.Username
		}
		n.users[uid] = u
	}
	g, ok := n.groups[gid]
	if !ok {
		if found, err := user.LookupGroupId(strconv.FormatUint(uint64(gid), 10)); err == nil {
			g = found.Name
		}
		n.groups[gid] = g
	}
	return u, g
}

// Names looks up the names of a user and a group, "" where the system has none. It asks the system once for each number: in a
// build without cgo the files /etc/passwd and /etc/group, so names from a directory service stay unknown. For several goroutines.
func (t *Tree) Names(uid, gid uint32) (user, group string) { return t.names.lookup(uid, gid) }
