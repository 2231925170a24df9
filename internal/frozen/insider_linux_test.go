package frozen

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"filippo.io/age"

	"firn/internal/chunk"
	"firn/internal/digest"
	"firn/internal/envelope"
	"firn/internal/frame"
	"firn/internal/pack"
	"firn/internal/packset"
	"firn/internal/repo"
	"firn/internal/sign"
	"firn/internal/snapshot"
)

// insider has the keys of a host and writes by hand what no firn would: every name, MAC and signature is right, what they cover is not.
type insider struct {
	*world
	hash    *digest.Hasher
	encoder *frame.Encoder
	at      int64                 // goes up with each object that has a time in its name, and each snapshot
	honest  map[chunk.Kind][]part // chunks as they should be: they come into one pack of each kind
	have    map[digest.Chunk]bool // those
	told    [][]byte              // packs, for the index
	names   []digest.Object       // of the packs that every snapshot needs
	cases   []func()              // snapshots to write
	made    []hostileCase
}

// part is one chunk of a pack, as its table tells of it.
type part struct {
	ref   chunk.Ref
	frame []byte
}

func newInsider(w *world) *insider {
	return &insider{world: w, hash: digest.NewHasher(w.access.Host.Scope().ChunkKey(0)), at: 1_800_000_000, encoder: frame.NewEncoder(frame.Fastest),
		honest: map[chunk.Kind][]part{}, have: map[digest.Chunk]bool{}}
}

// bomb is a zstd frame (RFC 8878 §3.1.1) of n MiB of one byte in blocks of three bytes and one that says declared is its size.
func bomb(n int, fill byte, declared uint64) []byte {
	b := []byte{0x28, 0xb5, 0x2f, 0xfd, 0xe0} // a single segment, eight bytes of size
	b = binary.LittleEndian.AppendUint64(b, declared)
	for i := range 8 * n {
		head := uint32(128<<10)<<3 | 1<<1 // 128 KiB of the byte that follows
		if i == 8*n-1 {
			head |= 1
		}
		b = append(b, byte(head), byte(head>>8), byte(head>>16), fill)
	}
	return b
}

func (x *insider) put(name string, object []byte) {
	path := filepath.Join(x.root, filepath.FromSlash(name))
	x.must(os.MkdirAll(filepath.Dir(path), 0o755))
	x.must(os.WriteFile(path, object, 0o644))
}

// chunk is one as it should be.
func (x *insider) chunk(content []byte) part {
	f := x.encoder.Append(nil, content)
	return part{chunk.Ref{ID: x.hash.Sum(content), Frame: uint32(len(f)), Raw: uint32(len(content))}, f}
}

// keep stores a chunk as it should be.
func (x *insider) keep(kind chunk.Kind, content string) digest.Chunk {
	p := x.chunk([]byte(content))
	if !x.have[p.ref.ID] {
		x.honest[kind], x.have[p.ref.ID] = append(x.honest[kind], p), true
	}
	return p.ref.ID
}

// pack writes one with a table that says what parts say, and notes what an index says of it: the same, unless told goes in its place.
func (x *insider) pack(kind chunk.Kind, parts []part, told ...chunk.Ref) {
	plain, refs := []byte{}, []chunk.Ref{}
	for _, p := range parts {
		plain, refs = append(plain, p.frame...), append(refs, p.ref)
	}
	scope := x.access.Host.ScopeID
	table := append([]byte("FIRNTAB1"), byte(kind), 0, 0, 0, 0, 0, 0, 0)
	table = binary.LittleEndian.AppendUint32(append(table, scope[:]...), uint32(len(refs)))
	for _, r := range refs {
		table = chunk.Append(table, r)
	}
	proof := x.access.Host.Signer().Sign(sign.Pack, digest.SumObject(table))
	table = proof.Append(table)
	table = append(binary.LittleEndian.AppendUint32(table, uint32(len(table)+12)), "FIRNEND1"...)
	object, sealed, err := pack.SealBytes(nil, frame.AppendSkippable(plain, table), 1, x.access.Host.DataRecipient())
	x.must(err)
	x.put(fmt.Sprintf("%v/%v/%.2v/%v", kind, scope, sealed.Name, sealed.Name), object)
	if len(told) == 0 {
		told = refs
	}
	x.names = append(x.names, sealed.Name)
	x.tell(kind, sealed, told...)
}

// tell adds a pack to the index; one that nobody should believe goes into an index of its own.
func (x *insider) tell(kind chunk.Kind, sealed pack.Sealed, refs ...chunk.Ref) {
	entry := x.entry(kind, sealed, uint32(len(refs)), refs...)
	frames := int64(0)
	for _, r := range refs {
		frames += int64(r.Frame)
	}
	if slices.ContainsFunc(refs, func(r chunk.Ref) bool { return r.Check() != nil }) || sealed.Size > 1<<40 || frames > sealed.Size {
		x.index(entry)
		return
	}
	x.told = append(x.told, entry)
}

// entry is what an index says of a pack: that it has count chunks, and these.
func (x *insider) entry(kind chunk.Kind, sealed pack.Sealed, count uint32, refs ...chunk.Ref) []byte {
	attributes, err := json.Marshal(map[string]any{"pack": sealed.Name.String(), "kind": kind.String(), "epoch": 0, "size": sealed.Size, "class": "", "birth": x.at,
		"prefix": base64.StdEncoding.EncodeToString(sealed.Prefix)})
	x.must(err)
	b := append(binary.LittleEndian.AppendUint32(nil, uint32(len(attributes))), attributes...)
	b = binary.LittleEndian.AppendUint32(b, count)
	for _, r := range refs {
		b = chunk.Append(b, r)
	}
	return b
}

// file stores content, and gives the members of a line about it.
func (x *insider) file(content string) string {
	return fmt.Sprintf(`"size":%d,"content":[["%v",0,%d]]`, len(content), x.keep(chunk.Data, content), len(content))
}

// list stores what lists are made of.
func (x *insider) list(content string) digest.Chunk { return x.keep(chunk.Meta, content) }

// tree is a line tree with these lines in one chunk, in whatever order.
func (x *insider) tree(lines ...string) map[string]any {
	text := strings.Join(lines, "\n") + "\n"
	return tree(x.list(text), 0, len(lines), len(text))
}

func tree(chunk digest.Chunk, level int, lines, bytes any) map[string]any {
	return map[string]any{"chunk": chunk.String(), "level": level, "lines": lines, "bytes": bytes}
}

// line is one of a manifest; path is JSON.
func line(path, kind string, members ...string) string {
	members = append([]string{`"path":` + path, `"type":"` + kind + `"`, `"mode":"0644"`, `"uid":-1`, `"gid":-1`, `"mtime":"1700000000.000000000"`}, members...)
	return "{" + strings.Join(members, ",") + "}"
}

// root is the line of the source itself.
const root = `{"path":"","type":"dir","mode":"0755","uid":-1,"gid":-1,"mtime":"1700000000.000000000"}`

func (x *insider) seal(kind sign.Kind, body []byte) []byte {
	index, err := x.access.Host.Scope().IndexIdentity()
	x.must(err)
	object, _, err := envelope.Seal(kind, body, envelope.Keys{Signer: x.access.Host.Signer(), Recipients: []age.Recipient{index.Recipient(), x.access.Host.DataRecipient()}})
	x.must(err)
	return object
}

// sealFrames seals a plaintext whose frames decode to body, as they are given.
func (x *insider) sealFrames(kind sign.Kind, frames []byte, body digest.Object) []byte {
	index, err := x.access.Host.Scope().IndexIdentity()
	x.must(err)
	proof := x.access.Host.Signer().Sign(kind, body)
	plain := frame.AppendSkippable(frames, proof.Append([]byte("FIRNSIG1")))
	var out bytes.Buffer
	w, err := age.Encrypt(&out, index.Recipient(), x.access.Host.DataRecipient())
	x.must(err)
	_, err = w.Write(plain)
	x.must(err)
	x.must(w.Close())
	return out.Bytes()
}

// index writes one of these packs.
func (x *insider) index(packs ...[]byte) {
	header := fmt.Sprintf(`{"level":0,"author":"%x"}`, x.access.Host.Host[:])
	x.indexBody(uint32(len(header)), header, packs...)
}

// indexBody writes an index that says that its header is so long.
func (x *insider) indexBody(size uint32, header string, packs ...[]byte) {
	body := append(binary.LittleEndian.AppendUint32([]byte("FIRNIDX1"), size), header...)
	x.putIndex(x.seal(sign.Index, append(body, bytes.Join(packs, nil)...)))
}

func (x *insider) putIndex(object []byte) {
	x.at++
	x.put(fmt.Sprintf("index/%v/%016x-%v", x.access.Host.ScopeID, x.at*1_000_000, digest.SumObject(object)), object)
}

// set writes a pack set of these names in this order.
func (x *insider) set(names ...digest.Object) map[string]any {
	var body []byte
	for _, n := range names {
		body = append(body, n[:]...)
	}
	object := x.seal(sign.Packset, body)
	x.put(fmt.Sprintf("packset/%v/%v", x.access.Host.ScopeID, digest.SumObject(object)), object)
	return map[string]any{"object": digest.SumObject(object).String(), "packs": len(names), "digest": digest.SumObject(body).String()}
}

// id of the snapshot of a case.
func id(number int) snapshot.ID { return snapshot.ID{0xba, 0xd0, 15: byte(number + 1)} }

// add makes a case: a snapshot with its mark. more replaces members of the snapshot; packs, where it is there, is a function of the names of all.
func (x *insider) add(name string, tree map[string]any, more map[string]any) {
	x.at++
	at := time.Unix(x.at, 0).UTC().Format(time.RFC3339)
	kit, me := x.access.Host.Scope(), id(len(x.made))
	members := map[string]any{"version": 1, "id": me.String(), "time": at, "end": at, "host": "nas", "host_id": fmt.Sprintf("%x", x.access.Host.Host[:]), "tags": []string{},
		"source": map[string]any{"id": snapshot.SourceID(kit.SourceKey(), "dir", "nas", name, nil).String(), "kind": "dir", "name": name}, "scope": x.access.Host.ScopeID.String(), "epoch": 0,
		"sequence": 1, "complete": true, "manifest": tree, "packs": nil, "stats": map[string]any{}, "program": "none"}
	maps.Copy(members, more)
	x.made = append(x.made, hostileCase{Case: name, ID: me.String()})
	x.cases = append(x.cases, func() {
		switch sets := members["packs"].(type) {
		case nil:
			members["packs"] = []any{x.set(x.names...)}
		case func(names []digest.Object) any:
			members["packs"] = sets(x.names)
		}
		body, err := json.Marshal(members)
		x.must(err)
		x.snapshot(me, x.seal(sign.Snapshot, body), digest.SumObject(body))
	})
}

// finish writes all that waits.
func (x *insider) finish() {
	for _, kind := range []chunk.Kind{chunk.Data, chunk.Meta} {
		if len(x.honest[kind]) > 0 {
			x.pack(kind, x.honest[kind])
		}
	}
	x.index(x.told...)
	x.names = packset.Normalize(x.names)
	for _, write := range x.cases {
		write()
	}
}

// snapshot stores one, and its mark.
func (x *insider) snapshot(me snapshot.ID, object []byte, sum digest.Object) {
	name := fmt.Sprintf("snapshots/%v/%v", x.access.Host.ScopeID, me)
	mark, err := (&snapshot.Done{Snapshot: me, Sum: sum, Time: time.Unix(x.at, 0)}).Marshal()
	x.must(err)
	x.put(name, object)
	x.put(name+".done", x.seal(sign.Done, mark))
}

// makeHostile makes the repository of a theme: a snapshot "good" that a firn has made, and what the insider has added to it.
func makeHostile(w *world, theme func(x *insider)) []hostileCase {
	m := &maker{t: w.t, root: w.src, state: 3}
	m.file("docs/one", []byte("one\n"), 0o644)
	m.file("two", []byte("two\n"), 0o600)
	m.times()
	good := w.backup(nil).Snapshot
	x := newInsider(w)
	theme(x)
	x.finish()
	for name := range repo.Texts() { // they are the same everywhere, and no part of this
		w.must(os.Remove(filepath.Join(w.root, name)))
	}
	w.must(w.store.Close())
	return append([]hostileCase{{Case: "good", ID: good.ID.String()}}, x.made...)
}
