package prune

import (
	"bytes"
	"context"
	"encoding/binary"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"filippo.io/age"
	"golang.org/x/sync/errgroup"

	"firn/internal/chunk"
	"firn/internal/digest"
	"firn/internal/envelope"
	"firn/internal/index"
	"firn/internal/keys"
	"firn/internal/packset"
	"firn/internal/price"
	"firn/internal/repo"
	"firn/internal/sign"
	"firn/internal/snapshot"
	"firn/internal/store"
	"firn/internal/store/local"
)

// Of the benchmark.
const (
	benchSources   = 100
	benchSnapshots = 100    // of each source
	benchPacks     = 10_000 // of each source
	benchChunks    = 10     // of each pack
	benchChanged   = 3      // packs, and so about pack sets, that differ between two snapshots
)

// huge is a store that lists a million packs and has all the rest.
type huge struct {
	store.Store
	prefix string
	names  []digest.Object // in order
	at     time.Time
}

func (h *huge) List(ctx context.Context, prefix, after string, fn func(store.Info) error) error {
	if !strings.HasPrefix(prefix, "data/") {
		return h.Store.List(ctx, prefix, after, fn)
	}
	for i := range h.names {
		name := h.names[i].String()
		if err := fn(store.Info{Name: h.prefix + name[:2] + "/" + name, Size: 64 << 20, Class: "DEEP_ARCHIVE", Modified: h.at.Add(time.Duration(i%400) * -24 * time.Hour)}); err != nil {
			return err
		}
	}
	return nil
}

func benchName(source, n int) (d digest.Object) {
	binary.BigEndian.PutUint64(d[:], (uint64(source)<<32|uint64(n))*0x9e3779b97f4a7c15)
	binary.BigEndian.PutUint64(d[8:], uint64(source)<<32|uint64(n))
	d[16], d[31] = 1, byte((uint64(n)*0x9e3779b97f4a7c15)>>40)|1
	if (uint64(n)*2654435761>>7)%300 == 0 {
		d[31] = 0 // a pack set ends here
	}
	return d
}

// newHuge makes the repository of the benchmark.
func newHuge(b *testing.B) (*huge, repo.Access, repo.Options) {
	base := b.TempDir()
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	disk, err := local.Open(filepath.Join(base, "repo"), local.Options{})
	must(err)
	to, err := keys.ParseRecipient(publicKey, nil)
	must(err)
	access, err := repo.Init(ctx, disk, repo.InitOptions{Keys: []repo.NewKey{{Label: "k", Recipient: to}}, HostName: "nas"})
	must(err)
	scope := access.Host.ScopeID
	id, err := access.Host.Scope().IndexIdentity()
	must(err)
	k := envelope.Keys{Signer: access.Host.Signer(), Recipients: []age.Recipient{id.Recipient(), access.Secrets.DataRecipient()}}
	h := &huge{Store: disk, prefix: "data/" + scope.String() + "/", at: time.Now()}
	put := func(kind sign.Kind, prefix string, body []byte) digest.Object {
		object, sum, err := envelope.Seal(kind, body, k)
		must(err)
		name := prefix + scope.String() + "/"
		switch kind {
		case sign.Packset:
			name += sum.String()
		case sign.Index:
			name += "0006000000000000-" + sum.String()
		default:
			name = prefix
		}
		must(disk.Put(ctx, name, bytes.NewReader(object), int64(len(object)), store.PutOptions{}))
		return sum
	}
	var g errgroup.Group
	g.SetLimit(4)
	all := make([][]digest.Object, benchSources)
	for source := range benchSources {
		g.Go(func() error {
			body, err := index.AppendHeader(nil, index.Header{Author: [16]byte(access.Host.Host)})
			must(err)
			for n := range benchPacks {
				name := benchName(source, n)
				all[source] = append(all[source], name)
				p := index.Pack{Name: name, Kind: chunk.Data, Size: 64 << 20, Class: "DEEP_ARCHIVE", Birth: h.at, Prefix: make([]byte, 184)}
				for c := range benchChunks {
					var cid digest.Chunk
					copy(cid[:], name[:16])
					cid[30], cid[31] = 1, byte(c)
					cid[0], cid[1] = byte(c*25), byte(n)
					p.Chunks = append(p.Chunks, chunk.Ref{ID: cid, Frame: 1 << 20, Raw: 1 << 20})
				}
				body, err = index.AppendPack(body, &p)
				must(err)
			}
			put(sign.Index, "index/", body)
			return nil
		})
		g.Go(func() error {
			known := map[[32]byte]snapshot.Part{}
			var names []digest.Object
			for n := range benchPacks * 9 / 10 {
				names = append(names, benchName(source, n))
			}
			for n := range benchSnapshots {
				now := h.at.Add(time.Duration(n-benchSnapshots) * 24 * time.Hour)
				for i := range benchChanged {
					names[(n*benchChanged+i)*7%len(names)] = benchName(source, benchPacks*9/10+n*benchChanged+i)
				}
				s := &snapshot.Snapshot{Start: now, End: now, Host: "nas", HostID: [16]byte(access.Host.Host), Source: snapshot.Origin{ID: snapshot.Source{byte(source), 1}, Kind: "dir", Path: []byte{'/', byte(source) | 1}},
					Scope: scope, Sequence: uint64(n + 1), Complete: true}
				s.ID[0], s.ID[1], s.ID[2] = byte(source), byte(n), 1
				if n > 0 {
					s.Previous = &snapshot.Link{ID: snapshot.ID{1}}
				}
				for _, part := range packset.Split(packset.Normalize(slices.Clone(names))) {
					p, ok := known[part.Digest()]
					if !ok {
						p = snapshot.Part{Object: put(sign.Packset, "packset/", part.Body()), Packs: len(part.Names), Digest: digest.Object(part.Digest())}
						known[part.Digest()] = p
					}
					s.Packs = append(s.Packs, p)
				}
				body, err := s.Marshal()
				must(err)
				name := "snapshots/" + scope.String() + "/" + s.ID.String()
				put(sign.Snapshot, name, body)
				mark, err := (&snapshot.Done{Snapshot: s.ID, Sum: digest.SumObject(body), Time: now}).Marshal()
				must(err)
				put(sign.Done, name+".done", mark)
			}
			return nil
		})
	}
	must(g.Wait())
	for _, names := range all {
		h.names = append(h.names, names...)
	}
	slices.SortFunc(h.names, func(a, b digest.Object) int { return bytes.Compare(a[:], b[:]) })
	return h, access, repo.Options{IndexDir: filepath.Join(base, "tables")}
}

// BenchmarkPlan plans over a million packs with ten million chunks and ten thousand snapshots: with the local tables of an earlier run, everything is listed and every pack set read.
func BenchmarkPlan(b *testing.B) {
	h, access, ro := newHuge(b)
	region, err := price.Default().Region("aws", "us-east-1")
	if err != nil {
		b.Fatal(err)
	}
	plan := func() *Result {
		r, err := repo.Open(ctx, h, access, ro)
		if err != nil {
			b.Fatal(err)
		}
		res, err := Run(ctx, Options{Repo: r, Decide: keepLast(60), Grace: DefaultGrace, Region: region, DryRun: true, Refresh: Refresh{Off: true}})
		if err != nil {
			b.Fatal(err)
		}
		return res
	}
	plan()                 // makes the tables
	debug.SetGCPercent(50) // as the program does
	runtime.GC()
	for b.Loop() {
		var peak atomic.Uint64
		stop := make(chan struct{})
		go func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(20 * time.Millisecond):
					var m runtime.MemStats
					runtime.ReadMemStats(&m)
					peak.Store(max(peak.Load(), m.HeapInuse+m.StackInuse))
				}
			}
		}()
		res := plan()
		close(stop)
		b.ReportMetric(float64(peak.Load())/1e6, "MB-peak")
		b.ReportMetric(float64(res.Needed.Packs), "needed")
		b.ReportMetric(float64(len(res.Forgotten)), "forgotten")
	}
}
