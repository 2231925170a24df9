package repo_test

import (
	"errors"
	"slices"
	"testing"

	"firn/internal/digest"
	"firn/internal/index"
	"firn/internal/keys"
	"firn/internal/pack"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/store"
)

// reader opens the repository as a repair does: with everything, and as no host.
func (w *world) reader() (*repo.Repository, *repo.ScopeState) {
	w.t.Helper()
	r := w.open(repo.Access{Secrets: w.access.Secrets})
	return r, w.load(r)
}

// strays lists the packs that the store has.
func (w *world) strays(s *repo.ScopeState) (out []store.Info) {
	w.t.Helper()
	w.must(s.ListPacks(ctx, func(o repo.ObjectName, i store.Info) error {
		out = append(out, i)
		return nil
	}))
	return out
}

// dropIndexes deletes every index object.
func (w *world) dropIndexes() {
	w.t.Helper()
	for _, n := range w.names("index/") {
		w.must(w.mem.Delete(ctx, n))
	}
}

func TestReindex(t *testing.T) {
	w := newWorld(t, repo.InitOptions{})
	item := w.backup(w.access, "one", "two")
	_, before := w.reader()
	w.dropIndexes()
	_, s := w.reader()
	var packs []index.Pack
	for _, i := range w.strays(s) {
		p, err := s.ReadStray(ctx, i, repo.OpenStored(w.st, i.Name))
		w.must(err)
		old, ok, err := before.FindPack(p.Name)
		if err != nil || !ok || old.Size != p.Size || old.Kind != p.Kind || old.Epoch != p.Epoch || old.Padding != p.Padding || !slices.Equal(old.Prefix, p.Prefix) || old.Count != len(p.Chunks) {
			t.Errorf("read %+v, was %+v, %v, %v", p, old, ok, err)
		}
		packs = append(packs, *p)
	}
	names, err := s.Reindex(ctx, packs)
	if err != nil || len(names) != 1 {
		t.Fatal(names, err)
	}
	w.expect(w.access, item.ID, snapshot.IsDone, "one", "two")
	w.expect(repo.Access{Secrets: w.access.Secrets}, item.ID, snapshot.IsDone, "one", "two")
	// A host that writes relies on it: what is there is not stored again.
	w.backup(w.access, "one", "two")
	if n := len(w.names("data/")); n != 1 {
		t.Errorf("%d data packs", n)
	}
	if _, err := w.open(repo.Access{Host: w.access.Host}).Load(ctx, w.access.Host.ScopeID, true); err != nil {
		t.Error(err)
	}
}

// TestStrayWithoutAuthor: the author of a pack was revoked before the store got it, or its certificate is gone. Then its chunks have to speak for it.
func TestStrayWithoutAuthor(t *testing.T) {
	for _, how := range []string{"lost", "revoked"} {
		for _, lies := range []bool{false, true} {
			w := newWorld(t, repo.InitOptions{})
			admin := w.open(w.access)
			rogue, err := admin.Enroll(ctx, "rogue", w.access.Host.ScopeName, keys.Writer)
			w.must(err)
			if how == "revoked" {
				w.must(admin.Revoke(ctx, rogue.Host, "test"))
			}
			r := w.open(repo.Access{Secrets: w.access.Secrets, Host: rogue})
			s := w.load(r)
			b := w.begin(r, s, repo.WriterOptions{})
			id := b.hash.Sum([]byte("true"))
			content := "true"
			if lies {
				content = "lie"
			}
			_, err = b.out.Put(0, 0, id, []byte(content))
			w.must(err)
			w.must(b.out.SendPacks(ctx))
			if how == "lost" {
				w.must(w.mem.Delete(ctx, "hosts/"+rogue.Host.String()))
			}
			w.dropIndexes()
			_, s = w.reader()
			for _, i := range w.strays(s) {
				_, err := s.ReadStray(ctx, i, repo.OpenStored(w.st, i.Name))
				var object *repo.ObjectError
				if lies && !errors.As(err, &object) || !lies && err != nil {
					t.Errorf("%s, lies %v: %v", how, lies, err)
				}
			}
		}
	}
}

func TestStrayDamaged(t *testing.T) {
	w := newWorld(t, repo.InitOptions{})
	w.backup(w.access, "one", "two")
	w.dropIndexes()
	_, s := w.reader()
	i := w.strays(s)[0]
	raw := w.object(i.Name)
	for at := range raw {
		bad := slices.Clone(raw)
		bad[at] ^= 1
		w.mem.Replace(i.Name, bad)
		p, err := s.ReadStray(ctx, i, repo.OpenStored(w.st, i.Name))
		if err == nil && at > len(p.Prefix) && at > len(raw)-pack.FooterSize {
			t.Errorf("byte %d is wrong, and the table was read", at)
		}
	}
	w.mem.Replace(i.Name, raw)
	other := i
	other.Name = "meta" + i.Name[4:]
	w.add(other.Name, raw)
	if _, err := s.ReadStray(ctx, other, repo.OpenStored(w.st, other.Name)); err == nil {
		t.Error("a pack of data counts as one of manifests")
	}
	r := w.open(repo.Access{Host: w.access.Host})
	if _, err := w.load(r).ReadStray(ctx, i, repo.OpenStored(w.st, i.Name)); !errors.Is(err, repo.ErrWriteOnly) {
		t.Errorf("without secrets: %v", err)
	}
}

func TestPartAgain(t *testing.T) {
	w := newWorld(t, repo.InitOptions{})
	item := w.backup(w.access, "one", "two", "three")
	w.backup(w.access, "four")
	_, s := w.reader()
	want, err := s.PackNames(ctx, item.Snapshot)
	w.must(err)
	name, object, err := s.SealPart(ctx, item.Snapshot, item.Packs[0])
	w.must(err)
	if name == s.PartName(item.Packs[0]) {
		t.Error("sealed twice to the same bytes")
	}
	w.must(w.mem.Delete(ctx, s.PartName(item.Packs[0])))
	_, s = w.reader()
	var broken *repo.ObjectError
	if _, err := s.PackNames(ctx, item.Snapshot); !errors.As(err, &broken) {
		t.Errorf("pack set is lost: %v", err)
	}
	w.add(name, object)
	for _, a := range []repo.Access{w.access, {Secrets: w.access.Secrets}, {Host: w.access.Host}} {
		s := w.load(w.open(a))
		if got, err := s.PackNames(ctx, item.Snapshot); err != nil || !slices.Equal(got, want) {
			t.Errorf("%v, %v; want %v", got, err, want)
		}
	}
}

func TestHurts(t *testing.T) {
	w := newWorld(t, repo.InitOptions{})
	item := w.backup(w.access, "one", "two", "three")
	r, s := w.reader()
	rd, err := r.NewReader(s, 0)
	w.must(err)
	gone := rd.Sum([]byte("two"))
	h, err := s.Hurts(ctx, item.Snapshot, func(id digest.Chunk) bool { return id == gone })
	if err != nil || h == nil || !slices.Equal(h.Files, []string{"f001"}) || h.Entries != 0 {
		t.Errorf("%+v, %v", h, err)
	}
	if h, err = s.Hurts(ctx, item.Snapshot, func(digest.Chunk) bool { return false }); h != nil || err != nil {
		t.Errorf("%+v, %v", h, err)
	}
	if h, err = s.Hurts(ctx, item.Snapshot, func(id digest.Chunk) bool { return id == item.Manifest.Chunk }); err != nil || h == nil || h.Entries == 0 && h.Err == nil {
		t.Errorf("%+v, %v", h, err)
	}
}
