//go:build unix

package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"filippo.io/age"
	"golang.org/x/sync/errgroup"

	"firn/internal/cdc"
	"firn/internal/chunk"
	"firn/internal/digest"
	"firn/internal/envelope"
	"firn/internal/index"
	"firn/internal/keys"
	"firn/internal/manifest"
	"firn/internal/repo"
	"firn/internal/sign"
	"firn/internal/snapshot"
	"firn/internal/source"
	"firn/internal/state"
	"firn/internal/store"
	"firn/internal/store/local"
	"firn/internal/wire"
)

// What is made up. Every third file has two chunks, as files of about 1 MB do.
const (
	fileSize  = 1_000_000
	perFolder = 100
	packSize  = 256 << 20
	perPack   = 340     // chunks, of 790 KB on average
	perIndex  = 174_080 // chunks of an index object: of 512 packs, as eight backups of 64 leave
	coldClass = "DEEP_ARCHIVE"
)

// A key that protects nothing.
const identity = "AGE-SECRET-KEY-17X2WYQEANACWAP8ENESJ8QG6AQCWF0GVP3D44ZT0YQKMYPMNSM3SN5RP0C"

// at is when all files were written, and began when they were backed up.
var (
	at    = time.Date(2025, 3, 4, 5, 6, 7, 0, time.UTC)
	began = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
)

// world is a repository of made-up files and the machine that they lie on.
type world struct {
	dir   string
	files int

	disk   *counting
	access repo.Access
	state  *state.State
	repo   *repo.Repository
}

// open opens it, or makes the empty repository.
func (w *world) open(ctx context.Context, anew bool) error {
	st, err := local.Open(filepath.Join(w.dir, "repo"), local.Options{NoSync: true})
	if err != nil {
		return err
	}
	id, err := age.ParseX25519Identity(identity)
	if err != nil {
		return err
	}
	w.disk = &counting{Store: st}
	if anew {
		to, err := keys.ParseRecipient(id.Recipient().String(), nil)
		if err != nil {
			return err
		}
		maker, ok := store.As[store.Maker](st)
		if !ok {
			return errors.New("a folder that cannot be made")
		}
		if err := maker.Make(ctx); err != nil {
			return err
		}
		if w.access, err = repo.Init(ctx, w.disk, repo.InitOptions{Keys: []repo.NewKey{{Label: "k", Recipient: to}}, HostName: "nas"}); err != nil {
			return err
		}
	} else if w.access.Secrets, err = repo.Unlock(ctx, w.disk, id); err != nil {
		return err
	}
	header, err := repo.ReadHeader(ctx, w.disk)
	if err != nil {
		return err
	}
	w.state = state.Open(state.Dirs{Cache: filepath.Join(w.dir, "cache"), State: filepath.Join(w.dir, "state")}, header.ID, func(err error) { fmt.Println("state:", err) })
	if anew {
		if err := w.state.SetHostKey(w.access.Host); err != nil {
			return err
		}
	} else if w.access.Host, err = w.state.HostKey(); err != nil {
		return err
	}
	near := wire.Cached(w.disk, w.state.StoreCacheDir(), 1<<30) // as for a bucket
	w.repo, err = repo.Open(ctx, near, w.access, repo.Options{IndexDir: w.state.ChunkTableDir(), Spool: w.state.Spool()})
	return err
}

// scope loads the scope of the machine.
func (w *world) scope(ctx context.Context) (*repo.ScopeState, error) {
	return w.repo.Load(ctx, w.access.Host.ScopeID, true)
}

// origin is the source.
func (w *world) origin() snapshot.Origin {
	o := snapshot.Origin{Kind: "dir", Path: []byte("/srv")}
	o.ID = snapshot.SourceID(w.access.Host.Scope().SourceKey(), o.Kind, "nas", "", o.Path)
	return o
}

// chunks is how many chunks the first n files have.
func chunks(n int) int { return n + (n+2)/3 }

func chunkID(i int) (id digest.Chunk) {
	for k := 0; k < 32; k += 8 {
		binary.LittleEndian.PutUint64(id[k:], mix(uint64(i)*4+uint64(k/8)+1))
	}
	return id
}

// mix spreads a number over 64 bits (splitmix64, Steele, Lea and Flood 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// packName is the name of a pack of content.
func packName(i int) digest.Object { return digest.Object(chunkID(-1 - i)) }

func (w *world) packs() int { return (chunks(w.files) + perPack - 1) / perPack }

// name is the path of a file or, at the first of a folder, also that of the folder.
func name(dst []byte, i int) (path []byte, folder int) {
	dst = fmt.Appendf(dst[:0], "share-%03d/folder-%07d", i/perFolder/1000, i/perFolder)
	folder = len(dst)
	return fmt.Appendf(dst, "/DSC%09d.jpeg", i), folder
}

// walk tells of all entries in the order of a manifest: folder is true for folders, for files i is their number.
func (w *world) walk(fn func(path []byte, folder bool, i int) error) error {
	if err := fn(nil, true, 0); err != nil {
		return err
	}
	var buf []byte
	for i := range w.files {
		var n int
		buf, n = name(buf, i)
		if i%(perFolder*1000) == 0 {
			if err := fn(buf[:bytes.IndexByte(buf, '/')], true, 0); err != nil {
				return err
			}
		}
		if i%perFolder == 0 {
			if err := fn(buf[:n], true, 0); err != nil {
				return err
			}
		}
		if err := fn(buf, false, i); err != nil {
			return err
		}
	}
	return nil
}

// build makes a repository with one snapshot of all.
func (w *world) build(ctx context.Context) error {
	if err := w.open(ctx, true); err != nil {
		return err
	}
	if err := w.putIndexes(ctx); err != nil {
		return err
	}
	scope, err := w.scope(ctx)
	if err != nil {
		return err
	}
	out, err := w.repo.NewWriter(ctx, scope, repo.WriterOptions{Lanes: 1, Uploads: 4})
	if err != nil {
		return err
	}
	tree, err := w.putManifest(out)
	if err != nil {
		return err
	}
	names := make([]digest.Object, w.packs())
	for i := range names {
		names[i] = packName(i)
	}
	out.ReferencePacks(names)
	if err := errors.Join(out.SendPacks(ctx), out.IndexPacks(ctx)); err != nil {
		return err
	}
	s := &snapshot.Snapshot{ID: snapshot.ID{1}, Start: began, End: began.Add(time.Hour), Host: "nas", HostID: [16]byte(w.access.Host.Host), Source: w.origin(), Scope: w.access.Host.ScopeID, Sequence: 1, Complete: true,
		Manifest: snapshot.Tree(tree), Storage: snapshot.Storage{Class: coldClass}}
	s.Stats.Files, s.Stats.Bytes = int64(w.files), int64(w.files)*fileSize
	item, err := out.Publish(ctx, s)
	if err != nil {
		return err
	}
	return out.Confirm(ctx, item)
}

// putIndexes stores indexes of packs that are not there.
func (w *world) putIndexes(ctx context.Context) error {
	scope := w.access.Host.ScopeID
	id, err := w.access.Host.Scope().IndexIdentity()
	if err != nil {
		return err
	}
	k := envelope.Keys{Signer: w.access.Host.Signer(), Recipients: []age.Recipient{id.Recipient(), w.access.Secrets.DataRecipient()}}
	var g errgroup.Group
	g.SetLimit(2)
	each := perIndex / perPack
	for first := 0; first < w.packs(); first += each {
		g.Go(func() error {
			body, err := index.AppendHeader(nil, index.Header{Author: [16]byte(w.access.Host.Host)})
			for i := first; i < min(first+each, w.packs()) && err == nil; i++ {
				p := index.Pack{Name: packName(i), Kind: chunk.Data, Size: packSize, Class: coldClass, Birth: began, Prefix: make([]byte, 184)}
				for c := i * perPack; c < min((i+1)*perPack, chunks(w.files)); c++ {
					p.Chunks = append(p.Chunks, chunk.Ref{ID: chunkID(c), Frame: 780_000, Raw: 780_000})
				}
				body, err = index.AppendPack(body, &p)
			}
			if err != nil {
				return err
			}
			object, sum, err := envelope.Seal(sign.Index, body, k)
			if err != nil {
				return err
			}
			return w.disk.Put(ctx, fmt.Sprintf("index/%v/%016x-%v", scope, 0x0006000000000000+int64(first), sum), bytes.NewReader(object), int64(len(object)), store.PutOptions{})
		})
	}
	return g.Wait()
}

// putManifest stores the manifest.
func (w *world) putManifest(out *repo.Writer) (manifest.Tree, error) {
	hash := digest.NewHasher(w.access.Host.Scope().ChunkKey(0))
	tree := manifest.NewBuilder(cdc.NewTable(w.access.Host.Scope().GearTable()).Hash, func(raw []byte) (digest.Chunk, error) {
		id := hash.Sum(raw)
		if _, err := out.Put(0, chunk.Meta, id, raw); err != nil {
			return id, err
		}
		return id, out.Reference(id, chunk.Meta)
	})
	at := manifest.Time{Sec: at.Unix()}
	folder := manifest.Entry{Type: manifest.Dir, Mode: 0o755, Mtime: at}
	file := manifest.Entry{Mode: 0o644, Size: fileSize}
	err := w.walk(func(path []byte, isFolder bool, i int) error {
		if isFolder {
			folder.Path = path
			return tree.Add(&folder)
		}
		id := chunkID(chunks(i))
		file.Path, file.Mtime, file.Hash = path, fileTime(i), manifest.ShortHash(id)
		file.Content = append(file.Content[:0], manifest.Piece{Chunk: id, Length: fileSize})
		if i%3 == 0 {
			file.Content[0].Length = 780_000
			file.Content = append(file.Content, manifest.Piece{Chunk: chunkID(chunks(i) + 1), Length: fileSize - 780_000})
		}
		return tree.Add(&file)
	})
	if err != nil {
		return manifest.Tree{}, err
	}
	return tree.Finish()
}

func fileTime(i int) manifest.Time {
	return manifest.Time{Sec: at.Unix() + int64(i), Nsec: int32(mix(uint64(i)) % 1e9)}
}

// made is the tree, as a backup walks it.
type made struct{ w *world }

// Walk implements source.Tree.
func (m made) Walk(ctx context.Context, fn func(*source.Entry) error) error {
	var e source.Entry
	n := uint64(0)
	return m.w.walk(func(path []byte, folder bool, i int) error {
		n++
		e.Path = path
		e.Stat = source.Stat{Type: source.File, Mode: 0o644, Nlink: 1, Dev: 1, Inode: n, Size: fileSize}
		t := fileTime(i)
		if folder {
			e.Stat.Type, e.Stat.Mode, e.Stat.Size = source.Dir, 0o755, 0
			t = manifest.Time{Sec: at.Unix()}
		}
		e.Stat.MtimeSec, e.Stat.MtimeNsec = t.Sec, t.Nsec
		e.Stat.CtimeSec, e.Stat.CtimeNsec = at.Unix(), 1
		if n%4096 == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		return fn(&e)
	})
}

// Details implements source.Tree.
func (made) Details([]byte, *source.Stat) (source.Details, error) { return source.Details{}, nil }

// Open implements source.Tree. Nothing is to be read.
func (made) Open(path []byte) (source.Content, error) {
	return nil, fmt.Errorf("%q is read, though nothing has changed", path)
}

// Close implements source.Tree.
func (made) Close() error { return nil }

// counting is a store that counts requests, those for listings by the thousand, and lists packs of content that are not there.
type counting struct {
	store.Store
	n     requests
	cold  []digest.Object // in order; nil: none are listed
	where string          // prefix of their names
}

// requests are what S3 bills by the thousand.
type requests struct{ List, Get, Put int }

// Unwrap implements store.Wrapper.
func (c *counting) Unwrap() store.Store { return c.Store }

func (c *counting) listCold(n int) {
	for i := range n {
		c.cold = append(c.cold, packName(i))
	}
	slices.SortFunc(c.cold, func(a, b digest.Object) int { return cmp.Compare(a.String(), b.String()) })
}

func (c *counting) pack(i int) store.Info {
	text := c.cold[i].String()
	return store.Info{Name: c.where + text[:2] + "/" + text, Size: packSize, Class: coldClass, Modified: began}
}

func hasPrefix(name, prefix, after string) bool {
	return name > after && strings.HasPrefix(name, prefix)
}
