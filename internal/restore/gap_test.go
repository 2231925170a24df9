package restore_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"firn/internal/repo"
)

// TestLostManifest damages a part of the manifest: the rest is restored, also below folders that nothing is known of, and what is lost is
// counted and told.
func TestLostManifest(t *testing.T) {
	w := newWorld(t)
	for d := range 40 {
		for f := range 50 {
			w.write(fmt.Sprintf("folder%02d/%x", d, randomBytes(uint64(3*(50*d+f)+1), 40)), []byte("same"))
		}
	}
	w.backup()
	meta := w.packs("meta/")
	if len(meta) != 1 {
		t.Fatalf("%d meta packs", len(meta))
	}
	b := w.object(meta[0])
	b[len(b)/3] ^= 1 // one segment of 64 KiB is lost
	w.st.Replace(meta[0], b)
	o := w.options("out")
	res := w.run(o)
	var lost *repo.DamageError
	if len(res.Damaged) == 0 || len(res.Damaged) != len(w.problems) || res.Damaged[0].Object != meta[0] || !errors.As(res.Damaged[0].Err, &lost) {
		t.Fatalf("damaged: %v, problems %v", res.Damaged, w.problems)
	}
	var there int64
	for d := range 40 {
		found, _ := filepath.Glob(filepath.Join(o.Target, fmt.Sprintf("folder%02d", d), "*"))
		there += int64(len(found))
		for _, f := range found[:min(1, len(found))] {
			if got, err := os.ReadFile(f); err != nil || string(got) != "same" {
				t.Errorf("%s: %q, %v", f, got, err)
			}
		}
	}
	if there != res.Files || there < 250 || there > 1950 || there+res.Failed < 2000 {
		t.Errorf("%d files are there, %d restored, %d failed", there, res.Files, res.Failed)
	}
}
