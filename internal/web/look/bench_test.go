package look_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"firn/internal/backup"
	"firn/internal/keys"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/source"
	"firn/internal/state"
	"firn/internal/store"
	"firn/internal/store/mem"
	"firn/internal/web"
	"firn/internal/web/webtest"
)

// crowd is a folder with many empty files, which exists nowhere.
type crowd struct{ files int }

func (c crowd) Walk(ctx context.Context, fn func(*source.Entry) error) error {
	e := source.Entry{Stat: source.Stat{Type: source.Dir, Mode: 0o755, MtimeSec: 1.7e9}}
	if err := fn(&e); err != nil {
		return err
	}
	e.Path = []byte("many")
	if err := fn(&e); err != nil {
		return err
	}
	for i := range c.files {
		e = source.Entry{Path: fmt.Appendf(nil, "many/IMG_%06d.jpeg", i), Stat: source.Stat{Type: source.File, Mode: 0o644, Nlink: 1, Inode: uint64(i + 10), MtimeSec: 1.7e9 + int64(i)}}
		if err := fn(&e); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (c crowd) Details([]byte, *source.Stat) (source.Details, error) { return source.Details{}, nil }
func (c crowd) Open([]byte) (source.Content, error) {
	return nil, errors.New("empty files are not opened")
}
func (c crowd) Close() error { return nil }

// crowded is a repository in memory with one snapshot of a folder with many files.
func crowded(t testing.TB, files int, wrap func(store.Store) store.Store) (web.Place, *snapshot.Snapshot) {
	t.Helper()
	ctx, st := context.Background(), mem.New(mem.Options{})
	pass, err := keys.Passphrase([]byte("correct horse"), keys.MinWork)
	must(t, err)
	access, err := repo.Init(ctx, st, repo.InitOptions{Keys: []repo.NewKey{{Label: "passphrase", Recipient: pass}}, HostName: "nas"})
	must(t, err)
	r, err := repo.Open(ctx, st, access, repo.Options{})
	must(t, err)
	scope, err := r.Load(ctx, access.Host.ScopeID, true)
	must(t, err)
	local := state.Open(state.Dirs{Cache: t.TempDir(), State: t.TempDir()}, r.ID(), func(err error) { t.Log(err) })
	res, err := backup.Run(ctx, backup.Options{Repo: r, Scope: scope, State: local, Tree: crowd{files}, Host: "nas", Program: "test",
		Source: snapshot.Origin{ID: snapshot.Source{1}, Kind: "dir", Path: []byte("/crowd")}, Detect: backup.DefaultDetect})
	must(t, err)
	var shown store.Store = st
	if wrap != nil {
		shown = wrap(st)
	}
	return web.Place{Name: "crowd", Location: "mem:", Open: func(ctx context.Context) (*web.Opened, error) {
		r, err := repo.Open(ctx, shown, access, repo.Options{})
		if err != nil {
			return nil, err
		}
		return &web.Opened{Repo: r, Store: shown, Reads: true, Close: func() {}}, nil
	}}, res.Snapshot
}

var checkbox = regexp.MustCompile(`name="path" value="[^"]+" aria`)

// TestCrowd goes through a folder with many files, and searches it.
func TestCrowd(t *testing.T) {
	place, s := crowded(t, 20_000, nil)
	w := newWorld(t, webtest.Options{More: []web.Place{place}})
	base := "/r/crowd/s/" + s.ID.String() + "/?p=" + enc("many")
	p := w.Get(base + "&from=IMG_0195")
	want(t, p, 200, "500 entries", "IMG_019500.jpeg", "IMG_019999.jpeg")
	if p.Has("IMG_019499") || link(p, "Next page") != "" {
		t.Error("not that page")
	}
	n := 0
	for next := base; next != ""; n++ {
		p := w.Get(next)
		if got := len(checkbox.FindAllString(p.Body, -1)); got != 500 {
			t.Fatalf("page %d: %d entries", n, got)
		}
		if !strings.Contains(p.Body, fmt.Sprintf("IMG_%06d.jpeg", n*500)) {
			t.Errorf("page %d", n)
		}
		next = link(p, "Next page")
	}
	if n != 40 {
		t.Errorf("%d pages", n)
	}
	want(t, w.Get("/r/crowd/search?q=img_01234"), 200, "10 hits.")
	want(t, w.Get("/r/crowd/versions?source="+s.Source.ID.String()+"&p="+enc("many/IMG_000007.jpeg")), 200, "newest")
}

// BenchmarkFolder100k makes pages of a folder of 100,000 files, in order, and somewhere in it.
func BenchmarkFolder100k(b *testing.B) {
	place, s := crowded(b, 100_000, nil)
	w := newWorld(b, webtest.Options{More: []web.Place{place}})
	base := "/r/crowd/s/" + s.ID.String() + "/?p=" + enc("many")
	w.Get(base)
	for _, c := range []struct{ name, address string }{{"first", base}, {"middle", base + "&after=" + enc("IMG_050000.jpeg")}, {"jump", base + "&from=IMG_099"}} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				if p := w.Get(c.address); p.Status != 200 {
					b.Fatal(p.Status)
				}
			}
		})
	}
	b.Run("search", func(b *testing.B) {
		for b.Loop() {
			if p := w.Get("/r/crowd/search?q=IMG_099999"); !p.Has("1 hit.") {
				b.Fatal(p.Body)
			}
		}
	})
}
