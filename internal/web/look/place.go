package look

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"firn/internal/browse"
	"firn/internal/price"
	"firn/internal/store"
	"firn/internal/thaw"
	"firn/internal/web"
)

// What finding out where content lies may ask of the store.
const (
	mostHeads = 32 // packs asked about; of a file in more cold ones nobody is asked
	headTime  = 5 * time.Second
	copyTime  = time.Minute // that an answer counts
	mostCopy  = 4096        // answers kept
)

// States of content.
const (
	nothing = "nothing" // a file without content
	hot     = "hot"
	thawed  = "thawed"
	thawing = "thawing"
	cold    = "cold"
	lost    = "lost" // some of it is in no pack that is known
)

// place is where the content of a file lies.
type place struct {
	State   string // of the part that is worst off
	Packs   int
	Bytes   int64 // of the packs
	Wanted  int64 // of them
	Classes []inClass
	Until   time.Time // thawed: when the first copy expires; zero: unknown
	Unasked bool      // whether it is thawed was not asked, or could not be found out
	Ways    []way     // to thaw what is cold
}

// inClass is the packs of one class.
type inClass struct {
	Name  string
	Packs int
	Bytes int64
	Cold  bool
}

// way is one tier, with its price at most.
type way struct {
	Tier  string
	Price string
	Time  time.Duration // that it takes at most, as a rule
}

// Readable reports whether the content can be read for nothing, at once.
func (p *place) Readable() bool { return p.State == nothing || p.State == hot || p.State == thawed }

// where finds out where the content of a file, or its first most bytes (0: all), lies: by the index, and of packs that it has in a cold class by asking the store for their state, which costs as little as a read of nothing.
func (x *room) where(ctx context.Context, o *web.Opened, v *browse.View, path []byte, most int64) (*place, error) {
	packs, missing, err := v.Packs(ctx, path, browse.CatOptions{Length: most})
	if err != nil {
		return nil, err
	}
	p := &place{State: hot, Packs: len(packs)}
	if len(packs) == 0 {
		p.State = nothing
	}
	_, thaws := store.As[store.Thawer](o.Store)
	moves := v.Snapshot.Storage.Then != "" // firn itself may have moved them since
	var ask []browse.Pack
	for i := range packs {
		k := &packs[i]
		p.Bytes += k.Size
		p.Wanted += k.Wanted
		p.class(k, thaws && thaw.Cold(o.Region, k.Class))
		if thaws && (moves || thaw.Cold(o.Region, k.Class)) {
			ask = append(ask, *k)
		}
	}
	if len(ask) > mostHeads {
		p.State, p.Unasked = cold, true
		p.Ways = ways(o.Region, ask)
	} else if err := x.ask(ctx, o, p, ask); err != nil {
		return nil, err
	}
	if missing > 0 {
		p.State = lost
	}
	return p, nil
}

func (p *place) class(k *browse.Pack, cold bool) {
	i := slices.IndexFunc(p.Classes, func(c inClass) bool { return c.Name == k.Class })
	if i < 0 {
		i = len(p.Classes)
		p.Classes = append(p.Classes, inClass{Name: k.Class, Cold: cold})
	}
	p.Classes[i].Packs++
	p.Classes[i].Bytes += k.Size
}

// ask asks the store about packs.
func (x *room) ask(ctx context.Context, o *web.Opened, p *place, packs []browse.Pack) error {
	ctx, cancel := context.WithTimeout(ctx, headTime)
	defer cancel()
	var frozen []browse.Pack
	for i := range packs {
		k := &packs[i]
		info, err := x.copies.get(ctx, o.Store, k.Object, x.s.Options().Now())
		switch {
		case errors.Is(err, store.ErrNotExist):
			return err
		case err != nil:
			p.State, p.Unasked = cold, true
			frozen = append(frozen, *k)
		case !thaw.Cold(o.Region, info.Class):
		case info.Copy.State == store.Thawed:
			if p.State == hot {
				p.State = thawed
			}
			if e := info.Copy.Expires; !e.IsZero() && (p.Until.IsZero() || e.Before(p.Until)) {
				p.Until = e
			}
		case info.Copy.State == store.Thawing:
			if p.State != cold {
				p.State = thawing
			}
		default:
			p.State = cold
			k.Class = info.Class
			frozen = append(frozen, *k)
		}
	}
	p.Ways = ways(o.Region, frozen)
	return nil
}

// ways is what it costs to thaw packs, tier by tier: requests, retrieval and copies for a day, without the way home.
func ways(r *price.Region, packs []browse.Pack) (out []way) {
	if r == nil || len(packs) == 0 {
		return nil
	}
	var tiers []string
	for i := range packs {
		if c, ok := r.Class(packs[i].Class); ok {
			for _, t := range c.Tiers {
				if !slices.Contains(tiers, t.Name) {
					tiers = append(tiers, t.Name)
				}
			}
		}
	}
	for _, tier := range tiers {
		var total price.Money
		var last time.Duration
		known := true
		for i := range packs {
			c, ok := r.Class(packs[i].Class)
			if !ok {
				known = false
				break
			}
			real := thaw.Nearest(c, store.Tier(tier))
			bill, err := r.Thaw(c.Name, string(real), 1, packs[i].Size, 2) // until the midnight after one day
			if err != nil {
				known = false
				break
			}
			total += bill.Total()
			if t, ok := c.Tier(string(real)); ok {
				last = max(last, t.Last)
			}
		}
		if known {
			out = append(out, way{Tier: strings.ToLower(tier), Price: r.Format(total), Time: last})
		}
	}
	slices.SortFunc(out, func(a, b way) int { return int(b.Time/time.Second) - int(a.Time/time.Second) })
	return out
}

// copies remembers for a while what the store said of packs.
type copies struct {
	mu    sync.Mutex
	known map[string]answer
}

type answer struct {
	info store.Info
	at   time.Time
}

func (c *copies) get(ctx context.Context, st store.Store, name string, now time.Time) (store.Info, error) {
	key := st.Location() + "\x00" + name
	c.mu.Lock()
	a, ok := c.known[key]
	c.mu.Unlock()
	if ok && now.Sub(a.at) < copyTime {
		return a.info, nil
	}
	info, err := st.Stat(ctx, name)
	if err != nil {
		return info, fmt.Errorf("state of a pack: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil || len(c.known) >= mostCopy {
		c.known = map[string]answer{}
	}
	c.known[key] = answer{info, now}
	return info, nil
}
