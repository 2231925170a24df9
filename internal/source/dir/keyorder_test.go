package dir

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"firn/internal/source"
)

// TestKeyOrder compares the order of a walk with that of the keys, sorted, for names that make the two differ.
func TestKeyOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, suffix := range []string{"", ".age"} {
		for range 20 {
			root := t.TempDir()
			for range 60 {
				var parts []string
				for range 1 + rng.IntN(3) {
					name := ""
					for range 1 + rng.IntN(3) {
						name += string("a-./0~"[rng.IntN(6)])
					}
					if name = strings.ReplaceAll(name, "/", "b"); strings.Trim(name, ".") != "" {
						parts = append(parts, name)
					}
				}
				if len(parts) == 0 {
					continue
				}
				path := filepath.Join(root, filepath.Join(parts...))
				if os.MkdirAll(filepath.Dir(path), 0o700) == nil {
					_ = os.WriteFile(path, nil, 0o600) // a folder may be there
				}
			}
			tree, err := Open(root, Options{KeyOrder: true, KeySuffix: suffix})
			if err != nil {
				t.Fatal(err)
			}
			var keys []string
			err = tree.Walk(t.Context(), func(e *source.Entry) error {
				switch {
				case len(e.Path) == 0:
				case e.Stat.Type == source.Dir:
					keys = append(keys, string(e.Path)+"/")
				default:
					keys = append(keys, string(e.Path)+suffix)
				}
				return nil
			})
			if err != nil || !slices.IsSorted(keys) || len(keys) < 10 {
				t.Fatalf("%v: %q", err, keys)
			}
			if err := tree.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}
