package repo_test

import (
	"strings"
	"testing"

	"firn/internal/cdc"
	"firn/internal/chunk"
	"firn/internal/digest"
	"firn/internal/manifest"
	"firn/internal/repo"
	"firn/internal/snapshot"
)

// audit reads everything but packs, and returns what was found and whom it hurts.
func (w *world) audit() ([]*repo.Finding, map[*repo.Finding][]repo.Harm) {
	w.t.Helper()
	x, err := repo.OpenAudit(ctx, w.st, repo.Access{Secrets: w.access.Secrets}, repo.Options{Now: w.clock.now})
	w.must(err)
	w.must(x.Load(ctx))
	w.must(x.Packs())
	w.must(x.Hosts(ctx))
	w.must(x.Manifests(ctx))
	w.must(x.Settle(ctx))
	harms, err := x.Harms(ctx, x.Findings(), 3)
	w.must(err)
	return x.Findings(), harms
}

func TestAuditSound(t *testing.T) {
	w := newWorld(t, repo.InitOptions{})
	w.backup(w.access, "one", "two")
	w.backup(w.access, "one", "two", "three")
	if all, _ := w.audit(); len(all) > 0 {
		t.Error(all)
	}
}

// A pack that a snapshot needs and does not name would be deleted by the next prune.
func TestAuditUnlisted(t *testing.T) {
	w := newWorld(t, repo.InitOptions{})
	r := w.open(w.access)
	s := w.load(r)
	b := w.begin(r, s, repo.WriterOptions{})
	tree := manifest.NewBuilder(cdc.NewTable(b.host.Scope().GearTable()).Hash, func(raw []byte) (digest.Chunk, error) {
		id, err := b.put(chunk.Meta, raw)
		if err == nil {
			err = b.out.Reference(id, chunk.Meta)
		}
		return id, err
	})
	id, err := b.put(chunk.Data, []byte("nobody names me"))
	w.must(err)
	w.must(tree.Add(&manifest.Entry{Path: []byte("file"), Mode: 0o644, Size: 15, Content: []manifest.Piece{{Chunk: id, Length: 15}}}))
	named, err := tree.Finish()
	w.must(err)
	w.must(b.out.SendPacks(ctx))
	snap := b.snapshot(true)
	snap.Manifest = snapshot.Tree(named)
	item, err := b.out.Publish(ctx, snap)
	w.must(err)
	w.must(b.out.Confirm(ctx, item))
	all, _ := w.audit()
	if len(all) != 1 || all[0].Kind != repo.Unlisted || !strings.HasPrefix(all[0].Object, "data/") {
		t.Errorf("%v", all)
	}
}

// An index that is gone leaves packs in no index, and files that cannot be found.
func TestAuditUnindexed(t *testing.T) {
	w := newWorld(t, repo.InitOptions{})
	w.backup(w.access, "one", "two")
	second := w.backup(w.access, "one", "two", "three", "four")
	index := w.names("index/")
	w.must(w.mem.Delete(ctx, index[len(index)-1]))
	all, harms := w.audit()
	kinds := map[repo.FindingKind]int{}
	for _, f := range all {
		kinds[f.Kind]++
		for _, h := range harms[f] {
			if h.ID != second.ID {
				t.Errorf("%v hurts %v", f, h.ID)
			}
		}
		if len(harms[f]) == 0 {
			t.Errorf("%v hurts nobody", f)
		}
	}
	if len(kinds) != 2 || kinds[repo.Unindexed] < 1 || kinds[repo.Unknown] != 1 {
		t.Errorf("%v", all)
	}
}

// Where all snapshots of a scope were taken away the packs are still there, and so is what the host remembers.
func TestAuditSnapshotsGone(t *testing.T) {
	w := newWorld(t, repo.InitOptions{})
	r := w.open(w.access)
	s := w.load(r)
	b := w.begin(r, s, repo.WriterOptions{})
	item, err := b.out.Publish(ctx, b.snapshot(true, "one"))
	w.must(err)
	w.must(b.out.Confirm(ctx, item))
	w.must(b.out.PutState(ctx, []snapshot.Head{{Source: item.Source.ID, Path: []byte("/"), Snapshot: item.ID, Sequence: 1, Sum: item.Sum}}))
	if all, _ := w.audit(); len(all) > 0 {
		t.Error(all)
	}
	for _, name := range w.names("snapshots/") {
		w.must(w.mem.Delete(ctx, name))
	}
	all, harms := w.audit()
	if len(all) != 1 || all[0].Kind != repo.Missing || !strings.HasSuffix(all[0].Object, item.ID.String()) || len(harms[all[0]]) != 1 || !harms[all[0]][0].All {
		t.Errorf("%v", all)
	}
}

func FuzzParseName(f *testing.F) {
	for _, name := range []string{"firn.json", "data/0123456789abcdef/01/01.par2", "snapshots/0123456789abcdef/x.done", "state/x/y", "index/", "prune/0-"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if o, ok := repo.ParseName(name); ok && o.Summed() && !strings.HasSuffix(name, o.Sum.String()) {
			t.Errorf("%q is not named %v", name, o.Sum)
		}
	})
}
