package repo

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"firn/internal/digest"
	"firn/internal/index"
	"firn/internal/keys"
	"firn/internal/packset"
	"firn/internal/seal"
	"firn/internal/sign"
	"firn/internal/snapshot"
	"firn/internal/store"
)

// Audit is a repository that was read to see whether all is there and whole: everything but packs, each object once, from the store and not from local copies. Nothing
// that it reads lies in a cold class, unless something chilled it. It changes nothing.
//
// Backups and prunes may go on beside it: what they take away meanwhile Settle takes back.
type Audit struct {
	r  *Repository
	st *summing

	Scopes []*AuditScope
	Listed Listing // packs and volumes, those of scopes that no key at hand opens, too

	mu    sync.Mutex
	found map[string]*Finding // by object
}

// AuditScope is a scope of an Audit.
type AuditScope struct {
	*ScopeState
	Live  []snapshot.Item                   // those that are not forgotten, by time
	parts map[digest.Object][]digest.Object // names in each pack set that could be read
	needs *needs                            // made when it is asked for
	packs map[snapshot.ID]map[uint32]bool   // numbers of the packs in the pack sets of a snapshot
	whole map[snapshot.ID]bool              // all of its pack sets could be read
}

// Listing is what the store lists of packs and their recovery volumes.
type Listing struct {
	Packs   map[digest.Object]ListedObject
	Volumes map[digest.Object]ListedObject // by the name of their pack
	Objects int64                          // all that were listed, other objects included
	Bytes   int64
}

// ListedObject is one of them.
type ListedObject struct {
	Size     int64
	Class    string
	Modified time.Time // by the store's clock
	Scope    keys.ScopeID
	Meta     bool // it is below meta/
}

// OpenAudit opens a repository for an audit. st must not answer from copies near by; o.IndexDir is an empty folder, or nothing.
func OpenAudit(ctx context.Context, st store.Store, a Access, o Options) (*Audit, error) {
	x := &Audit{found: map[string]*Finding{}}
	x.st = &summing{Store: st, found: x.note}
	o.Spool, o.Header = nil, nil
	var err error
	x.r, err = Open(ctx, x.st, a, o)
	return x, err
}

// Repository returns the repository as the audit has it open: reading metadata through it verifies sums.
func (x *Audit) Repository() *Repository { return x.r }

// note keeps a finding. What is found of an object for the second time is added to the first.
func (x *Audit) note(f *Finding) *Finding {
	x.mu.Lock()
	defer x.mu.Unlock()
	old := x.found[f.Object]
	if old == nil {
		x.found[f.Object] = f
		return f
	}
	if ranks[f.Kind] >= ranks[old.Kind] {
		old.Kind, old.Err = f.Kind, f.Err
	}
	if len(f.Spans) > 0 {
		old.Spans = f.Spans
	}
	switch {
	case f.read:
		old.Whole, old.Chunks, old.read = f.Whole, f.Chunks, true
	case !old.read:
		old.Whole = old.Whole || f.Whole
		old.Chunks = append(old.Chunks, f.Chunks...)
	}
	return old
}

// Count returns how many objects were found so far.
func (x *Audit) Count() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.found)
}

// noteError makes findings of an error, and returns it if it says nothing about an object.
func (x *Audit) noteError(name string, err error) error {
	var object *ObjectError
	for e := err; errors.As(e, &object); e = object.Err { // the innermost one is to blame: the certificate of an author, not what he wrote
		name = object.Name
	}
	f := objectFinding(name, err)
	if f == nil {
		return err
	}
	f = x.note(f)
	var outer *ObjectError
	if errors.As(err, &outer) && outer.Name != name {
		x.mu.Lock()
		f.Behind = append(f.Behind, outer.Name)
		x.mu.Unlock()
	}
	return nil
}

// Findings returns all that was found so far, in order of object.
func (x *Audit) Findings() []*Finding {
	x.mu.Lock()
	defer x.mu.Unlock()
	var all []*Finding
	for _, f := range x.found {
		all = append(all, f)
	}
	SortFindings(all)
	return all
}

// SortFindings puts them in order of object, then of kind.
func SortFindings(all []*Finding) {
	slices.SortFunc(all, func(a, b *Finding) int {
		return cmp.Or(strings.Compare(a.Object, b.Object), strings.Compare(string(a.Kind), string(b.Kind)))
	})
}

// Add keeps findings that somebody else made: of packs that were read.
func (x *Audit) Add(f *Finding) *Finding { return x.note(f) }

// Load lists the packs, and reads prune records, indexes, snapshots, marks and pack sets.
func (x *Audit) Load(ctx context.Context) error {
	if err := x.list(ctx); err != nil { // before the indexes: what comes in between is in both or only in the latter
		return err
	}
	ids, err := x.scopes(ctx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		s, err := x.r.Load(ctx, id, true)
		if err != nil {
			return err
		}
		for _, damage := range s.Damaged {
			if err := x.noteError("", damage); err != nil {
				return err
			}
		}
		a := &AuditScope{ScopeState: s, parts: map[digest.Object][]digest.Object{}, whole: map[snapshot.ID]bool{}, packs: map[snapshot.ID]map[uint32]bool{}}
		for _, it := range s.Items {
			if !it.Forgotten {
				a.Live = append(a.Live, it)
			}
		}
		slices.SortFunc(a.Live, func(p, q snapshot.Item) int {
			return cmp.Or(p.Start.Compare(q.Start), strings.Compare(p.ID.String(), q.ID.String()))
		})
		x.Scopes = append(x.Scopes, a)
		if err := x.readParts(ctx, a); err != nil {
			return err
		}
		if err := x.linked(ctx, a); err != nil {
			return err
		}
	}
	return nil
}

// scopes are those that have snapshots, and those that have packs only: their snapshots may have been taken away.
func (x *Audit) scopes(ctx context.Context) ([]keys.ScopeID, error) {
	ids, err := x.r.Scopes(ctx)
	if err != nil || x.r.secrets == nil {
		return ids, err
	}
	for _, l := range x.Listed.Packs {
		if !slices.Contains(ids, l.Scope) {
			ids = append(ids, l.Scope)
		}
	}
	slices.SortFunc(ids, func(a, b keys.ScopeID) int { return strings.Compare(a.String(), b.String()) })
	return ids, nil
}

// list fills Listed.
func (x *Audit) list(ctx context.Context) error {
	x.Listed = Listing{Packs: map[digest.Object]ListedObject{}, Volumes: map[digest.Object]ListedObject{}}
	return x.r.st.List(ctx, "", "", func(info store.Info) error {
		x.Listed.Objects++
		x.Listed.Bytes += info.Size
		o, ok := ParseName(info.Name)
		if !ok || o.Area != "data" && o.Area != "meta" {
			return nil
		}
		l := ListedObject{info.Size, info.Class, info.Modified, o.Scope, o.Area == "meta"}
		if o.Volume {
			x.Listed.Volumes[o.Sum] = l
		} else {
			x.Listed.Packs[o.Sum] = l
		}
		return nil
	})
}

// readParts reads each pack set that a live snapshot names, once.
func (x *Audit) readParts(ctx context.Context, a *AuditScope) error {
	want := map[digest.Object]snapshot.Part{}
	done := map[digest.Object]bool{}
	for _, it := range a.Live {
		for _, p := range it.Packs {
			want[p.Object] = p
			done[p.Object] = done[p.Object] || it.Marked
		}
	}
	var mu sync.Mutex
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelGets)
	for object, part := range want {
		g.Go(func() error {
			names, err := a.partNames(gctx, part)
			if err == nil {
				mu.Lock()
				a.parts[object] = names
				mu.Unlock()
				return nil
			}
			if !done[object] && a.set.Retired(object) {
				return nil // a snapshot that came too late to be done
			}
			return x.noteError(packsetPrefix(a.ID())+object.String(), err)
		})
	}
	return g.Wait()
}

// PacksOf returns the packs that the pack sets of a snapshot name, sorted; whole is false where some of them could not be read.
func (a *AuditScope) PacksOf(s *snapshot.Snapshot) (names []digest.Object, whole bool) {
	whole = true
	for _, p := range s.Packs {
		part, ok := a.parts[p.Object]
		whole = whole && ok
		names = append(names, part...)
	}
	return packset.Normalize(names), whole
}

// linked looks for snapshots and marks that later snapshots name and that are not there.
func (x *Audit) linked(ctx context.Context, a *AuditScope) error {
	there := map[snapshot.ID]snapshot.Item{}
	for _, it := range a.Items {
		there[it.ID] = it
	}
	marks := map[string]bool{}
	listed, err := a.listSnapshots(ctx)
	if err != nil {
		return err
	}
	for id, e := range listed {
		marks[id] = e.done
		parsed, err := snapshot.ParseID(id)
		if err == nil && e.info.Name == "" && !a.forgotten[parsed] {
			x.note(&Finding{Object: snapshotPrefix(a.ID()) + id, Kind: Missing, Err: errors.New("its mark is there, the snapshot is not")})
		}
	}
	if x.r.cfg.Copy != [16]byte{} {
		return nil // not all need have been copied, and what the repository had forgotten by then the records here do not tell
	}
	rewritten := snapshot.Rewritten(a.Live)
	for _, it := range a.Live {
		if it.Previous == nil || a.forgotten[it.Previous.ID] || !rewritten[it.Previous.ID].IsZero() {
			continue
		}
		id := it.Previous.ID.String()
		name := snapshotPrefix(a.ID()) + id
		switch e := listed[id]; {
		case e == nil || e.info.Name == "":
			x.note(&Finding{Object: name, Kind: Missing, Err: fmt.Errorf("snapshot %v, which follows it, names it", it.ID)})
		case !e.done && it.Marked && there[it.Previous.ID].Snapshot != nil && there[it.Previous.ID].Complete:
			x.note(&Finding{Object: name + doneSuffix, Kind: Missing, Err: fmt.Errorf("snapshot %v, which follows it, names it as done", it.ID)})
		}
	}
	return nil
}

// Packs compares what index and pack sets name with what is listed: packs and volumes that are missing or have another size. It reads nothing but what Load has read.
func (x *Audit) Packs() error {
	for _, a := range x.Scopes {
		needed := map[digest.Object]bool{}
		for _, names := range a.parts {
			for _, n := range names {
				needed[n] = true
			}
		}
		err := a.EachPack(func(p *PackObject) error {
			need := needed[p.Name]
			delete(needed, p.Name)
			if !need && p.Retired {
				return nil
			}
			x.compare(p)
			return nil
		})
		if err != nil {
			return err
		}
		for n := range needed {
			x.unindexed(a, n)
		}
		x.dropExcused(a)
	}
	return nil
}

// compare notes what is wrong with a pack by its listing.
func (x *Audit) compare(p *PackObject) {
	switch l, ok := x.Listed.Packs[p.Name]; {
	case !ok:
		x.note(&Finding{Object: p.Object, Kind: Missing, Pack: p.Name, Whole: true})
	case l.Size != p.Size:
		x.note(&Finding{Object: p.Object, Kind: WrongSize, Pack: p.Name, Whole: true, Err: fmt.Errorf("object has %d bytes instead of %d", l.Size, p.Size)})
	}
	if _, there := x.Listed.Packs[p.Name]; p.Par2 == nil || !there {
		return // without its pack a volume is of no use
	}
	switch l, ok := x.Listed.Volumes[p.Name]; {
	case !ok:
		x.note(&Finding{Object: p.Volume(), Kind: Missing, Pack: p.Name, Volume: true})
	case l.Size != p.Par2.Size:
		x.note(&Finding{Object: p.Volume(), Kind: WrongSize, Pack: p.Name, Volume: true, Err: fmt.Errorf("object has %d bytes instead of %d", l.Size, p.Par2.Size)})
	}
}

// unindexed notes a pack that a snapshot needs and no index names.
func (x *Audit) unindexed(a *AuditScope, n digest.Object) {
	l, ok := x.Listed.Packs[n]
	kind, area := Unindexed, "data"
	if l.Meta {
		area = "meta"
	}
	f := &Finding{Kind: kind, Pack: n, Whole: true, Err: errors.New("no index names it")}
	if !ok {
		f.Kind, f.Err = Missing, errors.New("no index names it, and it is gone")
	}
	hexName := n.String()
	f.Object = area + "/" + a.ID().String() + "/" + hexName[:2] + "/" + hexName
	x.note(f)
}

// dropExcused takes back what is said of packs that only snapshots need which can never be done, since these packs are retired.
func (x *Audit) dropExcused(a *AuditScope) {
	needed := map[digest.Object]bool{}
	for _, it := range a.Live {
		names, _ := a.PacksOf(it.Snapshot)
		for _, n := range names {
			if it.Marked || !a.set.Retired(n) {
				needed[n] = true
			}
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	for k, f := range x.found {
		if !f.Pack.IsZero() && f.Kind != Orphan && a.set.Retired(f.Pack) && !needed[f.Pack] {
			delete(x.found, k)
		}
	}
}

// Hosts reads the certificates and revocations of hosts, the public halves of keys, and the state of hosts; of keys, those that no key at hand opens only as far as their
// form goes.
func (x *Audit) Hosts(ctx context.Context) error {
	var hosts, states, keyNames []string
	for prefix, names := range map[string]*[]string{hostsPrefix: &hosts, "state/": &states, keysPrefix: &keyNames} {
		if err := x.r.st.List(ctx, prefix, "", func(i store.Info) error {
			*names = append(*names, i.Name)
			return nil
		}); err != nil {
			return err
		}
	}
	if err := x.certificates(ctx, hosts); err != nil {
		return err
	}
	newest := map[string]string{} // by host
	for _, name := range states {
		newest[name[:strings.LastIndexByte(name, '/')]] = name // listed in order
	}
	if err := x.each(ctx, states, func(ctx context.Context, name string) error {
		return x.state(ctx, name, newest[name[:strings.LastIndexByte(name, '/')]] == name)
	}); err != nil {
		return err
	}
	if err := x.plainFiles(ctx); err != nil {
		return err
	}
	return x.keys(ctx, keyNames)
}

// each calls fn for several objects at once; what it says of one becomes a finding.
func (x *Audit) each(ctx context.Context, names []string, fn func(ctx context.Context, name string) error) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelGets)
	for _, name := range names {
		g.Go(func() error {
			err := fn(gctx, name)
			if errors.Is(err, store.ErrNotExist) {
				return nil // listed and gone
			}
			if err != nil {
				err = x.noteError(name, err)
			}
			return err
		})
	}
	return g.Wait()
}

// certificates reads what is below hosts/, and looks for those of authors that are missing.
func (x *Audit) certificates(ctx context.Context, names []string) error {
	there := map[string]bool{}
	for _, n := range names {
		there[n] = true
	}
	err := x.each(ctx, names, func(ctx context.Context, name string) error {
		text, revoked := strings.CutSuffix(strings.TrimPrefix(name, hostsPrefix), revokeSuffix)
		id, err := sign.ParseAuthor(text)
		if err != nil || revoked && !there[hostsPrefix+text] {
			return nil
		}
		_, err = x.r.hostInfo(ctx, id, revoked)
		if errors.Is(err, ErrNoScope) && x.r.secrets == nil {
			return nil
		}
		if errors.Is(err, ErrNoScope) {
			err = &ObjectError{name, ErrForged}
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, a := range x.Scopes {
		authors := map[[16]byte]bool{}
		for _, it := range a.Live {
			authors[it.HostID] = true
		}
		for _, o := range a.objects {
			authors[o.Author] = true
		}
		for id := range authors {
			if name := hostsPrefix + sign.Author(id).String(); !sign.Author(id).IsRoot() && !there[name] {
				x.note(&Finding{Object: name, Kind: Missing, Err: errors.New("the certificate of a host that wrote indexes or snapshots")})
			}
		}
	}
	return nil
}

// state reads what a host left for itself; where nothing newer is there the snapshots that it names have to be, too.
func (x *Audit) state(ctx context.Context, name string, newest bool) error {
	o, ok := ParseName(name)
	owner, _, _ := strings.Cut(strings.TrimPrefix(name, "state/"), "/")
	id, err := sign.ParseAuthor(owner)
	if !ok || err != nil {
		return nil
	}
	if x.r.secrets == nil {
		_, err := x.r.fetch(ctx, name, 32<<20) // its sum, at least
		return err
	}
	k, err := x.r.hostKit(ctx, id)
	if err != nil {
		return nil // told where it belongs
	}
	body, author, err := k.get(ctx, sign.State, name)
	if err != nil {
		return err
	}
	if author != id || o.Sum.IsZero() {
		return &ObjectError{name, ErrForged}
	}
	st, err := snapshot.ParseState(body)
	if err != nil {
		return &ObjectError{name, err}
	}
	if newest {
		x.heads(k.id, st.Heads)
	}
	return nil
}

// heads looks for snapshots that a host remembers as done: a store that forgets the newest ones is found out by that.
func (x *Audit) heads(scope keys.ScopeID, heads []snapshot.Head) {
	for _, a := range x.Scopes {
		if a.ID() != scope {
			continue
		}
		there := map[snapshot.ID]snapshot.Item{}
		for _, it := range a.Items {
			there[it.ID] = it
		}
		broken := map[string]bool{}
		for _, f := range x.Findings() {
			broken[f.Object] = true
		}
		for _, h := range heads {
			name := snapshotPrefix(scope) + h.Snapshot.String()
			it, ok := there[h.Snapshot]
			switch {
			case a.forgotten[h.Snapshot] || broken[name] || broken[name+doneSuffix]:
			case !ok:
				x.note(&Finding{Object: name, Kind: Missing, Err: errors.New("its host remembers it as done")})
			case !it.Marked:
				x.note(&Finding{Object: name + doneSuffix, Kind: Missing, Err: errors.New("its host remembers it as done")})
			case it.Sum != h.Sum:
				x.note(&Finding{Object: name, Kind: WrongBody, Err: errors.New("its host remembers another one in its place")})
			}
		}
	}
}

// plainFiles looks whether what a restore without firn begins with is there.
func (x *Audit) plainFiles(ctx context.Context) error {
	for _, name := range []string{configName, recoverText, recoverName} {
		info, err := x.r.st.Stat(ctx, name)
		switch {
		case errors.Is(err, store.ErrNotExist):
			x.note(&Finding{Object: name, Kind: Missing})
		case err != nil:
			return err
		case info.Size == 0:
			x.note(&Finding{Object: name, Kind: WrongSize, Err: errors.New("it is empty")})
		}
	}
	return nil
}

// keys reads the wrapped keys and what is said of them.
func (x *Audit) keys(ctx context.Context, names []string) error {
	halves := map[string]int{}
	for _, name := range names {
		if base, ok := strings.CutSuffix(name, keySuffix); ok {
			halves[base] |= 1
		} else if base, ok := strings.CutSuffix(name, metaSuffix); ok {
			halves[base] |= 2
		}
	}
	for base, have := range halves {
		if have == 1 {
			x.note(&Finding{Object: base + metaSuffix, Kind: Missing})
		} else if have == 2 {
			x.note(&Finding{Object: base + keySuffix, Kind: Missing})
		}
	}
	return x.each(ctx, names, func(ctx context.Context, name string) error {
		raw, err := x.r.fetch(ctx, name, 1<<20)
		if err != nil {
			return err
		}
		if strings.HasSuffix(name, keySuffix) {
			n, err := seal.PrefixLen(raw)
			if err == nil {
				_, err = seal.PlainSize(n, int64(len(raw)))
			}
			if err != nil {
				return &ObjectError{name, err}
			}
			return nil
		}
		if meta, err := keys.ParseMeta(raw, x.r.root); err != nil {
			return &ObjectError{name, err}
		} else if keysPrefix+meta.Key.String()+metaSuffix != name {
			return &ObjectError{name, ErrForged}
		}
		return nil
	})
}

// Settle looks once more at everything that was found to be missing or unknown, and takes back what a backup or a prune that ran meanwhile explains: objects that are there
// now, packs and pack sets of snapshots that were forgotten, indexes that were merged. It is called last.
func (x *Audit) Settle(ctx context.Context) error {
	var open []*Finding
	for _, f := range x.Findings() {
		switch f.Kind {
		case Missing, Unindexed, Unlisted, Unknown, WrongSize:
			open = append(open, f)
		}
	}
	if len(open) == 0 {
		return nil
	}
	again := &Audit{r: x.r, st: x.st, found: map[string]*Finding{}}
	x.r.o.IndexDir = "" // the tables are in use
	if err := again.Load(ctx); err != nil {
		return err
	}
	if err := again.Packs(); err != nil {
		return err
	}
	if slices.ContainsFunc(open, func(f *Finding) bool { return f.Kind == Unknown || f.Kind == Unlisted }) {
		if err := again.Manifests(ctx); err != nil {
			return err
		}
	}
	if slices.ContainsFunc(open, func(f *Finding) bool { return strings.HasPrefix(f.Object, "snapshots/") }) {
		if err := again.Hosts(ctx); err != nil {
			return err
		}
	}
	packs := map[digest.Object]bool{}
	for _, f := range again.found {
		packs[f.Pack] = true
	}
	for _, f := range open {
		still, err := x.still(ctx, f, again, packs)
		if err != nil {
			return err
		}
		if !still {
			x.drop(f)
		}
	}
	return nil
}

func (x *Audit) drop(f *Finding) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.found, f.Object)
}

// still reports whether a finding holds in a later look, which has found something of these packs.
func (x *Audit) still(ctx context.Context, f *Finding, again *Audit, packs map[digest.Object]bool) (bool, error) {
	switch {
	case !f.Pack.IsZero():
		return packs[f.Pack], nil
	case f.Kind == Unknown:
		return again.found[f.Object] != nil, nil
	}
	_, err := x.r.st.Stat(ctx, f.Object)
	switch o, _ := ParseName(f.Object); {
	case err == nil:
		return f.Kind != Missing, nil
	case !errors.Is(err, store.ErrNotExist):
		return false, err
	case o.Area == "packset" || o.Area == "snapshots" || o.Area == "index":
		return again.found[f.Object] != nil, nil
	}
	return true, nil
}

// Orphans returns how many packs and volumes the store has in these scopes that no index names, and their bytes: a backup is at work, or was killed. They hurt nobody.
func (x *Audit) Orphans() (objects, bytes int64, err error) {
	known, scopes := map[digest.Object]bool{}, map[keys.ScopeID]bool{}
	for _, a := range x.Scopes {
		scopes[a.ID()] = true
		if err := a.set.EachPack(func(p *index.Info, _ bool) error {
			known[p.Name] = true
			return nil
		}); err != nil {
			return 0, 0, err
		}
	}
	for _, listed := range []map[digest.Object]ListedObject{x.Listed.Packs, x.Listed.Volumes} {
		for n, l := range listed {
			if !known[n] && scopes[l.Scope] {
				objects++
				bytes += l.Size
			}
		}
	}
	return objects, bytes, nil
}

// summing verifies what is read whole and has its SHA-256 in its name, but for packs.
type summing struct {
	store.Store
	found func(*Finding) *Finding

	mu      sync.Mutex
	objects int64
	bytes   int64
}

// Unwrap implements store.Wrapper.
func (s *summing) Unwrap() store.Store { return s.Store }

// Get implements store.Store.
func (s *summing) Get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	rc, err := s.Store.Get(ctx, name, offset, length)
	o, ok := ParseName(name)
	if err != nil || !ok || !o.Summed() || o.Area == "data" || o.Area == "meta" || offset != 0 || length >= 0 {
		return rc, err
	}
	return &summed{ReadCloser: rc, s: s, name: name, want: o.Sum, sum: sha256.New()}, nil
}

type summed struct {
	io.ReadCloser
	s    *summing
	name string
	want digest.Object
	sum  hash.Hash
	n    int64
	done bool
}

func (r *summed) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	_, _ = r.sum.Write(p[:n])
	r.n += int64(n)
	if err == io.EOF && !r.done {
		r.done = true
		r.s.mu.Lock()
		r.s.objects++
		r.s.bytes += r.n
		r.s.mu.Unlock()
		if got := digest.Object(r.sum.Sum(nil)); got != r.want {
			r.s.found(&Finding{Object: r.name, Kind: WrongSum, Err: fmt.Errorf("SHA-256 is %v", got)})
		}
	}
	return n, err
}

// Read returns how many objects of metadata were read and verified by their sums, and their bytes.
func (x *Audit) Read() (objects, bytes int64) {
	x.st.mu.Lock()
	defer x.st.mu.Unlock()
	return x.st.objects, x.st.bytes
}
