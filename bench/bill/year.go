package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"firn/internal/backup"
	"firn/internal/coldtest"
	"firn/internal/digest"
	"firn/internal/format"
	"firn/internal/keys"
	"firn/internal/price"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/source/dir"
	"firn/internal/state"
	"firn/internal/store"
	"firn/internal/store/s3"
	"firn/internal/wire"
)

// coldClass is where content goes.
const coldClass = "DEEP_ARCHIVE"

// largest is the size of a pack that a good line fills in 30 seconds, in bytes as billed.
const largest = 256 << 20

// year is what happens to every variant alike.
type year struct {
	gb    float64
	files int
	weeks int
	churn float64
	scale int64
}

// variant is one way to keep the files.
type variant struct {
	name  string
	pack  int64 // bytes of a pack, as billed; 0: one object a file
	whole bool
}

func variants() []variant {
	return []variant{{"firn, packs of 256 MiB", largest, false}, {"firn, packs of 64 MiB", 64 << 20, false}, {"packs of 16 MiB", 16 << 20, false}, {"an object a file", 0, true}}
}

// world is one variant under way.
type world struct {
	y      *year
	v      variant
	server *coldtest.Server
	st     store.Store
	src    string
	dirs   state.Dirs
	access repo.Access
	header *repo.Header
	rng    *rand.Rand
	idle   int // requests of the last unchanged backup
}

// run lives through the year.
func (y *year) run(ctx context.Context, dir string, v variant) (*result, error) {
	base := filepath.Join(dir, fmt.Sprint(len(v.name), v.pack))
	defer func() { _ = os.RemoveAll(base) }()
	start := time.Now().Add(time.Minute) // files that are written after a backup by its clock would be looked at again
	server, err := coldtest.Listen(coldtest.Options{Clock: coldtest.NewVirtual(start, 0), Scale: y.scale, Scaled: coldClass})
	if err != nil {
		return nil, err
	}
	defer server.Close()
	u := server.User()
	st, err := s3.Open(ctx, s3.Options{Bucket: "firn-bill", Endpoint: server.Endpoint(), Region: server.Region(), Credentials: credentials.NewStaticCredentialsProvider(u.Access, u.Secret, "")})
	if err != nil {
		return nil, err
	}
	w := &world{y: y, v: v, server: server, st: wire.Cached(st, filepath.Join(base, "near"), 64<<20), src: filepath.Join(base, "src"), rng: rand.New(rand.NewPCG(1, 2)),
		dirs: state.Dirs{Cache: filepath.Join(base, "cache"), State: filepath.Join(base, "state")}}
	if err := errors.Join(os.MkdirAll(w.src, 0o700), st.Make(ctx)); err != nil {
		return nil, err
	}
	if err := w.live(ctx); err != nil {
		return nil, err
	}
	return w.result(start)
}

// live makes the first backup and then, each week, two more: one of what has changed, one of what has not.
func (w *world) live(ctx context.Context) error {
	if err := w.begin(ctx); err != nil {
		return err
	}
	for week := range w.y.weeks + 1 {
		changed, err := w.edit(week)
		if err != nil {
			return err
		}
		w.server.Advance(time.Minute)
		if err := w.store(ctx, changed); err != nil {
			return fmt.Errorf("week %d: %w", week, err)
		}
		if !w.v.whole {
			before := len(w.server.Requests())
			if err := w.store(ctx, nil); err != nil {
				return fmt.Errorf("week %d, unchanged: %w", week, err)
			}
			w.idle = max(w.idle, len(w.server.Requests())-before)
		}
		w.server.Advance(7 * 24 * time.Hour)
	}
	return nil
}

// edit writes files, all of them in the first week, and returns which.
func (w *world) edit(week int) (changed []string, err error) {
	for i := range w.y.files {
		if week > 0 && w.rng.Float64() >= w.y.churn/100 {
			continue
		}
		name := fmt.Sprintf("%02d/%05d", i%97, i)
		path := filepath.Join(w.src, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return nil, err
		}
		content := make([]byte, w.size())
		for i := range content {
			content[i] = byte(w.rng.Uint32())
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return nil, err
		}
		changed = append(changed, name)
	}
	return changed, nil
}

// size draws a size whose logarithm is evenly spread over six octaves on either side of the mean's, so that a tenth of the files has most of the bytes.
func (w *world) size() int {
	const octaves = 9.0
	span := math.Exp2(octaves)
	mean := w.y.gb * 1e9 / float64(w.y.files) / float64(w.y.scale)
	least := mean * octaves * math.Ln2 / (span - 1)
	return int(least * math.Exp2(octaves*w.rng.Float64()))
}

// begin makes the repository, with chunks as much smaller than usual as everything is.
func (w *world) begin(ctx context.Context) error {
	if w.v.whole {
		return nil
	}
	pass, err := keys.Passphrase([]byte("bill"), keys.MinWork)
	if err != nil {
		return err
	}
	w.access, err = repo.Init(ctx, w.st, repo.InitOptions{Keys: []repo.NewKey{{Label: "passphrase", Recipient: pass}}, HostName: "nas", DataClass: coldClass, Now: w.server.Clock().Now,
		Chunk: &format.Chunk{Min: 64 << 10, Avg: 96 << 10, Max: 256 << 10}, Bundle: &format.Bundle{Min: 32 << 10, Max: 128 << 10}})
	if err != nil {
		return err
	}
	w.header, err = repo.ReadHeader(ctx, w.st)
	return err
}

// store makes one backup.
func (w *world) store(ctx context.Context, changed []string) error {
	if w.v.whole {
		return w.putFiles(ctx, changed)
	}
	st := state.Open(w.dirs, w.access.Secrets.Repository, nil)
	r, err := repo.Open(ctx, w.st, repo.Access{Host: w.access.Host}, repo.Options{Now: w.server.Clock().Now, IndexDir: st.ChunkTableDir(), Spool: st.Spool(), Header: w.header})
	if err != nil {
		return err
	}
	if _, _, err := r.Standing(ctx); err != nil {
		return err
	}
	scope, err := r.LoadToWrite(ctx, w.access.Host.ScopeID)
	if err != nil {
		return err
	}
	tree, err := dir.Open(w.src, dir.Options{})
	if err != nil {
		return err
	}
	defer func() { _ = tree.Close() }()
	res, err := backup.Run(ctx, backup.Options{
		Repo: r, Scope: scope, State: st, Tree: tree, Names: tree.Names, Host: "nas", Detect: backup.DefaultDetect, PackSize: max(w.v.pack/w.y.scale, 64<<10), Now: w.server.Clock().Now,
		Source: snapshot.Origin{ID: snapshot.SourceID(w.access.Host.Scope().SourceKey(), "dir", "nas", "bill", nil), Kind: "dir", Name: "bill"},
		IsCold: func(class string) bool { return class == coldClass },
	})
	if err == nil && res.Unchanged != (changed == nil) {
		err = fmt.Errorf("unchanged: %v", res.Unchanged)
	}
	return err
}

// putFiles stores each changed file as an object of its own.
func (w *world) putFiles(ctx context.Context, changed []string) error {
	for _, name := range changed {
		raw, err := os.ReadFile(filepath.Join(w.src, filepath.FromSlash(name)))
		if err != nil {
			return err
		}
		key := fmt.Sprintf("%s/%d", name, w.server.Clock().Now().Unix())
		if err := w.st.Put(ctx, key, strings.NewReader(string(raw)), int64(len(raw)), store.PutOptions{Sum: digest.SumObject(raw), Class: coldClass}); err != nil {
			return err
		}
	}
	return nil
}

// result reads the bill.
func (w *world) result(start time.Time) (*result, error) {
	region, err := price.Default().Region("aws", "us-east-1")
	if err != nil {
		return nil, err
	}
	r := &result{bill: w.server.Bill(), most: w.idle, idle: "-"}
	if !w.v.whole {
		r.idle = fmt.Sprintf("%d requests", w.idle)
	}
	for _, l := range r.bill {
		switch {
		case l.What == price.WhatStorage && l.Class == coldClass:
			r.cold += l.Cost
		case l.What == price.WhatStorage:
			r.hot += l.Cost
		case l.What == price.WhatOverhead || l.What == price.WhatOverheadHot:
			r.overhead += l.Cost
		case l.What == price.WhatRetrieval:
			r.retrieved += l.Bytes
		case l.What == price.WhatEarly: // nobody deletes; the server settles at the end as if somebody did
		default:
			r.requests += l.Cost
		}
	}
	r.bill = withoutEarly(r.bill)
	objects, bytes := w.server.Objects("firn-bill", "data/")
	if w.v.whole {
		objects, bytes = w.server.Objects("firn-bill", "")
	}
	r.objects = objects
	billed := bytes * w.y.scale
	least := billed/largest + 1
	held := w.server.Clock().Now().Sub(start)
	r.floor = r.cold + region.Put(coldClass, least, billed).Cost +
		region.Hold(coldClass, least, 0, held).Total() // no more than the overhead of so many objects, held from the first day
	return r, nil
}

// withoutEarly leaves out what deleting everything today would cost.
func withoutEarly(b price.Bill) (out price.Bill) {
	for _, l := range b {
		if l.What != price.WhatEarly {
			out = append(out, l)
		}
	}
	return out
}
