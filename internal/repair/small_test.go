package repair_test

import (
	"bytes"
	"strings"
	"testing"

	"filippo.io/age"

	"firn/internal/keys"
	"firn/internal/repair"
	"firn/internal/repo"
	"firn/internal/snapshot"
)

func TestSmallObjects(t *testing.T) {
	for _, c := range []struct {
		name   string
		object func(w *world) string
		change func(w *world, o *repair.Options)
		lost   bool // beyond help
		same   bool // the object is what it was
	}{
		{name: "mark", object: func(w *world) string { // not of the last snapshot, of which none tells that it was done
			for _, n := range w.names("snapshots/", ".done") {
				if strings.Contains(n, w.items[0].ID.String()) {
					return n
				}
			}
			return ""
		}},
		{name: "pack set", object: func(w *world) string { return w.names("packset/", "")[0] }},
		{name: "text", object: func(w *world) string { return "recover.py" }, same: true},
		{name: "snapshot", object: func(w *world) string { return snapshotName(w) }, lost: true},
		{name: "certificate", object: func(w *world) string { return w.names("hosts/", "")[0] }, change: func(w *world, o *repair.Options) { o.Host = w.access.Host }},
		{name: "passphrase", object: func(w *world) string { return w.names("keys/", ".age")[0] }, lost: true},
	} {
		for _, how := range []string{"gone", "damaged"} {
			if c.name == "text" && how == "damaged" {
				continue // nobody can tell: other versions have others
			}
			t.Run(c.name+" "+how, func(t *testing.T) {
				w := threeBackups(t, "", 0)
				before, files := w.all(), w.readable(w.mem)
				object := c.object(w)
				hurt := func() {
					w.must(w.mem.Delete(ctx, object))
					if how == "damaged" {
						w.mem.Replace(object, before[object][:len(before[object])/8])
					}
				}
				hurt()
				_, res := w.repair(w.mem, func(o *repair.Options) {
					if c.change != nil {
						c.change(w, o)
					}
				})
				if res.Well() == c.lost {
					t.Errorf("%s", outcomes(res))
				}
				if c.same && !bytes.Equal(get(t, w.mem, object), before[object]) {
					t.Error("it is not what it was")
				}
				if !c.lost {
					w.sound(files)
				}

				w.reset(before)
				hurt()
				if _, res = w.repair(w.mem, func(o *repair.Options) { o.Copy = func(name string) []byte { return before[name] } }); !res.Well() {
					t.Errorf("from a copy: %s", outcomes(res))
				}
				w.expectSame(before)

				hurt()
				_, res = w.repair(w.mem, func(o *repair.Options) { o.Copy = func(name string) []byte { return random(1, 500) } })
				if strings.Contains(outcomes(res), "copy mended") {
					t.Errorf("a false copy was taken: %s", outcomes(res))
				}
			})
		}
	}
}

func snapshotName(w *world) string {
	for _, n := range w.names("snapshots/", "") {
		if !strings.HasSuffix(n, ".done") {
			return n
		}
	}
	return ""
}

// sound makes sure that all snapshots are done, all files can be read, all pack sets, and that a backup goes on.
func (w *world) sound(files map[string]bool) {
	w.t.Helper()
	if got := w.readable(w.mem); len(got) != len(files) {
		w.t.Errorf("%d of %d files can be read", len(got), len(files))
	}
	r, err := repo.Open(ctx, w.mem, w.access, repo.Options{Now: w.clock.now})
	w.must(err)
	s, err := r.Load(ctx, w.access.Host.ScopeID, true)
	w.must(err)
	for _, err := range s.Damaged {
		w.t.Errorf("still damaged: %v", err)
	}
	for _, it := range s.Items {
		if it.Status() != snapshot.IsDone {
			w.t.Errorf("%v is %v", it.ID, it.Status())
		}
		if _, err := s.PackNames(ctx, it.Snapshot); err != nil {
			w.t.Errorf("packs of %v: %v", it.ID, err)
		}
	}
	w.backup(w.mem, 70_000, random(1, 31_000), random(900, 5000))
}

func TestKeyOfRecipient(t *testing.T) {
	w := threeBackups(t, "", 0)
	id, err := age.GenerateX25519Identity()
	w.must(err)
	to, err := keys.ParseRecipient(id.Recipient().String(), nil)
	w.must(err)
	r, err := repo.Open(ctx, w.mem, w.access, repo.Options{Now: w.clock.now})
	w.must(err)
	meta, err := r.AddKey(ctx, "second", to)
	w.must(err)
	name := "keys/" + meta.Key.String() + ".age"
	for _, how := range []string{"gone", "damaged"} {
		w.must(w.mem.Delete(ctx, name))
		if how == "damaged" {
			w.mem.Replace(name, []byte("age-encryption.org/v1\n-> nothing"))
		}
		if _, res := w.repair(w.mem, nil); !res.Well() || res.Count(repair.Mended) != 1 {
			t.Errorf("%s: %s", how, outcomes(res))
		}
		if _, err := repo.Unlock(ctx, w.mem, id); err != nil {
			t.Errorf("%s: %v", how, err)
		}
	}
}

// TestRecord: a damaged prune record stops every backup, until it is replaced.
func TestRecord(t *testing.T) {
	w := threeBackups(t, "", 0)
	files := w.readable(w.mem)
	r, err := repo.Open(ctx, w.mem, w.access, repo.Options{Now: w.clock.now})
	w.must(err)
	s, err := r.Load(ctx, w.access.Host.ScopeID, true)
	w.must(err)
	name, err := s.Retire(ctx, nil, []snapshot.ID{{1}})
	w.must(err)
	w.flip(name, 300, 3)
	if _, res := w.repair(w.mem, nil); !res.Well() || len(w.names("prune/", "")) != 1 || w.names("prune/", "")[0] == name {
		t.Errorf("%s, %v", outcomes(res), w.names("prune/", ""))
	}
	w.sound(files)
}

func TestConfig(t *testing.T) {
	w := threeBackups(t, "", 0)
	before := get(t, w.mem, "firn.json")
	for _, how := range []string{"gone", "damaged"} {
		files := w.readable(w.mem)
		raw, err := repo.SealConfig(w.access.Secrets, nil)
		w.must(err)
		w.must(w.mem.Delete(ctx, "firn.json"))
		if how == "damaged" {
			w.mem.Replace("firn.json", before[:50])
		}
		h, err := repo.ParseHeader(raw)
		w.must(err)
		r, err := repo.Open(ctx, w.mem, repo.Access{Secrets: w.access.Secrets}, repo.Options{Now: w.clock.now, Header: h})
		w.must(err)
		o := repair.Options{Repo: r, Dir: w.dir, Now: w.clock.now, Config: raw}
		p, err := repair.Examine(ctx, o)
		w.must(err)
		if len(p.Steps) != 1 {
			t.Errorf("%d steps", len(p.Steps))
		}
		_, err = repair.Run(ctx, o, p, nil)
		w.must(err)
		if got := get(t, w.mem, "firn.json"); !bytes.Equal(got, raw) {
			t.Errorf("%s: firn.json is %q", how, got)
		}
		w.sound(files)
	}
}

func TestState(t *testing.T) {
	w := threeBackups(t, "", 0)
	r, err := repo.Open(ctx, w.mem, w.access, repo.Options{Now: w.clock.now})
	w.must(err)
	s, err := r.Load(ctx, w.access.Host.ScopeID, true)
	w.must(err)
	out, err := r.NewWriter(ctx, s, repo.WriterOptions{Lanes: 1})
	w.must(err)
	w.must(out.PutState(ctx, nil))
	name := w.names("state/", "")[0]
	w.flip(name, 50, 1)
	if _, res := w.repair(w.mem, nil); !res.Well() || res.Count(repair.Mended) != 1 || len(w.names("state/", "")) != 0 {
		t.Error(outcomes(res))
	}
}

// TestRevocation: what lies in the place of a revocation and never was one goes; one that is damaged stays, for somebody who knows what it said.
func TestRevocation(t *testing.T) {
	w := threeBackups(t, "", 0)
	files := w.readable(w.mem)
	r, err := repo.Open(ctx, w.mem, w.access, repo.Options{Now: w.clock.now})
	w.must(err)
	name := "hosts/" + w.access.Host.Host.String() + ".revoked"
	w.mem.Replace(name, []byte("garbage"))
	if _, res := w.repair(w.mem, nil); !res.Well() || res.Count(repair.Mended) != 1 || len(w.names("hosts/", ".revoked")) != 0 {
		t.Error(outcomes(res))
	}
	w.sound(files)
	other, err := r.Enroll(ctx, "other", "nas", keys.Writer)
	w.must(err)
	w.must(r.Revoke(ctx, other.Host, "old"))
	if _, res := w.repair(w.mem, nil); !res.Well() || len(w.names("hosts/", ".revoked")) != 1 {
		t.Error(outcomes(res))
	}
	name = w.names("hosts/", ".revoked")[0]
	w.flip(name, len(w.all()[name])-20, 3)
	if _, res := w.repair(w.mem, nil); res.Well() || len(w.names("hosts/", ".revoked")) != 1 {
		t.Error(outcomes(res))
	}
}
