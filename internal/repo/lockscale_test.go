package repo

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"runtime"
	"sort"
	"testing"
	"time"

	"firn/internal/chunk"
	"firn/internal/digest"
	"firn/internal/keys"
	"firn/internal/price"
	"firn/internal/state"
	"firn/internal/store"
)

// million lists packs with their recovery volumes and can lock them.
type million struct {
	store.Store
	names []string
}

func (m *million) List(_ context.Context, _, _ string, fn func(store.Info) error) error {
	for _, n := range m.names {
		if err := fn(store.Info{Name: n, Size: 64 << 20, Class: "DEEP_ARCHIVE", Modified: time.Unix(1_700_000_000, 0)}); err != nil {
			return err
		}
	}
	return nil
}

// BenchmarkPlanLock plans over a million packs, of which all are remembered to be locked, and of which none is.
func BenchmarkPlanLock(b *testing.B) {
	const n = 500_000
	scope := keys.ScopeID{1}
	m := &million{}
	need := map[keys.ScopeID]*lockNeeds{scope: {packs: map[digest.Object]bool{}}}
	for i := range n {
		var raw [8]byte
		binary.LittleEndian.PutUint64(raw[:], uint64(i))
		name := digest.Object(sha256.Sum256(raw[:]))
		need[scope].packs[name] = false
		m.names = append(m.names, packName(chunk.Data, scope, name), volumeName(packName(chunk.Data, scope, name)))
	}
	sort.Strings(m.names)
	region, err := price.Default().Region("aws", "us-east-1")
	if err != nil {
		b.Fatal(err)
	}
	for _, known := range []bool{false, true} {
		b.Run(fmt.Sprintf("known=%v", known), func(b *testing.B) {
			memory, err := OpenLockMemory(state.Open(state.Dirs{}, [16]byte{1}, func(error) {}))
			if err != nil {
				b.Fatal(err)
			}
			if known {
				for _, name := range m.names {
					memory.note(lockKey(store.Info{Name: name, Modified: time.Unix(1_700_000_000, 0)}), store.Lock{Mode: store.Compliance, Until: time.Unix(1_900_000_000, 0)})
				}
			}
			for b.Loop() {
				p := &LockPlan{Least: time.Unix(1_800_000_000, 0), o: Locking{Region: region, Memory: memory}}
				if err := p.list(context.Background(), m, need); err != nil || p.Objects != 2*n {
					b.Fatal(p.Objects, err)
				}
				var ms runtime.MemStats
				runtime.ReadMemStats(&ms)
				b.ReportMetric(float64(ms.HeapAlloc>>20), "heap-MiB")
				b.ReportMetric(float64(p.Cost.Total()), "dollars")
			}
		})
	}
}
