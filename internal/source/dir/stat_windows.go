package dir

import (
	"io/fs"

	"firn/internal/source"
)

const openFlags = 0

func openError(err error) error { return err }

// fill translates what the standard library tells. The system has no modes and no owners; what is neither a folder, a file nor
// a symlink (junctions and other reparse points) is left to be read as a file, which fails by name.
func fill(out *source.Stat, info fs.FileInfo) {
	*out = source.Stat{
		Size: info.Size(), MtimeSec: info.ModTime().Unix(), MtimeNsec: int32(info.ModTime().Nanosecond()),
		Mode: uint32(info.Mode().Perm()), Nlink: 1,
	}
	switch {
	case info.IsDir():
		out.Type, out.Size = source.Dir, 0
	case info.Mode()&fs.ModeSymlink != 0:
		out.Type = source.Symlink
	}
}
