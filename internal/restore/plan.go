package restore

import (
	"context"

	"firn/internal/repo"
)

// Plan tells what Run would need if nothing were in the target yet. A chunk that two windows need counts twice.
func Plan(ctx context.Context, o Options) (*Needs, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	o.Target, o.DryRun, o.Each, o.Workers = "", true, nil, 1
	r, err := newRun(ctx, o)
	if err != nil {
		return nil, err
	}
	r.planning = true
	n := &Needs{}
	packs := map[string]int{}
	err = r.gather(ctx, func(w *window) (*window, error) {
		w.link()
		if err := w.locate(o.Scope, func(int32) error { n.Missing++; return nil }); err != nil {
			return nil, err
		}
		err := w.tasks(func(t task) error { return n.add(o.Scope, packs, w.wants[t.from:t.to]) })
		w.reset()
		return w, err
	})
	n.Files, n.Dirs, n.Others, n.Bytes = r.total.files.Load(), r.total.dirs, r.total.others, r.total.bytes.Load()
	return n, err
}

// add counts one request.
func (n *Needs) add(scope *repo.ScopeState, packs map[string]int, wants []repo.Want) error {
	info, err := scope.Set().Pack(wants[0].Loc.Pack)
	if err != nil {
		return err
	}
	name := repo.PackName(scope, &info)
	at, ok := packs[name]
	if !ok {
		at = len(n.Packs)
		packs[name] = at
		n.Packs = append(n.Packs, PackNeed{Object: name, Class: info.Class, Size: info.Size})
	}
	last := wants[len(wants)-1].Loc
	bytes := int64(last.Offset) + int64(last.Frame) - int64(wants[0].Loc.Offset)
	p := &n.Packs[at]
	p.Chunks += int64(len(wants))
	p.Requests++
	p.Download += bytes
	n.Chunks += int64(len(wants))
	n.Requests++
	n.Download += bytes
	return nil
}
