package doctor

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"firn/internal/digest"
	"firn/internal/index"
	"firn/internal/repo"
	"firn/internal/store"
	"firn/internal/units"
)

// errEnough ends a listing.
var errEnough = errors.New("enough was listed")

// lister is List, or ListCopies.
type lister func(ctx context.Context, prefix, after string, fn func(store.Info) error) error

// hotCount is what listings tell of hot objects.
type hotCount struct {
	ThawFix       // those in a cold class
	all     int64 // objects
	first   []string
	until   time.Time // when the first copy goes
}

// hot looks for hot objects that lie in a cold class already. It lists all objects but those of data/.
func (d *doctor) hot(ctx context.Context) {
	var n hotCount
	err := store.ErrNoStatus
	if t, ok := store.As[store.Thawer](d.o.Store); ok {
		err = n.list(ctx, t.ListCopies)
	}
	if errors.Is(err, store.ErrNoStatus) || store.IsTemporary(err) { // the plain listing is repeated where it has to be
		n = hotCount{}
		err = n.list(ctx, d.o.Store.List)
	}
	switch {
	case err != nil:
		d.unknown(CheckHot, "they cannot be listed", err)
	case n.Objects == 0:
		d.ok(CheckHot, "%s, all readable at once", counted(int(n.all), "object"))
	default:
		d.add(n.finding())
	}
}

// list counts all hot objects, without a look at data/.
func (n *hotCount) list(ctx context.Context, list lister) error {
	err := list(ctx, "", "", func(i store.Info) error {
		if i.Name >= dataArea {
			return errEnough
		}
		n.count(i)
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	return list(ctx, "", "data0", func(i store.Info) error { // which sorts behind all of data/
		n.count(i)
		return nil
	})
}

// count counts one object of a listing.
func (n *hotCount) count(i store.Info) {
	if !isHot(i.Name) {
		return
	}
	n.all++
	if !isCold(i.Class) {
		return
	}
	n.Objects++
	n.Bytes += i.Size
	if !slices.Contains(n.Classes, i.Class) {
		n.Classes = append(n.Classes, i.Class)
	}
	if i.Copy.State == store.Thawed {
		n.Readable++
		if n.until.IsZero() || i.Copy.Expires.Before(n.until) {
			n.until = i.Copy.Expires
		}
	}
	if len(n.first) < 3 {
		n.first = append(n.first, i.Name+" lies in "+i.Class)
	}
}

func (n *hotCount) finding() Finding {
	slices.Sort(n.Classes)
	f := Finding{Check: CheckHot, Severity: Problem, Why: whyHot, Evidence: n.first, Fix: Fix{Thaw: &n.ThawFix}}
	f.What = fmt.Sprintf("%d of %s, %v, lie in %s", n.Objects, counted(int(n.all), "object"), units.Size(n.Bytes), list(n.Classes))
	if n.Readable == 0 {
		return f
	}
	f.What += fmt.Sprintf("; %d have a copy that can be read", n.Readable)
	if !n.until.IsZero() {
		f.What += " until " + stamp(n.until)
	}
	if n.Readable == n.Objects {
		f.Severity = Warning
	}
	return f
}

// samplePacks is how many packs of each scope are looked at: one page of a listing.
const samplePacks = 1000

// packs compares the class of some packs with what the index says of them.
func (d *doctor) packs(ctx context.Context) {
	if d.o.Open == nil || d.header == nil {
		return
	}
	scopes, err := d.o.Open(ctx, d.header)
	if err != nil {
		d.unknown(CheckPacks, "the index cannot be read", err)
		return
	}
	var seen int
	moved := map[string]int{}
	for _, s := range scopes {
		if err := d.sample(ctx, s, &seen, moved); err != nil {
			d.unknown(CheckPacks, "they cannot be listed", err)
			return
		}
	}
	switch {
	case scopes == nil:
		d.unknown(CheckPacks, "no key at hand opens the index", nil)
	case seen == 0:
		d.ok(CheckPacks, "there are none that the store tells a class of")
	case len(moved) == 0:
		d.ok(CheckPacks, "%s looked at, in the class that the index says", counted(seen, "pack"))
	default:
		f := Finding{Check: CheckPacks, Severity: Note, Why: "somebody, or a rule of the bucket, moved them; the class that the store tells of counts"}
		for text, n := range moved {
			f.Evidence = append(f.Evidence, fmt.Sprintf("%s %s", counted(n, "pack"), text))
		}
		slices.Sort(f.Evidence)
		f.What = fmt.Sprintf("some of %s looked at lie in another class than the index says", counted(seen, "pack"))
		d.add(f)
	}
}

// sample lists packs of a scope from a random name on.
func (d *doctor) sample(ctx context.Context, s *repo.ScopeState, seen *int, moved map[string]int) error {
	var start [1]byte
	_, _ = rand.Read(start[:])
	prefix := dataArea + s.ID().String() + "/"
	from, end := prefix+hex.EncodeToString(start[:]), ""
	left := samplePacks
	look := func(i store.Info) error {
		if left--; left < 0 || end != "" && i.Name >= end {
			return errEnough
		}
		name, err := digest.ParseObject(i.Name[max(0, len(i.Name)-64):])
		if err != nil || i.Class == "" {
			return nil // a recovery volume, or a store without classes
		}
		p, ok, err := s.Set().Find(name)
		if err != nil || !ok {
			return err
		}
		*seen++
		if !sameClass(p.Class, i.Class) {
			moved[describeMove(p, i.Class)]++
		}
		return nil
	}
	err := d.o.Store.List(ctx, prefix, from, look)
	if err == nil { // the names end here: on from their beginning
		end = from
		err = d.o.Store.List(ctx, prefix, "", look)
	}
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

func describeMove(p index.Info, class string) string {
	if p.Class == "" {
		return "lie in " + class + " and were stored in the default class"
	}
	return "lie in " + class + " and were stored in " + p.Class
}
