// Package check compares what is stored with what should be, and changes nothing. Its parts, from cheap to dear:
//
//   - the listing: every object that indexes and snapshots need is there and has its size, recovery volumes included;
//   - stored sums: the SHA-256 that the store keeps of an object is the one in its name or in the index. One HEAD an object, no egress, no thaw;
//   - metadata: prune records, indexes, snapshots, pack sets, certificates and manifests open and are whole, every file's chunks are indexed and their packs in the pack sets;
//   - reading: packs that need no thawing are fetched, with their recovery volumes, and verified to the last chunk;
//   - reading what is cold, by a thaw job, the only part that touches it.
//
// A Check is begun (Open), which lists and reads what it takes to know what there is to do; asked what each part would cost (Plan); and run part by part. Report then says what
// was found, whom it hurts, and what helps. Without any key the listing, stored sums and the sums of what is read are compared with the names.
//
// What was read when is remembered (History), so that the packs that were read the longest ago come first: N runs that read an Nth each have read everything.
//
// Backups and prunes may go on meanwhile. What is missing or unknown is looked for once more before it is reported. Packs that are retired, snapshots that are
// forgotten, and partial snapshots are no damage; objects that nothing needs are counted.
package check

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"firn/internal/digest"
	"firn/internal/event"
	"firn/internal/price"
	"firn/internal/repo"
	"firn/internal/store"
	"firn/internal/thaw"
)

// Options of a check.
type Options struct {
	Store   store.Store   // must not answer from copies near by
	Access  *repo.Access  // nil: no key
	Region  *price.Region // knows which classes are cold; nil: the names of Amazon S3
	History *History      // nil: nothing is remembered
	Dir     string        // folder in which a folder for chunk tables is made, and removed by Close; empty: the system's for temporary files
	Report  event.Func
	Now     func() time.Time // nil: time.Now
	Seed    uint64           // of the order in which packs that were never read are taken; 0: by the clock
	Paths   int              // most paths told of each finding and snapshot; 0: 10
	Workers int              // requests at once; 0: 8
}

// Share is how much of the packs is read. The zero value is nothing; of several members the first that is set counts.
type Share struct {
	All   bool
	Of    int     // an Nth of the bytes, at least one pack
	Part  float64 // of the bytes, 0 to 1
	Bytes int64
	Packs int64
}

// Any reports whether anything is to be read.
func (s Share) Any() bool { return s.All || s.Of > 0 || s.Part > 0 || s.Bytes > 0 || s.Packs > 0 }

// Check is a check under way. Its methods are called one after another.
type Check struct {
	o     Options
	audit *repo.Audit // nil: no key
	dir   string
	items []item // packs that something needs, and that are listed
	rand  *rand.Rand

	mu       sync.Mutex
	found    map[string]*repo.Finding // without a key
	listed   int64
	bytes    int64
	summed   []summedObject
	result   Result
	verified map[digest.Object]bool
	idle     map[*repo.AuditScope][]*repo.Verifier
}

// item is a pack that can be read.
type item struct {
	object string
	pack   digest.Object
	size   int64
	right  int64 // size as the index has it; 0: unknown
	class  string
	stored time.Time        // by the store's clock
	scope  *repo.AuditScope // nil: no key
	volume int64            // bytes of its recovery volume; 0: none is known
	sum    digest.Object    // of that; zero: unknown
}

// summedObject is an object whose SHA-256 is known.
type summedObject struct {
	name  string
	sum   digest.Object
	size  int64
	class string
	pack  digest.Object
	vol   bool
}

// Result counts what was done.
type Result struct {
	Objects, Bytes             int64 // listed
	Sums, SumsUnknown          int64 // objects whose stored sum was compared, and of which the store keeps none
	Metadata, MetadataBytes    int64 // objects read
	Snapshots                  int64 // whose manifests were read
	Packs, PackBytes           int64 // read and verified
	Volumes, VolumeBytes       int64
	Orphans, OrphanBytes       int64     // objects that no index names
	Healed                     int64     // objects that are damaged or gone and that nobody needs any more: not among the findings
	Left                       int64     // packs that were chosen and could not be read, since they were cold after all
	Candidates, CandidateBytes int64     // packs that there are to read, hot and cold
	Fresh                      int64     // of these, packs that were read in this run or an earlier one
	Oldest                     time.Time // when the pack was read that was read the longest ago; zero: some never were
}

// Open lists the store and, with a key, reads prune records, indexes, snapshots and pack sets.
func Open(ctx context.Context, o Options) (*Check, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Paths <= 0 {
		o.Paths = 10
	}
	if o.Workers <= 0 {
		o.Workers = 8
	}
	if o.Seed == 0 {
		o.Seed = uint64(o.Now().UnixNano())
	}
	c := &Check{o: o, found: map[string]*repo.Finding{}, rand: rand.New(rand.NewPCG(o.Seed, 1)), verified: map[digest.Object]bool{}, idle: map[*repo.AuditScope][]*repo.Verifier{}}
	if o.Access == nil {
		return c, c.openBlind(ctx)
	}
	dir, err := os.MkdirTemp(o.Dir, "check-*")
	if err != nil {
		return nil, err
	}
	c.dir = dir
	err = c.open(ctx)
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Close removes what the check kept on disk.
func (c *Check) Close() {
	if c.dir != "" {
		_ = os.RemoveAll(c.dir)
	}
}

func (c *Check) open(ctx context.Context) (err error) {
	c.audit, err = repo.OpenAudit(ctx, c.o.Store, *c.o.Access, repo.Options{Report: c.o.Report, Now: c.o.Now, IndexDir: c.dir})
	if err != nil {
		return err
	}
	if err := c.audit.Load(ctx); err != nil {
		return err
	}
	if err := c.audit.Packs(); err != nil {
		return err
	}
	c.listed, c.bytes = c.audit.Listed.Objects, c.audit.Listed.Bytes
	for _, a := range c.audit.Scopes {
		if err := a.EachPack(func(p *repo.PackObject) error {
			l, ok := c.audit.Listed.Packs[p.Name]
			if !ok {
				return nil
			}
			it := item{object: p.Object, pack: p.Name, size: l.Size, right: p.Size, class: l.Class, stored: l.Modified, scope: a}
			c.summed = append(c.summed, summedObject{p.Object, p.Name, p.Size, l.Class, p.Name, false})
			if v, ok := c.audit.Listed.Volumes[p.Name]; ok && p.Par2 != nil {
				it.volume, it.sum = v.Size, p.Par2.Sum
				c.summed = append(c.summed, summedObject{p.Volume(), p.Par2.Sum, p.Par2.Size, v.Class, p.Name, true})
			}
			c.items = append(c.items, it)
			return nil
		}); err != nil {
			return err
		}
	}
	return c.listSummed(ctx, "index/", "packset/", "prune/", "state/")
}

// listSummed adds the other objects that have their sum in their name.
func (c *Check) listSummed(ctx context.Context, prefixes ...string) error {
	for _, prefix := range prefixes {
		if err := c.o.Store.List(ctx, prefix, "", func(i store.Info) error {
			if o, ok := repo.ParseName(i.Name); ok && o.Summed() {
				c.summed = append(c.summed, summedObject{i.Name, o.Sum, i.Size, i.Class, digest.Object{}, false})
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// openBlind goes by names alone.
func (c *Check) openBlind(ctx context.Context) error {
	volumes := map[digest.Object]int64{}
	marks, snapshots := map[string]bool{}, map[string]bool{}
	err := c.o.Store.List(ctx, "", "", func(i store.Info) error {
		c.listed++
		c.bytes += i.Size
		o, ok := repo.ParseName(i.Name)
		switch {
		case !ok:
		case o.Volume:
			volumes[o.Sum] = i.Size
		case o.Done:
			marks[i.Name] = true
		case o.Area == "snapshots":
			snapshots[i.Name] = true
		case o.Summed():
			pack := digest.Object{}
			if o.Area == "data" || o.Area == "meta" {
				pack = o.Sum
				c.items = append(c.items, item{object: i.Name, pack: o.Sum, size: i.Size, class: i.Class, stored: i.Modified})
			}
			c.summed = append(c.summed, summedObject{i.Name, o.Sum, i.Size, i.Class, pack, false})
		}
		return nil
	})
	for i := range c.items {
		c.items[i].volume = volumes[c.items[i].pack]
	}
	for name := range marks {
		if base := strings.TrimSuffix(name, ".done"); err == nil && !snapshots[base] {
			if _, serr := c.o.Store.Stat(ctx, base); errors.Is(serr, store.ErrNotExist) {
				if _, serr = c.o.Store.Stat(ctx, name); serr == nil {
					c.note(&repo.Finding{Object: base, Kind: repo.Missing, Err: errors.New("its mark is there, the snapshot is not")})
				}
			}
		}
	}
	for _, name := range []string{"firn.json", "RECOVER.md", "recover.py"} {
		if _, serr := c.o.Store.Stat(ctx, name); err == nil && errors.Is(serr, store.ErrNotExist) {
			c.note(&repo.Finding{Object: name, Kind: repo.Missing})
		}
	}
	return err
}

// note keeps a finding.
func (c *Check) note(f *repo.Finding) {
	if c.audit != nil {
		c.audit.Add(f)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.found[f.Object] == nil {
		c.found[f.Object] = f
	}
}

// CanRead reports whether manifests and chunks can be read with the keys at hand.
func (c *Check) CanRead() bool { return c.audit != nil && c.audit.Repository().CanRead() }

// Metadata reads and verifies everything but packs of content: certificates, keys, state of hosts, and with CanRead the manifests. (Indexes, snapshots and so on Open has read.)
func (c *Check) Metadata(ctx context.Context) error {
	if c.audit == nil {
		return c.sumsOfMetadata(ctx)
	}
	if err := c.audit.Hosts(ctx); err != nil {
		return err
	}
	err := c.audit.Manifests(ctx)
	if errors.Is(err, repo.ErrWriteOnly) {
		err = nil
	} else if err == nil {
		for _, a := range c.audit.Scopes {
			c.result.Snapshots += int64(len(a.Live))
		}
	}
	return err
}

// sumsOfMetadata reads what has its sum in its name, without a key.
func (c *Check) sumsOfMetadata(ctx context.Context) error {
	for _, s := range c.summed {
		if !s.pack.IsZero() {
			continue
		}
		f, err := repo.VerifySum(ctx, s.name, repo.OpenStored(c.o.Store, s.name), s.sum, -1)
		if err != nil {
			return err
		}
		c.result.Metadata++
		c.result.MetadataBytes += s.size
		if f == nil {
			continue
		}
		if f.Kind != repo.Missing { // listed and gone: merged into another one
			c.note(f)
		}
	}
	return nil
}

// Step is a part of a check before it is done.
type Step struct {
	What    string // sums, metadata, read
	Class   string
	Objects int64
	Gets    int64 // requests priced as such; HEADs are
	Bytes   int64 // that leave the store
}

// Metadata, at most: what a plan says of it, since how much of the meta packs the manifests need is known only when they were read.
func (c *Check) metadataSteps() []Step {
	by := map[string]*Step{}
	for _, s := range c.summed {
		meta := strings.HasPrefix(s.name, "meta/")
		if s.vol || !meta && !s.pack.IsZero() || meta && !c.CanRead() {
			continue
		}
		st := by[s.class]
		if st == nil {
			st = &Step{What: "metadata", Class: s.class}
			by[s.class] = st
		}
		st.Objects++
		st.Bytes += s.size
		st.Gets += 1
		if meta {
			st.Gets += s.size / (4 << 20)
		}
	}
	return sortedSteps(by)
}

func sortedSteps(by map[string]*Step) (out []Step) {
	for _, s := range by {
		out = append(out, *s)
	}
	slices.SortFunc(out, func(a, b Step) int { return strings.Compare(a.Class, b.Class) })
	return out
}

// Wish is what is asked of a check besides the listing.
type Wish struct {
	Metadata bool
	Sums     float64 // share of the objects whose stored sums are compared, 0 to 1
	Read     Share   // of the packs that need no thawing
	Cold     Share   // of those that do
}

// Plan is what a wish comes to.
type Plan struct {
	Steps []Step
	Needs []thaw.Need // cold packs and their volumes, in the order in which they are wanted

	sums []summedObject
	hot  []item
}

// Plan chooses what is read and says what that takes. It lists, and reads nothing.
func (c *Check) Plan(ctx context.Context, w Wish) (*Plan, error) {
	p := &Plan{}
	if w.Sums > 0 {
		p.sums = c.someSums(w.Sums)
		by := map[string]*Step{}
		for _, s := range p.sums {
			if by[s.class] == nil {
				by[s.class] = &Step{What: "sums", Class: s.class}
			}
			by[s.class].Objects++
			by[s.class].Gets++
		}
		p.Steps = append(p.Steps, sortedSteps(by)...)
	}
	if w.Metadata {
		p.Steps = append(p.Steps, c.metadataSteps()...)
	}
	if !w.Read.Any() && !w.Cold.Any() {
		return p, nil
	}
	hot, cold, err := c.divide(ctx)
	if err != nil {
		return nil, err
	}
	if w.Read.Any() {
		p.hot = c.choose(hot, w.Read)
		by := map[string]*Step{}
		for _, it := range p.hot {
			if by[it.class] == nil {
				by[it.class] = &Step{What: "read", Class: it.class}
			}
			s := by[it.class]
			s.Objects++
			s.Gets += it.gets()
			s.Bytes += it.size + it.volume
		}
		p.Steps = append(p.Steps, sortedSteps(by)...)
	}
	if w.Cold.Any() {
		for _, it := range c.choose(cold, w.Cold) {
			p.Needs = append(p.Needs, thaw.Need{Object: it.object, Class: it.class, Size: it.size, Wanted: it.size, Gets: 3})
			if it.volume > 0 {
				p.Needs = append(p.Needs, thaw.Need{Object: it.object + ".par2", Class: it.class, Size: it.volume, Wanted: it.volume, Gets: 1})
			}
		}
	}
	return p, nil
}

// gets is how many requests read a pack and its volume.
func (it *item) gets() int64 {
	n := int64(1)
	if it.scope != nil && it.size > 1<<20 {
		n = 3
	}
	if it.volume > 0 {
		n++
	}
	return n
}

// someSums draws objects whose stored sums are compared.
func (c *Check) someSums(share float64) []summedObject {
	all := slices.Clone(c.summed)
	c.rand.Shuffle(len(all), func(i, k int) { all[i], all[k] = all[k], all[i] })
	n := int(share*float64(len(all)) + 0.999999)
	all = all[:min(n, len(all))]
	slices.SortFunc(all, func(a, b summedObject) int { return cmp.Compare(a.name, b.name) })
	return all
}

// divide tells packs that can be read as they are from those that have to be thawed. A thawed copy counts as cold: it is read by a thaw job, too.
func (c *Check) divide(ctx context.Context) (hot, cold []item, err error) {
	if _, ok := store.As[store.Thawer](c.o.Store); !ok {
		return c.items, nil, nil
	}
	needs := make([]thaw.Need, len(c.items))
	for i, it := range c.items {
		needs[i] = thaw.Need{Object: it.object, Class: it.class, Size: it.size, Wanted: it.size, Gets: 1}
	}
	survey, err := thaw.Look(ctx, c.o.Store, needs, thaw.LookOptions{Region: c.o.Region})
	if err != nil {
		return nil, nil, err
	}
	for i := range c.items {
		switch f := survey.At(i); {
		case f.Missing: // the listing tells
		case f.Cold:
			cold = append(cold, c.items[i])
		default:
			hot = append(hot, c.items[i])
		}
	}
	return hot, cold, nil
}
