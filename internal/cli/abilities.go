package cli

import (
	"context"
	"encoding/json"
	"strings"

	"firn/internal/store"
	"firn/internal/wire"
)

// known returns what a probe of this store found out earlier, from this machine; nil: nothing. Servers that speak S3 differ, and some refuse what
// others need.
func (f *storeFlags) known() *store.Abilities {
	location, err := f.location()
	if err != nil || !isS3(location) {
		return nil
	}
	raw := localDirs().Place(f.abilitiesAt(location))
	if raw == nil {
		return nil
	}
	var a store.Abilities
	if json.Unmarshal(raw, &a) != nil {
		return nil
	}
	return &a
}

// learn remembers what a probe found out.
func (f *storeFlags) learn(found *store.Abilities) {
	location, err := f.location()
	if err != nil || !isS3(location) {
		return
	}
	if raw, err := json.Marshal(found); err == nil {
		localDirs().SetPlace(f.abilitiesAt(location), raw)
	}
}

func (f *storeFlags) abilitiesAt(location string) string { return "abilities\n" + f.place(location) }

func isS3(location string) bool {
	l, err := wire.ParseLocation(location)
	return err == nil && l.Scheme == "s3"
}

// probeOnce probes a store from which this machine has not stored anything yet, so that the next run knows what it can do. A server of Amazon's needs no probe.
func (f *storeFlags) probeOnce(ctx context.Context, st store.Store) {
	if f.known() != nil || f.amazon(st) {
		return
	}
	if found, err := store.Probe(ctx, st, ""); err == nil {
		f.learn(&found)
	}
}

// amazon reports whether the store is Amazon's, or no S3 store at all.
func (f *storeFlags) amazon(st store.Store) bool {
	location, err := f.location()
	if err != nil || !isS3(location) {
		return true
	}
	endpoint := f.server()
	if s, ok := store.As[interface{ Endpoint() string }](st); ok && s.Endpoint() != "" {
		endpoint = s.Endpoint()
	}
	return endpoint == "" || strings.Contains(endpoint, ".amazonaws.com")
}
