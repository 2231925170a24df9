package copy_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"firn/internal/copy"
	"firn/internal/faultstore"
	"firn/internal/format"
	"firn/internal/keys"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/store"
	"firn/internal/store/mem"
)

// TestRandomHistories backs up at random into two scopes, copies now and then, with all keys or with a host's, and reads everything from the copy alone.
func TestRandomHistories(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 5))
			w := newWorld(t, repo.InitOptions{Parity: format.Parity{Data: int(seed%3) * 5}, Padding: seed%2 == 1}, repo.LikeOptions{Parity: format.Parity{Data: int(seed%2) * 10, Meta: 10}})
			other, err := w.open(w.from, w.access).Enroll(ctx, "laptop", "laptop", keys.Writer)
			w.must(err)
			hosts := []repo.Access{w.access, {Secrets: w.access.Secrets, Host: other}}
			texts := []string{}
			for range 12 {
				switch rng.IntN(4) {
				case 0:
					a := w.access
					if rng.IntN(2) == 0 {
						a.Secrets = nil
					}
					if _, err := w.copy(a); err != nil {
						t.Fatal(err)
					}
				default:
					if len(texts) > 0 && rng.IntN(3) == 0 {
						texts = slices.Delete(slices.Clone(texts), 0, 1)
					}
					texts = append(slices.Clone(texts), strings.Repeat(fmt.Sprint("text ", rng.Uint64()), 1+rng.IntN(300)))
					w.backup(hosts[rng.IntN(2)], byte(rng.IntN(3)), texts...)
				}
			}
			w.whole()
			if n := w.expect(w.to, w.access); n != len(w.texts) {
				t.Errorf("%d of %d snapshots are there", n, len(w.texts))
			}
			w.honest(w.to)
			res := w.whole()
			if res.Snapshots != 0 || res.There != int64(len(w.texts)) || res.Packs+res.Taken != 0 {
				t.Errorf("copied again: %+v", res)
			}
			w.audit()
		})
	}
}

// audit lets the check look at the copy: nothing is missing, damaged or unknown.
func (w *world) audit() {
	w.t.Helper()
	x, err := repo.OpenAudit(ctx, w.to.st, w.access, repo.Options{Now: w.clock.now})
	w.must(err)
	w.must(x.Load(ctx))
	w.must(x.Packs())
	w.must(x.Hosts(ctx))
	w.must(x.Manifests(ctx))
	for _, f := range x.Findings() {
		w.t.Errorf("finding: %+v", f)
	}
}

var errKilled = errors.New("killed")

// TestKilledAtEveryWrite ends a copy before and after each write, and copies again: everything is there, and nothing was stored twice.
func TestKilledAtEveryWrite(t *testing.T) {
	step := 1
	if testing.Short() {
		step = 3 // before and after, in turn
	}
	for _, writeOnly := range []bool{false, true} {
		w := bareWorld(t, repo.InitOptions{Parity: format.Parity{Data: 10}})
		for n := range 3 {
			w.backup(w.access, 1, fmt.Sprint("text ", n), "the same")
		}
		for after := 0; ; after += step {
			w.to = w.clock.place()
			w.must(w.open(w.from, w.access).InitLike(ctx, w.to.st, repo.LikeOptions{Parity: format.Parity{Data: 10}}))
			a := w.access
			if writeOnly {
				a.Secrets = nil
			}
			w.to.puts = map[string]int{}
			end := &dying{Store: w.to.Store, left: after / 2, late: after%2 == 1}
			w.to.st = end
			_, err := w.copy(a, func(o *copy.Options) { o.Parallel = 1 })
			w.to.st = w.to.Store
			if !end.killed {
				w.must(err)
				if after < 20 {
					t.Fatalf("only %d writes", after/2)
				}
				break
			}
			if !errors.Is(err, errKilled) {
				t.Fatalf("write %d: %v", after/2, err)
			}
			w.expect(w.to, w.access)
			res, err := w.copy(a)
			w.must(err)
			if n := w.expect(w.to, w.access); n != 3 || len(res.Failed) > 0 {
				t.Errorf("killed at write %d: %d snapshots, %+v", after/2, n, res)
			}
			for name, n := range w.to.puts {
				if n > 1 && (strings.HasPrefix(name, "data/") || strings.HasPrefix(name, "meta/")) {
					t.Errorf("killed at write %d: %s was sent %d times", after/2, name, n)
				}
			}
			w.honest(w.to)
			w.audit()
		}
	}
}

// dying lets so many writes through; the next one fails, before or after it was done, and all calls after it.
type dying struct {
	store.Store
	late   bool
	mu     sync.Mutex // snapshots are put several at a time
	left   int
	killed bool
}

// dies counts a write, and says whether it is the last or comes after that.
func (d *dying) dies() (last, after bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.killed {
		return false, true
	}
	d.left--
	d.killed = d.left < 0
	return d.killed, false
}

func (d *dying) Put(c ctxt, name string, r seeker, size int64, o store.PutOptions) error {
	last, after := d.dies()
	if after {
		return errKilled
	}
	if !last {
		return d.Store.Put(c, name, r, size, o)
	}
	if d.late {
		if err := d.Store.Put(c, name, r, size, o); err != nil {
			return err
		}
	}
	return errKilled
}

// TestUpToDate counts what a copy asks that has nothing to do.
func TestUpToDate(t *testing.T) {
	w := newWorld(t, repo.InitOptions{}, repo.LikeOptions{})
	for n := range 5 {
		w.backup(w.access, 1, fmt.Sprint("text ", n))
	}
	w.whole()
	before := [2]map[string]int64{w.from.Requests(), w.to.Requests()}
	w.whole()
	for i, p := range []*place{w.from, w.to} {
		for op, n := range p.Requests() {
			n -= before[i][op]
			if most := map[string]int64{"list": 5, "get": 13, "stat": 1}[op]; n > most { // five snapshots and their marks, which a cache would have, firn.json, certificates; hosts twice: for scopes, and to copy them
				t.Errorf("side %d: %d times %s", i, n, op)
			}
		}
	}
}

// TestDamagedPack copies what needs no damaged pack, and nothing of the rest.
func TestDamagedPack(t *testing.T) {
	for _, damage := range []string{"flip", "short", "long", "missing", "cold"} {
		w := newWorld(t, repo.InitOptions{}, repo.LikeOptions{})
		first := w.backup(w.access, 1, "one")
		had := w.from.names(t, "data/")
		w.backup(w.access, 1, "one", "two")
		w.backup(w.access, 1, "two")
		last := w.backup(w.access, 1, "one", "three")
		var victim string
		for _, name := range w.from.names(t, "data/") {
			if !slices.Contains(had, name) && w.from.packOf(t, w, "two") == name {
				victim = name
			}
		}
		raw := slices.Clone(w.from.object(t, victim))
		switch damage {
		case "flip":
			raw[len(raw)/2] ^= 1
			w.from.Replace(victim, raw)
		case "short":
			w.from.Replace(victim, raw[:len(raw)-1])
		case "long":
			w.from.Replace(victim, append(raw, 0))
		case "missing":
			w.must(w.from.Delete(ctx, victim))
		case "cold":
			w.from.Reclass(victim, "DEEP_ARCHIVE")
		}
		res, err := w.copy(w.access)
		w.must(err)
		if damage == "long" { // what was appended is not read
			if res.Snapshots != 4 {
				t.Errorf("%s: %+v", damage, res)
			}
			w.honest(w.to)
			continue
		}
		var broken *repo.DamageError
		if res.Snapshots != 2 || len(res.Failed) != 2 || !errors.As(res.Failed[0].Err, &broken) || broken.Object != victim {
			t.Errorf("%s: %+v", damage, res)
		}
		if (len(res.Cold) == 1 && res.Cold[0].Object == victim) != (damage == "cold") {
			t.Errorf("%s: cold %+v", damage, res.Cold)
		}
		if n := w.expect(w.to, w.access); n != 2 {
			t.Errorf("%s: %d snapshots", damage, n)
		}
		s := w.load(w.to)
		for _, it := range s.Items {
			if it.ID != first.ID && it.ID != last.ID {
				t.Errorf("%s: snapshot %v is published", damage, it.ID)
			}
		}
		if slices.Contains(w.to.names(t, "data/"), victim) {
			t.Errorf("%s: the pack is there", damage)
		}
		w.honest(w.to)
	}
}

// packOf returns the pack that has a text.
func (p *place) packOf(t testing.TB, w *world, text string) string {
	t.Helper()
	s := w.load(p)
	for _, it := range s.Items {
		if got := w.texts[it.ID]; len(got) == 1 && got[0] == text {
			names, err := s.PackNames(ctx, it.Snapshot)
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range names {
				if o, ok, err := s.FindPack(n); err == nil && ok && strings.HasPrefix(o.Object, "data/") {
					return o.Object
				}
			}
		}
	}
	t.Fatalf("no pack has %q", text)
	return ""
}

// TestOtherKeys refuses what is no copy.
func TestOtherKeys(t *testing.T) {
	w := bareWorld(t, repo.InitOptions{})
	w.backup(w.access, 1, "one")
	cfg := func(p *place) *format.Config {
		c, err := repo.ReadConfig(ctx, p.st)
		w.must(err)
		return c
	}
	pass, err := keys.Passphrase([]byte("correct horse"), keys.MinWork)
	w.must(err)
	stranger := w.clock.place()
	_, err = repo.Init(ctx, stranger.st, repo.InitOptions{Keys: []repo.NewKey{{Label: "x", Recipient: pass}}, HostName: "nas", Now: w.clock.now,
		Chunk: &format.Chunk{Min: 64 << 10, Avg: 256 << 10, Max: 1 << 20}, Padding: true})
	w.must(err)
	var other *repo.DifferentError
	if err := repo.CheckCopy(cfg(w.from), cfg(stranger), "there"); !errors.As(err, &other) || !slices.Equal(other.What, []string{"chunk", "id", "padding", "root key"}) {
		t.Errorf("%v", err)
	}
	if err := repo.CheckCopy(cfg(w.from), cfg(w.from), "here"); !errors.Is(err, repo.ErrSelf) {
		t.Errorf("%v", err)
	}
	w.must(w.open(w.from, w.access).InitLike(ctx, w.to.st, repo.LikeOptions{DataClass: "GLACIER_IR", Parity: format.Parity{Data: 5}}))
	if err := repo.CheckCopy(cfg(w.from), cfg(w.to), "there"); err != nil {
		t.Errorf("%v", err)
	}
	if err := w.open(w.from, w.access).InitLike(ctx, w.to.st, repo.LikeOptions{}); !errors.Is(err, repo.ErrExists) {
		t.Errorf("made twice: %v", err)
	}
	if err := w.open(w.from, repo.Access{Host: w.access.Host}).InitLike(ctx, stranger.st, repo.LikeOptions{}); !errors.Is(err, repo.ErrWriteOnly) {
		t.Errorf("made without keys: %v", err)
	}
	from := w.open(w.from, w.access)
	if _, err := copy.Run(ctx, copy.Options{From: from, To: from}); !errors.Is(err, repo.ErrSelf) {
		t.Errorf("to itself: %v", err)
	}
}

// TestForgotten copies nothing that the copy has forgotten, and keeps what the repository has.
func TestForgotten(t *testing.T) {
	w := newWorld(t, repo.InitOptions{}, repo.LikeOptions{})
	a := w.backup(w.access, 1, "one")
	b := w.backup(w.access, 1, "one", "two")
	w.whole()
	_, err := w.load(w.to).Retire(ctx, nil, []snapshot.ID{a.ID})
	w.must(err)
	_, err = w.load(w.from).Retire(ctx, nil, []snapshot.ID{b.ID})
	w.must(err)
	c := w.backup(w.access, 1, "three")
	res := w.whole()
	if res.Forgotten != 1 || res.There != 0 || res.Snapshots != 1 {
		t.Errorf("%+v", res)
	}
	for _, it := range w.load(w.to).Items {
		if want := map[snapshot.ID]snapshot.Status{a.ID: snapshot.IsForgotten, b.ID: snapshot.IsDone, c.ID: snapshot.IsDone}[it.ID]; it.Status() != want {
			t.Errorf("%v is %v", it.ID, it.Status())
		}
	}
	again := func(o *copy.Options) { o.Again = true }
	if res := w.whole(again); res.Snapshots != 1 || res.Renewed != 1 {
		t.Errorf("%+v", res)
	}
	if n := w.expectRenewed(a); n != 3 {
		t.Errorf("%d snapshots", n)
	}
	if res := w.whole(again); res.Snapshots != 0 || res.There != 2 {
		t.Errorf("once more: %+v", res)
	}
}

// expectRenewed is expect for a copy in which another snapshot stands in the place of old.
func (w *world) expectRenewed(old snapshot.Item) int {
	w.t.Helper()
	found := false
	for _, it := range w.load(w.to).Items {
		if it.Status() == snapshot.IsDone && len(it.Rewrites) == 1 && it.Rewrites[0].ID == old.ID {
			found = true
			w.texts[it.ID] = w.texts[old.ID]
			if !it.Vouched || !it.Stored.Equal(w.stored(old.ID)) {
				w.t.Errorf("%v is of %v", it.ID, it.Stored)
			}
		}
	}
	if !found {
		w.t.Errorf("nothing stands for %v", old.ID)
	}
	w.audit()
	return w.expect(w.to, w.access)
}

// stored is when the repository got a snapshot.
func (w *world) stored(id snapshot.ID) time.Time {
	for _, it := range w.load(w.from).Items {
		if it.ID == id {
			return it.Stored
		}
	}
	return time.Time{}
}

// TestRetired leaves out what needs a pack that the copy has retired, whether that is known before, or comes between the snapshot and its mark.
func TestRetired(t *testing.T) {
	for _, late := range []bool{false, true} {
		w := newWorld(t, repo.InitOptions{}, repo.LikeOptions{})
		w.backup(w.access, 1, "one")
		victim := w.from.packOf(t, w, "one")
		w.whole()
		needs := w.backup(w.access, 1, "one", "two")
		free := w.backup(w.access, 2, "three")
		names, err := w.load(w.from).PackNames(ctx, needs.Snapshot)
		w.must(err)
		retire := func() {
			for _, n := range names {
				if strings.HasSuffix(victim, n.String()) {
					_, err := w.load(w.to).Retire(ctx, names[:0:0], nil)
					w.must(err)
					_, err = w.load(w.to).Retire(ctx, append(names[:0:0], n), nil)
					w.must(err)
				}
			}
		}
		if late {
			w.to.st = &between{Store: w.to.Store, at: "snapshots/", do: retire}
		} else {
			retire()
		}
		res, err := w.copy(repo.Access{Host: w.access.Host}) // cannot pack anew
		w.to.st = w.to.Store
		w.must(err)
		var retired *repo.RetiredError
		if res.Snapshots != 1 || len(res.Failed) != 1 || !errors.As(res.Failed[0].Err, &retired) || res.Failed[0].Item.ID != needs.ID {
			t.Errorf("late %v: %+v", late, res)
		}
		for _, it := range w.load(w.to).Items {
			if it.ID == needs.ID && it.Status() == snapshot.IsDone || it.ID == free.ID && it.Status() != snapshot.IsDone {
				t.Errorf("late %v: %v is %v", late, it.ID, it.Status())
			}
		}
		if res := w.whole(); res.Snapshots != 1 || res.Renewed != 1 {
			t.Errorf("late %v: %+v", late, res)
		}
		if n := w.expectRenewed(needs); n != 3 {
			t.Errorf("late %v: %d snapshots", late, n)
		}
		if res := w.whole(); res.Snapshots != 0 || res.There != 3 {
			t.Errorf("late %v, once more: %+v", late, res)
		}
	}
}

// between does something once, before the first object with a prefix is stored: who stores another one meanwhile waits for that.
type between struct {
	store.Store
	at   string
	do   func()
	once sync.Once
}

func (b *between) Put(c ctxt, name string, r seeker, size int64, o store.PutOptions) error {
	if strings.HasPrefix(name, b.at) {
		b.once.Do(b.do)
	}
	return b.Store.Put(c, name, r, size, o)
}

// TestDates keeps the date of a snapshot, and its author's word, in a copy that is made long after, by whoever has the root key.
func TestDates(t *testing.T) {
	w := newWorld(t, repo.InitOptions{}, repo.LikeOptions{})
	thief, err := w.open(w.from, w.access).Enroll(ctx, "old", "nas", keys.Writer)
	w.must(err)
	a := repo.Access{Secrets: w.access.Secrets, Host: thief}
	old := w.backup(a, 1, "one")
	w.backup(w.access, 2, "two")
	stored := map[snapshot.ID]time.Time{}
	for _, it := range w.load(w.from).Items {
		stored[it.ID] = it.Stored
	}
	w.clock.pass(1000 * time.Hour)
	w.must(w.open(w.from, w.access).Revoke(ctx, thief.Host, "sold"))
	w.clock.pass(time.Hour)

	res, err := w.copy(repo.Access{Host: w.access.Host}) // cannot vouch for the old host
	w.must(err)
	if res.Snapshots != 1 || len(res.Failed) != 1 || !errors.Is(res.Failed[0].Err, repo.ErrUntrusted) {
		t.Errorf("%+v", res)
	}
	w.expect(w.to, w.access)
	w.whole()
	if n := w.expect(w.to, w.access); n != 2 {
		t.Errorf("%d snapshots", n)
	}
	for _, it := range w.load(w.to).Items {
		if vouched := it.ID == old.ID; it.Vouched != vouched || it.Stored.Equal(stored[it.ID]) != vouched {
			t.Errorf("%v is of %v, vouched for: %v; stored first %v", it.ID, it.Stored, it.Vouched, stored[it.ID])
		}
	}
	third := w.clock.place()
	w.must(w.open(w.to, w.access).InitLike(ctx, third.st, repo.LikeOptions{}))
	w.from, w.to = w.to, third
	w.clock.pass(1000 * time.Hour)
	w.whole()
	for _, it := range w.load(w.to).Items {
		if it.ID == old.ID && !it.Stored.Equal(stored[it.ID]) {
			t.Errorf("a copy of the copy is of %v, not %v", it.Stored, stored[it.ID])
		}
	}
}

// TestFaults copies between stores that fail at random until it is through.
func TestFaults(t *testing.T) {
	for seed := range uint64(8) {
		w := newWorld(t, repo.InitOptions{}, repo.LikeOptions{Parity: format.Parity{Data: 10}})
		for n := range 6 {
			w.backup(w.access, byte(n%2), fmt.Sprint("text ", n), "the same", fmt.Sprint(n/3))
		}
		rules := "any * before p=0.01\nput * after p=0.03\nget * torn p=0.01\nget data flip p=0.1\nput * torn p=0.01"
		var res *copy.Result
		err := errors.New("not begun")
		for try := range uint64(60) {
			w.from.st, w.to.st = faultstore.New(w.from.Store, seed+100*try, faultstore.MustParse(rules)...), faultstore.New(w.to.Store, seed+100*try+50, faultstore.MustParse(rules)...)
			if res, err = w.copy(w.access); err == nil && len(res.Failed) == 0 {
				break
			}
		}
		w.from.st, w.to.st = w.from.Store, w.to.Store
		if err != nil || len(res.Failed) > 0 {
			t.Fatalf("seed %d: %v, %+v", seed, err, res)
		}
		if n := w.expect(w.to, w.access); n != 6 {
			t.Errorf("seed %d: %d snapshots", seed, n)
		}
		w.honest(w.to)
		w.audit()
	}
}

// TestSquatted refuses to rely on objects that somebody else put where those of the copy belong.
func TestSquatted(t *testing.T) {
	w := newWorld(t, repo.InitOptions{}, repo.LikeOptions{})
	it := w.backup(w.access, 1, "one")
	pack := w.from.packOf(t, w, "one")
	w.must(w.to.Put(ctx, pack, strings.NewReader("none"), 4, store.PutOptions{}))
	res, err := w.copy(w.access)
	w.must(err)
	if res.Snapshots != 0 || len(res.Failed) != 1 {
		t.Errorf("%+v", res)
	}
	w.must(w.to.Delete(ctx, pack))
	name := "snapshots/" + w.access.Host.ScopeID.String() + "/" + it.ID.String()
	w.must(w.to.Put(ctx, name, strings.NewReader("none"), 4, store.PutOptions{}))
	res, err = w.copy(w.access)
	w.must(err)
	if res.Snapshots != 0 || len(res.Failed) != 1 || slices.Contains(w.to.names(t, "snapshots/"), name+".done") {
		t.Errorf("%+v", res)
	}
	w.must(w.to.Delete(ctx, name))
	w.whole()
	w.expect(w.to, w.access)
}

// TestOneRead reads each pack once, and makes volumes of what passes where there are none to copy.
func TestOneRead(t *testing.T) {
	for _, parity := range []format.Parity{{}, {Data: 20, Meta: 20}} {
		w := newWorld(t, repo.InitOptions{Parity: parity}, repo.LikeOptions{Parity: format.Parity{Data: 10, Meta: 10}})
		w.backup(w.access, 1, strings.Repeat("one ", 50000), "two")
		gets := map[string]int{}
		w.from.set(func(r mem.Request) error {
			if r.Op == "get" {
				gets[r.Name]++
			}
			return nil
		})
		res := w.whole()
		w.from.set(nil)
		packs := append(w.from.names(t, "data/"), w.from.names(t, "meta/")...)
		for _, name := range packs {
			if gets[name] != 1 {
				t.Errorf("%s is read %d times", name, gets[name])
			}
		}
		if res.Volumes != 2 {
			t.Errorf("%d volumes", res.Volumes)
		}
		w.audit()
	}
}
