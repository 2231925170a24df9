package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"

	"firn/internal/digest"
	"firn/internal/keys"
	"firn/internal/manifest"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/source"
	"firn/internal/source/dir"
)

// judge looks at what lies in the store, and compares it with what the model remembers. all: every snapshot is read whole.
func (w *world) judge(all bool) error {
	if err := w.searchSecrets(all); err != nil {
		return err
	}
	if now := w.main.changed(); now == w.judged && !all {
		return nil // nothing is there that was not there the last time
	} else {
		w.judged = now
	}
	r, err := repo.Open(w.ctx, peephole{w.main, w.main}, repo.Access{Secrets: w.access.Secrets}, repo.Options{Now: w.clock.Now})
	if err != nil {
		return violated("the repository does not open: %w", err)
	}
	ids, err := r.Scopes(w.ctx)
	if err != nil {
		return violated("scopes cannot be listed: %w", err)
	}
	found := map[snapshot.ID]snapshot.Item{}
	scopes := map[keys.ScopeID]*repo.ScopeState{}
	for _, id := range ids {
		s, err := r.Load(w.ctx, id, true)
		if err != nil {
			return violated("scope %v does not load: %w", id, err)
		}
		if len(s.Damaged) > 0 && len(w.sick) == 0 {
			return violated("scope %v is damaged: %w", id, errors.Join(s.Damaged...))
		}
		scopes[id] = s
		for _, it := range s.Items {
			if err := w.meet(id, it); err != nil {
				return err
			}
			found[it.ID] = it
		}
	}
	return w.judgeTaken(r, scopes, found, all)
}

// meet takes note of a snapshot that the store has.
func (w *world) meet(scope keys.ScopeID, it snapshot.Item) error {
	if w.taken[it.ID] != nil || w.foreign[it.ID] { // of a model, of a thief
		return nil
	}
	var a *attempt
	for _, tag := range it.Tags {
		if a == nil {
			a = w.attempts[tag]
		}
	}
	if a == nil || a.source != it.Source.ID {
		return violated("snapshot %v of %s was made by nobody", it.ID, it.Source.Path)
	}
	w.taken[it.ID] = &taken{attempt: a, scope: scope, read: -1}
	return nil
}

func (w *world) judgeTaken(r *repo.Repository, scopes map[keys.ScopeID]*repo.ScopeState, found map[snapshot.ID]snapshot.Item, all bool) error {
	again := rand.New(rand.NewPCG(uint64(w.counts.Steps), 6))
	ids := slices.SortedFunc(maps.Keys(w.taken), func(a, b snapshot.ID) int { return bytes.Compare(a[:], b[:]) })
	for _, id := range ids {
		t := w.taken[id]
		if t.gone {
			continue
		}
		it, there := found[id]
		s := scopes[t.scope]
		switch {
		case t.reported && !there && len(w.sick) > 0: // perhaps it is what is damaged
			continue
		case t.reported && (!there || it.Status() != snapshot.IsDone):
			return violated("snapshot %v was reported done, and is not: there %v, forgotten %v", id, there, there && it.Forgotten)
		case w.stay[id] && len(w.sick) == 0 && (!there || it.Status() != snapshot.IsDone):
			return violated("snapshot %v was to stay after a prune, and is gone: there %v, forgotten %v", id, there, there && it.Forgotten)
		case !there || it.Status() == snapshot.IsForgotten || it.Complete && it.Status() != snapshot.IsDone:
			continue
		}
		if err := w.judgePacks(s, it, t); err != nil {
			return err
		}
		if t.read == w.sickness && !all && again.IntN(3*len(ids)) > 0 {
			continue
		}
		if err := w.judgeContent(r, s, it, t); err != nil {
			return err
		}
		t.read = w.sickness
		w.counts.Judged++
	}
	clear(w.stay)
	return nil
}

// judgePacks expects every pack that a snapshot needs, and every part of its pack set, to be there and indexed.
func (w *world) judgePacks(s *repo.ScopeState, it snapshot.Item, t *taken) error {
	if len(w.sick) > 0 || t.hurt {
		return nil
	}
	if t.packs == nil {
		names, err := s.PackNames(w.ctx, it.Snapshot)
		if err != nil {
			return violated("snapshot %v has no pack set: %w", it.ID, err)
		}
		t.packs = append([]digest.Object{}, names...)
		if err := w.apart(it, t); err != nil {
			return err
		}
	}
	for _, p := range it.Packs {
		if w.main.has(s.PartName(p)) != nil {
			continue
		}
		if _, err := s.PackNames(w.ctx, it.Snapshot); err != nil { // a repair may have made it again, under another name
			return violated("snapshot %v has lost a part of its pack set: %w", it.ID, err)
		}
	}
	for _, n := range t.packs {
		p, ok, err := s.FindPack(n)
		if err != nil || !ok {
			return violated("snapshot %v needs pack %v, which is in no index (%w)", it.ID, n, err)
		}
		if w.main.has(p.Object) == nil {
			return violated("snapshot %v has lost pack %v", it.ID, n)
		}
	}
	return nil
}

// judgeContent reads a snapshot whole.
func (w *world) judgeContent(r *repo.Repository, s *repo.ScopeState, it snapshot.Item, t *taken) error {
	got, err := w.read(r, s, it)
	if err != nil {
		if (len(w.sick) > 0 || t.hurt) && (named(err) || errors.Is(err, repo.ErrUnknownChunk)) {
			return nil
		}
		return violated("snapshot %v, %s, does not read: %w", it.ID, t.attempt.tag, err)
	}
	for _, problem := range it.Problems {
		t.failed = append(t.failed, problem.Path)
	}
	if err := t.attempt.compare(got, it.Complete, t); err != nil {
		return violated("snapshot %v, %s: %w", it.ID, t.attempt.tag, err)
	}
	return nil
}

// named reports whether an error says which object is damaged.
func named(err error) bool {
	var damage *repo.DamageError
	var object *repo.ObjectError
	return errors.As(err, &damage) || errors.As(err, &object)
}

// compare holds what came back against the model. What changed again and again while it was read the snapshot names: t remembers it for folders, which do not.
func (a *attempt) compare(got truth, complete bool, t *taken) error {
	if len(a.versions) == 1 {
		return same(a.versions[0], got, complete)
	}
	for p, f := range got {
		if f.failed {
			t.failed = append(t.failed, p)
		}
		if slices.Contains(t.failed, p) {
			continue
		}
		text, xattrs := false, false
		for _, v := range a.versions {
			if want, ok := v[p]; ok {
				text, xattrs = text || want.text == f.text, xattrs || want.xattrs == f.xattrs
			}
			if want, ok := v[f.same]; ok && f.same != "" && a.wasInode(p, want.inode) { // under its other name it may have changed when this one was gone
				text, xattrs = text || want.text == f.text, xattrs || want.xattrs == f.xattrs
			}
		}
		if !text || !xattrs {
			var were []fact
			for _, v := range a.versions {
				were = append(were, v[p])
			}
			return fmt.Errorf("%q is %+v, and never was that while it was read, but %+v", p, f, slices.Compact(were))
		}
	}
	for p := range a.versions[0] {
		always := !slices.ContainsFunc(a.versions, func(v truth) bool { _, ok := v[p]; return !ok })
		if _, ok := got[p]; !ok && complete && always && !slices.Contains(t.failed, p) {
			return fmt.Errorf("%q is missing", p)
		}
	}
	return nil
}

// wasInode reports whether a path was a name of an inode at any time of the run.
func (a *attempt) wasInode(path string, inode uint64) bool {
	return slices.ContainsFunc(a.versions, func(v truth) bool { return v[path].inode == inode })
}

// same expects the tree exactly, or, where the snapshot is not complete, a part of it: what had been read when the run ended.
func same(want, got truth, complete bool) error {
	for p, f := range got {
		if w, ok := want[p]; !ok || w.text != f.text || w.xattrs != f.xattrs || w.same != f.same || f.failed {
			return fmt.Errorf("%q is %+v, want %+v", p, f, w)
		}
	}
	if complete && len(got) != len(want) {
		for p := range want {
			if _, ok := got[p]; !ok {
				return fmt.Errorf("%q is missing, and %d more", p, len(want)-len(got)-1)
			}
		}
	}
	return nil
}

// read reads all that a snapshot has.
func (w *world) read(r *repo.Repository, s *repo.ScopeState, it snapshot.Item) (truth, error) {
	ctx, cancel := context.WithCancel(w.ctx)
	defer cancel()
	cache, err := r.NewChunkCache(ctx, s, it.Epoch, 1, 1<<20)
	if err != nil {
		return nil, err
	}
	defer cache.Close()
	rd, err := r.NewReader(s, it.Epoch)
	if err != nil {
		return nil, err
	}
	m := manifest.NewReader(manifest.Source{Get: cache.Get}, repo.TreeOf(it.Snapshot))
	got, chunks := truth{}, map[digest.Chunk][]byte{}
	err = m.Walk(nil, func(e *manifest.Entry) error {
		if len(e.Path) == 0 {
			return nil
		}
		f := fact{failed: e.Error != ""}
		for _, x := range e.Xattrs {
			f.xattrs += xattrText(x.Name, x.Value)
		}
		mtime := e.Mtime.Sec*1e9 + int64(e.Mtime.Nsec)
		sum, size := uint64(0), e.Size
		if len(e.Hardlink) > 0 {
			f.same = string(e.Hardlink)
			f.text, f.xattrs, f.failed = got[f.same].text, got[f.same].xattrs, got[f.same].failed // they are one inode: later names say no more than that
			if f.text == "" {
				return fmt.Errorf("%q is the same as %q, which is not there", e.Path, e.Hardlink)
			}
			got[string(e.Path)] = f
			return nil
		}
		if e.Type == manifest.File {
			var content []byte
			for pieces := m.Pieces(e); ; {
				if !pieces.Next() {
					if err := pieces.Err(); err != nil {
						return err
					}
					break
				}
				p := pieces.Piece()
				if p.IsHole() {
					content = append(content, make([]byte, p.Length)...)
					continue
				}
				if chunks[p.Chunk] == nil {
					if chunks[p.Chunk], err = rd.Chunk(ctx, p.Chunk); err != nil {
						return fmt.Errorf("%q: %w", e.Path, err)
					}
				}
				content = append(content, chunks[p.Chunk][p.Offset:int64(p.Offset)+p.Length]...)
			}
			sum, size = sumOf(content), int64(len(content))
		}
		f.text = factText(source.Type(e.Type), e.Mode, uint32(e.UID), uint32(e.GID), mtime, string(e.Target), size, sum)
		got[string(e.Path)] = f
		return nil
	})
	return got, err
}

// onDisk tells how a folder is.
func onDisk(root string) (truth, error) {
	t, err := dir.Open(root, dir.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { _ = t.Close() }()
	got, first := truth{}, map[uint64]string{}
	err = t.Walk(context.Background(), func(e *source.Entry) error {
		if len(e.Path) == 0 {
			return nil
		}
		s := e.Stat
		d, err := t.Details(e.Path, &s)
		if err != nil {
			return err
		}
		sum := uint64(0)
		if s.Type == source.File {
			content, err := os.ReadFile(filepath.Join(root, string(e.Path)))
			if err != nil {
				return err
			}
			sum = sumOf(content)
		}
		f := fact{text: factText(s.Type, s.Mode, s.UID, s.GID, s.MtimeSec*1e9+int64(s.MtimeNsec), d.Target, s.Size, sum)}
		for _, x := range d.Xattrs {
			f.xattrs += xattrText(x.Name, x.Value)
		}
		if s.Type != source.Dir && s.Nlink > 1 {
			if same, ok := first[s.Inode]; ok {
				f.same = same
			} else {
				first[s.Inode] = string(e.Path)
			}
		}
		got[string(e.Path)] = f
		return nil
	})
	return got, err
}

// searchSecrets looks for secrets and plaintext in what was stored since the last time, and now and then in local files.
func (w *world) searchSecrets(all bool) error {
	for _, v := range []*vault{w.main, w.spare} {
		if v == nil {
			continue
		}
		for _, name := range v.takeFresh() {
			raw := v.has(name)
			for _, s := range append(w.secrets, []byte(w.canary)) {
				if bytes.Contains(raw, s) || bytes.Contains([]byte(name), s) {
					return violated("object %s has a secret or plaintext in it", name)
				}
			}
		}
	}
	if !all && w.counts.Steps%16 > 0 {
		return nil
	}
	return filepath.WalkDir(w.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || d.Name() == "host.key" {
			return nil
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return nil // gone meanwhile
		}
		for _, s := range w.secrets {
			if bytes.Contains(raw, s) {
				return violated("file %s has a secret in it", path)
			}
		}
		return nil
	})
}
