package repo_test

import (
	"slices"
	"strings"
	"testing"

	"firn/internal/repo"
	"firn/internal/snapshot"
)

// TestLoadAgain: whoever looks again sees what one sees who looks for the first time, whatever has happened, and reads no snapshot twice.
func TestLoadAgain(t *testing.T) {
	w := newWorld(t, repo.InitOptions{})
	pruner := w.pruner()
	all := repo.Access{Secrets: w.access.Secrets}
	r := w.open(all)
	var last []snapshot.Item
	look := func(what string, most int64) {
		t.Helper()
		before := w.mem.Requests()["get"]
		s, err := r.LoadAgain(ctx, w.access.Host.ScopeID, false, func(id snapshot.ID) (snapshot.Item, bool) {
			i := slices.IndexFunc(last, func(it snapshot.Item) bool { return it.ID == id })
			if i < 0 {
				return snapshot.Item{}, false
			}
			return last[i], true
		})
		w.must(err)
		asked := w.mem.Requests()["get"] - before
		first := w.load(w.open(all))
		if len(s.Items) != len(first.Items) || len(s.Damaged) != len(first.Damaged) || len(s.Late) != len(first.Late) {
			t.Errorf("%s: %d snapshots, %d damaged, %d late; want %d, %d, %d", what, len(s.Items), len(s.Damaged), len(s.Late), len(first.Items), len(first.Damaged), len(first.Late))
			return
		}
		for i, it := range s.Items {
			want := first.Items[i]
			if it.ID != want.ID || it.Sum != want.Sum || it.Status() != want.Status() || !it.Stored.Equal(want.Stored) {
				t.Errorf("%s: %v is %v, want %v", what, it.ID, it.Status(), want.Status())
			}
		}
		if asked > most {
			t.Errorf("%s: %d objects were read", what, asked)
		}
		last = s.Items
	}
	look("nothing", 100)
	a := w.backup(w.access, "one")
	b := w.backup(w.access, "two")
	look("two", 100)
	look("the same", 0)
	w.backup(w.access, "three")
	look("one more", 2)
	w.record(pruner.Signer(), &snapshot.Record{Scope: w.access.Host.ScopeID, Time: w.clock.now(), Forget: []snapshot.ID{a.ID}})
	look("one forgotten", 4) // records are read each time, with the certificate of whoever made them
	for _, name := range w.names("snapshots/") {
		if strings.Contains(name, a.ID.String()) {
			w.must(w.mem.Delete(ctx, name))
		}
		if strings.HasSuffix(name, b.ID.String()) {
			raw := w.object(name)
			raw[len(raw)/2] ^= 1
			w.mem.Replace(name, raw)
		}
		if strings.HasSuffix(name, b.ID.String()+".done") {
			w.must(w.mem.Delete(ctx, name))
		}
	}
	look("one gone, one damaged without its mark", 3)
	w.must(w.open(all).Revoke(ctx, w.access.Host.Host, "stolen"))
	r = w.open(all)
	look("the author was revoked", 100)
}
