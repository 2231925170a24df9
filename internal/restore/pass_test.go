package restore_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"firn/internal/restore"
	"firn/internal/state"
	"firn/internal/target"
)

// plantPasses makes a history whose last snapshot has files in packs of several backups: small and large ones, links to both, holes.
func (w *world) plantPasses(seed uint64) {
	r := rand.New(rand.NewPCG(seed, 5))
	w.pack = 200 << 10
	w.plant(seed, 60)
	for i := range 6 {
		name := fmt.Sprintf("large-%d", i)
		w.write(name, randomBytes(seed*100+uint64(3*i+1), 300<<10+r.IntN(900<<10)))
		if i%2 == 0 {
			w.must(os.Link(filepath.Join(w.src, name), filepath.Join(w.src, fmt.Sprintf("z-link-%d", i))))
		}
	}
	w.write("deep/er/many pieces", randomBytes(seed*100+50, 9<<20))
	w.write("first/only", []byte("a file in a folder of its own"))
	w.sparse("sparse", 3<<20, 1<<20)
	w.sparse("hole", 1<<20, -1)
	w.backup()
	for i := range 6 {
		name := fmt.Sprintf("large-%d", i)
		if i%3 == 0 {
			w.patch(name, int64(r.IntN(200<<10)), randomBytes(seed*100+uint64(3*i+71), 1000))
		}
		w.write(fmt.Sprintf("later/%d", i), randomBytes(seed*100+uint64(i+90), 10<<10))
	}
	w.patch("deep/er/many pieces", 5<<20, []byte("in the middle"))
	w.write("deep/er/copy", randomBytes(seed*100+50, 9<<20))
	w.backup()
	if quick := quickDir(w.t); quick != "" {
		w.base = quick
	}
}

func (w *world) patch(name string, at int64, b []byte) {
	w.t.Helper()
	f, err := os.OpenFile(filepath.Join(w.src, name), os.O_WRONLY, 0)
	w.must(err)
	_, err = f.WriteAt(b, at)
	w.must(errors.Join(err, f.Close()))
}

// sparse makes a file of size bytes with some content at a place; at < 0: none.
func (w *world) sparse(name string, size, at int64) {
	w.t.Helper()
	w.write(name, nil)
	w.must(os.Truncate(filepath.Join(w.src, name), size))
	if at >= 0 {
		w.patch(name, at, randomBytes(4, 200<<10))
	}
}

// litter puts files into a target before anything is restored there: like those of the source, alike in size or time only, and others.
func (w *world) litter(dir string, seed uint64) {
	w.t.Helper()
	r := rand.New(rand.NewPCG(seed, 6))
	put := func(rel string, content []byte, at time.Time) {
		path := filepath.Join(dir, rel)
		w.must(os.MkdirAll(filepath.Dir(path), 0o755))
		w.must(os.WriteFile(path, content, 0o640))
		w.must(os.Chtimes(path, at, at))
	}
	for _, rel := range names(w.t, w.src) {
		info, err := os.Lstat(filepath.Join(w.src, rel))
		w.must(err)
		if !info.Mode().IsRegular() || r.IntN(4) > 0 || len(rel) > 150 {
			continue
		}
		content, err := os.ReadFile(filepath.Join(w.src, rel))
		w.must(err)
		at := info.ModTime()
		switch r.IntN(4) {
		case 0:
			at = at.Add(time.Hour)
		case 1:
			content = append(content, "longer"...)
		case 2:
			if len(content) > 0 {
				content[len(content)/2] ^= 1
			}
		}
		put(rel, content, at)
	}
	put("own/of the user", []byte("mine"), time.Unix(1.2e9, 0))
	put("deep/er/too", []byte("mine"), time.Unix(1.2e9, 0))
	for _, rel := range names(w.t, dir) {
		if info, err := os.Lstat(filepath.Join(dir, rel)); err == nil && info.IsDir() {
			w.must(os.Chtimes(filepath.Join(dir, rel), time.Time{}, time.Unix(1.3e9, 0)))
		}
	}
}

var folderTime = regexp.MustCompile(`^("(?:[^"\\]|\\.)*") (type 1 mode \d+ owner \S+) mtime \S+`)

// seen describes a target; of folders that keep what they have it leaves out the time, which is that of the restore.
func seen(t *testing.T, o *restore.Options) []string {
	lines := describe(t, o.Target)
	if o.Overwrite == target.Never {
		for i := range lines {
			m := folderTime.FindStringSubmatch(lines[i])
			if m == nil {
				continue
			}
			if name, err := strconv.Unquote(m[1]); err == nil && exists(filepath.Join(o.Target+".before", name)) {
				lines[i] = m[1] + " " + m[2]
			}
		}
	}
	return lines
}

// addUp adds results.
func addUp(sum, r *restore.Result) {
	sum.Files, sum.Dirs, sum.Others, sum.Bytes = sum.Files+r.Files, sum.Dirs+r.Dirs, sum.Others+r.Others, sum.Bytes+r.Bytes
	sum.Created, sum.Replaced, sum.Kept, sum.Deleted = sum.Created+r.Created, sum.Replaced+r.Replaced, sum.Kept+r.Kept, sum.Deleted+r.Deleted
	sum.Skipped, sum.Failed, sum.BytesGot, sum.Requests = sum.Skipped+r.Skipped, sum.Failed+r.Failed, sum.BytesGot+r.BytesGot, sum.Requests+r.Requests
}

func sameCounts(t *testing.T, want, got *restore.Result) {
	t.Helper()
	a, b := *want, *got
	a.Limits, b.Limits, a.Damaged, b.Damaged = nil, nil, nil, nil
	a.Requests, b.Requests, a.BytesGot, b.BytesGot = 0, 0, 0, 0
	if fmt.Sprint(a) != fmt.Sprint(b) {
		t.Errorf("passes add up to\n%+v, a single run is\n%+v", b, a)
	}
}

// series restores in passes.
type series struct {
	w     *world
	r     *rand.Rand
	o     restore.Options
	st    *state.State
	p     *restore.Passes
	plan  *restore.Needs
	left  []string
	sum   restore.Result
	kills int // still to come
	done  int // passes
}

func (w *world) newSeries(o restore.Options, seed uint64, kills int) *series {
	w.t.Helper()
	s := &series{w: w, r: rand.New(rand.NewPCG(seed, 8)), o: o, kills: kills, st: state.Open(state.Dirs{State: filepath.Join(w.base, "jobs", filepath.Base(o.Target))}, [16]byte{1}, func(err error) { w.t.Error(err) })}
	var err error
	s.plan, err = restore.Plan(context.Background(), o)
	w.must(err)
	for _, p := range s.plan.Packs {
		s.left = append(s.left, p.Object)
	}
	s.open()
	return s
}

func (s *series) open() {
	s.w.t.Helper()
	if s.p != nil {
		s.p.Close()
	}
	var err error
	s.p, err = restore.OpenPasses(s.st, "passes", &s.o, s.plan)
	s.w.must(err)
}

// pass runs one over some random packs, and says whether it was the last.
func (s *series) pass() bool {
	t := s.w.t
	t.Helper()
	o := s.o
	s.r.Shuffle(len(s.left), func(i, j int) { s.left[i], s.left[j] = s.left[j], s.left[i] })
	n := s.r.IntN(len(s.left) + 1)
	if s.r.IntN(8) == 0 {
		n = len(s.left)
	}
	o.Passes, o.Only, o.Last = s.p, slices.Clone(s.left[:n]), n == len(s.left)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	st := &stopping{Store: s.w.st, cancel: cancel}
	st.left.Store(1 << 30)
	killed := s.kills > 0 && s.r.IntN(2) == 0
	if killed {
		s.kills--
		st.left.Store(int64(s.r.IntN(12)))
	}
	s.w.through(&o, st)
	res, err := restore.Run(ctx, o)
	if err != nil && !(killed && errors.Is(err, context.Canceled)) {
		t.Fatal(err)
	}
	if res != nil {
		addUp(&s.sum, res)
	}
	if s.r.IntN(3) == 0 {
		s.open()
	}
	if err != nil {
		if s.r.IntN(2) == 0 { // as if there had been no time to leave things in order
			s.w.must(filepath.WalkDir(o.Target, func(path string, d fs.DirEntry, err error) error {
				if err == nil && strings.HasPrefix(d.Name(), ".firn-restore-") {
					return os.Chtimes(path, time.Now(), time.Now())
				}
				return err
			}))
		}
		return false
	}
	if len(res.Cold) > 0 {
		t.Fatalf("cold: %v", res.Cold)
	}
	for _, name := range o.Only {
		if !s.p.Has(name) {
			t.Errorf("pass is done, and not %s", name)
		}
	}
	s.left = s.left[n:]
	s.done++
	return o.Last
}

// passSeeds is how many histories are tried: FIRN_PASS_SEEDS, or 2.
func passSeeds() uint64 {
	if n, err := strconv.ParseUint(os.Getenv("FIRN_PASS_SEEDS"), 10, 32); err == nil {
		return n
	}
	return 2
}

func TestPasses(t *testing.T) {
	for seed := range passSeeds() {
		w := newWorld(t)
		w.plantPasses(seed)
		for _, mode := range []target.Overwrite{target.Never, target.Changed, target.Always} {
			for _, kills := range []int{0, 4} {
				if kills == 0 && seed%2 == 1 && mode != target.Never && passSeeds() <= 2 {
					continue
				}
				name := fmt.Sprintf("%d-%d-%d", seed, mode, kills)
				t.Run(name, func(t *testing.T) {
					w.t = t
					w.comparePasses(name, seed, mode, kills)
				})
			}
		}
	}
}

func (w *world) comparePasses(name string, seed uint64, mode target.Overwrite, kills int) {
	t := w.t.(*testing.T)
	options := func(part string) restore.Options {
		o := w.options(name + part)
		o.Overwrite, o.Delete = mode, seed%3 == 1
		o.Window = []int{0, 60, 20}[seed%3]
		if seed%2 != 0 {
			w.litter(o.Target, seed)
			w.litter(o.Target+".before", seed)
		}
		return o
	}
	plain := options("plain")
	want := w.clean(plain)
	wantItems := slices.Sorted(slices.Values(w.items))

	o := options("passes")
	s := w.newSeries(o, seed*10+uint64(mode), kills)
	for !s.pass() {
		if s.done > 200 {
			t.Fatal("never ends")
		}
	}
	if len(w.problems) > 0 {
		t.Fatal(w.problems)
	}
	sameLines(t, seen(t, &plain), seen(t, &o))
	w.noTemporaries(name + "passes")
	if kills == 0 {
		sameCounts(t, want, &s.sum)
		sameLines(t, wantItems, slices.Sorted(slices.Values(w.items)))
		if s.sum.BytesGot > s.plan.Download || s.sum.Requests > s.plan.Requests {
			t.Errorf("%d requests for %d bytes in passes, %d for %d planned", s.sum.Requests, s.sum.BytesGot, s.plan.Requests, s.plan.Download)
		}
		if seed%2 == 0 && (s.sum.BytesGot != s.plan.Download || s.sum.Requests != s.plan.Requests) {
			t.Errorf("%d requests for %d bytes in passes, %d for %d planned", s.sum.Requests, s.sum.BytesGot, s.plan.Requests, s.plan.Download)
		}
	} else if s.sum.Files != want.Files || s.sum.Bytes != want.Bytes || s.sum.Dirs != want.Dirs || s.sum.Others != want.Others || s.sum.Deleted != want.Deleted {
		sameCounts(t, want, &s.sum)
	}
	if got := s.p.Result(); fmt.Sprint(got.Files, got.Created, got.Kept, got.Requests) != fmt.Sprint(s.sum.Files, s.sum.Created, s.sum.Kept, s.sum.Requests) || !s.p.Done() {
		t.Errorf("journal says %+v, passes %+v", got, s.sum)
	}
}
