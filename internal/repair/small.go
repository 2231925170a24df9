package repair

import (
	"errors"
	"fmt"
	"strings"

	"firn/internal/digest"
	"firn/internal/keys"
	"firn/internal/repo"
	"firn/internal/seal"
	"firn/internal/snapshot"
	"firn/internal/store"
)

// remake is how a small object is made again.
type remake func(x *run) (name string, object []byte, err error)

// copyOf returns a verified copy of an object; nil: there is none.
func (x *run) copyOf(name string) []byte {
	if x.o.Copy == nil {
		return nil
	}
	raw := x.o.Copy(name)
	if raw == nil || x.o.Repo.VerifyCopy(x.ctx, name, raw) != nil {
		return nil
	}
	return raw
}

// restoreSmall plans for a small object that is damaged or missing: from a copy, or made again, or not at all.
func (x *run) restoreSmall(p *Plan, sc *scope, name string, damage repo.FindingKind, why error, again remake) {
	if x.aside.pending(name) {
		return // it is about to be there
	}
	s := &Step{Object: name, Damage: damage, Why: why, Class: x.o.Repo.HotClass(), scope: sc}
	if damage == repo.Missing { // so the listing says, which may be late: what is there would be made again, and bear a new date
		switch info, err := x.there(name); {
		case err != nil:
			s.Remedy, s.Outcome, s.Err = Nothing, Left, err
			p.add(s)
			return
		case info != nil && info.Size > 0:
			return
		}
	}
	switch raw := x.copyOf(name); {
	case raw != nil:
		s.Remedy, s.Size = Copy, int64(len(raw))
		s.do = func(x *run, _ *Step) (Outcome, error) {
			return done(x.replaceBytes(x.ctx, name, s.Class, raw, x.fetchSmall(x.ctx, name)))
		}
	case again != nil:
		s.Remedy = Make
		s.do = func(x *run, _ *Step) (Outcome, error) {
			object, raw, err := again(x)
			if err != nil {
				return Left, err
			}
			if err := x.replaceBytes(x.ctx, object, s.Class, raw, x.fetchSmall(x.ctx, object)); err != nil || object == name || damage == repo.Missing {
				return done(err)
			}
			return x.remove(s)
		}
	default:
		s.Remedy, s.Outcome, s.Err = Nothing, Left, ErrNoCopy
	}
	p.add(s)
}

// made is a remake of bytes that are at hand.
func made(name string, raw []byte) remake {
	return func(*run) (string, []byte, error) { return name, raw, nil }
}

func done(err error) (Outcome, error) {
	if err != nil {
		return Failed, err
	}
	return Mended, nil
}

// damageOf is what an error says about a small object.
func damageOf(err error) repo.FindingKind {
	if errors.Is(err, store.ErrNotExist) {
		return repo.Missing
	}
	return repo.WrongBody
}

// plain looks at firn.json, the texts and the keys.
func (x *run) plain(p *Plan, l *listing) error {
	if x.o.Config != nil {
		damage := repo.WrongBody
		if _, ok := l.other[repo.ConfigName]; !ok {
			damage = repo.Missing
		}
		x.restoreSmall(p, nil, repo.ConfigName, damage, nil, made(repo.ConfigName, x.o.Config))
	}
	for name, text := range repo.Texts() {
		if i, ok := l.other[name]; !ok || i.Size == 0 {
			x.restoreSmall(p, nil, name, repo.Missing, nil, made(name, text))
		}
	}
	if err := x.states(p, l); err != nil {
		return err
	}
	descriptions := map[string]*keys.Meta{}
	for name := range l.other {
		id, ok := strings.CutSuffix(strings.TrimPrefix(name, repo.KeysPrefix), ".json")
		if !ok || !strings.HasPrefix(name, repo.KeysPrefix) {
			continue
		}
		raw, err := x.whole(name)
		if err != nil {
			return err
		}
		meta, err := keys.ParseMeta(raw, x.o.Repo.Root())
		if err != nil {
			x.restoreSmall(p, nil, name, repo.WrongBody, err, nil)
			meta = nil
		}
		descriptions[id] = meta
	}
	for id, meta := range descriptions {
		name := repo.KeysPrefix + id + ".age"
		var again remake
		if meta != nil && meta.Recipient != "" {
			again = func(x *run) (string, []byte, error) { return x.o.Repo.SealKey(meta) }
		}
		if _, ok := l.other[name]; !ok {
			x.restoreSmall(p, nil, name, repo.Missing, nil, again)
			continue
		}
		raw, err := x.whole(name)
		if err != nil {
			return err
		}
		if err := x.o.Repo.VerifyCopy(x.ctx, name, raw); err != nil {
			x.restoreSmall(p, nil, name, repo.WrongBody, err, again)
		}
	}
	return nil
}

// states looks at what hosts keep for the day that their disk dies: the newest of each counts. One that is damaged is removed, so that an older one counts until the next backup stores another.
func (x *run) states(p *Plan, l *listing) error {
	newest := map[string]string{}
	for name := range l.other {
		if o, ok := repo.ParseName(name); ok && o.Area == "state" {
			folder := name[:strings.LastIndexByte(name, '/')]
			newest[folder] = max(newest[folder], name)
		}
	}
	for _, name := range newest {
		raw, err := x.whole(name)
		if err != nil {
			return err
		}
		switch err := x.o.Repo.VerifyCopy(x.ctx, name, raw); {
		case err == nil:
		case x.copyOf(name) != nil:
			x.restoreSmall(p, nil, name, repo.WrongSum, err, nil)
		default:
			p.add(&Step{Object: name, Damage: repo.WrongSum, Why: err, Remedy: Remove, do: (*run).remove})
		}
	}
	return nil
}

// whole reads a small object; what a medium cannot read is left out.
func (x *run) whole(name string) ([]byte, error) {
	raw := x.fetchSmall(x.ctx, name)
	return raw, x.ctx.Err()
}

// small looks at the small objects of a scope.
func (x *run) small(p *Plan, sc *scope) error {
	done := map[string]bool{}
	marks := map[snapshot.ID]error{}
	for _, err := range sc.Damaged {
		name := repo.Culprit(err)
		if done[name] {
			continue
		}
		done[name] = true
		o, _ := repo.ParseName(name)
		switch {
		case o.Area == "index":
			x.wreckedIndex(p, sc, name, err)
		case o.Area == "prune":
			x.wreckedRecord(p, sc, name, err)
		case o.Area == "hosts":
			x.wreckedHost(p, sc, name, err)
		case o.Done:
			if id, e := snapshot.ParseID(strings.TrimSuffix(name[strings.LastIndexByte(name, '/')+1:], ".done")); e == nil {
				marks[id] = err
			}
		default:
			x.restoreSmall(p, sc, name, damageOf(err), err, nil)
		}
	}
	x.marks(p, sc, marks)
	x.snapshots(p, sc)
	return x.parts(p, sc)
}

// marks plans for marks that are damaged, and for those that are missing although a later snapshot tells that its predecessor was done.
func (x *run) marks(p *Plan, sc *scope, damaged map[snapshot.ID]error) {
	previous := previousOf(sc.Items)
	for _, it := range sc.Items {
		err, broken := damaged[it.ID]
		sum, named := previous[it.ID]
		if it.Marked || it.Forgotten || !it.Complete || !broken && (!named || sum != it.Sum) {
			continue
		}
		_, name := sc.SnapshotName(it.ID)
		kind := repo.Missing
		if broken {
			kind = repo.WrongBody
		}
		x.restoreSmall(p, sc, name, kind, err, func(x *run) (string, []byte, error) { return sc.SealMark(x.ctx, it) })
	}
}

// snapshots looks for marks whose snapshot is gone and was not forgotten.
func (x *run) snapshots(p *Plan, sc *scope) {
	prefix, _ := sc.SnapshotName(snapshot.ID{})
	prefix = prefix[:strings.LastIndexByte(prefix, '/')+1]
	for name := range sc.hot {
		object, ok := strings.CutSuffix(name, ".done")
		if !ok || !strings.HasPrefix(name, prefix) {
			continue
		}
		id, err := snapshot.ParseID(object[len(prefix):])
		if _, there := sc.hot[object]; err != nil || there || sc.Forgotten()[id] {
			continue
		}
		x.restoreSmall(p, sc, object, repo.Missing, nil, nil)
	}
}

// parts looks at pack sets.
func (x *run) parts(p *Plan, sc *scope) error {
	seen := map[digest.Object]bool{}
	for _, it := range sc.Items {
		if it.Forgotten {
			continue
		}
		for _, part := range it.Packs {
			if seen[part.Object] {
				continue
			}
			seen[part.Object] = true
			_, err := sc.ReadPart(x.ctx, part)
			var broken *repo.ObjectError
			if err == nil || errors.Is(err, store.ErrCold) {
				continue
			}
			if !errors.As(err, &broken) {
				return err
			}
			if !strings.HasPrefix(repo.Culprit(err), "packset/") {
				continue // its author's certificate
			}
			if again, err := sc.PackNames(x.ctx, &snapshot.Snapshot{Packs: []snapshot.Part{part}}); err == nil && len(again) > 0 {
				continue // another object has the same body
			}
			x.restoreSmall(p, sc, sc.PartName(part), damageOf(err), err, func(x *run) (string, []byte, error) {
				return sc.SealPart(x.ctx, it.Snapshot, part)
			})
		}
	}
	return nil
}

// wreckedIndex plans for an index object that cannot be read. Without a copy it is removed once all packs that it may have named are named by others.
func (x *run) wreckedIndex(p *Plan, sc *scope, name string, err error) {
	if x.copyOf(name) != nil {
		x.restoreSmall(p, sc, name, damageOf(err), err, nil)
		return
	}
	p.add(&Step{Object: name, Damage: damageOf(err), Why: err, Remedy: Remove, scope: sc, do: func(x *run, s *Step) (Outcome, error) {
		for _, u := range s.scope.strays {
			o, _ := repo.ParseName(u.object)
			if _, ok, err := s.scope.FindPack(o.Sum); err != nil || !ok && x.beyond[u.object] == nil {
				return Left, errors.Join(err, fmt.Errorf("pack %s is in no index yet", u.object))
			}
		}
		return x.remove(s)
	}})
}

// remove keeps an object aside and deletes it.
func (x *run) remove(s *Step) (Outcome, error) {
	if _, err := x.aside.keep(s.Object, x.fetchSmall(x.ctx, s.Object)); err != nil {
		return Failed, err
	}
	return done(x.st.Delete(x.ctx, s.Object))
}

// wreckedRecord plans for a prune record that cannot be read: it stops every backup. Without a copy it is removed once another one retires all that it may have retired for good.
func (x *run) wreckedRecord(p *Plan, sc *scope, name string, err error) {
	if x.copyOf(name) != nil {
		x.restoreSmall(p, sc, name, damageOf(err), err, nil)
		return
	}
	p.add(&Step{Object: name, Damage: damageOf(err), Why: err, Remedy: Make, scope: sc, do: func(x *run, s *Step) (Outcome, error) {
		if err := x.o.Repo.RetireUnneeded(x.ctx, nil); err != nil {
			return Left, err
		}
		return x.remove(s)
	}})
}

// wreckedHost plans for a certificate or a revocation that cannot be read. A certificate without a copy is removed: readers then go by the key of the scope, and the next backup of that
// host stores it again. A revocation stays: somebody who knows what it said can revoke the host again.
func (x *run) wreckedHost(p *Plan, sc *scope, name string, err error) {
	again := x.certificate(name)
	if x.copyOf(name) != nil || again != nil || strings.HasSuffix(name, ".revoked") {
		x.restoreSmall(p, sc, name, damageOf(err), err, again)
		return
	}
	p.add(&Step{Object: name, Damage: damageOf(err), Why: err, Remedy: Remove, scope: sc, do: (*run).remove})
}

// certificate makes hosts/<host> from the key of this host; nil where it is another's.
func (x *run) certificate(name string) remake {
	if x.o.Host == nil || repo.CertificateName([16]byte(x.o.Host.Host)) != name {
		return nil
	}
	return func(x *run) (string, []byte, error) { return x.o.Repo.SealCertificate(x.o.Host) }
}

// revocations looks at revocations. What lies in the place of one and never was an envelope somebody put there who may only add objects: it is removed.
func (x *run) revocations(p *Plan, l *listing) error {
	for name := range l.other {
		if o, ok := repo.ParseName(name); !ok || o.Area != "hosts" || !strings.HasSuffix(name, ".revoked") {
			continue
		}
		raw, err := x.whole(name)
		if err != nil {
			return err
		}
		wrong := x.o.Repo.VerifyCopy(x.ctx, name, raw)
		if wrong == nil {
			continue
		}
		if _, err := seal.PrefixLen(raw); errors.Is(err, seal.ErrCorrupt) && x.copyOf(name) == nil {
			p.add(&Step{Object: name, Damage: repo.WrongBody, Why: wrong, Remedy: Remove, do: (*run).remove})
		} else if x.o.Repo.Secrets() != nil { // else it may be of a scope that no key at hand opens
			x.restoreSmall(p, nil, name, repo.WrongBody, wrong, nil)
		}
	}
	return nil
}

// hosts looks for certificates that are missing of hosts that have written snapshots.
func (x *run) hosts(p *Plan, l *listing) {
	seen := map[string]bool{}
	for _, sc := range p.scopes {
		for _, it := range sc.Items {
			name := repo.CertificateName(it.HostID)
			if _, ok := l.other[name]; ok || seen[name] {
				continue
			}
			seen[name] = true
			x.restoreSmall(p, sc, name, repo.Missing, nil, x.certificate(name))
		}
	}
}
