package local_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"firn/internal/store"
	"firn/internal/store/local"
)

// What is merged while a folder is listed, the new object before the old ones go, is seen: as it was, or as it is. That holds also where much goes meanwhile, and nothing is seen twice.
func TestListWhileMerging(t *testing.T) {
	for _, many := range []int{2, 300} {
		ctx := context.Background()
		s, err := local.Open(t.TempDir(), local.Options{})
		if err != nil {
			t.Fatal(err)
		}
		put := func(name string) {
			if err := s.Put(ctx, name, strings.NewReader(name), int64(len(name)), store.PutOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		put("prune/0")
		for i := range many {
			put(fmt.Sprintf("prune/1-%04d", i))
			put(fmt.Sprintf("prune/1-%04d-stays", i))
		}
		put("prune/2")
		merged := 0
		var seen []string
		err = s.List(ctx, "prune/", "", func(i store.Info) error {
			seen = append(seen, i.Name)
			if merged == many || strings.HasPrefix(i.Name, "prune/3") {
				return nil
			}
			put(fmt.Sprintf("prune/3-%04d", merged)) // one by one, each just before it is come to
			merged++
			return s.Delete(ctx, fmt.Sprintf("prune/1-%04d", merged-1))
		})
		if err != nil || !slices.IsSorted(seen) || len(slices.Compact(slices.Clone(seen))) != len(seen) {
			t.Fatalf("%d names, %v", len(seen), err)
		}
		for i := range many {
			if !slices.Contains(seen, fmt.Sprintf("prune/1-%04d", i)) && !slices.Contains(seen, fmt.Sprintf("prune/3-%04d", i)) {
				t.Errorf("of %d: what number %d says is overlooked", many, i)
			}
		}
	}
}
