package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"firn/internal/manifest"
	"firn/internal/source"
)

// node is an inode.
type node struct {
	number   uint64
	kind     source.Type
	mode     uint32
	uid, gid uint32
	mtime    int64 // nanoseconds since 1970
	ctime    int64
	content  []byte // never changed in place: a change makes another slice
	sparse   bool   // pages of zeros are holes
	target   string
	xattrs   map[string]string
	sum      uint64 // of content; 0: not computed
}

// tree is a file system in memory to which random things happen. It is the truth that snapshots are compared with, and the source that they are made of.
type tree struct {
	mu     sync.Mutex
	at     map[string]*node // by path; "" is the root
	next   uint64           // number of the next inode
	stamps int64            // times given away, so that no two are the same
	now    func() time.Time
	coarse bool   // nothing is done that size and mtime do not tell
	canary string // stands in contents and names, and must not be found in any object
}

func newTree(now func() time.Time, canary string) *tree {
	t := &tree{at: map[string]*node{}, next: 1, now: now, canary: canary}
	t.at[""] = t.make(source.Dir, 0o755)
	return t
}

// make returns an inode of the present. Numbers of inodes do not come again.
func (t *tree) make(kind source.Type, mode uint32) *node {
	n := &node{number: t.next, kind: kind, mode: mode, uid: uint32(max(os.Getuid(), 0)), gid: uint32(max(os.Getgid(), 0))}
	t.next++
	n.mtime = t.stamp()
	n.ctime = n.mtime
	return n
}

func (t *tree) stamp() int64 {
	t.stamps++
	return t.now().UnixNano() + t.stamps%1_000_000
}

// paths returns all paths in the order of the manifest.
func (t *tree) paths() []string {
	all := slices.Collect(maps.Keys(t.at))
	slices.SortFunc(all, func(a, b string) int { return manifest.Compare([]byte(a), []byte(b)) })
	return all
}

func parent(path string) string {
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		return path[:i]
	}
	return ""
}

// entered notes that a folder has other entries than before.
func (t *tree) entered(path string) {
	if d := t.at[parent(path)]; d != nil {
		d.mtime = t.stamp()
		d.ctime = d.mtime
	}
}

func (t *tree) put(path string, n *node) {
	if old := t.at[path]; old != nil {
		old.ctime = t.stamp() // it has a name less
	}
	t.at[path] = n
	t.entered(path)
}

// links counts the names of an inode.
func (t *tree) links(n *node) (count uint32) {
	for _, other := range t.at {
		if other == n {
			count++
		}
	}
	return count
}

// changed gives a file other content.
func (t *tree) changed(n *node, content []byte) {
	n.content, n.sum = content, 0
	n.mtime = t.stamp()
	n.ctime = n.mtime
}

// pick returns a random path that fits; "" is never one.
func (t *tree) pick(rng *rand.Rand, fits func(path string, n *node) bool) string {
	var some []string
	for _, p := range t.paths() {
		if p != "" && fits(p, t.at[p]) {
			some = append(some, p)
		}
	}
	if len(some) == 0 {
		return ""
	}
	return some[rng.IntN(len(some))]
}

func isFile(_ string, n *node) bool { return n.kind == source.File }

func (t *tree) name(rng *rand.Rand) string {
	dir := ""
	if rng.IntN(2) == 0 {
		dir = t.pick(rng, func(_ string, n *node) bool { return n.kind == source.Dir })
	}
	odd := []string{"", "", "", " x", "\n", "\xff\xfe", "ä", "-", "~", "'\""}
	t.stamps++
	name := fmt.Sprintf("%c%d%s", 'a'+rune(rng.IntN(26)), t.stamps, odd[rng.IntN(len(odd))])
	if rng.IntN(4) == 0 {
		name += t.canary
	}
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// text is content of n bytes: the canary and noise, or what repeats, or what other files may have, too.
func (t *tree) text(rng *rand.Rand, n int) []byte {
	b := make([]byte, n)
	noise := rng
	switch rng.IntN(5) {
	case 0:
		for i := range b {
			b[i] = byte(i / 50)
		}
		return b
	case 1:
		noise = rand.New(rand.NewPCG(uint64(rng.IntN(3)), 9))
	}
	for i := range b {
		b[i] = byte(noise.Uint32())
	}
	copy(b, t.canary)
	return b
}

func (t *tree) size(rng *rand.Rand) int {
	switch rng.IntN(40) {
	case 0, 1, 2:
		return 0
	case 3:
		return 66_000 + rng.IntN(150_000) // cut by content
	}
	return rng.IntN(2500)
}

// most is about how many entries a tree has: beyond it more is deleted.
const most = 40

// mutate does one random thing, and says what.
func (t *tree) mutate(rng *rand.Rand) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	op := rng.IntN(22)
	if len(t.at) > most && op < 8 {
		op = 21
	}
	if file := t.pick(rng, isFile); op >= 8 && op < 18 && file != "" {
		return fmt.Sprintf("%s %q", t.alter(rng, op, file), file)
	}
	path := t.name(rng)
	switch {
	case op == 1:
		t.put(path, t.make(source.Dir, 0o755))
		return fmt.Sprintf("mkdir %q", path)
	case op == 2:
		n := t.make(source.Symlink, 0o777)
		n.target = fmt.Sprintf("some/where/%d", rng.IntN(100))
		t.put(path, n)
		return fmt.Sprintf("symlink %q", path)
	case op == 3:
		t.put(path, t.make(source.FIFO, 0o644))
		return fmt.Sprintf("mkfifo %q", path)
	case op == 4:
		t.put(path, t.holed(rng))
		return fmt.Sprintf("sparse file %q", path)
	case op < 18:
		n := t.make(source.File, uint32(0o600+rng.IntN(64)))
		n.content = t.text(rng, t.size(rng))
		t.put(path, n)
		return fmt.Sprintf("create %q", path)
	}
	some := t.pick(rng, func(string, *node) bool { return true })
	if some == "" {
		return "nothing"
	}
	if op == 18 {
		return fmt.Sprintf("%s %q to %q", t.rename(some, path), some, path)
	}
	return fmt.Sprintf("%s %q", t.remove(some), some)
}

// alter does something to a file.
func (t *tree) alter(rng *rand.Rand, op int, file string) string {
	n := t.at[file]
	switch op {
	case 8:
		at := rng.IntN(len(n.content) + 1)
		t.changed(n, slices.Concat(n.content[:at], t.text(rng, rng.IntN(300)), n.content[at:]))
		return "edit"
	case 9:
		t.changed(n, slices.Concat(n.content, t.text(rng, rng.IntN(900))))
		return "append"
	case 10:
		content := make([]byte, rng.IntN(len(n.content)*3/2+1))
		copy(content, n.content)
		t.changed(n, content)
		return "truncate"
	case 11:
		path := t.name(rng)
		t.put(path, n)
		n.ctime = t.stamp()
		return fmt.Sprintf("link %q to", path)
	case 12:
		t.changed(n, t.text(rng, t.size(rng)))
		return "write"
	case 13: // what only ctime tells
		if len(n.content) > 0 && !t.coarse {
			content := slices.Clone(n.content)
			content[rng.IntN(len(content))] ^= 1
			before := n.mtime
			t.changed(n, content)
			n.mtime = before
		}
		return "write and set the time back"
	case 14:
		path := t.name(rng) // as editors save
		made := t.make(source.File, n.mode)
		made.content = t.text(rng, t.size(rng))
		t.put(path, made)
		t.rename(path, file)
		return "replace"
	}
	n.ctime = t.stamp()
	switch op {
	case 15:
		n.mode = uint32(0o600 + rng.IntN(128))
		return "chmod"
	case 16:
		n.xattrs = maps.Clone(n.xattrs)
		if n.xattrs == nil {
			n.xattrs = map[string]string{}
		}
		n.xattrs[fmt.Sprintf("user.a%d", rng.IntN(3))] = string(t.text(rng, rng.IntN(60)))
		return "setxattr"
	}
	n.mtime = rng.Int64N(2e18)
	return "touch"
}

// holed is a file with holes.
func (t *tree) holed(rng *rand.Rand) *node {
	n := t.make(source.File, 0o644)
	n.sparse = true
	n.content = make([]byte, 100_000+rng.IntN(200_000))
	for range 1 + rng.IntN(4) {
		at := rng.IntN(len(n.content))
		copy(n.content[at:], t.text(rng, 1+rng.IntN(3000)))
	}
	return n
}

func (t *tree) rename(from, to string) string {
	if to == from || strings.HasPrefix(to, from+"/") {
		return "nothing"
	}
	t.at[from].ctime = t.stamp()
	for _, p := range t.paths() {
		if p == from || strings.HasPrefix(p, from+"/") {
			n := t.at[p]
			delete(t.at, p)
			t.put(to+p[len(from):], n)
		}
	}
	t.entered(from)
	t.entered(to)
	return "rename"
}

func (t *tree) remove(path string) string {
	for _, p := range t.paths() {
		if p == path || strings.HasPrefix(p, path+"/") {
			n := t.at[p]
			delete(t.at, p)
			n.ctime = t.stamp() // of the names that are left
		}
	}
	t.entered(path)
	return "remove"
}

// fact is what has to come back of one path.
type fact struct {
	text   string
	xattrs string
	same   string // the first path of the same inode; empty: itself
	inode  uint64 // of the model; 0: unknown
	failed bool   // the snapshot says that it could not be read whole
}

// truth is a tree at some time, by path. The root is left out: restores do not set what the target has.
type truth map[string]fact

func factOf(n *node) fact {
	if n.sum == 0 && n.kind == source.File {
		n.sum = sumOf(n.content)
	}
	f := fact{inode: n.number, text: factText(n.kind, n.mode, n.uid, n.gid, n.mtime, n.target, int64(len(n.content)), n.sum)}
	for _, name := range slices.Sorted(maps.Keys(n.xattrs)) {
		f.xattrs += xattrText(name, []byte(n.xattrs[name]))
	}
	return f
}

func xattrText(name string, value []byte) string { return fmt.Sprintf("%s=%x ", name, value) }

// factText says what an entry is. Of a link neither mode nor time counts: systems do not agree on these.
func factText(kind source.Type, mode, uid, gid uint32, mtime int64, target string, size int64, sum uint64) string {
	text := fmt.Sprintf("%s %04o %d:%d %d.%09d", manifest.Type(kind), mode, uid, gid, mtime/1e9, mtime%1e9)
	switch kind {
	case source.Symlink:
		text = fmt.Sprintf("%s %d:%d → %q", manifest.Type(kind), uid, gid, target)
	case source.File:
		text += fmt.Sprintf(" %d bytes %016x", size, sum)
	}
	return text
}

func sumOf(content []byte) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(content)
	return h.Sum64() | 1
}

// truth tells how the tree is now.
func (t *tree) truth() truth {
	t.mu.Lock()
	defer t.mu.Unlock()
	out, first := truth{}, map[*node]string{}
	for _, p := range t.paths() {
		if p == "" {
			continue
		}
		n := t.at[p]
		f := factOf(n)
		if n.kind != source.Dir {
			if same, ok := first[n]; ok {
				f.same = same
			} else {
				first[n] = p
			}
		}
		out[p] = f
	}
	return out
}

// view is the tree as a backup reads it; asked is told of each call before it is answered, and may refuse it.
type view struct {
	t     *tree
	asked func(what string) error
	wrong bool // of WrongRead
}

func (v *view) stat(path string) (source.Stat, *node, error) {
	v.t.mu.Lock()
	defer v.t.mu.Unlock()
	n := v.t.at[path]
	if n == nil {
		return source.Stat{}, nil, &fs.PathError{Op: "lstat", Path: path, Err: fs.ErrNotExist}
	}
	return v.t.statOf(n), n, nil
}

func (t *tree) statOf(n *node) source.Stat {
	return source.Stat{Type: n.kind, Mode: n.mode, UID: n.uid, GID: n.gid, Nlink: t.links(n), Dev: 1, Inode: n.number, Size: int64(len(n.content)),
		MtimeSec: n.mtime / 1e9, MtimeNsec: int32(n.mtime % 1e9), CtimeSec: n.ctime / 1e9, CtimeNsec: int32(n.ctime % 1e9)}
}

// Walk implements source.Tree. What goes while it walks is left out, what comes behind the place where it is may be.
func (v *view) Walk(ctx context.Context, fn func(*source.Entry) error) error {
	if err := v.asked("walk"); err != nil {
		return err
	}
	v.t.mu.Lock()
	all := v.t.paths()
	v.t.mu.Unlock()
	for _, p := range all {
		if err := errors.Join(ctx.Err(), v.asked("lstat")); err != nil {
			return err
		}
		st, _, err := v.stat(p)
		if err != nil {
			continue
		}
		if err := fn(&source.Entry{Path: []byte(p), Stat: st}); err != nil {
			return err
		}
	}
	return nil
}

// Details implements source.Tree.
func (v *view) Details(path []byte, _ *source.Stat) (d source.Details, err error) {
	if err := v.asked("details"); err != nil {
		return d, err
	}
	v.t.mu.Lock()
	defer v.t.mu.Unlock()
	n := v.t.at[string(path)]
	if n == nil {
		return d, &fs.PathError{Op: "lgetxattr", Path: string(path), Err: fs.ErrNotExist}
	}
	d.Target = n.target
	for _, name := range slices.Sorted(maps.Keys(n.xattrs)) {
		d.Xattrs = append(d.Xattrs, source.Xattr{Name: name, Value: []byte(n.xattrs[name])})
	}
	return d, nil
}

// Open implements source.Tree.
func (v *view) Open(path []byte) (source.Content, error) {
	if err := v.asked("open"); err != nil {
		return nil, err
	}
	_, n, err := v.stat(string(path))
	if err != nil {
		return nil, err
	}
	return &content{v: v, n: n}, nil
}

// Close implements source.Tree.
func (v *view) Close() error { return nil }

// content is an open file: it shows what is written to the inode while it is open.
type content struct {
	v   *view
	n   *node
	pos int64
}

func (c *content) now() (content []byte, sparse bool) {
	c.v.t.mu.Lock()
	defer c.v.t.mu.Unlock()
	return c.n.content, c.n.sparse
}

func (c *content) Read(p []byte) (int, error) {
	n, err := c.ReadAt(p, c.pos)
	c.pos += int64(n)
	if n > 0 {
		err = nil
	}
	return n, err
}

func (c *content) ReadAt(p []byte, off int64) (int, error) {
	if err := c.v.asked("read"); err != nil {
		return 0, err
	}
	content, _ := c.now()
	n, err := bytes.NewReader(content).ReadAt(p, off)
	if c.v.wrong && n > 0 {
		p[n/2] ^= 1
	}
	return n, err
}

func (c *content) Close() error { return nil }

func (c *content) Stat() (source.Stat, error) {
	if err := c.v.asked("fstat"); err != nil {
		return source.Stat{}, err
	}
	c.v.t.mu.Lock()
	defer c.v.t.mu.Unlock()
	return c.v.t.statOf(c.n), nil
}

const page = 4096

// NextData implements source.Content.
func (c *content) NextData(offset, _ int64) (start, end int64, err error) {
	content, sparse := c.now()
	size := int64(len(content))
	if !sparse {
		return min(offset, size), size, nil
	}
	hole := func(at int64) bool {
		return len(bytes.TrimLeft(content[at:min(at+page, size)], "\x00")) == 0
	}
	for start = min(offset, size); start < size && hole(start/page*page); {
		start = start/page*page + page
	}
	if start >= size {
		return size, size, nil
	}
	for end = start/page*page + page; end < size && !hole(end); {
		end += page
	}
	return start, min(end, size), nil
}

var _ io.ReaderAt = (*content)(nil)
