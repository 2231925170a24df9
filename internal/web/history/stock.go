package history

import (
	"context"
	"time"

	"firn/internal/cost"
	"firn/internal/keys"
	"firn/internal/price"
	"firn/internal/repo"
	"firn/internal/web"
)

// unpriced is the prices where none are known: everything is there, and nothing costs anything.
var unpriced = price.Region{Name: "unknown", GB: 1 << 30}

// stock is what indexes know of packs.
type stock struct {
	region *price.Region // whose prices count; unpriced: none are known
	inv    *cost.Inventory
	births []cost.Birth
	growth cost.Growth
	class  string // in which new content is stored where its source does not say
}

// Priced reports whether anything has a price.
func priced(r *price.Region) bool {
	if r == &unpriced {
		return false
	}
	for i := range r.Classes {
		if r.Classes[i].Storage > 0 {
			return true
		}
	}
	return false
}

// scopes are those that have snapshots.
func (k *known) scopes() (ids []keys.ScopeID) {
	seen := map[keys.ScopeID]bool{}
	for i := range k.Items {
		id := keys.ScopeID(k.Items[i].Scope)
		if !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	return ids
}

// hour makes a key of a time, for what goes stale in hours.
func hour(t time.Time) uint64 { return uint64(t.Unix()/3600) * 0x9e3779b97f4a7c15 }

// stock adds up the indexes, which are read where that was not done yet.
func (p *pages) stock(ctx context.Context, a *web.Archive, k *known) (*stock, error) {
	return k.book.stock.get(ctx, k.stamp^hour(k.At), func() (*stock, error) {
		s := &stock{region: &unpriced}
		err := a.Use(ctx, func(o *web.Opened) error {
			if o.Region != nil {
				s.region = o.Region
			}
			s.class = o.Repo.Config().Class.Data
			return nil
		})
		if err != nil {
			return nil, err
		}
		e := cost.NewEstimator(s.region, k.At)
		for _, id := range k.scopes() {
			err := a.Scope(ctx, id, func(_ *web.Opened, scope *repo.ScopeState) error { return e.Add(scope.Set()) })
			if err != nil {
				return nil, err
			}
		}
		s.inv, s.births, s.growth = e.Inventory(), e.Births(), cost.GrowthOf(k.Items, k.At, recent)
		return s, nil
	})
}

// sharing is who would free how much. Which packs that are is forgotten: they may be millions.
type sharing struct {
	shares *cost.Shares
	unread []error
	region *price.Region
}

// sharing reads the pack sets.
func (p *pages) sharing(ctx context.Context, a *web.Archive, k *known) (*sharing, error) {
	return k.book.sharing.get(ctx, k.stamp^hour(k.At.Truncate(24*time.Hour)), func() (*sharing, error) {
		s := &sharing{region: &unpriced}
		var all cost.Sharing
		for _, id := range k.scopes() {
			err := a.Scope(ctx, id, func(o *web.Opened, scope *repo.ScopeState) error {
				if o.Region != nil {
					s.region = o.Region
				}
				return all.Add(ctx, scope, k.Items)
			})
			if err != nil {
				return nil, err
			}
		}
		s.shares, s.unread = all.Sum(s.region, k.At), all.Unread
		return s, nil
	})
}

// counted is what a listing found.
type counted struct {
	inv   *cost.Inventory
	stamp uint64 // of the snapshots at the time
	price price.Money
}
