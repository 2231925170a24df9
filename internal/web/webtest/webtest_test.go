package webtest_test

import (
	"testing"

	"firn/internal/web/webtest"
)

// TestWorld: a snapshot is seen by the site, from a folder and from a bucket.
func TestWorld(t *testing.T) {
	for _, cold := range []string{"", "DEEP_ARCHIVE"} {
		w := webtest.New(t, webtest.Options{Cold: cold})
		w.Write("photos", "a/b.txt", "hello")
		s := w.Backup("photos", nil)
		it, err := w.Site.Archives()[0].Item(t.Context(), s.ID)
		if err != nil || string(it.Source.Path) != w.Dir("photos") {
			t.Errorf("%v, %v", it, err)
		}
		if p := w.Get("/nothing"); p.Status != 404 {
			t.Errorf("%d", p.Status)
		}
	}
}
