package repo

import (
	"firn/internal/manifest"
	"firn/internal/snapshot"
)

// TreeOf is the name of a snapshot's manifest.
func TreeOf(s *snapshot.Snapshot) manifest.Tree {
	return manifest.Tree{Chunk: s.Manifest.Chunk, Level: s.Manifest.Level, Lines: s.Manifest.Lines, Bytes: s.Manifest.Bytes}
}
