package check

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"firn/internal/digest"
	"firn/internal/event"
	"firn/internal/par2"
	"firn/internal/repo"
	"firn/internal/store"
)

// trySums is after how many objects without one it is believed that the store keeps no sums.
const trySums = 16

// Sums compares the stored sums that a plan has drawn.
func (c *Check) Sums(ctx context.Context, p *Plan) error {
	var done, unknown atomic.Int64
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(c.o.Workers * 2)
	for _, s := range p.sums {
		if n := unknown.Load(); n >= trySums && n == done.Load() {
			c.result.SumsUnknown += int64(len(p.sums)) - n
			break
		}
		g.Go(func() error {
			info, err := c.o.Store.Stat(gctx, s.name)
			if errors.Is(err, store.ErrNotExist) {
				return nil // the listing has told, or it was taken away meanwhile
			}
			if err != nil {
				return err
			}
			if info.Sum.IsZero() {
				unknown.Add(1)
			}
			n := done.Add(1)
			c.o.Report.Emit(event.Progress{Phase: "sums", FilesDone: n, FilesTotal: int64(len(p.sums)), Problems: c.count()})
			f := &repo.Finding{Object: s.name, Pack: s.pack, Volume: s.vol}
			switch {
			case info.Size != s.size && (!s.pack.IsZero() || s.vol):
				f.Kind, f.Err, f.Whole = repo.WrongSize, fmt.Errorf("object has %d bytes instead of %d", info.Size, s.size), !s.vol
			case !info.Sum.IsZero() && info.Sum != s.sum:
				f.Kind, f.Err = repo.WrongSum, fmt.Errorf("the store says that its SHA-256 is %v", info.Sum)
				f.Whole = !s.pack.IsZero() && !s.vol
			default:
				return nil
			}
			c.note(f)
			return nil
		})
	}
	err := g.Wait()
	c.result.Sums += done.Load() - unknown.Load()
	c.result.SumsUnknown += unknown.Load()
	return err
}

func (c *Check) count() int64 {
	if c.audit != nil {
		return int64(c.audit.Count())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return int64(len(c.found))
}

// Read fetches and verifies the packs that a plan has chosen among those that need no thawing, and their recovery volumes.
func (c *Check) Read(ctx context.Context, p *Plan) error {
	_, err := c.readItems(ctx, p.hot, "read")
	return err
}

// readItems verifies packs and volumes, and returns those that were cold after all.
func (c *Check) readItems(ctx context.Context, items []item, phase string) (cold []string, err error) {
	progress := event.Progress{Phase: phase, FilesTotal: int64(len(items))}
	for _, it := range items {
		progress.BytesTotal += it.size + it.volume
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(c.o.Workers)
	for _, it := range items {
		g.Go(func() error {
			late, err := c.readItem(gctx, it)
			c.mu.Lock()
			defer c.mu.Unlock()
			cold = append(cold, late...)
			progress.FilesDone++
			progress.BytesDone += it.size + it.volume
			progress.BytesGot = progress.BytesDone
			progress.Current = it.object
			c.o.Report.Emit(progress)
			return err
		})
	}
	err = g.Wait()
	c.result.Left += int64(len(cold))
	return cold, err
}

// readItem verifies one pack and its volume.
func (c *Check) readItem(ctx context.Context, it item) (cold []string, err error) {
	if it.size > 0 {
		f, err := c.readPack(ctx, it)
		switch {
		case errors.Is(err, store.ErrCold):
			return []string{it.object}, nil
		case err != nil:
			return nil, err
		}
		if f != nil {
			f.Pack = it.pack
			c.note(f)
		}
		c.mu.Lock()
		c.result.Packs++
		c.result.PackBytes += it.size
		c.verified[it.pack] = true
		if f == nil || f.Kind != repo.Missing {
			c.o.History.add(it.pack, c.o.Now(), f != nil)
		}
		c.mu.Unlock()
	}
	if it.volume == 0 {
		return nil, nil
	}
	f, err := c.readVolume(ctx, it)
	if errors.Is(err, store.ErrCold) {
		return []string{it.object + volumeSuffix}, nil
	}
	if f != nil {
		f.Pack, f.Volume = it.pack, true
		c.note(f)
	}
	c.mu.Lock()
	c.result.Volumes++
	c.result.VolumeBytes += it.volume
	c.mu.Unlock()
	return nil, err
}

const volumeSuffix = ".par2"

func (c *Check) readPack(ctx context.Context, it item) (*repo.Finding, error) {
	open := repo.OpenStored(c.o.Store, it.object)
	if it.scope == nil {
		f, err := repo.VerifySum(ctx, it.object, open, it.pack, -1)
		return f, err
	}
	p, ok, err := it.scope.FindPack(it.pack)
	if err != nil || !ok {
		return nil, err
	}
	v := c.verifier(it.scope)
	defer c.giveBack(it.scope, v)
	return v.Pack(ctx, it.object, &p.Info, open, p.Size)
}

// verifier returns one that is idle, or a new one.
func (c *Check) verifier(a *repo.AuditScope) *repo.Verifier {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.idle[a]
	if len(all) == 0 {
		return a.NewVerifier()
	}
	c.idle[a] = all[:len(all)-1]
	return all[len(all)-1]
}

func (c *Check) giveBack(a *repo.AuditScope, v *repo.Verifier) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idle[a] = append(c.idle[a], v)
}

// maxVolume is how long a recovery volume may be to be held in memory, in bytes.
const maxVolume = 64 << 20

// readVolume compares a recovery volume with its sum in the index, as far as that is known, and looks whether it is one of its pack.
func (c *Check) readVolume(ctx context.Context, it item) (*repo.Finding, error) {
	name := it.object + volumeSuffix
	open := repo.OpenStored(c.o.Store, name)
	src := par2.Source{Size: it.volume}
	if it.volume <= maxVolume {
		rc, err := open(ctx, 0, -1)
		if errors.Is(err, store.ErrNotExist) {
			return &repo.Finding{Object: name, Kind: repo.Missing}, nil
		}
		if err != nil {
			return nil, err
		}
		raw, err := io.ReadAll(io.LimitReader(rc, maxVolume+1))
		_ = rc.Close()
		if err != nil {
			return nil, store.Fail("get", name, err)
		}
		open = repo.OpenBytes(bytes.NewReader(raw), int64(len(raw)))
		src = par2.Source{Data: bytes.NewReader(raw), Size: int64(len(raw))}
	} else {
		src.Data = &ranges{ctx, open}
	}
	if !it.sum.IsZero() {
		if f, err := repo.VerifySum(ctx, name, open, it.sum, it.volume); f != nil || err != nil {
			return f, err
		}
	}
	bad := func(err error) (*repo.Finding, error) {
		return &repo.Finding{Object: name, Kind: repo.WrongBody, Err: err}, nil
	}
	set, err := par2.Parse(src)
	if err != nil {
		if ctx.Err() != nil || store.IsTemporary(err) || errors.Is(err, store.ErrCold) {
			return nil, err
		}
		return bad(err)
	}
	switch want := it.pack.String(); {
	case len(set.Files) != 1 || set.Files[0].Name != want || it.right > 0 && set.Files[0].Size != it.right:
		return bad(errors.New("it is the recovery volume of something else"))
	case set.Recovery() == 0:
		return bad(errors.New("it has no recovery slice that is whole"))
	}
	return nil, nil
}

// ranges reads an object by ranges.
type ranges struct {
	ctx  context.Context
	open repo.Opener
}

func (r *ranges) ReadAt(p []byte, off int64) (int, error) {
	rc, err := r.open(r.ctx, off, int64(len(p)))
	if errors.Is(err, store.ErrRange) {
		return 0, io.EOF
	}
	if err != nil {
		return 0, err
	}
	defer func() { _ = rc.Close() }()
	n, err := io.ReadFull(rc, p)
	if err == io.ErrUnexpectedEOF {
		err = io.EOF
	}
	return n, err
}

// Fetch verifies cold packs and volumes that can be read for now, as the Fetch of a thaw job: it returns those that were cold after all. It can be called again and again.
func (c *Check) Fetch(ctx context.Context, objects []string) (cold []string, err error) {
	byName := map[digest.Object]item{}
	for _, it := range c.items {
		byName[it.pack] = it
	}
	var items []item
	for _, name := range objects {
		o, ok := repo.ParseName(name)
		it, known := byName[o.Sum]
		if !ok || !known {
			continue // gone since: the listing tells
		}
		if o.Volume {
			it.size = 0
		} else {
			it.volume = 0
		}
		if o.Volume && it.volume == 0 {
			continue
		}
		items = append(items, it)
	}
	return c.readItems(ctx, items, "read")
}

// remember adds the damage that earlier runs found in packs that this one has not read, and that nobody has replaced since.
func (c *Check) remember() {
	for _, it := range c.items {
		at, damaged := c.o.History.last(it.pack)
		if damaged && !c.verified[it.pack] && !it.stored.After(at.Add(time.Second)) {
			c.note(&repo.Finding{Object: it.object, Kind: repo.WrongSum, Pack: it.pack, Whole: true, Err: &EarlierError{at}})
		}
	}
}

// EarlierError tells that an earlier check has found the damage, and this one has not read the pack.
type EarlierError struct{ At time.Time }

func (e *EarlierError) Error() string {
	return "damaged when it was read on " + strings.Replace(e.At.UTC().Format("2006-01-02 15:04 UTC"), " 00:00", "", 1)
}
