package target

import (
	"os/user"
	"strconv"
	"sync"
)

// owners remembers the numbers of users and groups on this system. The zero value is ready.
type owners struct {
	mu     sync.Mutex
	users  map[string]int64
	groups map[string]int64
}

// of is the owner that an entry is to get; -1 is unknown.
func (o *owners) of(m *Meta, byName bool) (uid, gid int64) {
	uid, gid = m.UID, m.GID
	if !byName || m.User == "" && m.Group == "" {
		return uid, gid
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.users == nil {
		o.users, o.groups = map[string]int64{}, map[string]int64{}
	}
	if n := number(o.users, m.User, userID); n >= 0 {
		uid = n
	}
	if n := number(o.groups, m.Group, groupID); n >= 0 {
		gid = n
	}
	return uid, gid
}

func number(known map[string]int64, name string, ask func(string) string) int64 {
	if name == "" {
		return -1
	}
	n, ok := known[name]
	if !ok {
		got, err := strconv.ParseUint(ask(name), 10, 32)
		if n = int64(got); err != nil {
			n = -1
		}
		known[name] = n
	}
	return n
}

func userID(name string) string {
	u, err := user.Lookup(name)
	if err != nil {
		return ""
	}
	return u.Uid
}

func groupID(name string) string {
	g, err := user.LookupGroup(name)
	if err != nil {
		return ""
	}
	return g.Gid
}
