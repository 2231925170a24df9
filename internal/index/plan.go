package index

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
)

// Object is an index object, as far as merging goes.
type Object struct {
	Name     string // <gen>-<sha256>
	Level    int
	Author   [16]byte
	Chunks   int
	Replaces []string
}

// MergeCount is how many objects of one level and author make one of the next (FORMAT §8), and MergedMost how many chunks that one has at most: less than the format allows, since whoever merges
// holds it in memory, about 150 bytes a chunk.
const (
	MergeCount = 8
	MergedMost = 1 << 18
)

// Live leaves out the objects that others of the list replace: their packs are all there, and a writer that was killed has not
// deleted them. An object replaces only what the same author wrote under an earlier name. The result is in order of names.
func Live(objects []Object) []Object {
	type key struct {
		author [16]byte
		name   string
	}
	gone := make(map[key]bool)
	for _, o := range objects {
		for _, name := range o.Replaces {
			if name < o.Name {
				gone[key{o.Author, name}] = true
			}
		}
	}
	live := slices.DeleteFunc(slices.Clone(objects), func(o Object) bool { return gone[key{o.Author, o.Name}] })
	slices.SortFunc(live, func(a, b Object) int { return strings.Compare(a.Name, b.Name) })
	return live
}

// Plan chooses which index objects to merge: each group, of one author and level and in order of names, makes one object of the
// next level with at most MergedMost chunks. Objects with more than an eighth of that stay as they are. After the
// groups have been merged, Plan may find more on the next level.
func Plan(objects []Object) [][]Object {
	type class struct {
		author [16]byte
		level  int
	}
	classes := make(map[class][]Object)
	for _, o := range Live(objects) {
		if o.Chunks <= MergedMost/MergeCount && o.Level < MaxLevel {
			c := class{o.Author, o.Level}
			classes[c] = append(classes[c], o)
		}
	}
	var groups [][]Object
	for _, c := range classes {
		for len(c) >= MergeCount {
			n, sum := 0, 0
			for n < len(c) && sum+c[n].Chunks <= MergedMost {
				sum += c[n].Chunks
				n++
			}
			groups = append(groups, c[:n:n])
			c = c[n:]
		}
	}
	slices.SortFunc(groups, func(a, b []Object) int {
		return cmp.Or(bytes.Compare(a[0].Author[:], b[0].Author[:]), cmp.Compare(a[0].Level, b[0].Level), strings.Compare(a[0].Name, b[0].Name))
	})
	return groups
}
