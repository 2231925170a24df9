package sync

import (
	"encoding/binary"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Names of metadata. mtime is rclone's and s3fs's, mode, uid and gid are s3fs's; metaPlain is the size of the file that is encrypted in the object.
const (
	metaMtime = "mtime"
	metaMode  = "mode"
	metaUID   = "uid"
	metaGID   = "gid"
	metaPlain = "firn-plain-size"
)

// metadata is what an object gets of its file.
func (r *run) metadata(l *localFile) map[string]string {
	m := map[string]string{}
	if r.o.Metadata || len(r.o.Recipients) > 0 {
		m[metaMtime] = formatMtime(l.mtime)
	}
	if r.o.Metadata {
		m[metaMode] = strconv.FormatUint(uint64(l.mode), 10)
		m[metaUID] = strconv.FormatUint(uint64(l.uid), 10)
		m[metaGID] = strconv.FormatUint(uint64(l.gid), 10)
	} else if l.isLnk {
		m[metaMode] = strconv.FormatUint(uint64(l.mode), 10)
	}
	if len(r.o.Recipients) > 0 {
		m[metaPlain] = strconv.FormatInt(l.size, 10)
	}
	if len(m) == 0 {
		return nil
	}
	return m
}

// metaSum tells whether metadata changed; 0: there is none.
func metaSum(m map[string]string) uint64 {
	if len(m) == 0 {
		return 0
	}
	h := fnv.New64a()
	for _, k := range slices.Sorted(maps.Keys(m)) {
		var n [8]byte
		binary.LittleEndian.PutUint32(n[:], uint32(len(k)))
		binary.LittleEndian.PutUint32(n[4:], uint32(len(m[k])))
		_, _ = h.Write(append(append(n[:], k...), m[k]...))
	}
	return max(h.Sum64(), 1)
}

func formatMtime(ns int64) string {
	sec, frac := ns/1e9, ns%1e9
	if frac < 0 {
		sec, frac = sec-1, frac+1e9
	}
	text := strconv.FormatInt(sec, 10)
	if frac != 0 {
		text += "." + strings.TrimRight(strconv.FormatInt(1e9+frac, 10)[1:], "0")
	}
	return text
}

// parseMtime reads seconds with a fraction, of which nine digits count.
func parseMtime(m map[string]string) (ns int64, ok bool) {
	whole, frac, _ := strings.Cut(m[metaMtime], ".")
	sec, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || sec > 1<<33 || sec < -1<<33 {
		return 0, false
	}
	if len(frac) > 9 {
		frac = frac[:9]
	}
	if frac != "" {
		n, err := strconv.ParseUint(frac+strings.Repeat("0", 9-len(frac)), 10, 32)
		if err != nil {
			return 0, false
		}
		ns = int64(n)
	}
	return sec*1e9 + ns, true
}

// number reads a decimal number of metadata that is at most most.
func number(m map[string]string, name string, most uint64) (uint64, bool) {
	v, err := strconv.ParseUint(m[name], 10, 64)
	return v, err == nil && v <= most
}
