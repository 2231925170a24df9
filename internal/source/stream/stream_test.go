package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"firn/internal/source"
)

func named(paths ...string) (list []source.Stream) {
	for _, p := range paths {
		list = append(list, source.Stream{Path: p, Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(p)), nil }})
	}
	return list
}

// TestTree: folders are told before what is in them, bytewise by component, and each path opens its own stream.
func TestTree(t *testing.T) {
	tree, err := NewTree(t.Context(), named("b/c/d", "a-b", "a/z", "b.x", "b/a"), time.Unix(1, 2))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	if err := tree.Walk(t.Context(), func(e *source.Entry) error {
		p := string(e.Path)
		if e.Stat.Type == source.Dir {
			got = append(got, p+"/")
			return nil
		}
		got = append(got, p)
		c, err := tree.Open(e.Path)
		if err != nil {
			return err
		}
		if b, err := io.ReadAll(c); err != nil || string(b) != p {
			t.Errorf("%q holds %q, %v", p, b, err)
		}
		return c.Close()
	}); err != nil {
		t.Fatal(err)
	}
	if want := []string{"/", "a/", "a/z", "a-b", "b/", "b/a", "b/c/", "b/c/d", "b.x"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	var missing *source.MissingError
	for _, p := range []string{"", "a", "b/c", "x"} {
		if _, err := tree.Open([]byte(p)); !errors.As(err, &missing) {
			t.Errorf("%q: %v", p, err)
		}
	}
}

func TestRefused(t *testing.T) {
	for _, paths := range [][]string{{""}, {"/a"}, {"a/"}, {"a//b"}, {"../a"}, {"a/.."}, {"."}, {"a\x00"}, {"a", "a"}, {"a", "a/b"}, {"a/b", "a"}, {"a/b/c", "x", "a/b"}} {
		if _, err := NewTree(t.Context(), named(paths...), time.Time{}); err == nil {
			t.Errorf("%q is a tree", paths)
		}
	}
	many := make([]source.Stream, maxStreams+1)
	if _, err := NewTree(t.Context(), many, time.Time{}); err == nil {
		t.Error("too many streams are a tree")
	}
}

// TestMany: as many streams as there may be are looked at one by one, and not each against each.
func TestMany(t *testing.T) {
	paths := make([]string, maxStreams)
	for i := range paths {
		paths[i] = fmt.Sprintf("tank/d%d/x.zfs", i)
	}
	tree, err := NewTree(t.Context(), named(paths...), time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range paths {
		if c, err := tree.Open([]byte(p)); err != nil || c.Close() != nil {
			t.Fatal(p, err)
		}
	}
}
