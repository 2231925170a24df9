package replay

import (
	"context"
	"errors"

	"firn/internal/digest"
	"firn/internal/repo"
	"firn/internal/source"
	"firn/internal/thaw"
)

// Needs is what a replay needs. Sizes are bytes.
type Needs struct {
	Links    int64  `json:"links"`
	Bytes    int64  `json:"bytes"` // of the streams
	Chunks   int64  `json:"chunks"`
	Requests int64  `json:"requests"` // ranged reads of packs
	Download int64  `json:"download"` // bytes that they fetch
	Missing  int64  `json:"missing"`  // chunks that are in no known pack
	Packs    []Pack `json:"packs"`    // in order of first need

	Streams []StreamNeed `json:"streams"` // in their order
}

// StreamNeed is one stream of a plan.
type StreamNeed struct {
	Path     string `json:"path"`
	Snapshot string `json:"snapshot"`
	Of       string `json:"of,omitempty"`
	At       string `json:"at,omitempty"`
	FromAt   string `json:"from_at,omitempty"`
	Size     int64  `json:"size"`
	Packs    int    `json:"packs"`
	Missing  int64  `json:"missing,omitempty"` // chunks
}

// Pack is what a replay needs of one pack.
type Pack struct {
	Object   string `json:"object"`
	Class    string `json:"class"`
	Size     int64  `json:"size"` // of the whole object
	Requests int64  `json:"requests"`
	Download int64  `json:"download"`

	lastLink int   // that needs it
	lastOff  int64 // of that stream: nothing behind it needs the pack
}

// plan is Needs, and which packs each link needs.
type plan struct {
	Needs
	links []*link
	packs [][]int32 // of each link, indexes of Packs in order of first need
}

// Plan tells what it takes to replay links, which Missing has named. It reads manifests and the index and nothing else, and takes about 250 bytes of memory for each pack.
func (s *Streams) Plan(ctx context.Context, missing []source.Link) (*Needs, error) {
	p, err := s.plan(ctx, missing)
	if err != nil {
		return nil, err
	}
	return &p.Needs, nil
}

// Objects is what a replay wants of the store, in the order of first need, as package thaw takes it.
func (n *Needs) Objects() []thaw.Need {
	needs := make([]thaw.Need, len(n.Packs))
	for i := range n.Packs {
		p := &n.Packs[i]
		needs[i] = thaw.Need{Object: p.Object, Class: p.Class, Size: p.Size, Wanted: p.Download, Gets: p.Requests}
	}
	return needs
}

func (s *Streams) plan(ctx context.Context, missing []source.Link) (*plan, error) {
	links, err := s.own(missing)
	if err != nil {
		return nil, err
	}
	p := &planner{s: s, plan: &plan{links: links, packs: make([][]int32, len(links))}, slots: map[digest.Object]int32{}, numbers: map[int]int32{}}
	p.Packs, p.Streams = []Pack{}, []StreamNeed{}
	for i, l := range links {
		if err := p.link(ctx, i, l); err != nil {
			return nil, err
		}
	}
	return p.plan, nil
}

// planner goes through streams as readers do, and fetches nothing.
type planner struct {
	s *Streams
	*plan
	slots   map[digest.Object]int32 // of Packs
	numbers map[int]int32           // of Packs, by the index's numbers: several may be of one pack
}

func (p *planner) link(ctx context.Context, i int, l *link) error {
	need := StreamNeed{Path: l.Path, Snapshot: l.item.ID.String(), Of: l.Point.Of, At: l.Point.At, FromAt: l.Point.FromAt, Size: l.Size}
	seen := map[int32]struct{}{}
	missing := p.Missing
	c := newCutter(p.s.o.Scope, l, nil)
	for {
		w, err := c.next()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return l.error(err, isLost(err))
		}
		if w == nil {
			break
		}
		if err := p.window(i, w, seen); err != nil {
			return err
		}
	}
	p.Links++
	p.Bytes += l.Size
	need.Packs, need.Missing = len(seen), p.Missing-missing
	p.Streams = append(p.Streams, need)
	return nil
}

// window counts what a window fetches, and notes until where its packs are needed.
func (p *planner) window(i int, w *window, seen map[int32]struct{}) error {
	for _, h := range w.uses {
		if errors.Is(h.err, repo.ErrUnknownChunk) {
			p.Missing++
		}
	}
	p.Chunks += int64(len(w.fetch))
	return w.groups(func(number int, chunks []*held) error {
		slot, err := p.slot(number)
		if err != nil {
			return err
		}
		if _, ok := seen[slot]; !ok {
			seen[slot] = struct{}{}
			p.packs[i] = append(p.packs[i], slot)
		}
		at := &p.Packs[slot]
		at.lastLink, at.lastOff = i, w.to
		for rest := wants(chunks); len(rest) > 0; {
			n := repo.OneRequest(rest)
			first, last := rest[0].Loc, rest[n-1].Loc
			bytes := int64(last.Offset) + int64(last.Frame) - int64(first.Offset)
			at.Requests++
			at.Download += bytes
			p.Requests++
			p.Download += bytes
			rest = rest[n:]
		}
		return nil
	})
}

// slot returns the index in Packs of the pack with this number in the index.
func (p *planner) slot(number int) (int32, error) {
	if slot, ok := p.numbers[number]; ok {
		return slot, nil
	}
	info, err := p.s.o.Scope.Set().Pack(number)
	if err != nil {
		return 0, err
	}
	slot, ok := p.slots[info.Name]
	if !ok {
		slot = int32(len(p.Packs))
		p.slots[info.Name] = slot
		p.Packs = append(p.Packs, Pack{Object: repo.PackName(p.s.o.Scope, &info), Class: info.Class, Size: info.Size})
	}
	p.numbers[number] = slot
	return slot, nil
}

// packName is the object of the pack with this number in the index.
func (s *Streams) packName(number int) (string, error) {
	info, err := s.o.Scope.Set().Pack(number)
	if err != nil {
		return "", err
	}
	return repo.PackName(s.o.Scope, &info), nil
}
