package repo_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"

	"firn/internal/digest"
	"firn/internal/envelope"
	"firn/internal/index"
	"firn/internal/keys"
	"firn/internal/repo"
	"firn/internal/sign"
	"firn/internal/snapshot"
)

// envelope seals a body for the scope of the nas.
func (w *world) envelope(kind sign.Kind, body []byte, signer *sign.Signer) []byte {
	w.t.Helper()
	id, err := w.access.Host.Scope().IndexIdentity()
	w.must(err)
	object, _, err := envelope.Seal(kind, body, envelope.Keys{Signer: signer, Recipients: []age.Recipient{id.Recipient(), w.access.Secrets.DataRecipient()}})
	w.must(err)
	return object
}

// outsider signs for a host with the MAC key of the scope but with another seed: what a host of the scope can make in the name of another.
func (w *world) outsider(claims keys.HostID) *sign.Signer {
	s := w.access.Host.Scope()
	var seed [32]byte
	copy(seed[:], claims[:])
	return sign.NewSigner(s.Repo, s.ID, s.MACKey(), seed)
}

// claim puts another author into the proof of an envelope's plaintext, whose MAC holds and whose signature does not.
func (w *world) claim(kind sign.Kind, body []byte, author keys.HostID) []byte {
	w.t.Helper()
	object := w.envelope(kind, body, w.outsider(author))
	plain, err := age.Decrypt(strings.NewReader(string(object)), w.access.Secrets.DataIdentities()...)
	w.must(err)
	raw := make([]byte, len(object))
	n := 0
	for {
		m, err := plain.Read(raw[n:])
		n += m
		if err != nil {
			break
		}
	}
	raw = raw[:n]
	copy(raw[n-sign.ProofSize:], author[:])
	id, err := w.access.Host.Scope().IndexIdentity()
	w.must(err)
	var out strings.Builder
	sealed, err := age.Encrypt(&out, id.Recipient(), w.access.Secrets.DataRecipient())
	w.must(err)
	_, err = sealed.Write(raw)
	w.must(err)
	w.must(sealed.Close())
	return []byte(out.String())
}

// TestForgedSnapshots: what stands under a name has to be what its author made for it.
func TestForgedSnapshots(t *testing.T) {
	w := newWorld(t, repo.InitOptions{})
	a, b := w.backup(w.access, "one"), w.backup(w.access, "two")
	prefix := "snapshots/" + w.access.Host.ScopeID.String() + "/"
	name, other := prefix+a.ID.String(), prefix+b.ID.String()
	second, err := w.open(w.access).Enroll(ctx, "second", "nas", keys.Writer)
	w.must(err)
	body, err := a.Marshal()
	w.must(err)
	foreign := newWorld(t, repo.InitOptions{})
	alien := foreign.backup(foreign.access, "one")
	unknown := w.outsider(keys.HostID{7})
	for what, c := range map[string]struct {
		name   string
		object []byte
		want   error
	}{
		"another snapshot":             {name, w.object(other), repo.ErrForged},
		"a mark as snapshot":           {name, w.object(name + ".done"), sign.ErrMAC},
		"of another repository":        {name, foreign.object("snapshots/" + foreign.access.Host.ScopeID.String() + "/" + alien.ID.String()), nil},
		"by another host in its name":  {name, w.claim(sign.Snapshot, body, w.access.Host.Host), sign.ErrSignature},
		"by a host without a right":    {name, w.envelope(sign.Snapshot, body, unknown), repo.ErrUntrusted},
		"by a host that is not it":     {name, w.envelope(sign.Snapshot, body, second.Signer()), repo.ErrForged},
		"the mark of another snapshot": {name + ".done", w.object(other + ".done"), repo.ErrForged},
		"no age file":                  {name, []byte("hello"), nil},
		"nothing":                      {name, nil, nil},
	} {
		t.Run(what, func(t *testing.T) {
			kept := w.object(c.name)
			defer w.mem.Replace(c.name, kept)
			w.mem.Replace(c.name, c.object)
			r := w.open(w.access)
			s := w.load(r)
			if len(s.Damaged) != 1 || !named(s.Damaged[0]) || c.want != nil && !errors.Is(s.Damaged[0], c.want) {
				t.Errorf("told: %v, want %v", s.Damaged, c.want)
			}
			for _, it := range s.Items {
				if it.ID == a.ID && it.Status() == snapshot.IsDone {
					t.Error("it counts")
				}
				if it.ID == b.ID && it.Status() != snapshot.IsDone {
					t.Error("its neighbour does not count")
				}
			}
		})
	}
	w.expect(w.access, a.ID, snapshot.IsDone, "one")
}

// TestRolledBack: a store that hides the newest snapshots is noticed by who has seen them.
func TestRolledBack(t *testing.T) {
	w := newWorld(t, repo.InitOptions{})
	a, b := w.backup(w.access, "one"), w.backup(w.access, "two")
	head := snapshot.Head{Source: b.Source.ID, Snapshot: b.ID, Sequence: b.Sequence, Sum: b.Sum}
	check := func() error {
		h := snapshot.Histories(w.load(w.open(w.access)).Items)
		if len(h) != 1 {
			t.Fatalf("%d histories", len(h))
		}
		return h[0].CheckHead(head)
	}
	w.must(check())
	for _, end := range []string{"", ".done"} {
		w.must(w.mem.Delete(ctx, "snapshots/"+w.access.Host.ScopeID.String()+"/"+b.ID.String()+end))
	}
	var back *snapshot.RollbackError
	if err := check(); !errors.As(err, &back) || back.Newest != a.Sequence {
		t.Errorf("rolled back: %v", err)
	}
}

// TestForgedIndexes: an index counts for the host that wrote it, and tells of that host's objects alone.
func TestForgedIndexes(t *testing.T) {
	w := newWorld(t, repo.InitOptions{})
	var items []snapshot.Item
	for i := range 3 {
		items = append(items, w.backup(w.access, fmt.Sprint("text ", i)))
	}
	second, err := w.open(w.access).Enroll(ctx, "second", "nas", keys.Writer)
	w.must(err)
	real := w.names("index/")
	var replaces []string
	for _, name := range real {
		replaces = append(replaces, name[strings.LastIndexByte(name, '/')+1:])
	}
	body, err := index.AppendHeader(nil, index.Header{Level: 1, Author: [16]byte(w.access.Host.Host), Replaces: replaces})
	w.must(err)
	for what, object := range map[string][]byte{
		"a host that speaks for another": w.envelope(sign.Index, body, second.Signer()),
		"a signature that is not its":    w.claim(sign.Index, body, w.access.Host.Host),
		"a host without a right":         w.envelope(sign.Index, body, w.outsider(keys.HostID{7})),
	} {
		name := fmt.Sprintf("index/%v/%016x-%v", w.access.Host.ScopeID, uint64(1)<<62, digest.SumObject(object))
		w.add(name, object)
		s := w.load(w.open(w.access))
		s.Tidy(ctx)
		if left := w.names("index/"); !slices.Equal(left[:len(left)-1], real) {
			t.Fatalf("%s: index objects were deleted: %q", what, left)
		}
		for i, item := range items {
			w.expect(w.access, item.ID, snapshot.IsDone, fmt.Sprint("text ", i))
		}
		w.must(w.mem.Delete(ctx, name))
	}
}

// TestPruneRights: only who may prune retires and forgets, and only in its scope.
func TestPruneRights(t *testing.T) {
	w := newWorld(t, repo.InitOptions{})
	item := w.backup(w.access, "one")
	full := w.open(w.access)
	pruner, err := full.Enroll(ctx, "pruner", "nas", keys.Pruner)
	w.must(err)
	rec := &snapshot.Record{Scope: w.access.Host.ScopeID, Time: w.clock.now(), Forget: []snapshot.ID{item.ID}}
	body, err := rec.Marshal()
	w.must(err)
	status := func() (snapshot.Status, error) {
		s, err := w.open(w.access).Load(ctx, w.access.Host.ScopeID, true)
		if err != nil {
			return 0, err
		}
		return s.Items[0].Status(), nil
	}
	for what, object := range map[string][]byte{
		"a writer":                        w.envelope(sign.Prune, body, w.access.Host.Signer()),
		"a writer in the pruner's name":   w.claim(sign.Prune, body, pruner.Host),
		"a writer in the root key's name": w.claim(sign.Prune, body, keys.HostID{}),
		"a host without a right":          w.envelope(sign.Prune, body, w.outsider(keys.HostID{7})),
	} {
		name := fmt.Sprintf("prune/%016x-%v", w.clock.now().UnixMicro(), digest.SumObject(object))
		w.add(name, object)
		if got, err := status(); err == nil && got != snapshot.IsDone || err != nil && !named(err) {
			t.Errorf("%s forgets: %v, %v", what, got, err)
		}
		w.must(w.mem.Delete(ctx, name))
	}

	laptop, err := full.Enroll(ctx, "laptop", "laptop", keys.Pruner)
	w.must(err)
	w.must(full.Revoke(ctx, pruner.Host, "lost"))
	w.record(pruner.Signer(), rec) // too late
	if got, err := status(); err != nil || got != snapshot.IsDone {
		t.Errorf("a revoked host forgets: %v, %v", got, err)
	}

	other := *rec
	other.Scope = laptop.ScopeID
	body, err = other.Marshal()
	w.must(err)
	id, err := laptop.Scope().IndexIdentity()
	w.must(err)
	object, _, err := envelope.Seal(sign.Prune, body, envelope.Keys{Signer: laptop.Signer(), Recipients: []age.Recipient{id.Recipient(), w.access.Secrets.DataRecipient()}})
	w.must(err)
	w.add(fmt.Sprintf("prune/%016x-%v", w.clock.now().UnixMicro(), digest.SumObject(object)), object)
	for what, a := range map[string]repo.Access{"with everything": w.access, "with the host key": {Host: w.access.Host}} {
		s, err := w.open(a).Load(ctx, w.access.Host.ScopeID, true)
		if err != nil || s.Items[0].Status() != snapshot.IsDone {
			t.Errorf("%s: a record of another scope: %v", what, err)
		}
	}
	w.record(w.access.Secrets.RootSigner(w.access.Host.ScopeID), rec)
	if got, err := status(); err != nil || got != snapshot.IsForgotten {
		t.Errorf("the root key forgets: %v, %v", got, err)
	}
}

// TestDamage: whatever happens to one object, the error names it, or what is read is right.
func TestDamage(t *testing.T) {
	w := newWorld(t, repo.InitOptions{Padding: true})
	texts := []string{"one", strings.Repeat("two ", 50_000), "three"}
	pruner := w.pruner()
	w.backup(w.access, "zero")
	item := w.backup(w.access, texts...)
	w.record(pruner.Signer(), &snapshot.Record{Scope: w.access.Host.ScopeID, Time: w.clock.now(), Forget: []snapshot.ID{{1}}})
	readAll := func(unlock bool) ([]string, error) {
		secrets := w.access.Secrets
		if unlock {
			id, err := keys.PassphraseIdentity([]byte(phrase))
			w.must(err)
			if secrets, err = repo.Unlock(ctx, w.st, id); err != nil {
				return nil, err
			}
		}
		r, err := repo.Open(ctx, w.st, repo.Access{Secrets: secrets}, repo.Options{Now: w.clock.now})
		if err != nil {
			return nil, err
		}
		if _, err := r.Hosts(ctx); err != nil {
			return nil, err
		}
		if _, err := r.Keys(ctx); err != nil {
			return nil, err
		}
		s, err := r.Load(ctx, w.access.Host.ScopeID, true)
		if err != nil {
			return nil, err
		}
		for _, it := range s.Items {
			if it.ID == item.ID {
				got, err := read(r, s, it)
				if errors.Is(err, repo.ErrUnknownChunk) && len(s.Damaged) > 0 {
					err = s.Damaged[0]
				}
				return got, err
			}
		}
		return nil, errors.Join(s.Damaged...)
	}
	if got, err := readAll(true); err != nil || !slices.Equal(got, texts) {
		t.Fatalf("%d texts, %v", len(got), err)
	}
	for _, name := range w.names("") {
		if name == "RECOVER.md" || name == "recover.py" {
			continue
		}
		whole := w.object(name)
		harm := func(what string, raw []byte) {
			t.Helper()
			w.mem.Replace(name, raw)
			got, err := readAll(strings.HasPrefix(name, "keys/"))
			fine := err == nil && slices.Equal(got, texts)
			if !fine && !named(err) && !(errors.Is(err, repo.ErrNoKey) && strings.HasSuffix(name, ".age")) {
				t.Errorf("%s %s: %d texts, %v", name, what, len(got), err)
			}
		}
		for _, n := range []int{0, 1, 30, len(whole) / 2, len(whole) - 17, len(whole) - 1} {
			harm(fmt.Sprintf("cut to %d bytes", n), whole[:n])
		}
		for _, at := range []int{0, 25, 100, 180, len(whole) / 3, len(whole) / 2, len(whole) - 100, len(whole) - 1} {
			flipped := slices.Clone(whole)
			flipped[max(0, min(at, len(whole)-1))] ^= 0x10
			harm(fmt.Sprintf("flipped at %d", at), flipped)
		}
		harm("with a tail", append(slices.Clone(whole), 0))
		w.mem.Replace(name, whole)
	}
}
