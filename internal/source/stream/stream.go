// Package stream makes streams that programs or files produce into a tree that a backup reads.
package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"firn/internal/source"
)

// Tree is streams as the files of a folder. It implements source.Tree.
type Tree struct {
	ctx     context.Context
	at      time.Time
	entries []entry
	dirs    bool // there are folders, so the root is told, too
	byPath  map[string]*source.Stream
}

type entry struct {
	path   string
	stream *source.Stream // nil: a folder
}

// maxStreams bounds how many streams a tree has.
const maxStreams = 10000

// NewTree returns a tree of streams, which are opened with ctx; at is the time that their files get. A single stream is a single file without a folder
// around it. It fails where two streams have one path, or a path is not one.
func NewTree(ctx context.Context, streams []source.Stream, at time.Time) (*Tree, error) {
	if len(streams) > maxStreams {
		return nil, fmt.Errorf("%d streams, want at most %d", len(streams), maxStreams)
	}
	t := &Tree{ctx: ctx, at: at}
	t.dirs = len(streams) != 1 || strings.Contains(streams[0].Path, "/")
	seen, folders := map[string]bool{"": true}, map[string]bool{}
	if t.dirs {
		t.entries = append(t.entries, entry{})
	}
	for i := range streams {
		s := &streams[i]
		if s.Path == "" || path.Clean("/" + s.Path)[1:] != s.Path || strings.ContainsRune(s.Path, 0) {
			return nil, fmt.Errorf("%q is no path of a stream", s.Path)
		}
		for n, c := range s.Path {
			if c == '/' && !folders[s.Path[:n]] {
				seen[s.Path[:n]], folders[s.Path[:n]] = true, true
				t.entries = append(t.entries, entry{path: s.Path[:n]})
			}
		}
		if seen[s.Path] {
			return nil, fmt.Errorf("two streams are called %q", s.Path)
		}
		seen[s.Path] = true
		t.entries = append(t.entries, entry{s.Path, s})
	}
	for i := range streams {
		if folders[streams[i].Path] {
			return nil, fmt.Errorf("%q is a stream and a folder", streams[i].Path)
		}
	}
	slices.SortFunc(t.entries, func(a, b entry) int { return slices.Compare(strings.Split(a.path, "/"), strings.Split(b.path, "/")) })
	t.byPath = make(map[string]*source.Stream, len(streams))
	for i := range streams {
		t.byPath[streams[i].Path] = &streams[i]
	}
	return t, nil
}

// Walk implements source.Tree.
func (t *Tree) Walk(ctx context.Context, fn func(*source.Entry) error) error {
	for _, e := range t.entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		st := source.Stat{Type: source.File, Mode: 0o600, Nlink: 1, Size: source.UnknownSize, MtimeSec: t.at.Unix(), MtimeNsec: int32(t.at.Nanosecond())}
		if e.stream == nil {
			st.Type, st.Mode, st.Size = source.Dir, 0o700, 0
		}
		if err := fn(&source.Entry{Path: []byte(e.path), Stat: st}); err != nil {
			return err
		}
	}
	return nil
}

// Details implements source.Tree: there are none.
func (t *Tree) Details([]byte, *source.Stat) (source.Details, error) { return source.Details{}, nil }

// Open implements source.Tree.
func (t *Tree) Open(name []byte) (source.Content, error) {
	if s := t.byPath[string(name)]; s != nil {
		r, err := s.Open(t.ctx)
		if err != nil {
			return nil, err
		}
		return &content{ReadCloser: r, at: t.at}, nil
	}
	return nil, &source.MissingError{What: "stream", Name: string(name)}
}

// Close implements source.Tree.
func (t *Tree) Close() error { return nil }

// content is an open stream.
type content struct {
	io.ReadCloser
	at time.Time
}

// ReadAt implements source.Content: streams are read in order.
func (c *content) ReadAt([]byte, int64) (int, error) { return 0, errors.ErrUnsupported }

// Stat implements source.Content.
func (c *content) Stat() (source.Stat, error) {
	return source.Stat{Type: source.File, Mode: 0o600, Nlink: 1, Size: source.UnknownSize, MtimeSec: c.at.Unix(), MtimeNsec: int32(c.at.Nanosecond())}, nil
}

// NextData implements source.Content: nobody knows.
func (c *content) NextData(int64, int64) (int64, int64, error) { return 0, 0, errors.ErrUnsupported }
