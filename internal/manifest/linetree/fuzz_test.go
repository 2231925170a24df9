package linetree

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"firn/internal/digest"
)

// FuzzTree reads trees of which every chunk is hostile: the input is split at "#", part i has the id i, part 0 is the top.
func FuzzTree(f *testing.F) {
	id := func(i int) string { return digest.Chunk{31: byte(i + 1)}.String() }
	f.Add([]byte("\"a\"\n\"b\"\n"), 0, int64(2), int64(8))
	node := func(first string, i, n, lines int) string {
		return fmt.Sprintf("{\"first\":%q,\"chunk\":%q,\"bytes\":%d,\"lines\":%d}\n", first, id(i), n, lines)
	}
	f.Add([]byte(node("a", 1, 4, 1)+node("b", 2, 8, 2)+"#\"a\"\n#\"b\"\n\"c\"\n"), 1, int64(3), int64(12))
	f.Add([]byte(node("a", 0, 112, 1)), 9, int64(1), int64(100))
	f.Add([]byte(node("", 1, 3, 1)+node("", 1, 3, 1)+"#\"\"\n"), 1, int64(2), int64(6))
	f.Fuzz(func(t *testing.T, data []byte, level int, lines, size int64) {
		parts := bytes.Split(data, []byte("#"))
		missing := errors.New("no such chunk")
		reads := 0
		src := Source{Get: func(id digest.Chunk) ([]byte, error) {
			reads++
			if i := int(id[31]) - 1; id == (digest.Chunk{31: id[31]}) && i < len(parts) && reads < 1000 {
				return parts[i], nil
			}
			return nil, missing
		}}
		tree := Tree{Chunk: digest.Chunk{31: 1}, Level: level, Lines: lines, Bytes: size}
		for _, keys := range []Keys{testKeys, {Of: testKeys.Of}} {
			it := NewIterator(src, tree, keys, Options{})
			var last []byte
			n := int64(0)
			for it.Next() {
				if n++; keys.Compare != nil && n > 1 && bytes.Compare(last, it.Key()) >= 0 {
					t.Fatal("out of order")
				}
				last = append(last[:0], it.Key()...)
			}
			var ce *CorruptError
			if err := it.Err(); err == nil && n != lines {
				t.Fatalf("%d lines, want %d", n, lines)
			} else if err != nil && !errors.As(err, &ce) && err != missing {
				t.Fatalf("error %v", err)
			}
			it = NewIterator(src, tree, keys, Options{})
			if it.SeekSize(size); keys.Compare != nil {
				it.Seek([]byte("b"))
				it.Next()
				it.Seek([]byte("a"))
			}
			it.Next()
		}
		_ = Diff(Side{src, tree}, Side{src, Tree{}}, testKeys, 4, func(a, b []byte) error { return nil })
		_ = Diff(Side{src, tree}, Side{src, Tree{Chunk: digest.Chunk{31: 2}, Level: 0, Lines: 1, Bytes: 4}}, testKeys, 4, func(a, b []byte) error { return nil })
	})
}
