package repair

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"firn/internal/digest"
	"firn/internal/event"
	"firn/internal/keys"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/store"
	"firn/internal/thaw"
)

// run is a repair at work, or an examination.
type run struct {
	ctx   context.Context
	o     Options
	st    store.Store
	aside aside

	found  map[string]*repo.Finding // packs and volumes that were read and are damaged, by object
	read   map[string]bool          // that were read
	beyond map[string]error         // packs that could not be put together
	tried  map[string]*Step         // by key
	order  []*Step
	cold   map[string]bool // objects that cannot be read now
	local  map[string]bool // objects that were fetched into the folder for a unit that is not complete
	scopes []*scope        // of the plan at work
}

// scope is what is known of a scope while one plan is made and carried out.
type scope struct {
	*repo.ScopeState
	packs  map[digest.Object]*unit
	strays []*unit
	hot    map[string]store.Info // index, packset and snapshots objects that are listed
}

// unit is a pack with its recovery volume.
type unit struct {
	scope  *scope
	object string
	info   *repo.PackObject // what the index says; nil: it names no such pack
	pack   *store.Info      // as listed; nil: it is not there
	volume *store.Info
}

func (u *unit) volumeName() string { return repo.VolumeName(u.object) }

// size is that of the pack as it should be, as far as it is known.
func (u *unit) size() int64 {
	switch {
	case u.info != nil:
		return u.info.Size
	case u.pack != nil:
		return u.pack.Size
	}
	return 0
}

// class is where the pack lies, or lay.
func (u *unit) class() string {
	switch {
	case u.pack != nil:
		return u.pack.Class
	case u.info != nil:
		return u.info.Class
	}
	return ""
}

func newRun(ctx context.Context, o Options) *run {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &run{ctx: ctx, o: o, st: o.Repo.Store(), aside: aside{o.Dir}, found: map[string]*repo.Finding{}, read: map[string]bool{}, beyond: map[string]error{},
		tried: map[string]*Step{}, local: map[string]bool{}, cold: map[string]bool{}}
}

// Examine looks for what is wrong and plans what to do about it. It lists, reads the small objects, and of packs what the options say. It writes nothing.
func Examine(ctx context.Context, o Options) (*Plan, error) { return newRun(ctx, o).examine() }

func (x *run) examine() (*Plan, error) {
	p := &Plan{found: x.found, read: x.read, beyond: x.beyond}
	left, err := x.aside.entries()
	if err != nil {
		return nil, err
	}
	for _, e := range left {
		p.add(&Step{Object: e.Object, Damage: repo.Missing, Remedy: Finish, Class: e.Class, Size: e.Size, do: func(x *run, _ *Step) (Outcome, error) {
			return Mended, x.finish(x.ctx, e)
		}})
	}
	listed, err := x.list()
	if err != nil {
		return nil, err
	}
	if err := x.plain(p, listed); err != nil {
		return nil, err
	}
	ids, err := x.o.Repo.Scopes(x.ctx)
	if err != nil {
		return nil, err
	}
	for _, id := range listed.scopes {
		if !slices.Contains(ids, id) {
			ids = append(ids, id) // all its snapshots are lost, or there never was one
		}
	}
	for _, id := range ids {
		if err := x.examineScope(p, id, listed); err != nil {
			return nil, err
		}
	}
	if err := x.revocations(p, listed); err != nil {
		return nil, err
	}
	x.hosts(p, listed)
	if err := x.lost(p); err != nil {
		return nil, err
	}
	x.narrow(p)
	return p, nil
}

// narrow leaves out what is about other objects than those that were asked for.
func (x *run) narrow(p *Plan) {
	if len(x.o.Objects) == 0 {
		return
	}
	p.Steps = slices.DeleteFunc(p.Steps, func(s *Step) bool {
		return s.Remedy != Finish && !slices.Contains(x.o.Objects, s.Object) && (s.unit == nil || !x.wanted(s.unit))
	})
}

func (p *Plan) add(s *Step) {
	if s.Outcome == "" {
		s.Outcome = Planned
	}
	if p.planned[s.key()] {
		return // an object of all scopes
	}
	if p.planned == nil {
		p.planned = map[string]bool{}
	}
	p.planned[s.key()] = true
	p.Steps = append(p.Steps, s)
}

// listing is all objects of the store.
type listing struct {
	scopes []keys.ScopeID // that have packs
	packs  map[keys.ScopeID]map[digest.Object]*unit
	other  map[string]store.Info
}

func (x *run) list() (*listing, error) {
	l := &listing{packs: map[keys.ScopeID]map[digest.Object]*unit{}, other: map[string]store.Info{}}
	err := x.st.List(x.ctx, "", "", func(i store.Info) error {
		o, ok := repo.ParseName(i.Name)
		if !ok {
			return nil
		}
		if o.Area != "data" && o.Area != "meta" {
			l.other[i.Name] = i
			return nil
		}
		of := l.packs[o.Scope]
		if of == nil {
			of = map[digest.Object]*unit{}
			l.packs[o.Scope] = of
			l.scopes = append(l.scopes, o.Scope)
		}
		u := of[o.Sum]
		if u == nil {
			u = &unit{object: strings.TrimSuffix(i.Name, repo.VolumeName(""))}
			of[o.Sum] = u
		}
		if o.Volume {
			u.volume = &i
		} else {
			u.pack = &i
		}
		return nil
	})
	return l, err
}

func (x *run) examineScope(p *Plan, id keys.ScopeID, l *listing) error {
	state, err := x.o.Repo.Load(x.ctx, id, true)
	if err != nil {
		return err
	}
	sc := &scope{ScopeState: state, packs: l.packs[id], hot: l.other}
	if sc.packs == nil {
		sc.packs = map[digest.Object]*unit{}
	}
	p.scopes = append(p.scopes, sc)
	for _, u := range sc.packs {
		u.scope = sc
	}
	if err := x.small(p, sc); err != nil {
		return err
	}
	err = state.EachPack(func(info *repo.PackObject) error {
		u := sc.packs[info.Name]
		if u == nil {
			u = &unit{scope: sc, object: info.Object}
			sc.packs[info.Name] = u
		}
		copied := *info
		u.info = &copied
		return nil
	})
	if err != nil {
		return err
	}
	units := slices.Collect(maps.Values(sc.packs))
	slices.SortFunc(units, func(a, b *unit) int { return strings.Compare(a.object, b.object) })
	if err := x.survey(units); err != nil {
		return err
	}
	for _, u := range units {
		if err := x.ctx.Err(); err != nil {
			return err
		}
		if err := x.look(p, u); err != nil {
			return err
		}
	}
	return x.strays(p, sc)
}

// survey finds out which of the objects that are to be read are cold now.
func (x *run) survey(units []*unit) error {
	var needs []thaw.Need
	for _, u := range units {
		if u.info == nil || !x.wanted(u) || x.read[u.object] {
			continue
		}
		for _, i := range []*store.Info{u.pack, u.volume} {
			if i != nil {
				needs = append(needs, thaw.Need{Object: i.Name, Class: i.Class, Size: i.Size})
			}
		}
	}
	if _, ok := store.As[store.Thawer](x.st); !ok || len(needs) == 0 {
		return nil
	}
	s, err := thaw.Look(x.ctx, x.st, needs, thaw.LookOptions{Region: x.o.Region})
	if err != nil {
		return err
	}
	for i, n := range needs {
		at := s.At(i)
		x.cold[n.Object] = at.Cold && at.Copy.State != store.Thawed
	}
	return nil
}

// wanted reports whether a pack or its volume is to be read.
func (x *run) wanted(u *unit) bool {
	return x.o.ReadData || slices.Contains(x.o.Objects, u.object) || slices.Contains(x.o.Objects, u.volumeName())
}

// chosen reports whether a pack is looked at.
func (x *run) chosen(u *unit) bool { return len(x.o.Objects) == 0 || x.wanted(u) }

// look finds out whether something is wrong with a pack or its volume, and plans what to do.
func (x *run) look(p *Plan, u *unit) error {
	if u.info == nil {
		if u.pack != nil { // a volume alone belongs to a pack that was deleted
			u.scope.strays = append(u.scope.strays, u)
		}
		return nil
	}
	if !x.chosen(u) || x.aside.pending(u.object) || x.aside.pending(u.volumeName()) {
		return nil // what was begun is ended first
	}
	p.Packs++
	if err := x.lookAgain(u); err != nil {
		return err
	}
	f, err := x.quick(u.object, u.pack, u.info.Size, u.info.Name)
	if err != nil {
		return err
	}
	if f == nil {
		f = x.found[u.object]
	}
	var v *repo.Finding
	if par2 := u.info.Par2; par2 != nil {
		if v, err = x.quick(u.volumeName(), u.volume, par2.Size, par2.Sum); err != nil {
			return err
		}
	} else if u.volume != nil {
		v = &repo.Finding{Object: u.volumeName(), Kind: repo.Unindexed, Pack: u.info.Name, Volume: true}
	}
	if v == nil && u.info.Par2 == nil && x.o.Parity > 0 {
		v = &repo.Finding{Object: u.volumeName(), Kind: repo.Missing}
	}
	if v == nil {
		v = x.found[u.volumeName()]
	}
	suspect := false
	if x.wanted(u) && !x.read[u.object] {
		if suspect, err = x.readUnit(p, u, &f, &v); err != nil {
			return err
		}
	}
	switch {
	case f != nil:
		x.planPack(p, u, f)
	case suspect:
		p.add(&Step{Object: u.object, Remedy: Parity, Class: u.class(), Size: u.size(), scope: u.scope, unit: u, do: (*run).mendPack})
		p.need(u.pack, u.volume)
	case v != nil:
		p.add(&Step{Object: u.volumeName(), Damage: v.Kind, Why: v.Err, Remedy: Volume, Class: u.class(), scope: u.scope, unit: u, do: (*run).mendVolume})
		p.need(u.pack)
	}
	return nil
}

// lookAgain asks for what the listing lacks: one may be late, and what is there is not to be mended.
func (x *run) lookAgain(u *unit) (err error) {
	if u.pack == nil {
		if u.pack, err = x.there(u.object); err != nil {
			return err
		}
	}
	if u.volume == nil && u.info.Par2 != nil {
		u.volume, err = x.there(u.volumeName())
	}
	return err
}

// there asks the store about an object; nil: it has none.
func (x *run) there(object string) (*store.Info, error) {
	info, err := x.st.Stat(x.ctx, object)
	switch {
	case errors.Is(err, store.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return &info, nil
}

// quick compares what is listed, and where it was asked for what the store says of the sum, with what should be.
func (x *run) quick(object string, have *store.Info, size int64, sum digest.Object) (*repo.Finding, error) {
	switch {
	case have == nil:
		return &repo.Finding{Object: object, Kind: repo.Missing}, nil
	case have.Size != size:
		return &repo.Finding{Object: object, Kind: repo.WrongSize, Err: fmt.Errorf("object has %d bytes instead of %d", have.Size, size)}, nil
	case !x.o.Sums:
		return nil, nil
	}
	info, err := x.st.Stat(x.ctx, object)
	switch {
	case errors.Is(err, store.ErrNotExist):
		return &repo.Finding{Object: object, Kind: repo.Missing}, nil
	case err != nil:
		return nil, err
	case !info.Sum.IsZero() && info.Sum != sum:
		return &repo.Finding{Object: object, Kind: repo.WrongSum, Err: fmt.Errorf("SHA-256 is %v instead of %v", info.Sum, sum)}, nil
	}
	return nil, nil
}

// readUnit reads a pack and its volume. suspect: it cannot be read now, and is to be read by Run.
func (x *run) readUnit(p *Plan, u *unit, f, v **repo.Finding) (suspect bool, err error) {
	if *f == nil {
		*f, err = x.verify(u.object, u.info.Name, u.info.Size)
	}
	if err == nil && *v == nil && u.info.Par2 != nil {
		*v, err = x.verify(u.volumeName(), u.info.Par2.Sum, u.info.Par2.Size)
	}
	if errors.Is(err, store.ErrCold) {
		if x.o.ReadData && !x.o.Cold && !slices.Contains(x.o.Objects, u.object) {
			p.Unread++
			return false, nil
		}
		return true, nil
	}
	if err == nil {
		x.read[u.object] = true
		p.Read++
		x.o.Report.Emit(event.Progress{Phase: "read", FilesDone: p.Read, Current: u.object})
	}
	return false, err
}

// verify reads an object, twice where it looks damaged: a connection may flip a bit.
func (x *run) verify(object string, sum digest.Object, size int64) (*repo.Finding, error) {
	if x.cold[object] {
		return nil, store.Fail("get", object, store.ErrCold)
	}
	open := repo.OpenStored(x.st, object)
	f, err := repo.VerifySum(x.ctx, object, open, sum, size)
	if f != nil && f.Kind != repo.Missing {
		f, err = repo.VerifySum(x.ctx, object, open, sum, size)
	}
	if unreadable(x.ctx, err) {
		f, err = &repo.Finding{Object: object, Kind: repo.Unreadable, Err: err}, nil
	}
	if f != nil {
		x.found[object] = f
	}
	return f, err
}

// unreadable reports whether an error is about the object and not about the way to it.
func unreadable(ctx context.Context, err error) bool {
	if err == nil || ctx.Err() != nil || store.IsTemporary(err) {
		return false
	}
	for _, other := range []error{store.ErrCold, store.ErrAuth, store.ErrDenied, store.ErrClock, store.ErrNoStore, store.ErrTimeout} {
		if errors.Is(err, other) {
			return false
		}
	}
	return true
}

// planPack plans for a pack that is damaged. One that cannot be put together is dealt with by lost.
func (x *run) planPack(p *Plan, u *unit, f *repo.Finding) {
	x.found[u.object] = f
	hopeless := u.pack == nil && (u.volume == nil || u.volume.Size < u.size())
	if x.beyond[u.object] == nil && hopeless {
		x.beyond[u.object] = &BeyondError{u.object, ErrNoVolume}
	}
	if x.beyond[u.object] != nil {
		return
	}
	p.add(&Step{Object: u.object, Damage: f.Kind, Why: f.Err, Remedy: Parity, Class: u.class(), Size: u.size(), scope: u.scope, unit: u, do: (*run).mendPack})
	p.need(u.pack, u.volume)
}

// need notes objects that have to be readable.
func (p *Plan) need(objects ...*store.Info) {
	for _, i := range objects {
		if i != nil {
			p.Needs = append(p.Needs, thaw.Need{Object: i.Name, Class: i.Class, Size: i.Size, Wanted: i.Size, Gets: 1})
		}
	}
}

// strays plans for packs that no index names: those that a snapshot needs, or, where it is unknown what is needed or what an index said that cannot be read, all.
func (x *run) strays(p *Plan, sc *scope) error {
	if len(sc.strays) == 0 {
		return nil
	}
	needed, all := map[digest.Object]bool{}, false
	for _, err := range sc.Damaged {
		o, _ := repo.ParseName(repo.Culprit(err))
		all = all || o.Area == "index" || o.Area == "snapshots" && !o.Done
	}
	for _, it := range sc.Items {
		names, err := sc.PackNames(x.ctx, it.Snapshot)
		if err != nil && x.ctx.Err() != nil {
			return err
		}
		all = all || err != nil
		for _, n := range names {
			needed[n] = true
		}
	}
	var kept []*unit
	for _, u := range sc.strays {
		o, _ := repo.ParseName(u.object)
		if x.aside.pending(u.object) || !all && !needed[o.Sum] {
			continue // of a run that was interrupted; it knows them
		}
		kept = append(kept, u)
		if f := x.found[u.object]; f != nil {
			if x.planPack(p, u, f); x.beyond[u.object] != nil {
				p.add(&Step{Object: u.object, Damage: f.Kind, Why: f.Err, Remedy: Nothing, Class: u.class(), Size: u.size(), Outcome: Left, Err: x.beyond[u.object], scope: sc, unit: u})
			}
			continue
		}
		p.add(&Step{Object: u.object, Damage: repo.Unindexed, Remedy: Reindex, Class: u.class(), Size: u.size(), scope: sc, unit: u})
		p.need(u.pack, u.volume)
	}
	sc.strays = kept
	return nil
}

// isDamage reports whether an error of reading a pack is about the pack, and not about the way to it or about this machine.
func isDamage(ctx context.Context, err error) bool {
	var failed *store.Error
	var path *fs.PathError
	switch {
	case ctx.Err() != nil, errors.Is(err, store.ErrCold), errors.As(err, &path):
		return false
	case errors.As(err, &failed):
		return errors.Is(err, store.ErrNotExist) || errors.Is(err, store.ErrRange) || unreadable(ctx, err)
	}
	return true
}

// previousOf maps every snapshot that another one calls the last done one before it.
func previousOf(items []snapshot.Item) map[snapshot.ID]digest.Object {
	out := map[snapshot.ID]digest.Object{}
	for _, it := range items {
		if it.Previous != nil {
			out[it.Previous.ID] = it.Previous.Sum
		}
	}
	return out
}
