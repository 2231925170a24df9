// Package wrappers lists the wrappers that a store passes the suite of package storetest in. It is a package of its own because
// the wrappers' own tests use that suite.
package wrappers

import (
	"testing"

	"firn/internal/store"
	"firn/internal/store/cache"
	"firn/internal/store/limit"
	"firn/internal/store/retry"
)

// All returns ways to wrap a store that must not change what it does.
func All() map[string]func(*testing.T, store.Store) store.Store {
	return map[string]func(*testing.T, store.Store) store.Store{
		"bare":  func(_ *testing.T, s store.Store) store.Store { return s },
		"retry": func(_ *testing.T, s store.Store) store.Store { return retry.New(s, retry.Options{}) },
		"limit": func(_ *testing.T, s store.Store) store.Store {
			return limit.New(s, limit.Options{Connections: 3, Up: limit.Always(1 << 30), Down: limit.Always(1 << 30)})
		},
		"cache": func(t *testing.T, s store.Store) store.Store {
			return cache.New(s, cache.Options{Dir: t.TempDir(), Hot: func(string) bool { return true }})
		},
		"all": func(t *testing.T, s store.Store) store.Store {
			return cache.New(retry.New(limit.New(s, limit.Options{Connections: 2}), retry.Options{}), cache.Options{Dir: t.TempDir()})
		},
	}
}
