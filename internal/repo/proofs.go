package repo

import (
	"context"
	"fmt"
	"slices"

	"firn/internal/digest"
	"firn/internal/envelope"
	"firn/internal/keys"
	"firn/internal/sign"
	"firn/internal/snapshot"
	"firn/internal/store"
)

// proofsRead is how many of the newest objects are read and joined: more than one, since two may have been written at once, neither knowing the other.
const proofsRead = 2

// proofHost stands for a host in the name of the state of a scope, which is no host's: eight zero bytes and the id of the scope.
func proofHost(scope keys.ScopeID) (host [16]byte) {
	copy(host[8:], scope[:])
	return host
}

// proofPrefix is what the names of the objects with the proofs of a scope begin with.
func proofPrefix(scope keys.ScopeID) string {
	host := proofHost(scope)
	return statePrefix(fmt.Sprintf("%x", host[:]))
}

// Proofs returns what is known in the repository of trial restores of the sources of a scope (FORMAT §11.1), sorted by time. What is damaged is left out
// and noted.
func (r *Repository) Proofs(ctx context.Context, scope keys.ScopeID) ([]snapshot.Proof, error) {
	proofs, _, err := r.proofs(ctx, scope)
	return proofs, err
}

// proofs returns the newest generation, too.
func (r *Repository) proofs(ctx context.Context, scope keys.ScopeID) (out []snapshot.Proof, newest uint64, err error) {
	k, err := r.scope(scope)
	if err != nil {
		return nil, 0, err
	}
	var names []string
	err = r.st.List(ctx, proofPrefix(scope), "", func(i store.Info) error {
		if gen, _, err := parseGen(i.Name); err == nil {
			names, newest = append(names, i.Name), max(newest, gen)
		}
		return nil
	})
	if err != nil {
		return nil, 0, err
	}
	slices.Reverse(names)
	for n, read := 0, 0; n < len(names) && read < proofsRead; n++ {
		state, err := k.proofState(ctx, names[n])
		if err != nil && ctx.Err() != nil {
			return nil, 0, ctx.Err()
		}
		if err != nil {
			r.note("%v: the proofs in it do not count", err)
			continue
		}
		out = append(out, state.Proofs...)
		read++
	}
	return snapshot.MergeProofs(out), newest, nil
}

// proofState reads one object.
func (k *scopeKit) proofState(ctx context.Context, name string) (*snapshot.State, error) {
	body, _, err := k.getTrusted(ctx, sign.State, name)
	if err != nil {
		return nil, err
	}
	state, err := snapshot.ParseState(body)
	if err != nil {
		return nil, &ObjectError{name, err}
	}
	if state.Host != proofHost(k.id) {
		return nil, &ObjectError{name, ErrForged}
	}
	return state, nil
}

// AddProofs stores proofs of sources of a scope beside those that are there. It takes the secrets, which whoever has restored something has; every host of the
// scope can read them.
func (r *Repository) AddProofs(ctx context.Context, scope keys.ScopeID, add ...snapshot.Proof) error {
	if r.secrets == nil {
		return ErrWriteOnly
	}
	k, err := r.scope(scope)
	if err != nil {
		return err
	}
	have, newest, err := r.proofs(ctx, scope)
	if err != nil {
		return err
	}
	state := &snapshot.State{Host: proofHost(scope), Time: r.o.Now(), Proofs: snapshot.MergeProofs(have, add)}
	body, err := state.Marshal()
	if err != nil {
		return err
	}
	object, sum, err := k.sealRootSum(sign.State, body)
	if err != nil {
		return err
	}
	gen := max(uint64(r.o.Now().UnixMicro()), newest+1)
	return r.put(ctx, proofPrefix(scope)+genName(gen, sum), object, r.hotClass())
}

// sealRootSum is sealRoot for objects that have their sum in their name.
func (k *scopeKit) sealRootSum(kind sign.Kind, body []byte) ([]byte, digest.Object, error) {
	return envelope.Seal(kind, body, k.envelopeKeysOf(k.r.secrets.RootSigner(k.id)))
}
