package repo

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"firn/internal/digest"
	"firn/internal/envelope"
	"firn/internal/frame"
	"firn/internal/keys"
	"firn/internal/seal"
	"firn/internal/sign"
	"firn/internal/snapshot"
	"firn/internal/store"
)

// recordLines is how many lines one prune record has at most when this program writes it: some 80 MiB.
const recordLines = 1 << 20

// Retire writes a record (FORMAT §12) that says of packs and pack sets that they take no new references, and of snapshots that they are forgotten. When it
// returns, every backup that lists records after it heeds the record; only then may a pruner list the snapshots which decide what it deletes. It returns
// the name of the last record that it wrote: more than a million names make several. The author is this host where its role is to prune, else the root key; without either
// it fails with ErrWriteOnly.
//
// What a pruner has to expect: a pack set can be retired and deleted before the snapshot that names it is there to be listed. Such a snapshot
// is never done, since its writer finds the record; it stays behind without its pack set, and a pruner that takes it for damage would stop for ever.
//
// The state itself marks what is retired when it next reads records.
func (s *ScopeState) Retire(ctx context.Context, packs []digest.Object, forget []snapshot.ID) (name string, err error) {
	for first := true; first || len(packs)+len(forget) > 0; first = false {
		some := packs[:min(len(packs), recordLines)]
		gone := forget[:min(len(forget), recordLines-len(some))]
		packs, forget = packs[len(some):], forget[len(gone):]
		if name, err = s.putRecord(ctx, &snapshot.Record{Retire: some, Forget: gone}); err != nil {
			return "", err
		}
	}
	return name, nil
}

// putRecord writes one record, which from then on counts for all who list.
func (s *ScopeState) putRecord(ctx context.Context, rec *snapshot.Record) (string, error) {
	signer, err := s.pruneSigner()
	if err != nil {
		return "", err
	}
	rec.Scope, rec.Time, rec.Epochs = [8]byte(s.kit.id), s.kit.r.o.Now(), max(rec.Epochs, s.Epochs())
	body, err := rec.Marshal()
	if err != nil {
		return "", err
	}
	object, sum, err := envelope.Seal(sign.Prune, body, s.kit.envelopeKeysOf(signer))
	if err != nil {
		return "", err
	}
	s.lastRecord = max(s.lastRecord+1, uint64(s.kit.r.o.Now().UnixMicro()))
	name := prunePrefix + genName(s.lastRecord, sum)
	return name, s.kit.r.put(ctx, name, object, s.kit.r.hotClass())
}

// NoEpoch is what Epochs returns where no number is left.
const NoEpoch = math.MaxUint32

// epochGap is how many numbers may lie between two epochs: each full takes the next one, and snapshots are forgotten between them.
const epochGap = 1 << 20

// Epochs returns a number such that it, and as many after it as there will ever be fulls, was never used in the scope, as far as its snapshots and its prune records tell: these remember the
// epochs of snapshots that are forgotten. A number that came again would share keys, and so chunks, with packs that are about to be deleted. Numbers far above all others do not count: whoever
// has the key of a host could use them all up with one snapshot.
func (s *ScopeState) Epochs() uint32 {
	used := []uint32{}
	if s.epochs > 0 {
		used = append(used, s.epochs-1)
	}
	for _, it := range slices.Concat(s.Items, s.Late) {
		used = append(used, it.Epoch)
	}
	slices.Sort(used)
	n := uint32(0)
	for _, e := range used {
		if e > n && e-n > epochGap {
			break
		}
		if n = NoEpoch; e < NoEpoch {
			n = e + 1
		}
	}
	return n
}

func (s *ScopeState) pruneSigner() (*sign.Signer, error) {
	if s.kit.r.prunes(s.kit.id) {
		return s.kit.r.host.Signer(), nil
	}
	if s.kit.r.secrets == nil {
		return nil, ErrWriteOnly
	}
	return s.kit.r.secrets.RootSigner(s.kit.id), nil
}

// prunes reports whether the host at hand is one that may prune in a scope.
func (r *Repository) prunes(scope keys.ScopeID) bool {
	if r.host == nil || r.host.ScopeID != scope {
		return false
	}
	cert, err := keys.ParseCertificate(r.host.Certificate)
	return err == nil && cert.Role == keys.Pruner
}

// Forgotten returns the snapshots that the records read so far forget; the caller does not change it.
func (s *ScopeState) Forgotten() map[snapshot.ID]bool { return s.forgotten }

// mayBeRecord reports whether an object below prune/ can be a record at all: other names are no objects of a repository (FORMAT §1), and no record is that long.
func mayBeRecord(i store.Info) bool { return isGen(i.Name) && i.Size <= objectLimit(sign.Prune) }

func isGen(name string) bool {
	_, _, err := parseGen(name)
	return err == nil
}

// neverRecord reports whether what failed with err was never a record. Anybody who may add objects, a thief with a write-only key among them, can add one that is no envelope, and a record
// that cannot be read stops every backup, since it may retire what they need. But a record was well formed when its author named it by its SHA-256. So what has its
// sum, and is malformed, nobody who prunes has written: it may be overlooked. What does not have its sum may be a record that was damaged.
func (s *ScopeState) neverRecord(ctx context.Context, info store.Info, err error) bool {
	malformed := errors.Is(err, seal.ErrCorrupt) || errors.Is(err, frame.ErrCorrupt) || errors.Is(err, envelope.ErrFormat) || errors.Is(err, envelope.ErrLimit)
	if !malformed || Culprit(err) != info.Name {
		return false
	}
	raw, err := s.kit.r.fetch(ctx, info.Name, objectLimit(sign.Prune))
	_, sum, perr := parseGen(info.Name)
	if err != nil || perr != nil || digest.SumObject(raw) != sum {
		return false
	}
	s.kit.r.note("%s is left out: it was never a prune record", info.Name)
	return true
}

// Retirement says since when a pack or pack set is retired: when the store got the record, by its clock.
type Retirement struct {
	Name  digest.Object
	Since time.Time
}

// retirements collects them.
type retirements struct {
	all    []Retirement
	sorted bool
}

func (r *retirements) add(names []digest.Object, since time.Time) {
	for _, n := range names {
		r.all = append(r.all, Retirement{n, since})
	}
	r.sorted = false
}

// sort puts them in order of name; of several of one name the earliest stays.
func (r *retirements) sort() {
	if r.sorted {
		return
	}
	slices.SortFunc(r.all, func(a, b Retirement) int {
		if c := slices.Compare(a.Name[:], b.Name[:]); c != 0 {
			return c
		}
		return a.Since.Compare(b.Since)
	})
	r.all = slices.CompactFunc(r.all, func(a, b Retirement) bool { return a.Name == b.Name })
	r.sorted = true
}
