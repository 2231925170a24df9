package frozen

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"firn/internal/chunk"
	"firn/internal/digest"
	"firn/internal/pack"
	"firn/internal/sign"
)

// themes are the hostile repositories, by the name of their folder.
var themes = map[string]func(x *insider){
	"paths": hostilePaths, "order": hostileOrder, "links": hostileLinks, "sizes": hostileSizes, "trees": hostileTrees, "packs": hostilePacks, "indexes": hostileIndexes,
	"packsets": hostilePackSets, "snapshots": hostileSnapshots, "bombs": hostileBombs, "special": hostileSpecial,
}

// hostilePaths: each manifest has one path that leads out, or is none, between two good ones.
func hostilePaths(x *insider) {
	for _, c := range [][2]string{
		{"up", `"../x"`}, {"absolute", `"/tmp/firn-hostile-x"`}, {"empty component", `"b//x"`}, {"dot", `"."`}, {"dot first", `"./x"`}, {"dots within", `"b/../../x"`}, {"dots last", `"b/.."`},
		{"trailing slash", `"b/"`}, {"nul", `"b\u0000x"`}, {"nul after dots", `"..\u0000"`}, {"no string", `["b"]`}, {"long", `"` + strings.Repeat("b/", 80<<10) + `b"`},
		{"long name", `"` + strings.Repeat("b", 5000) + `"`},
	} {
		content := x.file("got out of " + c[0])
		x.add(c[0], x.tree(root, line(`"a"`, "file", content), line(c[1], "file", content), line(`"z"`, "file", content)), nil)
	}
	content := x.file("base64")
	x.add("up in base64", x.tree(root, line(`"a"`, "file", content), `{"path_b64":"Li4veA==",`+line(`"b"`, "file", content)[len(`{"path":"b",`):], line(`"z"`, "file", content)), nil)
}

// hostileOrder: names out of order, twice, and below what is no folder.
func hostileOrder(x *insider) {
	content := x.file("content")
	out := func(name string, lines ...string) {
		x.add(name, x.tree(append([]string{root}, lines...)...), nil)
	}
	file := func(path string) string { return line(`"`+path+`"`, "file", content) }
	link := func(path, target string) string { return line(`"`+path+`"`, "symlink", `"target":"`+target+`"`) }
	dir := func(path string) string { return line(`"`+path+`"`, "dir") }
	out("backwards", file("b"), file("a"))
	out("twice", file("a"), file("a"))
	out("root twice", root, file("a"))
	out("below a link", link("a", ".."), file("a/x"), file("b"))
	out("below a link to nowhere", link("a", "/tmp/firn-hostile-y"), file("a/x/y"), file("b"))
	out("link then folder", link("a", ".."), dir("a"), file("a/x"))
	out("folder then link", dir("a"), link("a", ".."), file("a/x"))
	out("folder below a link", link("a", ".."), dir("a/x"), file("a/x/y"))
	out("link below a link", link("a", ".."), link("a/x", "/etc"), file("b"))
	out("below a file", file("a"), file("a/x"), file("b"))
	out("below a pipe", line(`"a"`, "fifo"), file("a/x"), file("b"))
	out("no folders", file("a/b/c/d"), file("b"))
	x.add("no root", x.tree(file("a"), file("b")), nil)
	x.add("root is a link", x.tree(line(`""`, "symlink", `"target":".."`), file("a")), nil)
}

// hostileLinks: hard links to what is not there, outside, or themselves.
func hostileLinks(x *insider) {
	content := x.file("content")
	out := func(name string, lines ...string) {
		x.add(name, x.tree(append([]string{root, line(`"a"`, "file", content)}, lines...)...), nil)
	}
	hard := func(path, first string) string {
		return line(`"`+path+`"`, "file", `"size":7`, `"hardlink":"`+first+`"`)
	}
	link := func(path, target string) string { return line(`"`+path+`"`, "symlink", `"target":"`+target+`"`) }
	out("outside", hard("b", "../victim"))
	out("absolute", hard("b", "/etc/passwd"))
	out("itself", hard("b", "b"))
	out("later", hard("b", "c"), line(`"c"`, "file", content))
	out("cycle", hard("b", "c"), hard("c", "b"))
	out("chain", hard("b", "a"), hard("c", "b"))
	out("missing", hard("b", "aa"))
	out("folder", line(`"b"`, "dir"), hard("c", "b"))
	out("root", hard("b", ""))
	out("through a link", link("b", ".."), hard("c", "b/victim"))
	out("to a link", link("b", "../victim"), hard("c", "b"))
	out("as a link", line(`"b"`, "symlink", `"target":"../victim"`, `"hardlink":"a"`))
	out("with content", line(`"b"`, "file", content, `"hardlink":"a"`))
	out("another size", line(`"b"`, "file", `"size":4611686018427387904`, `"hardlink":"a"`))
}

// hostileSizes: numbers that are absurd, and pieces that do not fit.
func hostileSizes(x *insider) {
	id := x.keep(chunk.Data, "0123456789").String()
	for _, c := range [][2]string{
		{"hole of 2^62", `"size":4611686018427387904,"content":[[null,0,4611686018427387904]]`},
		{"two holes overflow", `"size":2,"content":[[null,0,9223372036854775807],[null,0,9223372036854775807],[null,0,4]]`},
		{"data behind 2^62", fmt.Sprintf(`"size":4611686018427387914,"content":[[null,0,4611686018427387904],["%s",0,10]]`, id)},
		{"2^63", `"size":9223372036854775808,"content":[[null,0,9223372036854775807]]`},
		{"negative", `"size":-1`},
		{"fraction", fmt.Sprintf(`"size":10.5,"content":[["%s",0,10]]`, id)},
		{"past the chunk", fmt.Sprintf(`"size":20,"content":[["%s",0,20]]`, id)},
		{"far past the chunk", fmt.Sprintf(`"size":16777216,"content":[["%s",0,16777216]]`, id)},
		{"offset past the chunk", fmt.Sprintf(`"size":1,"content":[["%s",10,1]]`, id)},
		{"offset of 2^32", fmt.Sprintf(`"size":1,"content":[["%s",4294967296,1]]`, id)},
		{"offset overflows", fmt.Sprintf(`"size":10,"content":[["%s",4294967290,10]]`, id)},
		{"piece of nothing", fmt.Sprintf(`"size":10,"content":[["%s",0,10],["%s",0,0]]`, id, id)},
		{"sum is less", fmt.Sprintf(`"size":10,"content":[["%s",0,10],["%s",0,10]]`, id, id)},
		{"sum is more", fmt.Sprintf(`"size":30,"content":[["%s",0,10],["%s",0,10]]`, id, id)},
		{"overlapping", fmt.Sprintf(`"size":15,"content":[["%s",0,10],["%s",5,5]]`, id, id)},
		{"unknown chunk", fmt.Sprintf(`"size":10,"content":[["%s",0,10]]`, strings.Repeat("ab", 32))},
		{"chunk of zeros", fmt.Sprintf(`"size":10,"content":[["%s",0,10]]`, strings.Repeat("00", 32))},
		{"another hash", fmt.Sprintf(`"size":10,"hash":"%s","content":[["%s",0,10]]`, strings.Repeat("ab", 12), id)},
	} {
		last := x.file("last of " + c[0])
		x.add(c[0], x.tree(root, line(`"a"`, "file", c[1]), line(`"z"`, "file", last)), nil)
	}
}

// hostileTrees: line trees that are no trees.
func hostileTrees(x *insider) {
	leaf := root + "\n" + line(`"a"`, "dir") + "\n"
	node := func(id digest.Chunk, bytes int, lines int64, more string) string {
		return fmt.Sprintf(`{"first":"","chunk":"%v","bytes":%d,"lines":%d%s}`, id, bytes, lines, more) + "\n"
	}
	tower := func(levels int) map[string]any {
		id, bytes := x.list(leaf), len(leaf)
		for range levels {
			text := node(id, bytes, 2, "")
			id, bytes = x.list(text), len(text)
		}
		return tree(id, levels, 2, len(leaf))
	}
	x.add("deep", tower(32), nil)
	x.add("too deep", tower(33), nil)
	x.add("level is less", tree(x.list(node(x.list(leaf), len(leaf), 2, "")), 0, 2, len(leaf)), nil)
	x.add("level is more", tree(x.list(leaf), 1, 2, len(leaf)), nil)
	x.add("lines are more", tree(x.list(leaf), 0, int64(1)<<50, len(leaf)), nil)
	x.add("bytes are more", tree(x.list(leaf), 0, 2, int64(1)<<50), nil)
	x.add("lines of a node are more", tree(x.list(node(x.list(leaf), len(leaf), 1<<50, "")), 1, 2, len(leaf)), nil)

	// A table says that a chunk has the id which it names itself: content has to have its id.
	self := digest.Chunk{0xaa, 31: 1}
	text := []byte(node(self, 100, 2, ""))
	p := x.chunk(text)
	p.ref.ID = self
	x.pack(chunk.Meta, []part{p})
	x.add("refers to itself", tree(self, 1, 2, len(leaf)), nil)

	same := x.list(leaf)
	x.add("same part twice", tree(x.list(node(same, len(leaf), 2, "")+node(same, len(leaf), 2, "")), 1, 4, 2*len(leaf)), nil)
	x.add("no JSON", x.tree(root, "{", "]]"), nil)
	x.add("nested", x.tree(root, line(`"a"`, "dir", `"x":`+strings.Repeat("[", 1<<20)+strings.Repeat("]", 1<<20))), nil)
	x.add("line without end", tree(x.list(leaf[:len(leaf)-1]), 0, 2, len(leaf)-1), nil)
	x.add("long line", x.tree(root, line(`"a"`, "dir", `"x":"`+strings.Repeat("x", 5<<20)+`"`)), nil)

	// Contents whose list is shared by itself: few bytes, many pieces.
	laughs := func(name string, size int, wide ...int) {
		hole := "[null,0,1]\n"
		text := strings.Repeat(hole, 100)
		id, lines, total := x.list(text), 100, 100*len(hole)
		for _, n := range wide {
			entry := node(id, len(text), int64(lines), fmt.Sprintf(`,"size":%d`, lines))
			text = strings.Repeat(entry, n)
			id, lines, total = x.list(text), lines*n, total*n
		}
		whole, _ := json.Marshal(tree(id, len(wide), lines, total))
		if size == 0 {
			size = lines
		}
		x.add(name, x.tree(root, line(`"a"`, "file", fmt.Sprintf(`"size":%d,"content_tree":%s`, size, whole)), line(`"z"`, "dir")), nil)
	}
	laughs("pieces by the million", 0, 100, 100)
	laughs("pieces of another size", 77, 100)
	whole, _ := json.Marshal(tree(self, 3, 1000, 100_000))
	x.add("content refers to itself", x.tree(root, line(`"a"`, "file", `"size":1000,"content_tree":`+string(whole)), line(`"z"`, "dir")), nil)
}

// hostilePacks: tables that lie about what is in the frames.
func hostilePacks(x *insider) {
	content := []byte(strings.Repeat("0123456789", 100))
	out := func(name string, change func(p *part), told ...func(r *chunk.Ref)) {
		p, behind := x.chunk(append(content, name...)), x.chunk([]byte("behind it, "+name))
		size := p.ref.Raw
		change(&p)
		var index []chunk.Ref
		for _, t := range told {
			r := p.ref
			t(&r)
			index = append(index, r, behind.ref)
		}
		x.pack(chunk.Data, []part{p, behind}, index...)
		second := fmt.Sprintf(`"size":%d,"content":[["%v",0,%d]]`, behind.ref.Raw, behind.ref.ID, behind.ref.Raw)
		x.add(name, x.tree(root, line(`"a"`, "file", fmt.Sprintf(`"size":%d,"content":[["%v",0,%d]]`, size, p.ref.ID, size)), line(`"b"`, "file", second), line(`"z"`, "file", x.file("last"))), nil)
	}
	out("content is longer", func(p *part) { p.ref.Raw -= 10 })
	out("content is shorter", func(p *part) { p.ref.Raw += 10 })
	out("content of 16 MiB", func(p *part) { p.ref.Raw = 16 << 20 })
	out("content of 4 GiB", func(p *part) { p.ref.Raw = 1<<32 - 1 })
	out("frame is longer", func(p *part) { p.ref.Frame += 3 })
	out("frame of 4 GiB", func(p *part) { p.ref.Frame = 1<<32 - 1 })
	out("another id", func(p *part) { p.ref.ID[5] ^= 1 })
	out("id of zeros", func(p *part) { p.ref.ID = digest.Chunk{} })
	out("bomb of a MiB", func(p *part) { p.frame = bomb(1, 'x', 1<<20); p.ref.Frame = uint32(len(p.frame)) })
	out("bomb of 100 MiB", func(p *part) { p.frame = bomb(100, 'x', 100<<20); p.ref.Frame = uint32(len(p.frame)) })
	out("bomb that says nothing of it", func(p *part) {
		p.frame = bomb(100, 'x', uint64(p.ref.Raw))
		p.ref.Frame = uint32(len(p.frame))
	})
	out("bomb of 2^62", func(p *part) { p.frame = bomb(1, 'x', 1<<62); p.ref.Frame, p.ref.Raw = uint32(len(p.frame)), 16<<20 })
	out("index overlaps", func(*part) {}, func(r *chunk.Ref) { r.Frame -= 4 })
	out("index goes past the end", func(*part) {}, func(r *chunk.Ref) { r.Frame = 1 << 20 })
	out("index tells another length", func(*part) {}, func(r *chunk.Ref) { r.Raw += 10 })
	out("index tells 4 GiB", func(*part) {}, func(r *chunk.Ref) { r.Raw = 1<<32 - 1 })
}

// hostileIndexes: indexes that tell of what is not there, or more than there is.
func hostileIndexes(x *insider) {
	host := fmt.Sprintf("%x", x.access.Host.Host[:])
	out := func(name string, do func(p part, sealed pack.Sealed)) {
		p := x.chunk([]byte("content of " + name))
		do(p, pack.Sealed{Name: digest.SumObject([]byte(name)), Size: 1000, Prefix: []byte("age-encryption.org/v1\n-> none\n--- none\n0123456789abcdef")})
		x.add(name, x.tree(root, line(`"a"`, "file", fmt.Sprintf(`"size":%d,"content":[["%v",0,%d]]`, p.ref.Raw, p.ref.ID, p.ref.Raw)), line(`"z"`, "file", x.file("last"))), nil)
	}
	out("pack is not there", func(p part, s pack.Sealed) {
		x.tell(chunk.Data, s, p.ref)
		x.names = append(x.names, s.Name)
	})
	out("pack is not there, nor in the set", func(p part, s pack.Sealed) { x.tell(chunk.Data, s, p.ref) })
	out("size of 2^62", func(p part, s pack.Sealed) {
		s.Size = 1 << 62
		x.tell(chunk.Data, s, p.ref)
	})
	lone := func(count uint32, times int) func(p part, s pack.Sealed) { // an index of its own: what is honest stays known
		return func(p part, s pack.Sealed) {
			x.index(x.entry(chunk.Data, s, count, slices.Repeat([]chunk.Ref{p.ref}, times)...))
		}
	}
	out("2^20 chunks", lone(1<<20, 1))
	out("2^32 chunks", lone(1<<32-1, 1))
	out("no chunks", lone(0, 1))
	out("same chunk twice", lone(2, 2))
	out("negative size", func(p part, s pack.Sealed) {
		s.Size = -1
		x.index(x.entry(chunk.Data, s, 1, p.ref))
	})
	header := func(size uint32, text string) func(part, pack.Sealed) {
		return func(p part, s pack.Sealed) { x.indexBody(size, text, x.entry(chunk.Data, s, 1, p.ref)) }
	}
	whole := func(text string) func(part, pack.Sealed) { return header(uint32(len(text)), text) }
	out("header of 4 GiB", header(1<<32-1, "{}"))
	out("header is cut", header(1000, "{"))
	out("header of 15 MiB", whole(`{"level":0,"author":"`+host+`"`+strings.Repeat(" ", 15<<20)+"}"))
	out("nested header", whole(`{"x":`+strings.Repeat("[", 1<<20)))
	out("another author", whole(`{"level":0,"author":"`+strings.Repeat("ab", 16)+`"}`))
	out("replaces what is none", whole(`{"level":32,"author":"`+host+`","replaces":["../../firn.json","`+strings.Repeat("f", 16)+"-"+strings.Repeat("0", 64)+`"]}`))
}

// hostilePackSets: lists of packs that are no sets.
func hostilePackSets(x *insider) {
	out := func(name string, set func(names []digest.Object) any) {
		x.add(name, x.tree(root, line(`"a"`, "file", x.file("content"))), map[string]any{"packs": set})
	}
	out("backwards", func(n []digest.Object) any { return []any{x.set(n[1], n[0])} })
	out("twice", func(n []digest.Object) any { return []any{x.set(n[0], n[0], n[1])} })
	out("same set twice", func(n []digest.Object) any { return []any{x.set(n...), x.set(n...)} })
	out("not there", func(n []digest.Object) any { return []any{x.set(digest.Object{1}, n[0])} })
	out("zeros", func(n []digest.Object) any { return []any{x.set(digest.Object{}, n[0], n[1])} })
	out("another digest", func(n []digest.Object) any {
		s := x.set(n...)
		s["digest"] = strings.Repeat("ab", 32)
		return []any{s}
	})
	out("another count", func(n []digest.Object) any {
		s := x.set(n...)
		s["packs"] = 4096
		return []any{s}
	})
	out("count of 2^40", func(n []digest.Object) any {
		s := x.set(n...)
		s["packs"] = int64(1) << 40
		return []any{s}
	})
	out("set is not there", func([]digest.Object) any {
		return []any{map[string]any{"object": strings.Repeat("ab", 32), "packs": 2, "digest": strings.Repeat("cd", 32)}}
	})
	out("set with a path", func([]digest.Object) any {
		return []any{map[string]any{"object": "../../../../../../etc/passwd", "packs": 2, "digest": strings.Repeat("cd", 32)}}
	})
	out("none", func([]digest.Object) any { return []any{} })
	out("cut", func(n []digest.Object) any {
		s := x.set(append(slices.Clone(n), digest.Object(bytes.Repeat([]byte{0xff}, 32)))...)
		return []any{s}
	})
}

// hostileSnapshots: what snapshots say of themselves.
func hostileSnapshots(x *insider) {
	out := func(name string, more map[string]any) { x.add(name, x.tree(root, line(`"a"`, "dir")), more) }
	control := "\x1b]0;owned\x07\x1b[2J\r\nfake: done\u202e\u0085\u009b31m"
	me := func() string { return id(len(x.made)).String() }
	next := func() string { return id(len(x.made) + 1).String() }
	out("year 9999", map[string]any{"time": "9999-12-31T23:59:59.999999999Z", "end": "9999-12-31T23:59:59.999999999Z"})
	out("year 0", map[string]any{"time": "0000-01-01T00:00:00Z", "end": "0000-01-01T00:00:00Z"})
	out("year 1", map[string]any{"time": "0001-01-01T00:00:00Z", "end": "0001-01-01T00:00:00Z"})
	out("negative year", map[string]any{"time": "-0001-01-01T00:00:00Z"})
	out("ends before it begins", map[string]any{"time": "2030-01-01T00:00:00Z", "end": "1969-01-01T00:00:00Z"})
	out("host of control characters", map[string]any{"host": control})
	out("tags of control characters", map[string]any{"tags": []string{control, "\x1b[8m"}})
	out("program of control characters", map[string]any{"program": control, "problems": []any{map[string]any{"path": control, "error": control}}})
	out("source of control characters", map[string]any{"source": map[string]any{"id": "00000000000000aa", "kind": "dir" + control, "name": control, "path": "/" + control}})
	out("class of control characters", map[string]any{"storage": map[string]any{"class": control, "then": control, "hot_for": 86400}})
	out("previous is itself", map[string]any{"sequence": 2, "previous": map[string]any{"id": me(), "sha256": strings.Repeat("ab", 32)}})
	out("previous loop, one", map[string]any{"sequence": 2, "source": map[string]any{"id": "00000000000000bb", "kind": "dir", "name": "loop"}, "previous": map[string]any{"id": next(), "sha256": strings.Repeat("ab", 32)}})
	out("previous loop, two", map[string]any{"sequence": 2, "source": map[string]any{"id": "00000000000000bb", "kind": "dir", "name": "loop"},
		"previous": map[string]any{"id": id(len(x.made) - 1).String(), "sha256": strings.Repeat("ab", 32)}})
	out("base is itself", map[string]any{"base": me()})
	out("base loop, one", map[string]any{"base": next()})
	out("base loop, two", map[string]any{"base": id(len(x.made) - 1).String()})
	out("voids itself", map[string]any{"voids": []string{me()}})
	out("renamed from itself", map[string]any{"source": map[string]any{"id": "00000000000000cc", "kind": "dir", "name": "again"}, "renamed_from": "00000000000000cc"})
	out("sequence of 2^64", map[string]any{"sequence": json.Number("18446744073709551615"), "previous": map[string]any{"id": id(0).String(), "sha256": strings.Repeat("ab", 32)}})
	out("epoch of 2^32", map[string]any{"epoch": int64(1)<<32 - 1})
	out("negative numbers", map[string]any{"stats": map[string]any{"files": -1, "bytes": int64(-1 << 63), "problems": -5}})
	out("huge numbers", map[string]any{"stats": map[string]any{"files": int64(1<<63 - 1), "bytes": int64(1<<63 - 1)}})
	out("another id", map[string]any{"id": strings.Repeat("ab", 16)})
	out("another author", map[string]any{"host_id": strings.Repeat("ab", 16)})
	out("another scope", map[string]any{"scope": "../../../etcetc"})
	out("later version", map[string]any{"version": 2})
	out("path upward", map[string]any{"source": map[string]any{"id": "00000000000000dd", "kind": "dir", "name": "", "path": "../../../etc"}})
}

// hostileBombs: envelopes of few bytes that are long.
func hostileBombs(x *insider) {
	spaces := func(mib int) ([]byte, digest.Object) {
		var frames []byte
		for left := mib; left > 0; left -= 16 {
			n := min(16, left)
			frames = append(frames, bomb(n, ' ', uint64(n)<<20)...)
		}
		return frames, digest.SumObject(bytes.Repeat([]byte(" "), mib<<20))
	}
	out := func(name string, frames []byte, sum digest.Object) {
		x.snapshot(id(len(x.made)), x.sealFrames(sign.Snapshot, frames, sum), sum)
		x.made = append(x.made, hostileCase{Case: name, ID: id(len(x.made)).String()})
	}
	for _, mib := range []int{1, 60, 65} {
		frames, sum := spaces(mib)
		out(fmt.Sprintf("%d MiB of spaces", mib), frames, sum)
	}
	for i := range 8 {
		frames, sum := spaces(40)
		out(fmt.Sprintf("one of eight times 40 MiB, %d", i), frames, sum)
	}
	out("frame of 17 MiB", bomb(17, ' ', 17<<20), digest.Object{1})
	out("frame says 2^62", bomb(1, ' ', 1<<62), digest.Object{2})
	out("frame says less", bomb(16, ' ', 100), digest.Object{3})
	frames, sum := spaces(64)
	x.putIndex(x.sealFrames(sign.Index, frames, sum))
	frames, sum = spaces(16)
	object := x.sealFrames(sign.Packset, frames, sum)
	x.put(fmt.Sprintf("packset/%v/%v", x.access.Host.ScopeID, digest.SumObject(object)), object)
	x.add("pack set of 16 MiB", x.tree(root, line(`"a"`, "dir")), map[string]any{"packs": []any{map[string]any{"object": digest.SumObject(object).String(), "packs": 4096, "digest": sum.String()}}})
	object = x.sealFrames(sign.Done, frames, sum)
	x.put(fmt.Sprintf("snapshots/%v/%v.done", x.access.Host.ScopeID, strings.Repeat("ab", 16)), object)
}

// hostileSpecial: what a restore makes that is no plain file, and names that drive a terminal.
func hostileSpecial(x *insider) {
	content := x.file("content")
	out := func(name string, lines ...string) {
		x.add(name, x.tree(append([]string{root}, lines...)...), nil)
	}
	mode := func(mode, line string) string { return strings.Replace(line, `"0644"`, `"`+mode+`"`, 1) }
	out("devices", line(`"a"`, "char", `"rdev":[1,1]`), line(`"b"`, "block", `"rdev":[4294967295,4294967295]`), line(`"z"`, "file", content))
	out("pipes and sockets", line(`"a"`, "fifo"), line(`"b"`, "socket"), line(`"z"`, "file", content))
	out("set-user-id", mode("6755", line(`"a"`, "file", content)), mode("7777", line(`"b"`, "dir")), line(`"z"`, "file", content))
	out("mode of five digits", mode("17777", line(`"a"`, "file", content)), line(`"z"`, "file", content))
	out("nothing may be read", mode("0000", line(`"a"`, "dir")), line(`"a/x"`, "file", content), line(`"z"`, "file", content))
	out("owner of 2^62", strings.Replace(line(`"a"`, "file", content), `"uid":-1`, `"uid":4611686018427387904`, 1), line(`"z"`, "file", content))
	out("owner below -1", strings.Replace(line(`"a"`, "file", content), `"uid":-1`, `"uid":-2`, 1), line(`"z"`, "file", content))
	time := func(t, line string) string { return strings.Replace(line, "1700000000.000000000", t, 1) }
	out("times", time("253402300800.999999999", line(`"a"`, "file", content)), time("-9223372036854775808.000000000", line(`"b"`, "file", content)),
		time("9223372036854775807.999999999", line(`"c"`, "file", content)), line(`"z"`, "file", content))
	out("attributes", line(`"a"`, "file", content, `"xattrs":[["security.capability","AQAAAv///////////////////////w=="],["trusted.overlay.redirect","Li4vLi4="],["user.../../x","YQ=="]]`),
		line(`"b"`, "file", content, `"xattrs":[["","YQ==","AAEC"]]`), line(`"z"`, "file", content))
	out("attribute of nothing", line(`"a"`, "file", content, `"xattrs":[["","YQ==",""]]`), line(`"z"`, "file", content))
	out("attribute of a MiB", line(`"a"`, "file", content, `"xattrs":[["user.x","`+strings.Repeat("AAAA", 300<<10)+`"]]`), line(`"z"`, "file", content))
	out("control characters", line(`"a\u001b]0;owned\u0007\u001b[2J"`, "file", content), line(`"b\r\nfake: done"`, "symlink", `"target":"\u001b[8m"`), line(`"c\u009b31m\u202e"`, "dir"),
		line(`"d"`, "file", `"user":"\u001b[31m"`, `"group":"\u001b[31m"`, content), line(`"z"`, "file", content))
	out("error of control characters", line(`"a"`, "file", `"size":0`, `"error":"\u001b[2J\nfake: done"`), line(`"z"`, "file", content))
	out("target with NUL", line(`"a"`, "symlink", `"target":"x\u0000y"`), line(`"z"`, "file", content))
	out("unfinished names", line(`".firn-restore-0123456789abcdef"`, "file", content), line(`"z"`, "file", content))
	out("unknown type", line(`"a"`, "door"), line(`"z"`, "file", content))
}
