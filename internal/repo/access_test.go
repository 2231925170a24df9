package repo_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"filippo.io/age"

	"firn/internal/faultstore"
	"firn/internal/format"
	"firn/internal/keys"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/store"
)

func unlock(t testing.TB, w *world, text string) (*keys.Secrets, error) {
	t.Helper()
	id, err := keys.PassphraseIdentity([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return repo.Unlock(ctx, w.st, id)
}

func TestInitAndOpen(t *testing.T) {
	for _, o := range []repo.InitOptions{{}, {Hybrid: true, Padding: true, DataClass: "GLACIER_IR", Parity: format.Parity{Data: 5, Meta: 10}}} {
		w := newWorld(t, o)
		secrets, err := unlock(t, w, phrase)
		w.must(err)
		r := w.open(repo.Access{Secrets: secrets})
		if cfg := r.Config(); cfg.Class.Data != o.DataClass || cfg.Parity != o.Parity || (cfg.Padding == "padme") != o.Padding || (cfg.Seal == "hybrid") != o.Hybrid {
			t.Errorf("parameters: %+v", cfg)
		}
		if got := string(w.object("recover.py")); !strings.HasPrefix(got, "#!/usr/bin/env python3") {
			t.Errorf("recover.py begins with %.40q", got)
		}
		if _, err := unlock(t, w, "wrong horse"); !errors.Is(err, repo.ErrNoKey) {
			t.Errorf("wrong passphrase: %v", err)
		}
		if _, err := repo.Init(ctx, w.st, repo.InitOptions{Keys: []repo.NewKey{{Label: "x", Recipient: passphrase(t, "x")}}, HostName: "other"}); !errors.Is(err, repo.ErrExists) {
			t.Errorf("second init: %v", err)
		}
		w.expect(w.access, w.backup(w.access, "one", "two").ID, snapshot.IsDone, "one", "two")
	}
}

func TestInitRefuses(t *testing.T) {
	w := bareWorld(t)
	key := repo.NewKey{Label: "x", Recipient: passphrase(t, "x")}
	if _, err := repo.ReadConfig(ctx, w.st); !errors.Is(err, repo.ErrNoRepository) {
		t.Errorf("nothing there: %v", err)
	}
	if _, err := repo.Init(ctx, w.st, repo.InitOptions{HostName: "nas"}); !errors.Is(err, repo.ErrNoKey) {
		t.Errorf("no key: %v", err)
	}
	classic, err := keys.ParseRecipient("age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p", nil)
	w.must(err)
	var refused *keys.ClassicRecipientError
	if _, err := repo.Init(ctx, w.st, repo.InitOptions{HostName: "nas", Hybrid: true, Keys: []repo.NewKey{{Label: "y", Recipient: classic}}}); !errors.As(err, &refused) {
		t.Errorf("classic recipient: %v", err)
	}
	w.add("photos/holiday.jpg", []byte("mine"))
	if _, err := repo.Init(ctx, w.st, repo.InitOptions{HostName: "nas", Keys: []repo.NewKey{key}}); !errors.Is(err, repo.ErrNotEmpty) {
		t.Errorf("other objects: %v", err)
	}
	if len(w.names("")) != 1 {
		t.Errorf("left behind: %q", w.names(""))
	}
}

// TestInitInterrupted: an init that was cut off anywhere is no repository, and the next one does not mind.
func TestInitInterrupted(t *testing.T) {
	for nth := 1; ; nth++ {
		w := bareWorld(t)
		o := repo.InitOptions{HostName: "nas", Now: w.clock.now, Keys: []repo.NewKey{{Label: "x", Recipient: passphrase(t, phrase)}}}
		faulty := faultstore.New(w.mem, 1, faultstore.MustParse(fmt.Sprintf("put * before nth=%d permanent", nth))...)
		if _, err := repo.Init(ctx, faulty, o); err == nil {
			if nth < 6 {
				t.Errorf("init made only %d objects", nth-1)
			}
			return
		}
		if _, err := repo.ReadConfig(ctx, w.st); !errors.Is(err, repo.ErrNoRepository) {
			t.Fatalf("cut off at object %d: %v", nth, err)
		}
		old := w.names("keys/")
		a, err := repo.Init(ctx, w.st, o)
		w.must(err)
		for _, name := range old {
			if _, err := w.st.Stat(ctx, name); !errors.Is(err, store.ErrNotExist) {
				t.Errorf("%s of the first init is still there: %v", name, err)
			}
		}
		w.open(a)
	}
}

// TestRemovalCutOff: what a removal that was cut off leaves of a key opens nothing, and is no reason to let the last one go.
func TestRemovalCutOff(t *testing.T) {
	w := newWorld(t, repo.InitOptions{})
	r := w.open(repo.Access{Secrets: w.access.Secrets})
	all, err := r.Keys(ctx)
	w.must(err)
	id, err := age.GenerateX25519Identity()
	w.must(err)
	to, err := keys.ParseRecipient(id.Recipient().String(), nil)
	w.must(err)
	meta, err := r.AddKey(ctx, "second", to)
	w.must(err)
	w.must(w.mem.Delete(ctx, "keys/"+meta.Key.String()+".age")) // its description is still there
	if err := r.RemoveKey(ctx, all[0].Key); !errors.Is(err, repo.ErrLastKey) {
		t.Errorf("the last key that opens: %v", err)
	}
	w.must(r.RemoveKey(ctx, meta.Key)) // the rest of it
	if all, err = r.Keys(ctx); err != nil || len(all) != 1 {
		t.Errorf("%d keys, %v", len(all), err)
	}
	_, err = unlock(t, w, phrase)
	w.must(err)
}

func TestKeysComeAndGo(t *testing.T) {
	w := newWorld(t, repo.InitOptions{})
	r := w.open(repo.Access{Secrets: w.access.Secrets})
	all, err := r.Keys(ctx)
	w.must(err)
	if len(all) != 1 || all[0].Label != "mine" || all[0].Stored.IsZero() {
		t.Fatalf("keys: %+v", all)
	}
	if err := r.RemoveKey(ctx, all[0].Key); !errors.Is(err, repo.ErrLastKey) {
		t.Errorf("last key: %v", err)
	}
	id, err := age.GenerateX25519Identity()
	w.must(err)
	to, err := keys.ParseRecipient(id.Recipient().String(), nil)
	w.must(err)
	meta, err := r.AddKey(ctx, "card in the safe", to)
	w.must(err)
	if err := r.RemoveKey(ctx, keys.KeyID{1}); !errors.Is(err, store.ErrNotExist) {
		t.Errorf("unknown key: %v", err)
	}
	w.must(r.RemoveKey(ctx, all[0].Key))
	if _, err := unlock(t, w, phrase); !errors.Is(err, repo.ErrNoKey) {
		t.Errorf("the removed key opens: %v", err)
	}
	secrets, err := repo.Unlock(ctx, w.st, id)
	w.must(err)
	w.open(repo.Access{Secrets: secrets})

	w.mem.Replace("keys/"+meta.Key.String()+".json", bytes.Replace(w.object("keys/"+meta.Key.String()+".json"), []byte("card"), []byte("Card"), 1))
	var broken *repo.ObjectError
	if _, err := r.Keys(ctx); !errors.As(err, &broken) {
		t.Errorf("forged description: %v", err)
	}
	only := w.open(repo.Access{Host: w.access.Host})
	if _, err := only.AddKey(ctx, "x", to); !errors.Is(err, repo.ErrWriteOnly) {
		t.Errorf("a write-only host adds a key: %v", err)
	}
}

func TestOpenWithTheWrongKey(t *testing.T) {
	w, other := newWorld(t, repo.InitOptions{}), newWorld(t, repo.InitOptions{})
	for what, a := range map[string]repo.Access{"secrets": {Secrets: other.access.Secrets}, "host key": {Host: other.access.Host}, "one of each": {Secrets: w.access.Secrets, Host: other.access.Host}} {
		if _, err := repo.Open(ctx, w.st, a, repo.Options{}); !errors.Is(err, repo.ErrWrongKey) {
			t.Errorf("%s of another repository: %v", what, err)
		}
	}
	if _, err := repo.Open(ctx, w.st, repo.Access{}, repo.Options{}); !errors.Is(err, repo.ErrNoKey) {
		t.Errorf("no key: %v", err)
	}
	if err := w.open(repo.Access{Host: w.access.Host}).UseSecrets(other.access.Secrets); !errors.Is(err, repo.ErrWrongKey) {
		t.Errorf("secrets of another repository, later: %v", err)
	}
	w.mem.Replace("firn.json", bytes.Replace(w.object("firn.json"), []byte(`"none"`), []byte(`"padme"`), 1))
	var broken *repo.ObjectError
	if _, err := repo.Open(ctx, w.st, w.access, repo.Options{}); !errors.As(err, &broken) || broken.Name != "firn.json" {
		t.Errorf("changed parameters: %v", err)
	}
}

// TestWriteOnlyHost: a host key alone dedups and publishes, and reads nothing.
func TestWriteOnlyHost(t *testing.T) {
	w := newWorld(t, repo.InitOptions{})
	only := repo.Access{Host: w.access.Host}
	a := w.backup(only, "one", "two")
	packs := len(w.names("data/"))
	b := w.backup(only, "two", "one")
	if len(w.names("data/")) != packs {
		t.Errorf("known content was stored again")
	}
	r := w.open(only)
	if _, err := r.NewReader(w.load(r), 0); !errors.Is(err, repo.ErrWriteOnly) {
		t.Errorf("reads: %v", err)
	}
	w.expect(w.access, a.ID, snapshot.IsDone, "one", "two")
	w.must(r.UseSecrets(w.access.Secrets))
	if got, err := read(r, w.load(r), b); err != nil || len(got) != 2 {
		t.Errorf("with secrets: %q, %v", got, err)
	}
	if _, err := r.NewWriter(ctx, w.load(r), repo.WriterOptions{}); err != nil {
		t.Error(err)
	}
	none := w.open(repo.Access{Secrets: w.access.Secrets})
	if _, err := none.NewWriter(ctx, w.load(none), repo.WriterOptions{}); !errors.Is(err, repo.ErrNoHost) {
		t.Errorf("writes without a host key: %v", err)
	}
}

// TestScopesAreApart: a host opens its own scope and no other.
func TestScopesAreApart(t *testing.T) {
	w := newWorld(t, repo.InitOptions{})
	full := w.open(w.access)
	laptop, err := full.Enroll(ctx, "laptop", "laptop", keys.Writer)
	w.must(err)
	w.backup(w.access, "of the nas")
	w.backup(repo.Access{Host: laptop}, "of the laptop")
	r := w.open(repo.Access{Host: laptop})
	if _, err := r.Load(ctx, w.access.Host.ScopeID, true); !errors.Is(err, repo.ErrNoScope) {
		t.Errorf("a foreign scope opens: %v", err)
	}
	hosts, err := r.Hosts(ctx)
	w.must(err)
	if len(hosts) != 1 || hosts[0].Name != "laptop" {
		t.Errorf("hosts that the laptop sees: %+v", hosts)
	}
	if hosts, err = full.Hosts(ctx); err != nil || len(hosts) != 2 {
		t.Errorf("hosts: %+v, %v", hosts, err)
	}
	scopes, err := full.Scopes(ctx)
	if err != nil || len(scopes) != 2 {
		t.Errorf("scopes: %v, %v", scopes, err)
	}
}

// TestRevoke: what a host wrote before counts, what it writes later does not.
func TestRevoke(t *testing.T) {
	w := newWorld(t, repo.InitOptions{})
	full := w.open(w.access)
	second, err := full.Enroll(ctx, "second", "nas", keys.Writer)
	w.must(err)
	before := w.backup(repo.Access{Host: second}, "before")
	if err := w.open(repo.Access{Host: second}).Revoke(ctx, second.Host, "by itself"); !errors.Is(err, repo.ErrWriteOnly) {
		t.Errorf("a host revokes: %v", err)
	}
	w.must(full.Revoke(ctx, second.Host, "stolen"))
	after := w.backup(repo.Access{Host: second}, "after")
	hosts, err := w.open(w.access).Hosts(ctx)
	w.must(err)
	for _, h := range hosts {
		if (h.Revoked != nil) != (h.Host == second.Host) || h.Revoked != nil && h.Revoked.Reason != "stolen" {
			t.Errorf("%s: %+v", h.Name, h.Revoked)
		}
	}
	w.expect(w.access, before.ID, snapshot.IsDone, "before")
	s := w.load(w.open(w.access))
	for _, it := range s.Items {
		if it.ID == after.ID {
			t.Error("a snapshot by a revoked host counts")
		}
	}
	if len(s.Damaged) != 1 || !errors.Is(s.Damaged[0], repo.ErrUntrusted) {
		t.Errorf("told: %v", s.Damaged)
	}
}

// TestStanding: a revocation that cannot be read now is not taken for none, since what a revoked host writes does not count; rubbish in its place is.
func TestStanding(t *testing.T) {
	w := newWorld(t, repo.InitOptions{})
	full := w.open(w.access)
	standing := func(st store.Store, wantRevoked, wantCertified bool) {
		t.Helper()
		r, err := repo.Open(ctx, st, repo.Access{Host: w.access.Host}, repo.Options{})
		w.must(err)
		revoked, certified, err := r.Standing(ctx)
		if err != nil || revoked != wantRevoked || certified != wantCertified {
			t.Errorf("revoked %v, certified %v, %v", revoked, certified, err)
		}
	}
	standing(w.st, false, true)
	name := "hosts/" + w.access.Host.Host.String()
	w.add(name+".revoked", []byte("rubbish"))
	standing(w.st, false, true)
	w.must(w.mem.Delete(ctx, name+".revoked"))
	w.must(full.Revoke(ctx, w.access.Host.Host, "stolen"))
	standing(w.st, true, true)
	for _, how := range []string{"before", "torn"} {
		r, err := repo.Open(ctx, faultstore.New(w.st, 1, faultstore.MustParse("get hosts/* "+how)...), repo.Access{Host: w.access.Host}, repo.Options{})
		w.must(err)
		if revoked, _, err := r.Standing(ctx); err == nil {
			t.Errorf("%s: revoked %v without having read it", how, revoked)
		}
	}
	w.must(w.mem.Delete(ctx, name))
	standing(w.st, true, false)
}
