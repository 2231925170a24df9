package wizard

import (
	"context"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"firn/internal/price"
	"firn/internal/repo"
	"firn/internal/restore"
	"firn/internal/snapshot"
	"firn/internal/store"
	"firn/internal/thaw"
	"firn/internal/web"
)

// plan is what a restore needs, and what it costs.
type plan struct {
	Needs  *restore.Needs
	Absent [][]byte // paths that the snapshot does not have
	Region *price.Region
	Groups []thaw.Group // packs by class and state, where the store has cold classes
	Cold   bool         // something has to be thawed before it can be read, or is being
	Thawed bool         // something lies in a cold class, and can be read for now
	Gone   int64        // packs that the store does not have
	Offers []offer      // cheapest first
	Link   float64      // bytes a second that times are for; 0: assumed
}

// offer is one way to have everything.
type offer struct {
	Tier    string
	Route   string
	Total   price.Money // of thawing, and of what leaves the store
	Thaw    price.Money
	Egress  price.Money
	Limit   string // that goes to the command as --max-cost; empty: the price is not known
	First   time.Duration
	Last    time.Duration
	Days    int
	Windows int
	Objects int64
	Bytes   int64
	Unknown []string
}

// makePlan plans as the command does. hold: what is cold is thawed first, and fetched by another command.
func (z *wizard) makePlan(ctx context.Context, a *web.Archive, it snapshot.Item, paths *restore.Paths, hold bool) (*plan, error) {
	p := &plan{}
	err := a.Scope(ctx, it.Scope, func(o *web.Opened, scope *repo.ScopeState) error {
		if !o.Reads {
			return refused(http.StatusForbidden, "start the pages with a passphrase or an identity file that opens the repository", "the key at hand writes, and cannot read")
		}
		p.Region = o.Region
		ro := restore.Options{Repo: o.Repo, Scope: scope, Snapshot: it.Snapshot, Paths: paths}
		var err error
		if p.Absent, err = restore.Absent(ctx, ro); err != nil {
			return err
		}
		if paths != nil && paths.Len() == 0 {
			return refused(http.StatusNotFound, "", "nothing of this basket is in the snapshot")
		}
		if p.Needs, err = restore.Plan(ctx, ro); err != nil {
			return err
		}
		return p.price(ctx, o, hold, float64(z.site.Options().Link))
	})
	return p, err
}

// price finds out what lies cold, and what it costs to have it.
func (p *plan) price(ctx context.Context, o *web.Opened, hold bool, down float64) error {
	if _, ok := store.As[store.Thawer](o.Store); !ok {
		return nil
	}
	needs := restore.Packs(p.Needs)
	survey, err := thaw.Look(ctx, o.Store, needs, thaw.LookOptions{Region: o.Region})
	if err != nil {
		return err
	}
	p.Groups, p.Gone = survey.Groups, survey.Missing.Objects
	for _, g := range survey.Groups {
		p.Cold = p.Cold || g.Cold && g.Copy != store.Thawed
		p.Thawed = p.Thawed || g.Cold && g.Copy == store.Thawed
	}
	region := o.Region
	if region == nil {
		region = &price.Region{Provider: "unknown", Name: "unknown", GB: 1e9}
	}
	p.Link = down
	for _, of := range thaw.Offers(region, survey, thaw.Link{Down: down}, thaw.OfferOptions{Hold: hold && p.Cold}) {
		p.Offers = append(p.Offers, p.offer(&of, hold && p.Cold))
	}
	return nil
}

func (p *plan) offer(of *thaw.Offer, hold bool) offer {
	out := offer{Tier: strings.ToLower(string(of.Tier)), Route: of.Route, Total: of.Total, Egress: of.Bill.Of(price.WhatEgress), First: of.First, Last: of.Last, Days: of.Days, Windows: of.Windows,
		Objects: of.Thaw.Objects, Bytes: of.Thaw.Bytes, Unknown: of.Unknown}
	out.Thaw = of.Total - out.Egress
	if of.Tier == store.NoTier {
		out.Tier = ""
	}
	switch {
	case p.Region != nil && len(of.Unknown) == 0:
		out.Limit = limitOf(of.Total)
	case !p.Cold && !p.Thawed:
		out.Limit = "0" // where something turns out to be cold, the command refuses
	}
	if hold && p.Region != nil { // another command fetches it
		out.Egress = p.Region.Egress(of.Route, p.Needs.Download, 0).Cost
		out.Total = out.Thaw + out.Egress
	}
	return out
}

// limitOf is an amount as --max-cost takes it, rounded up so that what was shown is not more than that.
func limitOf(m price.Money) string {
	return strconv.FormatFloat(max(math.Ceil(float64(m)*1e4-1e-6), 0)/1e4, 'f', -1, 64)
}

// streams reports whether a snapshot is of streams that build upon earlier ones: files of it alone are of little use.
func streams(it *snapshot.Item) bool { return !it.Base.IsZero() }

// stale makes clear what it means that a snapshot was not found.
func stale(err error, id snapshot.ID) error {
	var own *web.StatusError
	if !errors.Is(err, snapshot.ErrNone) && !(errors.As(err, &own) && own.Code == http.StatusGone) {
		return err
	}
	return refused(http.StatusGone, "choose the same files from another snapshot", "snapshot %s is gone: it was forgotten or pruned since it was chosen", id.String()[:8])
}
