package repo_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"firn/internal/repo"
	"firn/internal/seal"
)

// texts makes files whose content does not compress.
func texts(seed uint64, n, size int) (out []string) {
	r := rand.New(rand.NewPCG(seed, 1))
	for range n {
		b := make([]byte, size+r.IntN(size))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		out = append(out, string(b))
	}
	return out
}

// replace puts other bytes in the place of an object.
func (w *world) replace(name string, raw []byte) {
	w.t.Helper()
	w.must(w.mem.Delete(ctx, name))
	w.add(name, raw)
}

// packs returns the packs of the index.
func packs(t testing.TB, s *repo.ScopeState) (all []repo.PackObject) {
	t.Helper()
	if err := s.EachPack(func(p *repo.PackObject) error {
		all = append(all, *p)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestVerifySound(t *testing.T) {
	w := newWorld(t, repo.InitOptions{})
	w.backup(w.access, texts(1, 20, 100<<10)...)
	s := w.load(w.open(w.access))
	v := s.NewVerifier()
	all := packs(t, s)
	if len(all) < 2 {
		t.Fatalf("%d packs", len(all))
	}
	for _, p := range all {
		f, err := v.Stored(ctx, &p)
		if f != nil || err != nil {
			t.Errorf("%s: %v, %v", p.Object, f, err)
		}
		if f, err := v.Pack(ctx, p.Object, nil, repo.OpenStored(w.st, p.Object), p.Size); f != nil || err != nil {
			t.Errorf("%s without its index: %v, %v", p.Object, f, err)
		}
	}
	host := w.open(repo.Access{Host: w.access.Host})
	hs, err := host.Load(ctx, w.access.Host.ScopeID, true)
	w.must(err)
	for _, p := range packs(t, hs) {
		if f, err := hs.NewVerifier().Stored(ctx, &p); f != nil || err != nil {
			t.Errorf("%s by its sum: %v, %v", p.Object, f, err)
		}
	}
}

// readable tells which chunks a reader still brings back from a damaged pack: the judge of what a verifier says is lost.
func (w *world) readable(s *repo.ScopeState, p *repo.PackObject) map[string]bool {
	w.t.Helper()
	rd, err := w.open(w.access).NewReader(s, p.Epoch)
	w.must(err)
	refs, err := s.PackChunks(ctx, p.Name)
	w.must(err)
	good := map[string]bool{}
	for _, r := range refs {
		if _, err := rd.Chunk(ctx, r.ID); err == nil {
			good[r.ID.String()] = true
		}
	}
	return good
}

// Whatever happens to a pack is found, and what is said to be lost is what cannot be read.
func TestVerifyDamage(t *testing.T) {
	w := newWorld(t, repo.InitOptions{})
	w.backup(w.access, texts(2, 24, 90<<10)...)
	s := w.load(w.open(w.access))
	all := packs(t, s)
	random := rand.New(rand.NewPCG(3, 4))
	kinds := map[repo.FindingKind]int{}
	for i := range 120 {
		p := all[i%len(all)]
		whole := w.object(p.Object)
		raw := bytes.Clone(whole)
		how := ""
		switch at := random.IntN(len(raw)); i / len(all) % 6 {
		case 0:
			how, raw[at] = fmt.Sprintf("byte %d flipped", at), raw[at]^1
		case 1:
			how, raw = fmt.Sprintf("cut at %d", at), raw[:at]
		case 2:
			how, raw = "a byte more", append(raw, 0)
		case 3:
			how, raw = fmt.Sprintf("a byte more at %d", at), append(bytes.Clone(raw[:at]), append([]byte{7}, raw[at:]...)...)
		case 4:
			how = "exchanged"
			raw = w.object(all[(i+1)%len(all)].Object)
		case 5:
			n := min(len(raw)-at, 4096)
			how = fmt.Sprintf("%d bytes at %d zero", n, at)
			clear(raw[at : at+n])
		}
		w.replace(p.Object, raw)
		f, err := s.NewVerifier().Stored(ctx, &p)
		if err != nil || f == nil || f.Object != p.Object || f.Pack != p.Name {
			t.Fatalf("%s, %s: %v, %v", p.Object, how, f, err)
		}
		kinds[f.Kind]++
		good := w.readable(s, &p)
		for _, lost := range f.Chunks {
			if good[lost.ID.String()] {
				t.Errorf("%s, %s: chunk %v is said to be lost and can be read", p.Object, how, lost.ID)
			}
		}
		if len(good)+len(f.Chunks) != p.Count {
			t.Errorf("%s, %s: %d of %d chunks can be read, %d are said to be lost", p.Object, how, len(good), p.Count, len(f.Chunks))
		}
		if f.Whole != (len(good) == 0) {
			t.Errorf("%s, %s: whole %v", p.Object, how, f.Whole)
		}
		if f, err := repo.VerifySum(ctx, p.Object, repo.OpenStored(w.st, p.Object), p.Name, p.Size); f == nil || err != nil {
			t.Errorf("%s, %s: by its sum: %v, %v", p.Object, how, f, err)
		}
		w.replace(p.Object, whole)
	}
	w.must(w.mem.Delete(ctx, all[0].Object))
	if f, err := s.NewVerifier().Stored(ctx, &all[0]); err != nil || f == nil || f.Kind != repo.Missing || len(f.Chunks) != all[0].Count {
		t.Errorf("gone: %+v, %v", f, err)
	}
	t.Log(kinds)
}

// Damaged bytes are told with their places.
func TestVerifySpans(t *testing.T) {
	w := newWorld(t, repo.InitOptions{})
	w.backup(w.access, texts(5, 12, 300<<10)...)
	s := w.load(w.open(w.access))
	for _, p := range packs(t, s) {
		if p.Size < 1<<20 {
			continue
		}
		raw := w.object(p.Object)
		at := int64(len(p.Prefix)) + 5*seal.SealedSegment + 77
		raw[at] ^= 0x40
		f, err := s.NewVerifier().Pack(ctx, p.Object, &p.Info, repo.OpenBytes(bytes.NewReader(raw), int64(len(raw))), int64(len(raw)))
		if err != nil || f == nil || f.Kind != repo.WrongSum || len(f.Spans) != 1 || f.Spans[0] != (repo.Span{Offset: at - 77, Length: seal.SealedSegment}) {
			t.Fatalf("%+v, %v", f, err)
		}
		if f.Whole || len(f.Chunks) == 0 || len(f.Chunks) > 2 {
			t.Errorf("%d of %d chunks lost", len(f.Chunks), p.Count)
		}
		return
	}
	t.Fatal("no large pack")
}

// A store that breaks off has said nothing about the pack.
func TestVerifyBroken(t *testing.T) {
	w := newWorld(t, repo.InitOptions{})
	w.backup(w.access, texts(6, 10, 300<<10)...)
	s := w.load(w.open(w.access))
	for _, p := range packs(t, s) {
		whole := w.object(p.Object)
		n := 0
		open := func(ctx context.Context, off, length int64) (io.ReadCloser, error) {
			rc, err := repo.OpenBytes(bytes.NewReader(whole), int64(len(whole)))(ctx, off, length)
			if n++; length < 0 && err == nil {
				return io.NopCloser(io.MultiReader(io.LimitReader(rc, int64(len(whole))/2), broken{})), nil
			}
			return rc, err
		}
		if f, err := s.NewVerifier().Pack(ctx, p.Object, &p.Info, open, p.Size); f != nil || err == nil {
			t.Errorf("%v, %v", f, err)
		}
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, fmt.Errorf("connection reset") }

func TestParseName(t *testing.T) {
	sum := "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	for name, ok := range map[string]bool{
		"firn.json": true, "RECOVER.md": true, "data/0123456789abcdef/01/" + sum: true, "data/0123456789abcdef/02/" + sum: false, "data/0123456789abcdef/01/" + sum + ".par2": true,
		"meta/01/" + sum: false, "index/0123456789abcdef/0000000000000001-" + sum: true, "index/0123456789abcdef/" + sum: false, "packset/0123456789abcdef/" + sum: true,
		"snapshots/0123456789abcdef/00": true, "prune/0000000000000001-" + sum: true, "state/x/0000000000000001-" + sum: true, "keys/a.age": true, "other": false, "other/x": false, "": false,
	} {
		o, got := repo.ParseName(name)
		if got != ok {
			t.Errorf("%q: %v", name, got)
		}
		if o.Volume && o.Summed() {
			t.Errorf("%q has no sum in its name", name)
		}
	}
}
