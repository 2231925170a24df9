package check

import (
	"context"
	"errors"
	"time"

	"firn/internal/repo"
	"firn/internal/snapshot"
)

// Remedy is what helps against a finding.
type Remedy string

// The remedies.
const (
	FromParity Remedy = "parity" // its recovery volume is there: the object can perhaps be computed again
	FromSource Remedy = "source" // once it is marked as lost, the next backup sends again what the source still has
	FromPacks  Remedy = "packs"  // an index is made again from the packs' own tables
	NewVolume  Remedy = "volume" // the volume is made again from its pack
	NextBackup Remedy = "backup" // the next backup stores it again
	NewKey     Remedy = "key"    // a way to open the repository is lost: add another
	Copy       Remedy = "copy"   // beyond help but for a copy elsewhere, or an older version that the store keeps
)

// Finding is one object that is not as it has to be, whom that hurts, and what helps.
type Finding struct {
	*repo.Finding
	Harms  []repo.Harm   // snapshots that it hurts, oldest first
	Upon   []snapshot.ID // others, whose chains stand on those: what streams of them build upon is perhaps lost, oldest first
	Files  int64         // in the snapshot in which most are hurt
	Remedy Remedy
}

// Report is what a check has found.
type Report struct {
	Findings []Finding
	Result   Result
}

// Report looks once more at what is missing, and says what was found. It ends the check.
func (c *Check) Report(ctx context.Context) (*Report, error) {
	c.remember()
	r := &Report{}
	var all []*repo.Finding
	harms := map[*repo.Finding][]repo.Harm{}
	if c.audit != nil {
		if err := c.audit.Settle(ctx); err != nil {
			return nil, err
		}
		all = c.audit.Findings()
		var err error
		if harms, err = c.harms(ctx, all); err != nil {
			return nil, err
		}
		all = c.audit.Findings()
		if c.result.Orphans, c.result.OrphanBytes, err = c.audit.Orphans(); err != nil {
			return nil, err
		}
		n, bytes := c.audit.Read()
		c.result.Metadata, c.result.MetadataBytes = n, bytes
	} else {
		var err error
		if all, err = c.settleBlind(ctx); err != nil {
			return nil, err
		}
	}
	for _, f := range all {
		if c.healed(f, harms[f]) {
			c.result.Healed++
			continue
		}
		x := Finding{Finding: f, Harms: harms[f], Remedy: c.remedy(f)}
		for _, h := range x.Harms {
			x.Files = max(x.Files, h.Files)
		}
		if len(x.Harms) > 0 && x.Remedy != NextBackup {
			for _, a := range c.audit.Scopes {
				x.Upon = append(x.Upon, upon(a.Live, x.Harms)...)
			}
		}
		r.Findings = append(r.Findings, x)
	}
	c.rest()
	r.Result = c.result
	return r, nil
}

// upon returns those of a scope whose chains stand on what is hurt, and that are not hurt themselves.
func upon(live []snapshot.Item, harms []repo.Harm) (list []snapshot.ID) {
	byID := make(map[snapshot.ID]snapshot.ID, len(live)) // of the base
	for _, it := range live {
		byID[it.ID] = it.Base
	}
	hurt := make(map[snapshot.ID]bool, len(harms))
	for _, h := range harms {
		hurt[h.ID] = true
	}
	for _, it := range live {
		at := it.ID
		for steps := 0; !at.IsZero() && !hurt[at] && steps < snapshot.MaxChain; steps++ { // nobody vouches for what bodies say: there may be rings
			at = byID[at]
		}
		if hurt[at] && at != it.ID {
			list = append(list, it.ID)
		}
	}
	return list
}

// harms finds whom the findings hurt; to know that, manifests are read, and what is found in doing so counts as well.
func (c *Check) harms(ctx context.Context, all []*repo.Finding) (map[*repo.Finding][]repo.Harm, error) {
	if len(all) == 0 {
		return nil, nil
	}
	if err := c.audit.Manifests(ctx); err != nil && !errors.Is(err, repo.ErrWriteOnly) {
		return nil, err
	}
	return c.audit.Harms(ctx, c.audit.Findings(), c.o.Paths)
}

// healed reports whether a pack that is damaged or gone hurts nobody any more: it takes no new references, and what snapshots need of it lies elsewhere by now.
func (c *Check) healed(f *repo.Finding, harms []repo.Harm) bool {
	if f.Pack.IsZero() || len(harms) > 0 || !c.CanRead() {
		return false
	}
	for _, a := range c.audit.Scopes {
		if a.Set().Retired(f.Pack) {
			return true
		}
	}
	return false
}

// settleBlind drops what is gone altogether: without a key nobody can tell whether anything needs it.
func (c *Check) settleBlind(ctx context.Context) (all []*repo.Finding, err error) {
	for _, f := range c.found {
		if f.Kind == repo.Missing && !f.Pack.IsZero() {
			continue
		}
		all = append(all, f)
	}
	repo.SortFindings(all)
	return all, ctx.Err()
}

// rest fills in what the result says of all packs.
func (c *Check) rest() {
	c.result.Objects, c.result.Bytes = c.listed, c.bytes
	var oldest time.Time
	never := false
	for _, it := range c.items {
		c.result.Candidates++
		c.result.CandidateBytes += it.size
		at, _ := c.o.History.last(it.pack)
		if at.IsZero() && c.verified[it.pack] {
			at = c.o.Now()
		}
		if at.IsZero() {
			never = true
			continue
		}
		c.result.Fresh++
		if oldest.IsZero() || at.Before(oldest) {
			oldest = at
		}
	}
	if !never {
		c.result.Oldest = oldest
	}
}

// remedy says what helps.
func (c *Check) remedy(f *repo.Finding) Remedy {
	o, _ := repo.ParseName(f.Object)
	switch {
	case f.Volume:
		return NewVolume
	case f.Kind == repo.Unindexed, f.Kind == repo.Unknown, o.Area == "index":
		return FromPacks
	case f.Kind == repo.Unlisted:
		return FromSource
	case o.Area == "data" || o.Area == "meta":
		if f.Kind != repo.Missing && c.hasVolume(f) {
			return FromParity
		}
		return FromSource
	case o.Area == "packset", o.Area == "state", o.Area == "hosts":
		return NextBackup
	case o.Area == "keys":
		return NewKey
	}
	return Copy
}

func (c *Check) hasVolume(f *repo.Finding) bool {
	if c.audit != nil {
		_, ok := c.audit.Listed.Volumes[f.Pack]
		return ok
	}
	for _, it := range c.items {
		if it.pack == f.Pack {
			return it.volume > 0
		}
	}
	return false
}
