package look

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"firn/internal/browse"
	"firn/internal/web"
)

// row is an entry as tables show it.
type row struct {
	*browse.Entry
	Name string // shown
	Link string
}

func rowOf(v *visit, e *browse.Entry) row {
	which := "file"
	if e.Type == "dir" {
		which = ""
	}
	return row{Entry: e, Name: web.ShownPath(nameOf(e.Path)), Link: v.at(which, e.Path)}
}

// Perm is the type and the permission bits, as ls -l has them.
func (r row) Perm() string { return permissions(r.Entry) }

// Owner is user and group, by name where that is known.
func (r row) Owner() string { return ownerOf(r.User, r.UID) + " " + ownerOf(r.Group, r.GID) }

// TargetShown is where a symbolic link leads.
func (r row) TargetShown() string { return web.ShownPath(r.Target) }

// LinkShown is the path that a hard link is another name of.
func (r row) LinkShown() string { return web.ShownPath(r.Hardlink) }

// Fault is why the file could not be read whole.
func (r row) Fault() string { return visible(r.Error) }

// IsFile reports whether it is a regular file, as far as its size tells something.
func (r row) IsFile() bool { return r.Type == "file" }

// Kind is the type in a word for people.
func (r row) Kind() string {
	switch r.Type {
	case "dir":
		return "folder"
	case "symlink":
		return "link"
	case "char", "block":
		return r.Type + " device " + strconv.Itoa(int(r.Major)) + ":" + strconv.Itoa(int(r.Minor))
	}
	return r.Type
}

func ownerOf(name string, id int64) string {
	switch {
	case name != "":
		return visible(name)
	case id < 0:
		return "–"
	}
	return strconv.FormatInt(id, 10)
}

// visible is text in which what does not print is written out.
func visible(s string) string {
	q := strconv.Quote(s)
	return strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(q[1 : len(q)-1])
}

func permissions(e *browse.Entry) string {
	letters := map[string]byte{"dir": 'd', "symlink": 'l', "fifo": 'p', "char": 'c', "block": 'b', "socket": 's'}
	b := []byte("-rwxrwxrwx")
	if l, ok := letters[e.Type]; ok {
		b[0] = l
	}
	for i := range 9 {
		if e.Mode>>(8-i)&1 == 0 {
			b[1+i] = '-'
		}
	}
	for i, with := range "sst" {
		if e.Mode>>(11-i)&1 == 0 {
			continue
		}
		at := 3 * (i + 1)
		if b[at] == '-' {
			with -= 'a' - 'A'
		}
		b[at] = byte(with)
	}
	return string(b)
}

// mode is the permission bits in octal.
func mode(e *browse.Entry) string { return fmt.Sprintf("%04o", e.Mode) }

func isNoFolder(err error) bool { return errors.Is(err, browse.ErrNotFolder) }
