package wrappers

import (
	"testing"

	"firn/internal/store"
	"firn/internal/store/local"
	"firn/internal/store/mem"
	"firn/internal/storetest"
)

// Stores that need nothing, bare and in every wrapper. (Package s3 runs the suite over a server.)
func TestStores(t *testing.T) {
	bases := map[string]func(*testing.T) store.Store{
		"mem": func(*testing.T) store.Store { return mem.New(mem.Options{}) },
		"local": func(t *testing.T) store.Store {
			s, err := local.Open(t.TempDir(), local.Options{NoSync: true})
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
	}
	for base, open := range bases {
		for wrapper, wrap := range All() {
			t.Run(base+"/"+wrapper, func(t *testing.T) {
				t.Parallel()
				u := storetest.Suite{Open: func(t *testing.T) store.Store { return wrap(t, open(t)) }, Objects: 100}
				if wrapper == "bare" {
					u.Objects = 0
				}
				u.Run(t)
			})
		}
	}
}
