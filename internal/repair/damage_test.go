package repair_test

import (
	"errors"
	"flag"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"firn/internal/digest"
	"firn/internal/faultstore"
	"firn/internal/repair"
	"firn/internal/repo"
	"firn/internal/store"
)

var cases = flag.Int("cases", 40, "how many random cases of damage")

// wreck damages some objects, by what r says, and returns what it did.
func (w *world) wreck(r *rand.Rand) (done []string) {
	names := append(w.names("", ""), w.names("", ".par2")...)
	var packs, small []string
	for _, n := range names {
		switch {
		case n == "firn.json":
		case strings.HasPrefix(n, "data/"), strings.HasPrefix(n, "meta/"):
			packs = append(packs, n)
		default:
			small = append(small, n)
		}
	}
	for range 1 + r.IntN(5) {
		name := packs[r.IntN(len(packs))]
		if r.IntN(3) == 0 {
			name = small[r.IntN(len(small))]
		}
		if strings.HasPrefix(name, "keys/") && r.IntN(2) == 0 {
			continue
		}
		raw, err := w.content(name)
		if err != nil {
			continue // it is gone already
		}
		how := "flips"
		switch n := len(raw); r.IntN(8) {
		case 0:
			how = "deleted"
			w.must(w.mem.Delete(ctx, name))
			done = append(done, name+" "+how)
			continue
		case 1:
			how = "cut"
			raw = raw[:r.IntN(n)]
		case 2:
			how = "beheaded"
			raw = raw[r.IntN(n):]
		case 3:
			how = "longer"
			at := r.IntN(n)
			raw = append(append(append([]byte(nil), raw[:at]...), random(r.Uint64(), 1+r.IntN(5000))...), raw[at:]...)
		case 4, 5:
			how = "burst"
			at := r.IntN(n)
			for i := at; i < min(n, at+1+r.IntN(1+n/8)); i++ {
				raw[i] = byte(r.Uint32())
			}
		case 6:
			how = "zeros"
			clear(raw[r.IntN(n):])
		default:
			for range 1 + r.IntN(4) {
				raw[r.IntN(n)] ^= 1 << r.IntN(8)
			}
		}
		w.mem.Replace(name, raw)
		done = append(done, name+" "+how)
	}
	return done
}

func (w *world) content(name string) ([]byte, error) {
	if _, err := w.mem.Stat(ctx, name); err != nil {
		return nil, err
	}
	return get(w.t, w.mem, name), nil
}

// reset puts the store back to what it was.
func (w *world) reset(before map[string][]byte) {
	for _, n := range append(w.names("", ""), w.names("", ".par2")...) {
		if before[n] == nil {
			w.must(w.mem.Delete(ctx, n))
		}
	}
	for n, raw := range before {
		if have, err := w.content(n); err != nil || string(have) != string(raw) {
			w.mem.Replace(n, raw)
		}
	}
}

// sums makes sure that what has a sum in its name has it, but for what the result says is beyond help.
func (w *world) sums(res *repair.Result, orphans bool) {
	w.t.Helper()
	lost := map[string]bool{}
	for _, s := range res.Steps {
		if s.Outcome != repair.Mended && s.Outcome != repair.Sound {
			lost[s.Object] = true
		}
	}
	for _, n := range w.names("", "") {
		o, ok := repo.ParseName(n)
		if orphans && o.Area == "packset" {
			continue // of a snapshot that is lost
		}
		if !ok || !o.Summed() || lost[n] || strings.HasPrefix(n, "state/") {
			continue
		}
		if raw := get(w.t, w.mem, n); digest.SumObject(raw) != o.Sum {
			w.t.Errorf("%s is damaged, and nobody says so", n)
		}
	}
}

// TestDamage wrecks small repositories in every way and repairs them. What could be read before can be read afterwards; what cannot be read is named; packs
// have the sums in their names or are named.
func TestDamage(t *testing.T) {
	n := *cases
	if testing.Short() {
		n /= 10
	}
	var worlds []*world
	var befores []map[string][]byte
	var readable []map[string]bool
	for _, parity := range []int{0, 5, 20} {
		w := threeBackups(t, "", parity)
		worlds, befores = append(worlds, w), append(befores, w.all())
		readable = append(readable, w.readable(w.mem))
	}
	for seed := range uint64(n) {
		r := rand.New(rand.NewPCG(seed, 4))
		k := r.IntN(len(worlds))
		w := worlds[k]
		w.t = t
		w.reset(befores[k])
		all := readable[k]
		what := w.wreck(r)
		before := w.readable(w.mem)
		_, res := w.repair(w.mem, func(o *repair.Options) { o.ReadData = true })
		after := w.readable(w.mem)
		for f := range before {
			if !after[f] {
				t.Errorf("%s could be read before the repair", f)
			}
		}
		if res.Well() && len(after) < len(all) && !strings.Contains(strings.Join(what, " "), "snapshots/") {
			t.Errorf("all is well, and %d of %d files can be read", len(after), len(all))
		}
		w.sums(res, strings.Contains(strings.Join(what, " "), "snapshots/"))
		if n := res.Count(repair.Failed) + res.Count(repair.Planned); n > 0 {
			t.Errorf("%d failed or were left", n)
		}
		if t.Failed() {
			t.Fatalf("seed %d: %s\n%s\n%d hurt", seed, strings.Join(what, ", "), outcomes(res), len(res.Hurt))
		}
	}
}

// TestKilled ends a repair at calls of the store, at every one where many cases were asked for, runs it again, and compares with one that was not cut off.
func TestKilled(t *testing.T) {
	w := threeBackups(t, "", 20)
	intact := w.all()
	packs := w.names("data/", "")
	damage := func() {
		w.reset(intact)
		w.flip(packs[0], 5000, 100)
		w.flip(packs[1], 20, 100)
		w.must(w.mem.Delete(ctx, packs[2]))
		w.must(w.mem.Delete(ctx, packs[2]+".par2"))
		w.flip(w.names("index/", "")[0], 300, 1)
		w.flip(w.names("meta/", "")[0], 50, 10)
	}
	damage()
	before := w.readable(w.mem)
	_, res := w.repair(w.mem, func(o *repair.Options) { o.ReadData = true })
	want := w.readable(w.mem)
	if res.Count(repair.Mended) < 3 {
		t.Fatalf("%s", outcomes(res))
	}
	errKill := errors.New("killed")
	step := 7
	if *cases >= 1000 {
		step = 1
	}
	for at := 1; ; at += step {
		damage()
		calls := -1 << 30
		dying := &dying{Store: w.mem, at: at, calls: &calls, err: errKill, after: at%2 == 0}
		o := w.options(dying)
		o.ReadData = true
		calls = 0
		p, err := repair.Examine(ctx, o)
		if err == nil {
			_, err = repair.Run(ctx, o, p, nil)
		}
		if err == nil && calls < at {
			break
		}
		_, res := w.repair(w.mem, func(o *repair.Options) { o.ReadData = true })
		got := w.readable(w.mem)
		for f := range want {
			if !got[f] {
				t.Errorf("killed at call %d: %s is lost", at, f)
			}
		}
		for f := range before {
			if !got[f] {
				t.Errorf("killed at call %d: %s could be read before", at, f)
			}
		}
		if t.Failed() {
			t.Fatalf("%s", outcomes(res))
		}
	}
}

// dying is a store that carries out so many calls, and then none: the process was killed. after: the last one is carried out and never answered.
type dying struct {
	store.Store
	mu    sync.Mutex
	at    int
	calls *int
	err   error
	after bool
}

func (d *dying) Unwrap() store.Store { return d.Store }

// TestFaults repairs through a store that fails now and then, and again through one that does not.
func TestFaults(t *testing.T) {
	w := threeBackups(t, "", 20)
	intact := w.all()
	all := w.readable(w.mem)
	packs := w.names("data/", "")
	for seed := range uint64(max(8, *cases/10)) {
		w.reset(intact)
		w.flip(packs[0], 5000, 100)
		w.flip(packs[1], 20, 100)
		w.flip(w.names("index/", "")[0], 300, 1)
		w.flip(packs[2], int(seed)*10, 10)
		rules := faultstore.MustParse(`
			put * before p=0.2
			put * after p=0.2
			delete * after p=0.2
			delete * before p=0.1
			get data/ torn p=0.1
			get data/ flip p=0.1
			get data/ short p=0.1
			stat * before p=0.1`)
		st := faultstore.New(w.mem, seed, rules...)
		o := w.options(w.mem)
		o.ReadData = true
		p, err := repair.Examine(ctx, o)
		w.must(err)
		faulty := w.options(st)
		faulty.ReadData = true
		if q, err := repair.Examine(ctx, faulty); err == nil {
			p = q
		}
		_, _ = repair.Run(ctx, faulty, p, nil)
		_, res := w.repair(w.mem, func(o *repair.Options) { o.ReadData = true })
		got := w.readable(w.mem)
		for f := range all {
			if !got[f] {
				t.Fatalf("seed %d: %s is lost\n%s", seed, f, outcomes(res))
			}
		}
	}
}
