package frozen

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"firn/internal/manifest"
)

// item is one entry of a tree, as tree.json of a frozen repository lists it.
type item struct {
	Path     string      `json:"path,omitempty"` // "": the root
	PathB64  string      `json:"path_b64,omitempty"`
	Type     string      `json:"type"`
	Mode     string      `json:"mode"`
	UID      int64       `json:"uid"`
	GID      int64       `json:"gid"`
	Mtime    string      `json:"mtime"`
	Size     int64       `json:"size"`
	SHA256   string      `json:"sha256,omitempty"`   // of the content of a file
	Holes    bool        `json:"holes,omitempty"`    // it takes clearly less room than its size
	Target   string      `json:"target,omitempty"`   // base64
	Rdev     []uint32    `json:"rdev,omitempty"`     // major, minor
	Hardlink string      `json:"hardlink,omitempty"` // base64 of the first path of the same inode
	Xattrs   [][2]string `json:"xattrs,omitempty"`   // name and value, both base64
}

func b64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

func (i *item) setPath(p []byte) {
	if utf8.Valid(p) {
		i.Path, i.PathB64 = string(p), ""
	} else {
		i.Path, i.PathB64 = "", b64(p)
	}
}

func (i *item) path(t testing.TB) []byte {
	if i.PathB64 == "" {
		return []byte(i.Path)
	}
	p, err := base64.StdEncoding.DecodeString(i.PathB64)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func sortItems(t testing.TB, items []item) {
	slices.SortFunc(items, func(a, b item) int { return manifest.Compare(a.path(t), b.path(t)) })
}

// sameItems reports every difference of two trees.
func sameItems(t testing.TB, want, got []item) {
	t.Helper()
	text := func(items []item) map[string]string {
		out := map[string]string{}
		for _, i := range items {
			raw, err := json.Marshal(i)
			if err != nil {
				t.Fatal(err)
			}
			out[string(i.path(t))] = string(raw)
		}
		return out
	}
	w, g := text(want), text(got)
	for _, i := range want {
		p := string(i.path(t))
		if w[p] != g[p] {
			t.Errorf("%q:\nwant %s\n got %s", p, w[p], cmp.Or(g[p], "nothing"))
		}
	}
	for _, i := range got {
		if p := string(i.path(t)); w[p] == "" {
			t.Errorf("%q: not wanted: %s", p, g[p])
		}
	}
}

// below returns the items at and below a path, with paths relative to it; "" is everything.
func below(t testing.TB, items []item, path string) []item {
	var out []item
	for _, i := range items {
		p := i.path(t)
		if !manifest.Within(p, []byte(path)) {
			continue
		}
		if path != "" {
			i.setPath(bytes.TrimPrefix(bytes.TrimPrefix(p, []byte(path)), []byte("/")))
			if i.Hardlink != "" {
				first, err := base64.StdEncoding.DecodeString(i.Hardlink)
				if err != nil || !strings.HasPrefix(string(first), path+"/") {
					t.Fatalf("%q: hard link out of the selection: %q %v", p, first, err)
				}
				i.Hardlink = b64(first[len(path)+1:])
			}
		}
		out = append(out, i)
	}
	return out
}

func mtime(sec int64, nsec int32) string { return fmt.Sprintf("%d.%09d", sec, nsec) }

// inCI reports whether nothing may be skipped.
func inCI() bool { return os.Getenv("CI") == "true" }
