package frozen

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"firn/internal/cdc"
	"firn/internal/chunk"
	"firn/internal/digest"
	"firn/internal/format"
	"firn/internal/frame"
	"firn/internal/index"
	"firn/internal/keys"
	"firn/internal/manifest"
	"firn/internal/manifest/linetree"
	"firn/internal/pack"
	"firn/internal/packset"
	"firn/internal/sign"
	"firn/internal/snapshot"
)

// makeMissing writes what is not there yet. What is there stays as it is for ever: another format gets files of another name.
var makeMissing = flag.Bool("make-missing", false, "write vectors and frozen repositories that are not there yet")

const testdata = "../../testdata"

// object is a JSON object whose members are sorted.
type object = map[string]any

// TestVectors: what the code computes from fixed inputs is what testdata/vectors says.
func TestVectors(t *testing.T) {
	for name, compute := range map[string]func(t *testing.T) any{
		"keys": keyVectors, "gear": gearVectors, "padme": padmeVectors, "chunks": chunkVectors, "proofs": proofVectors, "json": jsonVectors,
		"linetree": lineTreeVectors, "pack": packVectors, "manifest": manifestVectors, "index": indexVectors, "packset": packsetVectors, "bodies": bodyVectors,
	} {
		t.Run(name, func(t *testing.T) {
			var got bytes.Buffer
			enc := json.NewEncoder(&got)
			enc.SetEscapeHTML(false)
			enc.SetIndent("", "  ")
			if err := enc.Encode(compute(t)); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(testdata, "vectors", name+".json")
			want, err := os.ReadFile(path)
			if os.IsNotExist(err) && *makeMissing {
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want = bytes.ReplaceAll(want, []byte("\r\n"), []byte("\n"))
			if !bytes.Equal(want, got.Bytes()) {
				t.Errorf("%s says\n%s\nthe code says\n%s", path, want, got.Bytes())
			}
		})
	}
}

func hexed(b []byte) string { return hex.EncodeToString(b) }

// count is n bytes that count up from first.
func count(first byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = first + byte(i)
	}
	return b
}

// stream is n bytes of SHA-256(label ‖ number of the block in 8 bytes), block after block.
func stream(label string, n int) []byte {
	out := make([]byte, 0, n+32)
	for i := uint64(0); len(out) < n; i++ {
		sum := sha256.Sum256(binary.LittleEndian.AppendUint64([]byte(label), i))
		out = append(out, sum[:]...)
	}
	return out[:n]
}

// The fixed inputs of all vectors.
var (
	vectorRepo   = [16]byte(count(0, 16))
	vectorMaster = keys.Secret(count(0x20, 32))
	vectorRoot   = [32]byte(count(0x40, 32))
	vectorHost   = [32]byte(count(0x60, 32))
	vectorTime   = time.Date(2026, 11, 20, 10, 0, 0, 123456789, time.UTC)
)

func vectorScope() *keys.Scope {
	return keys.DeriveScope(&vectorMaster, vectorRepo, keys.X25519, keys.DeriveScopeID(&vectorMaster, vectorRepo, "nas"))
}

func vectorSigner() *sign.Signer {
	s := vectorScope()
	return sign.NewSigner(s.Repo, s.ID, s.MACKey(), vectorHost)
}

func keyVectors(t *testing.T) any {
	s := vectorScope()
	epochs := []object{}
	for _, e := range []uint32{0, 1, 0x01020304} {
		ck, lk := s.ChunkKey(e), s.ListKey(e)
		epochs = append(epochs, object{"epoch": e, "chunk_key": hexed(ck[:]), "list_key": hexed(lk[:])})
	}
	mac, source, gear := s.MACKey(), s.SourceKey(), s.GearTable()
	out := object{
		"about": "FORMAT §4: derivations", "repository": hexed(vectorRepo[:]), "master": hexed(vectorMaster[:]), "scope_name": "nas", "scope_id": s.ID.String(),
		"scope_secret": hexed(s.Secret[:]), "epochs": epochs, "mac_key": hexed(mac[:]), "source_key": hexed(source[:]),
		"gear_table_first_32_bytes": hexed(gear[:32]), "gear_table_sha256": fmt.Sprintf("%x", sha256.Sum256(gear)),
	}
	for _, seal := range []keys.Seal{keys.X25519, keys.Hybrid} {
		id, err := (&keys.Scope{ID: s.ID, Repo: s.Repo, Seal: seal, Secret: s.Secret}).IndexIdentity()
		if err != nil {
			t.Fatal(err)
		}
		out["index_identity_"+string(seal)] = id.Secret()
		out["index_recipient_"+string(seal)+"_sha256"] = fmt.Sprintf("%x", sha256.Sum256([]byte(id.Public())))
	}
	out["sources"] = []object{
		{"kind": "dir", "host": "nas", "name": "", "path": "/srv/photos", "id": snapshot.SourceID(source, "dir", "nas", "", []byte("/srv/photos")).String()},
		{"kind": "dir", "host": "nas", "name": "photos", "path": "/srv/photos", "id": snapshot.SourceID(source, "dir", "nas", "photos", []byte("/srv/photos")).String()},
	}
	return out
}

func gearVectors(*testing.T) any {
	table := cdc.NewTable(vectorScope().GearTable())
	out := []object{}
	for _, c := range []struct {
		p    cdc.Params
		what string
		data []byte
	}{
		{cdc.Params{Min: 64 << 10, Avg: 96 << 10, Max: 256 << 10}, "SHA-256(\"firn/1 stream\" ‖ number of the block, 8 bytes), block after block", stream("firn/1 stream", 3<<20)},
		{cdc.Params{Min: 512 << 10, Avg: 1 << 20, Max: 8 << 20}, "SHA-256(\"firn/1 stream\" ‖ number of the block, 8 bytes), block after block", stream("firn/1 stream", 6<<20)},
		{cdc.Params{Min: 64 << 10, Avg: 200_000, Max: 300_000}, "SHA-256(\"firn/1 stream\" ‖ number of the block, 8 bytes), block after block", stream("firn/1 stream", 3<<20)},
		{cdc.Params{Min: 64 << 10, Avg: 96 << 10, Max: 256 << 10}, "zeros", make([]byte, 1<<20)},
	} {
		cutter := cdc.NewCutter(table, c.p)
		lengths := []int{}
		for rest := c.data; len(rest) > 0; {
			n := cutter.Next(rest)
			if n == 0 {
				n = len(rest)
			}
			lengths = append(lengths, n)
			rest = rest[n:]
			cutter.Reset()
		}
		out = append(out, object{"min": c.p.Min, "avg": c.p.Avg, "max": c.p.Max, "data": c.what, "length": len(c.data), "chunks": lengths})
	}
	hashes := object{}
	for _, key := range []string{"", "a", "docs/letter.txt", strings.Repeat("0123456789", 10)} {
		hashes[key] = fmt.Sprintf("%016x", table.Hash([]byte(key)))
	}
	return object{"about": "FORMAT §7.1: cuts with the gear table of keys.json; §7.3: gear hashes of keys", "cuts": out, "hashes": hashes}
}

func padmeVectors(*testing.T) any {
	sizes := [][3]int64{}
	for _, n := range []int64{1, 2, 9, 16, 17, 100, 1000, 1024, 4095, 4097, 65_536, 65_537, 99_999, 1 << 20, 1<<20 + 1, 16_777_217, 1 << 30, 4_000_000_000} {
		sizes = append(sizes, [3]int64{n, frame.Padme(n), frame.PaddingSize(n)})
	}
	return object{"about": "FORMAT §2.3: length, the next Padmé size, the length of the padding frame that is added", "sizes": sizes}
}

func chunkVectors(t *testing.T) any {
	s := vectorScope()
	h := digest.NewHasher(s.ChunkKey(0))
	ids := []object{}
	for _, n := range []int{1, 5, 1024, 1025, 100_000} {
		data := stream("firn/1 stream", n)
		ids = append(ids, object{"length": n, "id": h.Sum(data).String()})
	}
	a, b := h.Sum([]byte("a")), h.Sum([]byte("bb"))
	list := manifest.NewListHash(digest.NewHasher(s.ListKey(0)))
	for _, p := range []manifest.Piece{{Chunk: a, Length: 1}, {Length: 65_536}, {Chunk: b, Offset: 1, Length: 1}} {
		list.Add(p)
	}
	sum := list.Sum()
	whole := manifest.ShortHash(h.Sum([]byte("firn")))
	return object{
		"about": "FORMAT §7: ids of the first bytes of the stream of gear.json under the chunk key of epoch 0; §7.4: file hashes, first 12 bytes",
		"ids":   ids, "hash_of_firn_in_one_piece": hexed(whole[:]),
		"pieces": []any{[]any{a.String(), 0, 1}, []any{nil, 0, 65_536}, []any{b.String(), 1, 1}}, "hash_of_pieces": hexed(sum[:]),
	}
}

func proofVectors(*testing.T) any {
	signer := vectorSigner()
	scope := signer.Scope()
	body := []byte("body\n")
	out := object{"about": "FORMAT §5: message, MAC and signature of a body; payload of the last frame of its envelope", "body": string(body), "host_seed": hexed(vectorHost[:]),
		"host_public": hexed(signer.Public()), "host": signer.Author().String(), "root_seed": hexed(vectorRoot[:])}
	for _, kind := range []sign.Kind{sign.Snapshot, sign.Pack} {
		p := signer.Sign(kind, sha256.Sum256(body))
		out[string(kind)] = object{"message": string(sign.Message(kind, vectorRepo, scope, sha256.Sum256(body))), "mac": hexed(p.MAC[:]), "signature": hexed(p.Sig[:]), "payload": hexed(p.Append([]byte("FIRNSIG1")))}
	}
	root := sign.NewRootSigner(vectorRepo, scope, vectorScope().MACKey(), vectorRoot)
	p := root.Sign(sign.Host, sha256.Sum256(body))
	out["host by the root key"] = object{"payload": hexed(p.Append([]byte("FIRNSIG1")))}
	return out
}

func jsonVectors(t *testing.T) any {
	documents := []object{}
	for _, doc := range []string{
		`{"b":1,"a":[true,false,-5,9007199254740991],"":{}}`,
		`{"€":"\u20ac","\ud83d\ude00":"\u000f\n\"\\/<&>","ö":"\u00f6","z":" "}`,
		`{ "nested" : { "y" : [ { } , [ ] ] , "x" : "\u0041" } }`,
	} {
		canonical, err := sign.JCS(json.RawMessage(doc))
		if err != nil {
			t.Fatal(err)
		}
		documents = append(documents, object{"document": doc, "canonical": string(canonical)})
	}
	public := ed25519.NewKeyFromSeed(vectorRoot[:]).Public().(ed25519.PublicKey)
	raw, err := format.New(vectorRepo, public, format.SealX25519, vectorTime).Marshal(vectorRoot)
	if err != nil {
		t.Fatal(err)
	}
	if err := format.VerifySignature(raw, public); err != nil {
		t.Fatal(err)
	}
	return object{"about": "FORMAT §3: canonical JSON (RFC 8785), and a firn.json signed by the root key of proofs.json", "documents": documents, "firn.json": string(raw)}
}

// treeVector lists the chunks that a line tree is stored as.
func treeVector(t *testing.T, build func(sink linetree.Sink) (linetree.Tree, error)) any {
	h := digest.NewHasher(vectorScope().ChunkKey(0))
	chunks := []object{}
	tree, err := build(func(content []byte) (digest.Chunk, error) {
		id := h.Sum(content)
		last := content[bytes.LastIndexByte(content[:len(content)-1], '\n')+1:]
		chunks = append(chunks, object{"length": len(content), "lines": bytes.Count(content, []byte("\n")), "id": id.String(), "last_line": string(last)})
		return id, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return object{"chunks": chunks, "tree": tree}
}

func lineTreeVectors(t *testing.T) any {
	hash := cdc.NewTable(vectorScope().GearTable()).Hash
	manifestTree := treeVector(t, func(sink linetree.Sink) (linetree.Tree, error) {
		b := linetree.NewBuilder(hash, manifest.Compare, sink)
		for i := range 4000 {
			key := fmt.Sprintf("folder %03d/file %05d", i/50, i)
			if err := b.Add([]byte(key), fmt.Appendf(nil, `{"path":%q,"number":%d}`+"\n", key, i*i)); err != nil {
				return linetree.Tree{}, err
			}
		}
		return b.Finish()
	})
	contentTree := treeVector(t, func(sink linetree.Sink) (linetree.Tree, error) {
		c := manifest.NewContentBuilder(hash, sink, digest.NewHasher(vectorScope().ListKey(0)))
		for i := range 1500 {
			p := manifest.Piece{Chunk: digest.Chunk(sha256.Sum256([]byte{byte(i), byte(i >> 8)})), Length: int64(1000 + i)}
			if i%10 == 9 {
				p = manifest.Piece{Length: 65_536}
			}
			if err := c.Add(p); err != nil {
				return linetree.Tree{}, err
			}
		}
		var e manifest.Entry
		err := c.Finish(&e)
		return e.Tree, err
	})
	return object{
		"about":    "FORMAT §7.3: chunks in the order in which they are complete, under the chunk key of epoch 0, and the name of the tree",
		"manifest": object{"lines": "for i from 0 to 3999: {\"path\":\"folder FFF/file IIIII\",\"number\":i²} and 0x0A, F = i/50 in 3 digits, I = i in 5; key: the path", "result": manifestTree},
		"content":  object{"lines": "for i from 0 to 1499: [null,0,65536] where i mod 10 = 9, else [SHA-256(i in 2 bytes),0,1000+i]", "result": contentTree},
	}
}

// stored is a content frame with one raw block, which any writer can make the same.
func stored(content []byte) []byte {
	out := []byte{0x28, 0xb5, 0x2f, 0xfd, 0x20, byte(len(content))}
	h := uint32(len(content))<<3 | 1
	return append(append(out, byte(h), byte(h>>8), byte(h>>16)), content...)
}

func packVectors(t *testing.T) any {
	out := object{"about": "FORMAT §6: plaintext of a pack of two chunks, stored in raw blocks, without and with padding; author and keys as in proofs.json", "chunks": []string{"one", "three"}}
	for name, padding := range map[string]bool{"plain": false, "padded": true} {
		h := digest.NewHasher(vectorScope().ChunkKey(1))
		b := pack.NewBuilder(chunk.Data, vectorScope().ID, 1, 1<<20)
		for _, text := range out["chunks"].([]string) {
			f := stored([]byte(text))
			if raw, err := frame.NewDecoder().Append(nil, f, len(text)); err != nil || string(raw) != text {
				t.Fatalf("%q, %v", raw, err)
			}
			b.AddFrame(chunk.Ref{ID: h.Sum([]byte(text)), Frame: uint32(len(f)), Raw: uint32(len(text))}, f)
		}
		plain, pad := b.Finish(vectorSigner(), padding)
		out[name] = object{"plaintext": hexed(plain), "padding": pad}
	}
	return out
}

func manifestVectors(t *testing.T) any {
	id := digest.Chunk(count(1, 32))
	base := manifest.Entry{Mode: 0o644, UID: 1000, GID: 100, Mtime: manifest.Time{Sec: 1690000000, Nsec: 5}}
	lines := []string{}
	for _, change := range []func(e *manifest.Entry){
		func(e *manifest.Entry) {
			e.Type, e.Mode, e.UID, e.GID, e.User, e.Group = manifest.Dir, 0o1777, -1, -1, "ada", "staff"
		},
		func(e *manifest.Entry) { e.Path = []byte("docs/empty") },
		func(e *manifest.Entry) {
			e.Path, e.Size, e.Hash = []byte("docs/letter \"x\"\n<ü>\u2028.txt"), 5, manifest.Hash(count(9, 12))
			e.Content = []manifest.Piece{{Chunk: id, Offset: 7, Length: 5}}
		},
		func(e *manifest.Entry) {
			e.Path, e.Size, e.Error = []byte("caf\xe9"), 65_541, "input/output error"
			e.Content = []manifest.Piece{{Length: 65_536}, {Chunk: id, Length: 5}}
			e.Xattrs = []manifest.Xattr{{Name: "user.a", Value: []byte{0, 255}}, {Name: "user.\xff", Value: nil}}
		},
		func(e *manifest.Entry) {
			e.Path, e.Size, e.Tree = []byte("image"), 1<<40, manifest.Tree{Chunk: id, Level: 2, Lines: 1_000_000, Bytes: 90_000_000}
		},
		func(e *manifest.Entry) { e.Path, e.Size, e.Hardlink = []byte("other"), 5, []byte("docs/letter") },
		func(e *manifest.Entry) {
			e.Path, e.Type, e.Mode, e.Target, e.Mtime = []byte("link"), manifest.Symlink, 0o777, []byte("caf\xe9"), manifest.Time{Sec: -1, Nsec: 500_000_000}
		},
		func(e *manifest.Entry) { e.Path, e.Type, e.Major, e.Minor = []byte("null"), manifest.Char, 1, 3 },
		func(e *manifest.Entry) { e.Path, e.Type, e.Mode = []byte("pipe"), manifest.FIFO, 0o4755 },
	} {
		e := base
		change(&e)
		if err := e.Check(); err != nil {
			t.Fatal(err)
		}
		line := manifest.AppendLine(nil, &e)
		var back manifest.Entry
		if err := manifest.ParseLine(line, &back); err != nil {
			t.Fatal(err)
		}
		if again := manifest.AppendLine(nil, &back); !bytes.Equal(again, line) {
			t.Fatalf("read and written again: %s", again)
		}
		lines = append(lines, string(line))
	}
	order := []string{"", "a", "a/b", "a/b/c", "a!", "a0", "b", "b/\x01", "b\x01", "\u00fc"}
	for i := 1; i < len(order); i++ {
		if manifest.Compare([]byte(order[i-1]), []byte(order[i])) >= 0 {
			t.Errorf("%q does not sort before %q", order[i-1], order[i])
		}
	}
	return object{"about": "FORMAT §7.4: lines of all types, and paths in order", "lines": lines, "order": order}
}

func indexVectors(t *testing.T) any {
	body, err := index.AppendHeader(nil, index.Header{Level: 1, Author: [16]byte(count(0x80, 16)), Replaces: []string{"00065c0000000000-" + strings.Repeat("ab", 32)}})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []index.Pack{
		{Name: digest.Object(count(1, 32)), Size: 1000, Birth: vectorTime, Prefix: count(0, 20), Chunks: []chunk.Ref{{ID: digest.Chunk(count(2, 32)), Frame: 100, Raw: 200}, {ID: digest.Chunk(count(3, 32)), Frame: 5, Raw: 1}}},
		{Name: digest.Object(count(4, 32)), Kind: chunk.Meta, Epoch: 7, Size: 2000, Class: "STANDARD_IA", Birth: vectorTime, Padding: 16, Par2: &index.Par2{Sum: digest.Object(count(5, 32)), Size: 99},
			Chunks: []chunk.Ref{{ID: digest.Chunk(count(6, 32)), Frame: 1 << 10, Raw: 1 << 20}}},
	} {
		if body, err = index.AppendPack(body, &p); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	if _, err := index.Parse(body, func(*index.Pack) error { n++; return nil }); err != nil || n != 2 {
		t.Fatalf("%d packs, %v", n, err)
	}
	return object{"about": "FORMAT §8: body of an index of two packs", "body": base64.StdEncoding.EncodeToString(body)}
}

func packsetVectors(*testing.T) any {
	var names []digest.Object
	for i := range 12_000 {
		names = append(names, sha256.Sum256(binary.LittleEndian.AppendUint32(nil, uint32(i))))
	}
	for i := range 6000 { // names of which none ends a part
		n := digest.Object(sha256.Sum256(binary.LittleEndian.AppendUint32([]byte("x"), uint32(i))))
		n[0], n[31] = 0xff, 1
		names = append(names, n)
	}
	parts := []object{}
	for _, p := range packset.Split(packset.Normalize(names)) {
		parts = append(parts, object{"names": len(p.Names), "digest": fmt.Sprintf("%x", p.Digest())})
	}
	return object{"about": "FORMAT §9: parts of a set of SHA-256(i in 4 bytes) for i from 0 to 11999, and SHA-256(\"x\" ‖ i in 4 bytes) for i from 0 to 5999 with the first byte ff and the last 01", "parts": parts}
}

func bodyVectors(t *testing.T) any {
	signer := vectorSigner()
	host := [16]byte(signer.Author())
	scope := vectorScope()
	sum := digest.Object(count(1, 32))
	out := object{"about": "FORMAT §4.3, §10 to §12: bodies in JSON"}
	add := func(name string, body []byte, err error) {
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		out[name] = string(body)
	}
	snap := &snapshot.Snapshot{
		ID: snapshot.ID(count(1, 16)), Start: vectorTime, End: vectorTime.Add(time.Minute), Host: "nas", HostID: host, Tags: []string{"weekly"}, Scope: scope.ID, Epoch: 2,
		Source: snapshot.Origin{ID: snapshot.Source(count(2, 8)), Kind: "dir", Name: "photos", Path: []byte("/srv/caf\xe9")}, Previous: &snapshot.Link{ID: snapshot.ID(count(3, 16)), Sum: sum}, Sequence: 5, Complete: true,
		Voids: []snapshot.ID{snapshot.ID(count(4, 16))}, Manifest: snapshot.Tree{Chunk: digest.Chunk(count(5, 32)), Level: 1, Lines: 1000, Bytes: 250_000},
		Packs: []snapshot.Part{{Object: sum, Packs: 12, Digest: digest.Object(count(6, 32))}}, Stats: snapshot.Stats{Files: 900, Dirs: 90, Others: 10, Bytes: 1 << 30, Problems: 1},
		Problems: []snapshot.Problem{{Path: "a<b", Error: "permission denied"}}, Program: "firn 1.0.0",
	}
	body, err := snap.Marshal()
	add("snapshot", body, err)
	first := *snap
	first.Previous, first.Sequence, first.Complete, first.Voids, first.Problems, first.Tags, first.Manifest, first.Packs, first.Source.Path = nil, 1, false, nil, nil, nil, snapshot.Tree{}, nil, nil
	body, err = first.Marshal()
	add("partial snapshot", body, err)
	body, err = (&snapshot.Done{Snapshot: snap.ID, Sum: sum, Time: vectorTime}).Marshal()
	add("done", body, err)
	body, err = (&snapshot.State{Host: host, Time: vectorTime, Heads: []snapshot.Head{{Source: snap.Source.ID, Path: []byte("/srv"), Snapshot: snap.ID, Sequence: 5, Sum: sum}}}).Marshal()
	add("state", body, err)
	body, err = (&snapshot.Record{Scope: scope.ID, Time: vectorTime, Retire: []digest.Object{sum}, Forget: []snapshot.ID{snap.ID}}).Marshal()
	add("prune", body, err)
	id, err := scope.IndexIdentity()
	if err != nil {
		t.Fatal(err)
	}
	body, err = (&keys.Certificate{Host: signer.Author(), Name: "nas", Scope: scope.ID, ScopeName: "nas", Role: keys.Writer, Sign: signer.Public(), Age: id.Public(), Created: vectorTime}).Body()
	add("host", body, err)
	body, err = (&keys.Revocation{Host: signer.Author(), Time: vectorTime, Reason: "stolen"}).Body()
	add("revoke", body, err)
	return out
}
