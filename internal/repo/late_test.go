package repo_test

import (
	"fmt"
	"strings"
	"testing"

	"firn/internal/chunk"
	"firn/internal/digest"
	"firn/internal/index"
	"firn/internal/keys"
	"firn/internal/repo"
	"firn/internal/sign"
	"firn/internal/snapshot"
)

// index adds an object of the index that a thief made with the key of a host, and returns its name.
func (w *world) index(signer *sign.Signer, h index.Header, packs ...index.Pack) string {
	w.t.Helper()
	h.Author = [16]byte(signer.Author())
	body, err := index.AppendHeader(nil, h)
	for i := range packs {
		w.must(err)
		body, err = index.AppendPack(body, &packs[i])
	}
	w.must(err)
	object := w.envelope(sign.Index, body, signer)
	name := fmt.Sprintf("index/%v/%016x-%v", w.access.Host.ScopeID, uint64(w.clock.now().UnixMicro()), digest.SumObject(object))
	w.add(name, object)
	return name
}

// without writes the index again without packs that nobody has, and returns what is left of some objects.
func (w *world) without(objects []string) (left []string) {
	w.t.Helper()
	p, err := w.open(repo.Access{Secrets: w.access.Secrets}).LoadToPrune(ctx, w.access.Host.ScopeID)
	w.must(err)
	_, _, err = p.DropFromIndexes(ctx, w.clock.now(), func(digest.Object) bool { return false })
	w.must(err)
	for _, name := range objects {
		if _, err := w.mem.Stat(ctx, name); err == nil {
			left = append(left, name)
		}
	}
	return left
}

// What a thief names in the index after the key that he has was revoked does not count, and is not signed again by somebody who counts.
func TestLateIndexIsNotLaundered(t *testing.T) {
	w := newWorld(t, repo.InitOptions{})
	w.backup(w.access, "one")
	second, err := w.open(w.access).Enroll(ctx, "second", "nas", keys.Writer)
	w.must(err)
	w.must(w.open(w.access).Revoke(ctx, second.Host, "stolen"))
	// content of his choice under the id of content that the host is going to back up
	evil := digest.NewHasher(w.access.Host.Scope().ChunkKey(0)).Sum([]byte("two"))
	for i := range 17 {
		w.index(second.Signer(), index.Header{}, index.Pack{Name: digest.Object{9, byte(i)}, Kind: chunk.Data, Size: 1000, Birth: w.clock.now(), Prefix: []byte("x"),
			Chunks: []chunk.Ref{{ID: evil, Frame: 12, Raw: 3}}})
	}
	known := func() bool {
		s := w.load(w.open(repo.Access{Host: w.access.Host}))
		_, ok, err := s.Set().Known(evil, chunk.Data)
		w.must(err)
		return ok
	}
	if known() {
		t.Fatal("before: counts")
	}
	for i := range 17 { // many small ones of its own, so that there is something to do
		w.backup(w.access, fmt.Sprint("text ", i))
	}
	w.without(nil)
	if known() {
		t.Error("an index that came after the revocation counts now, signed by the root key")
	}
	r, s := w.reader()
	w.must(s.EachIndexed(ctx, func(p *index.Pack) error {
		if p.Name[0] == 9 && p.Size == 1000 {
			t.Errorf("pack %v, of an index that came after the revocation, would be named again", p.Name)
		}
		return nil
	}))
	if refs, err := s.PackChunks(ctx, digest.Object{9, 1}); err != nil || refs != nil {
		t.Errorf("chunks of pack %v are believed: %v, %v", r.ID(), refs, err)
	}
}

// Objects of the index go only in favour of one that counts and that names all of their packs, whatever one says to be in their place.
func TestIndexThatReplacesNothing(t *testing.T) {
	for _, who := range []string{"revoked", "certified", "host"} {
		w := newWorld(t, repo.InitOptions{})
		item := w.backup(w.access, "one")
		others := 17
		if who == "host" {
			others = 5 // too few to be merged
		}
		for i := range others {
			w.backup(w.access, fmt.Sprint("text ", i))
		}
		real := w.names("index/")
		var h index.Header
		for _, name := range real {
			h.Replaces = append(h.Replaces, name[strings.LastIndexByte(name, '/')+1:])
		}
		h.Level = 1
		signer := w.access.Host.Signer()
		if who != "host" {
			thief, err := w.open(w.access).Enroll(ctx, "thief", "nas", keys.Pruner)
			w.must(err)
			if signer = thief.Signer(); who == "revoked" {
				w.must(w.open(w.access).Revoke(ctx, thief.Host, "stolen"))
			}
		}
		w.index(signer, h)
		if who == "host" {
			w.load(w.open(w.access)).Tidy(ctx) // holds everything
		}
		if left := w.without(real); len(left) < len(real) {
			t.Errorf("%s: %d of %d index objects are left", who, len(left), len(real))
		}
		w.expect(w.access, item.ID, snapshot.IsDone, "one")
	}
}
