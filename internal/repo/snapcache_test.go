package repo

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"firn/internal/keys"
	"firn/internal/sign"
)

// TestSnapshotCacheCutAndFlipped cuts the file at every length and flips every byte: what comes back was put in, or nothing.
func TestSnapshotCacheCutAndFlipped(t *testing.T) {
	r := &Repository{o: Options{IndexDir: t.TempDir()}}
	s := &ScopeState{kit: &scopeKit{r: r, id: keys.ScopeID{7}}}
	c := s.openSnapshotCache()
	want := map[string]string{"aa": `{"a":"<&>"}`, "bb": `{"b": 2}`, "cc": "gone"}
	now := time.Unix(1700000000, 5).UTC()
	for id, body := range want {
		c.learn(id, sign.Author{1}, now, time.Time{}, []byte(body))
	}
	s.saveSnapshotCache(c, func(id string) bool { return id != "cc" })
	whole, err := os.ReadFile(c.path)
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, content []byte, least int) {
		if err := os.WriteFile(c.path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		got := s.openSnapshotCache().known
		if len(got) < least {
			t.Fatalf("%s: %d records", what, len(got))
		}
		for id, rec := range got {
			if want[id] != string(rec.Body) || id == "cc" || !rec.Stored.Equal(now) {
				t.Fatalf("%s: %q is %q", what, id, rec.Body)
			}
		}
	}
	check("whole", whole, 2)
	for n := range whole {
		check("cut", whole[:n], 0)
		flipped := append([]byte(nil), whole...)
		flipped[n] ^= 0x20
		check("flipped", flipped, 0)
	}
	s.kit.id = keys.ScopeID{8}
	other := filepath.Join(r.o.IndexDir, s.kit.id.String())
	if err := os.MkdirAll(other, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(other, "snapshots.cache"), whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := s.openSnapshotCache().known; len(got) > 0 {
		t.Fatal("the cache of another scope is used")
	}
}
