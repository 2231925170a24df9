package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"testing"
)

func TestValidName(t *testing.T) {
	long := strings.Repeat("x", 255)
	for name, want := range map[string]bool{
		"": false, "a": true, "a/b": true, "/a": false, "a/": false, "a//b": false, ".": false, "a/..": false, "../a": false,
		"...": true, ".a": true, "A-b_c.d": true, "a b": false, "a\\b": false, "ä": false, "a\x00": false, "~tmp": false,
		long: true, long + "x": false, long + "/" + long: true, long + "/" + long + "/": false, long + "/" + long + "/x": false,
	} {
		if got := ValidName(name); got != want {
			t.Errorf("ValidName(%.40q) = %v", name, got)
		}
	}
}

func FuzzValidName(f *testing.F) {
	for _, s := range []string{"", "a/b", "..", "a/../b", "/", "data/0011223344556677/aa/ff.par2", "C:x", "a\x00b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !ValidName(s) {
			return
		}
		if len(s) > 512 || path.Clean("/"+s) != "/"+s || strings.ContainsAny(s, "\\:~ \x00%?#") {
			t.Fatalf("%q is taken for a name", s)
		}
	})
}

type fails struct{ temporary bool }

func (fails) Error() string     { return "fails" }
func (f fails) Temporary() bool { return f.temporary }

func TestIsTemporary(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{nil, false}, {errors.New("x"), false}, {ErrTimeout, true}, {Fail("get", "a", io.ErrUnexpectedEOF), true},
		{fmt.Errorf("x: %w", fails{true}), true}, {fmt.Errorf("%w: %w", ErrTimeout, fails{false}), false},
		{fmt.Errorf("%w: %w", context.Canceled, fails{true}), false}, {ErrFull, false}, {io.EOF, false},
	} {
		if got := IsTemporary(c.err); got != c.want {
			t.Errorf("IsTemporary(%v) = %v", c.err, got)
		}
	}
}

func TestFail(t *testing.T) {
	if Fail("get", "x", nil) != nil {
		t.Error("an error out of nil")
	}
	inner := Fail("get", "x", ErrNotExist)
	if Fail("list", "y", inner) != inner || !errors.Is(inner, ErrNotExist) || inner.Error() != "get x: object does not exist" {
		t.Errorf("%v", inner)
	}
}

func TestClip(t *testing.T) {
	for _, c := range []struct{ size, off, n, want int64 }{
		{10, 0, -1, 10}, {10, 3, 4, 4}, {10, 3, 40, 7}, {10, 10, -1, 0}, {10, 11, 1, -1}, {10, -1, 1, -1}, {0, 0, -1, 0}, {10, 5, 0, 0},
		{10, 1, 1<<63 - 1, 9},
	} {
		got, err := Clip(c.size, c.off, c.n)
		if c.want < 0 && errors.Is(err, ErrRange) {
			continue
		}
		if err != nil || got != c.want {
			t.Errorf("Clip(%d, %d, %d) = %d, %v", c.size, c.off, c.n, got, err)
		}
	}
}
