package backup

import (
	"fmt"
	"strings"
	"time"

	"firn/internal/source"
)

// Detect says which facts about a file, taken together, show that its content is as it was.
type Detect struct {
	Ctime bool // time of the last change of the inode; nothing a user can set
	Inode bool // inode number; not stable on some network file systems
	Never bool // read every file
}

// DefaultDetect compares size, mtime, ctime and inode.
var DefaultDetect = Detect{Ctime: true, Inode: true}

// ParseDetect reads a list such as "size,mtime,ctime,inode", "size,mtime" or "always" (read everything). Size and mtime are
// always compared.
func ParseDetect(s string) (Detect, error) {
	var d Detect
	for _, word := range strings.Split(s, ",") {
		switch strings.TrimSpace(word) {
		case "size", "mtime":
		case "ctime":
			d.Ctime = true
		case "inode":
			d.Inode = true
		case "always":
			d.Never = true
		default:
			return d, fmt.Errorf("%q is none of size, mtime, ctime, inode, always", word)
		}
	}
	return d, nil
}

// verdict of comparing an entry with the one that the last backup saw.
type verdict uint8

const (
	same     verdict = iota // nothing changed: the manifest line serves again
	touched                 // content as it was, metadata perhaps not: a new line, the old content
	modified                // read it
)

// compare judges now against before. before.Ctime is one that no file has where the last backup could not vouch for it (see racy and forget). Where the record was made
// from a manifest, which knows neither ctime nor inode, it is the time before which the last backup began: what has changed since has a later ctime.
func (d Detect) compare(now, before *source.Stat) verdict {
	if d.Never || now.Type != before.Type {
		return modified
	}
	content := now.Size == before.Size && now.MtimeSec == before.MtimeSec && now.MtimeNsec == before.MtimeNsec
	if now.Type != source.File {
		content = true // what is not a regular file has no content, only metadata
	}
	if !content {
		return modified
	}
	ctime := now.CtimeSec == before.CtimeSec && now.CtimeNsec == before.CtimeNsec
	inode := now.Inode == before.Inode
	metadata := now.Mode == before.Mode && now.UID == before.UID && now.GID == before.GID && now.Rdev == before.Rdev &&
		now.MtimeSec == before.MtimeSec && now.MtimeNsec == before.MtimeNsec && (now.Nlink > 1) == (before.Nlink > 1)
	if ctime && inode && metadata {
		return same
	}
	if now.Type == source.File && fromManifest(before) {
		if d.Ctime && racy(now, time.Unix(before.CtimeSec, int64(before.CtimeNsec))) {
			return modified
		}
		return touched
	}
	if now.Type == source.File && (d.Ctime && !ctime || d.Inode && !inode) {
		return modified
	}
	return touched
}

// why says what compare found, for people.
func (d Detect) why(now, before *source.Stat) string {
	switch {
	case d.Never:
		return "every file is read"
	case now.Type != before.Type:
		return "was no file"
	case now.Size != before.Size:
		return "other size"
	case now.MtimeSec != before.MtimeSec || now.MtimeNsec != before.MtimeNsec:
		return "other mtime"
	case forgotten(before):
		return "changed too shortly before it was read the last time"
	case d.Ctime && !fromManifest(before) && (now.CtimeSec != before.CtimeSec || now.CtimeNsec != before.CtimeNsec):
		return "other ctime"
	case d.Inode && !fromManifest(before) && now.Inode != before.Inode:
		return "other inode"
	}
	return "what was stored of it is gone, or not known for sure"
}

// forget makes a record that no entry ever equals, so that the entry is looked at again.
func forget(st *source.Stat) { st.CtimeSec, st.CtimeNsec = 0, -1 }

func forgotten(st *source.Stat) bool { return st.CtimeSec == 0 && st.CtimeNsec == -1 }

// fromManifest reports whether a record was made from a manifest and not from an lstat: no inode has number 0.
func fromManifest(st *source.Stat) bool { return st.Inode == 0 }

// racy reports whether a file could change after it was read at readTime without its ctime showing it, because the clock that
// stamps files ticks coarsely (4 to 10 ms on Linux; 2 s on file systems that store no fractions). The record of such a
// file is kept without its ctime, so that the next backup reads it again.
func racy(st *source.Stat, readTime time.Time) bool {
	tick := 10 * time.Millisecond
	if st.CtimeNsec == 0 && st.MtimeNsec == 0 {
		tick = 2 * time.Second
	}
	changed := time.Unix(st.CtimeSec, int64(st.CtimeNsec))
	if st.CtimeSec == 0 && st.CtimeNsec == 0 { // the system keeps no such time
		changed = time.Unix(st.MtimeSec, int64(st.MtimeNsec))
	}
	return changed.After(readTime.Add(-tick))
}
