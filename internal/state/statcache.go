package state

import (
	"cmp"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"firn/internal/source"
)

// The stat cache of a source remembers what the last run saw: for every entry its path, its stat and its line of the manifest, in the order of the walk.
// A generation is two files. Both begin with the head of file.go. `lines-<gen>` goes on with the raw lines, one after another. `stat-<gen>`:
//
//	 64   4  length of the tag
//	 68 440  tag: bytes of the writer's choice, given when it began; zeros behind it
//	508   4  CRC32C of bytes 64 … 507
//	512      blocks
//
// A block is written when it has 64 KiB, after the lines that it speaks of:
//
//	 0   4  "BLK1"
//	 4   4  length of the records, at most 1 MiB
//	 8   4  number of records
//	12   8  where the line of the first record begins, counted from the end of the head of the lines file
//	20   4  CRC32C of bytes 0 … 19 and the records
//
// A record; its line begins where that of the record before ends:
//
//	flags (1): 1 the attributes follow, else they are those of the record before; 2 ctime follows, else it equals mtime
//	uvarint: bytes of the path shared with the record before; uvarint: bytes of its own; these bytes
//	inode (8), size (8), mtime: seconds (8) and nanoseconds (4), length of the line (4), CRC32C of the line (4)
//	if flags & 2: ctime: seconds (8) and nanoseconds (4)
//	if flags & 1: type (1), mode, uid, gid, nlink (4 each), rdev, dev (8 each)
//
// The first record of a block is whole: nothing shared, with attributes. So blocks and runs of records can be copied to another file as they are.
//
// The last block has "END1", and is 512 bytes long: number of records (8), length of all lines (8), length of the note (4), the note, zeros. While it is being
// written the file is called `stat-<gen>.part`; renaming it makes the generation valid, and older ones are deleted then. A .part
// file of a run that was killed is readable up to its last whole block.
const (
	statName   = "stat"
	linesName  = "lines"
	partSuffix = ".part"

	// MaxTag and MaxNote are the longest tag and note, in bytes.
	MaxTag  = 440
	MaxNote = endLen - blockHead - 20

	blocksAt    = 512
	blockHead   = 24
	blockTarget = 64 << 10
	maxBlock    = 1 << 20
	endLen      = 512
	maxPath     = 512 << 10
	maxLine     = 256 << 20 // the line itself (FORMAT §7.3) and 32 bytes for each chunk of a large file
	minRecord   = 3 + fixedLen
	fixedLen    = 36
	ctimeLen    = 12
	attrLen     = 33

	flagAttr  = 1
	flagCtime = 2
)

func (s *State) sourceDir(src SourceID) string {
	if s.cache == "" {
		return ""
	}
	return filepath.Join(s.cache, "sources", hexName(src))
}

// generation is one pair of files, as the names in the folder tell.
type generation struct {
	number uint64
	part   bool
	size   int64 // of the stat file
}

func (g generation) statFile() string {
	name := statName + "-" + genText(g.number)
	if g.part {
		name += partSuffix
	}
	return name
}

func (g generation) linesFile() string { return linesName + "-" + genText(g.number) }

func genText(n uint64) string { return leftPad(strconv.FormatUint(n, 16), 16) }

func leftPad(s string, n int) string { return strings.Repeat("0", max(0, n-len(s))) + s }

// generations lists the pairs of a source, the newest first, and the highest number in use, lines without a stat file included.
func generations(dir string) (list []generation, highest uint64) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, 0
	}
	for _, d := range files {
		prefix, text, ok := strings.Cut(d.Name(), "-")
		text, part := strings.CutSuffix(text, partSuffix)
		number, err := strconv.ParseUint(text, 16, 64)
		if !ok || err != nil || len(text) != 16 || (prefix != statName && prefix != linesName) {
			continue
		}
		highest = max(highest, number)
		if info, err := d.Info(); err == nil && prefix == statName && info.Mode().IsRegular() {
			list = append(list, generation{number, part, info.Size()})
		}
	}
	slices.SortFunc(list, func(a, b generation) int { return cmp.Compare(b.number, a.number) })
	return list, highest
}

// OpenStats opens the newest whole generation of a source, or returns nil, on which the methods of a reader work as on an empty one.
func (s *State) OpenStats(src SourceID) *StatReader {
	dir := s.sourceDir(src)
	list, _ := generations(dir)
	for _, g := range list {
		if !g.part {
			if r := s.openGeneration(dir, src, g); r != nil {
				return r
			}
		}
	}
	return nil
}

// OpenInterrupted opens the longest generation that a killed run left behind, if it began after the newest whole one; else it returns nil.
func (s *State) OpenInterrupted(src SourceID) *StatReader {
	dir := s.sourceDir(src)
	list, _ := generations(dir)
	g := longestPart(list)
	if g.size <= blocksAt {
		return nil
	}
	return s.openGeneration(dir, src, g)
}

// newestWhole returns the zero value if there is none.
func newestWhole(list []generation) generation {
	for _, g := range list {
		if !g.part {
			return g
		}
	}
	return generation{}
}

// longestPart returns the longest one newer than the newest whole one, or the zero value if there is none.
func longestPart(list []generation) (best generation) {
	for _, g := range list {
		if !g.part {
			break
		}
		if g.size > best.size {
			best = g
		}
	}
	return best
}

// openGeneration opens a pair and checks its heads; damage is told.
func (s *State) openGeneration(dir string, src SourceID, g generation) *StatReader {
	path := filepath.Join(dir, g.statFile())
	r := &StatReader{s: s, path: path, complete: !g.part, next: blocksAt}
	err := r.open(path, filepath.Join(dir, g.linesFile()), src, g)
	if err != nil {
		r.Close()
		if !errors.Is(err, fs.ErrNotExist) {
			s.tell("stat cache", path, err)
		}
		return nil
	}
	now := s.now()
	s.Touch(path, now)
	return r
}

// extra returns the part of the head by kind.
func statExtra(src SourceID, number uint64) []byte {
	return binary.LittleEndian.AppendUint64(src[:len(src):len(src)], number)
}

// attrs are the fields of a stat that seldom change from one entry to the next.
func sameAttrs(a, b *source.Stat) bool {
	return a.Mode == b.Mode && a.Type == b.Type && a.UID == b.UID && a.GID == b.GID && a.Nlink == b.Nlink && a.Rdev == b.Rdev && a.Dev == b.Dev
}

// appendRecord encodes one record; whole leaves nothing to the record before.
func appendRecord(dst []byte, prev []byte, prevStat *source.Stat, path []byte, st *source.Stat, lineLen, lineSum uint32, whole bool) []byte {
	var flags byte
	shared := 0
	if whole || !sameAttrs(prevStat, st) {
		flags |= flagAttr
	}
	if st.CtimeSec != st.MtimeSec || st.CtimeNsec != st.MtimeNsec {
		flags |= flagCtime
	}
	if !whole {
		for n := min(len(prev), len(path)); shared < n && prev[shared] == path[shared]; {
			shared++
		}
	}
	le := binary.LittleEndian
	dst = append(dst, flags)
	dst = binary.AppendUvarint(dst, uint64(shared))
	dst = binary.AppendUvarint(dst, uint64(len(path)-shared))
	dst = append(dst, path[shared:]...)
	dst = le.AppendUint64(dst, st.Inode)
	dst = le.AppendUint64(dst, uint64(st.Size))
	dst = le.AppendUint64(dst, uint64(st.MtimeSec))
	dst = le.AppendUint32(dst, uint32(st.MtimeNsec))
	dst = le.AppendUint32(dst, lineLen)
	dst = le.AppendUint32(dst, lineSum)
	if flags&flagCtime != 0 {
		dst = le.AppendUint64(dst, uint64(st.CtimeSec))
		dst = le.AppendUint32(dst, uint32(st.CtimeNsec))
	}
	if flags&flagAttr != 0 {
		dst = append(dst, byte(st.Type))
		dst = le.AppendUint32(dst, st.Mode)
		dst = le.AppendUint32(dst, st.UID)
		dst = le.AppendUint32(dst, st.GID)
		dst = le.AppendUint32(dst, st.Nlink)
		dst = le.AppendUint64(dst, st.Rdev)
		dst = le.AppendUint64(dst, st.Dev)
	}
	return dst
}
