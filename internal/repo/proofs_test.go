package repo_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/store"
	"firn/internal/store/mem"
)

// TestProofs: who has the secrets adds proofs, every host of the scope reads them, a damaged object hides only what it alone had.
func TestProofs(t *testing.T) {
	w := newWorld(t, repo.InitOptions{})
	ctx := context.Background()
	r, err := repo.Open(ctx, w.st, w.access, repo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	scope := w.access.Host.ScopeID
	proof := func(n byte) snapshot.Proof {
		return snapshot.Proof{Source: snapshot.Source{n}, Time: time.Unix(int64(n), 0).UTC(), Files: 1, OfFiles: 2, By: "x"}
	}
	for n := byte(1); n <= 4; n++ {
		if err := r.AddProofs(ctx, scope, proof(n)); err != nil {
			t.Fatal(err)
		}
	}
	host, err := repo.Open(ctx, w.st, repo.Access{Host: w.access.Host}, repo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := host.AddProofs(ctx, scope, proof(5)); !errors.Is(err, repo.ErrWriteOnly) {
		t.Error(err)
	}
	count := func(want int) {
		t.Helper()
		got, err := host.Proofs(ctx, scope)
		if err != nil || len(got) != want {
			t.Fatalf("%d proofs, want %d: %v", len(got), want, err)
		}
	}
	count(4)
	var names []string
	_ = w.st.List(ctx, "state/", "", func(i store.Info) error { names = append(names, i.Name); return nil })
	if len(names) != 4 || !strings.HasPrefix(names[0], "state/0000000000000000") {
		t.Fatal(names)
	}
	w.st.(*mem.Store).Replace(names[3], []byte("rot"))
	count(3)
	if err := r.AddProofs(ctx, scope, proof(6)); err != nil {
		t.Fatal(err)
	}
	count(4)
}
