package repo_test

import (
	"testing"

	"firn/internal/repo"
	"firn/internal/snapshot"
)

// Anybody who may add objects can put something in the place of a revocation. It ends nobody, stops nobody, and keeps nobody from being revoked.
func TestGarbageInPlaceOfRevocation(t *testing.T) {
	w := newWorld(t, repo.InitOptions{})
	w.backup(w.access, "one")
	host := w.access.Host.Host
	name := "hosts/" + host.String() + ".revoked"
	w.add(name, []byte("garbage"))
	all := repo.Access{Secrets: w.access.Secrets}
	r := w.open(all)
	if s := w.load(r); len(s.Items) != 1 || len(s.Damaged) > 0 {
		t.Errorf("%d snapshots; damaged: %v", len(s.Items), s.Damaged)
	}
	p, err := r.LoadToPrune(ctx, w.access.Host.ScopeID)
	w.must(err)
	if len(p.Unreadable)+len(p.Late) > 0 {
		t.Errorf("prune stops: %v", p.Unreadable)
	}
	hosts, err := r.Hosts(ctx)
	if err != nil || len(hosts) != 1 || hosts[0].Revoked != nil {
		t.Errorf("hosts: %v, %v", hosts, err)
	}
	if err := r.VerifyCopy(ctx, name, w.object(name)); err == nil {
		t.Error("nobody finds it")
	}

	w.must(r.Revoke(ctx, host, "stolen"))
	w.must(r.VerifyCopy(ctx, name, w.object(name)))
	w.must(w.open(all).VerifyCopy(ctx, name, w.object(name))) // whose scope was not looked at
	hosts, err = w.open(all).Hosts(ctx)
	if err != nil || len(hosts) != 1 || hosts[0].Revoked == nil {
		t.Errorf("hosts: %v, %v", hosts, err)
	}
}

// Where it is in the place of the revocation of a host that prunes, the records of that still count, and no backup stops.
func TestGarbageInPlaceOfRevocationOfPruner(t *testing.T) {
	w := newWorld(t, repo.InitOptions{})
	pruner := w.pruner()
	item := w.backup(w.access, "one")
	w.record(pruner.Signer(), &snapshot.Record{Scope: w.access.Host.ScopeID, Time: w.clock.now(), Forget: []snapshot.ID{item.ID}})
	w.add("hosts/"+pruner.Host.String()+".revoked", []byte("garbage"))
	w.expect(w.access, item.ID, snapshot.IsForgotten, "one")
	w.backup(repo.Access{Host: w.access.Host}, "x")
}
